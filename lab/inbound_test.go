//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/rating"
)

// reception is a lab of domains that receive, and the analyzer.
type reception struct {
	pki       *pki
	receivers []*receiver
	domains   []domain
	parent    *parent
	policies  *policyHost
	analyses  map[string]inbound.Analysis // by domain, once they are made
	probes    map[string]probe.Result     // by address, once they are made
}

func newReception(ctx context.Context, t testing.TB) *reception {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	command(t, "ip", "link", "set", "lo", "up")
	p := newPKI(t)
	r := &reception{pki: p, receivers: newReceivers(t, p), domains: inboundDomains()}
	zones := zoneRecords(r.domains)
	zones["example."] += p.hostRecords(r.receivers) + sizedDomains(r.receivers)
	policies := make(map[string]stsPolicy)
	for _, d := range r.domains {
		if d.sts != nil {
			policies[d.name] = *d.sts
		}
	}
	r.parent = startInboundZones(ctx, t, zones)
	// What is sent to deadAddr is lost there; nobody listens at closedAddr.
	r.parent.also(t, closedAddr)
	command(t, "ip", "route", "add", deadAddr, "via", parentAddr)
	startHostileServers(t)
	startInboundResolver(ctx, t, r.parent)
	startReceivers(ctx, t, r.receivers)
	r.policies = startPolicyHost(t, p, policies)
	return r
}

// allowed are the addresses of the lab, none of which is public.
func allowed(a netip.Addr) bool {
	return netip.MustParsePrefix("192.0.2.0/24").Contains(a) || netip.MustParsePrefix("2001:db8::/32").Contains(a)
}

