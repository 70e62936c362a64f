package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/certs"
)

// The keys of certificates and of the zone, as an operator sees them.
func TestKeys(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t, "listen.metrics", []string{"127.0.0.1:0"}))
	defer p.stop(t)
	var keys []certs.KeyStatus
	if err := json.Unmarshal([]byte(p.ask(t, "keys", "list", "--json")), &keys); err != nil || len(keys) != 20 {
		t.Fatalf("%d keys (%v), want 20", len(keys), err)
	}
	list := p.ask(t, "keys")
	for _, k := range keys {
		if k.Published && !strings.Contains(list, k.KeyID[:16]) {
			t.Errorf("key %s of %s is not listed:\n%s", k.KeyID, k.Host, list)
		}
	}
	if out := p.ask(t, "keys", "roll", "mx04.et"); !strings.Contains(out, "mx04.et.sink.example") {
		t.Errorf("keys roll says %q", out)
	}
	if out := p.ask(t, "keys", "list"); strings.Count(out, "rolling, ") != 2 {
		t.Errorf("want both keys of one host rolling:\n%s", out)
	}
	_, stderr, status := runCLI(t, "", "keys", "roll", "mx04.et", "--config", p.config)
	if status != 1 || !strings.Contains(stderr, "mx04.et.sink.example") {
		t.Errorf("a second roll: status %d, %q", status, stderr)
	}
	_, stderr, status = runCLI(t, "", "keys", "roll", "mx07.et", "--config", p.config)
	if status != 1 || !strings.Contains(stderr, "mx07.et") {
		t.Errorf("an unknown host: status %d, %q", status, stderr)
	}
	if out := p.ask(t, "keys", "cancel"); !strings.Contains(out, "mx04.et.sink.example") {
		t.Errorf("keys cancel says %q", out)
	}
	_, stderr, status = runCLI(t, "", "keys", "cancel", "mx06.et", "--config", p.config)
	if status != 1 || !strings.Contains(stderr, "mx06.et.sink.example does not roll") {
		t.Errorf("nothing to cancel: status %d, %q", status, stderr)
	}
}

func TestZoneKeys(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	defer p.stop(t)
	if out := p.ask(t, "zone"); !strings.Contains(out, "IN\tDS\t") || !strings.Contains(out, "ns1.sink.example.") {
		t.Errorf("zone prints %q", out)
	}
	if out := p.ask(t, "zone", "status"); !strings.Contains(out, "no key is being rolled") {
		t.Errorf("zone status prints %q", out)
	}
	if out := p.ask(t, "zone", "roll"); !strings.Contains(out, "roll of the CSK, phase publish") {
		t.Errorf("zone roll prints %q", out)
	}
	_, stderr, status := runCLI(t, "", "zone", "roll", "--config", p.config)
	if status != 1 || !strings.Contains(stderr, "roll") {
		t.Errorf("a second roll: status %d, %q", status, stderr)
	}
	_, stderr, status = runCLI(t, "", "zone", "confirm", "--config", p.config)
	if status != 1 || stderr == "" {
		t.Errorf("a DS record that nobody asked for is confirmed: status %d, %q", status, stderr)
	}
	// Whether a cache may know the new key is a matter of moments.
	if out := p.ask(t, "zone", "cancel"); !strings.Contains(out, "goes back to the old key") && !strings.Contains(out, "no key is being rolled") {
		t.Errorf("zone cancel prints %q", out)
	}
}

func TestMetricsAreServed(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t, "listen.metrics", []string{"127.0.0.1:0"}))
	defer p.stop(t)
	line := p.waitFor(t, "tlsink serves")
	var serves struct{ Metrics []string }
	if err := json.Unmarshal([]byte(line), &serves); err != nil || len(serves.Metrics) != 1 {
		t.Fatalf("%q: %v", line, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+serves.Metrics[0]+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"tlsink_certificates_missing 0\n", "tlsink_storage_ok 1\n", "tlsink_zone_serial ", "tlsink_certificate_expiry_seconds{"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in\n%s", want, b)
		}
	}
}
