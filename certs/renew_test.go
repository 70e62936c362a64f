package certs_test

import (
	"crypto/x509"
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

// mustHold fails if any certificate of any slot is missing, expired, or not yet
// valid.
func mustHold(t *testing.T, s *certs.Store, slots int) {
	t.Helper()
	for i := range slots * len(scenario.Certificates()) {
		id := scenario.Certificates()[i/slots]
		id.Slot = i % slots
		pair, err := s.Certificates(id)
		if err != nil {
			t.Fatalf("%s: %v", time.Now(), err)
		}
		for _, c := range pair {
			if now := time.Now(); now.After(c.Leaf.NotAfter) || now.Before(c.Leaf.NotBefore) {
				t.Fatalf("%s: %v holds from %s to %s", now, id, c.Leaf.NotBefore, c.Leaf.NotAfter)
			}
		}
	}
}

// Three years, and a CA that is away for up to two thirds of each certificate's
// last third, or refuses one name for that long.
func TestYears(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := newTestCA(t)
		s := open(t, options(ca))
		run(t, s)
		begin := time.Now()
		for i := range 3 * 365 * 4 {
			after(6 * time.Hour)
			switch i % 300 { // 75 days
			case 40:
				ca.set(func(names []string) error {
					if names[0] == "mx06.et.sink.example" {
						return errors.New("no such name")
					}
					return nil
				})
			case 100, 250:
				ca.set(nil)
			case 180:
				ca.set(down)
			}
			mustHold(t, s, 1)
		}
		count := map[string]int{}
		for _, c := range ca.log() {
			if c.err == nil {
				count[c.name]++
			}
		}
		for name, n := range count {
			if years := time.Since(begin).Hours() / 24 / 365; float64(n) > years*365/45 {
				t.Errorf("%s: %d certificates in %.1f years", name, n, years)
			}
		}
	})
}

// The CA comes back exactly a third of a life before expiry, after being away
// since the first day. Whatever the back-off has grown to, nothing expires.
func TestBackInTime(t *testing.T) {
	for _, life := range []time.Duration{caLife, 6 * day, 4 * time.Hour} {
		t.Run(life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := newTestCA(t)
				ca.life = life
				s := open(t, options(renewable{ca}))
				born := time.Now()
				ca.window = func(*x509.Certificate) (start, end time.Time, err error) {
					return born, born.Add(life / 10), nil // wants them back at once
				}
				ca.set(down)
				run(t, s)
				after(life - life/3 - backdate)
				ca.set(nil)
				mustHold(t, s, 1)
				for range 400 {
					after(life / 1000)
					mustHold(t, s, 1)
				}
			})
		})
	}
}

func TestOrderOfIssue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newTestCA(t)
		o := options(ca)
		o.Slots, o.DeferIssue = 2, true
		s := open(t, o)
		run(t, s)
		after(time.Minute)
		var got []string
		for _, c := range ca.log() {
			got = append(got, strings.TrimSuffix(c.name, ".sink.example"))
		}
		want := []string{
			"sink.example", "mx03.et", "mta-sts.et", "mx06.et", "mx05.et", "ut", // the default certificate's first name is mx03
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("order (-want +got):\n%s", d)
		}
	})
}

// What is there goes by its end, whatever its name.
func TestSoonestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newTestCA(t)
		o := options(ca)
		ca.set(func(names []string) error {
			if strings.HasPrefix(names[0], "mta-sts.") {
				return errors.New("later")
			}
			return nil
		})
		o.DeferIssue = true
		s := open(t, o)
		stop := run(t, s)
		after(day)
		ca.set(nil)
		after(day)
		mustHold(t, s, 1)
		stop()
		before := len(ca.log())
		after(80 * day)
		run(t, s)
		after(time.Minute)
		names := ca.log()[before:]
		if last := names[len(names)-1].name; len(names) != 6 || last != "mta-sts.et.sink.example" {
			t.Errorf("%d issued, last %s; want the youngest last", len(names), last)
		}
	})
}

