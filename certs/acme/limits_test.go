package acme_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/certs/acme"
)

func TestRateLimit(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		name, endpoint string
		fault          fault
		low, high      time.Duration
		others         bool // may other certificates be ordered?
	}{
		{"seconds", "order", refuse(429, "rateLimited", "too many new orders").with("Retry-After", "7200"), 2 * time.Hour, 2 * time.Hour, false},
		{"date", "order", refuse(429, "rateLimited", "slow down").with("Retry-After", "Sat, 01 Jan 2000 05:00:00 GMT"), 4 * time.Hour, 5 * time.Hour, false},
		{"no time", "order", refuse(429, "rateLimited", "slow down"), time.Hour, time.Hour, false},
		{"nonsense", "order", refuse(429, "rateLimited", "slow down").with("Retry-After", "soon"), time.Hour, time.Hour, false},
		{"negative", "order", refuse(429, "rateLimited", "slow down").with("Retry-After", "-5"), time.Hour, time.Hour, false},
		{"for ever", "order", refuse(429, "rateLimited", "slow down").with("Retry-After", "99999999999"), 8 * day, 8 * day, false},
		{"another status", "order", refuse(403, "rateLimited", "slow down"), time.Hour, time.Hour, false},
		{"no problem document", "order", fault{status: 429, body: "<h1>busy</h1>"}.with("Retry-After", "60"), time.Minute, time.Minute, false},
		{"maintenance", "directory", fault{status: 503, body: "<h1>back soon</h1>"}.with("Retry-After", "1800"), 30 * time.Minute, 30 * time.Minute, false},
		{"nonce", "nonce", fault{status: 429}.with("Retry-After", "600"), 10 * time.Minute, 10 * time.Minute, false},
		{"registration", "account", refuse(429, "rateLimited", "too many registrations").with("Retry-After", "3600"), time.Hour, time.Hour, false},
		{"validation", "challenge", refuse(429, "rateLimited", "slow down").with("Retry-After", "3600"), time.Hour, time.Hour, false},
		{
			"of one set of names", "order",
			refuse(429, "rateLimited", "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s").with("Retry-After", "100000"),
			100000 * time.Second, 100000 * time.Second, true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.ca.fail(c.endpoint, c.fault)
				key := ecdsaKey(t)
				_, err := b.issue(key, mx05)
				var w *acme.Wait
				if !errors.As(err, &w) {
					t.Fatalf("error %v, want a wait", err)
				}
				between(t, *w, c.low-10*time.Second, c.high)
				if n := b.ca.asked(c.endpoint); n != 1 {
					t.Errorf("%d requests to %s, want one", n, c.endpoint)
				}
				b.restart()
				if got := b.waits(key, mx05); !got.Until.Equal(w.Until) || got.Reason == "" {
					t.Errorf("after a restart %+v, want %+v", got, w)
				}
				if c.others {
					b.must(key, mx06)
				} else {
					b.waits(ecdsaKey(t), mx06)
				}
				if err := b.issuer.Retry(t.Context()); err != nil {
					t.Fatal(err)
				}
				b.waits(key, mx05) // the CA's word holds, whatever the operator wants
				time.Sleep(time.Until(w.Until))
				b.must(key, mx05)
			})
		})
	}
}

// A loop that calls every minute for days makes a handful of orders.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.ca.always("order", refuse(403, "rejectedIdentifier", "forbidden by policy"))
		key := ecdsaKey(t)
		var tries []time.Time
		for end := time.Now().Add(5 * 24 * time.Hour); time.Now().Before(end); time.Sleep(time.Minute) {
			if time.Now().Minute() == 0 {
				b.restart()
			}
			before := b.ca.asked("order")
			if _, err := b.issue(key, mx05); err == nil || !strings.Contains(err.Error(), "forbidden by policy") {
				t.Fatalf("error %v, want the reason every time", err)
			}
			if b.ca.asked("order") > before {
				tries = append(tries, time.Now())
			}
		}
		want := 5 * time.Minute
		for n, at := range tries[1:] {
			if d := at.Sub(tries[n]); d < want*3/4 || d > want*5/4+time.Minute {
				t.Errorf("pause %d of %v, want about %v", n+1, d, want)
			}
			want = min(2*want, 24*time.Hour)
		}
		if len(tries) < 11 || len(tries) > 15 {
			t.Errorf("%d orders", len(tries))
		}
		b.ca.always("order")
		if err := b.issuer.Retry(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.must(key, mx05)
	})
}

// Back-off is the certificate's own, and success ends it.
func TestBackoffOfOneCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		key, other := ecdsaKey(t), rsaKey(t)
		b.ca.fail("order", refuse(403, "rejectedIdentifier", "no"))
		if _, err := b.issue(key, mx05); err == nil {
			t.Fatal("issued")
		}
		b.waits(key, mx05)
		b.must(other, mx05)
		b.must(key, mx06)
		time.Sleep(10 * time.Minute)
		b.must(key, mx05)
		b.ca.fail("order", refuse(403, "rejectedIdentifier", "no"))
		if _, err := b.issue(key, mx05); err == nil {
			t.Fatal("issued")
		}
		between(t, b.waits(key, mx05), 3*time.Minute, 7*time.Minute)
	})
}

