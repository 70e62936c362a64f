package certs_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/scenario"
)

// Every slot is shown the same certificate, which names its host.
func TestSlotsShareCertificates(t *testing.T) {
	clk := newClock()
	o := fast("", newCA(t, "", clk), clk)
	o.Slots = 9
	s := open(t, o)
	tlsa, mismatches := s.TLSA(), map[string]bool{}
	for _, shared := range scenario.Certificates() {
		for slot := range o.Slots {
			id := shared
			id.Slot = slot
			leaf := get(t, s, id)[0].Leaf
			if !leaf.Equal(get(t, s, shared)[0].Leaf) {
				t.Errorf("%+v is not that of slot 0", id)
			}
			if name := scenario.FaceName(zone, id); name != "" && leaf.VerifyHostname(name) != nil {
				t.Errorf("%+v does not name %s", id, name)
			}
		}
	}
	for slot := range o.Slots {
		n := scenario.Names(zone, slot)
		for _, h := range []scenario.Host{scenario.MX04, scenario.MX06} {
			if d := cmp.Diff(tlsa[scenario.Names(zone, 0).Host(h)], tlsa[n.Host(h)]); d != "" {
				t.Errorf("TLSA of %s (-slot 0 +this one):\n%s", n.Host(h), d)
			}
		}
		for _, h := range []scenario.Host{scenario.MX03, scenario.MX05} {
			mismatches[string(tlsa[n.Host(h)][0].Data)] = true
		}
	}
	if len(mismatches) != 2*o.Slots {
		t.Errorf("%d different TLSA records of nobody's keys, want %d", len(mismatches), 2*o.Slots)
	}
}

// calls counts what an issuer was asked for.
type calls struct {
	certs.Issuer
	down  bool
	names []string
}

func (c *calls) Issue(ctx context.Context, names []string, key crypto.Signer) ([][]byte, error) {
	if c.down {
		return nil, errors.New("CA is down")
	}
	c.names = append(c.names, names[0])
	return c.Issuer.Issue(ctx, names, key)
}

// Another number of slots needs no key and changes no TLSA record, but the
// certificates. Until they are there, the old ones serve the slots they name.
func TestOtherNumberOfSlots(t *testing.T) {
	for _, c := range []struct{ before, after int }{{1, 9}, {9, 2}} {
		clk, dir := newClock(), t.TempDir()
		ca := &calls{Issuer: newCA(t, "", clk)}
		o := fast(dir, ca, clk)
		o.Slots, o.State = c.before, &memory{}
		tlsa := open(t, o).TLSA()
		files, err := os.ReadDir(filepath.Join(dir, "keys"))
		if err != nil {
			t.Fatal(err)
		}
		if want := len(scenario.Certificates()); len(files) != want || len(ca.names) != 6 {
			t.Errorf("%d slots: %d keys, %d certificates of the CA; want %d, 6", c.before, len(files), len(ca.names), want)
		}

		o.Slots, o.DeferIssue, ca.down, ca.names = c.after, true, true, nil
		s := open(t, o)
		for host, records := range s.TLSA() {
			if was, ok := tlsa[host]; ok && !cmp.Equal(was, records) {
				t.Errorf("%d to %d slots: other TLSA records of %s", c.before, c.after, host)
			}
		}
		for _, id := range scenario.Certificates() {
			for slot := range c.after {
				id.Slot = slot
				_, err := s.Certificates(id)
				has := id.Kind == scenario.SelfSigned || id.Owner == scenario.OwnerService ||
					id.Owner != scenario.OwnerDefault && slot < c.before
				if (err == nil) != has {
					t.Errorf("%d to %d slots, while the CA is down: %+v: %v", c.before, c.after, id, err)
				}
			}
		}
		if n, _ := certs.Missing(s.Status()); n != 5 {
			t.Errorf("%d to %d slots: %d certificates to be issued, want 5: all but the service's", c.before, c.after, n)
		}
		ca.down = false
		if err := s.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustNameAll(t, s, c.after)
		if len(ca.names) != 5 {
			t.Errorf("%d to %d slots: issued %v", c.before, c.after, ca.names)
		}
	}
}

// mustNameAll fails unless each certificate has the names of so many slots.
func mustNameAll(t *testing.T, s *certs.Store, slots int) {
	t.Helper()
	for _, id := range scenario.Certificates() {
		if d := cmp.Diff(scenario.CertificateNames(zone, slots, id), get(t, s, id)[0].Leaf.DNSNames); d != "" {
			t.Errorf("%+v (-want +got):\n%s", id, d)
		}
	}
}

