package acme_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/certs/acme"
	"github.com/tlsink/tlsink/scenario"
)

// manyNames are those of the default certificate of nine slots.
func manyNames() []string {
	return scenario.CertificateNames(zone, 9, scenario.Certificate{Owner: scenario.OwnerDefault, Kind: scenario.CA})
}

// As over the Internet: none of the times may be spent for each name, and no
// more requests than eight may run at a time.
func TestManyNamesTakeLittleLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(o *acme.Options) {
			o.Propagated = func(ctx context.Context, _, _ string) error { return after(ctx, time.Second) }
		})
		b.ca.latency, b.ca.delay = 200*time.Millisecond, 5*time.Second
		began := time.Now()
		b.must(ecdsaKey(t), manyNames()...)
		took := time.Since(began)
		t.Logf("%v, %d requests, %d at a time", took, b.ca.asked(""), b.ca.most)
		if took > 30*time.Second {
			t.Errorf("took %v", took)
		}
		if b.ca.most > 8 || b.ca.asked("nonce") > 8+1 {
			t.Errorf("%d requests at a time, %d for nonces", b.ca.most, b.ca.asked("nonce"))
		}
		if n := b.ca.asked("order"); n > 1+10 || b.ca.asked("authz") != 54 || b.ca.asked("challenge") != 54 {
			t.Errorf("requests: %d orders, %d authorizations, %d challenges", n, b.ca.asked("authz"), b.ca.asked("challenge"))
		}
		if len(b.ca.orders) != 1 || b.dns.changes != 2 {
			t.Errorf("%d orders, %d changes of DNS, want 1 and 2", len(b.ca.orders), b.dns.changes)
		}
	})
}

// after returns when d is over, or ctx.
func after(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A CA may want two proofs of one name: both values stand there at once.
func TestTwoChallengesOfOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.ca.twice, b.ca.delay = true, time.Second
		lookup := b.ca.lookup
		b.ca.lookup = func(fqdn string) []string {
			if values := lookup(fqdn); len(values) != 2 {
				t.Errorf("%s: %d values, want 2", fqdn, len(values))
			}
			return lookup(fqdn)
		}
		b.must(ecdsaKey(t), mx05, mx06)
		if b.dns.appended != 4 || b.dns.changes != 2 {
			t.Errorf("%d records in %d changes, want 4 in 2", b.dns.appended, b.dns.changes)
		}
	})
}

// The order is lost with the first name that fails. The others are waited for:
// all failures are named and counted, and no record goes while the CA looks.
func TestNamesFailOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.ca.latency, b.ca.delay = time.Second, 20*time.Second
		names := manyNames()
		first, last := names[1], names[len(names)-1]
		b.ca.lookup = func(fqdn string) []string {
			if fqdn == "_acme-challenge."+first || fqdn == "_acme-challenge."+last {
				return nil
			}
			return b.dns.lookup(fqdn)
		}
		_, err := b.issue(ecdsaKey(t), names...)
		if err == nil || strings.Count(err.Error(), "Incorrect TXT record found") != 2 {
			t.Fatalf("error %v", err)
		}
		for _, name := range names {
			if want := name == first || name == last; strings.Contains(err.Error(), ": "+name+":") != want {
				t.Errorf("%s named: %v, want %v; error %v", name, !want, want, err)
			}
		}
		if n := b.ca.asked("authz"); n > 54*8 {
			t.Errorf("%d looks at authorizations", n)
		}
		if n := len(b.ca.orders); n != 1 {
			t.Errorf("%d orders", n)
		}
	})
}

// Of those that neither failed nor succeeded, too.
func TestStuckNamesAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.ca.stuck = true
		_, err := b.issue(ecdsaKey(t), mx05, mx06)
		if err == nil || !strings.Contains(err.Error(), "authorization of "+mx05+" and 1 more names takes too long") {
			t.Errorf("error %v", err)
		}
		if n := b.ca.asked("order"); n > 1+5*60 {
			t.Errorf("%d looks at the order", n)
		}
	})
}

