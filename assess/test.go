package assess

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// test is a test in memory: a running one, or one that ended while a mail that
// may own what it owns can still come.
type test struct {
	rec     history.TestRecord
	own     []evidence.Connection   // with its mails, in order of arrival
	place   map[evidence.ConnID]int // of each in own
	clients map[netip.Prefix]*client
	copies  map[copyKey]bool // copies that were answered; true: with 250
	date    time.Time        // when the first mail was written, as far as known
	first   time.Time        // its first message
	beside  bool             // another test of its slot ran at the same time
	verdict *policyinfer.Verdict
	dropped int       // connections that found no room in own
	dirty   bool      // evidence came since verdict
	due     time.Time // when the attempt in progress will be over
	unsaved bool      // the last write about it failed

	inferred time.Time // when verdict was made

	// What it may have in common with other tests of its provider, see kin.
	traits   map[trait]bool
	names    map[string]bool // in EHLO, that are no trait
	networks map[netip.Prefix]bool
	places   int       // clients that its mails came from
	kept     time.Time // when it was last kept for its kin

	latest *client        // that its last mail came from
	shown  evidence.Phase // of latest, as Changed was last told
}

// copyKey is one copy of a mail: et and ut each get one.
type copyKey struct {
	messageID string
	domain    scenario.Domain
}

func copiesOf(tx evidence.Transaction, domains []scenario.Domain) (out []copyKey) {
	for _, d := range domains {
		out = append(out, copyKey{mailID(tx), d})
	}
	return out
}

func (t *test) running() bool { return t.rec.State == history.StateRunning }

func (t *test) has(messageID string) bool { return slices.Contains(t.rec.MessageIDs, messageID) }

// sentBy reports whether the envelope sender is that of the test.
func (t *test) sentBy(mailFrom string) bool { return strings.EqualFold(t.rec.Test.Sender, mailFrom) }

// put inserts or overwrites a connection that carries mail of the test.
func (t *test) put(c evidence.Connection, most int) {
	t.note(c)
	c = t.itsPart(c)
	i, known := t.place[c.ID]
	switch {
	case known:
		t.own[i] = c
	case len(t.own) < most:
		if t.place == nil {
			t.place = make(map[evidence.ConnID]int)
		}
		t.place[c.ID] = len(t.own)
		t.own = append(t.own, c)
	default:
		t.dropped++
	}
}

// keep leaves t only some of its connections.
func (t *test) keep(own []evidence.Connection) {
	t.own = own
	clear(t.place)
	for i, c := range own {
		t.place[c.ID] = i
	}
}

// carries reports whether a transaction may be one of the test: of its sender,
// or its mail under another address of the same domain.
func (t *test) carries(tx evidence.Transaction) bool {
	if slot, domains := domainsOf(t.rec.Test.Zone, tx.RcptTo); len(domains) > 0 && slot != t.rec.Test.Slot {
		return false // one mail may go to two slots in one session
	}
	if !tx.Data {
		return t.sentBy(tx.MailFrom)
	}
	return t.has(mailID(tx)) && (t.sentBy(tx.MailFrom) || sameDomain(t.rec.Test.Sender, tx.MailFrom))
}

// itsPart returns c without the mails of others: sessions may be shared.
func (t *test) itsPart(c evidence.Connection) evidence.Connection {
	c.Attribution = evidence.ByMail
	all := len(c.Transactions)
	c.Transactions = slices.DeleteFunc(slices.Clone(c.Transactions), func(tx evidence.Transaction) bool { return !t.carries(tx) })
	if len(c.Transactions) < all {
		c.Data, c.RcptTo, c.Addressed, c.Refused = false, nil, nil, nil
		for _, tx := range c.Transactions {
			c.Data = c.Data || tx.Data
			c.RcptTo, c.Addressed = with(c.RcptTo, tx.RcptTo), with(c.Addressed, tx.Addressed)
		}
	}
	if c.MailFrom != nil && !t.sentBy(*c.MailFrom) {
		from := t.rec.Test.Sender
		c.MailFrom = &from
	}
	return c
}

