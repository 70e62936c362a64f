package policyinfer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// The simulation: a sender of a known policy mails to et and ut; what the sink
// would record is fed to inference after every attempt. Nothing of the
// package's own model of behaviour is used here: simSender is a second,
// generative account of what such a sender does.

const simZone = "sink.example"

// simWorld is the sink's side.
type simWorld struct {
	rng       *rand.Rand
	now       time.Time
	started   time.Time
	downgrade time.Duration
	rotation  time.Duration
	mx        []scenario.Host
	nextMX    time.Time
	def       map[netip.Addr]*simAlternate
	ut        map[netip.Addr]*simAlternate
	h         evidence.History
	ids       int
	weak      bool // connections without MAIL are attributed by address only
}

// simAlternate is a certificate that varies: self-signed until refused, then
// from the CA until something was delivered, then once more.
type simAlternate struct{ ca bool }

func (a *simAlternate) kind(ca scenario.Kind) scenario.Kind {
	if a.ca {
		return ca
	}
	return scenario.SelfSigned
}

func newSimWorld(rng *rand.Rand) *simWorld {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	w := &simWorld{
		rng: rng, now: start, started: start, downgrade: 3 * time.Minute, rotation: 5 * time.Minute,
		def: make(map[netip.Addr]*simAlternate), ut: make(map[netip.Addr]*simAlternate),
	}
	if rng.IntN(4) == 0 {
		w.downgrade = time.Duration(rng.IntN(90)) * time.Minute
	}
	w.h.Test = evidence.Test{ID: "sim", Zone: simZone, Started: start, Sender: "user@sender.example"}
	w.rotate()
	return w
}

func (w *simWorld) phase() evidence.Phase {
	if w.now.Sub(w.started) < w.downgrade {
		return evidence.Downgrade
	}
	return evidence.Secure
}

func (w *simWorld) rotate() {
	w.mx = scenario.MXHosts()
	w.rng.Shuffle(len(w.mx), func(i, j int) { w.mx[i], w.mx[j] = w.mx[j], w.mx[i] })
	w.nextMX = w.now.Add(w.rotation)
	mx := make(map[string]int)
	for i, h := range w.mx {
		mx[string(h)] = 10 * (i + 1)
	}
	w.h.States = append(w.h.States, evidence.State{Time: w.now, Phase: w.phase(), MX: mx})
}

func (w *simWorld) wait(d time.Duration) {
	end := w.now.Add(d)
	for w.nextMX.Before(end) {
		w.now = w.nextMX
		w.rotate()
	}
	w.now = end
}

// simSender is the other side.
type simSender struct {
	p         Policy
	hosts     []netip.Addr
	style     int // how a refused certificate looks: 0 QUIT, 1 alert, 2 close, 3 abort and close during the handshake
	maxMail   int // MX that are tried after a 4xx to DATA
	maxMX     int // MX that are tried at all, if they collapse
	retry     time.Duration
	stale     time.Duration // its resolver keeps the MX order so long
	order     []scenario.Host
	orderAt   time.Time
	fetched   map[netip.Addr]bool // hosts that have the MTA-STS policy
	shared    bool                // hosts share their policies
	separate  bool                // et and ut go out as separate mails
	toBoth    bool
	lossy     float64
	flaky     float64
	bouncedET bool
	bouncedUT bool
	mails     int
	sent      time.Time // the Date of the current mail
}

func newSimSender(rng *rand.Rand, p Policy) *simSender {
	s := &simSender{
		p: p, style: rng.IntN(4), maxMail: 1 + rng.IntN(4), maxMX: []int{1, 4, 4}[rng.IntN(3)],
		retry:  []time.Duration{5, 10, 15, 20, 30, 60}[rng.IntN(6)] * time.Minute,
		toBoth: rng.IntN(5) != 0, separate: rng.IntN(5) == 0, fetched: make(map[netip.Addr]bool), shared: rng.IntN(2) == 0,
		lossy: []float64{0, 0, 0.1, 0.3}[rng.IntN(4)], flaky: []float64{0, 0, 0.1, 0.3}[rng.IntN(4)],
	}
	for i := range 1 + rng.IntN(2) {
		s.hosts = append(s.hosts, netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}))
	}
	if rng.IntN(3) == 0 {
		s.stale = time.Duration(rng.IntN(60)) * time.Minute
	}
	return s
}