// resolver validates itself, from the lab's trust anchor.
func (r *reception) resolver(t testing.TB) *dnssec.Resolver {
	t.Helper()
	anchor, err := dns.NewRR(r.parent.root)
	if err != nil {
		t.Fatal(err)
	}
	out, err := dnssec.New(dnssec.Options{TrustAnchors: []dns.RR{anchor}, Servers: []string{resolverAddr + ":53"}, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (r *reception) prober(t testing.TB) *probe.Prober {
	t.Helper()
	out, err := probe.New(probe.Options{Roots: r.pki.roots(), HELO: "probe.example", Pause: -1})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// analyzer makes an analyzer; edit changes its options.
func (r *reception) analyzer(t testing.TB, edit ...func(*inbound.Options)) *inbound.Analyzer {
	t.Helper()
	o := inbound.Options{
		Resolver: r.resolver(t), Roots: r.pki.roots(), Allowed: allowed, HELO: "probe.example",
		Prober: r.prober(t), Timeout: time.Minute, ServerTimeout: 15 * time.Second,
	}
	for _, e := range edit {
		e(&o)
	}
	out, err := inbound.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// needReception skips t where there is no lab for receivers.
func needReception(t testing.TB) {
	t.Helper()
	needLab(t)
	if !needServers(t, "Exim and OpenSMTPD") {
		t.Skip("without Exim and OpenSMTPD")
	}
}

func TestInbound(t *testing.T) {
	needReception(t)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	r := newReception(ctx, t)
	t.Run("servers", func(t *testing.T) { r.testServers(ctx, t) })
	r.analyse(ctx, t)
	t.Run("domains", r.testDomains)
	t.Run("trusting resolver", func(t *testing.T) { r.testTrusting(ctx, t) })
	t.Run("studies", r.testStudies)
	t.Run("hostile", r.testHostile)
	t.Run("other tools", func(t *testing.T) { r.testOtherTools(ctx, t) })
}

// testServers compares each receiver with its classes.
func (r *reception) testServers(ctx context.Context, t *testing.T) {
	p := r.prober(t)
	r.probes = make(map[string]probe.Result)
	for _, rx := range r.receivers {
		for _, addr := range []string{rx.addr, rx.addr6} {
			got := p.Probe(ctx, netip.AddrPortFrom(netip.MustParseAddr(addr), 25), rx.host, []string{rx.host}, "both.example")
			r.probes[addr] = got
			if look := look(got); look != rx.want {
				t.Errorf("%s at %s: %s, want %s\n%+v", rx.host, addr, look, rx.want, got)
			}
		}
	}
}

// look is what a server shows, in short.
func look(p probe.Result) string {
	switch {
	case p.Reached.Outcome != check.Yes:
		return "not reached"
	case p.StartTLS.Failed():
		return "no starttls"
	case !p.StartTLS.OK():
		return "starttls not tested"
	}
	out := map[check.Outcome]string{check.Yes: "mandatory", check.No: "optional", check.Untested: "mandatory?"}[p.Mandatory.Outcome] + " tls"
	for _, v := range p.Versions {
		switch v.Accepted.Outcome {
		case check.Yes:
			out += " " + v.Version
		case check.Untested:
			out += " " + v.Version + "?"
		}
	}
	out += map[check.Outcome]string{check.Yes: ", fs", check.No: ", no fs", check.Untested: ", fs?", "": ", fs not asked"}[p.ForwardSecrecy.Outcome]
	c := p.Certificate
	if c == nil {
		return out + ", no certificate"
	}
	if c.Valid().OK() {
		return out + ", valid"
	}
	out += ","
	for _, part := range []struct {
		result check.Result
		bad    string
	}{{c.Trusted, " untrusted"}, {c.Name, " name"}, {c.Dates, " dates"}} {
		switch part.result.Outcome {
		case check.No:
			out += part.bad
		case check.Untested:
			out += part.bad + "?"
		}
	}
	return out
}

// analyse analyses all domains at once, as a service would.
func (r *reception) analyse(ctx context.Context, t testing.TB) {
	t.Helper()
	a := r.analyzer(t, func(o *inbound.Options) { o.MaxRunning = 8 })
	found := make([]inbound.Analysis, len(r.domains))
	var g errgroup.Group
	for i, d := range r.domains {
		g.Go(func() (err error) {
			found[i], err = a.Analyze(ctx, d.name)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	r.analyses = make(map[string]inbound.Analysis)
	for i, d := range r.domains {
		r.analyses[d.name] = found[i]
	}
}

// testDomains compares what was found out about each domain.
func (r *reception) testDomains(t *testing.T) {
	want := expectations(t)
	if len(want) != len(r.domains) {
		t.Errorf("%d domains, but expectations of %d", len(r.domains), len(want))
	}
	for _, d := range r.domains {
		t.Run(d.name, func(t *testing.T) {
			got := r.analyses[d.name]
			if text := describe(got); text != want[d.name] {
				t.Errorf("got:\n%s\nwant:\n%s\n%+v", text, want[d.name], got)
			}
			explained(t, got)
		})
	}
}

// testTrusting asks the validating resolver twice instead of validating: it must
// come to the same for each RRset.
func (r *reception) testTrusting(ctx context.Context, t *testing.T) {
	trusting, err := dnssec.NewTrusting(dnssec.TrustingOptions{Servers: []string{resolverAddr + ":53"}, Pause: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := trusting.Check(ctx); err != nil {
		t.Fatal(err)
	}
	compare := func(name string, qtype uint16, want inbound.RRset) {
		got, err := trusting.Lookup(ctx, name, qtype)
		if got.Status != want.Status || len(got.RRs) != want.Count {
			t.Errorf("%s %s: %s, %d records (%v), want %s, %d", name, dns.TypeToString[qtype], got.Status, len(got.RRs), err, want.Status, want.Count)
		}
	}
	for _, d := range routeDomains() {
		a := r.analyses[d.name]
		if a.MX.Status == dnssec.Error {
			continue // it takes its time to fail again
		}
		compare(d.name, dns.TypeMX, a.MX)
		for _, h := range a.Hosts {
			compare(h.Name, dns.TypeA, h.A)
			if h.TLSAName != "" && h.TLSA.Status != dnssec.Error {
				compare("_25._tcp."+h.TLSAName, dns.TypeTLSA, h.TLSA)
			}
		}
	}
}

// describe is an analysis and its ratings in short: the route; what DNSSEC says
// of zone, MX and TXT; a line for each host with the same of A, AAAA and TLSA, and
// what each of its servers is; records that are there; colour and standards. A
// question mark means not tested.
func describe(a inbound.Analysis) string {
	lines := []string{string(a.Route) + ", " + dnssecOf(a.Zone, a.MX, a.TXT)}
	add := func(format string, args ...any) {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
	for _, h := range a.Hosts {
		text := h.Name
		if h.Canonical != "" {
			text += " = " + h.Canonical
		}
		text += ", " + dnssecOf(h.A, h.AAAA, h.TLSA) + mark(", listed", h.Listed)
		for i, s := range h.Servers {
			text += [2]string{": ", ", "}[min(i, 1)]
			if s.Reached.OK() {
				text += mark("tls", s.StartTLS) + mark(" dane", s.DANE)
			} else {
				text += "unreached"
			}
		}
		add("%s", text)
	}
	there := func(r check.Result) bool { return r.OK() || r.Outcome == check.Untested }
	if m := a.MTASTS; there(m.Published) || m.Policy.Outcome != "" {
		add("%s%s%s %s", mark("mta-sts", m.Published), mark(", policy", m.Policy), mark(", https", m.HTTPS), m.Mode)
	}
	if m := a.TLSRPT; there(m.Published) {
		add("%s%s", mark("tls-rpt", m.Published), mark(", valid", m.Valid))
	}
	if m := a.SPF; there(m.Published) {
		add("%s%s%s %s, %d lookups", mark("spf", m.Published), mark(", valid", m.Valid), mark(", strict", m.Strict), m.All, m.Lookups)
	}
	if m := a.DMARC; there(m.Published) {
		add("%s%s%s %s %s", mark("dmarc", m.Published), mark(", valid", m.Valid), mark(", enforced", m.Enforced), m.Policy, m.From)
	}
	ratings := rating.Rate(a, rating.Outbound{})
	last := string(ratings.Class)
	for _, s := range ratings.Standards {
		if !s.Met.Failed() {
			last += mark(", "+s.ID, s.Met)
		}
	}
	add("%s", last)
	return strings.Join(lines, "\n")
}

// dnssecOf is one word if all are alike.
func dnssecOf(sets ...inbound.RRset) string {
	var out []string
	for _, s := range sets {
		out = append(out, string(s.Status))
	}
	if len(slices.Compact(slices.Clone(out))) == 1 {
		return out[0]
	}
	return strings.Join(out, "/")
}

// mark writes what is tested, and how that went.
func mark(what string, r check.Result) string {
	name := strings.TrimLeft(what, ", ")
	between := strings.TrimSuffix(what, name)
	switch r.Outcome {
	case check.Yes:
		return between + name
	case check.No:
		return between + "no " + name
	case check.Untested:
		return between + name + "?"
	}
	return ""
}

// explained checks that all that fails or could not be tested says why.
func explained(t *testing.T, a inbound.Analysis) {
	t.Helper()
	results := map[string]check.Result{
		"mta-sts": a.MTASTS.Published, "policy": a.MTASTS.Policy, "https": a.MTASTS.HTTPS, "tls-rpt": a.TLSRPT.Published, "tls-rpt valid": a.TLSRPT.Valid,
		"spf": a.SPF.Published, "spf valid": a.SPF.Valid, "spf strict": a.SPF.Strict,
		"dmarc": a.DMARC.Published, "dmarc valid": a.DMARC.Valid, "dmarc enforced": a.DMARC.Enforced,
	}
	for _, h := range a.Hosts {
		results[h.Name+" listed"] = h.Listed
		for _, s := range h.Servers {
			for what, result := range map[string]check.Result{"reached": s.Reached, "starttls": s.StartTLS, "mandatory": s.Mandatory, "fs": s.ForwardSecrecy, "dane": s.DANE, "certificate": s.Certificate.Valid()} {
				results[h.Name+" "+s.Address.String()+" "+what] = result
			}
		}
	}
	for what, result := range results {
		lacking := slices.Contains([]check.Outcome{check.No, check.Untested}, result.Outcome)
		if lacking && (result.Why == "" || strings.ContainsAny(result.Why, "\r\n\x1b")) {
			t.Errorf("%s: %q is no reason for %s", what, result.Why, result.Outcome)
		}
	}
}
