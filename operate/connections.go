package operate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
)

// Connections returns a page of connections, the last started first. Those of no
// test come with why they have none.
func (o *Operator) Connections(ctx context.Context, q ConnectionQuery) (ConnectionPage, error) {
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return ConnectionPage{}, &InvalidError{"to", q.To.UTC().Format(time.RFC3339), "lies before from"}
	}
	found, err := o.o.Store.SearchConnections(ctx, history.ConnectionSearch{
		From: q.From, To: q.To, Network: q.Network, Unattached: q.Unattached, Cursor: q.Cursor, Limit: limit(q.Limit),
	})
	if errors.Is(err, history.ErrCursor) {
		err = &InvalidError{"cursor", q.Cursor, "is no place in this list: start again"}
	}
	page := ConnectionPage{Connections: []ConnectionRow{}, Next: found.Next, Cut: found.Cut}
	if err != nil {
		return page, err
	}
	var loose []evidence.Connection
	for _, r := range found.Connections {
		page.Connections = append(page.Connections, ConnectionRow{Connection: r.Connection, Test: r.Test})
		if r.Test == "" {
			loose = append(loose, r.Connection)
		}
	}
	if len(loose) == 0 {
		return page, nil
	}
	n, err := o.neighboursOf(ctx, loose)
	if err != nil {
		return page, err
	}
	for i := range page.Connections {
		if row := &page.Connections[i]; row.Test == "" {
			w := whyNot(row.Connection, n)
			row.Why = &w
		}
	}
	return page, nil
}

// Connection returns one connection, and why it belongs to its test, or to none.
func (o *Operator) Connection(ctx context.Context, id evidence.ConnID) (ConnectionRow, error) {
	r, err := o.o.Store.Connection(id)
	if err != nil {
		return ConnectionRow{}, err
	}
	row := ConnectionRow{Connection: r.Connection, Test: r.Test}
	n, err := o.neighboursOf(ctx, []evidence.Connection{r.Connection})
	if err != nil {
		return row, err
	}
	w := whyNot(r.Connection, n)
	row.Why = &w
	if r.Test == "" {
		return row, nil
	}
	rec, in, err := o.o.Tests.View(ctx, r.Test)
	switch {
	case errors.Is(err, history.ErrNotFound):
		return row, nil // deleted at this moment
	case err != nil:
		return row, fmt.Errorf("test %q: %w", r.Test, err)
	}
	w = whyIn(rec, r.Connection, firstMails(in.History.Connections), n)
	return row, nil
}

// whyNot explains why a connection belongs to no test.
func whyNot(c evidence.Connection, n neighbours) Why {
	w := Why{Connection: c.ID, Start: c.Start, Client: c.Client}
	others := n.others(c, "")
	var could []string
	var owner *history.TestRecord
	for i, other := range others {
		if other.Could {
			could = append(could, other.Test)
			owner = &n.tests[clientOf(c).String()][i]
		}
	}
	switch {
	case c.Data:
		w.Text = "It handed over a mail that no test has: a bounce that nothing tells from others, a blocked sender, one test more than may run at once, or mail of a test that was deleted."
	case c.MailFrom != nil && len(could) == 0:
		w.Text = fmt.Sprintf("It said MAIL FROM:<%s> and handed over no message. No open test of that sender had this client, and a test begins with a message.", *c.MailFrom)
	case len(others) == 0:
		w.Text = "No test had this client around that time: a scan, a health check, or a sender that never handed over a mail."
	case len(could) == 0:
		w.Text = "Tests had this client around that time, but none of them can own it."
	case len(could) > 1:
		w.Text = "Several tests could own it: " + some(could) + ". So it belongs to none, and each of them counts it as left out."
	case owner.State == history.StateRunning:
		w.Text = fmt.Sprintf("Only test %s could own it, which still runs and counts it if no test of the same provider could own it, too. It is given to the test with its verdict.", owner.Test.ID)
	case !owner.Concluded.IsZero() && c.Start.After(owner.Concluded):
		w.Text = fmt.Sprintf("Only test %s could own it, whose verdict had been reached before.", owner.Test.ID)
	default:
		w.Text = fmt.Sprintf("Of this client only test %s could own it. It was left out or taken back: a test of the same provider at another address could own it, too.", owner.Test.ID)
	}
	w.list(others)
	if n.cut {
		w.Text += " There are more tests around that time than were looked at."
	}
	return w
}

// some lists the first of many.
func some(list []string) string {
	const most = 10
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}
