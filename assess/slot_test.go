package assess

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

const token, otherToken = "en4k7w2q9mxa", "de4k7w2q9mxa"

// by counts the connections of a test by attribution.
func by(v View) map[evidence.Attribution]int {
	out := make(map[evidence.Attribution]int)
	for _, c := range v.History.Connections {
		out[c.Attribution]++
	}
	return out
}

// stray is a connection that hands nothing over.
func (w *world) stray(ip, helo, sni string, change func(*evidence.Connection)) {
	w.t.Helper()
	time.Sleep(20 * time.Millisecond) // of the bubble
	remote := netip.AddrPortFrom(netip.MustParseAddr(ip), 40000)
	c := evidence.Connection{
		ID: w.store.NewConnID(), Start: time.Now(), Client: remote.String(), Destination: "unknown", EHLO: true, Helo: []string{helo},
		StartTLSOffered: true, StartTLS: true, Status: evidence.StatusTLSStarted, Server: 2, Ending: evidence.EndingQuit,
	}
	treatment, err := w.a.Accepted(c.ID, netip.AddrPort{}, remote)
	if err != nil {
		w.t.Fatal(err)
	}
	c.Phase = treatment.Phase
	cert := w.a.ClientHello(c.ID, sni)
	c.TLS = &evidence.TLS{SNI: &sni, Stage: evidence.StageFinished, Complete: true, Certificate: string(cert.Presented())}
	if target, ok := scenario.Find(zone, sni); ok {
		c.Slot = target.Slot
	}
	if change != nil {
		change(&c)
	}
	c.End = time.Now()
	w.a.Closed(c)
}

// A leased test is called as its lease says, is told of, and ends.
func TestLeasedTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var ended []string
		changed, used := 0, 0
		w := &world{t: t, rng: newRNG(1), dir: t.TempDir()}
		w.change = func(o *Options) {
			o.Ended = func(id string) { mu.Lock(); ended = append(ended, id); mu.Unlock() }
			o.Changed = func(id string) {
				if mu.Lock(); id == "LEASED" {
					changed++
				}
				mu.Unlock()
			}
			o.Used = func(slot int) {
				if mu.Lock(); slot == 1 {
					used++
				}
				mu.Unlock()
			}
		}
		w.start()
		defer w.stop()
		w.rotate()
		s := w.sender("user@sender.example", policyinfer.DANE)
		s.lease(1, token, "LEASED")
		count := func(n *int) int { mu.Lock(); defer mu.Unlock(); x := *n; *n = 0; return x }
		s.attempt()
		if v := w.test(s.from); v.Record.Test.ID != "LEASED" || v.Record.Capability != "capability of LEASED" || !v.Record.Leased || v.Record.Test.Slot != 1 {
			t.Fatalf("test %+v", v.Record)
		}
		if phase, ends, ok := w.a.Treatment("LEASED"); phase != evidence.Downgrade || !ok || time.Until(ends) > 3*time.Minute || time.Until(ends) < 2*time.Minute {
			t.Errorf("treatment %s until %v, %v", phase, ends, ok)
		}
		if count(&changed) == 0 || count(&used) == 0 {
			t.Error("nobody was told of a message")
		}
		w.wait(4 * time.Minute)
		if phase, ends, _ := w.a.Treatment("LEASED"); phase != evidence.Secure || !ends.IsZero() || count(&changed) == 0 {
			t.Errorf("treatment %s until %v, or nobody was told", phase, ends)
		}
		s.until(10, 10*time.Minute)
		v := w.test(s.from)
		if v.Verdict.Policy != policyinfer.DANE || v.Record.State != history.StateAcked {
			t.Errorf("verdict %s, state %s", v.Verdict.Policy, v.Record.State)
		}
		if d := cmp.Diff([]string{"LEASED"}, ended); d != "" {
			t.Errorf("ended (-want +got):\n%s", d)
		}
		if _, _, ok := w.a.Treatment("LEASED"); ok {
			t.Error("a test that is over is treated")
		}
		if _, _, ok := w.a.Treatment("nobody"); ok {
			t.Error("an unknown test is treated")
		}
		// What needs its slot: nothing any more.
		if n := w.a.Needs(); len(n) != 0 {
			t.Errorf("needs %v", n)
		}
	})
}

