package assess

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// client is a client address and its treatment.
type client struct {
	key      netip.Prefix
	started  time.Time // of the treatment
	withhold withholding
	last     time.Time // last connection, start or end
	// downgradeNext: another downgrade phase starts with the next connection.
	downgradeNext bool
	inherited     bool // it had no downgrade phase of its own
	open          int  // connections
	varying       map[varyingKey]*alternate
	loose         []evidence.Connection // of this treatment, without a mail of ours
	dropped       int                   // that found no room in loose
	tests         []*test               // with a mail from here in this treatment
}

// varyingKey is a certificate that varies: the default one, or that of ut.
type varyingKey struct {
	slot  int
	owner scenario.Owner
}

// alternate is the state of a varying certificate: self-signed until refused,
// then from the public CA; after a delivery there, self-signed once more. The
// default certificate is for et and ut: a sender that visits them in turn must
// not see the same one at the same domain for ever, so that only a delivery at
// et, or a second one, takes it back.
type alternate struct {
	ca        bool
	delivered int // since it comes from the CA
}

func (a *alternate) kind() scenario.Kind {
	if a.ca {
		return scenario.CA
	}
	return scenario.SelfSigned
}

func newClient(key netip.Prefix, now time.Time, w withholding) *client {
	w.begin(now)
	return &client{key: key, started: now, withhold: w, last: now, varying: make(map[varyingKey]*alternate)}
}

func (c *client) alternate(slot int, owner scenario.Owner) *alternate {
	k := varyingKey{slot, owner}
	if c.varying[k] == nil {
		c.varying[k] = &alternate{}
	}
	return c.varying[k]
}

// over reports whether the treatment has ended: its tests, of which there was
// one, are all acked or closed, or it was silent for too long.
func (c *client) over(now time.Time, forget time.Duration) bool {
	if c.open == 0 && now.Sub(c.last) >= forget {
		return true
	}
	return c.finished(now)
}

// finished reports whether there were tests and all of them have ended: by now,
// which is in the past while history is replayed.
func (c *client) finished(now time.Time) bool {
	return len(c.tests) > 0 && !slices.ContainsFunc(c.tests, func(t *test) bool {
		end := t.ended()
		return end.IsZero() || end.After(now)
	})
}

// settled reports whether all tests of the client have their verdict, and some
// still wait for their mail to be accepted.
func (c *client) settled() bool {
	open := slices.ContainsFunc(c.tests, func(t *test) bool { return t.rec.Open() })
	return open && !slices.ContainsFunc(c.tests, func(t *test) bool { return t.running() })
}

func (c *client) join(t *test) {
	t.latest = c
	if !slices.Contains(c.tests, t) {
		c.tests = append(c.tests, t)
	}
}

// learn lets the outcome of a connection change the varying certificates.
func (c *client) learn(zone string, conn evidence.Connection) {
	if conn.TLS == nil {
		return
	}
	slot, owner, ok := varyingOf(zone, conn.TLS)
	if !ok {
		return
	}
	a := c.alternate(slot, owner)
	shownCA := scenario.Kind(conn.TLS.Certificate).Trusted()
	delivered := slices.ContainsFunc(conn.Transactions, func(t evidence.Transaction) bool { return t.TLS && t.Data })
	switch {
	case delivered && shownCA:
		a.delivered++
		if owner == scenario.OwnerUT || conn.Destination == string(scenario.ET) || a.delivered > 1 {
			*a = alternate{}
		}
	case !delivered && !shownCA && refused(conn):
		*a = alternate{ca: true}
	}
}

// refused reports whether the client left by itself after it saw our
// certificate. This only chooses what to show next, so a mistake costs a
// connection, never a verdict.
func refused(conn evidence.Connection) bool {
	if conn.TLS.Stage == evidence.StageBeforeCertificate || len(conn.Transactions) > 0 {
		return false
	}
	return conn.Ending != evidence.EndingServer && conn.Ending != evidence.EndingOpen
}

// varyingOf says which varying certificate a handshake was about.
func varyingOf(zone string, t *evidence.TLS) (slot int, owner scenario.Owner, ok bool) {
	sni := ""
	if t.SNI != nil {
		sni = *t.SNI
	}
	target, found := scenario.Find(zone, sni)
	switch {
	case !found || sni == "":
		return 0, scenario.OwnerDefault, true
	case target.Role == scenario.RoleUT:
		return target.Slot, scenario.OwnerUT, true
	case target.Role == scenario.RoleET:
		return 0, scenario.OwnerDefault, true
	}
	return 0, "", false
}
