package inbound_test

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/inbound/records"
	"github.com/tlsink/tlsink/tlspolicy"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// world answers lookups from zone file lines. A zone has the status that the
// longest entry of status above a name says, secure by default; an alias chain
// that of its weakest link.
type world struct {
	records map[string][]dns.RR
	status  map[string]dnssec.Status
	delay   time.Duration

	mu    sync.Mutex
	asked map[string]int // "name type"
}

func newWorld(t testing.TB, zone string) *world {
	t.Helper()
	w := &world{records: map[string][]dns.RR{}, status: map[string]dnssec.Status{}, asked: map[string]int{}}
	w.add(t, zone)
	return w
}

func (w *world) add(t testing.TB, zone string) {
	t.Helper()
	p := dns.NewZoneParser(strings.NewReader("$TTL 60\n"+zone), ".", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		rr = overWire(t, rr)
		name := dns.CanonicalName(rr.Header().Name)
		w.records[name] = append(w.records[name], rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
}

// overWire writes names as they come out of a message.
func overWire(t testing.TB, rr dns.RR) dns.RR {
	t.Helper()
	buf := make([]byte, dns.MaxMsgSize)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if rr, _, err = dns.UnpackRR(buf[:n], 0); err != nil {
		t.Fatal(err)
	}
	return rr
}

// statusOf returns the status of the zone of a name. An entry may be for one
// type alone: "name type".
func (w *world) statusOf(name string, qtype uint16) dnssec.Status {
	if s := w.status[name+" "+dns.TypeToString[qtype]]; s != "" {
		return s
	}
	for name != "" {
		if s := w.status[name]; s != "" {
			return s
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return dnssec.Secure
}

func (w *world) exists(name string) bool {
	for n := range w.records {
		if dns.IsSubDomain(name, n) {
			return true
		}
	}
	return false
}

func (w *world) Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error) {
	name = dns.CanonicalName(name)
	w.mu.Lock()
	w.asked[name+" "+dns.TypeToString[qtype]]++
	w.mu.Unlock()
	if w.delay > 0 {
		select {
		case <-time.After(w.delay):
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return dnssec.Answer{Status: dnssec.Error, CanonicalName: name, Why: err.Error()}, err
	}
	a := dnssec.Answer{Status: dnssec.Secure, CanonicalName: name}
	for range 10 {
		switch s := w.statusOf(a.CanonicalName, qtype); s {
		case dnssec.Error:
			return dnssec.Answer{Status: s, CanonicalName: name, Why: "no answer"}, errors.New("no answer")
		case dnssec.Bogus:
			return dnssec.Answer{Status: s, Rcode: dns.RcodeServerFailure, CanonicalName: name, Why: "the signature is wrong"}, nil
		case dnssec.Insecure:
			a.Status, a.Why = s, "zone without DS"
		}
		next := ""
		for _, rr := range w.records[a.CanonicalName] {
			if rr.Header().Rrtype == qtype {
				a.RRs = append(a.RRs, rr)
			} else if c, ok := rr.(*dns.CNAME); ok {
				next = dns.CanonicalName(c.Target)
			}
		}
		if next == "" || len(a.RRs) > 0 {
			if !w.exists(a.CanonicalName) {
				a.Rcode = dns.RcodeNameError
			}
			return a, nil
		}
		a.CanonicalName = next
	}
	return dnssec.Answer{Status: dnssec.Error, CanonicalName: name}, errors.New("alias loop")
}

// lookups returns how many there were, of all types or of one.
func (w *world) lookups(types ...string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for q, count := range w.asked {
		_, t, _ := strings.Cut(q, " ")
		if len(types) == 0 || cmp.Or(types[0], t) == t {
			n += count
		}
	}
	return n
}

// fakeProber shows what it is told for "address host", "address", or "".
type fakeProber struct {
	results map[string]probe.Result
	delay   time.Duration
	hang    bool          // until ctx ends
	hold    chan struct{} // until this is closed, whatever ctx says

	mu       sync.Mutex
	calls    []string // "address host"
	names    [][]string
	busy     map[netip.AddrPort]int
	running  int
	overlaps int // probes at the same address at the same time
	most     int // probes at the same time
}

func (p *fakeProber) Certificate(ctx context.Context, addr netip.AddrPort, host string, names []string) probe.Result {
	r := p.Probe(ctx, addr, host, names, "")
	return probe.Result{Reached: r.Reached, StartTLS: r.StartTLS, Chain: r.Chain, Certificate: r.Certificate, Connections: 1}
}

func (p *fakeProber) Probe(ctx context.Context, addr netip.AddrPort, host string, names []string, _ string) probe.Result {
	p.mu.Lock()
	if p.busy == nil {
		p.busy = map[netip.AddrPort]int{}
	}
	p.calls = append(p.calls, addr.Addr().String()+" "+host)
	p.names = append(p.names, names)
	p.busy[addr]++
	p.running++
	p.most = max(p.most, p.running)
	if p.busy[addr] > 1 {
		p.overlaps++
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.busy[addr]--
		p.running--
	}()
	if p.hold != nil {
		<-p.hold
	}
	if p.hang {
		<-ctx.Done()
		return probe.Result{}
	}
	if p.delay > 0 {
		select {
		case <-time.After(p.delay):
		case <-ctx.Done():
			return probe.Result{Reached: check.Pass(), StartTLS: check.Skip("out of time")}
		}
	}
	for _, key := range []string{addr.Addr().String() + " " + host, addr.Addr().String(), ""} {
		if r, ok := p.results[key]; ok {
			return r
		}
	}
	return probe.Result{Reached: check.Skip("connection refused"), Connections: 1}
}

// fakeRecords publishes an MTA-STS policy, if it is told so.
type fakeRecords struct {
	sts      records.MTASTS
	resolver inbound.Resolver
	greedy   int // lookups of SPF
}

func (r *fakeRecords) SPF(ctx context.Context, domain string) records.SPF {
	for i := range r.greedy {
		if _, err := r.resolver.Lookup(ctx, fmt.Sprintf("spf%d.%s", i, domain), dns.TypeTXT); err != nil {
			return records.SPF{Published: check.Pass(), Valid: check.Skip(err.Error())}
		}
	}
	return records.SPF{Published: check.Fail("there is none"), Lookups: r.greedy}
}

func (*fakeRecords) DMARC(context.Context, string) records.DMARC {
	return records.DMARC{Published: check.Pass(), Valid: check.Pass(), Record: "v=DMARC1; p=none", Policy: "none", Reports: []string{"mailto:a@example.org"}}
}

func (*fakeRecords) TLSRPT(context.Context, string) records.TLSRPT {
	return records.TLSRPT{Published: check.Fail("there is none")}
}
func (r *fakeRecords) MTASTS(context.Context, string) records.MTASTS { return r.sts }

// setup is an analyzer and all that it talks to.
type setup struct {
	*inbound.Analyzer
	world  *world
	prober *fakeProber
	rec    *fakeRecords
}

func analyzer(t testing.TB, zone string, change ...func(*inbound.Options, *setup)) *setup {
	t.Helper()
	s := &setup{world: newWorld(t, zone), prober: &fakeProber{results: map[string]probe.Result{}}, rec: &fakeRecords{sts: records.MTASTS{Published: check.Fail("there is none")}}}
	opts := inbound.Options{
		Resolver: s.world, Prober: s.prober, HELO: "probe.example.net", Now: func() time.Time { return now },
		NewRecords: func(r inbound.Resolver) inbound.Records {
			return &fakeRecords{sts: s.rec.sts, greedy: s.rec.greedy, resolver: r}
		},
	}
	for _, f := range change {
		f(&opts, s)
	}
	a, err := inbound.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Analyzer = a
	return s
}

func (s *setup) analyze(t testing.TB, domain string) inbound.Analysis {
	t.Helper()
	a, err := s.Analyze(t.Context(), domain)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// chain is a certificate for names and the CA that issued it.
type chain struct {
	leaf, ca *x509.Certificate
	key      *ecdsa.PrivateKey
}

func newChain(t testing.TB, names ...string) chain {
	t.Helper()
	make1 := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c, key
	}
	ca, caKey := make1(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	leaf, key := make1(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}, ca, caKey)
	return chain{leaf: leaf, ca: ca, key: key}
}

func (c chain) all() []*x509.Certificate { return []*x509.Certificate{c.leaf, c.ca} }

// spki returns the digest of a "x 1 1" record.
func spki(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// shows is a server that does TLS 1.2 and 1.3 with a chain.
func shows(chain []*x509.Certificate) probe.Result {
	return probe.Result{
		Reached: check.Pass(), Greeting: "mx ESMTP", StartTLS: check.Pass(), Mandatory: check.Fail("it takes mail without"),
		Versions: []probe.Version{
			{Version: probe.TLS13, Accepted: check.Pass(), Suite: "TLS_AES_128_GCM_SHA256"},
			{Version: probe.TLS12, Accepted: check.Pass()},
			{Version: probe.TLS11, Accepted: check.Fail("alert")},
			{Version: probe.TLS10, Accepted: check.Fail("alert")},
		},
		ForwardSecrecy: check.Pass(), Certificate: &probe.Certificate{Trusted: check.Pass(), Subject: "mx", Names: []string{"mx"}},
		Connections: 4, Notes: []string{"odd"}, Chain: chain,
	}
}

func policy(mode string, mx ...string) records.MTASTS {
	return records.MTASTS{Published: check.Pass(), Policy: check.Pass(), HTTPS: check.Pass(), Mode: mode, MaxAge: tlspolicy.MaxAge, MX: mx}
}
