package assess

import (
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/scenario"
)

// A test that was started on the web has a slot to itself. Only its own sender
// knows the names of that slot, so a connection without mail whose SNI is one of
// them is this sender's, however many others use the same address.
//
// That holds only while nobody else mails to the slot. Somebody may: a token
// can be passed on, a mail be forwarded, an address be guessed. So it ends, for
// good, with the first mail or attempt of another one that a client of the test
// may be part of. And it holds only for clients of the test: to name a slot is
// easy.

// tokenOf returns the token that a mail went to.
func tokenOf(tx evidence.Transaction) string {
	for _, r := range tx.RcptTo {
		local, _, _ := strings.Cut(strings.ToLower(r), "@")
		if _, ok := scenario.ParseToken(local); ok {
			return local
		}
	}
	return ""
}

// atToken reports whether a mail went to the token of a test. A mail that is sent
// again to a later lease of the same slot begins a test there: it is no copy of
// the old one's.
func atToken(r history.TestRecord, tx evidence.Transaction) bool {
	return r.Token == "" || r.Token == tokenOf(tx)
}

// claim names the test of a mail to a leased slot. The lease names one test; a
// second one, of another sender, gets a name of its own.
func (a *Assessor) claim(slot int, tx evidence.Transaction) (id, capability string, ok bool) {
	token := tokenOf(tx)
	if slot == 0 || token == "" {
		return "", "", false
	}
	id, capability, ok = a.o.Claim(slot, token)
	if !ok {
		return "", "", false
	}
	if t := a.tests[id]; t != nil {
		if t.bare() {
			return id, capability, true
		}
		return "", "", false
	}
	if _, err := a.o.Store.Test(id); err == nil {
		return "", "", false
	}
	return id, capability, true
}

// bare reports whether a test has begun, but a crash came before anything of its
// first mail was stored: the mail that comes again begins it anew.
func (t *test) bare() bool { return t.running() && len(t.own) == 0 && len(t.rec.MessageIDs) == 0 }

// shareSlot notes, when a test is opened, that tests of its slot are not alone
// in it.
func (a *Assessor) shareSlot(fresh *test) {
	if fresh.rec.Test.Slot == 0 {
		return
	}
	for _, o := range a.tests {
		if o == fresh || o.rec.Test.Slot != fresh.rec.Test.Slot {
			continue
		}
		if end := o.ended(); end.IsZero() || fresh.rec.Opened.Sub(end) < a.o.Timing.Margin {
			a.share(o)
			fresh.rec.Shared = true
		}
	}
}

// share ends what was exact about a test by its slot.
func (a *Assessor) share(t *test) {
	if t.rec.Shared || !t.rec.Open() {
		return
	}
	t.rec.Shared = true
	a.o.Store.Submit(history.Batch{Tests: []history.TestRecord{t.rec}})
	a.o.Logger.Info("slot is not used by one sender alone", "test", t.rec.Test.ID, "slot", t.rec.Test.Slot)
}

// usedSlot notes who uses the names of slots, once a connection is over.
func (a *Assessor) usedSlot(c *client, final evidence.Connection) {
	if slot, named := slotNamed(a.o.Zone, &final); named && slot > 0 {
		a.o.Used(slot)
	}
	if len(final.RcptTo) > 0 && final.Slot > 0 {
		a.o.Used(final.Slot)
	}
	for _, r := range final.Refused {
		if slot, domains := domainsOf(a.o.Zone, []string{r}); len(domains) > 0 {
			a.o.Used(slot)
		}
	}
	a.shareRefused(c, final)
}

// shareRefused looks for recipients of leased slots that were refused: somebody
// near a client mails to the slot, and some of what names it may be his.
func (a *Assessor) shareRefused(c *client, conns ...evidence.Connection) {
	last := make(map[int]time.Time) // by slot
	for _, conn := range conns {
		for _, r := range conn.Refused {
			if slot, domains := domainsOf(a.o.Zone, []string{r}); len(domains) > 0 && slot > 0 && conn.End.After(last[slot]) {
				last[slot] = conn.End
			}
		}
	}
	if len(last) == 0 {
		return
	}
	network := networkOf(c.key)
	for _, t := range a.tests {
		if at, ok := last[t.rec.Test.Slot]; ok && t.networks[network] && !at.Before(t.adopts(a.o.Timing.DateSkew)) {
			a.share(t)
		}
	}
}

// over notes that a test was acked or closed.
func (a *Assessor) over(t *test) {
	a.o.Logger.Info("test ended", "test", t.rec.Test.ID, "state", t.rec.State)
	a.o.Changed(t.rec.Test.ID)
	a.o.Ended(t.rec.Test.ID)
}

// slotNamed returns the slot that the SNI of a connection names.
func slotNamed(zone string, c *evidence.Connection) (slot int, ok bool) {
	if c.TLS == nil || c.TLS.SNI == nil {
		return 0, false
	}
	target, ok := scenario.Find(zone, *c.TLS.SNI)
	return target.Slot, ok
}

// exact reports whether a connection without mail, of a client of t, is the
// sender's because it names the slot of t. It has to say an EHLO name that the
// sender's mails come with: what is tried by hand on a mail server is not what
// the mail server does.
func (t *test) exact(zone string, c *evidence.Connection) bool {
	if !t.rec.Leased || t.rec.Shared || c.MailFrom != nil && !t.sentBy(*c.MailFrom) {
		return false
	}
	slot, named := slotNamed(zone, c)
	return named && slot == t.rec.Test.Slot && slices.ContainsFunc(c.Helo, t.greets)
}

// greets reports whether mails of the test come with an EHLO name, or another
// one of the same organization.
func (t *test) greets(name string) bool {
	if x, ok := heloTrait(name); ok {
		return t.traits[x]
	}
	return t.names[strings.ToLower(name)]
}

// clientChanged tells that something of the running tests of a client changed.
func (a *Assessor) clientChanged(c *client) {
	for _, t := range c.tests {
		if t.running() {
			a.o.Changed(t.rec.Test.ID)
		}
	}
}

// Treatment returns the phase that the next connection of a test's sender will
// meet, judged by the client that its last mail came from. ends is when that
// phase ends, zero if that is not a matter of time. ok is false for tests that
// are over or unknown.
func (a *Assessor) Treatment(testID string) (phase evidence.Phase, ends time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tests[testID]
	if t == nil || !t.rec.Open() || t.latest == nil {
		return "", time.Time{}, false
	}
	phase, ends = a.treatment(t, a.o.Now())
	return phase, ends, true
}

func (a *Assessor) treatment(t *test, now time.Time) (evidence.Phase, time.Time) {
	c := t.latest
	switch {
	case a.clients[c.key] != c || c.over(now, a.o.Timing.Forget) || c.downgradeNext:
		return evidence.Downgrade, time.Time{}
	case c.settled() && !c.withhold.timed():
		return evidence.Secure, time.Time{}
	}
	return c.withhold.next(now)
}

// tellPhases tells of running tests whose phase has changed with time, and
// returns when the next one will.
func (a *Assessor) tellPhases(now time.Time) (next time.Duration) {
	next = idle
	for id, t := range a.tests {
		if !t.running() || t.latest == nil {
			continue
		}
		phase, ends := a.treatment(t, now)
		if t.shown != "" && phase != t.shown {
			a.o.Changed(id)
		}
		t.shown = phase
		if ends.After(now) {
			next = min(next, ends.Sub(now))
		}
	}
	return next
}
