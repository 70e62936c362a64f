package acme_test

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func (b *bench) window(leaf *x509.Certificate) (start, end time.Time) {
	b.t.Helper()
	start, end, err := b.issuer.RenewalWindow(b.t.Context(), leaf)
	if err != nil {
		b.t.Fatal(err)
	}
	return start, end
}

func TestRenewalWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		from := time.Now().Add(60 * 24 * time.Hour)
		b.ca.window = [2]time.Time{from, from.Add(48 * time.Hour)}
		leaf := b.must(ecdsaKey(t), mx05)
		asked := b.ca.asked("renewal")
		for range 3 {
			start, end := b.window(leaf)
			if !start.Equal(from) || !end.Equal(from.Add(48*time.Hour)) {
				t.Errorf("window %v to %v", start, end)
			}
			b.restart()
			time.Sleep(time.Hour)
		}
		if n := b.ca.asked("renewal"); n != asked {
			t.Errorf("asked %d times before Retry-After, also over restarts", n-asked)
		}

		// The CA wants all certificates renewed now, e.g. before it revokes them.
		b.ca.window = [2]time.Time{time.Now().Add(-time.Hour), time.Now()}
		time.Sleep(4 * time.Hour)
		if start, _ := b.window(leaf); !start.Equal(b.ca.window[0]) {
			t.Errorf("window from %v, want %v", start, b.ca.window[0])
		}

		// While it is out of reach its last word holds, and it is asked rarely.
		b.ca.always("renewal", fault{err: errors.New("connection refused")})
		time.Sleep(7 * time.Hour)
		before := b.ca.asked("renewal")
		for range 60 {
			if start, _ := b.window(leaf); !start.Equal(b.ca.window[0]) {
				t.Errorf("window from %v, want %v", start, b.ca.window[0])
			}
			time.Sleep(time.Minute)
		}
		if n := b.ca.asked("renewal") - before; n > 2*9 {
			t.Errorf("%d requests in an hour", n)
		}
	})
}

func TestNoRenewalWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.ca.noARI = true
		leaf := b.must(ecdsaKey(t), mx05)
		if start, end := b.window(leaf); !start.IsZero() || !end.IsZero() {
			t.Errorf("window %v to %v of a CA that knows none", start, end)
		}
		other := *leaf
		other.Raw = []byte("x")
		before := b.ca.asked("")
		if start, _ := b.window(&other); !start.IsZero() || b.ca.asked("") != before {
			t.Error("a certificate of somebody else was asked about")
		}

		b = newBench(t)
		leaf = b.must(ecdsaKey(t), mx05)
		for _, c := range []struct {
			name       string
			start, end time.Time
		}{
			{"empty", time.Time{}, time.Time{}},
			{"backwards", time.Now().Add(time.Hour), time.Now()},
			{"after the end", leaf.NotAfter, leaf.NotAfter.Add(time.Hour)},
		} {
			b.ca.window = [2]time.Time{c.start, c.end}
			time.Sleep(25 * time.Hour)
			start, end, err := b.issuer.RenewalWindow(t.Context(), leaf)
			if !start.IsZero() || !end.IsZero() {
				t.Errorf("%s: window %v to %v, error %v", c.name, start, end, err)
			}
		}
	})
}

func TestRateLimitOfRenewalInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		from := time.Now().Add(60 * 24 * time.Hour)
		b.ca.window = [2]time.Time{from, from.Add(48 * time.Hour)}
		leaf := b.must(ecdsaKey(t), mx05)
		time.Sleep(7 * time.Hour)
		b.ca.always("renewal", fault{status: 429}.with("Retry-After", "43200"))
		before := b.ca.asked("renewal")
		for range 11 {
			b.window(leaf)
			time.Sleep(time.Hour)
		}
		if n := b.ca.asked("renewal") - before; n != 1 {
			t.Errorf("%d requests within Retry-After, want one", n)
		}
		b.must(ecdsaKey(t), mx06) // certificates are another matter
	})
}

// Renewals name their predecessor, of the same names and kind of key.
func TestReplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		key := ecdsaKey(t)
		b.must(key, mx05)
		b.must(rsaKey(t), mx05)
		b.must(key, mx06)
		b.restart()
		b.must(ecdsaKey(t), mx05) // another key, as after a roll
		var got []string
		for _, o := range b.ca.orders {
			got = append(got, o.replaces)
		}
		if got[0] != "" || got[1] != "" || got[2] != "" || !strings.Contains(got[3], ".") {
			t.Errorf("replaces %q, want only the last one to name the first", got)
		}

		// What the CA does not want to hear is left out.
		for _, f := range []fault{
			refuse(409, "alreadyReplaced", "already replaced"),
			refuse(404, "malformed", "no such certificate"),
			refuse(403, "unauthorized", "not your certificate"),
		} {
			b.ca.fail("order", f)
			b.must(key, mx05)
			if last := b.ca.orders[len(b.ca.orders)-1]; last.replaces != "" {
				t.Errorf("%s: still replaces %q", f.problem.Detail, last.replaces)
			}
		}

		// An expired one is no predecessor, nor is one at another CA.
		time.Sleep(91 * 24 * time.Hour)
		b.must(key, mx05)
		if last := b.ca.orders[len(b.ca.orders)-1]; last.replaces != "" {
			t.Errorf("replaces %q, which has expired", last.replaces)
		}
	})
}
