package assess

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
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

// While one of our own servers is broken no test gets a verdict, over a restart
// too; afterwards they do.
func TestBrokenSinkGivesNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.a.SetFault(Fault{Broken: "mx05: TLSA matches", BrokenSince: time.Now()})
		s := w.sender("user@sender.example", policyinfer.DANE)
		for i := range 6 {
			s.attempt()
			w.wait(10 * time.Minute)
			if i == 3 {
				w.stop()
				w.start()
			}
		}
		if v := w.test(s.from); v.Record.State != history.StateRunning || v.Verdict.Conclusive {
			t.Fatalf("%s, %s while the sink is broken", v.Record.State, v.Verdict.Policy)
		}
		w.a.SetFault(Fault{})
		s.until(20, 10*time.Minute)
		if v := w.test(s.from); v.Verdict.Policy != policyinfer.DANE {
			t.Errorf("after the repair: %s, %v", v.Verdict.Policy, v.Verdict.Findings)
		}
		w.stop()
	})
}

// A verdict that was reached since the last check that passed is taken back when
// the next one fails; one before it stays.
func TestVerdictIsTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(at time.Time) Fault
		back  bool
	}{
		"broken since the check before":       {func(at time.Time) Fault { return Fault{Broken: "mx05", BrokenSince: at.Add(-time.Hour)} }, true},
		"broken since after the verdict":      {func(at time.Time) Fault { return Fault{Broken: "mx05", BrokenSince: at.Add(time.Second)} }, false},
		"broken, who knows since when":        {func(time.Time) Fault { return Fault{Broken: "mx05"} }, true},
		"unverifiable since the check before": {func(at time.Time) Fault { return Fault{Unverifiable: "policy", UnverifiableSince: at.Add(-time.Hour)} }, true},
		"unverifiable since later":            {func(at time.Time) Fault { return Fault{Unverifiable: "policy", UnverifiableSince: at.Add(time.Second)} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				defer w.stop()
				s := w.sender("user@sender.example", policyinfer.May)
				s.until(20, 10*time.Minute)
				before := w.test(s.from)
				if before.Verdict.Policy != policyinfer.May {
					t.Fatalf("verdict %s", before.Verdict.Policy)
				}
				w.wait(time.Minute)
				w.a.SetFault(c.fault(before.Record.Concluded))
				w.wait(time.Minute)
				v := w.test(s.from)
				if back := v.Verdict.Policy == policyinfer.Undetermined && !v.Verdict.Conclusive; back != c.back {
					t.Errorf("now %s, %v", v.Verdict.Policy, v.Verdict.Findings)
				}
				if got := w.a.engine.Infer(v.History, policyinfer.Options{}).Policy; got != v.Verdict.Policy {
					t.Errorf("the record gives %s, the page %s", got, v.Verdict.Policy)
				}
			})
		})
	}
}

// A fault that looks different at each check, e.g. for the port that it names, is
// one fault.
func TestFaultThatLooksDifferent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		since := time.Now()
		w.wait(time.Minute)
		before := len(w.a.states[0])
		for i := range 20 {
			w.a.SetFault(Fault{Broken: fmt.Sprintf("read tcp 127.0.0.1:%d: connection reset by peer", 40000+i), BrokenSince: since})
			time.Sleep(time.Second)
		}
		if n := len(w.a.states[0]) - before; n != 1 {
			t.Errorf("%d states of one fault", n)
		}
		if f := w.a.Fault(); !strings.Contains(f.Broken, "40019") || !f.BrokenSince.Equal(since) {
			t.Errorf("fault %+v", f)
		}
		w.a.SetFault(Fault{})
		if n := len(w.a.states[0]) - before; n != 2 || w.a.states[0][before+1].Broken != "" {
			t.Errorf("%d states after the repair", n)
		}
	})
}

