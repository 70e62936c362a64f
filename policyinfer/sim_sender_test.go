package policyinfer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/tlsink/tlsink/scenario"
)

// simHost is one outbound host of a sender.
type simHost struct {
	addr    netip.Addr
	helo    string
	p       Policy
	fetchAt time.Time              // when it has the MTA-STS policy; zero: never asked
	failed  map[scenario.Host]bool // where TLS failed, if it remembers that
}

// simMail is one mail in the queue, with its copies that are still to deliver.
type simMail struct {
	id        string
	date      time.Time
	et, ut    bool
	addressed []string
}

// simHabits is how senders of the same policy differ.
type simHabits struct {
	refusal   simRefusal
	missing   simRefusal
	maxMail   int           // MX that are tried after a 4xx to DATA
	maxMX     int           // MX that are tried at all, if they collapse
	retry     time.Duration // between attempts
	stale     time.Duration // its resolver keeps the MX order so long
	fetch     time.Duration // until a policy is there
	shared    bool          // hosts share their policies
	separate  bool          // et and ut go out as separate mails
	toBoth    bool
	lossy     float64 // the path is down for a whole attempt
	flaky     float64 // a connection ends without the sender's doing
	accident  bool    // once, such an end looks like a silent close
	duplicate float64 // two queue runs at once
	reuse     float64 // several messages in a session
	fallBack  bool    // plaintext after a failed handshake
	remembers bool    // ... and from then on
	abort     bool    // alert, reconnect without verification, deliver
	heloOnly  bool    // one that never uses TLS may not even say EHLO
	optNo     bool    // TLS-Required: No
	optTLS    bool    // REQUIRETLS
}

// simRefusal is how it looks when a sender leaves.
type simRefusal int

const (
	simQuit simRefusal = iota
	simAlert
	simClose
	simCloseEarly // during the handshake
	simAlertEarly
	simUnoffered // without STARTTLS: it asks for it all the same
)

func newSimHabits(rng *rand.Rand, p Policy) simHabits {
	often := func(n int) bool { return rng.IntN(n) == 0 }
	return simHabits{
		refusal: simRefusal(rng.IntN(5)), missing: []simRefusal{simQuit, simQuit, simClose, simUnoffered}[rng.IntN(4)],
		maxMail: 1 + rng.IntN(4), maxMX: []int{1, 2, 4, 4}[rng.IntN(4)],
		retry: []time.Duration{5, 10, 15, 20, 30, 60}[rng.IntN(6)] * time.Minute,
		stale: []time.Duration{0, 0, time.Duration(rng.IntN(60)) * time.Minute}[rng.IntN(3)],
		fetch: time.Duration(rng.IntN(9)*rng.IntN(2)) * time.Minute, shared: often(2), separate: often(5), toBoth: !often(5),
		lossy: []float64{0, 0, 0.1, 0.3}[rng.IntN(4)], flaky: []float64{0, 0, 0.1, 0.3}[rng.IntN(4)], accident: often(3),
		duplicate: []float64{0, 0, 0.2}[rng.IntN(3)], reuse: []float64{0, 0, 0.3}[rng.IntN(3)],
		fallBack: often(3), remembers: often(2), abort: often(4), heloOnly: p.TLS == TLSNever && often(5),
		optNo: often(50), optTLS: often(50),
	}
}

// simSender is the sender's side of a simulation.
type simSender struct {
	simHabits
	truth   *simTruth
	hosts   []*simHost
	queue   []*simMail
	mails   int
	order   []scenario.Host
	orderAt time.Time
	bounced bool
	slot    int
}

func newSimSender(rng *rand.Rand, p Policy, all []Policy, hosts int) *simSender {
	s := &simSender{simHabits: newSimHabits(rng, p), truth: newSimTruth(p, all)}
	ownNames := rng.IntN(2) == 0
	for i := range hosts {
		h := &simHost{addr: simAddress(rng, i), helo: "mta.sender.example", p: p, failed: make(map[scenario.Host]bool)}
		if ownNames {
			h.helo = fmt.Sprintf("out%d.sender.example", i)
		}
		s.hosts = append(s.hosts, h)
	}
	return s
}

// names are those of the slot that the sender mails to.
func (s *simSender) names() scenario.SlotNames { return scenario.Names(simZone, s.slot) }