// Names of a slot are exact: another sender behind the same address, on slot 0,
// disturbs nothing that names it, and both get the right verdict.
func TestSlotBesideSlotZero(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ leased, other policyinfer.Name }{
		{policyinfer.DANE, policyinfer.MTASTS},
		{policyinfer.MTASTS, policyinfer.DANE},
		{policyinfer.DANE, policyinfer.May},
		{policyinfer.May, policyinfer.DANE},
		{policyinfer.DANEMTASTS, policyinfer.Verify},
	} {
		t.Run(string(c.leased)+" beside "+string(c.other), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 3)
				s, o := w.sender("user@sender.example", c.leased), w.sender("else@other.example", c.other)
				s.lease(1, token, "LEASED")
				s.sni, s.perTry = true, 1
				o.helo = s.helo
				for range 12 {
					s.attempt()
					o.attempt()
					w.wait(6 * time.Minute)
					if w.test(s.from).Record.State == history.StateRunning {
						before := w.test(s.from)
						w.stop()
						w.start() // changes nothing
						after := w.test(s.from)
						if d := cmp.Diff(by(before), by(after)); d != "" || before.Record.Test.LeftOut != after.Record.Test.LeftOut {
							t.Errorf("restarted, left out %d, %d (-before +after):\n%s", before.Record.Test.LeftOut, after.Record.Test.LeftOut, d)
						}
					}
				}
				defer w.stop()
				v := w.test(s.from)
				if c.leased.Protected() && (v.Verdict.Policy != c.leased || by(v)[evidence.BySlot] == 0) {
					t.Errorf("verdict %s, attribution %v", v.Verdict.Policy, by(v))
				}
				for _, x := range []*sender{s, o} {
					if v := w.test(x.from); v.Verdict.Conclusive && v.Verdict.Policy != x.policy {
						t.Errorf("%s is called %s", x.policy, v.Verdict.Policy)
					}
					for _, conn := range w.test(x.from).History.Connections {
						if conn.TLS != nil && conn.TLS.SNI != nil && conn.Slot != x.slot {
							t.Errorf("%s has a connection to %s", x.from, *conn.TLS.SNI)
						}
					}
				}
			})
		})
	}
}

