package inbound_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/inbound/records"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink"
	"github.com/tlsink/tlsink/zones"
)

// director offers STARTTLS and shows each name its certificate.
type director struct{}

func (director) Accepted(evidence.ConnID, netip.AddrPort, netip.AddrPort) (sink.Treatment, error) {
	return sink.Treatment{Phase: evidence.Secure}, nil
}
func (director) Phase(evidence.ConnID) evidence.Phase { return evidence.Secure }
func (director) ClientHello(_ evidence.ConnID, sni string) scenario.Certificate {
	if t, ok := scenario.Find("sink.example", sni); ok && t.Host != "" {
		return scenario.Certificate{Owner: scenario.Owner(t.Host), Kind: scenario.HostKind(t.Host)}
	}
	return scenario.Certificate{Owner: scenario.OwnerDefault, Kind: scenario.SelfSigned}
}

func (director) Message(context.Context, evidence.Connection) sink.Reply {
	return sink.Reply{Code: 451, Enhanced: [3]int{4, 0, 0}, Text: "no mail"}
}
func (director) Closed(evidence.Connection) {}

type quiet struct{}

func (quiet) Inspect(_ context.Context, _ netip.Addr, _ string, _ *evidence.Transaction, m io.Reader) error {
	_, err := io.Copy(io.Discard, m)
	return err
}

func (quiet) Deliver(_ context.Context, _ string, _ []string, m io.Reader) error {
	_, err := io.Copy(io.Discard, m)
	return err
}

// authority is a CA and the certificates of the sink's faces, by owner.
type authority struct {
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	faces map[scenario.Owner]tls.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{faces: map[scenario.Owner]tls.Certificate{}}
	ca := a.issue(t, true, "Test CA")
	a.cert, a.key = ca.Leaf, ca.PrivateKey.(*ecdsa.PrivateKey)
	for _, h := range append(scenario.MXHosts(), scenario.UT) {
		a.faces[scenario.Owner(h)] = a.issue(t, scenario.HostKind(h) == scenario.SelfSigned, scenario.Names("sink.example", 0).Host(h))
	}
	a.faces[scenario.OwnerDefault] = a.issue(t, true, "default.invalid")
	return a
}

func (a *authority) issue(t *testing.T, self bool, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: self, BasicConstraintsValid: true,
	}
	parent, signer := a.cert, a.key
	if self {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) Certificates(id scenario.Certificate) ([]tls.Certificate, error) {
	return []tls.Certificate{a.faces[id.Owner]}, nil
}

