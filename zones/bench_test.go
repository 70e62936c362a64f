package zones_test

import (
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

// mix are the queries of a sender that does DANE and MTA-STS.
func mix() []*dns.Msg {
	var out []*dns.Msg
	for _, q := range []struct {
		name  string
		qtype uint16
	}{
		{"et.", dns.TypeMX},
		{"mx04.et.", dns.TypeA},
		{"mx04.et.", dns.TypeAAAA},
		{"_25._tcp.mx04.et.", dns.TypeTLSA},
		{"_mta-sts.et.", dns.TypeTXT},
		{"_25._tcp.ut.", dns.TypeTLSA},
		{"ut.", dns.TypeMX},
		{"_mta-sts.ut.", dns.TypeTXT},
	} {
		out = append(out, new(dns.Msg).SetQuestion(q.name+zoneName, q.qtype).SetEdns0(1232, true))
	}
	return out
}

func BenchmarkAnswer(b *testing.B) {
	z := newZone(b, options())
	queries := mix()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if z.Answer(b.Context(), queries[i%len(queries)], client(), true) == nil {
			b.Fatal("no answer")
		}
	}
}

// BenchmarkWire adds parsing and packing, and shows what the rate limit, cookies
// and TSIG cost.
func BenchmarkWire(b *testing.B) {
	never := zones.RateLimit{Responses: 1e9, All: 1e9} // counts, and never limits
	cookie := withCookie(new(dns.Msg), ownCookie).IsEdns0().Option
	for _, c := range []struct {
		name  string
		limit zones.RateLimit
		edit  func(*dns.Msg)
		key   bool
	}{
		{name: "without rate limit", limit: zones.RateLimit{Off: true}},
		{name: "with rate limit", limit: never},
		{name: "with rate limit and cookie", limit: never, edit: func(m *dns.Msg) { m.IsEdns0().Option = cookie }},
		{name: "over the limit", limit: zones.RateLimit{Responses: 1, All: 1, Slip: 1}},
		{name: "TSIG", key: true},
	} {
		b.Run(c.name, func(b *testing.B) {
			o := transferOptions()
			o.RateLimit = c.limit
			z := newZone(b, o)
			var wires [][]byte
			for _, m := range mix() {
				if c.edit != nil {
					c.edit(m)
				}
				if c.key {
					wire, _ := signed(b, m, testKey("hmac-sha256"), o.Now())
					wires = append(wires, wire)
				} else {
					wires = append(wires, packed(b, []*dns.Msg{m})...)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if zones.Respond(b.Context(), z, wires[i%len(wires)], client(), true) == nil {
					b.Fatal("no answer")
				}
			}
		})
	}
}

// BenchmarkUDP compares the server with a handler of the dns package that
// always gives the same signed MX answer, on the same loopback.
func BenchmarkUDP(b *testing.B) {
	z := newZone(b, options())
	b.Run("zone", func(b *testing.B) {
		addrs, _ := serve(b, z, "127.0.0.1:0")
		load(b, addrs[0], packed(b, mix()))
	})
	b.Run("zone MX", func(b *testing.B) {
		addrs, _ := serve(b, z, "127.0.0.1:0")
		load(b, addrs[0], packed(b, mix()[:1]))
	})
	b.Run("static handler", func(b *testing.B) {
		answer := z.Answer(b.Context(), mix()[0], client(), true)
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		started := make(chan struct{})
		server := &dns.Server{PacketConn: conn, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Answer, m.Extra, m.Compress = answer.Answer, answer.Extra, true
			w.WriteMsg(m) //nolint:errcheck // the client notices
		})}
		go server.ActivateAndServe() //nolint:errcheck // the client notices
		<-started
		defer server.Shutdown() //nolint:errcheck // end of the benchmark
		load(b, conn.LocalAddr().String(), packed(b, mix()[:1]))
	})
}

// BenchmarkSign signs a whole zone, as at start.
func BenchmarkSign(b *testing.B) {
	for _, slots := range []int{1, 9, 64} {
		b.Run(fmt.Sprintf("%d slots", slots), func(b *testing.B) {
			o := options()
			o.Slots = slots
			if slots == 1 {
				o.TLSA = maps.Clone(o.TLSA)
				maps.DeleteFunc(o.TLSA, func(host string, _ []zones.TLSARecord) bool { return strings.Contains(host, "et1.") })
			}
			for b.Loop() {
				newZone(b, o)
			}
		})
	}
}

// BenchmarkRotation replaces the MX RRset of et.
func BenchmarkRotation(b *testing.B) {
	orders := [][]libdns.Record{preferences("mx03", "mx04", "mx05", "mx06"), preferences("mx06", "mx05", "mx04", "mx03")}
	for _, slots := range []int{2, 9, 100} {
		b.Run(fmt.Sprintf("%d slots", slots), func(b *testing.B) {
			o := options()
			o.Slots = slots
			z := newZone(b, o)
			for i := 0; b.Loop(); i++ {
				if _, err := z.SetRecords(b.Context(), zoneName, orders[(i+1)%2]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func packed(b *testing.B, queries []*dns.Msg) [][]byte {
	var out [][]byte
	for _, q := range queries {
		wire, err := q.Pack()
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, wire)
	}
	return out
}

// load sends queries from several clients, each waiting for its answer.
func load(b *testing.B, addr string, wires [][]byte) {
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("udp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		buf := make([]byte, 4096)
		for i := 0; pb.Next(); i++ {
			if _, err := conn.Write(wires[i%len(wires)]); err != nil {
				b.Error(err)
				return
			}
			if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				b.Error(err)
				return
			}
			if _, err := conn.Read(buf); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
}
