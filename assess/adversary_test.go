package assess

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// A zone that could not be verified suspends verdicts also after a restart,
// which is what an operator does to repair it.
func TestUnverifiableZoneSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.a.SetFault(Fault{Unverifiable: "RRSIG expired"})
		s := w.sender("user@sender.example", policyinfer.May)
		for range 3 {
			s.attempt()
			w.wait(10 * time.Minute)
		}
		w.stop()
		w.start()
		defer w.stop()
		if got := w.a.Fault().Unverifiable; got != "RRSIG expired" {
			t.Errorf("after a restart: unverifiable %q", got)
		}
		w.a.SetFault(Fault{Unverifiable: ""})
		w.wait(time.Minute)
		if v := w.test(s.from); v.Verdict.Policy != policyinfer.Undetermined {
			t.Errorf("verdict %s rests on a zone that could not be verified", v.Verdict.Policy)
		}
	})
}

// What two tests could own is left out, and the history says so, in memory and
// on disk: its absence must not look like silence.
func TestLeftOutConnectionsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		one := w.sender("one@sender.example", policyinfer.DANE)
		two := w.sender("two@sender.example", policyinfer.DANE)
		for range 2 {
			one.attempt()
			two.attempt()
			w.wait(5 * time.Minute)
		}
		for _, s := range []*sender{one, two} {
			v := w.test(s.from)
			stored, err := w.store.History(v.Record.Test.ID)
			if err != nil {
				t.Fatal(err)
			}
			if v.History.Test.LeftOut == 0 || stored.Test.LeftOut == 0 {
				t.Errorf("%s: left out %d in the history, %d on disk; want some", s.from, v.History.Test.LeftOut, stored.Test.LeftOut)
			}
			if v.Verdict.LeftOut != 0 {
				t.Errorf("%s: %d connections contradict the mails; the report would count those left out twice", s.from, v.Verdict.LeftOut)
			}
		}
	})
}

// A signed mail that is sent again under other envelope senders, in other
// letters or to other slots causes one report in all.
func TestOneReportForAMessageID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.None)
		first := s.until(20, 10*time.Minute)
		w.wait(time.Minute)
		before := len(w.tests("user@sender.example"))
		for i, from := range []string{"User@Sender.example", "victim1@sender.example", "victim2@sender.example"} {
			v := w.sender(from, policyinfer.None)
			v.ip = fmt.Sprintf("192.0.2.%d", 20+i)
			v.messageID = "<1.user@sender.example>"
			v.until(first+2, 10*time.Minute)
		}
		queue, err := w.store.Queue(t.Context())
		if err != nil || len(queue) != 1 || queue[0].To != "user@sender.example" {
			t.Errorf("reports due: %+v, %v; want one, to the first sender", queue, err)
		}
		if n := len(w.tests("User@Sender.example")); before != 1 || n != 0 {
			t.Errorf("%d tests at first, %d more for the same sender in other letters", before, n)
		}
	})
}

// brokenStore fails to make verdicts durable while broken.
type brokenStore struct {
	Store
	mu     sync.Mutex
	broken bool
}

var errDiskFull = errors.New("no space left on device")

func (s *brokenStore) Begin(ctx context.Context, b history.Batch) (func(context.Context) error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return func(context.Context) error { return errDiskFull }, nil
	}
	return s.Store.Begin(ctx, b)
}

func (s *brokenStore) fail(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

// No mail is accepted, and no report lost, while evidence cannot be stored.
func TestFullDiskLosesNoReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.broken = &brokenStore{}
		w.stop()
		w.start()
		w.rotate()
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.None)
		s.attempt()
		w.wait(15 * time.Minute)
		s.attempt()
		w.broken.fail(true)
		for range 3 {
			w.wait(15 * time.Minute)
			s.attempt()
			if len(s.acked) > 0 || !strings.Contains(s.text, "cannot store") {
				t.Fatalf("with a full disk: %v %q", s.acked, s.text)
			}
		}
		w.broken.fail(false)
		s.until(5, 15*time.Minute)
		queue, err := w.store.Queue(t.Context())
		if err != nil || len(queue) != 1 || !s.delivered() {
			t.Errorf("reports due %+v, %v, delivered %v; want one report", queue, err, s.acked)
		}
	})
}