// attempt is one delivery attempt to both domains.
func (s *simSender) attempt(w *simWorld) {
	if w.rng.Float64() < s.lossy {
		return // the path is down: we see nothing
	}
	host := s.hosts[w.rng.IntN(len(s.hosts))]
	toET := func() {
		if !s.bouncedET {
			s.deliverET(w, host)
		}
	}
	toUT := func() {
		if !s.bouncedUT && s.toBoth && s.p.DANE != DANERequired {
			s.deliverUT(w, host)
		}
	}
	if w.rng.IntN(2) == 0 {
		toET()
		toUT()
	} else {
		toUT()
		toET()
	}
	s.fetched[host] = true
	for _, h := range s.hosts {
		s.fetched[h] = s.fetched[h] || s.shared
	}
}

func (s *simSender) deliverET(w *simWorld, host netip.Addr) {
	if s.order == nil || w.now.Sub(s.orderAt) >= s.stale {
		s.order, s.orderAt = slices.Clone(w.mx), w.now
	}
	dane := s.p.DANE != DANEOff
	sts := s.p.STS == STSEnforced || s.p.STS == STSLazy && s.fetched[host]
	mails, missing, tries := 0, 0, 0
	for _, mx := range s.order {
		if sts && s.p.Filter == FilterEarly && mx == scenario.MX03 {
			continue
		}
		if tries++; tries > s.maxMX || mails >= s.maxMail {
			break
		}
		use := simUse{domain: scenario.ET, host: mx, dane: dane, sts: sts}
		if dane && sts {
			use.dane, use.sts = s.p.Both != STSWins, s.p.Both != DANEWins
		}
		switch s.connect(w, host, use) {
		case simMailed:
			mails++
		case simNoTLS:
			missing++
		}
	}
	if missing > 0 && mails == 0 && s.p.MissingTLS == BounceMissing {
		s.bouncedET = true
	}
}

func (s *simSender) deliverUT(w *simWorld, host netip.Addr) {
	if s.connect(w, host, simUse{domain: scenario.Unprotected, host: scenario.UT}) == simNoTLS && s.p.MissingTLS == BounceMissing {
		s.bouncedUT = true
	}
}

// simUse is a connection that the sender means to make.
type simUse struct {
	domain    scenario.Domain
	host      scenario.Host
	dane, sts bool
}

type simResult int

const (
	simLeft simResult = iota
	simMailed
	simNoTLS
)

func (s *simSender) connect(w *simWorld, host netip.Addr, use simUse) simResult {
	authenticates := use.dane || use.sts
	needsTLS := authenticates || s.p.TLS == TLSRequired
	offered := w.phase() == evidence.Secure
	c := w.connection(host, offered)
	if s.dropped(w, c) {
		return simLeft
	}
	switch {
	case offered && (authenticates || s.p.TLS != TLSNever):
		return s.startTLS(w, host, c, use)
	case needsTLS:
		c.Ending = evidence.EndingQuit
		if s.style == 2 {
			c.Ending = evidence.EndingFIN
		}
		w.record(c)
		return simNoTLS
	}
	s.mail(c, use, false)
	w.record(c)
	return simMailed
}

func (s *simSender) startTLS(w *simWorld, host netip.Addr, c *evidence.Connection, use simUse) simResult {
	authenticates := use.dane || use.sts
	sni := s.p.SNI == SNIAlways || s.p.SNI == SNIAuthenticating && authenticates
	kind, alternate := w.present(host, use.host, sni)
	c.StartTLS = true
	version, stage := "1.3", evidence.StageFinished
	c.TLS = &evidence.TLS{ClientVersions: []string{"1.3"}, Version: &version, Stage: stage, Complete: true, Certificate: string(kind)}
	if sni {
		name := scenario.Names(simZone, 0).Host(use.host)
		c.TLS.SNI = &name
		c.Destination = string(use.domain)
	}
	if s.dropped(w, c) {
		return simLeft
	}
	if s.accepts(use, sni, kind) {
		s.mail(c, use, true)
		w.record(c)
		if alternate != nil && alternate.ca {
			alternate.ca = false
		}
		return simMailed
	}
	switch s.style {
	case 0:
		c.Ending = evidence.EndingQuit
	case 1:
		alert := "bad certificate"
		c.TLS.Alert, c.Ending = &alert, evidence.EndingAlert
	case 2:
		c.Ending = evidence.EndingCloseNotify
	case 3:
		c.TLS.Stage, c.TLS.Complete, c.Ending = evidence.StageCertificate, false, evidence.EndingFIN
	}
	w.record(c)
	if alternate != nil {
		alternate.ca = true
	}
	if !authenticates && s.p.CA == CAElsePlaintext {
		w.now = w.now.Add(100 * time.Millisecond)
		c := w.connection(host, true)
		s.mail(c, use, false)
		w.record(c)
		return simMailed
	}
	return simLeft
}

