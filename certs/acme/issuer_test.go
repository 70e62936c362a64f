package acme_test

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/certs/acme"
)

const (
	mx05 = "mx05.et.sink.example"
	mx06 = "mx06.et.sink.example"
)

func TestIssue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(o *acme.Options) { o.Email = "postmaster@sink.example" })
		chain, err := b.issue(rsaKey(t), "UT.sink.example.", mx05, mx05)
		if err != nil {
			t.Fatal(err)
		}
		leaf := leafOf(t, chain)
		if want := []string{mx05, "ut.sink.example"}; !slices.Equal(leaf.DNSNames, want) {
			t.Errorf("names %v, want %v", leaf.DNSNames, want)
		}
		if len(chain) != 2 {
			t.Errorf("chain of %d certificates, want leaf and intermediate without the root", len(chain))
		}
		key := ecdsaKey(t)
		first, second := b.must(key, mx06), b.must(key, mx06)
		if first.SerialNumber.Cmp(second.SerialNumber) == 0 || !slices.Equal(first.RawSubjectPublicKeyInfo, second.RawSubjectPublicKeyInfo) {
			t.Error("renewal must make a new certificate of the same key")
		}
		if n := len(b.ca.accounts); n != 1 {
			t.Errorf("%d accounts, want one", n)
		}
		for _, a := range b.ca.accounts {
			if want := []string{"mailto:postmaster@sink.example"}; !slices.Equal(a.contact, want) {
				t.Errorf("contact %v, want %v", a.contact, want)
			}
		}
		b.restart()
		b.must(key, mx06)
		if n := b.ca.asked("account"); n != 1 {
			t.Errorf("the account was asked for %d times, want once, also over restarts", n)
		}
		if !b.issuer.Issued(first) || !b.issuer.Issued(leaf) {
			t.Error("own certificates are not recognized")
		}
		other := *first
		other.Raw = append(slices.Clone(first.Raw), 0)
		if b.issuer.Issued(&other) {
			t.Error("a certificate of somebody else is recognized")
		}
	})
}

func TestRefusedNames(t *testing.T) {
	b := newBench(t)
	many := make([]string, 0, 101)
	for i := range 101 {
		many = append(many, strings.Repeat("a", i%60+1)+string(rune('a'+i/60))+".sink.example")
	}
	for _, c := range []struct {
		name, want string
		names      []string
	}{
		{"none", "without names", nil},
		{"another zone", `not in the zone "sink.example"`, []string{"mx05.et.example"}},
		{"a suffix, but no label", `not in the zone`, []string{"evilsink.example"}},
		{"wildcard", "wildcards", []string{"*.sink.example"}},
		{"too many", "run fewer slots", many},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := b.issue(ecdsaKey(t), c.names...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	if n := b.ca.asked(""); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestBadNoncesAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for _, endpoint := range []string{"account", "order", "authz", "challenge", "finalize", "certificate"} {
			b.ca.fail(endpoint, refuse(400, "badNonce", "not today"), refuse(400, "badNonce", "again"))
		}
		b.must(ecdsaKey(t), mx05)
	})
}

// A hiccup of the CA is not worth an error.
func TestInternalErrorIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for _, endpoint := range []string{"account", "order", "authz", "challenge", "finalize", "certificate"} {
			b.ca.fail(endpoint, refuse(500, "serverInternal", "oops"))
		}
		b.must(ecdsaKey(t), mx05)
	})
}

func TestStagingFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).withStaging()
		key := ecdsaKey(t)
		leaf := b.must(key, mx05)
		if leaf.Issuer.String() != b.ca.sub.Subject.String() || leaf.CheckSignatureFrom(b.ca.sub) != nil {
			t.Error("the certificate is not from the real CA")
		}
		if len(b.staging.issued) != 1 {
			t.Fatalf("%d orders at staging, want 1", len(b.staging.issued))
		}
		if slices.Equal(b.staging.issued[0].RawSubjectPublicKeyInfo, leaf.RawSubjectPublicKeyInfo) {
			t.Error("the staging CA got the real key")
		}
		b.restart()
		b.must(ecdsaKey(t), mx06)
		if len(b.staging.issued) != 1 {
			t.Error("a set-up that is proven was tried at staging again")
		}

		// Other settings have to be tried anew.
		b.options.Setup = "rfc2136 192.0.2.53:53"
		b.restart()
		b.must(key, mx05)
		if len(b.staging.issued) != 2 {
			t.Error("changed settings were not tried at staging")
		}

		// So has what failed.
		b.ca.lookup = func(string) []string { return nil }
		if _, err := b.issue(key, mx05); err == nil {
			t.Fatal("validation should have failed")
		}
		b.ca.lookup = b.dns.lookup
		time.Sleep(10 * time.Minute)
		b.must(key, mx05)
		if len(b.staging.issued) != 3 {
			t.Error("a failed validation did not lead back to staging")
		}
	})
}

