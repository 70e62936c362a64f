package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/operate"
	"github.com/tlsink/tlsink/report"
)

// The routes of the control socket about tests, the queue and the lists of the
// operator: each reads its parameters, has package operate do it, and writes
// JSON.

// commandLine is who changes something through the control socket.
func commandLine() operate.Actor { return operate.Actor{Kind: "cli"} }

// writeAnswer writes a result as JSON.
func writeAnswer(w io.Writer, v any, err error) error {
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(v)
}

func (s *service) testRoutes(handle func(pattern string, f handler)) {
	handle("GET /tests", func(w io.Writer, r *http.Request) error {
		q, err := operate.ParseQuery(r.URL.Query(), time.Now())
		if err != nil {
			return err
		}
		page, err := s.operator.Tests(r.Context(), q)
		return writeAnswer(w, page, err)
	})
	handle("GET /tests/{id}", func(w io.Writer, r *http.Request) error {
		t, err := s.operator.Test(r.Context(), r.PathValue("id"))
		h := t.Input.History
		return writeAnswer(w, control.TestDetail{
			Test: t, MessageIDs: t.Record.MessageIDs, Clients: t.Record.Clients, Verdict: t.Input.Verdict, Engine: t.Record.Engine, LeftOut: h.Test.LeftOut,
			Provider: t.Record.Provider, Connections: len(h.Connections), Queries: len(h.Queries), Fetches: len(h.Fetches), States: len(h.States),
		}, err)
	})
	handle("GET /tests/{id}/history", func(w io.Writer, r *http.Request) error {
		t, err := s.operator.Test(r.Context(), r.PathValue("id"))
		if err != nil {
			return err
		}
		return evidence.WriteHistory(w, t.Input.History)
	})
	handle("GET /tests/{id}/report", func(w io.Writer, r *http.Request) error {
		t, err := s.operator.Test(r.Context(), r.PathValue("id"))
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, report.Text(t.Input))
		return err
	})
	handle("GET /tests/{id}/link", func(w io.Writer, r *http.Request) error {
		id := strings.ToUpper(r.PathValue("id"))
		rec, err := s.store.Test(id)
		capability := rec.Capability
		if t, ok := s.leases.ByID(id); ok && errors.Is(err, history.ErrNotFound) {
			capability, err = t.Capability, nil // no mail has come yet
		}
		if err == nil && capability == "" {
			err = fmt.Errorf("link of test %q: %w", id, history.ErrNotFound)
		}
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, capability+"\n")
		return err
	})
	handle("GET /tests/{id}/why", func(w io.Writer, r *http.Request) error {
		e, err := s.operator.Why(r.Context(), r.PathValue("id"))
		return writeAnswer(w, e, err)
	})
	handle("DELETE /tests/{id}", func(w io.Writer, r *http.Request) error {
		n, err := s.operator.DeleteTest(r.Context(), commandLine(), r.PathValue("id"))
		return writeAnswer(w, n, err)
	})
	handle("GET /export", s.export)
	handle("GET /connections", func(w io.Writer, r *http.Request) error {
		q, err := operate.ParseConnectionQuery(r.URL.Query(), time.Now())
		if err != nil {
			return err
		}
		page, err := s.operator.Connections(r.Context(), q)
		return writeAnswer(w, page, err)
	})
	handle("GET /connections/{id}", func(w io.Writer, r *http.Request) error {
		c, err := s.operator.Connection(r.Context(), evidence.ConnID(r.PathValue("id")))
		return writeAnswer(w, c, err)
	})
}

