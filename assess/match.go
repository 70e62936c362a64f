package assess

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/scenario"
)

// mailID identifies a mail of one sender: its Message-ID, or its Date if it has
// none; "" without either. What stands for a Message-ID holds spaces, which no
// Message-ID does.
func mailID(tx evidence.Transaction) string {
	if tx.MessageID != "" || tx.Message == nil || tx.Message.Date.IsZero() {
		return tx.MessageID
	}
	return "no Message-ID, " + tx.Message.Date.UTC().Format(time.RFC3339)
}

// isMailOf reports whether a mail is one of the test r already. here: it comes
// from a client that the test knows.
//
// From another client only the envelope sender of the test and its Message-ID
// will do, see also admits. Senders that change the envelope sender with each message or each
// attempt (VERP, BATV, SRS) keep its domain: from a client of the test, that
// and the Message-ID suffice. Bounces of all the world have the same sender, and a
// Date is no secret.
func isMailOf(r history.TestRecord, tx evidence.Transaction, here bool) bool {
	id := mailID(tx)
	if id == "" || !slices.Contains(r.MessageIDs, id) {
		return false
	}
	if strings.EqualFold(r.Test.Sender, tx.MailFrom) {
		return here || tx.MailFrom != "" && tx.MessageID != ""
	}
	return here && sameDomain(r.Test.Sender, tx.MailFrom)
}

// sameDomain reports whether two addresses have the same domain.
func sameDomain(a, b string) bool {
	domain := mailDomain(a)
	return domain != "" && domain == mailDomain(b)
}

func mailDomain(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return ""
	}
	return scenario.Canonical(address[at+1:])
}

// clientOf returns the key of the client of a connection.
func clientOf(c evidence.Connection) string {
	ap, err := netip.ParseAddrPort(c.Client)
	if err != nil {
		return ""
	}
	return evidence.ClientOf(ap.Addr()).String()
}

// match finds the test that a message continues: that of its Message-ID, or
// the running one of its sender. From another address than before, only a mail
// with the Message-ID of the test joins it: anybody can use a MAIL FROM. A test
// whose verdict is reached ends when its sender sends a new mail, unless that is
// the first one for its domain: et and ut may come as two mails. But a test that
// ended without verdict has nothing to say about the second one. A new one
// starts afresh, also in its treatment.
//
// A test that has ended is returned for its own mail alone. The store answers
// for those, but it is behind when the copies for et and ut come together and
// the first of them ends the test.
func (a *Assessor) match(from *client, tx evidence.Transaction, slot int, domains []scenario.Domain) *test {
	var own, latest *test
	for _, t := range a.tests {
		if t.rec.Test.Slot != slot || !atToken(t.rec, tx) {
			continue
		}
		here := t.clients[from.key] != nil
		switch {
		case isMailOf(t.rec, tx, here) && (here || t.admits(tx)):
			if own == nil || t.fits(tx, own) {
				own = t
			}
		case here && t.rec.Open() && tx.MailFrom != "" && t.sentBy(tx.MailFrom) && (latest == nil || t.first.After(latest.first)):
			latest = t
		}
	}
	switch {
	case own != nil:
		return own
	case latest == nil || latest.running() || latest.has(mailID(tx)):
		return latest
	case latest.lacks(domains) && latest.conclusive():
		return latest
	}
	latest.rec.State, latest.rec.Closed = history.StateClosed, a.o.Now()
	a.o.Store.Submit(history.Batch{Tests: []history.TestRecord{latest.rec}})
	a.over(latest)
	return nil
}

// admits reports whether a mail from a new client may be one of the test. If SPF
// named the clients so far, it has to name this one: else somebody who knows a
// Message-ID could hand over a copy by his own rules.
func (t *test) admits(tx evidence.Transaction) bool {
	x, named := mailTrait(tx)
	return named || !t.traits[x] || tx.Message.SPF.Result == evidence.AuthTempError
}

// fits reports whether a mail that two tests have belongs to t rather than to o:
// one that is open, of that very sender, and older, in this order.
func (t *test) fits(tx evidence.Transaction, o *test) bool {
	if t.rec.Open() != o.rec.Open() {
		return t.rec.Open()
	}
	if t.sentBy(tx.MailFrom) != o.sentBy(tx.MailFrom) {
		return t.sentBy(tx.MailFrom)
	}
	return t.first.Before(o.first)
}

// open starts a test.
func (a *Assessor) open(c *client, tx evidence.Transaction, slot int, now time.Time) (*test, error) {
	running, here := 0, 0
	for _, t := range a.tests {
		if t.running() {
			running++
		}
	}
	for _, t := range c.tests {
		if t.running() {
			here++
		}
	}
	if running >= a.o.Limits.Tests || here >= a.o.Limits.PerClient {
		return nil, fmt.Errorf("%d tests are running, %d of them for client %s", running, here, c.key)
	}
	if c.finished(now) {
		// The treatment is over, but this connection began in it: the new test
		// has a downgrade phase of its own, from the next connection on.
		c.started, c.tests, c.loose, c.dropped, c.downgradeNext = now, nil, nil, 0, true
	}
	if c.inherited {
		c.inherited, c.downgradeNext = false, true
	}
	id, capability, leased := a.claim(slot, tx)
	if !leased {
		var err error
		if capability, err = newCapability(a.o.Rand); err != nil {
			return nil, err
		}
		if id, err = a.freshID(); err != nil {
			return nil, err
		}
	}
	t := &test{
		rec: history.TestRecord{
			Test:       evidence.Test{ID: id, Zone: a.o.Zone, Slot: slot, Started: now, Sender: tx.MailFrom, SenderIPs: []string{}, Timing: a.o.Timing.evidence()},
			Capability: capability, State: history.StateRunning, Opened: now, Leased: leased, Token: tokenOf(tx),
		},
		clients: make(map[netip.Prefix]*client), copies: make(map[copyKey]bool), first: now,
	}
	a.tests[id] = t
	a.noteBeside(t)
	a.o.Store.Submit(history.Batch{
		Tests:      []history.TestRecord{t.rec},
		TestStates: []history.TestState{{TestID: id, State: evidence.State{Time: c.started, Phase: evidence.Downgrade}}},
	})
	return t, nil
}

func (a *Assessor) freshID() (string, error) {
	for {
		id, err := newID(a.o.Rand)
		if err != nil {
			return "", err
		}
		switch _, err := a.o.Store.Test(id); {
		case errors.Is(err, history.ErrNotFound) && a.tests[id] == nil:
			return id, nil
		case err != nil && !errors.Is(err, history.ErrNotFound):
			return "", err
		}
	}
}
