package console

import (
	"cmp"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/operate"
)

// connectionView is a connection as it is shown, with all that was said.
type connectionView struct {
	operate.ConnectionRow
	Address    string // of the client, without port
	Open       bool
	Names      string // of EHLO
	TLSText    string
	Details    []detail
	Transcript []operate.Line
}

type detail struct{ Name, Value string }

func newConnectionView(row operate.ConnectionRow) connectionView {
	c := connectionView{ConnectionRow: row, Open: row.Ending == evidence.EndingOpen, Names: strings.Join(row.Helo, " "), Transcript: operate.Transcript(row.Connection)}
	c.Address = row.Client
	if ap, err := netip.ParseAddrPort(row.Client); err == nil {
		c.Address = ap.Addr().String()
	}
	c.TLSText = tlsText(row.Connection)
	c.Details = details(row.Connection)
	return c
}

// tlsText says in a few words what came of TLS.
func tlsText(c evidence.Connection) string {
	switch {
	case c.TLS != nil && c.TLS.Complete:
		return strings.TrimSpace(text(c.TLS.Version) + " " + text(c.TLS.Cipher))
	case c.TLS != nil:
		return "TLS handshake failed: " + cmp.Or(text(c.TLS.Alert), text(c.TLS.Error), string(c.TLS.Stage))
	case c.StartTLS:
		return "STARTTLS, no handshake"
	case !c.StartTLSOffered:
		return "no TLS, not offered"
	}
	return "no TLS, though offered"
}

// text is a value that may not be known.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func details(c evidence.Connection) []detail {
	out := []detail{
		{"From", c.Client},
		{"To", c.Local},
		{"Phase", string(c.Phase)},
		{"STARTTLS", map[bool]string{true: "offered", false: "withheld"}[c.StartTLSOffered]},
		{"Destination", c.Destination},
	}
	if t := c.TLS; t != nil {
		out = append(out, []detail{
			{"SNI", cmp.Or(text(t.SNI), "none")},
			{"Versions offered by the client", strings.Join(t.ClientVersions, ", ")},
			{"Version", text(t.Version)},
			{"Suite", text(t.Cipher)},
			{"Handshake", string(t.Stage)},
			{"Certificate presented", t.Certificate},
			{"TLSA", t.TLSA},
			{"Alert of the client", text(t.Alert)},
			{"Error", text(t.Error)},
		}...)
	}
	out = append(out, detail{"Refused recipients", strings.Join(c.Refused, ", ")}, detail{"Anomalies", strings.Join(c.Anomalies, "; ")})
	known := out[:0]
	for _, d := range out {
		if d.Value != "" {
			known = append(known, d)
		}
	}
	return known
}

// connections lists connections; those of no test unless all are asked for.
func (c *console) connections(v *visit) error {
	query := v.r.URL.Query()
	fields := pick(query, "from", "to", "network", "cursor")
	all := query.Get("all") != ""
	if !all {
		fields.Set("unattached", "true")
	}
	body := struct {
		Form        url.Values
		All, Failed bool
		Cut         bool
		Connections []connectionView
		More        string
	}{Form: pick(query, "from", "to", "network"), All: all}
	q, err := operate.ParseConnectionQuery(fields, c.o.Now())
	q.Limit = c.o.Limits.RowsPerPage
	var list operate.ConnectionPage
	if err == nil {
		list, err = c.o.Operator.Connections(v.r.Context(), q)
	}
	p := page{Title: "Connections without a test", Name: "connections", Here: "/console/connections", Problem: problemOf(err)}
	if all {
		p.Title = "All connections"
	}
	if p.Problem == "" && err != nil {
		return err
	}
	status := http.StatusOK
	if p.Problem != "" {
		status, body.Failed = http.StatusBadRequest, true
	}
	for _, row := range list.Connections {
		body.Connections = append(body.Connections, newConnectionView(row))
	}
	fields.Del("unattached")
	if all {
		fields.Set("all", "1")
	}
	body.Cut, body.More = list.Cut, more(fields, list.Next)
	p.Body = body
	return c.show(v, status, p)
}

func (c *console) connection(v *visit) error {
	id, err := idOf(v)
	if err != nil {
		return err
	}
	row, err := c.o.Operator.Connection(v.r.Context(), evidence.ConnID(id))
	if err != nil {
		return err
	}
	return c.show(v, http.StatusOK, page{Title: "Connection " + id, Name: "connection", Here: "/console/connections", Body: newConnectionView(row)})
}
