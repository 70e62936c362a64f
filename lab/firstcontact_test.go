//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

// The addresses that et's hosts and ut have to themselves.
const (
	etAddr = "192.0.2.27"
	utAddr = "192.0.2.26"
)

// The same senders meet both ways to withhold STARTTLS. Every verdict is the
// same, and the log says how long each took.
func TestDowngradeModes(t *testing.T) {
	needLab(t)
	took := make(map[string]map[string]time.Duration) // by mode and kind
	kinds := []string{
		"none", "may", "encrypt", "verify", "dane", "dane-only", "mta-sts", "may-sni", "encrypt-sni", "dane-sts",
		"exim", "exim-nodane", "exim-require", "exim-require-nodane", "chasquid",
	}
	for _, mode := range []string{"timed", "first-contact"} {
		t.Run(mode, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			l := newLab(ctx, t, options{
				kinds: kinds, dns: fmt.Sprintf("mx_addresses = [%q]\nut_addresses = [%q]\n", etAddr, utAddr),
				tables: fmt.Sprintf("[downgrade]\nmode = %q\n", mode),
			})
			l.sink.alias(t, etAddr, utAddr)
			for _, s := range l.senders {
				s.open += " sni verifies_ca" // a verdict may come before ut was met over TLS
			}
			took[mode] = l.race(ctx, t)
			t.Run("senders", func(t *testing.T) { l.follow(ctx, t) })
			for _, s := range l.senders {
				l.checkMeetings(ctx, t, s, mode == "first-contact")
			}
		})
	}
	for _, kind := range kinds {
		t.Logf("%-19s timed %5.1f s, first-contact %5.1f s", kind, took["timed"][kind].Seconds(), took["first-contact"][kind].Seconds())
	}
}

// alias gives the node further addresses.
func (n node) alias(t *testing.T, addrs ...string) {
	t.Helper()
	for _, a := range addrs {
		command(t, "ip", "-n", n.name, "addr", "add", a+"/32", "dev", "eth0")
		command(t, "ip", "route", "add", a+"/32", "dev", n.link())
	}
}

// race sends all mails and says how long each verdict took.
func (l *lab) race(ctx context.Context, t *testing.T) map[string]time.Duration {
	t.Helper()
	out := make(map[string]time.Duration)
	start := time.Now()
	for _, s := range l.senders {
		s.send(ctx, t)
	}
	await(ctx, t, "all verdicts", func(ctx context.Context) error {
		for _, s := range l.senders {
			if out[s.kind] != 0 {
				continue
			}
			if test, err := l.sink.test(ctx, s); err == nil && test.State != "running" {
				out[s.kind] = time.Since(start)
			}
		}
		if len(out) < len(l.senders) {
			return fmt.Errorf("%v", out)
		}
		return nil
	})
	return out
}

// checkMeetings checks that et was met without STARTTLS, and in first contact no
// domain more than once; twice if the first meeting told nothing.
func (l *lab) checkMeetings(ctx context.Context, t *testing.T, s *sender, once bool) {
	t.Helper()
	test, err := l.sink.test(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	path, err := l.sink.export(ctx, t.ArtifactDir(), s.kind+"-"+map[bool]string{true: "first", false: "timed"}[once], test.ID)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := evidence.ReadHistory(f)
	if err != nil {
		t.Fatal(err)
	}
	met, told := make(map[string]int), make(map[string]bool)
	for _, c := range h.Connections {
		if want := map[string]string{etAddr + ":25": "et", utAddr + ":25": "ut"}[c.Local]; c.Destination != want {
			t.Errorf("%s: a connection to %s is for %q", s.kind, c.Local, c.Destination)
		}
		if c.Phase == evidence.Downgrade && len(c.Helo) > 0 {
			if once && (told[c.Destination] || met[c.Destination] == 2) {
				t.Errorf("%s: STARTTLS was withheld from %s once more, after %v", s.kind, c.Destination, met)
			}
			met[c.Destination]++
			told[c.Destination] = c.Data || c.Ending == evidence.EndingQuit && len(c.Transactions) == 0
		}
	}
	if met["et"] == 0 {
		t.Errorf("%s: STARTTLS was never withheld from et", s.kind)
	}
}
