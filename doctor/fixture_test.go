package doctor_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/doctor"
	"github.com/tlsink/tlsink/scenario"
)

const (
	zone  = "sink.example"
	token = "abcdefghijklmnopqrstuvwxyz"
)

// deployment is a sink made of fakes, with everything as it has to be. Tests
// break one thing each.
type deployment struct {
	t *testing.T
	o doctor.Options

	mu        sync.Mutex
	records   map[string][]dns.RR // by "name TYPE", as the world sees them
	status    map[string]dnssec.Status
	lost      map[string]error // lookups that fail
	parent    *dns.Msg         // what the parent zone says about ours
	parentSig *dns.RRSIG
	server    func(network, server string, m *dns.Msg) error // of our own answers
	dial      map[string]error                               // host:port that cannot be reached
	offer     map[bool]bool                                  // STARTTLS, by what the probe asks for
	banner    string
	relays    bool
	swap      map[scenario.Certificate]scenario.Certificate // another certificate is shown
	ended     map[scenario.Certificate]bool                 // the handshake is
	policy    string
	status200 int
}

// store makes keys and certificates once.
var store = sync.OnceValues(func() (*certs.Store, *x509.CertPool) {
	dir, err := os.MkdirTemp("", "doctor-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ca, err := certs.OpenLocalCA(certs.LocalCAOptions{Dir: dir, Zone: zone})
	if err != nil {
		panic(err)
	}
	s, err := certs.Open(context.Background(), certs.Options{Zone: zone, Slots: 9, Issuer: ca})
	if err != nil {
		panic(err)
	}
	return s, ca.Pool()
})

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func newDeployment(t *testing.T) *deployment {
	t.Helper()
	certificates, roots := store()
	d := &deployment{
		t: t, records: make(map[string][]dns.RR), status: make(map[string]dnssec.Status), lost: make(map[string]error), dial: make(map[string]error),
		offer: map[bool]bool{true: true, false: false}, banner: "220 mx." + zone + " ESMTP", status200: 200,
		swap: make(map[scenario.Certificate]scenario.Certificate), ended: make(map[scenario.Certificate]bool),
		policy: "version: STSv1\r\nmode: enforce\r\nmx: mx04.et." + zone + "\r\nmx: mx05.et." + zone + "\r\nmx: mx06.et." + zone + "\r\nmax_age: 86400\r\n",
	}
	d.publish(certificates)
	ds := d.rr("sink.example. 3600 IN DS 12345 13 2 " + strings.Repeat("ab", 32)).(*dns.DS)
	d.o = doctor.Options{
		Zone: zone, Addresses: []netip.Addr{addr("192.0.2.25")}, DS: []*dns.DS{ds}, Delegation: "sink.example. 3600 IN NS ns1.sink.example.\n",
		DKIMSelector: "tlsink", DKIM: "v=DKIM1; k=rsa; p=AAAA", CAs: []string{"ca.example"}, World: d, Exchange: d.exchange, Dial: d.connect, Roots: roots,
		Token: token, Timeout: 2 * time.Second, Again: time.Millisecond,
	}
	return d
}

func (d *deployment) rr(s string) dns.RR {
	rr, err := dns.NewRR(s)
	if err != nil {
		d.t.Fatal(err)
	}
	return rr
}

func (d *deployment) set(lines ...string) {
	for _, l := range lines {
		rr := d.rr(l)
		key := strings.TrimSuffix(rr.Header().Name, ".") + " " + dns.TypeToString[rr.Header().Rrtype]
		d.records[key] = append(d.records[key], rr)
	}
}

func (d *deployment) publish(certificates *certs.Store) {
	d.set(
		"example. 60 IN NS ns.example.", "ns.example. 60 IN A 192.0.2.1",
		"sink.example. 60 IN DS 12345 13 2 "+strings.Repeat("ab", 32), "sink.example. 60 IN A 192.0.2.25", "sink.example. 60 IN TXT \"v=spf1 mx -all\"",
		"mx.sink.example. 60 IN A 192.0.2.25", "mx.sink.example. 60 IN TXT \"v=spf1 a -all\"", "_dmarc.sink.example. 60 IN TXT \"v=DMARC1; p=reject\"",
		"tlsink._domainkey.sink.example. 60 IN TXT \"v=DKIM1; k=rsa; \" \"p=AAAA\"", "25.2.0.192.in-addr.arpa. 60 IN PTR mx.sink.example.",
		"example. 60 IN CAA 0 issue \"ca.example\"",
	)
	d.publishSlot(0)
	for host, list := range certificates.TLSA() {
		for _, r := range list {
			d.set("_25._tcp." + host + ". 60 IN TLSA 3 1 1 " + hex.EncodeToString(r.Data))
		}
	}
	d.parent = &dns.Msg{}
	d.parent.Ns = []dns.RR{d.rr("sink.example. 60 IN NS ns1.sink.example.")}
	d.parent.Extra = []dns.RR{d.rr("ns1.sink.example. 60 IN A 192.0.2.25")}
	now := time.Now()
	d.parentSig = &dns.RRSIG{
		Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeRRSIG, Class: dns.ClassINET}, TypeCovered: dns.TypeSOA,
		Inception: uint32(now.Add(-24 * time.Hour).Unix()), Expiration: uint32(now.Add(24 * time.Hour).Unix()), SignerName: "example.",
	}
}