// A slow change of the MX order is told once it is known to be slow, and then for
// the time from which on it was: a fault that came or went since then is no
// reason to believe in the order of before, nor does it begin or end earlier.
func TestOrderOfAPastTime(t *testing.T) {
	for name, c := range map[string]struct{ before, after Fault }{
		"comes":   {after: Fault{Broken: "mx05"}},
		"goes":    {before: Fault{Broken: "mx05"}},
		"changes": {before: Fault{Broken: "mx05"}, after: Fault{Unverifiable: "no DS"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				defer w.stop()
				w.wait(time.Minute)
				c.before.BrokenSince = time.Now()
				w.a.SetFault(c.before)
				w.wait(time.Minute)
				began := time.Now()
				time.Sleep(500 * time.Millisecond)
				found := time.Now()
				c.after.BrokenSince, c.after.UnverifiableSince = found, found
				w.a.SetFault(c.after)
				time.Sleep(500 * time.Millisecond)
				unknown := map[string]int{"mx03": 0, "mx04": 0, "mx05": 0, "mx06": 0}
				w.a.RecordState(0, evidence.State{Time: began, MX: unknown})
				w.wait(time.Second)

				states := slices.Clone(w.a.states[0])
				slices.SortStableFunc(states, func(a, b evidence.State) int { return a.Time.Compare(b.Time) })
				var at []evidence.State
				for _, s := range states {
					if !s.Time.Before(began) {
						at = append(at, s)
					}
				}
				if n := len(at); n < 2 || !maps.Equal(at[n-1].MX, unknown) || at[n-1].Broken != c.after.Broken || at[n-1].Unverifiable != c.after.Unverifiable {
					t.Errorf("since the change: %+v", at)
				}
				if !at[0].Time.Equal(began) || at[0].Broken != c.before.Broken || at[0].Unverifiable != "" {
					t.Errorf("when it began: %+v", at[0])
				}
				h := evidence.History{Test: evidence.Test{ID: "x", Zone: zone, Started: began}, States: states}
				var b bytes.Buffer
				if err := evidence.WriteHistory(&b, h); err != nil {
					t.Fatal(err)
				}
				if _, err := evidence.ReadHistory(&b); err != nil {
					t.Errorf("the record cannot be read: %v", err)
				}
			})
		})
	}
}

// What is said of a provider rests on the same servers.
func TestProviderIsTakenBack(t *testing.T) {
	t.Parallel()
	for _, later := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newTimedWorld(t, 3, Timing{Close: 3 * time.Hour})
			defer w.stop()
			var users []*sender
			for i, domain := range []string{"one.example", "two.example", "three.example"} {
				s := w.sender(fmt.Sprintf("user%d@%s", i, domain), policyinfer.DANE)
				s.perTry = 3
				users = append(users, s)
			}
			for at := range 200 {
				for i, every := range []int{7, 11, 13} {
					if at%every == i && !users[i].delivered() {
						users[i].attempt()
					}
				}
				w.wait(time.Minute)
			}
			told := func() (n int, last time.Time) {
				for _, s := range users {
					if r := w.tests(s.from)[0]; r.Provider != nil {
						n++
						if r.Concluded.After(last) {
							last = r.Concluded
						}
					}
				}
				return n, last
			}
			before, last := told()
			if before == 0 {
				t.Fatal("nobody is told about the provider")
			}
			since := last.Add(-4 * time.Hour)
			if later {
				since = last.Add(time.Second)
			}
			w.a.SetFault(Fault{Broken: "mx05", BrokenSince: since})
			w.wait(time.Minute)
			if n, _ := told(); !later && n != 0 || later && n != before {
				t.Errorf("fault since later=%v: %d of %d are still told about the provider", later, n, before)
			}
		})
	}
}

