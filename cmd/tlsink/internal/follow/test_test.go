package follow

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
)

func TestTestExitStatus(t *testing.T) {
	over := func(policy policyinfer.Name) []live.Status {
		return []live.Status{stepWaiting(), stepRunning(1), stepOver(live.Acked, policy, true)}
	}
	mixed := func(hosts ...policyinfer.Name) map[string]policyinfer.HostVerdict {
		out := make(map[string]policyinfer.HostVerdict)
		for i, n := range hosts {
			out[strings.Repeat("h", i+1)] = policyinfer.HostVerdict{Policy: n, Conclusive: n != policyinfer.Undetermined}
		}
		return out
	}
	cases := []struct {
		name   string
		script []live.Status
		hosts  map[string]policyinfer.HostVerdict
		args   []string
		want   int
	}{
		{"dane is dane", over("dane"), nil, []string{"--require", "dane"}, 0},
		{"dane-only is dane", over("dane-only"), nil, []string{"--require", "dane"}, 0},
		{"dane+mta-sts is dane", over("dane+mta-sts"), nil, []string{"--require", "dane"}, 0},
		{"dane+mta-sts is mta-sts", over("dane+mta-sts"), nil, []string{"--require", "mta-sts"}, 0},
		{"dane is not mta-sts", over("dane"), nil, []string{"--require", "mta-sts"}, 1},
		{"dane is not dane-only", over("dane"), nil, []string{"--require", "dane-only"}, 1},
		{"mta-sts is not dane", over("mta-sts"), nil, []string{"--require", "dane"}, 1},
		{"may is not dane", over("may"), nil, []string{"--require", "dane"}, 1},
		{"verify is protected", over("verify"), nil, []string{"--require", "protected"}, 0},
		{"encrypt is not protected", over("encrypt"), nil, []string{"--require", "protected"}, 1},
		{"may is may", over("may"), nil, []string{"--require", "may"}, 0},
		{"any of two", over("mta-sts"), nil, []string{"--require", "dane,mta-sts"}, 0},
		{"none of two", over("verify"), nil, []string{"--require", "dane,mta-sts"}, 1},
		{"both of two", over("dane+mta-sts"), nil, []string{"--require", "dane", "--require", "mta-sts"}, 0},
		{"one of two that are both required", over("dane"), nil, []string{"--require", "dane", "--require", "mta-sts"}, 1},
		{"nothing required", over("none"), nil, nil, 0},
		{"undetermined", []live.Status{stepWaiting(), stepOver(live.Closed, "undetermined", false)}, nil, []string{"--require", "dane"}, 3},
		{"undetermined, nothing required", []live.Status{stepWaiting(), stepOver(live.Closed, "undetermined", false)}, nil, nil, 3},
		{"no mail came", []live.Status{stepWaiting(), stepExpired()}, nil, []string{"--require", "dane"}, 3},
		{"closed with a verdict", []live.Status{stepOver(live.Closed, "dane", true)}, nil, []string{"--require", "dane"}, 0},
		{"hosts that differ, and all do", over("mixed"), mixed("dane", "dane-only"), []string{"--require", "dane"}, 0},
		{"hosts that differ, and one does not", over("mixed"), mixed("dane", "may"), []string{"--require", "dane"}, 1},
		{"hosts that differ, and one is not known", over("mixed"), mixed("dane", "undetermined"), []string{"--require", "dane"}, 3},
		{"hosts that differ, and nobody says how", over("mixed"), nil, []string{"--require", "dane"}, 3},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newScripted(t, c.script...)
			s.hosts = c.hosts
			got := s.test(t.Context(), c.args...)
			if got.status != c.want {
				t.Errorf("status %d, want %d\nstdout: %s\nstderr: %s", got.status, c.want, got.stdout, got.stderr)
			}
			if s.cancelled {
				t.Error("the test was given up, though it is over")
			}
		})
	}
}

