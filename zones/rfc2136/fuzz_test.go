package rfc2136_test

import (
	"encoding/binary"
	"net"
	"testing"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones/rfc2136"
)

// Whatever a server without the key answers is never taken for an answer.
func FuzzReply(f *testing.F) {
	m := new(dns.Msg).SetAxfr(zone)
	m.Response = true
	m.SetTsig(keyName, dns.HmacSHA256, 300, 0)
	wire, _, err := dns.TsigGenerate(m, "d3Jvbmc=", "", false)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire[2:], true)
	f.Add(wire[2:14], true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, reply []byte, sameID bool) {
		dial := pipe(func(c net.Conn) {
			defer c.Close()
			length := make([]byte, 2)
			if _, err := c.Read(length); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(length))
			if _, err := c.Read(query); err != nil {
				return
			}
			id := []byte{0, 0}
			if sameID {
				id = query[:2]
			}
			out := binary.BigEndian.AppendUint16(nil, uint16(min(len(reply), 60_000)+2))
			_, _ = c.Write(append(append(out, id...), reply[:min(len(reply), 60_000)]...))
		})
		p := newProvider(t, "192.0.2.1:53", func(o *rfc2136.Options) { o.Dial = dial })
		if recs, err := p.GetRecords(t.Context(), zone); err == nil {
			t.Errorf("records %v", recs)
		}
		if _, err := p.SetRecords(t.Context(), zone, []libdns.Record{libdns.TXT{Name: "x", Text: "x"}}); err == nil {
			t.Error("an update was taken for done")
		}
	})
}
