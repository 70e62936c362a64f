package acme_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/certs/acme"
)

func (ca *fakeCA) onlyAccount(t *testing.T) *fakeAccount {
	t.Helper()
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if len(ca.accounts) != 1 {
		t.Fatalf("%d accounts, want one", len(ca.accounts))
	}
	for _, a := range ca.accounts {
		return a
	}
	return nil
}

// A CA that has lost the account gets it back, with the same key.
func TestUnknownAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.must(ecdsaKey(t), mx05)
		old := b.ca.onlyAccount(t).thumbprint
		b.ca.accounts = make(map[string]*fakeAccount)
		b.must(ecdsaKey(t), mx06)
		if b.ca.onlyAccount(t).thumbprint != old {
			t.Error("registered with another key")
		}
	})
}

func TestAccountIsForgottenAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.ca.always("order", refuse(400, "accountDoesNotExist", "who?"))
		if _, err := b.issue(ecdsaKey(t), mx05); err == nil || !strings.Contains(err.Error(), "keeps forgetting") {
			t.Errorf("error %v", err)
		}
		if n := b.ca.asked("account"); n != 2 {
			t.Errorf("registered %d times, want twice", n)
		}
	})
}

func TestDeactivatedAccount(t *testing.T) {
	for _, status := range []string{"deactivated", "revoked"} {
		t.Run(status, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				key := ecdsaKey(t)
				b.must(key, mx05)
				old := b.ca.onlyAccount(t)
				old.status = status
				_, err := b.issue(key, mx05)
				if err == nil || !strings.Contains(err.Error(), "account is "+status) || !strings.Contains(err.Error(), "SIGHUP") {
					t.Errorf("error %v, want what to do", err)
				}
				b.waits(ecdsaKey(t), mx06)
				time.Sleep(30 * time.Hour)
				before := b.ca.asked("")
				if _, err := b.issue(key, mx05); err == nil || !strings.Contains(err.Error(), "no longer accepted") {
					t.Errorf("error %v", err)
				}
				if n := b.ca.asked("account") + b.ca.asked("order"); n > before {
					t.Error("the CA was asked with an account that it refuses")
				}
				if err := b.issuer.Retry(t.Context()); err != nil {
					t.Fatal(err)
				}
				b.must(key, mx05)
				if len(b.ca.accounts) != 2 {
					t.Errorf("%d accounts, want a new one", len(b.ca.accounts))
				}
			})
		})
	}
}

// Not every "unauthorized" is about the account.
func TestUnauthorizedOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		key := ecdsaKey(t)
		b.ca.fail("order", refuse(403, "unauthorized", "your quota is used up"))
		if _, err := b.issue(key, mx05); err == nil || !strings.Contains(err.Error(), "quota") {
			t.Errorf("error %v", err)
		}
		b.must(ecdsaKey(t), mx06)
	})
}

func TestExternalAccountBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.ca.eab = true
		if _, err := b.issue(ecdsaKey(t), mx05); err == nil || !strings.Contains(err.Error(), "certificates.acme.eab_key_id") {
			t.Errorf("error %v", err)
		}
		if b.ca.asked("account") != 0 {
			t.Error("tried to register without what the CA says it needs")
		}
		b.options.EAB = acme.EAB{KeyID: "kid-1", MACKey: base64.StdEncoding.EncodeToString([]byte("\xff\xfe\xfd 16 octets at least"))}
		b.restart()
		if err := b.issuer.Retry(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.must(ecdsaKey(t), mx05)
	})
}

func TestContactIsUpdated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.must(ecdsaKey(t), mx05)
		b.options.Email = "new@sink.example"
		b.restart()
		b.must(ecdsaKey(t), mx05)
		b.must(ecdsaKey(t), mx06)
		if got := b.ca.onlyAccount(t).contact; len(got) != 1 || got[0] != "mailto:new@sink.example" {
			t.Errorf("contact %v", got)
		}
		if n := b.ca.asked("account"); n != 2 {
			t.Errorf("%d requests, want registration and update", n)
		}
		// A CA that does not like the address issues all the same.
		b.options.Email = "other@sink.example"
		b.restart()
		b.ca.fail("account", refuse(400, "invalidContact", "no"))
		b.must(ecdsaKey(t), mx05)
	})
}

func TestOptions(t *testing.T) {
	good := func() acme.Options {
		return acme.Options{TermsAgreed: true, Zone: zone, Provider: &provider{}, State: &memory{}}
	}
	if _, err := acme.New(good()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		change     func(*acme.Options)
	}{
		{"zone", "zone is empty", func(o *acme.Options) { o.Zone = "." }},
		{"provider", "no DNS provider", func(o *acme.Options) { o.Provider = nil }},
		{"state", "no state", func(o *acme.Options) { o.State = nil }},
		{"terms", "certificates.acme.agree_terms", func(o *acme.Options) { o.TermsAgreed = false }},
		{"plain HTTP", "certificates.acme.directory", func(o *acme.Options) { o.Directory = "http://ca.example/dir" }},
		{"no URL", "certificates.acme.directory", func(o *acme.Options) { o.Directory = "letsencrypt" }},
		{"credentials", "certificates.acme.directory", func(o *acme.Options) { o.Directory = "https://me@ca.example/dir" }},
		{"staging URL", "certificates.acme.staging", func(o *acme.Options) { o.Staging = "ftp://ca.example/dir" }},
		{"both the same", "also the directory", func(o *acme.Options) { o.Staging = acme.LetsEncrypt }},
		{"staging for production", "every verdict would be wrong", func(o *acme.Options) { o.Directory = acme.LetsEncryptStaging }},
		{"email", "certificates.acme.email", func(o *acme.Options) { o.Email = "Post Master <x@example.org>" }},
		{"two addresses", "certificates.acme.email", func(o *acme.Options) { o.Email = "a@example.org,b@example.org" }},
		{"half a binding", "belong together", func(o *acme.Options) { o.EAB.KeyID = "x" }},
		{"bad MAC key", "eab_key_file", func(o *acme.Options) { o.EAB = acme.EAB{KeyID: "x", MACKey: "not base64!"} }},
		{"short MAC key", "eab_key_file", func(o *acme.Options) { o.EAB = acme.EAB{KeyID: "x", MACKey: "AAAA"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := good()
			c.change(&o)
			if _, err := acme.New(o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if o.EAB.MACKey != "" {
				if _, err := acme.New(o); strings.Contains(err.Error(), o.EAB.MACKey) {
					t.Errorf("error %v shows the secret", err)
				}
			}
		})
	}
}

func TestBrokenState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.must(ecdsaKey(t), mx05)
		for key := range b.state.data {
			b.state.data[key] = []byte(`{"key":12`)
		}
		b.restart()
		if _, err := b.issue(ecdsaKey(t), mx05); err == nil || !strings.Contains(err.Error(), "restore a backup") {
			t.Errorf("error %v", err)
		}
		if len(b.ca.accounts) != 1 {
			t.Error("a new account was made in place of one that can't be read")
		}
	})
}
