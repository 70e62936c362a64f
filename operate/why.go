package operate

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
)

// Package assess decides what belongs to a test, while it runs, from more than
// is stored. Here its rules are read again over what is: enough to say why, and
// what else it could have been.

const (
	// dateSkew is how far a sender's clock may be ahead: a test owns nothing from
	// before its mail was written.
	dateSkew = 2 * time.Minute
	// around is how far tests reach that share a client: a treatment ends after a
	// day of silence.
	around = 24 * time.Hour

	mostNeighbours = 2000
	neighboursRead = 20_000
	mostOthers     = 20 // that are listed for a connection
)

// clientOf returns the client of a connection; the zero Prefix if it has none.
func clientOf(c evidence.Connection) netip.Prefix {
	ap, err := netip.ParseAddrPort(c.Client)
	if err != nil {
		return netip.Prefix{}
	}
	return evidence.ClientOf(ap.Addr())
}

// neighbours are tests around a time, by their clients.
type neighbours struct {
	store   Store
	tests   map[string][]history.TestRecord // by client
	written map[string]time.Time            // by test, as far as it was needed; zero: not known
	cut     bool                            // there are more
}

// neighbours reads the tests that clients had from a time to another.
func (o *Operator) neighbours(ctx context.Context, clients map[string]bool, from, to time.Time) (neighbours, error) {
	n := neighbours{store: o.o.Store, tests: make(map[string][]history.TestRecord), written: make(map[string]time.Time)}
	page, err := o.o.Store.SearchTests(ctx, history.TestSearch{
		From: from.Add(-around), To: to.Add(around), Limit: mostNeighbours, MostRead: neighboursRead,
		Match: func(r history.TestRecord) bool {
			return slices.ContainsFunc(r.Clients, func(c string) bool { return clients[c] })
		},
	})
	if err != nil {
		return n, err
	}
	n.cut = page.Next != ""
	for _, r := range page.Tests {
		for _, c := range r.Clients {
			if clients[c] {
				n.tests[c] = append(n.tests[c], r)
			}
		}
	}
	return n, nil
}

// since is from when on a test may own connections of its clients.
func (n neighbours) since(r history.TestRecord) time.Time {
	written, known := n.written[r.Test.ID]
	if !known {
		written, _ = n.store.Written(r.Test.ID) // deleted meanwhile: as if it were not known
		n.written[r.Test.ID] = written
	}
	if !written.IsZero() && written.Before(r.Opened) {
		return written.Add(-dateSkew)
	}
	return r.Opened
}

// others says of each test of the client of a connection, but one, whether it
// could own the connection.
func (n neighbours) others(c evidence.Connection, but string) (out []Other) {
	for _, r := range n.tests[clientOf(c).String()] {
		if r.Test.ID == but {
			continue
		}
		text, could := n.couldOwn(r, c)
		out = append(out, Other{r.Test.ID, could, text})
	}
	return out
}

// list names some of the others.
func (w *Why) list(others []Other) {
	slices.SortStableFunc(others, func(a, b Other) int {
		switch {
		case a.Could == b.Could:
			return 0
		case a.Could:
			return -1
		}
		return 1
	})
	w.Others = others[:min(len(others), mostOthers)]
	w.More = len(others) - len(w.Others)
}

// couldOwn reports whether a connection that carried none of its mail could be
// that of a test, and why.
func (n neighbours) couldOwn(r history.TestRecord, c evidence.Connection) (why string, could bool) {
	at := func(t time.Time) string { return t.UTC().Format(time.DateTime) }
	end := ended(r)
	switch {
	case c.MailFrom != nil && !strings.EqualFold(*c.MailFrom, r.Test.Sender):
		return "the connection carried mail of another sender", false
	case c.Slot != r.Test.Slot && c.TLS != nil && c.TLS.SNI != nil:
		return fmt.Sprintf("the connection named slot %d, the test has slot %d", c.Slot, r.Test.Slot), false
	case !end.IsZero() && c.Start.After(end):
		return "it had ended at " + at(end), false
	case c.Start.Before(r.Opened) && c.Start.Before(n.since(r)):
		return "its mail was written later, at " + at(n.since(r)), false
	case c.Start.Before(r.Opened):
		return "its mail had been written, although none came before " + at(r.Opened), true
	}
	return "it ran, and had the same client", true
}

// Why explains why each connection of a test belongs to it.
func (o *Operator) Why(ctx context.Context, id string) (Explanation, error) {
	r, in, err := o.o.Tests.View(ctx, testID(id))
	if err != nil {
		return Explanation{}, fmt.Errorf("test %q: %w", id, err)
	}
	e := Explanation{Test: r.Test.ID, LeftOut: in.Test.LeftOut, Connections: []Why{}, Text: whatTies(r)}
	if len(in.History.Connections) == 0 {
		return e, nil
	}
	n, err := o.neighboursOf(ctx, in.History.Connections)
	if err != nil {
		return e, err
	}
	since := firstMails(in.History.Connections)
	for _, c := range in.History.Connections {
		e.Connections = append(e.Connections, whyIn(r, c, since, n))
	}
	return e, nil
}