// When there is no room for another client it is refused; silent ones make room.
func TestClientsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.limits.Clients = 3
		w.stop()
		w.start()
		defer w.stop()
		accept := func(ip string) (evidence.ConnID, error) {
			id := w.store.NewConnID()
			_, err := w.a.Accepted(id, addrPort("192.0.2.25:25"), addrPort(ip+":1"))
			return id, err
		}
		var ids []evidence.ConnID
		for i := range 3 {
			id, err := accept(fmt.Sprintf("192.0.2.%d", i+1))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if _, err := accept("192.0.2.9"); err == nil {
			t.Error("a fourth client was admitted while all others are connected")
		}
		if _, err := accept("192.0.2.1"); err != nil {
			t.Errorf("a second connection of a known client: %v", err)
		}
		w.a.Closed(evidence.Connection{ID: ids[1], Start: time.Now(), End: time.Now(), Client: "192.0.2.2:1", Ending: evidence.EndingQuit})
		if _, err := accept("192.0.2.9"); err != nil {
			t.Errorf("after another client left: %v", err)
		}
		w.wait(25 * time.Hour)
		w.a.mu.Lock()
		defer w.a.mu.Unlock()
		if n := len(w.a.clients); n != 3 {
			t.Errorf("%d clients, want the 3 that are still connected", n)
		}
	})
}

// Evidence after a restart is what it was before, with tests that ended and
// tests that overlap on one address.
func TestReplayedEvidenceIsTheSame(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed)
			one := w.sender("one@sender.example", policyinfer.None)
			two := w.sender("two@sender.example", policyinfer.DANE)
			two.perTry = 1
			for i := range 6 {
				one.attempt()
				w.wait(4 * time.Minute)
				if i == 1 {
					two.mail()
				}
				if i >= 1 {
					two.attempt()
				}
				w.wait(3 * time.Minute)
			}
			before := w.evidenceOf(two.from)
			w.stop()
			w.start()
			defer w.stop()
			if after := w.evidenceOf(two.from); after != before {
				t.Errorf("seed %d: before the restart\n%s\nafter it\n%s", seed, before, after)
			}
		})
	}
}

// evidenceOf lists what belongs to the newest test of a sender.
func (w *world) evidenceOf(from string) string {
	w.t.Helper()
	v := w.test(from)
	var b strings.Builder
	fmt.Fprintf(&b, "left out %d\n", v.History.Test.LeftOut)
	ids := make(map[evidence.ConnID]evidence.Attribution)
	for _, c := range v.History.Connections {
		ids[c.ID] = c.Attribution
	}
	fmt.Fprintln(&b, ids)
	w.a.mu.Lock()
	defer w.a.mu.Unlock()
	for key, c := range w.a.clients {
		fmt.Fprintf(&b, "client %s since %v, secure at %v, %d without mail\n", key, c.started.UTC(), c.withhold.secureSince().UTC(), len(c.loose))
	}
	return b.String()
}

// A session that was shared by two mails shows each test its own.
func TestPageShowsNoMailOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.None)
		s.alsoFrom = "secret@sender.example"
		s.until(20, 10*time.Minute)
		w.wait(time.Minute)
		v := w.test("user@sender.example")
		for _, c := range v.History.Connections {
			if c.MailFrom != nil && *c.MailFrom != s.from {
				t.Errorf("connection %s shows %s", c.ID, *c.MailFrom)
			}
			for _, tx := range c.Transactions {
				if tx.MailFrom != s.from {
					t.Errorf("connection %s shows a mail of %s", c.ID, tx.MailFrom)
				}
			}
		}
	})
}

