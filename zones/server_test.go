package zones_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/zones"
)

// serve serves z on loopback addresses until the test ends, and returns them.
// The function it returns ends it at once.
func serve(t testing.TB, z *zones.Zone, addresses ...string) (served []string, stop func()) {
	t.Helper()
	l, err := zones.Listen(t.Context(), addresses...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := z.Serve(ctx, l); err != nil {
			t.Errorf("serve: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	for _, tcp := range l.TCP {
		served = append(served, tcp.Addr().String())
	}
	return served, stop
}

func TestServe(t *testing.T) {
	z := newZone(t, options())
	addrs, stop := serve(t, z, "127.0.0.1:0", "127.0.0.1:0")
	var answers []*dns.Msg
	for _, addr := range addrs {
		for _, network := range []string{"udp", "tcp"} {
			c := dns.Client{Net: network}
			m, _, err := c.ExchangeContext(t.Context(), new(dns.Msg).SetQuestion("et."+zoneName, dns.TypeMX).SetEdns0(1232, true), addr)
			if err != nil {
				t.Fatal(err)
			}
			answers = append(answers, m)
			if len(m.Answer) != 5 {
				t.Errorf("%s %s: %v", network, addr, m)
			}
		}
	}
	if got := z.Counters(); got.UDP != 2 || got.TCP != 2 {
		t.Errorf("counters %+v", got)
	}
	for _, m := range answers {
		verify(t, z, m)
	}
	stop()
	if conn, err := net.Dial("tcp", addrs[0]); err == nil {
		conn.Close()
		t.Error("the socket is open after the end")
	}
}

// A truncated answer is complete over TCP.
func TestServeTruncation(t *testing.T) {
	z := newZone(t, options())
	addrs, _ := serve(t, z, "127.0.0.1:0")
	q := new(dns.Msg).SetQuestion("s1._domainkey."+zoneName, dns.TypeTXT).SetEdns0(512, true)
	m, _, err := new(dns.Client).ExchangeContext(t.Context(), q, addrs[0])
	if err != nil || !m.Truncated {
		t.Fatalf("%v, %v; want TC", m, err)
	}
	c := dns.Client{Net: "tcp"}
	if m, _, err = c.ExchangeContext(t.Context(), q, addrs[0]); err != nil || m.Truncated || len(m.Answer) != 2 {
		t.Errorf("%v, %v", m, err)
	}
}

// Our own resolver comes back over TCP when an answer is cut short.
func TestResolverFallsBackToTCP(t *testing.T) {
	o := options()
	o.Now = time.Now
	z := newZone(t, o)
	var large []libdns.Record
	for i := range 8 {
		large = append(large, libdns.TXT{Name: "large", Text: strings.Repeat(string(rune('a'+i)), 200)})
	}
	if _, err := z.SetRecords(t.Context(), zoneName, large); err != nil {
		t.Fatal(err)
	}
	addrs, _ := serve(t, z, "127.0.0.1:0")
	resolver, err := dnssec.New(dnssec.Options{TrustAnchors: []dns.RR{z.DS()[0]}, Servers: addrs})
	if err != nil {
		t.Fatal(err)
	}
	a, err := resolver.Lookup(t.Context(), "large."+zoneName, dns.TypeTXT)
	if err != nil || a.Status != dnssec.Secure || len(a.RRs) != 8 {
		t.Errorf("%+v, %v", a, err)
	}
	if c := z.Counters(); c.Truncated != 1 || c.TCP == 0 {
		t.Errorf("counters %+v", c)
	}
}

// Queries that come together are answered one after the other (RFC 7766 §6.2.1.1).
func TestTCPPipelining(t *testing.T) {
	z := newZone(t, options())
	addrs, _ := serve(t, z, "127.0.0.1:0")
	conn, err := net.Dial("tcp", addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var all []byte
	for i := range 20 {
		q := new(dns.Msg).SetQuestion("et."+zoneName, dns.TypeMX)
		q.Id = uint16(i)
		wire := wireOf(t, q, nil)
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(wire))), wire...)
	}
	for part := range slices.Chunk(all, 77) { // in pieces of any size
		if _, err := conn.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	framed := &dns.Conn{Conn: conn}
	for i := range 20 {
		m, err := framed.ReadMsg()
		if err != nil || int(m.Id) != i || len(m.Answer) != 4 {
			t.Fatalf("answer %d: %v, %v", i, m, err)
		}
	}
}

func TestServeJunk(t *testing.T) {
	z := newZone(t, options())
	addrs, _ := serve(t, z, "127.0.0.1:0")
	query, err := new(dns.Msg).SetQuestion(zoneName, dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	cut := query[:len(query)-3]
	update := append([]byte{}, query...)
	update[2] = dns.OpcodeUpdate << 3
	for _, c := range []struct {
		name  string
		wire  []byte
		rcode int
	}{
		{"cut short", cut, dns.RcodeFormatError},
		{"update", update, dns.RcodeNotImplemented},
	} {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(c.name+" "+network, func(t *testing.T) {
				conn, err := net.Dial(network, addrs[0])
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				framed := &dns.Conn{Conn: conn}
				if _, err := framed.Write(c.wire); err != nil {
					t.Fatal(err)
				}
				m, err := framed.ReadMsg()
				if err != nil || m.Rcode != c.rcode || m.Id != binary.BigEndian.Uint16(c.wire) || !m.Response {
					t.Errorf("%v, %v", m, err)
				}
			})
		}
	}
}

func TestTCPLimits(t *testing.T) {
	o := options()
	o.Limits = zones.Limits{TCPPerClient: 2, TCPQueries: 3}
	z := newZone(t, o)
	addrs, _ := serve(t, z, "127.0.0.1:0")
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	query := func(conn net.Conn) error {
		framed := &dns.Conn{Conn: conn}
		if err := framed.WriteMsg(new(dns.Msg).SetQuestion(zoneName, dns.TypeA)); err != nil {
			return err
		}
		_, err := framed.ReadMsg()
		return err
	}
	first, second := dial(), dial()
	for i := range 3 {
		if err := query(first); err != nil {
			t.Fatalf("query %d: %v", i, err)
		}
	}
	if err := query(first); err == nil {
		t.Error("a fourth query was answered on one connection")
	}
	if err := query(second); err != nil {
		t.Fatal(err)
	}
	third := dial()
	if err := query(third); err != nil { // the first has ended
		t.Fatal(err)
	}
	if err := query(dial()); err == nil {
		t.Error("a third connection of one client was served")
	}
}

func TestTCPTotalLimit(t *testing.T) {
	o := options()
	o.Limits.TCPConns = 1
	z := newZone(t, o)
	addrs, _ := serve(t, z, "127.0.0.1:0")
	var conns []*dns.Conn
	for range 2 {
		conn, err := net.Dial("tcp", addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, &dns.Conn{Conn: conn})
	}
	if m, err := conns[1].ReadMsg(); err == nil { // closed at once
		t.Errorf("a second connection was served: %v", m)
	}
	if err := conns[0].WriteMsg(new(dns.Msg).SetQuestion(zoneName, dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	if _, err := conns[0].ReadMsg(); err != nil {
		t.Error(err)
	}
	if n := z.Counters().Dropped; n != 1 {
		t.Errorf("%d dropped, want 1", n)
	}
}

// A flood of connections keeps no secondary out.
func TestTCPLimitSparesSecondaries(t *testing.T) {
	for _, secondary := range []string{"127.0.0.1:53", "127.0.0.2:53"} {
		o := transferOptions(netip.MustParseAddrPort(secondary))
		o.Limits.TCPConns = 1
		o.Transfer.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no NOTIFY") }
		z := newZone(t, o)
		addrs, _ := serve(t, z, "127.0.0.1:0")
		served := 0
		for range 3 {
			conn, err := net.Dial("tcp", addrs[0])
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			framed := &dns.Conn{Conn: conn}
			if framed.WriteMsg(new(dns.Msg).SetQuestion(zoneName, dns.TypeSOA)) != nil {
				continue
			}
			if _, err := framed.ReadMsg(); err == nil {
				served++
			}
		}
		if want := map[bool]int{true: 3, false: 1}[secondary == "127.0.0.1:53"]; served != want {
			t.Errorf("secondary at %s: %d connections from 127.0.0.1 served, want %d", secondary, served, want)
		}
	}
}

func TestIdleTCPConnectionIsClosed(t *testing.T) {
	o := options()
	o.Limits.TCPIdle = 20 * time.Millisecond
	z := newZone(t, o)
	addrs, _ := serve(t, z, "127.0.0.1:0")
	conn, err := net.Dial("tcp", addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Part of a query is not one.
	if _, err := conn.Write([]byte{0, 29, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, conn); n != 0 {
		t.Errorf("%d octets, %v; want the end of the connection", n, err)
	}
}

// Who sends queries and reads no answers is not waited for.
func TestSlowTCPReaderIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, options())
		conn := connect(t, z)
		begin := time.Now()
		if _, err := conn.Write(wireOf(t, new(dns.Msg).SetQuestion("et."+zoneName, dns.TypeMX), nil)); err != nil {
			t.Fatal(err)
		}
		wait(time.Minute)
		if _, err := conn.Read(make([]byte, 4096)); err == nil || time.Since(begin) != time.Minute {
			t.Errorf("read: %v after %v, want the end of the connection", err, time.Since(begin))
		}
	})
}

// connect returns a connection in memory that z serves, in a bubble.
func connect(t *testing.T, z *zones.Zone) *dns.Conn {
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		zones.ServeConn(t.Context(), z, ours, client())
	}()
	t.Cleanup(func() {
		theirs.Close()
		<-done
	})
	return &dns.Conn{Conn: theirs}
}