func (s *simSender) accepts(use simUse, sni bool, kind scenario.Kind) bool {
	ca := kind != scenario.SelfSigned
	// Without SNI the host showed a default certificate, whose key matches nothing.
	tlsa := sni && (use.host == scenario.MX04 || use.host == scenario.MX06)
	listed := ca && use.host != scenario.MX03
	switch {
	case use.dane && use.sts && s.p.Both == EitherSuffices:
		return tlsa || listed
	case use.dane && use.sts:
		return tlsa && listed
	case use.dane:
		return tlsa
	case use.sts:
		return listed
	}
	return s.p.CA == CAIgnored || ca
}

// dropped ends c without the sender's doing.
func (s *simSender) dropped(w *simWorld, c *evidence.Connection) bool {
	if w.rng.Float64() >= s.flaky {
		return false
	}
	c.Ending = []evidence.Ending{evidence.EndingReset, evidence.EndingTimeout, evidence.EndingServer}[w.rng.IntN(3)]
	w.record(c)
	return true
}

func (s *simSender) mail(c *evidence.Connection, use simUse, tls bool) {
	n := scenario.Names(simZone, 0)
	rcpt, both := "en@"+n.ET, []string{"en@" + n.ET, "en@" + n.UT}
	if use.domain == scenario.Unprotected {
		rcpt = "en@" + n.UT
	}
	switch {
	case !s.toBoth:
		both = both[:1]
	case s.separate:
		both = []string{rcpt}
	}
	from := "user@sender.example"
	c.MailFrom, c.RcptTo, c.Data, c.Addressed, c.Destination = &from, []string{rcpt}, true, both, string(use.domain)
	c.Transactions = []evidence.Transaction{{MailFrom: from, RcptTo: c.RcptTo, Data: true, Reply: 451, TLS: tls, Addressed: both, MessageID: fmt.Sprintf("<%d@sender.example>", s.mails), Message: &evidence.Message{Date: s.sent}}}
	c.Status, c.Ending = evidence.StatusMail, evidence.EndingQuit
}

// present decides what is shown, as the sink's director does.
func (w *simWorld) present(client netip.Addr, h scenario.Host, sni bool) (scenario.Kind, *simAlternate) {
	pick := func(m map[netip.Addr]*simAlternate) *simAlternate {
		if m[client] == nil {
			m[client] = &simAlternate{}
		}
		return m[client]
	}
	switch {
	case !sni:
		a := pick(w.def)
		return a.kind(scenario.CADefault), a
	case h == scenario.UT:
		a := pick(w.ut)
		return a.kind(scenario.CA), a
	}
	return scenario.HostKind(h), nil
}

func (w *simWorld) connection(host netip.Addr, offered bool) *evidence.Connection {
	w.ids++
	w.now = w.now.Add(time.Duration(50+w.rng.IntN(500)) * time.Millisecond)
	return &evidence.Connection{
		ID: evidence.ConnID(strconv.Itoa(w.ids)), Start: w.now, Client: netip.AddrPortFrom(host, uint16(20000+w.ids)).String(),
		Phase: w.phase(), StartTLSOffered: offered, EHLO: true, Helo: []string{"mta.sender.example"}, Destination: "unknown", Status: evidence.StatusNone,
	}
}

func (w *simWorld) record(c *evidence.Connection) {
	w.now = w.now.Add(time.Duration(10+w.rng.IntN(200)) * time.Millisecond)
	c.End = w.now
	if w.weak && len(c.Transactions) == 0 {
		c.Attribution = evidence.ByAddress
	}
	w.h.Connections = append(w.h.Connections, *c)
}

func simRuns(t *testing.T) int {
	t.Helper()
	if v := os.Getenv("TLSINK_SIM"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("TLSINK_SIM=%q: want a number of runs", v)
		}
		return n
	}
	if raceEnabled {
		return 300
	}
	return 3000
}