// Who names a slot is not its sender for that.
func TestStrangersInASlot(t *testing.T) {
	const mx05 = "mx05.et1." + zone
	refuse := func(c *evidence.Connection) {}
	for _, c := range []struct {
		name     string
		ip, helo string
		sni      string
		change   func(*evidence.Connection)
		want     evidence.Attribution // "": not in the test
		shared   bool
	}{
		{"its own host", "192.0.2.10", "mta.example", mx05, refuse, evidence.BySlot, false},
		{"its own host, another name of its organization", "192.0.2.10", "out2.mta.example", mx05, refuse, evidence.BySlot, false},
		{"by hand from its own host", "192.0.2.10", "openssl.client.net", mx05, refuse, evidence.ByAddress, false},
		{"a scanner elsewhere", "203.0.113.99", "mta.example", mx05, refuse, "", false},
		{"a scanner in its network", "192.0.2.99", "mta.example", mx05, refuse, "", false},
		{"another slot", "192.0.2.10", "mta.example", "mx05.et2." + zone, refuse, "", false},
		{"slot 0", "192.0.2.10", "mta.example", "mx05.et." + zone, refuse, "", false},
		{"no slot", "192.0.2.10", "mta.example", "mail.example", refuse, evidence.ByAddress, false},
		{"MAIL of another", "192.0.2.10", "mta.example", mx05, func(c *evidence.Connection) { c.MailFrom = new("x@y.example") }, "", false},
		{"another token, its own host", "192.0.2.10", "mta.example", mx05, func(c *evidence.Connection) {
			c.MailFrom, c.Refused = new("x@y.example"), []string{"en2222222222@et1." + zone}
		}, "", true},
		{"another token, its network", "192.0.2.11", "mta.example", mx05, func(c *evidence.Connection) { c.Refused = []string{"en@ut1." + zone} }, "", true},
		{"another token, elsewhere", "203.0.113.99", "mta.example", mx05, func(c *evidence.Connection) { c.Refused = []string{"en@ut1." + zone} }, "", false},
		{"another token at another slot", "192.0.2.10", "mta.example", "", func(c *evidence.Connection) {
			c.MailFrom, c.Refused = new("x@y.example"), []string{"en2222222222@et2." + zone}
		}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 4)
				s := w.sender("user@sender.example", policyinfer.DANE)
				s.helo = "mta.example"
				s.lease(1, token, "LEASED")
				s.stops = "DATA"
				s.attempt() // too early for a test
				s.stops = ""
				w.wait(4 * time.Minute)
				s.connect(scenario.ET, scenario.MX06)
				v := w.test(s.from)
				before := len(v.History.Connections)
				w.stray(c.ip, c.helo, c.sni, c.change)
				check := func(when string) {
					v := w.test(s.from)
					last := v.History.Connections[len(v.History.Connections)-1]
					switch {
					case c.want == "" && len(v.History.Connections) != before:
						t.Errorf("%s: it is in the test: %+v", when, last)
					case c.want != "" && (len(v.History.Connections) != before+1 || last.Attribution != c.want):
						t.Errorf("%s: %d connections, %d before; the last one by %q, want %q", when, len(v.History.Connections), before, last.Attribution, c.want)
					case v.Record.Shared != c.shared:
						t.Errorf("%s: shared %v, want %v", when, v.Record.Shared, c.shared)
					}
				}
				check("at once")
				w.stop()
				w.start()
				defer w.stop()
				check("after a restart")
			})
		})
	}
}

// Two senders in one slot: each has a test of its own, and from then on nothing
// is exact by its names, also after one of them is deleted, and a restart.
func TestTwoSendersInASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		s := w.sender("user@sender.example", policyinfer.DANE)
		s.lease(1, token, "LEASED")
		s.perTry = 1
		s.attempt()
		w.wait(5 * time.Minute)
		w.stray(s.ip, s.helo, "mx05.et1."+zone, nil)
		if n := by(w.test(s.from)); n[evidence.BySlot] == 0 {
			t.Fatalf("attribution %v: that tries nothing", n)
		}
		o := w.sender("else@other.example", policyinfer.May)
		o.lease(1, token, "LEASED") // the token was passed on
		o.attempt()
		v := w.test(o.from)
		if v.Record.Test.ID == "LEASED" || v.Record.Leased || v.Record.Capability == "capability of LEASED" {
			t.Errorf("the second sender has %+v", v.Record)
		}
		check := func(when string) {
			t.Helper()
			w.stray(s.ip, s.helo, "mx05.et1."+zone, nil)
			if v := w.test(s.from); !v.Record.Shared || by(v)[evidence.BySlot] > 0 {
				t.Errorf("%s: shared %v, attribution %v", when, v.Record.Shared, by(v))
			}
		}
		check("with a second sender")
		w.stop()
		w.start()
		defer w.stop()
		check("after a restart")
		if _, err := w.a.Forget(t.Context(), o.from); err != nil {
			t.Fatal(err)
		}
		check("once the second one is deleted")
		for range 10 {
			s.attempt()
			w.wait(6 * time.Minute)
		}
		if v := w.test(s.from); v.Verdict.Conclusive && v.Verdict.Policy != policyinfer.DANE {
			t.Errorf("verdict %s", v.Verdict.Policy)
		}
	})
}

