package live

import "slices"

// Delta returns the rows of now that are new since before, or have changed: all
// of them if before is nil. A row changes while its connection is open, and when
// connections before it turn out to be, or not to be, of this test: then rows
// after the last one (Omitted and Connections together) are to be forgotten.
func Delta(before, now *Status) []Connection {
	if now == nil {
		return nil
	}
	if before == nil {
		return now.Connections
	}
	var out []Connection
	old := before.Connections
	for _, c := range now.Connections { // both are in order of their numbers
		for len(old) > 0 && old[0].Number < c.Number {
			old = old[1:]
		}
		if len(old) == 0 || !same(&old[0], &c) {
			out = append(out, c)
		}
	}
	return out
}

func same(a, b *Connection) bool {
	return a.Number == b.Number && a.ID == b.ID && a.Time.Equal(b.Time) && a.Open == b.Open && a.Client == b.Client && a.Name == b.Name &&
		a.Server == b.Server && a.Outcome == b.Outcome && a.Phase == b.Phase && a.SNI == b.SNI && a.TLS == b.TLS && a.By == b.By &&
		a.Text == b.Text && slices.Equal(a.Details, b.Details)
}