// Everything at once, for the race detector: no call may block another for
// good, and each connection is closed once.
func TestConcurrentDirector(t *testing.T) {
	w := newWorld(t, 1)
	defer w.stop()
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for i := range 15 {
				remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n % 3)}), uint16(1000+i))
				c := evidence.Connection{ID: w.store.NewConnID(), Start: time.Now(), Client: remote.String(), EHLO: true, Helo: []string{"mta.example"}}
				if _, err := w.a.Accepted(c.ID, netip.AddrPort{}, remote); err != nil {
					t.Error(err)
					return
				}
				w.a.Phase(c.ID)
				w.a.ClientHello(c.ID, scenario.Names(zone, 0).UT)
				if i%3 != 0 {
					from := fmt.Sprintf("user%d@sender.example", n%4)
					c.MailFrom = &from
					c.Transactions = []evidence.Transaction{{MailFrom: from, RcptTo: []string{"en@et." + zone}, Data: true, MessageID: fmt.Sprintf("<%d@%s>", i/5, from)}}
					w.a.Message(t.Context(), c.Clone())
				}
				c.End, c.Ending = time.Now(), evidence.EndingQuit
				w.a.Closed(c)
				w.a.Needs()
				w.a.Steer()
				w.a.SetFault(Fault{Unverifiable: strings.Repeat("x", i%2)})
				w.a.Fetched(evidence.PolicyFetch{Time: time.Now(), Host: "mta-sts.et." + zone})
				if records, err := w.store.Tests(t.Context(), history.TestFilter{Limit: 3}); err == nil {
					for _, r := range records {
						if _, err := w.a.View(r.Test.ID); err != nil {
							t.Error(err)
						}
					}
				}
			}
		})
	}
	all.Wait()
	w.a.mu.Lock()
	defer w.a.mu.Unlock()
	if len(w.a.conns) != 0 {
		t.Errorf("%d connections are still open", len(w.a.conns))
	}
	for key, c := range w.a.clients {
		if c.open != 0 {
			t.Errorf("client %s has %d open connections", key, c.open)
		}
	}
}

// A link is as good as a password: it is in replies and nowhere else.
func TestCapabilityIsNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		var log strings.Builder
		w.log = slog.New(slog.NewTextHandler(&log, nil))
		w.stop()
		w.start()
		w.rotate()
		s := w.sender("user@sender.example", policyinfer.None)
		s.until(20, 10*time.Minute)
		w.wait(time.Minute)
		capability := w.test(s.from).Record.Capability
		w.stop()
		if !strings.Contains(log.String(), "verdict reached") || strings.Contains(log.String(), capability) {
			t.Errorf("log %q, capability %q", log.String(), capability)
		}
	})
}