// limited is an error as an ACME client returns it.
type limited struct {
	at  time.Time
	all bool
}

func (l limited) Error() string      { return "rate limited" }
func (l limited) RetryAt() time.Time { return l.at }
func (l limited) HoldAll() bool      { return l.all }

func TestIssuerSaysWhen(t *testing.T) {
	for _, c := range []struct {
		name   string
		all    bool
		issued int // at once, of 6 certificates
	}{{"one", false, 5}, {"all", true, 2}} { // two come before
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca, at := newTestCA(t), time.Now().Add(50*time.Hour)
				ca.set(func(names []string) error {
					if time.Until(at) > time.Second && names[0] == "mta-sts.et.sink.example" {
						return fmt.Errorf("order: %w", limited{at, c.all})
					}
					return nil
				})
				d := &certs.MemoryDisk{}
				o := options(ca)
				o.DeferIssue = true
				s := openOn(t, o, d)
				stop := run(t, s)
				after(24 * time.Hour)
				if got := len(ca.log()) - 1; got != c.issued {
					t.Errorf("%d issued, want %d", got, c.issued)
				}
				k := status(t, s, "mta-sts.et.sink.example", scenario.CA)
				if k.Issued || !k.Next.Equal(at) || !strings.Contains(k.LastError, "rate limited") {
					t.Errorf("status %+v", k)
				}
				stop()
				s = openOn(t, o, d) // a restart does not ask earlier
				run(t, s)
				after(25 * time.Hour)
				if got := len(ca.log()) - 1; got != c.issued {
					t.Errorf("%d issued after a restart, want %d", got, c.issued)
				}
				after(2 * time.Hour)
				mustHold(t, s, 1)
				if got := len(ca.log()); got != 7 {
					t.Errorf("%d calls, want 7", got)
				}
			})
		})
	}
}

// Moments are spread over the window, kept over restarts, and follow a window
// that moves.
func TestRenewalWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newTestCA(t)
		start, end := time.Now().Add(40*day), time.Now().Add(42*day)
		ca.window = func(*x509.Certificate) (time.Time, time.Time, error) { return start, end, nil }
		d, o := &certs.MemoryDisk{}, options(renewable{ca})
		o.Slots = 8
		s := openOn(t, o, d)
		stop := run(t, s)
		after(time.Minute)
		moments := func(s *certs.Store) (out []time.Time) {
			for _, k := range s.Status() {
				if k.Certificate.Kind == scenario.CA {
					out = append(out, k.Next)
				}
			}
			return out
		}
		first := moments(s)
		if early, late := slices.MinFunc(first, time.Time.Compare), slices.MaxFunc(first, time.Time.Compare); early.Before(start) || late.After(end) || late.Sub(early) < 4*time.Hour {
			t.Errorf("moments from %s to %s, window from %s to %s", early, late, start, end)
		}
		stop()
		s = openOn(t, o, d)
		run(t, s)
		after(time.Minute)
		if diff := cmp.Diff(first, moments(s)); diff != "" {
			t.Errorf("moments after a restart (-want +got):\n%s", diff)
		}

		ca.mu.Lock()
		ca.window = func(*x509.Certificate) (time.Time, time.Time, error) {
			return time.Time{}, time.Time{}, errors.New("no directory")
		}
		ca.mu.Unlock()
		after(day)
		if diff := cmp.Diff(first, moments(s)); diff != "" {
			t.Errorf("moments without an answer (-want +got):\n%s", diff)
		}

		issued := len(ca.log())
		ca.mu.Lock()
		ca.window = func(leaf *x509.Certificate) (time.Time, time.Time, error) {
			if leaf.NotBefore.After(start.Add(-39 * day)) {
				return time.Time{}, time.Time{}, nil
			}
			return start.Add(-40 * day), start.Add(-39 * day), nil // revoked
		}
		ca.mu.Unlock()
		after(8 * time.Hour)
		if got := len(ca.log()) - issued; got != len(first) {
			t.Errorf("%d renewed when the window moved to the past, want %d", got, len(first))
		}
		if diff := cmp.Diff(first, moments(s)); diff == "" {
			t.Error("moments did not change")
		}
	})
}