func (d *deployment) publishSlot(slot int) {
	n := scenario.Names(zone, slot)
	d.set(
		n.ET+". 60 IN MX 10 mx03."+n.ET+".", n.UT+". 60 IN MX 10 "+n.UT+".", n.UT+". 60 IN A 192.0.2.25",
		n.STSRecord()+". 60 IN TXT \"v=STSv1; id=1;\"", n.Policy+". 60 IN A 192.0.2.25",
	)
	for _, h := range scenario.MXHosts() {
		d.set(n.Host(h) + ". 60 IN A 192.0.2.25")
	}
}

// Lookup is the world's resolver.
func (d *deployment) Lookup(_ context.Context, name string, qtype uint16) (dnssec.Answer, error) {
	key := strings.TrimSuffix(name, ".") + " " + dns.TypeToString[qtype]
	if err := d.lost[key]; err != nil {
		return dnssec.Answer{Status: dnssec.Error}, err
	}
	a := dnssec.Answer{RRs: d.records[key], Status: dnssec.Secure, CanonicalName: dns.CanonicalName(name)}
	if s := d.status[key]; s != "" {
		a.Status, a.Why = s, "no DS record at example."
	}
	return a, nil
}

// exchange are the name servers: that of the parent, and all others ours.
func (d *deployment) exchange(_ context.Context, q *dns.Msg, network, server string) (*dns.Msg, error) {
	name, m := q.Question[0].Name, new(dns.Msg)
	m.SetReply(q)
	if server == "192.0.2.1:53" {
		if name == "example." {
			m.Answer = []dns.RR{d.parentSig}
			return m, nil
		}
		m.Rcode, m.Answer, m.Ns, m.Extra = d.parent.Rcode, d.parent.Answer, d.parent.Ns, d.parent.Extra
		return m, nil
	}
	m.Authoritative = true
	m.Answer = []dns.RR{d.rr("sink.example. 60 IN SOA ns1.sink.example. hostmaster.sink.example. 7 60 30 86400 60")}
	if d.server != nil {
		if err := d.server(network, server, m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// connect answers on every port of the sink, through a pipe.
func (d *deployment) connect(_ context.Context, _, address string) (net.Conn, error) {
	if err := d.dial[address]; err != nil {
		return nil, err
	}
	// A pipe has no buffer, and both ends may want to write last.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	s, err := l.Accept()
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(address, ":25"):
		go d.smtp(s)
	case strings.HasSuffix(address, ":443"):
		go d.https(s)
	default:
		go s.Close()
	}
	return c, nil
}

func (d *deployment) https(c net.Conn) {
	certificates, _ := store()
	pair, _ := certificates.Certificates(scenario.Certificate{Owner: scenario.OwnerMTASTS, Kind: scenario.CA})
	once := &oneListener{c: make(chan net.Conn, 1), addr: c.LocalAddr()}
	once.c <- tls.Server(c, &tls.Config{Certificates: pair})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(d.status200)
		et := strings.TrimPrefix(r.Host, "mta-sts")
		_, _ = w.Write([]byte(strings.ReplaceAll(d.policy, ".et."+zone, et)))
	}), ErrorLog: log.New(io.Discard, "", 0)}
	d.t.Cleanup(func() { srv.Close() })
	_ = srv.Serve(once)
}

