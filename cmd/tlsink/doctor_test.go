package main

import (
	"encoding/json"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/doctor"
)

// A service on loopback is healthy as far as it can be seen there, and being
// looked at leaves no trace.
func TestDoctorOfARunningService(t *testing.T) {
	p := start(t, newSettings(t))
	out, stderr, status := runCLI(t, "", "doctor", "--config", p.config)
	if status != 0 || strings.Contains(out, "WRONG") || strings.Contains(out, "\n? ") {
		t.Errorf("status %d, %s:\n%s", status, stderr, out)
	}
	for _, want := range []string{"STARTTLS is withheld from a new client", "mx06.et8.sink.example, mx.sink.example: both certificates match", "et8.sink.example, ut8.sink.example: the certificates of slot 0 are shown", "dns.private is set", " 0 wrong, 0 could not be tested"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), strings.TrimSpace(want)) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	out, _, _ = runCLI(t, "", "doctor", "--json", "--config", p.config)
	var results []doctor.Result
	if err := json.Unmarshal([]byte(out), &results); err != nil || len(results) < 15 || !doctor.Healthy(results) {
		t.Errorf("%v: %s", err, out)
	}
	if list := p.ask(t, "history", "connections"); strings.Contains(list, "127.0.0.1") {
		t.Errorf("connections of its own are recorded:\n%s", list)
	}
	p.stop(t)
	_, stderr, status = runCLI(t, "", "doctor", "--config", p.config)
	if status != 1 || !strings.Contains(stderr, "tlsink serve") {
		t.Errorf("without the service: status %d, %s", status, stderr)
	}
}

// Without a token, as from elsewhere, all that a stranger may see is checked;
// what the downgrade phase hides is said to be untested.
func TestDoctorFromElsewhere(t *testing.T) {
	p := start(t, newSettings(t))
	cfg, err := config.Load(p.config)
	if err != nil {
		t.Fatal(err)
	}
	o := optionsOf(&cfg)
	o.Roots, o.SMTP, o.HTTPS = p.roots(t), p.smtp, p.https
	var help doctorHelp
	b, err := control.Ask(t.Context(), cfg.DataDir, "GET", "/doctor")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &help); err != nil {
		t.Fatal(err)
	}
	if err := help.complete(&o, true); err != nil {
		t.Fatal(err)
	}
	o.Token = ""
	d, err := doctor.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range d.Run(t.Context(), doctor.Faces, nil) {
		want := doctor.OK
		switch r.Check {
		case "offered", "certificates", "tlsa":
			want = doctor.Cannot
		}
		if r.Status != want {
			t.Errorf("want %s: %s", want, r.Line())
		}
	}
}

// The metrics of a service say what its checks found.
func TestMetricsOfAService(t *testing.T) {
	checkedHours(t, func(w *world) {
		w.faulty.Store(true)
		get := func() string {
			rec := httptest.NewRecorder()
			w.service().metrics().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
			b, err := io.ReadAll(rec.Body)
			if err != nil || rec.Code != 200 {
				t.Errorf("%d, %v", rec.Code, err)
			}
			return string(b)
		}
		contains := func(lines ...string) {
			t.Helper()
			text := get()
			for _, l := range lines {
				if !strings.Contains(text, l+"\n") {
					t.Errorf("no %q in\n%s", l, text)
				}
			}
		}
		w.settle()
		contains(`tlsink_check_ok{check="tlsa"} 1`, `tlsink_verdicts_suspended{verdicts="all"} 0`, "tlsink_tests_running 0", "tlsink_reports_queued 0")
		repair := sinkFaults()["mx05 matches"].broken(w)
		w.settle()
		contains(`tlsink_check_ok{check="tlsa"} 0`, `tlsink_verdicts_suspended{verdicts="all"} 1`, `tlsink_verdicts_suspended{verdicts="unprotected"} 1`)
		repair()
		w.settle()
		contains(`tlsink_check_ok{check="tlsa"} 1`, `tlsink_verdicts_suspended{verdicts="all"} 0`)
		if n := strings.Count(get(), "tlsink_certificate_expiry_seconds{"); n != 20 {
			t.Errorf("%d certificates; want 20", n)
		}
	})
}
