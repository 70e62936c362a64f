package web

import (
	"bytes"
	"context"
	"fmt"
	"html/template"
	"strings"
	"sync"
	"time"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

// partNames are the parts of the page of a test that change, in their order.
// Each is an element with the id "p-" and the name, made by the template "part-"
// and the name. The list of connections follows the part "count".
var partNames = [...]string{"head", "line", "how", "verdict", "report", "strip", "now", "count", "links"}

// A rendering is a test in HTML, in one language. It does not change, and all
// who look at the test share it.
type rendering struct {
	status   *live.Status
	language report.Language
	title    string
	version  string // identifies the content
	final    bool   // nothing will change any more
	reported bool   // there is a report
	parts    map[string]template.HTML
	rows     []row // the oldest first

	mu    sync.Mutex
	since map[string][]byte // messages by the version that they start from
}

// Part is for the template of the page.
func (r *rendering) Part(name string) template.HTML { return r.parts[name] }

// Concluded reports whether the page holds a report.
func (r *rendering) Concluded() bool { return r.reported }

// Rows are the connections, the newest first.
func (r *rendering) Rows() template.HTML {
	var b bytes.Buffer
	for i := range r.rows {
		b.WriteString(string(r.rows[len(r.rows)-1-i].html))
	}
	// The templates have escaped every value.
	return template.HTML(b.String())
}

// testView is what the templates of parts see.
type testView struct {
	*live.Status
	W      words
	Link   string // address of the page of the test
	Site   string // https://<zone>
	Report template.HTML
	First  int  // number of the oldest connection in the list
	Leases bool // a test can be started on the web

	With, Wrong string // of the form for a comparison: nothing was pasted yet
}

// Latest is the newest connection; nil if there is none.
func (v testView) Latest() *live.Connection {
	if n := len(v.Connections); n > 0 {
		return &v.Connections[n-1]
	}
	return nil
}

// Said reports whether the report says how far the test is: once is enough.
func (v testView) Said() bool { return v.Report != "" && !v.Unconfirmed }

// rendered returns the test as it is now.
func (s *Server) rendered(ctx context.Context, key roomKey) (*rendering, bool, error) {
	if shared := s.rooms.now(key); shared != nil {
		return shared, true, nil
	}
	if s.o.Live == nil {
		return s.resultOnly(ctx, key)
	}
	st, ok, err := s.o.Live.Status(ctx, key.capability, key.language)
	if err != nil || !ok {
		return nil, ok, err
	}
	out, err := s.render(ctx, key, st, nil)
	return out, true, err
}

// resultOnly is a page that holds the report alone.
func (s *Server) resultOnly(ctx context.Context, key roomKey) (*rendering, bool, error) {
	in, ok, err := s.o.Source.Result(ctx, key.capability)
	if err != nil || !ok {
		return nil, ok, err
	}
	if key.language != "" {
		in.Language = key.language
	}
	l, _ := known(string(in.Language))
	if l != report.German {
		l = report.English
	}
	whole, err := report.Fragment(in)
	if err != nil {
		return nil, false, err
	}
	around := wordsOf(l)
	view := testView{Status: &live.Status{State: live.State(in.State), Language: string(l)}, W: around, Link: testAddress(key.capability), Site: "https://" + s.o.Zone, Report: whole}
	out := &rendering{language: l, title: around.Result, reported: true, final: in.State != report.StateRunning && in.InboundMissing != report.NotReady, parts: make(map[string]template.HTML)}
	for _, name := range []string{"line", "report", "links"} {
		if out.parts[name], err = execute("part-"+name, view); err != nil {
			return nil, false, err
		}
	}
	return out, true, nil
}

// render makes the parts of a page. Rows are those of an earlier rendering, if
// there is one and they have not changed since.
func (s *Server) render(ctx context.Context, key roomKey, st *live.Status, before *rendering) (*rendering, error) {
	l := report.Language(st.Language)
	around := wordsOf(l)
	view := testView{
		Status: st, W: around, Link: testAddress(key.capability), Site: "https://" + s.o.Zone, Leases: s.o.Leases != nil,
	}
	out := &rendering{status: st, language: l, title: around.title(st), final: settled(st), parts: make(map[string]template.HTML), since: make(map[string][]byte)}
	if concluded(st.State) {
		in, ok, err := s.o.Source.Result(ctx, key.capability)
		if err != nil {
			return nil, fmt.Errorf("look up the result: %w", err)
		}
		if ok {
			in.Language = l
			whole, err := report.Fragment(in)
			if err != nil {
				return nil, err
			}
			view.Report = whole
			out.final = out.final && in.InboundMissing != report.NotReady
		}
	}
	out.reported = view.Report != ""
	if len(st.Connections) > 0 {
		view.First = st.Connections[0].Number
	}
	var err error
	content := make([][]byte, 0, len(partNames)+len(st.Connections))
	for _, name := range partNames {
		if out.parts[name], err = execute("part-"+name, view); err != nil {
			return nil, err
		}
		content = append(content, []byte(out.parts[name]))
	}
	if out.rows, err = rowsOf(st, around, before); err != nil {
		return nil, err
	}
	for _, r := range out.rows {
		content = append(content, []byte(r.html))
	}
	out.version = digest(content...)
	return out, nil
}

// afterEnd is how long after its last connection a test that is over may still get
// another: a mail to the other address, in the same attempt.
const afterEnd = 15 * time.Second

// settled reports whether a test is over, and all its connections are there.
func settled(st *live.Status) bool {
	if !st.State.Over() {
		return false
	}
	n := len(st.Connections)
	return n == 0 || st.Now.Sub(st.Connections[n-1].Time) >= afterEnd
}

// concluded reports whether there is a report worth showing as a whole.
func concluded(s live.State) bool {
	return s == live.Concluded || s == live.Acked || s == live.Closed
}

func execute(name string, data any) (template.HTML, error) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		return "", fmt.Errorf("render %s: %w", name, err)
	}
	// The template has escaped every value.
	return template.HTML(b.String()), nil
}