func (o *Operator) neighboursOf(ctx context.Context, list []evidence.Connection) (neighbours, error) {
	clients := make(map[string]bool)
	from, to := list[0].Start, list[0].Start
	for _, c := range list {
		clients[clientOf(c).String()] = true
		if c.Start.Before(from) {
			from = c.Start
		}
		if c.Start.After(to) {
			to = c.Start
		}
	}
	return o.neighbours(ctx, clients, from, to)
}

// whatTies says what connections of the test are known by.
func whatTies(r history.TestRecord) string {
	mails := "its mail has no Message-ID yet"
	switch len(r.MessageIDs) {
	case 0:
	case 1:
		mails = "its mail is " + r.MessageIDs[0]
	default:
		mails = fmt.Sprintf("its %d mails are %s", len(r.MessageIDs), strings.Join(r.MessageIDs[:min(3, len(r.MessageIDs))], ", "))
	}
	s := fmt.Sprintf("The test is that of the sender <%s> in slot %d; %s.", r.Test.Sender, r.Test.Slot, mails)
	if r.Test.LeftOut > 0 {
		s += fmt.Sprintf(" %d connections may be its own or another's and are left out, so that nothing rests on absence.", r.Test.LeftOut)
	}
	return s
}

// firstMails says since when each client handed over mail of a test.
func firstMails(list []evidence.Connection) map[netip.Prefix]evidence.Connection {
	out := make(map[netip.Prefix]evidence.Connection)
	for _, c := range list {
		if c.Attribution != evidence.ByMail {
			continue
		}
		if first, ok := out[clientOf(c)]; !ok || c.Start.Before(first.Start) {
			out[clientOf(c)] = c
		}
	}
	return out
}

// whyIn explains why a connection belongs to a test.
func whyIn(r history.TestRecord, c evidence.Connection, since map[netip.Prefix]evidence.Connection, n neighbours) Why {
	w := Why{Connection: c.ID, Start: c.Start, Client: c.Client, By: c.Attribution}
	switch c.Attribution {
	case evidence.ByMail:
		byMail(&w, r, c)
	case evidence.BySlot:
		w.Text = fmt.Sprintf("Its SNI names a host of slot %d, which this test has to itself, and it came from an address of the test.", c.Slot)
	case evidence.ByAddress:
		first, ok := since[clientOf(c)]
		w.Text = fmt.Sprintf("It carried no mail of the test. Its client %s belongs to the test", clientOf(c))
		if ok {
			w.Since = first.Start
			w.Text += fmt.Sprintf(" since %s, when connection %s handed over mail of it", first.Start.UTC().Format(time.DateTime), first.ID)
		}
		w.Text += ", and no other test that was known, of this client or of the same provider, could own it."
		if c.Ending == evidence.EndingOpen {
			w.Text = fmt.Sprintf("It is still open; its client %s belongs to the test.", clientOf(c))
		} else if r.State == history.StateRunning {
			w.Text += " As long as the test runs, that may change."
		}
		w.list(n.others(c, r.Test.ID))
	default:
		w.Text = "The history says nothing about it."
	}
	return w
}

// byMail names the mail that ties a connection to a test.
func byMail(w *Why, r history.TestRecord, c evidence.Connection) {
	w.Sender = r.Test.Sender
	for _, tx := range c.Transactions {
		if !tx.Data {
			continue
		}
		w.MessageID, w.Sender = tx.MessageID, tx.MailFrom
		how := "Message-ID and envelope sender are those of the test"
		switch {
		case tx.MessageID == "":
			how = "it has no Message-ID, and is known by its Date and envelope sender"
		case !slices.Contains(r.MessageIDs, tx.MessageID):
			how = "the envelope sender is that of the test, which then had no verdict yet"
		case !strings.EqualFold(tx.MailFrom, r.Test.Sender):
			how = "the Message-ID is that of the test, and the envelope sender, which some senders change, has its domain"
		}
		w.Text = fmt.Sprintf("It handed over the mail %s of <%s>: %s.", tx.MessageID, tx.MailFrom, how)
		if tx.MessageID == "" {
			w.Text = fmt.Sprintf("It handed over a mail of <%s>: %s.", tx.MailFrom, how)
		}
		return
	}
	w.Text = fmt.Sprintf("MAIL FROM named <%s>, the sender of the test, from a client of the test; no message was handed over.", r.Test.Sender)
}