// writes puts a mail into the queue. The old one stays there, or was deleted.
func (s *simSender) writes(rng *rand.Rand, w *simWorld, keepOld bool) {
	if !keepOld {
		s.queue = nil
	}
	s.mails++
	s.truth.writes()
	n := s.names()
	id := func(of string) string { return fmt.Sprintf("<%d%s@sender.example>", s.mails, of) }
	date := w.now.Add(time.Duration(rng.IntN(60)-30) * time.Second)
	if s.mails > 1 {
		date = w.now
	}
	et, ut := "en@"+n.ET, "en@"+n.UT
	switch {
	case !s.toBoth:
		s.queue = append(s.queue, &simMail{id: id(""), date: date, et: true, addressed: []string{et}})
	case s.separate:
		s.queue = append(s.queue, &simMail{id: id("a"), date: date, et: true, addressed: []string{et}},
			&simMail{id: id("b"), date: date, ut: true, addressed: []string{ut}})
	default:
		s.queue = append(s.queue, &simMail{id: id(""), date: date, et: true, ut: true, addressed: []string{et, ut}})
	}
}

// run is one run of the queue, or two that overlap.
func (s *simSender) run(w *simWorld) {
	start := w.now
	s.truth.attempt++
	s.once(w)
	if w.rng.Float64() < s.duplicate {
		end := w.now
		w.now = start.Add(time.Duration(w.rng.IntN(2000)) * time.Millisecond)
		s.once(w)
		w.now = later(w.now, end)
	}
}

func (s *simSender) once(w *simWorld) {
	if w.rng.Float64() < s.lossy {
		return // the path is down: we see nothing
	}
	for _, m := range s.queue {
		host := s.hosts[w.rng.IntN(len(s.hosts))]
		domains := []scenario.Domain{scenario.ET, scenario.Unprotected}
		if w.rng.IntN(2) == 0 {
			slices.Reverse(domains)
		}
		for _, d := range domains {
			if w.rng.IntN(8) == 0 {
				host = s.hosts[w.rng.IntN(len(s.hosts))]
			}
			if d == scenario.ET && m.et || d == scenario.Unprotected && m.ut {
				s.deliver(w, host, m, d)
			}
		}
	}
}

// view is what a host knows of et. It asks for the policy when it looks first.
func (s *simSender) view(w *simWorld, host *simHost, d scenario.Domain) simView {
	if d != scenario.ET {
		return simView{}
	}
	if host.fetchAt.IsZero() {
		host.fetchAt = w.now.Add(s.fetch)
		for _, h := range s.hosts {
			if s.shared && h.fetchAt.IsZero() {
				h.fetchAt = host.fetchAt
			}
		}
	}
	v := simView{fetched: w.now.After(host.fetchAt)}
	if w.doubtful() {
		v.noDANE, v.noSTS = w.rng.IntN(2) == 0, w.rng.IntN(2) == 0
	}
	return v
}

// deliver is one attempt to deliver a copy of a mail to one domain.
func (s *simSender) deliver(w *simWorld, host *simHost, m *simMail, d scenario.Domain) {
	v := s.view(w, host, d)
	p := s.policyFor(host.p)
	targets := []scenario.Host{scenario.UT}
	if d == scenario.ET {
		if s.order == nil || s.stale == 0 || w.now.Sub(s.orderAt) >= s.stale {
			s.order, s.orderAt = w.order(), w.now
		}
		targets = s.order
	}
	mails, missing, tries := 0, 0, 0
	for _, target := range targets {
		if simSkips(p, target, v) {
			continue
		}
		if tries++; tries > s.maxMX || mails >= s.maxMail {
			break
		}
		t := &simTry{s: s, w: w, host: host, p: p, mail: m, domain: d, target: target, view: v, rules: simRulesFor(p, d, v)}
		switch t.connect() {
		case simMailed:
			mails++
		case simNoTLS:
			missing++
		}
	}
	if missing > 0 && mails == 0 && p.MissingTLS == BounceMissing {
		m.et, m.ut = m.et && d != scenario.ET, m.ut && d == scenario.ET
		s.bounced = true
	}
}

// policyFor is what holds for a mail that opts out.
func (s *simSender) policyFor(p Policy) Policy {
	switch {
	case s.optNo:
		return simOptedOut(p)
	case s.optTLS:
		return simRequired(p)
	}
	return p
}

// becomes is what an admin does: from now on the hosts have another policy.
func (s *simSender) becomes(p Policy) {
	for _, h := range s.hosts {
		h.p, h.fetchAt = p, time.Time{}
		clear(h.failed)
	}
}