// A test in another slot of the same provider raises doubt about what names no
// slot, as one in the same slot does.
func TestKinInAnotherSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6)
		defer w.stop()
		one, two := w.sender("one@sender.example", policyinfer.May), w.sender("two@other.example", policyinfer.May)
		one.lease(1, token, "FIRST2")
		two.lease(2, otherToken, "SECND2")
		two.ip = "192.0.2.11"
		one.helo, two.helo = "m1.provider.example", "m2.provider.example"
		one.attempt()
		w.stray(one.ip, one.helo, "", nil)
		if n := by(w.test(one.from)); n[evidence.ByAddress] != 1 {
			t.Fatalf("attribution %v: that tries nothing", n)
		}
		two.attempt()
		w.stray(one.ip, one.helo, "", nil)
		v := w.test(one.from)
		if n := by(v); n[evidence.ByAddress] != 0 && v.Record.Test.LeftOut == 0 {
			t.Errorf("attribution %v, left out %d", n, v.Record.Test.LeftOut)
		}
		if v := w.test(two.from); v.Record.Test.ID != "SECND2" || v.Record.Shared || w.test(one.from).Record.Shared {
			t.Errorf("tests of two slots share one: %+v", v.Record)
		}
	})
}

// Somebody who guessed addresses of the slot before its first mail came was
// there, too.
func TestGuessedBeforeTheFirstMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name   string
			before time.Duration // the mail was written
			want   bool
		}{{"while the mail was on its way", 0, true}, {"an hour before", time.Hour, false}} {
			w := newWorld(t, 9)
			s := w.sender("user@sender.example", policyinfer.DANE)
			s.lease(1, token, "LEASED")
			w.stray(s.ip, s.helo, "mx05.et1."+zone, nil)
			w.stray(s.ip, s.helo, "mx06.et1."+zone, func(c *evidence.Connection) {
				c.MailFrom, c.Refused = new("x@y.example"), []string{"en2222222222@et1." + zone}
			})
			w.wait(4*time.Minute + c.before)
			if c.before > 0 {
				s.mail()
			}
			s.connect(scenario.ET, scenario.MX06)
			v := w.test(s.from)
			if v.Record.Shared != c.want || by(v)[evidence.BySlot] != 0 {
				t.Errorf("%s: shared %v, want %v; attribution %v", c.name, v.Record.Shared, c.want, by(v))
			}
			w.stop()
			w.start()
			if v := w.test(s.from); v.Record.Shared != c.want || by(v)[evidence.BySlot] != 0 {
				t.Errorf("%s, after a restart: shared %v, want %v; attribution %v", c.name, v.Record.Shared, c.want, by(v))
			}
			w.stop()
		}
	})
}

// One mail to two slots makes two tests, also within one session: each has its
// own part of it.
func TestOneMailToTwoSlots(t *testing.T) {
	part := func(slot int) evidence.Transaction {
		return evidence.Transaction{MailFrom: "user@sender.example", RcptTo: []string{"x@" + scenario.Names(zone, slot).ET}, Data: true, MessageID: "<1@x>"}
	}
	for slot := range 2 {
		x := &test{rec: history.TestRecord{Test: evidence.Test{Zone: zone, Slot: slot, Sender: "user@sender.example"}, MessageIDs: []string{"<1@x>"}}}
		got := x.itsPart(evidence.Connection{Data: true, Transactions: []evidence.Transaction{part(0), part(1), {MailFrom: "user@sender.example"}}})
		want := []evidence.Transaction{part(slot), {MailFrom: "user@sender.example"}}
		if d := cmp.Diff(want, got.Transactions); d != "" || !got.Data || !slices.Equal(got.RcptTo, want[0].RcptTo) {
			t.Errorf("slot %d: recipients %q, transactions (-want +got):\n%s", slot, got.RcptTo, d)
		}
	}
}

// Blocked clients are none.
func TestBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, rng: newRNG(1), dir: t.TempDir()}
		w.change = func(o *Options) {
			o.Blocked = func(a netip.Addr) (string, bool) { return "your network is blocked", a.String() == "192.0.2.66" }
		}
		w.start()
		defer w.stop()
		_, err := w.a.Accepted("1", netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.66:1"))
		if err == nil || !strings.Contains(err.Error(), "blocked") || len(w.a.clients) != 0 {
			t.Errorf("error %v, %d clients", err, len(w.a.clients))
		}
		if _, err := w.a.Accepted("2", netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.67:1")); err != nil {
			t.Error(err)
		}
	})
}