// What a test may own of what carries no mail of its own.
func TestWhatATestMayOwn(t *testing.T) {
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	mine, other, sni := "User@sender.example", "else@sender.example", "mx04.et1."+zone
	running := func(change func(*test)) *test {
		x := &test{rec: history.TestRecord{Test: evidence.Test{Sender: "user@sender.example"}, State: history.StateRunning}, first: noon, date: noon.Add(-time.Minute)}
		change(x)
		return x
	}
	same := func(*test) {}
	at := func(after time.Duration) evidence.Connection { return evidence.Connection{Start: noon.Add(after)} }
	from := func(sender string) evidence.Connection {
		return evidence.Connection{Start: noon, MailFrom: &sender}
	}
	for _, c := range []struct {
		name   string
		change func(*test)
		conn   evidence.Connection
		want   bool
	}{
		{"after the mail", same, at(time.Hour), true},
		{"before the mail was written", same, at(-4 * time.Minute), false},
		{"before, but clocks differ", same, at(-150 * time.Second), true},
		{"the clock of the sender is far ahead", func(x *test) { x.date = noon.Add(time.Hour) }, at(-time.Second), false},
		{"no Date", func(x *test) { x.date = time.Time{} }, at(-time.Second), false},
		{"after the ack", func(x *test) { x.rec.Acked = noon.Add(time.Minute) }, at(2 * time.Minute), false},
		{"before the ack", func(x *test) { x.rec.Acked = noon.Add(time.Minute) }, at(30 * time.Second), true},
		{"after it closed", func(x *test) { x.rec.Closed = noon.Add(time.Minute) }, at(2 * time.Minute), false},
		{"MAIL of the sender", same, from(mine), true},
		{"MAIL of another", same, from(other), false},
		{"SNI of another slot", same, evidence.Connection{Start: noon, Slot: 1, TLS: &evidence.TLS{SNI: &sni}}, false},
		{"SNI of its slot", func(x *test) { x.rec.Test.Slot = 1 }, evidence.Connection{Start: noon, Slot: 1, TLS: &evidence.TLS{SNI: &sni}}, true},
		{"no SNI", func(x *test) { x.rec.Test.Slot = 1 }, evidence.Connection{Start: noon, TLS: &evidence.TLS{}}, true},
	} {
		if got := running(c.change).mayOwn(&c.conn, 2*time.Minute); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// The varying certificate is self-signed until it is refused, then from the
// public CA until something is delivered, then self-signed once more.
func TestVaryingCertificates(t *testing.T) {
	c := newClient(netip.Prefix{}, time.Time{}, Timed.withholding(Timing{}))
	shown := func() scenario.Kind { return c.alternate(0, scenario.OwnerDefault).kind() }
	visit := func(kind scenario.Kind, ending evidence.Ending, delivered bool) {
		conn := evidence.Connection{Ending: ending, TLS: &evidence.TLS{Stage: evidence.StageFinished, Certificate: string(kind)}}
		if delivered {
			conn.Transactions = []evidence.Transaction{{TLS: true, Data: true}}
		}
		c.learn(zone, conn)
	}
	for i, step := range []struct {
		kind      scenario.Kind
		ending    evidence.Ending
		delivered bool
		then      scenario.Kind
	}{
		{scenario.SelfSigned, evidence.EndingServer, false, scenario.SelfSigned}, // we ended it
		{scenario.SelfSigned, evidence.EndingQuit, true, scenario.SelfSigned},    // not refused
		{scenario.SelfSigned, evidence.EndingQuit, false, scenario.CA},
		{scenario.SelfSigned, evidence.EndingQuit, true, scenario.CA}, // begun before the change
		{scenario.CADefault, evidence.EndingQuit, false, scenario.CA},
		{scenario.CADefault, evidence.EndingQuit, true, scenario.CA}, // perhaps at ut alone
		{scenario.CADefault, evidence.EndingQuit, true, scenario.SelfSigned},
		{scenario.SelfSigned, evidence.EndingAlert, false, scenario.CA},
	} {
		visit(step.kind, step.ending, step.delivered)
		if got := shown(); got != step.then {
			t.Errorf("step %d: %s is shown, want %s", i, got, step.then)
		}
	}
	c.learn(zone, evidence.Connection{
		Destination: string(scenario.ET), TLS: &evidence.TLS{Stage: evidence.StageFinished, Certificate: string(scenario.CADefault)},
		Transactions: []evidence.Transaction{{TLS: true, Data: true}},
	})
	if got := shown(); got != scenario.SelfSigned {
		t.Errorf("after a delivery at et: %s is shown, want self-signed", got)
	}
}

// A report that was sent does not become due again with the next copy.
func TestSentReportStaysSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.None)
		var queue []history.QueueItem
		for i := 0; i < 20 && len(queue) == 0; i++ {
			s.attempt()
			w.wait(10 * time.Minute)
			var err error
			if queue, err = w.store.Queue(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if len(queue) != 1 || s.delivered() {
			t.Fatalf("reports due %+v, delivered %v", queue, s.acked)
		}
		if err := w.store.Commit(t.Context(), history.Batch{Remove: []string{queue[0].ID}}); err != nil {
			t.Fatal(err)
		}
		s.attempt()
		w.wait(time.Hour)
		if queue, err := w.store.Queue(t.Context()); err != nil || len(queue) != 0 || !s.delivered() {
			t.Errorf("reports due %+v, %v, delivered %v; want none", queue, err, s.acked)
		}
	})
}
