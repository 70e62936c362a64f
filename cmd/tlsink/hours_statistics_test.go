package main

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/statistics"
)

// Six people of one provider test, one of them twice. The statistics count each
// test once, over restarts and deletions, and each person once a month; so do the
// metrics.
func TestStatisticsOfRealTests(t *testing.T) {
	setup := func(c *config.Config) {
		c.Statistics.Providers = []config.Provider{{Name: "Example Mail", Domain: "s1.example"}}
	}
	hoursOf(t, setup, func(w *world) {
		start := time.Now().UTC()
		s := newMTA(w, policyNamed("dane", func(k *kind) { k.helo = "mx.s1.example" }), 10*time.Minute, 1, mailboxIP())
		for i := range 6 {
			s.deliver(w.t.Context(), s.write(fmt.Sprintf("user%d", i), toET, toUT), nil)
		}
		time.Sleep(2 * time.Hour)
		s.deliver(w.t.Context(), s.write("user0", toET, toUT), nil)
		s.wait()
		time.Sleep(time.Minute) // connections end
		got := scraped(t, w)
		for name, want := range map[string]float64{
			"tlsink_tests_opened_total": 7, `tlsink_tests_concluded_total{verdict="dane"}`: 7, `tlsink_tests_ended_total{state="acked"}`: 7, "tlsink_test_verdict_attempts_count": 7,
			"tlsink_tests_running": 0, "tlsink_test_oldest_seconds": 0, "tlsink_smtp_connections_open": 0, `tlsink_test_phase_seconds_count{phase="downgrade"}`: 7,
		} {
			if got[name] != want {
				t.Errorf("%s is %v, want %v", name, got[name], want)
			}
		}
		for _, name := range []string{
			`tlsink_smtp_message_replies_total{code="250"}`, `tlsink_smtp_connections_total{phase="downgrade",server="1"}`, `tlsink_history_write_seconds_count{result="ok"}`,
			`tlsink_smtp_tls_handshake_seconds_count{result="finished",version="1.3"}`, "tlsink_smtp_greeting_seconds_count", `tlsink_report_attempts_total{result="delivered"}`,
		} {
			if got[name] == 0 {
				t.Errorf("%s is 0", name)
			}
		}
		w.halt()
		w.start()
		time.Sleep(3 * time.Hour)
		if _, err := w.service().assess.Forget(w.t.Context(), s.address("user1")); err != nil {
			t.Fatal(err)
		}
		w.halt()
		w.start()
		time.Sleep(30 * time.Hour)
		month := start.Format("2006-01")
		p := w.service().statistics.Public()
		if len(p.Table) != 1 {
			t.Fatalf("public: %+v", p)
		}
		want := statistics.Public{
			Since: month, Day: p.Day,
			Months:    []statistics.Row{{Group: month, Cells: map[string]int{"dane": 5}, Sum: 5}}, // 7
			Providers: []statistics.Row{{Group: "s1.example", Cells: map[string]int{"dane": 5}, Sum: 5}},
			Countries: []statistics.Row{{Group: statistics.Unknown, Cells: map[string]int{"dane": 5}, Sum: 5}},
			Table:     []statistics.Listed{{Name: "Example Mail", Domain: "s1.example", Month: month, Outbound: statistics.Green, Verdicts: []string{"dane"}, Inbound: p.Table[0].Inbound, Senders: 5}},
			Engines:   p.Engines,
		}
		if d := cmp.Diff(want, p); d != "" {
			t.Errorf("statistics (-want +got):\n%s", d)
		}
		stored, err := w.service().store.Value("statistics/" + month)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"verdicts":{"dane":7}`, `"s1.example":{"dane":6}`} {
			if !strings.Contains(string(stored), want) {
				t.Errorf("what is stored has no %s: %s", want, stored)
			}
		}
		for _, never := range []string{"user", `"seen"`, mailboxIP().String(), "@"} {
			if strings.Contains(string(stored), never) {
				t.Errorf("what is stored has %s: %s", never, stored)
			}
		}
	})
}

// scraped returns what Prometheus would read.
func scraped(t *testing.T, w *world) map[string]float64 {
	t.Helper()
	rec := httptest.NewRecorder()
	w.service().metrics().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	out := make(map[string]float64)
	for _, m := range regexp.MustCompile(`(?m)^(tlsink_\S+) (\S+)$`).FindAllStringSubmatch(rec.Body.String(), -1) {
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		out[m[1]] = v
	}
	if len(out) < 50 {
		t.Fatalf("status %d, %d metrics: %s", rec.Code, len(out), rec.Body)
	}
	return out
}
