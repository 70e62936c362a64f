package follow

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/api"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

const scriptedCapability = "scripted-AAAAAAAAAAAAAAAAAA"

// scripted is a server on which a test takes a course that is known before. At
// the end of the script nothing happens any more.
type scripted struct {
	script []live.Status
	hosts  map[string]policyinfer.HostVerdict

	url, roots string

	mu        sync.Mutex
	language  string
	hook      string
	cancelled bool
	shown     chan struct{} // closed when all of the script was told
}

func newScripted(t *testing.T, script ...live.Status) *scripted {
	t.Helper()
	s := &scripted{script: script, shown: make(chan struct{})}
	h, err := api.New(api.Options{Live: s, Leases: s, Results: s, Webhooks: s, Link: func(c string) string { return s.url + "/t/" + c }})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	s.url, s.roots = srv.URL, filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(s.roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scripted) Status(_ context.Context, capability string, _ report.Language) (*live.Status, bool, error) {
	if capability != scriptedCapability {
		return nil, false, nil
	}
	return &s.script[0], true, nil
}

func (s *scripted) Watch(_ context.Context, capability string, _ report.Language) (api.Watcher, bool, error) {
	if capability != scriptedCapability {
		return nil, false, nil
	}
	return &scriptedWatcher{s: s}, true, nil
}

type scriptedWatcher struct {
	s *scripted
	n int
}

func (w *scriptedWatcher) Next(ctx context.Context) (*live.Status, error) {
	if w.n < len(w.s.script) {
		w.n++
		return &w.s.script[w.n-1], nil
	}
	w.s.mu.Lock()
	select {
	case <-w.s.shown:
	default:
		close(w.s.shown)
	}
	w.s.mu.Unlock()
	<-ctx.Done()
	return nil, ctx.Err()
}

func (*scriptedWatcher) Close() {}

func (s *scripted) Start(_ context.Context, _ netip.Addr, language string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.language = language
	return scriptedCapability, nil
}

func (s *scripted) Cancel(context.Context, string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancelled = true
	return nil
}

func (s *scripted) Result(context.Context, string) (report.Input, bool, error) {
	last := s.script[len(s.script)-1]
	in := report.Input{Service: "sink.example", Test: evidence.Test{ID: "7KQ2PX", Zone: "sink.example", Started: last.Started}, State: string(last.State), Generated: last.Now}
	in.Verdict = policyinfer.Verdict{Policy: policyinfer.Name(last.Verdict.Policy), Conclusive: last.Verdict.Conclusive, Hosts: s.hosts}
	return in, true, nil
}

func (*scripted) Check(string) error { return nil }

func (s *scripted) Register(_ context.Context, _, url string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = url
	return "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", nil
}

// ran is how a command ended.
type ran struct {
	status         int
	stdout, stderr string
}

func runCommand(ctx context.Context, args ...string) ran {
	var stdout, stderr bytes.Buffer
	var commands struct {
		Test  TestCmd  `cmd:""`
		Watch WatchCmd `cmd:""`
	}
	status := cli.Run(&cli.Env{Ctx: ctx, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr}, &commands, args)
	return ran{status, stdout.String(), stderr.String()}
}

func (s *scripted) test(ctx context.Context, args ...string) ran {
	return runCommand(ctx, append([]string{"test", "--server", s.url, "--roots", s.roots}, args...)...)
}

// The steps of a script.

func scriptTime(minutes int) time.Time {
	return time.Date(2026, 11, 22, 12, minutes, 0, 0, time.UTC)
}

func stepQueued() live.Status {
	return live.Status{
		Test: "7KQ2PX", State: live.Queued, Language: "en", Now: scriptTime(0), Started: scriptTime(0), Text: "All addresses are taken.",
		Place: &live.Place{Ahead: 2, Free: scriptTime(20)},
	}
}

func stepWaiting() live.Status {
	return live.Status{
		Test: "7KQ2PX", State: live.Waiting, Language: "en", Now: scriptTime(1), Started: scriptTime(0), Text: "Send one mail to both addresses.", Expires: scriptTime(31),
		Addresses: &live.Addresses{ET: "en4k7w2q9mxa@et3.sink.example", UT: "en4k7w2q9mxa@ut3.sink.example", Mailto: "mailto:x"},
	}
}

func stepRunning(connections int) live.Status {
	st := live.Status{
		Test: "7KQ2PX", State: live.Running, Language: "en", Now: scriptTime(2), Started: scriptTime(0), Text: "The sender is being watched.", Sender: "a…@example.org", Attempts: 1,
		Phase:    &live.Phase{Name: "secure", Text: "STARTTLS is offered.", Ends: scriptTime(5)},
		Rotation: live.Rotation{Order: []string{"mx04", "mx05"}, Next: scriptTime(3)},
		Servers:  []live.Server{{Number: 1, Name: "no TLS"}, {Number: 4, Name: "mx04", Connections: connections, Outcome: live.Encrypted}},
		Missing:  []string{"an attempt at mx05"},
		Next:     &live.Expected{From: scriptTime(5), To: scriptTime(9), Text: "probably between 12:05 and 12:09 UTC"},
	}
	for i := range connections {
		st.Connections = append(st.Connections, live.Connection{
			Number: i + 1, ID: evidence.ConnID(fmt.Sprintf("c%d", i+1)), Time: scriptTime(2), Client: "192.0.2.25", Server: 4, Outcome: live.Encrypted, Text: "The mail was handed over inside TLS.",
		})
	}
	return st
}

func stepOver(state live.State, policy policyinfer.Name, conclusive bool) live.Status {
	st := stepRunning(2)
	st.State, st.Now, st.Text, st.Phase, st.Missing, st.Next = state, scriptTime(10), "The test is over.", nil, nil, nil
	st.Finding = []string{"MX hosts were tried out of order"}
	st.Verdict = &live.Verdict{
		Policy: string(policy), Conclusive: conclusive, Candidates: []string{string(policy)}, Protected: policy.Protected(), Level: "good", Grade: "well protected", Summary: "What came was as " + string(policy) + " says.",
	}
	if !conclusive {
		st.Verdict.Candidates = []string{"dane", "dane-only"}
	}
	return st
}

func stepExpired() live.Status {
	return live.Status{Test: "7KQ2PX", State: live.Expired, Language: "en", Now: scriptTime(31), Started: scriptTime(0), Text: "No mail came in time."}
}