func TestTestUsage(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no server":               {[]string{}, "--server"},
		"server without https":    {[]string{"--server", "http://sink.example"}, "want https://"},
		"server with a path":      {[]string{"--server", "https://sink.example/t/x"}, "leave out the path"},
		"unknown policy":          {[]string{"--server", "https://sink.example", "--require", "dame"}, `no policy "dame": use protected, none, may`},
		"undetermined":            {[]string{"--server", "https://sink.example", "--require", "undetermined"}, "no policy"},
		"empty requirement":       {[]string{"--server", "https://sink.example", "--require", ""}, "no policy"},
		"no time":                 {[]string{"--server", "https://sink.example", "--timeout", "0s"}, "--timeout"},
		"language":                {[]string{"--server", "https://sink.example", "--language", "fr"}, "--language"},
		"two ways to send":        {[]string{"--server", "https://sink.example", "--send", "x", "--sendmail", "a@example.org"}, "use one of them"},
		"from without send":       {[]string{"--server", "https://sink.example", "--from", "a@example.org"}, "--from"},
		"sendmail with an option": {[]string{"--server", "https://sink.example", "--sendmail=-bd@example.org"}, "want a mail address"},
		"sendmail with a name":    {[]string{"--server", "https://sink.example", "--sendmail", "A <a@example.org>"}, "want a mail address"},
		"no roots":                {[]string{"--server", "https://sink.example", "--roots", "/nonexistent"}, "nonexistent"},
		"no place for JUnit":      {[]string{"--server", "https://sink.example", "--junit", "/nonexistent/x.xml"}, "--junit"},
	} {
		t.Run(name, func(t *testing.T) {
			got := runCommand(t.Context(), append([]string{"test"}, c.args...)...)
			if got.status != 2 || !strings.Contains(got.stderr, c.want) {
				t.Errorf("status %d: %s", got.status, got.stderr)
			}
		})
	}
}

func TestTestOutput(t *testing.T) {
	s := newScripted(t, stepQueued(), stepWaiting(), stepRunning(1), stepRunning(2), stepOver(live.Acked, "dane", true))
	got := s.test(t.Context(), "--require", "dane", "--language", "de", "--webhook", "https://ci.example.com/x")
	want := "en4k7w2q9mxa@et3.sink.example\nen4k7w2q9mxa@ut3.sink.example\nThe verdict is dane (well protected). What came was as dane says.\nrequired dane: met\n"
	if got.status != 0 || got.stdout != want {
		t.Errorf("status %d, output:\n%s", got.status, got.stdout)
	}
	for _, want := range []string{"/t/" + scriptedCapability, "webhook secret: whsec_", "queued: All addresses are taken.", "connection 2 at server 4: encrypted"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("progress without %q:\n%s", want, got.stderr)
		}
	}
	if s.language != "de" || s.hook != "https://ci.example.com/x" {
		t.Errorf("started in %q with webhook %q", s.language, s.hook)
	}
}

