//go:build linux

package lab_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"
)

// tlsink is the service under test, a process of its own.
type tlsink struct {
	node
	binary, config, anchors string
	roots                   string   // the public CA's; empty: it has its own
	expected                []string // what it may log as an error
	daemon                  *daemon
}

// options vary the lab of one test.
type options struct {
	kinds []string // of senders; none: all
	// Lines for tlsink.toml: in [dns], instead of or beside those in [timing],
	// and tables of their own.
	dns    string
	timing map[string]string
	tables string
}

// settings are ordinary ones but for time.
const settings = `zone = %q
data_dir = %q

[dns]
addresses = [%q]
ttl = "1s"
resolvers = ["%s:53"]
trust_anchors = %q
%s
[mail]
private = true

[log]
level = "debug"

%s
[timing]
`

// timing makes seconds of what takes minutes against a sender with its default
// intervals: here they retry every 2 to 6 seconds.
func timing() map[string]string {
	return map[string]string{
		"downgrade": "8s", "rotation": "6s", "settle": "12s", "silence": "20s", "margin": "2s",
		"attempt": "1s", "close": "5m", "report_retry": "2s",
	}
}

// configuration is tlsink.toml.
func (o options) configuration(data, anchors string) string {
	out := fmt.Sprintf(settings, zone, data, sinkAddr, resolverAddr, anchors, o.dns, o.tables)
	merged := timing()
	maps.Copy(merged, o.timing)
	for _, key := range slices.Sorted(maps.Keys(merged)) {
		out += fmt.Sprintf("%s = %q\n", key, merged[key])
	}
	return out
}

// startSink starts tlsink for the first time and lets it trust its own zone,
// as it would through its parent: the DS record exists only once it ran.
func startSink(ctx context.Context, t *testing.T, o options) (s *tlsink, ds string) {
	t.Helper()
	s = &tlsink{node: newNode(t, "sink", sinkAddr), binary: os.Getenv(binaryVar)}
	s.anchors = s.file(t, "anchors", "nothing.invalid. IN DS 1 13 2 "+strings.Repeat("00", 32)+"\n")
	data := filepath.Join(s.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	// Nobody asks for the zone before its DS record is known: no resolver has it in
	// its cache that there is none.
	unknown := o
	unknown.dns += "\nprivate = true"
	s.config = s.file(t, "tlsink.toml", unknown.configuration(data, s.anchors))
	keep(t, filepath.Join(s.dir, "tlsink.log"))
	t.Cleanup(func() { s.checkEnd(t) })
	s.start(ctx, t)
	ds = s.delegation(t)
	s.daemon.end(t, os.Interrupt)
	s.file(t, "anchors", ds+"\n")
	s.file(t, "tlsink.toml", o.configuration(data, s.anchors))
	return s, ds
}

// start runs tlsink and waits until it answers.
func (s *tlsink) start(ctx context.Context, t *testing.T) {
	t.Helper()
	s.daemon = s.node.start(t, nil, s.binary, "serve", "--config", s.config)
	await(ctx, t, "tlsink", func(ctx context.Context) error {
		if !s.daemon.running() {
			t.Fatal("tlsink ended")
		}
		_, err := s.tests(ctx)
		return err
	})
}

// kill ends tlsink without a chance to tidy up.
func (s *tlsink) kill(t *testing.T) {
	t.Helper()
	s.daemon.end(t, syscall.SIGKILL)
}

// ca is the root certificate that senders have to trust.
func (s *tlsink) ca() string { return cmp.Or(s.roots, filepath.Join(s.dir, "data", "ca", "root.pem")) }

// checkEnd looks at what tlsink left after it was told to stop.
func (s *tlsink) checkEnd(t *testing.T) {
	t.Helper()
	if s.daemon.running() || !s.daemon.cmd.ProcessState.Success() {
		t.Errorf("tlsink ended with %v, want success", s.daemon.cmd.ProcessState)
	}
	b, err := os.ReadFile(s.daemon.log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if slices.ContainsFunc(s.expected, func(e string) bool { return strings.Contains(line, e) }) {
			continue
		}
		if strings.Contains(line, "level=ERROR") || strings.Contains(line, "DATA RACE") || strings.HasPrefix(line, "panic") {
			t.Errorf("tlsink logged: %s", line)
		}
	}
}

// delegation returns the DS record of the zone.
func (s *tlsink) delegation(t *testing.T) string {
	t.Helper()
	p := dns.NewZoneParser(strings.NewReader(command(t, s.binary, "zone", "--config", s.config)), "", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if ds, ok := rr.(*dns.DS); ok {
			return ds.String()
		}
	}
	t.Fatalf("tlsink zone prints no DS record: %v", p.Err())
	return ""
}

// listed is a test in `tlsink history list --json`.
type listed struct {
	ID, Sender, State, Policy, Report, Link string
	Attempts                                int
}

func (s *tlsink) tests(ctx context.Context) ([]listed, error) {
	out, err := output(ctx, "", s.binary, "history", "list", "--json", "--config", s.config)
	if err != nil {
		return nil, err
	}
	var list []listed
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("tlsink history list: %w\n%s", err, out)
	}
	return list, nil
}

// test returns the last test of a sender, who has one for each mail.
func (s *tlsink) test(ctx context.Context, p *sender) (listed, error) {
	list, err := s.tests(ctx)
	if err != nil {
		return listed{}, err
	}
	list = slices.DeleteFunc(list, func(l listed) bool { return l.Sender != p.address() })
	if len(list) != p.mails {
		return listed{}, fmt.Errorf("%d tests of %s, want %d: %+v", len(list), p.kind, p.mails, list)
	}
	return list[0], nil
}

// verdict is what `tlsink infer --json` says.
type verdict struct {
	Test       string
	Policy     string
	Conclusive bool
	Candidates []string
	Sender     map[string]string
	Findings   []struct{ ID string }
	Hosts      map[string]struct {
		Policy     string
		Candidates []string
	}
}

// export writes the history of a test into a folder and returns its path.
func (s *tlsink) export(ctx context.Context, dir, name, id string) (string, error) {
	out, err := output(ctx, "", s.binary, "history", "export", "--config", s.config, id)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name+".jsonl")
	return path, os.WriteFile(path, []byte(out), 0o644)
}

// infer infers from an exported history.
func (s *tlsink) infer(ctx context.Context, path string) (v verdict, err error) {
	out, err := output(ctx, "", s.binary, "infer", "--json", path)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		return v, fmt.Errorf("tlsink infer: %w\n%s", err, out)
	}
	return v, nil
}

// checkPage reads a result page as the one who follows the link.
func (s *tlsink) checkPage(ctx context.Context, t *testing.T, link, policy string) {
	t.Helper()
	pem, err := os.ReadFile(s.ca())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Errorf("result page: %v", err)
		return
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(page), policy) {
		t.Errorf("result page %s: %s (%v), want 200 and %q in\n%s", link, resp.Status, err, policy, page)
	}
}