// message returns what brings a page from an earlier rendering to this one: the
// elements that differ, in HTML. Without an earlier one these are all.
func (r *rendering) message(before *rendering) []byte {
	from := ""
	if before != nil {
		from = before.version
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok := r.since[from]; ok {
		return b
	}
	var b bytes.Buffer
	for _, name := range partNames {
		if before == nil || before.parts[name] != r.parts[name] {
			b.WriteString(string(r.parts[name]) + "\n")
		}
	}
	if before == nil || before.last() > r.last() { // some belong to another test now
		b.WriteString(`<ol id="rows">` + string(r.Rows()) + `</ol>`)
	} else {
		known := make(map[int]template.HTML, len(before.rows))
		for _, row := range before.rows {
			known[row.first] = row.html
		}
		for _, row := range r.rows {
			if known[row.first] != row.html {
				b.WriteString(string(row.html))
			}
		}
	}
	const most = 8 // slow readers may need others
	if len(r.since) < most {
		r.since[from] = b.Bytes()
	}
	return b.Bytes()
}

// last is the number of the newest connection; 0 without any.
func (r *rendering) last() int {
	if r.status == nil || len(r.status.Connections) == 0 {
		return 0
	}
	return r.status.Connections[len(r.status.Connections)-1].Number
}

func trendClass(t live.Trend) string {
	switch t {
	case live.Better:
		return "r-good"
	case live.Worse:
		return "r-bad"
	}
	return "r-neutral"
}

func trendSign(t live.Trend) string {
	switch t {
	case live.Better:
		return "+"
	case live.Worse:
		return "−"
	}
	return "~"
}

// functions are for the templates.
func functions() template.FuncMap {
	return template.FuncMap{
		"sign": signOf, "class": classOf, "trend": trendClass, "trendSign": trendSign,
		"halves": func(address string) []string { return strings.SplitN(address, "@", 2) },
		"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"minute": func(t time.Time) string { return t.UTC().Format("15:04 UTC") },
		"second": second,
	}
}

func second(t time.Time) string { return t.UTC().Format("15:04:05") }

// signOf stands for an outcome, as in reports: nothing relies on colour.
func signOf(o live.Outcome) string {
	switch o {
	case live.Contacted:
		return "·"
	case live.Refused:
		return "x"
	case live.Encrypted:
		return "E"
	case live.Plaintext:
		return "P"
	case live.Mixed:
		return "B"
	}
	return ""
}

// classOf is the class of an outcome at a server, as in reports. At ut nothing
// forbids plaintext.
func classOf(o live.Outcome, server int) string {
	const ut = 7
	switch o {
	case live.Contacted:
		return "r-contacted"
	case live.Refused:
		return "r-declined"
	case live.Encrypted:
		return "r-encrypted"
	case live.Plaintext:
		if server == ut {
			return "r-allowed"
		}
		return "r-plaintext"
	case live.Mixed:
		return "r-both"
	}
	return "r-nothing"
}
