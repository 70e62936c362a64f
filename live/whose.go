package live

import (
	"slices"
	"sort"
	"strings"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

// A reading is what one connection shows, before it is put into words.
type reading struct {
	outcome Outcome
	attempt int    // counts the attempts of the test
	counts  bool   // it tells of the sender, so the strip of the seven servers shows it
	doubt   phrase // why what looks like a refusal is not told as one; empty if nothing
}

// readings are all connections of a test, read once.
type readings struct {
	of  []reading          // as the connections of the history
	own []policyinfer.Span // the attempts of the sender's queue: a mail came, or was kept back
}

// read reads all connections of h, and tells what the sender did from what only
// its address or the name of its slot ties to the test. v is the verdict so far.
func (t teller) read(h *evidence.History, v *policyinfer.Verdict) readings {
	spans := policyinfer.Spans(h)
	of := make([]reading, len(h.Connections))
	delivered, mailers := make(map[place]bool), make(map[mailer]bool)
	for i := range h.Connections {
		c, r := &h.Connections[i], &of[i]
		r.outcome = t.outcome(c)
		r.attempt = attemptOf(c, spans)
		if r.handedOver() {
			delivered[placeOf(c)] = true
			for _, name := range c.Helo {
				mailers[mailerOf(c, r.attempt, name)] = true
			}
		}
	}
	cited := citedBy(v)
	own := make([]bool, len(spans))
	for i := range h.Connections {
		c, r := &h.Connections[i], &of[i]
		if r.counts = !tiedByAddress(c) || r.handedOver() || cited[c.ID]; !r.counts {
			beside := slices.ContainsFunc(c.Helo, func(name string) bool { return mailers[mailerOf(c, r.attempt, name)] })
			r.judge(beside, delivered[placeOf(c)])
		}
		own[r.attempt] = own[r.attempt] || r.outcome != Contacted || c.MailFrom != nil || len(c.Transactions) > 0
	}
	out := readings{of: of}
	for n, is := range own {
		if is {
			out.own = append(out.own, spans[n])
		}
	}
	return out
}

// attemptOf is the last of the attempts that had begun when c did.
func attemptOf(c *evidence.Connection, spans []policyinfer.Span) int {
	return max(0, sort.Search(len(spans), func(i int) bool { return spans[i].Start.After(c.Start) })-1)
}

func (r *reading) handedOver() bool { return r.outcome == Plaintext || r.outcome == Encrypted }

// judge says whether a connection that carried no mail is the sender's doing.
// beside: a mail came in the same attempt from the same host; delivered: one was
// handed over where this went, at any time.
func (r *reading) judge(beside, delivered bool) {
	switch {
	case r.outcome == Contacted:
		r.counts = beside
	case !beside:
		r.outcome, r.doubt = Contacted, byHand
	case delivered:
		r.outcome, r.doubt = Contacted, alsoDelivered
	default:
		r.counts = true
	}
}

// Why a refusal may be none. Whoever can log in at the mail server can make such a
// connection by hand, under its name (posttls-finger).
var (
	byHand = phrase{
		"This connection came apart from your mail, and may have been a test by hand, so it does not count as something that your provider did.",
		"Diese Verbindung kam getrennt von Ihrer E-Mail und kann ein Versuch von Hand gewesen sein; als Verhalten Ihres Anbieters zählt sie deshalb nicht.",
	}
	alsoDelivered = phrase{
		"Your provider has also handed mail over there, so this connection does not count as a refusal.",
		"Ihr Anbieter hat dort auch E-Mails übergeben; als Ablehnung zählt diese Verbindung deshalb nicht.",
	}
)

// A place is a server with one of its certificates.
type place struct {
	server      int
	tls         bool
	certificate string
}

func placeOf(c *evidence.Connection) place {
	if c.TLS == nil {
		return place{server: c.Server}
	}
	return place{c.Server, true, c.TLS.Certificate}
}

// tiedByAddress reports whether only the address of c, or the name of a slot
// that it asked for, ties it to its test.
func tiedByAddress(c *evidence.Connection) bool {
	return c.Attribution == evidence.ByAddress || c.Attribution == evidence.BySlot
}

// citedBy returns the connections that v rests on.
func citedBy(v *policyinfer.Verdict) map[evidence.ConnID]bool {
	out := make(map[evidence.ConnID]bool)
	for _, r := range v.Reasons {
		for _, id := range r.Connections {
			out[id] = true
		}
	}
	return out
}

// A mailer is a host that handed over mail in an attempt, by a name in its EHLO.
type mailer struct {
	attempt    int
	host, name string
}

func mailerOf(c *evidence.Connection, attempt int, name string) mailer {
	host := c.Client
	if port := strings.LastIndexByte(host, ':'); port >= 0 {
		host = host[:port]
	}
	return mailer{attempt, host, strings.ToLower(name)}
}
