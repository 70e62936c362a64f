//go:build linux

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
)

// differencesFile has the table of differences that are explained.
const differencesFile = "../docs/inbound-crosscheck.md"

// comparison is the analysis beside another tool. What differs is a failure,
// unless the table explains it.
type comparison struct {
	mu       sync.Mutex
	count    map[string]int    // by tool
	reasons  map[string]string // by tool, subject and both answers
	used     map[string]bool
	problems []string
}

func newComparison(t *testing.T) *comparison {
	t.Helper()
	b, err := os.ReadFile(differencesFile)
	if err != nil {
		t.Fatal(err)
	}
	c := &comparison{count: make(map[string]int), reasons: make(map[string]string), used: make(map[string]bool)}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 7 || strings.HasPrefix(strings.TrimSpace(f[1]), "-") || strings.TrimSpace(f[1]) == "tool" {
			continue
		}
		for i := range f {
			f[i] = strings.Trim(f[i], " `")
		}
		c.reasons[strings.Join(f[1:5], "|")] = f[5]
	}
	return c
}

// same compares two answers.
func (c *comparison) same(tool, subject, ours, theirs string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[tool]++
	if ours == theirs {
		return
	}
	key := strings.Join([]string{tool, subject, ours, theirs}, "|")
	if c.reasons[key] == "" {
		c.problems = append(c.problems, fmt.Sprintf("%s about %s: we say %q, it says %q", tool, subject, ours, theirs))
	}
	c.used[key] = true
}

// done fails for what is not explained, and for explanations of nothing.
func (c *comparison) done(t *testing.T) {
	t.Helper()
	slices.Sort(c.problems)
	for _, p := range c.problems {
		t.Error(p)
	}
	for key := range c.reasons {
		if tool, _, _ := strings.Cut(key, "|"); c.count[tool] > 0 && !c.used[key] {
			t.Errorf("%s explains a difference that is none: %s", differencesFile, key)
		}
	}
	t.Logf("compared: %v; %d differences are explained", c.count, len(c.used))
}

// needTools skips t where other tools are missing, or fails it if they are
// required.
func needTools(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if os.Getenv(labVar) == "require" {
			t.Fatalf("TLSINK_LAB=require, but %s is not installed", p)
		}
		t.Skipf("%s is not installed (Debian: apt install testssl.sh gnutls-bin spfquery python3-spf bind9-dnsutils)", p)
	}
}

// tool runs a program and returns all that it prints; its exit status is no news.
func tool(ctx context.Context, program string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader("QUIT\r\n")
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		return err.Error()
	}
	return string(out)
}

func (r *reception) testOtherTools(ctx context.Context, t *testing.T) {
	needTools(t, "openssl", "posttls-finger", "delv", "danetool", "spfquery", "testssl", "/usr/bin/python3")
	dir := t.TempDir()
	roots, anchors := filepath.Join(dir, "roots.pem"), filepath.Join(dir, "anchors")
	ds := strings.Fields(r.parent.root)
	for name, text := range map[string]string{
		roots:                         pemChain(r.pki.root.cert, r.pki.old.cert),
		anchors:                       fmt.Sprintf("trust-anchors { . static-ds %s %s %s %q; };\n", ds[4], ds[5], ds[6], strings.Join(ds[7:], "")),
		filepath.Join(dir, "main.cf"): "compatibility_level = 3.6\nmyhostname = probe.example\nsmtp_dns_support_level = dnssec\ndnssec_probe =\nsmtp_tls_protocols = >=TLSv1\nsmtp_tls_mandatory_protocols = >=TLSv1\ninet_protocols = ipv4\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []struct {
		name    string
		compare func(context.Context, *comparison, *errgroup.Group)
	}{
		{"openssl", r.compareOpenSSL},
		{"posttls-finger", func(ctx context.Context, c *comparison, g *errgroup.Group) { r.comparePosttls(ctx, c, g, dir, roots) }},
		{"danetool", r.compareDanetool},
		{"delv", func(ctx context.Context, c *comparison, g *errgroup.Group) { r.compareDelv(ctx, c, g, anchors) }},
		{"spf", r.compareSPF},
		{"testssl", func(ctx context.Context, c *comparison, g *errgroup.Group) { r.compareTestssl(ctx, c, g, dir, roots) }},
	} {
		t.Run(other.name, func(t *testing.T) {
			c := newComparison(t)
			g, ctx := errgroup.WithContext(ctx)
			g.SetLimit(6) // they wait more than they work
			other.compare(ctx, c, g)
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			c.done(t)
		})
	}
}