// Other settings are another chance.
func TestChangedSettingsEndBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		key := ecdsaKey(t)
		b.dns.fail = errors.New("no permission to write")
		if _, err := b.issue(key, mx05); err == nil || !strings.Contains(err.Error(), "no permission to write; check [dns]") {
			t.Errorf("error %v", err)
		}
		b.dns.fail = nil
		b.restart()
		b.waits(key, mx05)
		b.options.Setup = "another provider"
		b.restart()
		b.must(key, mx05)
	})
}

// A crash in the middle of an order counts as a failure.
func TestCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		key := ecdsaKey(t)
		var disk map[string][]byte
		b.dns.onAppend = func() {
			b.state.mu.Lock()
			defer b.state.mu.Unlock()
			disk = maps.Clone(b.state.data)
		}
		b.must(key, mx05)
		b.state.data = disk
		b.restart()
		if w := b.waits(key, mx05); !strings.Contains(w.Reason, "cut off") {
			t.Errorf("reason %q", w.Reason)
		}
	})
}

// Let's Encrypt: 5 failed validations of a name within an hour, whatever
// certificate it is for.
func TestFailedValidationsOfAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.ca.lookup = func(string) []string { return nil }
		failures := 0
		start := time.Now()
		for time.Since(start) < 10*time.Hour {
			for _, names := range [][]string{{mx05}, {mx05, mx06}, {mx05, "ut.sink.example"}, {mx05, "et.sink.example"}, {mx05, zone}} {
				before := b.ca.asked("challenge")
				if _, err := b.issue(ecdsaKey(t), names...); err == nil {
					t.Fatal("issued")
				}
				if b.ca.asked("challenge") > before {
					failures++
				}
				if err := b.issuer.Retry(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(5 * time.Minute)
		}
		if failures > 4*10 || failures < 4*9 {
			t.Errorf("%d failed validations of one name in 10 hours, want 4 an hour", failures)
		}
	})
}

func TestOutageOfDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		key := ecdsaKey(t)
		old := b.must(key, mx05)
		down := []string{"directory", "nonce", "account", "order", "renewal"}
		for _, endpoint := range down {
			b.ca.always(endpoint, fault{err: errors.New("connection refused")})
		}
		before := b.ca.asked("")
		for end := time.Now().Add(4 * 24 * time.Hour); time.Now().Before(end); time.Sleep(time.Minute) {
			for _, name := range []string{mx05, mx06, "ut.sink.example"} {
				if _, err := b.issue(key, name); err == nil || !strings.Contains(err.Error(), "connection refused") {
					t.Fatalf("error %v", err)
				}
			}
		}
		// Each try is three requests of the library, once an hour at last.
		if n := b.ca.asked("") - before; n < 4*24*2 || n > 4*24*3*3/2 {
			t.Errorf("%d requests in four days", n)
		}
		for _, endpoint := range down {
			b.ca.always(endpoint)
		}
		time.Sleep(76 * time.Minute)
		leaf := b.must(key, mx05)
		if leaf.NotAfter.Sub(old.NotAfter) < 4*24*time.Hour {
			t.Errorf("renewed until %v, the old one %v", leaf.NotAfter, old.NotAfter)
		}
		b.must(key, mx06)
	})
}

// A time from a wrong clock does not stop the program for years.
func TestClockWasWrong(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault fault
	}{
		{"rate limit", refuse(429, "rateLimited", "slow down").with("Retry-After", "3600")},
		{"refused", refuse(403, "rejectedIdentifier", "no")},
		{"outage", refuse(500, "serverInternal", "no")},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ahead := 10 * 365 * 24 * time.Hour
				b := newBench(t, func(o *acme.Options) { o.Now = func() time.Time { return time.Now().Add(ahead) } })
				key := ecdsaKey(t)
				b.ca.always("order", c.fault)
				if _, err := b.issue(key, mx05); err == nil {
					t.Fatal("issued")
				}
				b.ca.always("order")
				ahead = 0
				b.must(key, mx05)
			})
		})
	}
}

// What package certs plans its next try by.
func TestErrorsTellWhenToRetry(t *testing.T) {
	for _, c := range []struct {
		name     string
		endpoint string
		fault    fault
		all      bool
	}{
		{"outage", "directory", fault{err: errors.New("connection refused")}, true},
		{"account", "account", refuse(403, "userActionRequired", "new terms"), true},
		{"rate limit", "order", refuse(429, "rateLimited", "slow down"), true},
		{"rate limit of these names", "order", refuse(429, "rateLimited", "too many failed authorizations"), false},
		{"refused", "order", refuse(403, "rejectedIdentifier", "no"), false},
		{"validation", "challenge", refuse(400, "dns", "SERVFAIL"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.ca.always(c.endpoint, c.fault)
				key := ecdsaKey(t)
				_, err := b.issue(key, mx05)
				var told interface {
					RetryAt() time.Time
					HoldAll() bool
				}
				if !errors.As(err, &told) {
					t.Fatalf("error %v does not tell", err)
				}
				w := b.waits(key, mx05)
				if !told.RetryAt().Equal(w.Until) || told.HoldAll() != c.all || w.All != c.all {
					t.Errorf("retry at %v, all %v; then wait until %v, all %v, want %v", told.RetryAt(), told.HoldAll(), w.Until, w.All, c.all)
				}
			})
		})
	}
}