func TestTestJSON(t *testing.T) {
	s := newScripted(t, stepWaiting(), stepRunning(1), stepRunning(1), stepRunning(2), stepOver(live.Acked, "dane", true))
	got := s.test(t.Context(), "--json")
	var states []string
	for line := range strings.Lines(got.stdout) {
		var st live.Status
		if err := json.Unmarshal([]byte(line), &st); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		states = append(states, string(st.State))
		if st.State == live.Acked && len(st.Connections) != 2 {
			t.Errorf("%d connections at the end", len(st.Connections))
		}
	}
	if diff := cmp.Diff([]string{"waiting", "running", "running", "acked"}, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

func TestTestSends(t *testing.T) {
	dir := t.TempDir()
	fake := "#!/bin/sh\nfor a in \"$@\"; do echo \"$a\"; done > " + filepath.Join(dir, "args") + "\ncat > " + filepath.Join(dir, "mail") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "sendmail"), []byte(fake), 0o755); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	const both = "en4k7w2q9mxa@et3.sink.example en4k7w2q9mxa@ut3.sink.example"
	for name, c := range map[string]struct {
		args []string
		want string // the arguments of what sends
		from string
	}{
		"sendmail":     {[]string{"--sendmail", "cron@example.org"}, "-i\n-f\ncron@example.org\n--\n" + strings.ReplaceAll(both, " ", "\n") + "\n", "cron@example.org"},
		"a command":    {[]string{"--send", "sendmail $TLSINK_TO"}, strings.ReplaceAll(both, " ", "\n") + "\n", ""},
		"with another": {[]string{"--send", "sendmail -t", "--from", "ci@example.org"}, "-t\n", "ci@example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScripted(t, stepQueued(), stepWaiting(), stepWaiting(), stepOver(live.Acked, "dane", true))
			if got := s.test(t.Context(), c.args...); got.status != 0 {
				t.Fatalf("status %d: %s", got.status, got.stderr)
			}
			args, err := os.ReadFile(filepath.Join(dir, "args"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(args)); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
			text, err := os.ReadFile(filepath.Join(dir, "mail"))
			if err != nil {
				t.Fatal(err)
			}
			m, err := mail.ReadMessage(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			to, err := m.Header.AddressList("To")
			if err != nil || len(to) != 2 || to[0].Address+" "+to[1].Address != both {
				t.Errorf("To: %v, %v", to, err)
			}
			if got := m.Header.Get("From"); got != "" && got != "<"+c.from+">" || (got == "") != (c.from == "") {
				t.Errorf("From: %q", got)
			}
			if _, err := m.Header.Date(); err != nil || m.Header.Get("Auto-Submitted") != "auto-generated" {
				t.Errorf("header %v, %v", m.Header, err)
			}
		})
	}
}

func TestTestThatCannotSend(t *testing.T) {
	s := newScripted(t, stepWaiting())
	if got := s.test(t.Context(), "--send", "exit 7"); got.status != 3 || !s.cancelled || !strings.Contains(got.stderr, "the test mail was not taken: exit status 7") {
		t.Errorf("status %d, cancelled %v: %s", got.status, s.cancelled, got.stderr)
	}
	hostile := stepWaiting()
	hostile.Addresses = &live.Addresses{ET: "$(touch${IFS}x)@et3.sink.example", UT: "-oQ/tmp@ut3.sink.example"}
	s = newScripted(t, hostile)
	if got := s.test(t.Context(), "--send", "true $TLSINK_TO"); got.status != 3 || !strings.Contains(got.stderr, "which is none") {
		t.Errorf("status %d: %s", got.status, got.stderr)
	}
}

func TestTestInterrupted(t *testing.T) {
	s := newScripted(t, stepQueued(), stepWaiting())
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-s.shown
		cancel()
	}()
	if got := s.test(ctx); got.status != 3 || !s.cancelled || !strings.Contains(got.stderr, "interrupted") || !strings.Contains(got.stderr, "given up") {
		t.Errorf("status %d, cancelled %v: %s", got.status, s.cancelled, got.stderr)
	}
}

func TestTestTimeUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "junit.xml")
	s := newScripted(t, stepWaiting())
	if got := s.test(t.Context(), "--timeout", "200ms", "--junit", file, "--require", "dane"); got.status != 3 || !s.cancelled || !strings.Contains(got.stderr, "the time is up") {
		t.Errorf("status %d, cancelled %v: %s", got.status, s.cancelled, got.stderr)
	}
	if suite := readJUnit(t, file).Suites[0]; suite.Errors != 1 || !strings.Contains(suite.Cases[0].Error.Message, "the time is up") {
		t.Errorf("suite %+v", suite)
	}
	// With a verdict it was only waiting for the mail to be handed over.
	s = newScripted(t, stepOver(live.Concluded, "dane", true))
	if got := s.test(t.Context(), "--timeout", "200ms", "--require", "dane"); got.status != 0 {
		t.Errorf("status %d: %s", got.status, got.stderr)
	}
}