// An issuer that knows nothing about some certificates still tells about others.
func TestWindowOfSomeUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newTestCA(t)
		begin := time.Now()
		ca.window = func(leaf *x509.Certificate) (start, end time.Time, err error) {
			if strings.HasPrefix(leaf.DNSNames[0], "mx0") || leaf.DNSNames[0] == zone {
				return start, end, errors.New("unknown")
			}
			return begin.Add(30 * day), begin.Add(31 * day), nil
		}
		o := options(renewable{ca})
		o.Slots = 3
		s := open(t, o)
		run(t, s)
		after(3 * time.Hour)
		for _, host := range []string{"ut.sink.example", "mta-sts.et.sink.example"} {
			if k := status(t, s, host, scenario.CA); k.Next.After(begin.Add(31 * day)) {
				t.Errorf("%s: renewal on %s", host, k.Next)
			}
		}
		if k := status(t, s, "mx06.et.sink.example", scenario.CA); !k.Next.Equal(k.NotAfter.Add(-k.NotAfter.Sub(k.NotBefore) / 3)) {
			t.Errorf("without a window: renewal on %s", k.Next)
		}
	})
}

func TestPerWeek(t *testing.T) {
	const perWeek, all = 2, 6
	synctest.Test(t, func(t *testing.T) {
		ca, d := newTestCA(t), &certs.MemoryDisk{}
		o := options(ca)
		o.Slots, o.PerWeek, o.DeferIssue = 8, perWeek, true
		s := openOn(t, o, d)
		stop := run(t, s)
		begin := time.Now()
		after(time.Minute)
		n, complete := certs.Missing(s.Status())
		if want := begin.Add(2 * 7 * day); n != all-perWeek || complete.Sub(want).Abs() > time.Hour {
			t.Errorf("%d missing, expected until %s; want %d, %s", n, complete, all-perWeek, want)
		}
		if err := s.Renew(t.Context()); err == nil || !strings.Contains(err.Error(), "4 missing certificates have to wait") {
			t.Errorf("Renew: %v", err)
		}
		stop()
		s = openOn(t, o, d)
		run(t, s)
		for time.Since(begin) < 60*day {
			after(day)
		}
		if n, _ = certs.Missing(s.Status()); n != 0 {
			t.Errorf("%d missing after 60 days", n)
		}
		calls := ca.log()
		for i, c := range calls {
			if i+perWeek < all && calls[i+perWeek].at.Sub(c.at) < 7*day-time.Second {
				t.Fatalf("certificates %d and %d are issued within %s", i, i+perWeek, calls[i+perWeek].at.Sub(c.at))
			}
		}
		// Renewals do not count, so nothing ever expires.
		for range 200 {
			after(day)
			mustHold(t, s, 8)
		}
	})
}

func TestOneHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newTestCA(t)
		o := options(hanging{ca})
		o.DeferIssue = true
		s := open(t, o)
		run(t, s)
		after(20 * time.Minute)
		if n, _ := certs.Missing(s.Status()); n != 1 {
			t.Errorf("%d missing, want the one whose order hangs", n)
		}
	})
}

func TestExpiredIsNotPresented(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newTestCA(t)
		s := open(t, options(ca))
		ca.set(down)
		run(t, s)
		after(100 * day)
		for _, id := range scenario.Certificates() {
			_, err := s.Certificates(id)
			if want := id.Kind == scenario.CA && id.Owner != scenario.OwnerService; (err != nil) != want {
				t.Errorf("%v: error %v, want one: %v", id, err, want)
			}
		}
		ca.set(nil)
		after(5 * time.Hour)
		mustHold(t, s, 1)
	})
}

