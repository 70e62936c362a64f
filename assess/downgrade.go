package assess

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// Downgrade says from which connections of a client STARTTLS is withheld.
type Downgrade string

// The values of Downgrade.
const (
	// Timed withholds it from all of them, for Timing.Downgrade after the first.
	Timed Downgrade = "timed"
	// FirstContact withholds it from the first one to an address of ut, and from
	// the first one to any other address. ut must have addresses of its own.
	FirstContact Downgrade = "first-contact"
)

// Check reports a mode that does not exist, and one that needs more addresses
// than the test domains have to themselves.
func (d Downgrade) Check(own map[netip.Addr]scenario.Domain) error {
	switch d {
	case "", Timed:
		return nil
	case FirstContact:
		for _, domain := range own {
			if domain == scenario.Unprotected {
				return nil
			}
		}
		return fmt.Errorf("downgrade.mode is %q, but ut has no address of its own: list one in dns.ut_addresses that is in neither dns.addresses nor dns.mx_addresses, or choose %q", d, Timed)
	}
	return fmt.Errorf("downgrade.mode is %q: want %q or %q", d, Timed, FirstContact)
}

// withholding decides from which connections of one client, in one treatment,
// STARTTLS is withheld. The caller holds the lock.
type withholding interface {
	// begin: a downgrade phase starts with the next connection.
	begin(now time.Time)
	// accept decides about a new connection, to an address that to has to itself.
	accept(id evidence.ConnID, to scenario.Domain, now time.Time)
	// dismiss takes accept back: it was a probe of our own, accepted at a time.
	dismiss(id evidence.ConnID, at time.Time)
	// phase of a connection.
	phase(id evidence.ConnID, now time.Time) evidence.Phase
	// next is the phase of the next connection, and when that ends if it ends by
	// time; timed: it does.
	next(now time.Time) (evidence.Phase, time.Time)
	timed() bool
	// secureSince is when STARTTLS was first offered; asked only once it was.
	secureSince() time.Time
	// seen is told how a connection ended, also while history is replayed.
	seen(to scenario.Domain, final evidence.Connection)
	// sentAgain: the mail was sent again, perhaps because it bounced.
	sentAgain(now time.Time)
	// end: STARTTLS is offered from now on.
	end(now time.Time)
}

func (d Downgrade) withholding(t Timing) withholding {
	if d == FirstContact {
		return &firstContact{gap: t.Attempt}
	}
	return &timed{length: t.Downgrade}
}

// timed withholds STARTTLS for a while.
type timed struct {
	length   time.Duration
	secureAt time.Time
}

func (t *timed) begin(now time.Time) { t.secureAt = now.Add(t.length) }

func (t *timed) accept(evidence.ConnID, scenario.Domain, time.Time) {}

func (t *timed) dismiss(evidence.ConnID, time.Time) {}

func (t *timed) phase(_ evidence.ConnID, now time.Time) evidence.Phase {
	if now.Before(t.secureAt) {
		return evidence.Downgrade
	}
	return evidence.Secure
}

func (t *timed) next(now time.Time) (evidence.Phase, time.Time) {
	if p := t.phase("", now); p == evidence.Secure {
		return p, time.Time{}
	}
	return evidence.Downgrade, t.secureAt
}

func (t *timed) timed() bool { return true }

func (t *timed) secureSince() time.Time { return t.secureAt }

func (t *timed) seen(scenario.Domain, evidence.Connection) {}

func (t *timed) sentAgain(now time.Time) { t.end(now) }

func (t *timed) end(now time.Time) { t.secureAt = earlier(t.secureAt, now) }

// firstContact withholds STARTTLS from the first connection to each test
// domain. If that one told nothing for certain, the first one of a later attempt
// is such a connection once more: a lost connection must not be the only chance
// to see what happens without STARTTLS, nor may a sender wait for STARTTLS for
// ever.
type firstContact struct {
	gap    time.Duration // between attempts
	began  time.Time
	secure time.Time // STARTTLS was first offered
	et, ut meeting
}

// meeting is what came of the connections to one domain without STARTTLS.
type meeting struct {
	open  evidence.ConnID // one that has not ended
	ended int
	last  time.Time // when the last one ended
	told  bool
}

// mostMeetings is how often STARTTLS is withheld for one domain.
const mostMeetings = 2

func (f *firstContact) begin(now time.Time) { *f = firstContact{gap: f.gap, began: now} }

// with returns the meeting with a domain. et may share its addresses with our
// own mail host.
func (f *firstContact) with(to scenario.Domain) *meeting {
	if to == scenario.Unprotected {
		return &f.ut
	}
	return &f.et
}

func (f *firstContact) accept(id evidence.ConnID, to scenario.Domain, now time.Time) {
	if m := f.with(to); m.open == "" && m.again(now, f.gap) {
		m.open = id
	}
}

// again reports whether STARTTLS is withheld from the next connection.
func (m *meeting) again(now time.Time, gap time.Duration) bool {
	return m.ended == 0 || !m.told && m.ended < mostMeetings && now.Sub(m.last) > gap
}

// next is about et, where most is to be learned.
func (f *firstContact) next(now time.Time) (evidence.Phase, time.Time) {
	if f.et.open == "" && f.et.again(now, f.gap) {
		return evidence.Downgrade, time.Time{}
	}
	return evidence.Secure, time.Time{}
}

func (f *firstContact) timed() bool { return false }

func (f *firstContact) dismiss(id evidence.ConnID, at time.Time) {
	for _, m := range []*meeting{&f.et, &f.ut} {
		if m.open == id {
			m.open = ""
		}
	}
	if f.secure.Equal(at) {
		f.secure = time.Time{}
	}
}

func (f *firstContact) phase(id evidence.ConnID, now time.Time) evidence.Phase {
	if id == f.et.open || id == f.ut.open {
		return evidence.Downgrade
	}
	if f.secure.IsZero() {
		f.secure = now
	}
	return evidence.Secure
}

func (f *firstContact) secureSince() time.Time { return f.secure }

func (f *firstContact) seen(to scenario.Domain, final evidence.Connection) {
	switch {
	case final.Start.Before(f.began):
		return // of an earlier phase
	case final.Phase == evidence.Secure:
		if f.secure.IsZero() {
			f.secure = final.Start
		}
		return
	}
	m := f.with(to)
	if m.open == final.ID {
		m.open = ""
	}
	if len(final.Helo) == 0 {
		return // it left before it could know
	}
	m.ended++
	m.last = final.End
	m.told = m.told || tellsWithoutTLS(final)
}

// tellsWithoutTLS reports whether a connection without STARTTLS shows what its
// client does then: it hands a mail over, or says that it leaves.
func tellsWithoutTLS(c evidence.Connection) bool {
	if len(c.Transactions) == 0 {
		return c.Ending == evidence.EndingQuit
	}
	return slices.ContainsFunc(c.Transactions, func(tx evidence.Transaction) bool { return tx.Data })
}

// sentAgain changes nothing: a domain that was met is met without STARTTLS no
// more, and one that was not still has its first contact.
func (f *firstContact) sentAgain(time.Time) {}

func (f *firstContact) end(time.Time) {
	for _, m := range []*meeting{&f.et, &f.ut} {
		m.ended, m.told = max(m.ended, 1), true
	}
}