func TestTestUnreachable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "junit.xml")
	got := runCommand(t.Context(), "test", "--server", "https://127.0.0.1:1", "--junit", file, "--require", "dane,mta-sts")
	if got.status != 3 || !strings.Contains(got.stderr, "127.0.0.1:1") {
		t.Errorf("status %d: %s", got.status, got.stderr)
	}
	if suite := readJUnit(t, file).Suites[0]; suite.Errors != 1 || suite.Cases[0].Name != "requires dane,mta-sts" || suite.Cases[0].Class != "tlsink.127.0.0.1" {
		t.Errorf("suite %+v", suite)
	}
}

// readJUnit reads a file strictly as the usual schema has it: only the elements
// and attributes that it knows, in its order.
func readJUnit(t *testing.T, file string) junitSuites {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{
		"testsuites": "name tests failures errors time", "testsuite": "name tests failures errors skipped time timestamp", "properties": "", "property": "name value",
		"testcase": "classname name time", "skipped": "message", "error": "message type", "failure": "message type", "system-out": "",
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	for {
		token, err := d.Token()
		if err == io.EOF { //nolint:errorlint // as documented
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		attributes, ok := known[e.Name.Local]
		if !ok {
			t.Errorf("element %s", e.Name.Local)
		}
		for _, a := range e.Attr {
			if !strings.Contains(" "+attributes+" ", " "+a.Name.Local+" ") {
				t.Errorf("attribute %s of %s", a.Name.Local, e.Name.Local)
			}
		}
	}
	var out junitSuites
	if err := xml.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	tests, failures, errors := 0, 0, 0
	for _, s := range out.Suites {
		skipped := 0
		for _, c := range s.Cases {
			tests++
			for count, m := range map[*int]*junitMessage{&failures: c.Failure, &errors: c.Error, &skipped: c.Skipped} {
				if m != nil {
					*count++
				}
			}
		}
		if s.Skipped != skipped {
			t.Errorf("suite says %d skipped, it has %d", s.Skipped, skipped)
		}
	}
	if out.Tests != tests || out.Failures != failures || out.Errors != errors {
		t.Errorf("it says %d tests, %d failures, %d errors; it has %d, %d, %d", out.Tests, out.Failures, out.Errors, tests, failures, errors)
	}
	return out
}

func TestJUnit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "junit.xml")
	over := stepOver(live.Acked, "may", true)
	over.Finding = []string{"a finding with <b> & ]]> \x1b[2J \x00"}
	s := newScripted(t, stepWaiting(), over)
	if got := s.test(t.Context(), "--junit", file, "--require", "dane", "--require", "may"); got.status != 1 {
		t.Fatalf("status %d: %s", got.status, got.stderr)
	}
	suites := readJUnit(t, file)
	suite := suites.Suites[0]
	if suites.Tests != 3 || suites.Failures != 1 || suites.Errors != 0 || suite.Skipped != 1 || suite.Timestamp != "2026-11-22T12:00:00" {
		t.Errorf("suite %+v", suite)
	}
	first, second, finding := suite.Cases[0], suite.Cases[1], suite.Cases[2]
	if first.Name != "requires dane" || first.Failure.Message != "The verdict is may (well protected). What came was as may says." {
		t.Errorf("first case %+v", first)
	}
	if second.Failure != nil || second.Error != nil || second.Out == "" {
		t.Errorf("second case %+v", second)
	}
	if !strings.HasPrefix(finding.Name, "finding: a finding with <b> & ]]> ") {
		t.Errorf("finding %q", finding.Name)
	}
	if o := (testOutcome{server: "https://sink.example", took: 90 * time.Second}); junitOf(o).Errors != 1 {
		t.Errorf("of nothing: %+v", junitOf(o))
	}
}