// A mail that is sent again and behaves in another way begins a test in the same
// slot, which still has one sender.
func TestSplitKeepsTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 8)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.May)
		s.lease(1, token, "LEASED")
		s.sni = true
		s.attempt()
		w.wait(5 * time.Minute)
		s.attempt()
		s.policy = policyinfer.DANE
		s.mail()
		for range 8 {
			s.attempt()
			w.wait(6 * time.Minute)
		}
		all := w.tests(s.from)
		if len(all) < 2 {
			t.Fatalf("tests %+v: that tries nothing", all)
		}
		i := slices.IndexFunc(all, func(r history.TestRecord) bool { return r.Test.ID != "LEASED" })
		if !all[i].Leased || all[i].Shared {
			t.Errorf("the second test: leased %v, shared %v", all[i].Leased, all[i].Shared)
		}
	})
}

// The very mail of a test that is over, sent again to a later lease of the same
// slot, begins a test there, with or without a restart in between.
func TestSameMailToALaterLease(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for _, rest := range []time.Duration{25 * time.Hour, 80 * time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 11)
				s := w.sender("user@sender.example", policyinfer.DANE)
				s.messageID = "<same@sender.example>"
				s.lease(1, token, "FIRST2")
				s.until(10, 10*time.Minute)
				w.wait(rest)
				if restart {
					w.stop()
					w.start()
					w.rotate()
				}
				defer func() { w.stop() }()
				s.lease(1, otherToken, "SECND2")
				clear(s.acked)
				s.until(10, 10*time.Minute)
				v := w.test(s.from)
				if n := len(w.tests(s.from)); n != 2 || v.Record.Test.ID != "SECND2" || v.Verdict.Policy != policyinfer.DANE || v.Record.State != history.StateAcked {
					t.Errorf("after %v, restarted %v: %d tests; the last one is %s, %s, %s", rest, restart, n, v.Record.Test.ID, v.Verdict.Policy, v.Record.State)
				}
				s.token = token // a late copy of the first one
				clear(s.acked)
				s.until(10, 10*time.Minute)
				if n := len(w.tests(s.from)); n != 2 || !s.delivered() {
					t.Errorf("after %v, restarted %v: a late copy made test %d, delivered %v", rest, restart, n, s.delivered())
				}
			})
		}
	}
}

// A crash after a test was opened, and before anything of its first mail was
// stored: the mail that comes again is that of the test.
func TestCrashBeforeTheFirstMailIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10)
		s := w.sender("user@sender.example", policyinfer.DANE)
		s.lease(1, token, "LEASED")
		w.store.Submit(history.Batch{Tests: []history.TestRecord{{
			Test:       evidence.Test{ID: "LEASED", Zone: zone, Slot: 1, Started: time.Now(), Sender: s.from, SenderIPs: []string{}, Timing: w.a.o.Timing.evidence()},
			Capability: "capability of LEASED", State: history.StateRunning, Opened: time.Now(), Leased: true,
		}}})
		w.stop()
		w.start()
		defer w.stop()
		w.rotate()
		w.wait(15 * time.Minute)
		s.until(10, 10*time.Minute)
		if all := w.tests(s.from); len(all) != 1 || all[0].Test.ID != "LEASED" {
			t.Fatalf("tests %+v", all)
		}
		v := w.test(s.from)
		if v.Verdict.Policy != policyinfer.DANE || v.Record.State != history.StateAcked || !v.Record.Leased || v.Record.Shared || v.Record.Capability != "capability of LEASED" {
			t.Errorf("verdict %s of %+v", v.Verdict.Policy, v.Record)
		}
		o := w.sender("else@other.example", policyinfer.May)
		o.lease(1, token, "LEASED") // the token was passed on
		o.attempt()
		if v := w.test(o.from); v.Record.Test.ID == "LEASED" {
			t.Errorf("the second sender has %+v", v.Record)
		}
	})
}