func (a *authority) roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// ownZone is the sink's zone with TLSA records that match at mx04 and mx06, and
// a resolver that has to validate it.
func ownZone(t *testing.T, a *authority) *dnssec.Resolver {
	t.Helper()
	names := scenario.Names("sink.example", 0)
	data := func(c tls.Certificate) []zones.TLSARecord {
		sum := sha256.Sum256(c.Leaf.RawSubjectPublicKeyInfo)
		return []zones.TLSARecord{{Usage: 3, Selector: 1, MatchingType: 1, Data: sum[:]}}
	}
	other := data(a.faces[scenario.OwnerDefault])
	z, err := zones.New(zones.Options{
		Zone: "sink.example", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.25")}, PolicyID: "1", Now: func() time.Time { return now },
		TLSA: map[string][]zones.TLSARecord{
			scenario.ServiceHost("sink.example"): other, names.Host(scenario.MX03): other, names.Host(scenario.MX05): other,
			names.Host(scenario.MX04): data(a.faces[scenario.OwnerMX04]), names.Host(scenario.MX06): data(a.faces[scenario.OwnerMX06]),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var anchors []dns.RR
	for _, ds := range z.DS() {
		anchors = append(anchors, ds)
	}
	r, err := dnssec.New(dnssec.Options{
		TrustAnchors: anchors, Servers: []string{"own"}, Now: func() time.Time { return now },
		Exchange: func(ctx context.Context, m *dns.Msg, network, _ string) (*dns.Msg, error) {
			return z.Answer(ctx, m, netip.MustParseAddrPort("192.0.2.1:5353"), network == "udp"), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// serve runs a sink and a policy host, and returns what leads to them.
func serve(t *testing.T, a *authority) inbound.Dial {
	t.Helper()
	var id atomic.Int64
	s, err := sink.New(sink.Options{
		Zone: "sink.example", Slots: 1, Director: director{}, Certificates: a, Inspector: quiet{}, Mailbox: quiet{},
		NewID: func() evidence.ConnID { return evidence.ConnID(strconv.FormatInt(id.Add(1), 10)) },
		Now:   time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "version: STSv1\r\nmode: enforce\r\nmx: mx04.et.sink.example\r\nmx: mx05.et.sink.example\r\nmx: mx06.et.sink.example\r\nmax_age: 86400\r\n")
	}))
	web.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(t, false, "mta-sts.et.sink.example")}, MinVersion: tls.VersionTLS12}
	web.StartTLS()
	t.Cleanup(web.Close)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		to := l.Addr().String()
		if strings.HasSuffix(address, ":443") {
			to = web.Listener.Addr().String()
		}
		return new(net.Dialer).DialContext(ctx, network, to)
	}
}

// All real parts together: our own test domains, looked at as those of others,
// are what the table of virtual servers says.
func TestOwnDomains(t *testing.T) {
	a := newAuthority(t)
	dial, clock := serve(t, a), func() time.Time { return now }
	prober, err := probe.New(probe.Options{Dial: dial, Roots: a.roots(), HELO: "probe.example.net", Now: clock, Pause: -1})
	if err != nil {
		t.Fatal(err)
	}
	everywhere := func(netip.Addr) bool { return true }
	analyzer, err := inbound.New(inbound.Options{
		Resolver: ownZone(t, a), HELO: "probe.example.net", Now: clock, Prober: prober, Allowed: everywhere,
		NewRecords: func(r inbound.Resolver) inbound.Records {
			return records.New(records.Options{Resolver: r, Dial: dial, Allowed: everywhere, Roots: a.roots(), Now: clock})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := analyzer.Analyze(t.Context(), "et.sink.example")
	if err != nil {
		t.Fatal(err)
	}
	if got.Route != inbound.RouteMX || got.MX != (inbound.RRset{Status: dnssec.Secure, Count: 4}) || got.Zone.Status != dnssec.Secure || len(got.LeftOut)+len(got.Faults) > 0 {
		t.Errorf("%+v", got)
	}
	if !got.MTASTS.Enforced() || !got.MTASTS.HTTPS.OK() || !got.TLSRPT.Published.OK() || got.SPF.All != "-all" {
		t.Errorf("MTA-STS %+v, TLS-RPT %+v, SPF %+v", got.MTASTS, got.TLSRPT, got.SPF)
	}
	type row struct{ Trusted, TLSA, Listed check.Outcome }
	table := map[string]row{}
	for _, h := range got.Hosts {
		s := h.Servers[0]
		if !s.Reached.OK() || !s.StartTLS.OK() || !h.DANE.OK() || s.Certificate == nil || !s.Certificate.Name.OK() || s.Chain != nil {
			t.Errorf("%s: %+v", h.Name, s)
			continue
		}
		table[h.Name] = row{s.Certificate.Trusted.Outcome, s.DANE.Outcome, h.Listed.Outcome}
	}
	want := map[string]row{
		"mx03.et.sink.example": {check.No, check.No, check.No},
		"mx04.et.sink.example": {check.No, check.Yes, check.Yes},
		"mx05.et.sink.example": {check.Yes, check.No, check.Yes},
		"mx06.et.sink.example": {check.Yes, check.Yes, check.Yes},
	}
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("servers (-want +got):\n%s", diff)
	}
	if v := got.TLSVersions(); v.HighestAll != probe.TLS13 || v.Tested != 4 {
		t.Errorf("versions %+v", v)
	}

	ut, err := analyzer.Analyze(t.Context(), "ut.sink.example")
	if err != nil {
		t.Fatal(err)
	}
	if len(ut.Hosts) != 1 || ut.MTASTS.Published.OK() || ut.Hosts[0].DANE.Outcome != check.No || ut.Hosts[0].Servers[0].DANE.Outcome != "" {
		t.Errorf("ut: %+v", ut)
	}
}