type oneListener struct {
	c    chan net.Conn
	addr net.Addr
}

func (l *oneListener) Accept() (net.Conn, error) {
	if c, ok := <-l.c; ok {
		close(l.c)
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l *oneListener) Close() error   { return nil }
func (l *oneListener) Addr() net.Addr { return l.addr }

func (d *deployment) smtp(c net.Conn) {
	defer c.Close()
	text := textproto.NewConn(c)
	say := func(s string) { _ = text.PrintfLine("%s", s) }
	say(d.banner)
	var p scenario.Probe
	for {
		line, err := text.ReadLine()
		if err != nil {
			return
		}
		switch verb, arg, _ := strings.Cut(line, " "); verb {
		case "EHLO":
			p, _ = scenario.FindProbe(zone, arg)
			say("250-mx." + zone)
			if d.offers(p) {
				say("250-STARTTLS")
			}
			say("250 SIZE 1")
		case "STARTTLS":
			if !d.offers(p) {
				say("454 no")
				continue
			}
			say("220 go")
			secured := tls.Server(c, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return d.certificate(h, p.Kind) }})
			if secured.Handshake() != nil {
				return
			}
			text = textproto.NewConn(secured)
		case "RCPT":
			if d.relays {
				say("250 ok")
				continue
			}
			say("550 no")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (d *deployment) offers(p scenario.Probe) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.offer[p.StartTLS]
}

func (d *deployment) certificate(h *tls.ClientHelloInfo, kind scenario.Kind) (*tls.Certificate, error) {
	id := scenario.Certificate{Owner: scenario.OwnerDefault, Kind: kind}
	if t, ok := scenario.Find(zone, h.ServerName); ok && h.ServerName != "" {
		switch t.Role {
		case scenario.RoleMX:
			id = scenario.Certificate{Slot: t.Slot, Owner: scenario.Owner(t.Host), Kind: scenario.HostKind(t.Host)}
		case scenario.RoleUT:
			id = scenario.Certificate{Slot: t.Slot, Owner: scenario.OwnerUT, Kind: kind}
		case scenario.RoleService:
			id = scenario.Certificate{Owner: scenario.OwnerService, Kind: scenario.CA}
		}
	}
	if d.ended[id] {
		return nil, errors.New("not issued yet")
	}
	if other, ok := d.swap[id]; ok {
		id = other
	}
	certificates, _ := store()
	pairs, err := certificates.Certificates(id)
	if err != nil {
		return nil, err
	}
	nameless := *h
	nameless.ServerName = ""
	i := slices.IndexFunc(pairs, func(c tls.Certificate) bool { return nameless.SupportsCertificate(&c) == nil })
	if i < 0 {
		return nil, errors.New("no certificate of that kind")
	}
	return &pairs[i], nil
}

// run examines the deployment.
func (d *deployment) run(scope doctor.Scope) []doctor.Result {
	d.t.Helper()
	x, err := doctor.New(d.o)
	if err != nil {
		d.t.Fatal(err)
	}
	return x.Run(d.t.Context(), scope, nil)
}
