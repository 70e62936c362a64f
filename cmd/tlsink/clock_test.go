package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/certs"
)

// serial asks the service for the serial of its zone.
func (p *process) serial(t *testing.T) uint32 {
	t.Helper()
	m, err := dns.Exchange(new(dns.Msg).SetQuestion("sink.example.", dns.TypeSOA), p.dns)
	if err != nil {
		t.Fatal(err)
	}
	soa, ok := m.Answer[0].(*dns.SOA)
	if !ok {
		t.Fatalf("answer %v", m)
	}
	return soa.Serial
}

// The clock was ahead in an earlier run, and the zone has a serial from then.
func TestSerialFromTheFuture(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	before := p.serial(t)
	p.stop(t)
	file := filepath.Join(p.settings.dir(), "zone.json")
	b, err := os.ReadFile(file) //nolint:gosec // of this test
	if err != nil {
		t.Fatal(err)
	}
	var state map[string]any
	if err := json.Unmarshal(b, &state); err != nil {
		t.Fatal(err)
	}
	future := before + 10*365*24*3600
	state["serial"] = future
	if b, err = json.Marshal(state); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	p = start(t, p.settings)
	p.waitFor(t, "own zone and policy verified")
	if now := p.serial(t); now < future { // secondaries and caches have seen the other one
		t.Errorf("serial %d went back behind %d", now, future)
	}
	p.stop(t)
}

// The clock was ahead when the certificates were made: they are not valid yet.
func TestCertificatesFromTheFuture(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		root bool   // also the root
		want string // what is logged
	}{
		"certificates are issued again": {false, "own zone and policy verified"},
		"the root is not":               {true, "before 20"}, // "current time … is before …"
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSettings(t)
			later := func() time.Time { return time.Now().Add(48 * time.Hour) }
			ca := certs.LocalCAOptions{Dir: filepath.Join(s.dir(), "ca"), Zone: "sink.example"}
			if c.root {
				ca.Now = later
			}
			root, err := certs.OpenLocalCA(ca)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := certs.Open(t.Context(), certs.Options{Dir: filepath.Join(s.dir(), "certs"), Zone: "sink.example", Slots: 1, Issuer: root, Now: later}); err != nil {
				t.Fatal(err)
			}
			p := start(t, s)
			if line := p.waitFor(t, "own zone"); !strings.Contains(line, c.want) {
				t.Errorf("log does not say %q: %s", c.want, line)
			}
			p.connect(t, "mta.sender.example").cmd(221, "QUIT")
			p.stop(t)
		})
	}
}