// A failed validation puts the whole set-up in doubt, and that certificate until
// it has passed staging itself.
func TestBackToStaging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).withStaging()
		key := ecdsaKey(t)
		b.must(key, zone)
		b.ca.lookup = func(string) []string { return nil }
		if _, err := b.issue(key, mx05); err == nil {
			t.Fatal("validation should have failed")
		}
		b.ca.lookup = b.dns.lookup
		tried := func() []string {
			last := b.staging.issued[len(b.staging.issued)-1]
			return last.DNSNames
		}
		b.must(key, mx06)
		if !slices.Equal(tried(), []string{mx06}) {
			t.Error("the next certificate was not tried at staging")
		}
		b.must(key, "ut.sink.example")
		if !slices.Equal(tried(), []string{mx06}) {
			t.Error("a set-up that is proven again was tried once more")
		}

		// What holds up the doubted one holds up no other.
		time.Sleep(10 * time.Minute)
		b.staging.fail("order", refuse(429, "rateLimited", "slow down").with("Retry-After", "3600"))
		for range 2 {
			_, err := b.issue(key, mx05)
			if w, ok := errors.AsType[*acme.Wait](err); !ok || w.All {
				t.Errorf("error %v, want a wait of this certificate alone", err)
			}
		}
		b.must(key, "et.sink.example")
		time.Sleep(time.Hour)
		b.staging.always("order", refuse(500, "serverInternal", "oops"))
		_, err := b.issue(key, mx05)
		var told interface{ HoldAll() bool }
		if !errors.As(err, &told) || told.HoldAll() {
			t.Errorf("error %v, want one of this certificate alone", err)
		}
		b.staging.always("order")
		time.Sleep(2 * time.Minute)
		b.must(key, mx05)
		if !slices.Equal(tried(), []string{mx05}) {
			t.Error("the certificate that failed was not tried at staging")
		}
	})
}

func TestNothingFromProductionBeforeStaging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).withStaging()
		b.staging.lookup = func(string) []string { return nil }
		key := ecdsaKey(t)
		_, err := b.issue(key, mx05)
		if err == nil || !strings.Contains(err.Error(), "staging") || !strings.Contains(err.Error(), "Incorrect TXT record") {
			t.Errorf("error %v", err)
		}
		between(t, b.waits(key, mx05), 3*time.Minute, 7*time.Minute)
		if n := b.ca.asked(""); n != 0 {
			t.Errorf("%d requests to the real CA", n)
		}
		b.staging.lookup = b.dns.lookup
		if err := b.issuer.Retry(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.must(key, mx05)
	})
}

func TestStagingCertificatesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).withStaging()
		b.ca.sub, b.ca.subKey, b.ca.above = b.staging.sub, b.staging.subKey, b.staging.above
		chain, err := b.issue(ecdsaKey(t), mx05)
		if chain != nil || err == nil || !strings.Contains(err.Error(), "also signs at the staging CA") {
			t.Errorf("error %v", err)
		}
		b = newBench(t)
		b.ca.newSub(t, "(STAGING) Counterfeit Cashew R10")
		chain, err = b.issue(ecdsaKey(t), mx05)
		if chain != nil || err == nil || !strings.Contains(err.Error(), "no sender trusts") {
			t.Errorf("error %v", err)
		}
	})
}

// Whatever is not what was ordered is not used.
func TestOddCertificates(t *testing.T) {
	for _, c := range []struct {
		name, want string
		issue      func(*x509.Certificate)
	}{
		{"other names", "instead of", func(c *x509.Certificate) { c.DNSNames = []string{"www.example.org"} }},
		{"one more name", "instead of", func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, mx06) }},
		{"expired", "correct the clock", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }},
		{"another key", "another key", nil},
		{"of the future", "correct the clock", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.ca.issue, b.ca.anyKey = c.issue, c.issue == nil
				key := ecdsaKey(t)
				if _, err := b.issue(key, mx05); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				b.waits(key, mx05)
			})
		})
	}
}

func TestCancelledOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		b := newBench(t, func(o *acme.Options) {
			o.Propagated = func(ctx context.Context, _, _ string) error {
				cancel()
				<-ctx.Done()
				return ctx.Err()
			}
		})
		key := ecdsaKey(t)
		if _, err := b.issuer.Issue(ctx, []string{mx05}, key); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if left := b.dns.left(); len(left) > 0 {
			t.Errorf("TXT records left: %v", left)
		}
		if b.ca.asked("challenge") != 0 {
			t.Error("the challenge was accepted before the record was served")
		}
		// An end of the program is no failure.
		b.options.Propagated = nil
		b.restart()
		b.must(key, mx05)
	})
}

func TestPropagation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *bench
		var asked atomic.Int32
		b = newBench(t, func(o *acme.Options) {
			o.Propagated = func(_ context.Context, fqdn, txt string) error {
				asked.Add(1)
				if b.ca.asked("challenge") > 0 {
					t.Error("the CA was asked to look before the record was everywhere")
				}
				if !slices.Contains(b.dns.lookup(fqdn), txt) {
					t.Errorf("%s is not published", fqdn)
				}
				return nil
			}
		})
		b.must(ecdsaKey(t), mx05, mx06)
		if n := asked.Load(); n != 2 {
			t.Errorf("%d records waited for, want 2", n)
		}
		b.options.Propagated = func(context.Context, string, string) error { return errors.New("192.0.2.53: old serial") }
		b.restart()
		_, err := b.issue(ecdsaKey(t), mx06)
		if err == nil || !strings.Contains(err.Error(), "192.0.2.53: old serial") {
			t.Errorf("error %v", err)
		}
	})
}