// Certificates of another CA than the issuer's make good faces bad.
func TestCertificatesOfAnotherCA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &certs.MemoryDisk{}
		openOn(t, options(newTestCA(t)), d)
		other, clk := newTestCA(t), newClock()
		clk.now = time.Now()
		o := options(struct {
			certs.Issuer
			certs.Recognizer
		}{other, newCA(t, "", clk)})
		o.DeferIssue = true
		s := openOn(t, o, d)
		if _, err := s.Certificates(scenario.Certificate{Owner: scenario.OwnerMX06, Kind: scenario.CA}); err == nil || !strings.Contains(err.Error(), "not issued yet") {
			t.Errorf("error %v", err)
		}
		get(t, s, scenario.Certificate{Owner: scenario.OwnerMX04, Kind: scenario.SelfSigned})
		get(t, s, scenario.Certificate{Owner: scenario.OwnerService, Kind: scenario.CA})
	})
}

func TestClockYearsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, d, state := newTestCA(t), &certs.MemoryDisk{}, &memory{}
		wrong := options(ca)
		wrong.State, wrong.DeferIssue = state, true
		wrong.Now = func() time.Time { return time.Now().AddDate(5, 0, 0) }
		s := openOn(t, wrong, d)
		stop := run(t, s)
		after(day / 2)
		if got := len(ca.log()); got != 1 {
			t.Errorf("%d certificates issued with a wrong clock, want one", got)
		}
		if k := status(t, s, "mx.sink.example", scenario.CA); !strings.Contains(k.LastError, "set the clock") {
			t.Errorf("error %q", k.LastError)
		}
		stop()
		right := options(ca)
		right.State, right.DeferIssue = state, true
		s = openOn(t, right, d)
		run(t, s)
		after(time.Minute)
		mustHold(t, s, 1)
	})
}

// A CA that does not backdate, and a clock that is a little behind its own: no
// certificate is thrown away.
func TestClockBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newTestCA(t)
		o := options(ca)
		o.DeferIssue = true
		o.Now = func() time.Time { return time.Now().Add(-backdate - 20*time.Second) }
		s := openOn(t, o, &certs.MemoryDisk{})
		run(t, s)
		after(time.Hour)
		mustHold(t, s, 1)
		keys := 0
		for _, k := range s.Status() {
			keys += map[scenario.Kind]int{scenario.CA: 1}[k.Certificate.Kind]
		}
		if got := len(ca.log()); got != keys {
			t.Errorf("%d certificates issued for %d keys", got, keys)
		}
	})
}

func TestNameLimit(t *testing.T) {
	for slots, want := range map[int]string{1: "", 16: "", 17: "slots is 17: the default certificate names every host of every slot, 102 here, and the CA puts at most 100 into one; want at most 16 slots, or the local CA"} {
		if err := certs.CheckSlots(zone, slots, 100); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d slots: %v", slots, err)
		}
	}
	o := options(narrow{newTestCA(t)})
	o.Slots = 17
	if _, err := certs.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "at most 16 slots") {
		t.Errorf("Open: %v", err)
	}
}

// The operator has cured the cause: what the CA wanted is forgotten.
func TestRetry(t *testing.T) {
	for _, all := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ca, broken := newTestCA(t), true
			ca.set(func([]string) error {
				if broken {
					return limited{time.Now().Add(100 * time.Hour), all}
				}
				return nil
			})
			o := options(ca)
			o.DeferIssue = true
			s := openOn(t, o, &certs.MemoryDisk{})
			run(t, s)
			after(time.Hour)
			broken = false
			after(time.Hour)
			if k := status(t, s, "mta-sts.et.sink.example", scenario.CA); k.Issued {
				t.Errorf("all %v: issued before the CA wants it", all)
			}
			s.Retry(t.Context())
			after(time.Minute)
			mustHold(t, s, 1)
		})
	}
}