func TestOversizedTCPMessageEndsTheConnection(t *testing.T) {
	z := newZone(t, options())
	addrs, _ := serve(t, z, "127.0.0.1:0")
	conn, err := net.Dial("tcp", addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, conn); n != 0 || err != nil {
		t.Errorf("%d octets, %v", n, err)
	}
}

func TestQueriesAreMerged(t *testing.T) {
	clk := newClock()
	o := options()
	o.Now = clk.Now
	z := newZone(t, o)
	start := clk.Now()
	from := func(addr, name string, do bool) {
		m := new(dns.Msg).SetQuestion(name+zoneName, dns.TypeTLSA)
		if do {
			m.SetEdns0(1232, true)
		}
		z.Answer(t.Context(), m, netip.MustParseAddrPort(addr), true)
	}
	from("192.0.2.53:1000", "_25._tcp.MX04.et.", false)
	clk.Advance(10 * time.Second)
	from("192.0.2.53:2000", "_25._tcp.mx04.et.", true)
	from("[::ffff:192.0.2.53]:2000", "_25._tcp.mx04.et.", false)
	from("[2001:db8::1]:2000", "_25._tcp.Ut.", true)
	z.Answer(t.Context(), new(dns.Msg).SetQuestion("other.example.", dns.TypeA), client(), true)
	clk.Advance(time.Minute)
	from("192.0.2.53:1000", "_25._tcp.mx04.et.", true)

	tlsa := "_25._tcp.mx04.et." + zoneName
	want := []evidence.Query{
		{Time: start, Client: "192.0.2.53", Name: tlsa, Type: "TLSA", DO: true, Rcode: "NOERROR", Count: 3},
		{Time: start.Add(10 * time.Second), Client: "2001:db8::1", Name: "_25._tcp.ut." + zoneName, Type: "TLSA", DO: true, Rcode: "NXDOMAIN", Count: 1},
		{Time: start.Add(70 * time.Second), Client: "192.0.2.53", Name: tlsa, Type: "TLSA", DO: true, Rcode: "NOERROR", Count: 1},
	}
	if diff := cmp.Diff(want, z.Queries(time.Time{})); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[2:], z.Queries(start.Add(20*time.Second))); diff != "" {
		t.Errorf("later queries (-want +got):\n%s", diff)
	}
}