// A probe of our own is no client, whatever it meets: neither before nor after.
func TestProbesLeaveNoTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		local, remote := netip.MustParseAddrPort("192.0.2.25:25"), netip.MustParseAddrPort("198.51.100.1:1000")
		key := evidence.ClientOf(remote.Addr())
		token, err := w.a.ProbeToken()
		if err != nil {
			t.Fatal(err)
		}
		probe := func(p scenario.Probe) (evidence.Phase, scenario.Kind, bool) {
			id := w.store.NewConnID()
			if _, err := w.a.Accepted(id, local, remote); err != nil {
				t.Fatal(err)
			}
			got, ok := w.a.Probe(id, p.Name(zone))
			if !ok {
				return "", "", false
			}
			return got.Phase, got.Certificate("ut." + zone).Kind, true
		}
		for _, p := range []scenario.Probe{{Token: token, Kind: scenario.CA}, {Token: token, StartTLS: true, Kind: scenario.SelfSigned}} {
			phase, kind, ok := probe(p)
			if !ok || kind != p.Kind || (phase == evidence.Secure) != p.StartTLS {
				t.Errorf("%+v is treated as %v, %s, %s", p, ok, phase, kind)
			}
			if len(w.a.clients) != 0 || len(w.a.conns) != 0 {
				t.Errorf("%d clients, %d connections after a probe", len(w.a.clients), len(w.a.conns))
			}
		}
		// Beside a sender at the same address, its treatment goes on as it was.
		id := w.store.NewConnID()
		if _, err := w.a.Accepted(id, local, remote); err != nil {
			t.Fatal(err)
		}
		w.a.Closed(evidence.Connection{ID: id, Start: time.Now(), End: time.Now(), Client: remote.String(), Local: local.String(), Phase: evidence.Downgrade})
		before := *w.a.clients[key]
		w.wait(time.Minute)
		if _, _, ok := probe(scenario.Probe{Token: token, StartTLS: true, Kind: scenario.CA}); !ok {
			t.Fatal("no probe")
		}
		if after := *w.a.clients[key]; after.open != 0 || after.last != before.last || after.started != before.started || w.a.Phase(id) != evidence.Secure {
			t.Errorf("client %+v became %+v", before, after)
		}
		for name, p := range map[string]scenario.Probe{"guess": {Token: strings.Repeat("a", len(token)), Kind: scenario.CA}, "none": {Token: "x", Kind: scenario.CA}} {
			if _, _, ok := probe(p); ok {
				t.Errorf("a %s token is known", name)
			}
		}
		// However many ask, whoever has a token can use it for ten minutes.
		last := token
		for range 1000 {
			if last, err = w.a.ProbeToken(); err != nil {
				t.Fatal(err)
			}
			w.wait(probeLife / 1000)
		}
		if n := len(w.a.probes); n > 3 || last == token {
			t.Errorf("%d tokens are kept, and the last one is new: %v", n, last != token)
		}
		if _, _, ok := probe(scenario.Probe{Token: token, Kind: scenario.CA}); !ok {
			t.Error("the token was taken back")
		}
		w.wait(probeLife)
		if _, _, ok := probe(scenario.Probe{Token: token, Kind: scenario.CA}); ok {
			t.Error("the token lives for ever")
		}
	})
}

// In the mode first-contact a probe takes no contact away.
func TestProbeIsNoFirstContact(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	f := &firstContact{gap: time.Second}
	f.begin(now)
	f.accept("probe", scenario.ET, now)
	f.dismiss("probe", now)
	f.accept("first", scenario.ET, now)
	if got := f.phase("first", now); got != evidence.Downgrade {
		t.Errorf("the first contact after a probe is in phase %s", got)
	}
	f.accept("probe", scenario.ET, now)
	if got := f.phase("probe", now); got != evidence.Secure {
		t.Errorf("a second connection is in phase %s", got)
	}
	f.dismiss("probe", now)
	if !f.secureSince().IsZero() || f.phase("first", now) != evidence.Downgrade {
		t.Errorf("a probe changed the treatment: %+v", f)
	}
}
