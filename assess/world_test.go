package assess

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

const zone = "sink.example"

// world is a sink without network: an Assessor on a real store, and senders
// that call it as package sink would. It lives in a synctest bubble.
type world struct {
	t      *testing.T
	rng    *rand.Rand
	dir    string
	store  *history.Store
	a      *Assessor
	cancel context.CancelFunc
	done   chan struct{}
	mx     []scenario.Host
	turn   time.Time // when the MX order changes next
	timing Timing
	limits Limits
	broken *brokenStore
	log    *slog.Logger
	change func(*Options)    // of what start makes
	leases map[string]string // token to the id of its test
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	return newTimedWorld(t, seed, Timing{})
}

func newTimedWorld(t *testing.T, seed uint64, timing Timing) *world {
	t.Helper()
	w := &world{t: t, rng: newRNG(seed), dir: t.TempDir(), timing: timing}
	w.start()
	w.rotate()
	return w
}

func (w *world) start() {
	w.t.Helper()
	var err error
	if w.store, err = history.Open(history.Options{Path: filepath.Join(w.dir, "history.db"), Now: time.Now}); err != nil {
		w.t.Fatal(err)
	}
	var store Store = w.store
	if w.broken != nil {
		w.broken.Store, store = w.store, w.broken
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := Options{
		Zone: zone, Slots: 3, Store: store, Timing: w.timing, Limits: w.limits, Now: time.Now, Rand: randReader{w.rng}, Logger: w.log,
		ResultURL: func(c string) string { return "https://" + zone + "/t/" + c },
		Claim:     w.claim,
	}
	if w.change != nil {
		w.change(&o)
	}
	if w.a, err = New(ctx, o); err != nil {
		w.t.Fatal(err)
	}
	w.cancel, w.done = cancel, make(chan struct{})
	go func() {
		defer close(w.done)
		if err := w.a.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
}

// claim names the tests of leased slots.
func (w *world) claim(_ int, token string) (id, capability string, ok bool) {
	id, ok = w.leases[token]
	return id, "capability of " + id, ok
}

// lease gives a slot to a sender.
func (s *sender) lease(slot int, token, id string) {
	if s.w.leases == nil {
		s.w.leases = make(map[string]string)
	}
	s.w.leases[token] = id
	s.slot, s.token = slot, token
}

func (w *world) stop() {
	w.t.Helper()
	w.cancel()
	<-w.done
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// rotate chooses another MX order, as the rotator does every five minutes.
func (w *world) rotate() {
	w.mx = scenario.MXHosts()
	w.rng.Shuffle(len(w.mx), func(i, j int) { w.mx[i], w.mx[j] = w.mx[j], w.mx[i] })
	mx := make(map[string]int)
	for i, h := range w.mx {
		mx[string(h)] = 10 * (i + 1)
	}
	for slot := range 3 {
		w.a.RecordState(slot, evidence.State{Time: time.Now(), MX: mx})
	}
	w.turn = time.Now().Add(5 * time.Minute)
}

// wait lets time pass, with rotations.
func (w *world) wait(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(time.Until(end), time.Until(w.turn))) // of the bubble
		synctest.Wait()
		if !time.Now().Before(w.turn) {
			w.rotate()
		}
	}
}

// test returns the newest test of a sender.
func (w *world) test(from string) View {
	w.t.Helper()
	records, err := w.store.Tests(w.t.Context(), history.TestFilter{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range records {
		if r.Test.Sender == from {
			v, err := w.a.View(r.Test.ID)
			if err != nil {
				w.t.Fatal(err)
			}
			return v
		}
	}
	w.t.Fatalf("no test of %s", from)
	return View{}
}

func (w *world) tests(from string) []history.TestRecord {
	w.t.Helper()
	records, err := w.store.Tests(w.t.Context(), history.TestFilter{})
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(records, func(r history.TestRecord) bool { return r.Test.Sender != from })
}

func newRNG(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

type randReader struct{ rng *rand.Rand }

func (r randReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.rng.Uint32())
	}
	return len(p), nil
}

// sender is a mail server with a policy, as the sink sees it.
type sender struct {
	w      *world
	ip     string
	ips    []string                    // if any, each attempt comes from one of them
	byIP   map[string]policyinfer.Name // if any, their policies
	helo   string
	from   string
	policy policyinfer.Name
	sni    bool // names the host always
	perTry int  // MX per attempt
	id     int
	sent   time.Time
	to     []scenario.Domain
	acked  map[scenario.Domain]bool
	text   string // of the last reply
	port   int

	slot  int
	token string // instead of en, at a leased slot

	messageID string // instead of one of its own
	alsoFrom  string // sends a mail first in each session, without DATA
	forged    bool   // SPF fails
	stops     string // "QUIT": hands over nothing, ever; "DATA": names its mail, and leaves
}

func (w *world) sender(from string, p policyinfer.Name) *sender {
	s := &sender{w: w, ip: "192.0.2.10", helo: "mta.example", from: from, policy: p, perTry: 2, port: 20000}
	s.mail()
	return s
}

// mail begins a new mail to both domains.
func (s *sender) mail() {
	s.id++
	s.sent, s.to, s.acked = time.Now(), []scenario.Domain{scenario.ET, scenario.Unprotected}, make(map[scenario.Domain]bool)
}

func (s *sender) delivered() bool {
	return !slices.ContainsFunc(s.to, func(d scenario.Domain) bool { return !s.acked[d] })
}

// attempt tries once to deliver what is left.
func (s *sender) attempt() {
	if len(s.ips) > 0 {
		s.ip = s.ips[s.w.rng.IntN(len(s.ips))]
		if p, ok := s.byIP[s.ip]; ok {
			s.policy = p
		}
		if strings.HasPrefix(s.helo, "mail-") {
			s.helo = "mail-" + strings.ReplaceAll(s.ip, ".", "-") + ".provider.example"
		}
	}
	for _, d := range s.to {
		switch {
		case s.acked[d]:
		case d == scenario.Unprotected:
			if s.policy != policyinfer.DANEOnly {
				s.connect(d, scenario.UT)
			}
		default:
			mails := 0
			for i, h := range s.w.mx {
				if mails >= s.perTry || s.perTry == 1 && i > 0 || s.acked[d] {
					break
				}
				if s.connect(d, h) {
					mails++
				}
			}
		}
	}
}

// until attempts every interval until everything is delivered, or n times.
func (s *sender) until(n int, interval time.Duration) int {
	for i := range n {
		s.attempt()
		if s.delivered() {
			return i + 1
		}
		s.w.wait(interval)
	}
	return n
}

// connect makes one connection and reports whether it handed the mail over.
func (s *sender) connect(d scenario.Domain, h scenario.Host) bool {
	s.port++
	time.Sleep(20 * time.Millisecond) // of the bubble: no two things are simultaneous
	w, n := s.w, scenario.Names(zone, s.slot)
	remote := netip.AddrPortFrom(netip.MustParseAddr(s.ip), uint16(s.port))
	c := evidence.Connection{ID: w.store.NewConnID(), Start: time.Now(), Client: remote.String(), Destination: "unknown", EHLO: true, Helo: []string{s.helo}, Status: evidence.StatusNone, Server: 1}
	treatment, err := w.a.Accepted(c.ID, netip.AddrPort{}, remote)
	if err != nil {
		w.t.Fatal(err)
	}
	c.Phase = treatment.Phase
	c.StartTLSOffered = c.Phase == evidence.Secure
	end := func() {
		c.Ending, c.End = evidence.EndingQuit, time.Now()
		w.a.Closed(c)
	}
	authenticates := d == scenario.ET && s.policy.Protected() && s.policy != policyinfer.Verify
	needs := authenticates || s.policy == policyinfer.Encrypt || s.policy == policyinfer.Verify || s.policy == policyinfer.DANEOnly
	tls := c.StartTLSOffered && s.policy != policyinfer.None
	if !tls && needs {
		end()
		return false
	}
	if tls && !s.handshake(&c, d, h, authenticates) {
		end()
		return false
	}
	if s.stops == "QUIT" {
		end()
		return false
	}
	c.Slot = s.slot
	local := cmp.Or(s.token, "en")
	rcpt := local + "@" + n.ET
	if d == scenario.Unprotected {
		rcpt, c.Server = local+"@"+n.UT, 7
	}
	to := []string{}
	for _, d := range s.to {
		to = append(to, local+"@"+map[scenario.Domain]string{scenario.ET: n.ET, scenario.Unprotected: n.UT}[d])
	}
	from := s.from
	c.MailFrom, c.RcptTo, c.Data, c.Addressed, c.Destination, c.Status = &from, []string{rcpt}, true, to, string(d), evidence.StatusMail
	c.Transactions = []evidence.Transaction{{
		MailFrom: from, RcptTo: c.RcptTo, Data: true, TLS: tls, Addressed: to, MessageID: fmt.Sprintf("<%d.%s>", s.id, from), Time: time.Now(),
		Message: &evidence.Message{From: []string{from}, To: to, Date: s.sent, SPF: evidence.SPF{Result: evidence.AuthPass, Domain: "sender.example", Mechanism: "ip4"}},
	}}
	if at := strings.LastIndexByte(from, '@'); at >= 0 {
		c.Transactions[0].Message.SPF.Domain = from[at+1:]
	}
	if s.forged {
		c.Transactions[0].Message.SPF.Result = evidence.AuthFail
	}
	if s.messageID != "" {
		c.Transactions[0].MessageID = s.messageID
	}
	if s.alsoFrom != "" {
		c.MailFrom = &s.alsoFrom
		c.Transactions = append([]evidence.Transaction{{MailFrom: s.alsoFrom, RcptTo: c.RcptTo, TLS: tls}}, c.Transactions...)
	}
	if s.stops == "DATA" {
		c.Data, c.Transactions[0].Data, c.Transactions[0].MessageID, c.Transactions[0].Message = false, false, "", nil
		end()
		return true
	}
	reply := w.a.Message(w.t.Context(), c.Clone())
	s.text = reply.Text
	c.Transactions[len(c.Transactions)-1].Reply = reply.Code
	if reply.Code == 250 {
		s.acked[d] = true
		c.Status = evidence.StatusAcked
	} else if reply.Code != 451 {
		w.t.Fatalf("reply %d %s", reply.Code, reply.Text)
	}
	end()
	return true
}

func (s *sender) handshake(c *evidence.Connection, d scenario.Domain, h scenario.Host, authenticates bool) bool {
	name := scenario.Names(zone, s.slot).Host(h)
	sni := ""
	if s.sni || authenticates {
		sni = name
	}
	cert := s.w.a.ClientHello(c.ID, sni)
	c.StartTLS, c.Status = true, evidence.StatusTLSStarted
	c.TLS = &evidence.TLS{ClientVersions: []string{"1.3"}, Stage: evidence.StageFinished, Complete: true, Certificate: string(cert.Presented())}
	c.Server = int(scenario.ServerOf(true, "", scenario.UnknownDomain))
	if sni != "" {
		c.TLS.SNI, c.Slot = &sni, s.slot
		c.Destination, c.Server = string(d), int(scenario.ServerOf(true, h, d))
	}
	ca := cert.Kind == scenario.CA
	tlsa := sni != "" && (h == scenario.MX04 || h == scenario.MX06)
	listed := ca && h != scenario.MX03
	switch {
	case d == scenario.ET && (s.policy == policyinfer.DANE || s.policy == policyinfer.DANEOnly):
		return tlsa
	case d == scenario.ET && s.policy == policyinfer.MTASTS:
		return listed
	case d == scenario.ET && s.policy == policyinfer.DANEMTASTS:
		return tlsa && listed
	case s.policy == policyinfer.Verify:
		return ca
	}
	return true
}

// concluded reports whether the newest test of the sender has its verdict.
func (s *sender) concluded() bool {
	records := s.w.tests(s.from)
	return len(records) > 0 && records[0].State != history.StateRunning
}