// Whatever a sender does, its true policy stays among the candidates, and no
// verdict gives it another name or another part.
func TestSimulatedSendersAreNeverMisjudged(t *testing.T) {
	e := New()
	runs, conclusive := simRuns(t), make(map[Name][2]int)
	for seed := range runs {
		rng := rand.New(rand.NewPCG(uint64(seed), 1))
		index := seed % len(e.policies)
		p := e.policies[index]
		w, s := newSimWorld(rng), newSimSender(rng, p)
		w.weak = rng.IntN(2) == 0
		s.sent = w.now.Add(time.Duration(rng.IntN(60)-30) * time.Second)
		done := false
		for range 2 + rng.IntN(14) {
			s.attempt(w)
			if (s.bouncedET || s.bouncedUT) && rng.IntN(2) == 0 {
				s.bouncedET, s.bouncedUT, s.mails = false, false, s.mails+1 // the user sends it again
				s.sent = w.now
			}
			w.wait(s.retry + time.Duration(rng.IntN(60))*time.Second)
			w.h.Until = w.now
			done = checkSimulated(t, e, w.h, index, seed) || done
		}
		n := conclusive[p.Name()]
		n[1]++
		if done {
			n[0]++
		}
		conclusive[p.Name()] = n
		if t.Failed() {
			return
		}
	}
	for _, n := range Names() {
		t.Logf("%-13s %5d of %5d runs conclusive", n, conclusive[n][0], conclusive[n][1])
	}
}

func checkSimulated(t *testing.T, e *Engine, h evidence.History, index, seed int) bool {
	t.Helper()
	p := e.policies[index]
	ti := timingOf(nil)
	as := attempts(&h, ti)
	r := e.conclude(&h, ti, as)
	v := e.verdict(&h, ti, as, r)
	fail := func(format string, args ...any) {
		v.Eliminated = e.explain(r)
		t.Errorf("seed %d, %s (%s): %s\nverdict %s %v, findings %v, reasons %v", seed, p.Name(), p, fmt.Sprintf(format, args...), v.Policy, v.Candidates, v.Findings, v.Reasons)
	}
	if !r.candidates.has(index) {
		fail("the true policy was eliminated: %v", slices.DeleteFunc(v.Eliminated, func(x Elimination) bool { return x.Policy != p.String() }))
	}
	if v.Policy != Undetermined && v.Policy != p.Name() {
		fail("wrong name")
	}
	var only set
	only.add(index)
	truth, got := e.parts(only), v.Sender
	for _, part := range [][3]string{
		{"tls", got.TLS, truth.TLS},
		{"plaintext", got.Plaintext, truth.Plaintext},
		{"plaintext_unprotected", got.PlaintextUnprotected, truth.PlaintextUnprotected},
		{"verifies_ca", got.VerifiesCA, truth.VerifiesCA},
		{"dane", got.DANE, truth.DANE},
		{"mta_sts", got.MTASTS, truth.MTASTS},
		{"sni", got.SNI, truth.SNI},
	} {
		if part[1] != "unknown" && part[1] != part[2] {
			fail("part %s is %s, in truth %s", part[0], part[1], part[2])
		}
	}
	return v.Conclusive
}

// Absence of queries and fetches is never evidence: stripped of them, a
// history gives the same verdict or an undetermined one.
func TestQueriesAndFetchesOnlyAdd(t *testing.T) {
	e := New()
	for seed := range 300 {
		rng := rand.New(rand.NewPCG(uint64(seed), 2))
		w, s := newSimWorld(rng), newSimSender(rng, e.policies[rng.IntN(len(e.policies))])
		for range 8 {
			s.attempt(w)
			w.h.Queries = append(w.h.Queries, evidence.Query{Time: w.now, Name: "_mta-sts.et." + simZone + ".", Type: "TXT"},
				evidence.Query{Time: w.now, Name: "_25._tcp.mx04.et." + simZone + ".", Type: "TLSA", DO: true})
			if rng.IntN(2) == 0 {
				w.h.Fetches = append(w.h.Fetches, evidence.PolicyFetch{Time: w.now, Host: "mta-sts.et." + simZone, Status: 200})
			}
			w.wait(s.retry)
			with, without := w.h, w.h
			without.Queries, without.Fetches = nil, nil
			a, b := e.Infer(with, Options{}), e.Infer(without, Options{})
			if b.Policy != a.Policy && b.Policy != Undetermined {
				t.Fatalf("seed %d: %s with queries and fetches, %s without", seed, a.Policy, b.Policy)
			}
		}
	}
}
