package certs_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/scenario"
)

func TestBadLedger(t *testing.T) {
	ca := newTestCA(t)
	for _, c := range []struct{ name, content, want string }{
		{"junk", "hello", "restore it from the backup"},
		{"empty", "", "restore it from the backup"},
		{"newer", `{"version":2}`, "has version 2, want 1"},
		{"unknown phase", `{"version":1,"keys":{"0-mx06-ca":{"generation":0,"roll":{"phase":"x","other":1}}}}`, `unknown phase "x"`},
		{"negative", `{"version":1,"keys":{"0-mx06-ca":{"generation":-1}}}`, "generation -1 is negative"},
		{"same generation", `{"version":1,"keys":{"0-mx06-ca":{"generation":0,"roll":{"phase":"announce"}}}}`, "cannot take turns"},
		{"older than the keys", `{"version":1,"keys":{"0-mx06-ca":{"generation":1}}}`, "does not belong to these keys"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &certs.MemoryDisk{}
			openOn(t, options(ca), d)
			d.Set("keys.json", []byte(c.content))
			_, err := certs.OpenOn(t.Context(), options(ca), d)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "disk/keys.json") {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// Without its ledger a rolled key must not become a new one.
func TestLostLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca, d := newInternet(t), newTestCA(t), &certs.MemoryDisk{}
		s := openOn(t, w.rolling(ca), d)
		w.serve(s)
		stop := run(t, s)
		if _, err := s.Roll(t.Context(), "mx06.et"); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		untilIdle(t, s)
		stop()
		d.Set("keys.json", nil)
		if _, err := certs.OpenOn(t.Context(), options(ca), d); err == nil || !strings.Contains(err.Error(), "0-mx06-ca-ecdsa.1.pem") {
			t.Errorf("error %v", err)
		}
	})
}

// A copy of the files at any moment of a roll opens, with a key that is
// published.
func TestCopyWhileRolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca, d := newInternet(t), newTestCA(t), &certs.MemoryDisk{}
		s := openOn(t, w.rolling(ca), d)
		w.serve(s)
		run(t, s)
		if _, err := s.Roll(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2*rollWait/(20*time.Second) + 2 {
			after(20 * time.Second)
			copied := &certs.MemoryDisk{}
			copied.Set("keys.json", d.Content()["keys.json"])
			after(rollWait / 2)
			for name, b := range d.Content() {
				if name != "keys.json" {
					copied.Set(name, b)
				}
			}
			restored := openOn(t, w.rolling(ca), copied)
			for host, id := range matching() {
				for _, c := range get(t, restored, id) {
					if !matches(restored.TLSA()[host], c.Leaf) {
						t.Errorf("%s: the copy does not match its TLSA records", host)
					}
				}
			}
			if idle(s) {
				if _, err := s.Roll(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.must(t)
	})
}

// A new key that got lost before its use is given up.
func TestLostNewKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca, d := newInternet(t), newTestCA(t), &certs.MemoryDisk{}
		s := openOn(t, w.rolling(ca), d)
		w.serve(s)
		stop := run(t, s)
		before, tlsa := keyIDs(s), s.TLSA()
		if _, err := s.Roll(t.Context(), "mx06.et"); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		stop()
		d.Set("keys/0-mx06-ca-ecdsa.1.pem", nil)
		s = openOn(t, w.rolling(ca), d)
		w.serve(s)
		if k := status(t, s, "mx06.et.sink.example", scenario.CA); k.Roll != certs.RollCancelling {
			t.Errorf("phase %q", k.Roll)
		}
		run(t, s)
		untilIdle(t, s)
		after(time.Hour)
		if diff := cmp.Diff(before, keyIDs(s)) + cmp.Diff(tlsa, s.TLSA()); diff != "" {
			t.Error(diff)
		}
		w.must(t)
	})
}

func FuzzLedger(f *testing.F) {
	f.Add([]byte(`{"version":1,"keys":{"0-mx06-ca":{"generation":1,"roll":{"phase":"switched","other":0,"started":"2026-11-21T12:00:00Z"}}}}`))
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		once, err := certs.RewriteLedger(b)
		if err != nil {
			return
		}
		if !json.Valid(once) {
			t.Fatalf("wrote %q", once)
		}
		twice, err := certs.RewriteLedger(once)
		if err != nil || string(once) != string(twice) {
			t.Errorf("%v: %q became %q", err, once, twice)
		}
	})
}