// export streams. Once something was written, only cutting the connection off
// says that the rest is missing.
func (s *service) export(w io.Writer, r *http.Request) error {
	v := r.URL.Query()
	format := v.Get("format")
	v.Del("format")
	q, err := operate.ParseQuery(v, time.Now())
	if err != nil {
		return err
	}
	out := &counted{w: w}
	switch format {
	case "jsonl":
		_, err = s.operator.ExportHistories(r.Context(), out, q)
	case "csv":
		_, err = s.operator.ExportCSV(r.Context(), out, q)
	default:
		return &operate.InvalidError{Field: "format", Value: format, Want: "want jsonl or csv"}
	}
	if err != nil && out.n > 0 {
		s.log.Error("export ended before its end", "err", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

// counted counts octets that are written.
type counted struct {
	w io.Writer
	n int
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += n
	return n, err
}

func (s *service) queueRoutes(handle func(pattern string, f handler)) {
	handle("GET /queue", func(w io.Writer, r *http.Request) error {
		v := r.URL.Query()
		n, _ := strconv.Atoi(v.Get("limit"))
		page, err := s.operator.Reports(r.Context(), operate.ReportQuery{Pending: v.Get("pending") == "true", Cursor: v.Get("cursor"), Limit: n})
		return writeAnswer(w, page, err)
	})
	handle("POST /queue/{id}/retry", func(w io.Writer, r *http.Request) error {
		return writeAnswer(w, true, s.operator.RetryReport(r.Context(), commandLine(), r.PathValue("id")))
	})
	handle("DELETE /queue/{id}", func(w io.Writer, r *http.Request) error {
		return writeAnswer(w, true, s.operator.DropReport(r.Context(), commandLine(), r.PathValue("id")))
	})
	handle("GET /webhooks", func(w io.Writer, _ *http.Request) error {
		list, _ := s.operator.Deliveries()
		return writeAnswer(w, append([]operate.Delivery{}, list...), nil)
	})
}

func (s *service) listRoutes(handle func(pattern string, f handler)) {
	handle("GET /blocks", func(w io.Writer, _ *http.Request) error { return writeAnswer(w, s.operator.Blocks(), nil) })
	handle("POST /blocks", func(w io.Writer, r *http.Request) error {
		v := r.URL.Query()
		b := operate.BlockRequest{What: v.Get("what"), Reason: v.Get("reason"), Wide: v.Get("wide") == "true"}
		if err := parseUntil(v, &b.Until); err != nil {
			return err
		}
		e, err := s.operator.AddBlock(r.Context(), commandLine(), b)
		return writeAnswer(w, e, err)
	})
	handle("DELETE /blocks/{id}", func(w io.Writer, r *http.Request) error {
		return writeAnswer(w, true, s.operator.RemoveBlock(r.Context(), commandLine(), r.PathValue("id")))
	})
	handle("GET /slots", func(w io.Writer, _ *http.Request) error { return writeAnswer(w, s.operator.Slots(), nil) })
	handle("GET /limits", func(w io.Writer, _ *http.Request) error { return writeAnswer(w, s.operator.Limits(), nil) })
	handle("GET /actions", func(w io.Writer, _ *http.Request) error {
		list, err := s.operator.Audit()
		return writeAnswer(w, append([]operate.AuditRecord{}, list...), err)
	})
	handle("GET /retention", func(w io.Writer, _ *http.Request) error {
		k, err := s.operator.Retention()
		return writeAnswer(w, k, err)
	})
	handle("POST /purge", func(w io.Writer, r *http.Request) error {
		var before time.Time
		if v := r.URL.Query().Get("before"); v != "" {
			var err error
			if before, err = time.Parse(time.RFC3339Nano, v); err != nil {
				return &operate.InvalidError{Field: "before", Value: v, Want: "want a time (RFC 3339)"}
			}
		}
		n, err := s.operator.Purge(r.Context(), commandLine(), before)
		return writeAnswer(w, n, err)
	})
	handle("GET /people/{address}", func(w io.Writer, r *http.Request) error {
		p, err := s.operator.PersonPreview(r.Context(), r.PathValue("address"))
		return writeAnswer(w, p, err)
	})
	handle("DELETE /people/{address}", func(w io.Writer, r *http.Request) error {
		f, err := s.operator.ForgetPerson(r.Context(), commandLine(), r.PathValue("address"))
		return writeAnswer(w, f, err)
	})
}

func parseUntil(v url.Values, to *time.Time) (err error) {
	if s := v.Get("until"); s != "" {
		if *to, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return &operate.InvalidError{Field: "until", Value: s, Want: "want a time (RFC 3339)"}
		}
	}
	return nil
}

func (s *service) inboxRoutes(handle func(pattern string, f handler)) {
	handle("GET /inbox", func(w io.Writer, r *http.Request) error {
		list, err := s.store.Mailbox(r.Context())
		return writeAnswer(w, list, err)
	})
	handle("GET /inbox/{id}", func(w io.Writer, r *http.Request) error {
		m, err := s.store.MailboxMessage(r.PathValue("id"))
		if err != nil {
			return err
		}
		_, err = w.Write(m)
		return err
	})
	handle("DELETE /inbox/{id}", func(_ io.Writer, r *http.Request) error {
		return s.store.DeleteMailbox(r.Context(), r.PathValue("id"))
	})
}