// A certificate that names another face, too, is shown to nobody.
func TestCertificateOfSeveralFaces(t *testing.T) {
	clk, dir := newClock(), t.TempDir()
	ca := newCA(t, "", clk)
	o := fast(dir, ca, clk)
	s := open(t, o)
	id := scenario.Certificate{Owner: scenario.OwnerMX05, Kind: scenario.CA}
	key := get(t, s, id)[0].PrivateKey.(crypto.Signer)
	for names, shown := range map[string]bool{
		"mx05.et.sink.example":                         true,
		"mx05.et.sink.example mx05.et7.sink.example":   true,
		"mx05.et1.sink.example":                        false,
		"mx05.et.sink.example mx06.et.sink.example":    false,
		"mx05.et.sink.example other.example":           false,
		"mx05.et.sink.example ut.sink.example":         false,
		"mx05.et.sink.example mta-sts.et.sink.example": false,
	} {
		chain, err := ca.Issue(t.Context(), strings.Fields(names), key)
		if err != nil {
			t.Fatal(err)
		}
		var b []byte
		for _, der := range chain {
			b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}
		write(t, filepath.Join(dir, "certificates", "0-mx05-ca-ecdsa.pem"), string(b))
		o.Issuer, o.DeferIssue = ca, true
		if _, err := open(t, o).Certificates(id); (err == nil) != shown {
			t.Errorf("%s: %v; want it to be shown: %v", names, err, shown)
		}
	}
}

// A sink whose slots had keys of their own goes on with those of slot 0. That is
// told once.
func TestKeysOfSingleSlots(t *testing.T) {
	clk, dir := newClock(), t.TempDir()
	var logs bytes.Buffer
	o := fast(dir, newCA(t, "", clk), clk)
	o.State, o.Logger = &memory{}, slog.New(slog.NewJSONHandler(&logs, nil))
	tlsa := open(t, o).TLSA()
	before, err := os.ReadFile(filepath.Join(dir, "keys", "0-mx06-ca-ecdsa.pem"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "keys", "1-mx06-ca-ecdsa.pem"), string(before)) // what is in it does not matter
	write(t, filepath.Join(dir, "keys", "12-ut-self-signed-rsa.3.pem"), "junk")
	write(t, filepath.Join(dir, "keys.json"), `{"version":1,"keys":{"1-mx06-ca":{"generation":4,"roll":{"phase":"announce","other":5,"started":"2026-01-01T00:00:00Z"}}}}`)
	for range 2 {
		if s := open(t, o); !cmp.Equal(tlsa, s.TLSA()) || slices.ContainsFunc(s.Status(), func(k certs.KeyStatus) bool { return k.Roll != certs.NoRoll }) {
			t.Error("other TLSA records, or a roll of a key that is not used")
		}
	}
	var told []float64
	for line := range strings.Lines(logs.String()) {
		var l struct {
			Msg   string  `json:"msg"`
			Files float64 `json:"files"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(l.Msg, "single slots") {
			told = append(told, l.Files)
		}
	}
	if !slices.Equal(told, []float64{2}) {
		t.Errorf("told %v, want once about two files:\n%s", told, logs.String())
	}
}

// The key of a host rolls for all slots, whichever is named.
func TestRollOfASlot(t *testing.T) {
	clk := newClock()
	o := fast("", newCA(t, "", clk), clk)
	o.Slots = 3
	s := open(t, o)
	hosts, err := s.Roll(t.Context(), "mx06.et2", "mx06.et.sink.example", "ut1", "mta-sts.et1", "default")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"mx06.et.sink.example", "ut.sink.example", "mta-sts.et.sink.example", "default"}, hosts); d != "" {
		t.Errorf("hosts (-want +got):\n%s", d)
	}
	for slot := range 3 {
		n := scenario.Names(zone, slot)
		if got := len(s.TLSA()[n.Host(scenario.MX06)]); got != 2 {
			t.Errorf("%s has %d TLSA records during the roll, want 2", n.Host(scenario.MX06), got)
		}
	}
	if _, err := s.Roll(t.Context(), "mx06.et3"); err == nil || !strings.Contains(err.Error(), "slots = 3") {
		t.Errorf("a slot that is not there: %v", err)
	}
	if got, err := s.CancelRoll("mx06.et1"); err != nil || !slices.Equal(got, []string{"mx06.et.sink.example"}) {
		t.Errorf("cancelled %v, %v", got, err)
	}
}
