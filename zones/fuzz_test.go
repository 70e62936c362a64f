package zones_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

// No message makes Answer panic; whatever it answers can be packed and fits
// the client's buffer, and what it denies is proven.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{zoneName, "et." + zoneName, "_25._tcp.mx04.et." + zoneName, "*.ut." + zoneName, `\000.` + zoneName, "org."} {
		for _, qtype := range []uint16{dns.TypeMX, dns.TypeTLSA, dns.TypeANY, dns.TypeDS, dns.TypeRRSIG} {
			wire, err := new(dns.Msg).SetQuestion(name, qtype).SetEdns0(600, true).Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire, true)
			f.Add(wire[:len(wire)-4], false)
		}
	}
	o := transferOptions()
	o.RateLimit.Off = true
	z := newZone(f, o)
	key := testKey("hmac-sha256")
	for _, m := range []*dns.Msg{
		new(dns.Msg).SetQuestion(zoneName, dns.TypeSOA), axfr(), ixfr(1), new(dns.Msg).SetUpdate(zoneName), new(dns.Msg).SetNotify(zoneName),
		withCookie(new(dns.Msg).SetQuestion("eT."+zoneName, dns.TypeMX), ownCookie),
		withCookie(new(dns.Msg), ownCookie+ownCookie+ownCookie),
	} {
		wire, _ := signed(f, m, key, o.Now())
		f.Add(wire, true)
		f.Add(wire, false)
		f.Add(wireOf(f, m, nil), true)
	}
	f.Fuzz(func(t *testing.T, wire []byte, udp bool) {
		before := slices.Clone(wire)
		out := zones.Respond(t.Context(), z, wire, client(), udp)
		checkRespond(t, wire, out, udp)
		if !slices.Equal(before, wire) {
			t.Error("the query was changed")
		}
		checkAnswer(t, z, wire, udp)
	})
}

// checkRespond checks an answer in wire form, if there is one, against the query.
func checkRespond(t *testing.T, wire, out []byte, udp bool) {
	t.Helper()
	if len(out) > dns.MaxMsgSize || udp && len(out) > 1232 {
		t.Errorf("%d octets", len(out))
	}
	if out == nil {
		return
	}
	m := new(dns.Msg)
	if err := m.Unpack(out); err != nil {
		t.Fatalf("answer can't be read: %v", err)
	}
	if out[0] != wire[0] || out[1] != wire[1] || out[2]&0xf8 != wire[2]&0x78|0x80 {
		t.Errorf("header %x answers %x", out[:4], wire[:4])
	}
	if len(m.Question) == 1 {
		q := new(dns.Msg)
		if q.Unpack(wire) != nil && q.Question == nil || len(q.Question) == 0 || q.Question[0] != m.Question[0] {
			t.Errorf("question %v answers %v", m.Question, q.Question)
		}
	}
	// Only who has the key gets an answer that is signed.
	if tsig := m.IsTsig(); tsig != nil && tsig.MACSize > 0 && tsig.Error == 0 {
		if err := dns.TsigVerify(slices.Clone(wire), secretOf(testKey("hmac-sha256")), "", false); err != nil && !errors.Is(err, dns.ErrTime) {
			t.Errorf("signed, though %v", err)
		}
	}
}

// checkAnswer checks what Answer says to a message, if it is one.
func checkAnswer(t *testing.T, z *zones.Zone, wire []byte, udp bool) {
	t.Helper()
	q := new(dns.Msg)
	if q.Unpack(wire) != nil {
		return
	}
	reply := z.Answer(t.Context(), q, client(), udp)
	if reply == nil {
		if !q.Response {
			t.Error("no answer")
		}
		return
	}
	out, err := reply.Pack()
	if err != nil {
		t.Fatalf("%v\n%v", err, reply)
	}
	limit := dns.MaxMsgSize
	if udp {
		limit = dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			limit = min(max(int(opt.UDPSize()), limit), 1232)
		}
	}
	if len(out) > limit {
		t.Errorf("%d octets, at most %d\n%v", len(out), limit, reply)
	}
	if opt := reply.IsEdns0(); opt != nil && opt.Do() && reply.Authoritative && !reply.Truncated && q.Question[0].Qtype != dns.TypeRRSIG {
		verify(t, z, reply)
	}
}
