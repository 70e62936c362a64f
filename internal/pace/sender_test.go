package pace

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// kind is a policy, as a mail server does it.
type kind struct {
	name                           policyinfer.Name
	sni                            string // never, authenticating, always
	noTLS, needsTLS, verifies      bool   // its own rule
	dane, daneOnly, sts, bothApply bool
}

func kinds() []kind {
	return []kind{
		{name: policyinfer.None, sni: "never", noTLS: true},
		{name: policyinfer.May, sni: "never"},
		{name: policyinfer.May, sni: "always"},
		{name: policyinfer.Encrypt, sni: "never", needsTLS: true},
		{name: policyinfer.Encrypt, sni: "always", needsTLS: true},
		{name: policyinfer.Verify, sni: "never", needsTLS: true, verifies: true},
		{name: policyinfer.MTASTS, sni: "authenticating", sts: true},
		{name: policyinfer.MTASTS, sni: "always", sts: true},
		{name: policyinfer.DANE, sni: "authenticating", dane: true},
		{name: policyinfer.DANE, sni: "always", dane: true},
		{name: policyinfer.DANEMTASTS, sni: "authenticating", dane: true, sts: true, bothApply: true},
		{name: policyinfer.DANEMTASTS, sni: "always", dane: true, sts: true, bothApply: true},
		{name: policyinfer.DANEOnly, sni: "authenticating", dane: true, daneOnly: true, needsTLS: true},
	}
}

// habit is how many MX hosts are tried in an attempt, and in which order. A
// sender that shuffles hosts of equal preference (RFC 5321 §5.1) is no habit of
// its own: the sink never publishes equal ones. One that ignores preferences
// altogether violates the RFC; it is here to see what becomes of it.
type habit struct {
	name      string
	tries     int // connections; 0 is no limit
	mails     int // of these, with MAIL; 0 is no limit
	unordered bool
}

func habits() []habit {
	return []habit{
		{name: "1", tries: 1},
		{name: "2", mails: 2}, // as Postfix does: refusals do not count
		{name: "all"},
		{name: "1, unordered", tries: 1, unordered: true},
		{name: "2, unordered", mails: 2, unordered: true},
		{name: "all, unordered", unordered: true},
	}
}

// schedule says when the next attempt comes, from the age of the mail.
type schedule struct {
	name string
	next func(rng *rand.Rand, scan, age time.Duration) time.Duration // the age at the next attempt
}

func schedules() []schedule {
	fixed := func(d time.Duration) schedule {
		return schedule{fmt.Sprintf("%.0f min", d.Minutes()), func(rng *rand.Rand, _, age time.Duration) time.Duration {
			return age + d + time.Duration(rng.Int64N(int64(20*time.Second)))
		}}
	}
	return []schedule{
		// queue_run_delay 300s, minimal_backoff_time 300s, maximal_backoff_time 4000s
		{"Postfix", func(_ *rand.Rand, scan, age time.Duration) time.Duration {
			return nextRun(scan, 5*time.Minute, age+min(max(age, 5*time.Minute), 4000*time.Second))
		}},
		// a queue run every 30 minutes; F,2h,15m; G,16h,1h,1.5
		{"Exim", func(_ *rand.Rand, scan, age time.Duration) time.Duration {
			wait := 15 * time.Minute
			if age >= 2*time.Hour {
				wait = max(time.Hour, age/2)
			}
			return nextRun(scan, 30*time.Minute, age+wait)
		}},
		fixed(10 * time.Minute), fixed(15 * time.Minute), fixed(20 * time.Minute), fixed(30 * time.Minute), fixed(60 * time.Minute),
	}
}

// nextRun is the first queue run at or after an age; runs come every interval,
// the first one scan (less than every) after the mail.
func nextRun(scan, every, age time.Duration) time.Duration {
	if age <= scan {
		return scan
	}
	return scan + (age-scan+every-1)/every*every
}

// sender sends one mail to both domains.
type sender struct {
	kind
	habit
	sink   *sink
	alerts bool // a refused certificate looks like an alert, else like QUIT
	early  bool // hosts that the MTA-STS policy does not list are not contacted
	sent   time.Time
}

func newSender(rng *rand.Rand, k kind, h habit, s *sink) *sender {
	return &sender{kind: k, habit: h, sink: s, alerts: rng.IntN(2) == 0, early: rng.IntN(2) == 0, sent: s.now}
}

func (s *sender) attempt() {
	if !s.daneOnly {
		s.connect(scenario.Unprotected, scenario.UT)
	}
	order := s.sink.order
	if s.unordered {
		s.sink.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	mails, tries := 0, 0
	for _, h := range order {
		if s.sts && s.early && h == scenario.MX03 {
			continue
		}
		if s.tries > 0 && tries == s.tries || s.mails > 0 && mails == s.mails {
			return
		}
		tries++
		if s.connect(scenario.ET, h) {
			mails++
		}
	}
}

// connect reports whether the mail was handed over.
func (s *sender) connect(d scenario.Domain, h scenario.Host) bool {
	c := s.sink.connection()
	authenticates := d == scenario.ET && (s.dane || s.sts)
	if !c.StartTLSOffered || s.noTLS {
		if authenticates || s.needsTLS {
			s.sink.record(c, evidence.EndingQuit)
			return false
		}
		s.mail(c, d, false)
		return true
	}
	sni := s.sni == "always" || s.sni == "authenticating" && authenticates
	kind, varying := s.sink.certificate(h, sni)
	version := "1.3"
	c.StartTLS = true
	c.TLS = &evidence.TLS{ClientVersions: []string{"1.2", "1.3"}, Version: &version, Stage: evidence.StageFinished, Complete: true, Certificate: string(kind)}
	if sni {
		name := scenario.Names(zone, 0).Host(h)
		c.TLS.SNI, c.Destination = &name, string(d)
	}
	if s.accepts(h, kind, authenticates) {
		s.mail(c, d, true)
		if varying != nil && kind != scenario.SelfSigned {
			s.sink.deliveredCA++
			if kind == scenario.CA || d == scenario.ET || s.sink.deliveredCA > 1 {
				*varying, s.sink.deliveredCA = false, 0
			}
		}
		return true
	}
	ending := evidence.EndingQuit
	if s.alerts {
		alert := "bad certificate"
		c.TLS.Alert, ending = &alert, evidence.EndingAlert
	}
	s.sink.record(c, ending)
	if varying != nil {
		*varying = true
	}
	return false
}

func (s *sender) accepts(h scenario.Host, k scenario.Kind, authenticates bool) bool {
	ca, matches := k != scenario.SelfSigned, h == scenario.MX04 || h == scenario.MX06
	listed := ca && h != scenario.MX03
	switch {
	case authenticates && s.bothApply:
		return matches && listed
	case authenticates && s.dane:
		return matches
	case authenticates:
		return listed
	}
	return !s.verifies || ca
}

func (s *sender) mail(c *evidence.Connection, d scenario.Domain, tls bool) {
	n := scenario.Names(zone, 0)
	both, from := []string{"en@" + n.ET, "en@" + n.UT}, "user@sender.example"
	to := both[:1]
	if d == scenario.Unprotected {
		to = both[1:]
	}
	c.MailFrom, c.RcptTo, c.Data, c.Addressed, c.Destination = &from, to, true, both, string(d)
	c.Transactions = []evidence.Transaction{{
		MailFrom: from, RcptTo: to, Data: true, Reply: 451, TLS: tls, Addressed: both, MessageID: "<1@sender.example>", Message: &evidence.Message{Date: s.sent},
	}}
	s.sink.record(c, evidence.EndingQuit)
}