// with returns list with what it does not hold of more.
func with(list, more []string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// firstOf returns when the first connection with a mail began; at the latest
// when the given one did.
func (t *test) firstOf(messageID string, at time.Time) time.Time {
	for _, c := range t.own {
		if c.Start.Before(at) && carried([]evidence.Connection{c}, messageID) {
			at = c.Start
		}
	}
	return at
}

// adopts is the earliest time from which the test may own connections of a
// client that carry no mail: never before its mail was written.
func (t *test) adopts(skew time.Duration) time.Time {
	if t.date.IsZero() || t.date.After(t.first.Add(skew)) {
		return t.first
	}
	return t.date.Add(-skew)
}

// mayOwn reports whether a connection without mail of ours may be the test's.
func (t *test) mayOwn(c *evidence.Connection, skew time.Duration) bool {
	if c.MailFrom != nil && !t.sentBy(*c.MailFrom) {
		return false
	}
	if c.Slot != t.rec.Test.Slot {
		_, named := slotNamed(t.rec.Test.Zone, c) // 0 also stands for names of others
		if named || c.Slot > 0 || len(c.RcptTo) > 0 {
			return false
		}
	}
	if end := t.ended(); !end.IsZero() && c.Start.After(end) {
		return false
	}
	return !c.Start.Before(t.adopts(skew))
}

func (t *test) ended() time.Time {
	if !t.rec.Acked.IsZero() {
		return t.rec.Acked
	}
	return t.rec.Closed
}

// conclusive reports whether the test ended with a verdict.
func (t *test) conclusive() bool {
	v := t.verdict
	if v == nil {
		v = new(policyinfer.Verdict)
		if json.Unmarshal(t.rec.Verdict, v) != nil {
			return false
		}
	}
	return v.Conclusive
}

// lacks reports whether no mail has come for the domains yet.
func (t *test) lacks(domains []scenario.Domain) bool {
	for k := range t.copies {
		if slices.Contains(domains, k.domain) {
			return false
		}
	}
	return true
}

// lacksAck reports whether a copy for the domain got 451, and no 250 yet.
func (t *test) lacksAck(d scenario.Domain) bool {
	for k, acked := range t.copies {
		if k.domain == d && !acked {
			return true
		}
	}
	return false
}

// allAcked reports whether every copy that was answered 451 got its 250.
func (t *test) allAcked() bool {
	for _, acked := range t.copies {
		if !acked {
			return false
		}
	}
	return len(t.copies) > 0
}

// newID makes a short id for people: six characters without look-alikes.
func newID(r io.Reader) (string, error) {
	b := make([]byte, 5)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", fmt.Errorf("make test id: %w", err)
	}
	enc := base32.NewEncoding("23456789ABCDEFGHJKLMNPQRSTUVWXYZ").WithPadding(base32.NoPadding)
	return enc.EncodeToString(b)[:6], nil
}

// newCapability makes an unguessable token of 160 bits.
func newCapability(r io.Reader) (string, error) {
	b := make([]byte, 20)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", fmt.Errorf("make capability: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// domainsOf returns the test domains and the slot of the recipients.
func domainsOf(zone string, rcpts []string) (slot int, domains []scenario.Domain) {
	for _, r := range rcpts {
		at := strings.LastIndexByte(r, '@')
		target, ok := scenario.Find(zone, r[at+1:])
		if !ok || target.Role != scenario.RoleET && target.Role != scenario.RoleUT {
			continue
		}
		d := scenario.ET
		if target.Role == scenario.RoleUT {
			d = scenario.Unprotected
		}
		slot = target.Slot
		if !slices.Contains(domains, d) {
			domains = append(domains, d)
		}
	}
	return slot, domains
}
