package certs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/scenario"
)

func TestRoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca, d := newInternet(t), newTestCA(t), &certs.MemoryDisk{}
		o := w.rolling(ca)
		o.KeyAlgorithms = []certs.KeyAlgorithm{certs.ECDSA, certs.RSA}
		s := openOn(t, o, d)
		w.serve(s)
		run(t, s)
		after(time.Hour)
		before, files := keyIDs(s), len(d.Names())
		hosts, err := s.Roll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"mx.sink.example", "mx04.et.sink.example", "mx06.et.sink.example"}, hosts); diff != "" {
			t.Errorf("hosts (-want +got):\n%s", diff)
		}
		for _, step := range []struct {
			at    time.Duration
			phase certs.RollPhase
			tlsa  int
		}{
			{time.Second, certs.RollWaiting, 4},
			{rollWait - time.Second, certs.RollWaiting, 4},
			{rollWait + time.Second, certs.RollSwitched, 4},
			{2*rollWait - time.Second, certs.RollSwitched, 4},
			{2*rollWait + time.Second, certs.NoRoll, 2},
		} {
			k := status(t, s, "mx06.et.sink.example", scenario.CA)
			after(time.Until(k.RollSince.Add(step.at)))
			k = status(t, s, "mx06.et.sink.example", scenario.CA)
			if got := len(s.TLSA()["mx06.et.sink.example"]); k.Roll != step.phase || got != step.tlsa {
				t.Errorf("after %s: phase %q with %d records, want %q with %d", step.at, k.Roll, got, step.phase, step.tlsa)
			}
			if k.Roll == certs.NoRoll {
				break
			}
		}
		untilIdle(t, s)
		after(time.Hour)
		w.must(t)
		for name, id := range keyIDs(s) {
			host, _, _ := strings.Cut(name, " ")
			if changed := before[name] != id; changed != slices.Contains(hosts, host) {
				t.Errorf("%s: key changed: %v", name, changed)
			}
		}
		if got := len(d.Names()); got != files+1 { // keys.json
			t.Errorf("%d files, want %d: %v", got, files+1, d.Names())
		}
		again := openOn(t, o, d)
		if diff := cmp.Diff(keyIDs(s), keyIDs(again)); diff != "" {
			t.Errorf("keys after a restart (-want +got):\n%s", diff)
		}
		mustHold(t, again, 1)
	})
}

// The clients of these tests notice what they are there for.
func TestClientsNotice(t *testing.T) {
	for name, spoil := range map[string]func(w *internet, o *certs.Options){
		"switch before publication": func(w *internet, _ *certs.Options) {
			w.publish = func() (bool, error) { return false, nil }
		},
		"a wait shorter than the TTL":              func(_ *internet, o *certs.Options) { o.RollWait = ttl - 2*time.Second },
		"a wait that does not count the secondary": func(_ *internet, o *certs.Options) { o.RollWait = ttl + time.Second },
		"withdrawal of the new key as soon as it is there": func(w *internet, o *certs.Options) {
			o.Publish = func(ctx context.Context) error {
				err := w.Publish(ctx)
				w.mu.Lock()
				defer w.mu.Unlock()
				primary := make(map[string][]certs.TLSA)
				for host, records := range w.primary {
					primary[host] = records[:1]
				}
				w.primary = primary
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newInternet(t)
				o := w.rolling(newTestCA(t))
				spoil(w, &o)
				s := open(t, o)
				w.serve(s)
				run(t, s)
				// The secondary has just refreshed when the roll begins.
				after(refresh + 2*time.Second)
				if _, err := s.Roll(t.Context()); err != nil {
					t.Fatal(err)
				}
				untilIdle(t, s)
				if _, err := w.result(); err == nil {
					t.Error("no client noticed")
				}
			})
		})
	}
}

func TestRollWhileThingsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca, d := newInternet(t), newTestCA(t), &certs.MemoryDisk{}
		s := openOn(t, w.rolling(ca), d)
		w.serve(s)
		run(t, s)
		after(time.Hour)
		ca.set(down)
		w.mu.Lock()
		failures := 0
		w.publish = func() (bool, error) {
			failures++
			return failures%4 != 1, []error{nil, errors.New("refused"), errors.New("timeout"), errors.New("lost reply")}[failures%4]
		}
		w.mu.Unlock()
		if _, err := s.Roll(t.Context(), "mx06.et", "mx04.et.sink.example."); err != nil {
			t.Fatal(err)
		}
		after(3 * time.Second)
		if k := status(t, s, "mx06.et.sink.example", scenario.CA); k.Roll != certs.RollPublishing || !strings.Contains(k.RollError, "publish TLSA records: refused") {
			t.Errorf("status %+v", k)
		}
		after(6 * time.Hour)
		k := status(t, s, "mx06.et.sink.example", scenario.CA)
		if k.Roll != certs.RollCertificate || k.RollError != "CA is down" || k.OtherIssued {
			t.Errorf("without a CA: %+v", k)
		}
		// mx04 signs for itself, and does not wait for mx06.
		if k := status(t, s, "mx04.et.sink.example", scenario.SelfSigned); k.Roll != certs.NoRoll {
			t.Errorf("mx04: %+v", k)
		}
		ca.set(nil)
		after(5 * time.Hour)
		if k := status(t, s, "mx06.et.sink.example", scenario.CA); k.Roll != certs.NoRoll {
			t.Errorf("with the CA again: %+v", k)
		}
		w.must(t)
	})
}

// A key that is in no TLSA record rolls without waiting.
func TestRollWithoutTLSA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newInternet(t)
		s := open(t, w.rolling(newTestCA(t)))
		w.serve(s)
		run(t, s)
		after(time.Minute)
		before := keyIDs(s)
		hosts, err := s.Roll(t.Context(), "default", "mx03.et", "mx05.et", "ut", "mta-sts.et")
		if err != nil || len(hosts) != 5 {
			t.Fatalf("%v, %v", hosts, err)
		}
		after(time.Second)
		changed := 0
		for name, id := range keyIDs(s) {
			if id != before[name] {
				changed++
			}
		}
		if !idle(s) || changed != 7 {
			t.Errorf("%d keys changed at once, want 7", changed)
		}
		w.must(t)
		mustHold(t, s, 1)
	})
}

func TestCancelRoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d := newInternet(t), &certs.MemoryDisk{}
		s := openOn(t, w.rolling(newTestCA(t)), d)
		w.serve(s)
		run(t, s)
		after(time.Hour)
		before, tlsa := keyIDs(s), s.TLSA()
		fails := func(want string, err error) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
		}
		_, err := s.CancelRoll("mx06.et")
		fails("the key of mx06.et.sink.example does not roll", err)
		_, err = s.Roll(t.Context(), "mx06.et", "mx07.et")
		fails(`host "mx07.et" is none of this sink`, err)
		if !idle(s) {
			t.Error("a roll began although one of its hosts is unknown")
		}

		roll := func(hosts ...string) {
			t.Helper()
			if _, err := s.Roll(t.Context(), hosts...); err != nil {
				t.Fatal(err)
			}
		}
		roll("mx06.et")
		after(rollWait / 2)
		_, err = s.Roll(t.Context())
		fails(`the key of mx06.et.sink.example rolls since `, err)
		fails(`phase "waiting"`, err)
		refused := time.Now().Add(time.Minute)
		w.mu.Lock()
		w.publish = func() (bool, error) {
			if time.Now().Before(refused) {
				return false, errors.New("refused")
			}
			return true, nil
		}
		w.mu.Unlock()
		if hosts, err := s.CancelRoll(); err != nil || len(hosts) != 1 {
			t.Errorf("cancel: %v, %v", hosts, err)
		}
		if diff := cmp.Diff(tlsa, s.TLSA()); diff != "" {
			t.Errorf("TLSA once cancelled (-want +got):\n%s", diff)
		}
		_, err = s.CancelRoll("mx06.et")
		fails("is cancelled already", err)
		untilIdle(t, s)
		after(rollWait)
		w.mu.Lock()
		if diff := cmp.Diff(tlsa, w.primary); diff != "" {
			t.Errorf("published once cancelled (-want +got):\n%s", diff)
		}
		w.mu.Unlock()
		if diff := cmp.Diff(before, keyIDs(s)); diff != "" {
			t.Errorf("keys once cancelled (-want +got):\n%s", diff)
		}
		if slices.Contains(d.Names(), "keys/0-mx06-ca-ecdsa.1.pem") {
			t.Error("the cancelled key is still there")
		}

		roll("mx06.et")
		after(rollWait + time.Second)
		_, err = s.CancelRoll("mx06.et")
		fails("is in use already", err)
		untilIdle(t, s)
		if before["mx06.et.sink.example ca ecdsa"] == keyIDs(s)["mx06.et.sink.example ca ecdsa"] {
			t.Error("the key did not change")
		}
		w.must(t)
	})
}