func TestQueriesAreBounded(t *testing.T) {
	clk := newClock()
	o := options()
	o.Now, o.QueryRing = clk.Now, 80
	z := newZone(t, o)
	ask(t, z, "et."+zoneName, dns.TypeMX, false)
	for i := range 1000 {
		ask(t, z, fmt.Sprintf("r%d.%s", i, zoneName), dns.TypeA, false)
	}
	got := z.Queries(time.Time{})
	if len(got) != 1+10 || got[0].Name != "et."+zoneName || got[10].Name != "r999."+zoneName {
		t.Errorf("%d queries kept: %v", len(got), got)
	}
	// A query that was displaced is a new one.
	ask(t, z, "r0."+zoneName, dns.TypeA, false)
	if got := z.Queries(time.Time{}); len(got) != 11 || !slices.ContainsFunc(got, func(q evidence.Query) bool { return q.Name == "r0."+zoneName && q.Count == 1 }) {
		t.Errorf("r0 is not kept: %v", got)
	}
	for range 500 {
		clk.Advance(time.Minute)
		ask(t, z, "et."+zoneName, dns.TypeMX, false)
	}
	if got := z.Queries(time.Time{}); len(got) != 80+10 {
		t.Errorf("%d queries kept", len(got))
	}
	if got := z.Queries(clk.Now()); len(got) != 1 || !got[0].Time.Equal(clk.Now()) {
		t.Errorf("the last query is %v", got)
	}
}
