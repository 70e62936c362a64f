//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/probe"
)

// compareDelv lets BIND validate every RRset.
func (r *reception) compareDelv(ctx context.Context, c *comparison, g *errgroup.Group, anchors string) {
	asked := make(map[string]bool)
	ask := func(name, qtype string, ours inbound.RRset) {
		subject := name + " " + qtype
		if ours.Status == "" || asked[subject] {
			return
		}
		asked[subject] = true
		g.Go(func() error {
			out := tool(ctx, "delv", "-a", anchors, "@"+resolverAddr, "+cdflag", "-t", qtype, "-q", name+".")
			theirs := string(dnssec.Error)
			switch {
			case strings.Contains(out, "fully validated"):
				theirs = string(dnssec.Secure)
			case strings.Contains(out, "unsigned answer"):
				theirs = string(dnssec.Insecure)
			case strings.Contains(out, "broken trust chain"), strings.Contains(out, "no valid"):
				theirs = string(dnssec.Bogus)
			}
			c.same("delv", subject, string(ours.Status), theirs)
			return nil
		})
	}
	for domain, a := range r.analyses {
		if domain == "many.example" {
			continue // delv gets no answer with a thousand records
		}
		ask(domain, "MX", a.MX)
		ask(domain, "TXT", a.TXT)
		for _, h := range a.Hosts {
			ask(h.Name, "A", h.A)
			ask(h.Name, "AAAA", h.AAAA)
			if h.TLSAName != "" {
				ask("_25._tcp."+h.TLSAName, "TLSA", h.TLSA)
			}
		}
	}
}

// pyspf prints the result of a check, and the lookups that it took.
const pyspf = `import spf, sys
q = spf.query(i=sys.argv[1], s="a@" + sys.argv[2], h="probe.example", timeout=5)
print(q.check()[0], q.lookups)
`

// compareSPF evaluates records for an address that none of them names: so all of
// a record is read.
func (r *reception) compareSPF(ctx context.Context, c *comparison, g *errgroup.Group) {
	const stranger = "198.51.100.77"
	for domain, a := range r.analyses {
		without := []string{"nomx.example", "nosuch.example", "dane.example"} // of many that have none
		if !a.SPF.Published.OK() && spfResult(a) == "none" && !slices.Contains(without, domain) {
			continue
		}
		g.Go(func() error {
			ours := spfResult(a)
			python := strings.Fields(tool(ctx, "/usr/bin/python3", "-c", pyspf, stranger, domain))
			if len(python) != 2 {
				return fmt.Errorf("pyspf about %s: %v", domain, python)
			}
			c.same("pyspf", domain+" result", ours, python[0])
			if a.SPF.Published.OK() {
				c.same("pyspf", domain+" lookups", fmt.Sprint(a.SPF.Lookups), python[1])
			}
			if ours == "none" {
				return nil // spfquery tells nothing from what is wrong
			}
			first, _, _ := strings.Cut(tool(ctx, "spfquery", "-ip="+stranger, "-sender=a@"+domain, "-helo=probe.example"), "\n")
			if first == "StartError" { // its word for a record that is wrong
				first = "permerror"
			}
			c.same("spfquery", domain, ours, strings.TrimSpace(first))
			return nil
		})
	}
}

// spfResult is what an analysis says would happen to a stranger's mail.
func spfResult(a inbound.Analysis) string {
	switch {
	case strings.Contains(a.SPF.Published.Why, "SPF records at"), a.SPF.Valid.Failed():
		return "permerror"
	case !a.SPF.Published.OK():
		return "none"
	}
	return map[string]string{"-all": "fail", "~all": "softfail", "?all": "neutral", "+all": "pass", "": "neutral"}[a.SPF.All]
}

// testsslChecks are the checks of testssl.sh, which takes its time, for some
// hosts: each class of TLS and of certificates.
func testsslChecks() map[string][]string {
	const protocols, secrecy, certificate = "-p", "-f", "-S"
	return map[string][]string{
		"modern.postfix.example":   {protocols, secrecy, certificate},
		"nofs.postfix.example":     {protocols, secrecy},
		"dhe.exim.example":         {protocols, secrecy},
		"old.postfix.example":      {protocols},
		"tls10.postfix.example":    {protocols},
		"tls11.postfix.example":    {protocols},
		"tls13.exim.example":       {protocols},
		"strict.smtpd.example":     {protocols},
		"self.postfix.example":     {certificate},
		"expired.postfix.example":  {certificate},
		"name.postfix.example":     {certificate},
		"incomplete.smtpd.example": {certificate},
	}
}

func (r *reception) compareTestssl(ctx context.Context, c *comparison, g *errgroup.Group, dir, roots string) {
	for _, rx := range r.receivers {
		checks := testsslChecks()[rx.host]
		if len(checks) == 0 {
			continue
		}
		got := r.probes[rx.addr]
		g.Go(func() error {
			found, err := testssl(ctx, dir, roots, rx, checks...)
			if err != nil {
				return err
			}
			if slices.Contains(checks, "-p") {
				for version, id := range map[string]string{probe.SSL3: "SSLv3", probe.TLS10: "TLS1", probe.TLS11: "TLS1_1", probe.TLS12: "TLS1_2", probe.TLS13: "TLS1_3"} {
					c.same("testssl", rx.host+" "+id, accepted(got, version), yesNo(strings.HasPrefix(found[id], "offered")))
				}
			}
			if slices.Contains(checks, "-f") {
				c.same("testssl", rx.host+" some forward secrecy", yesNo(someSecrecy(got)), yesNo(found["PFS"] == "offered"))
			}
			if slices.Contains(checks, "-S") {
				cert := got.Certificate
				c.same("testssl", rx.host+" trusted", string(cert.Trusted.Outcome), yesNo(strings.HasPrefix(found["cert_chain_of_trust"], "passed")))
				c.same("testssl", rx.host+" name", string(cert.Name.Outcome), yesNo(strings.HasPrefix(found["cert_trust"], "Ok")))
				c.same("testssl", rx.host+" dates", string(cert.Dates.Outcome), yesNo(found["cert_expirationStatus"] != "expired"))
			}
			return nil
		})
	}
}

// someSecrecy reports whether a suite that was chosen has forward secrecy.
func someSecrecy(p probe.Result) bool {
	return slices.ContainsFunc(p.Versions, func(v probe.Version) bool {
		return v.Accepted.OK() && (v.Version == probe.TLS13 || strings.Contains(v.Suite, "DHE_"))
	})
}

// testssl returns its findings by their names.
func testssl(ctx context.Context, dir, roots string, rx *receiver, checks ...string) (map[string]string, error) {
	file := filepath.Join(dir, rx.host+".json")
	out := tool(ctx, "testssl", append(checks, "-t", "smtp", "--warnings", "off", "--quiet", "--color", "0",
		"--ip", rx.addr, "-n", "none", "--add-ca", roots, "--jsonfile", file, rx.host+":25")...)
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("testssl of %s: %w\n%s", rx.host, err, out)
	}
	var list []struct{ ID, Finding string }
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("testssl of %s: %w\n%s", rx.host, err, out)
	}
	found := make(map[string]string)
	for _, f := range list {
		found[f.ID] = f.Finding
	}
	return found, nil
}