// While some are stuck, those that failed are known.
func TestFailedAndStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.ca.delay = time.Hour
		b.ca.lookup = func(string) []string { return nil }
		go func() {
			time.Sleep(10 * time.Second)
			b.ca.mu.Lock()
			defer b.ca.mu.Unlock()
			b.ca.validate(b.ca.authzs[1])
		}()
		_, err := b.issue(ecdsaKey(t), mx05, mx06)
		if err == nil || !strings.Contains(err.Error(), mx06+": unauthorized: Incorrect TXT record") || strings.Contains(err.Error(), mx05) {
			t.Errorf("error %v", err)
		}
		if n := b.ca.asked("authz"); n > 20 {
			t.Errorf("%d looks at authorizations in five minutes", n)
		}
	})
}

// A limit that is hit in the middle holds for the names that have not begun, and
// what the CA says about it is not lost among the others.
func TestRateLimitInTheMiddle(t *testing.T) {
	for _, endpoint := range []string{"authz", "challenge"} {
		t.Run(endpoint, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.ca.latency = 100 * time.Millisecond
				b.ca.fail(endpoint, make([]fault, 10)...)
				b.ca.fail(endpoint, refuse(429, "rateLimited", "too many failed authorizations (5) of mx05").with("Retry-After", "7200"))
				key := ecdsaKey(t)
				_, err := b.issue(key, manyNames()...)
				w, ok := errors.AsType[*acme.Wait](err)
				if !ok || w.All || !strings.Contains(w.Reason, "too many failed authorizations") {
					t.Fatalf("error %v, want a wait of these names", err)
				}
				between(t, *w, 2*time.Hour-time.Minute, 2*time.Hour)
				if n := b.ca.asked(endpoint); n > 11+8 {
					t.Errorf("%d requests, want no more after the eleventh said so", n)
				}
				b.waits(key, manyNames()...)
			})
		})
	}
}

// The CA says when to look again.
func TestPollsWhenTheCAWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.ca.delay = time.Minute
		b.ca.header = map[string]string{"Retry-After": "20"}
		b.must(ecdsaKey(t), mx05, mx06)
		if n := b.ca.asked("order"); n > 1+4 {
			t.Errorf("%d requests about the order in a minute, want one each 20 s", n)
		}
	})
}

// One name that a server does not get ends the wait for all others.
func TestPropagationFailsOfOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waiting atomic.Int32
		late := slices.Sorted(slices.Values(manyNames()))[3]
		b := newBench(t, func(o *acme.Options) {
			o.Propagated = func(ctx context.Context, fqdn, _ string) error {
				if fqdn == "_acme-challenge."+late {
					return errors.New("192.0.2.53: old serial")
				}
				waiting.Add(1)
				<-ctx.Done()
				return ctx.Err()
			}
		})
		began := time.Now()
		_, err := b.issue(ecdsaKey(t), manyNames()...)
		if err == nil || !strings.Contains(err.Error(), "_acme-challenge."+late+" is not served by every name server of the zone: 192.0.2.53: old serial") {
			t.Errorf("error %v", err)
		}
		if n := waiting.Load(); n > 8 || time.Since(began) > time.Second || b.ca.asked("challenge") != 0 {
			t.Errorf("%d others waited for, %v, %d challenges accepted", n, time.Since(began), b.ca.asked("challenge"))
		}
	})
}

// Whenever the program ends, the records are gone, and no request follows.
func TestCancelledAnytime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for n := range 20 {
			b := newBench(t)
			b.ca.latency, b.ca.delay = 100*time.Millisecond, time.Second
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*200*time.Millisecond)
			_, err := b.issuer.Issue(ctx, manyNames(), ecdsaKey(t))
			cancel()
			asked := b.ca.asked("")
			synctest.Wait()
			time.Sleep(time.Minute)
			if left := b.dns.left(); len(left) > 0 || b.ca.asked("") != asked {
				t.Errorf("after %d steps: %d records left, %d more requests; %v", n, len(left), b.ca.asked("")-asked, err)
			}
		}
	})
}
