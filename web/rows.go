package web

import (
	"fmt"
	"html/template"
	"slices"
	"time"

	"github.com/tlsink/tlsink/live"
)

// A row shows one connection, or several of one attempt that read the same.
type row struct {
	first, last int // their numbers
	html        template.HTML
}

// rowView is what the template of a row sees.
type rowView struct {
	*live.Connection // the first one
	W                words
	joined           []live.Connection
}

// rowsOf renders the connections, the oldest first: those that are new or have
// changed since an earlier rendering, if there is one.
func rowsOf(st *live.Status, around words, before *rendering) ([]row, error) {
	kept, changed := make(map[int]row), make(map[int]bool)
	if before != nil {
		for _, r := range before.rows {
			kept[r.first] = r
		}
		for _, c := range live.Delta(before.status, st) {
			changed[c.Number] = true
		}
	}
	var out []row
	for all := st.Connections; len(all) > 0; {
		n := alike(all)
		v := rowView{Connection: &all[0], W: around, joined: all[:n]}
		all = all[n:]
		r, ok := kept[v.Number]
		if !ok || r.last != v.Last().Number || slices.ContainsFunc(v.joined, func(c live.Connection) bool { return changed[c.Number] }) {
			html, err := execute("row", v)
			if err != nil {
				return nil, err
			}
			r = row{v.Number, v.Last().Number, html}
		}
		out = append(out, r)
	}
	return out, nil
}

// alike counts the connections, from the first on, that follow each other in one
// attempt and read the same.
func alike(all []live.Connection) int {
	a := &all[0]
	for i := range all[1:] {
		b := &all[i+1]
		if !b.Follows || a.Open || b.Open || a.Server != b.Server || a.Outcome != b.Outcome || a.Client != b.Client || a.Text != b.Text {
			return i + 1
		}
	}
	return len(all)
}

// Last is the last connection of the row.
func (v rowView) Last() *live.Connection { return &v.joined[len(v.joined)-1] }

// Times says how often the same happened; nothing if it was once.
func (v rowView) Times() string {
	if len(v.joined) == 1 {
		return ""
	}
	return fmt.Sprintf(v.W.Times, len(v.joined))
}

// Until is the time of the last one; nil if that reads as the time of the first.
func (v rowView) Until() *time.Time {
	last := v.Last().Time
	if second(last) == second(v.Time) {
		return nil
	}
	return &last
}

// Numbers are those of the connections, which follow each other.
func (v rowView) Numbers() string {
	if v.Number == v.Last().Number {
		return fmt.Sprint(v.Number)
	}
	return fmt.Sprintf("%d–%d", v.Number, v.Last().Number)
}

// A detail is something technical, with the values that it had, each once.
type detail struct {
	Name   string
	Values []string
}

// Tech are the technical facts.
func (v rowView) Tech() []detail {
	all := [...]detail{{Name: v.W.Client}, {Name: v.W.Greeting}, {Name: v.W.SNI}, {Name: v.W.TLS}, {Name: v.W.Phase}, {Name: v.W.By}}
	for i := range v.joined {
		c := &v.joined[i]
		for n, value := range [...]string{c.Client, c.Name, c.SNI, c.TLS, string(c.Phase), string(c.By)} {
			all[n].Values = with(all[n].Values, value)
		}
	}
	return slices.DeleteFunc(all[:], func(d detail) bool { return len(d.Values) == 0 })
}

// Log is what else was noted, each text once.
func (v rowView) Log() []string {
	if len(v.joined) == 1 {
		return v.Details
	}
	var out []string
	for i := range v.joined {
		for _, text := range v.joined[i].Details {
			out = with(out, text)
		}
	}
	return out
}

// with adds a text that is new. Of very many it leaves some out: a row is sent
// again whenever it grows.
func with(all []string, text string) []string {
	const most = 16
	switch {
	case text == "" || len(all) > most || slices.Contains(all, text):
		return all
	case len(all) == most:
		return append(all, "…")
	}
	return append(all, text)
}