// What could not be removed is removed before the next order, and nothing else.
func TestStaleChallenges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.dns.failGone = errors.New("out of reach")
		b.must(ecdsaKey(t), mx05)
		if len(b.dns.left()) != 1 {
			t.Fatalf("left %v, want what could not be deleted", b.dns.left())
		}
		b.dns.failGone = nil
		b.dns.txt["_acme-challenge."+mx05] = append(b.dns.txt["_acme-challenge."+mx05], "of somebody else")
		b.restart()
		if _, err := b.issuer.Issue(t.Context(), []string{mx06}, ecdsaKey(t)); err != nil {
			t.Fatal(err)
		}
		if got := b.dns.lookup("_acme-challenge." + mx05); !slices.Equal(got, []string{"of somebody else"}) {
			t.Errorf("left %v, want exactly what is not ours", got)
		}
	})
}

// Records of a zone that is not ours any more are out of reach, and forgotten.
func TestStaleChallengesOfAnotherZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.state.data["acme/challenges"] = []byte(`[{"Zone":"old.example","Name":"_acme-challenge.mx05.et.old.example","Value":"x"}]`)
		b.must(ecdsaKey(t), mx05)
		if left := string(b.state.data["acme/challenges"]); left != "[]" {
			t.Errorf("still known: %s", left)
		}
	})
}

func TestParallelOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var errs [8]error
		done := make(chan struct{})
		for n := range errs {
			key := ecdsaKey(t)
			names := [][]string{{mx05}, {mx06}, {mx05, mx06}, {mx05, "ut.sink.example"}}[n%4]
			go func() {
				_, errs[n] = b.issuer.Issue(t.Context(), names, key)
				done <- struct{}{}
			}()
		}
		for range errs {
			<-done
		}
		if err := errors.Join(errs[:]...); err != nil {
			t.Error(err)
		}
		if n := len(b.ca.accounts); n != 1 {
			t.Errorf("%d accounts", n)
		}
		if left := b.dns.left(); len(left) > 0 {
			t.Errorf("TXT records left: %v", left)
		}
	})
}

// CAs hand out one authorization to several orders that run: its record stays
// for as long as one of them needs it.
func TestSharedRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waiting, goOn := make(chan struct{}), make(chan struct{})
		b := newBench(t, func(o *acme.Options) {
			o.Propagated = func(ctx context.Context, _, _ string) error {
				waiting <- struct{}{}
				select {
				case <-goOn:
				case <-ctx.Done():
				}
				return ctx.Err()
			}
		})
		b.ca.share = true
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		for _, c := range []struct {
			ctx  context.Context
			name []string
		}{{ctx, []string{mx05}}, {t.Context(), []string{mx05, mx06}}} {
			key := ecdsaKey(t)
			go func() {
				_, err := b.issuer.Issue(c.ctx, c.name, key)
				done <- err
			}()
			<-waiting
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if len(b.dns.lookup("_acme-challenge."+mx05)) != 1 {
			t.Error("the record of the order that runs is gone")
		}
		close(goOn)
		<-waiting // for the record of the second name
		if err := <-done; err != nil {
			t.Error(err)
		}
		if left := b.dns.left(); len(left) > 0 {
			t.Errorf("TXT records left: %v", left)
		}
	})
}

func TestAuthorizationsAreReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.ca.reuse = true
		b.must(ecdsaKey(t), mx05)
		b.must(ecdsaKey(t), mx05)
		b.must(ecdsaKey(t), mx05, mx06)
		if b.dns.appended != 2 {
			t.Errorf("%d TXT records published, want one per name", b.dns.appended)
		}
	})
}

func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		key := ecdsaKey(t)
		b.state.full = true
		_, err := b.issue(key, mx05)
		if err == nil || !strings.Contains(err.Error(), "no space left") || b.ca.asked("") != 0 {
			t.Errorf("error %v after %d requests; nothing may be ordered that can't be remembered", err, b.ca.asked(""))
		}
		b.state.full = false
		leaf := b.must(key, mx05)
		b.restart()
		if !b.issuer.Issued(leaf) {
			t.Error("not recognized after a restart")
		}
	})
}

// A disk that is full once the order runs costs nothing before a restart.
func TestDiskFillsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.must(ecdsaKey(t), mx06)
		b.dns.onAppend = func() { b.state.full = true }
		key := ecdsaKey(t)
		leaf := b.must(key, mx05)
		if !b.issuer.Issued(leaf) {
			t.Error("not recognized")
		}
		b.state.full, b.dns.onAppend = false, nil
		b.must(key, mx05)
		b.restart()
		if !b.issuer.Issued(leaf) {
			t.Error("not saved once there was room")
		}
	})
}