// The process dies at each write of the disk in turn, with and without effect,
// and starts again.
func TestRollSurvivesCrashes(t *testing.T) {
	t.Parallel()
	for i := range 8 {
		c := crash{cancel: i&1 != 0, effect: i&2 != 0, external: i&4 != 0}
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			for c.dieAt = 1; ; c.dieAt++ {
				if c.dieAt > 60 {
					t.Fatal("the roll never ends")
				}
				died := false
				synctest.Test(t, func(t *testing.T) { died = crashOnce(t, c) })
				if !died {
					if c.dieAt < 7 {
						t.Errorf("only %d writes: the test tests little", c.dieAt-1)
					}
					return
				}
			}
		})
	}
}

// crash is how a process dies.
type crash struct {
	dieAt    int  // number of the write
	effect   bool // that write took effect
	cancel   bool // the roll is cancelled on the way
	external bool // the primary is not ours: a start publishes nothing
}

// crashOnce rolls keys on a disk that dies at a write, and reports whether that
// happened.
func crashOnce(t *testing.T, c crash) bool {
	w, ca, d := newInternet(t), newTestCA(t), &certs.MemoryDisk{}
	o := w.rolling(ca)
	s := openOn(t, o, d)
	w.serve(s)
	w.external = c.external
	stop := run(t, s)
	after(100 * time.Second)
	before := keyIDs(s)
	writes, dead := 0, make(chan struct{})
	d.Break(func(string, string) (bool, error) {
		writes++
		if writes == c.dieAt {
			close(dead)
			return c.effect, errors.New("died")
		}
		return writes < c.dieAt, []error{nil, errors.New("died")}[min(1, writes/c.dieAt)]
	})
	_, rollErr := s.Roll(t.Context(), "mx04.et", "mx06.et")
	cancelling := time.After(rollWait / 2)
	deadline := time.After(3 * rollWait)
	for running := true; running; {
		select {
		case <-dead:
			running = false
		case <-cancelling:
			if c.cancel {
				_, _ = s.CancelRoll() // where it died there is nothing to cancel
			}
		case <-deadline:
			running = false
		}
	}
	w.serve(nil)
	stop()
	d.Break(nil)
	after(7 * time.Second)
	died := writes >= c.dieAt
	s = openOn(t, o, d)
	w.serve(s)
	run(t, s)
	after(time.Second)
	untilIdle(t, s)
	after(5 * time.Minute)
	if _, err := w.result(); err != nil {
		t.Fatalf("died at write %d: %v", c.dieAt, err)
	}
	mustHold(t, s, 1)
	changed := 0
	for name, id := range keyIDs(s) {
		if id != before[name] {
			changed++
		}
	}
	switch {
	case !died && rollErr != nil:
		t.Fatal(rollErr)
	case !died && !c.cancel && changed != 2, !died && c.cancel && changed != 0, changed > 2:
		t.Errorf("died at write %d: %d keys changed", c.dieAt, changed)
	}
	// The next roll works, whatever was left behind.
	if _, err := s.Roll(t.Context(), "mx04.et", "mx06.et"); err != nil {
		t.Fatal(err)
	}
	untilIdle(t, s)
	after(5 * time.Minute)
	w.must(t)
	return died
}
