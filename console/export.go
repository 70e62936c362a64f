package console

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tlsink/tlsink/operate"
)

const exportPath = "/console/export/"

// isExport reports whether a request is for something long that is sent while
// it is read.
func isExport(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, exportPath) }

func (c *console) exportCSV(v *visit) error {
	return c.export(v, "text/csv; charset=utf-8", "tlsink-tests.csv", c.o.Operator.ExportCSV)
}

func (c *console) exportHistories(v *visit) error {
	return c.export(v, "application/jsonl", "tlsink-histories.jsonl", c.o.Operator.ExportHistories)
}

// export streams what a search found. Once something was sent an error can only
// cut the download, so that nobody takes a part for the whole.
func (c *console) export(v *visit, kind, name string, write func(context.Context, io.Writer, operate.Query) (int, error)) error {
	q, err := operate.ParseQuery(searchFields(v.r.URL.Query()), c.o.Now())
	if problem := problemOf(err); problem != "" {
		return badInput{problem}
	}
	if err != nil {
		return err
	}
	q.Cursor, q.Limit = "", 0
	ctx, cancel := context.WithTimeout(v.r.Context(), c.o.Limits.ExportTime)
	defer cancel()
	out := &download{w: v.w, control: http.NewResponseController(v.w), kind: kind, name: name}
	n, err := write(ctx, out, q)
	if err != nil && !out.begun {
		return err
	}
	if err != nil {
		c.log(v.w).Warn("an export was cut", "session", v.session.id, "records", n, "err", err)
		panic(http.ErrAbortHandler) // the server's own way to end a response that is not whole
	}
	out.begin()
	c.log(v.w).Info("export", "session", v.session.id, "file", name, "records", n)
	return nil
}

// download sends its head with the first octets, so that an error before them
// is still a page, and gives the client time for every part.
type download struct {
	w          http.ResponseWriter
	control    *http.ResponseController
	kind, name string
	begun      bool
}

const partTime = 30 * time.Second // to take one part of an export

func (d *download) begin() {
	if d.begun {
		return
	}
	d.begun = true
	d.w.Header().Set("Content-Type", d.kind)
	d.w.Header().Set("Content-Disposition", `attachment; filename="`+d.name+`"`)
	d.w.WriteHeader(http.StatusOK)
}

func (d *download) Write(b []byte) (int, error) {
	d.begin()
	// Not every ResponseWriter has deadlines; then that of the server holds.
	_ = d.control.SetWriteDeadline(time.Now().Add(partTime))
	return d.w.Write(b)
}