// compareOpenSSL completes a handshake with each version, where the prober reads
// the server's first messages.
func (r *reception) compareOpenSSL(ctx context.Context, c *comparison, g *errgroup.Group) {
	try := func(addr string, args ...string) string {
		out := tool(ctx, "openssl", append([]string{"s_client", "-starttls", "smtp", "-connect", addr + ":25", "-brief"}, args...)...)
		return yesNo(strings.Contains(out, "CONNECTION ESTABLISHED"))
	}
	for _, rx := range r.receivers {
		if rx.tls == tlsRefuses {
			continue
		}
		got := r.probes[rx.addr]
		g.Go(func() error {
			c.same("openssl", rx.host+" STARTTLS", string(got.StartTLS.Outcome), yesNo(!strings.Contains(tool(ctx, "openssl", "s_client", "-starttls", "smtp", "-connect", rx.addr+":25"), "Didn't find STARTTLS")))
			if !got.StartTLS.OK() {
				return nil
			}
			for version, flag := range map[string]string{probe.TLS10: "-tls1", probe.TLS11: "-tls1_1", probe.TLS12: "-tls1_2", probe.TLS13: "-tls1_3"} {
				c.same("openssl", rx.host+" TLS "+version, accepted(got, version), try(rx.addr, flag, "-cipher", "ALL:@SECLEVEL=0"))
			}
			without := try(rx.addr, "-no_tls1_3", "-cipher", "kRSA:@SECLEVEL=0")
			c.same("openssl", rx.host+" forward secrecy", string(got.ForwardSecrecy.Outcome), yesNo(without == "no"))
			return nil
		})
	}
}

func yesNo(b bool) string {
	if b {
		return string(check.Yes)
	}
	return string(check.No)
}

// accepted is what a probe says of a version.
func accepted(p probe.Result, version string) string {
	for _, v := range p.Versions {
		if v.Version == version {
			return string(v.Accepted.Outcome)
		}
	}
	return "not tried"
}

// comparePosttls lets Postfix verify certificates, by their CA and by DANE.
func (r *reception) comparePosttls(ctx context.Context, c *comparison, g *errgroup.Group, dir, roots string) {
	finger := func(level, host string, match ...string) string {
		return tool(ctx, "env", append([]string{"MAIL_CONFIG=" + dir, "posttls-finger", "-c", "-l", level, "-F", roots, "-L", "summary", "[" + host + "]"}, match...)...)
	}
	for _, rx := range r.receivers {
		if got := r.probes[rx.addr]; got.StartTLS.OK() {
			g.Go(func() error {
				out := finger("secure", rx.host, rx.host)
				c.same("posttls-finger", rx.host+" certificate", string(got.Certificate.Valid().Outcome), yesNo(strings.Contains(out, "Verified TLS connection established")))
				return nil
			})
		}
	}
	for _, h := range r.hosts() {
		if len(h.Servers) == 0 || !h.Servers[0].Reached.OK() || h.Servers[0].StartTLS.Outcome == check.Untested {
			continue
		}
		ours := string(h.Servers[0].DANE.Outcome)
		g.Go(func() error {
			out := finger("dane-only", h.Name)
			theirs := string(check.No)
			switch {
			case strings.Contains(out, "TLSA lookup error"):
				theirs = string(check.Untested)
			case strings.Contains(out, "no TLSA records found"), strings.Contains(out, "no usable TLSA"), strings.Contains(out, "non DNSSEC"):
				theirs = ""
			case strings.Contains(out, "Verified TLS connection established"):
				theirs = string(check.Yes)
			}
			c.same("posttls-finger", h.Name+" DANE", ours, theirs)
			return nil
		})
	}
}

// hosts are all MX hosts of the analyses, once each.
func (r *reception) hosts() []inbound.Host {
	seen := make(map[string]bool)
	var out []inbound.Host
	for _, a := range r.analyses {
		for _, h := range a.Hosts {
			if !seen[h.Name] {
				seen[h.Name] = true
				out = append(out, h)
			}
		}
	}
	return out
}

// compareDanetool lets GnuTLS match TLSA records, of all usages.
func (r *reception) compareDanetool(ctx context.Context, c *comparison, g *errgroup.Group) {
	for _, h := range r.hosts() {
		if h.TLSA.Count == 0 || len(h.Servers) == 0 || !h.Servers[0].StartTLS.OK() {
			continue
		}
		ours := string(h.Servers[0].DANE.Outcome)
		g.Go(func() error {
			out := tool(ctx, "danetool", "--check", h.Name, "--port", "25", "--starttls-proto", "smtp", "--local-dns", "--insecure")
			c.same("danetool", h.Name, ours, yesNo(strings.Contains(out, "Verification: Certificate matches.")))
			return nil
		})
	}
}
