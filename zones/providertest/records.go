package providertest

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/libdns/libdns"
)

// mx: an RRset is replaced as a whole, and preferences are kept, 0 too.
func (b bench) mx(t *testing.T) {
	b.set(t, b.prefs(10, 20, 30, 40)...)
	b.set(t, b.prefs(40, 10, 20, 30)...)
	b.holds(t, b.prefs(40, 10, 20, 30)...)
	b.set(t, b.prefs(0, 65535)...)
	b.holds(t, b.prefs(0, 65535)...)
	b.set(t, b.prefs(10, 10)...)
	b.holds(t, b.prefs(10, 10)...)
	for _, rec := range b.inside(t) {
		if _, ok := rec.(libdns.MX); !ok {
			t.Errorf("%T, want libdns.MX", rec)
		}
	}
	// The generic form is the same record.
	generic := libdns.RR{Name: b.base, TTL: b.ttl, Type: "MX", Data: "7 " + b.host(7)}
	b.set(t, generic)
	b.holds(t, generic)
}

func (b bench) addresses(t *testing.T) {
	addr := func(s string) libdns.Record {
		return libdns.Address{Name: "a." + b.base, TTL: b.ttl, IP: netip.MustParseAddr(s)}
	}
	b.set(t, addr("192.0.2.1"), addr("2001:db8::1"), addr("192.0.2.2"))
	b.set(t, addr("192.0.2.3"))
	b.holds(t, addr("192.0.2.3"), addr("2001:db8::1"))
	for _, rec := range b.inside(t) {
		if _, ok := rec.(libdns.Address); !ok {
			t.Errorf("%T, want libdns.Address", rec)
		}
	}
}

func (b bench) tlsaRecord(data string) libdns.RR {
	return libdns.RR{Name: "_25._tcp." + b.base, TTL: b.ttl, Type: "TLSA", Data: data}
}

// tlsa: every octet of the association data comes back.
func (b bench) tlsa(t *testing.T) {
	one := b.tlsaRecord("3 1 1 " + "00ff0123456789abcdef" + strings.Repeat("a1", 22))
	two := b.tlsaRecord("3 1 2 " + strings.Repeat("f0", 64))
	whole := b.tlsaRecord("2 0 0 " + strings.Repeat("30820122", 150))
	b.set(t, one, two)
	b.holds(t, one, two)
	b.set(t, two, whole)
	b.holds(t, two, whole)
	upper := one
	upper.Data = "3 1 1 " + strings.ToUpper(strings.TrimPrefix(one.Data, "3 1 1 "))
	b.set(t, upper)
	b.holds(t, one)
	for _, rec := range b.inside(t) {
		if rec.RR().Data != one.Data {
			t.Errorf("data %q, want %q", rec.RR().Data, one.Data)
		}
	}
}

// texts: what is in TXT is what was meant, octet by octet.
func (b bench) texts(t *testing.T) {
	texts := []string{
		"v=spf1 -all", "v=STSv1; id=20260101T000000;", `with "quotes" and \ backslash \"`, "  spaces  ",
		strings.Repeat("x", 255), strings.Repeat("long ", 150), "grüße ✓", `\065 is no A`,
	}
	var want []libdns.Record
	for _, text := range texts {
		want = append(want, b.txt("_txt", text))
	}
	b.set(t, want...)
	b.holds(t, want...)
	for _, text := range texts {
		b.set(t, b.txt("_txt", text))
		b.holds(t, b.txt("_txt", text))
	}
}

// many: each RRset of a call is replaced, and no other one.
func (b bench) many(t *testing.T) {
	stays, other := b.txt("a", "stays"), libdns.MX{Name: "a." + b.base, TTL: b.ttl, Preference: 5, Target: b.host(5)}
	b.set(t, append(b.prefs(1, 2, 3), stays, other, b.txt("b", "old"), b.tlsaRecord("3 1 1 "+strings.Repeat("00", 32)))...)
	tlsa := b.tlsaRecord("3 1 1 " + strings.Repeat("11", 32))
	b.set(t, append(b.prefs(20, 10), b.txt("b", "new"), b.txt("b", "newer"), tlsa)...)
	b.holds(t, append(b.prefs(20, 10), stays, other, b.txt("b", "new"), b.txt("b", "newer"), tlsa)...)
	if _, err := b.p.SetRecords(t.Context(), b.zone, nil); err != nil {
		t.Errorf("SetRecords of nothing: %v", err)
	}
}

// appends: as ACME adds challenges.
func (b bench) appends(t *testing.T) {
	for _, text := range []string{"one", "two", "one"} {
		got, err := b.p.AppendRecords(t.Context(), b.zone, []libdns.Record{b.txt("_acme-challenge", text)})
		if err != nil {
			t.Fatalf("AppendRecords: %v", err)
		}
		if len(got) != 1 || got[0].RR() != b.txt("_acme-challenge", text).RR() {
			t.Errorf("returned by AppendRecords: %v", got)
		}
	}
	b.holds(t, b.txt("_acme-challenge", "one"), b.txt("_acme-challenge", "two"))
	if got, err := b.p.AppendRecords(t.Context(), b.zone, nil); err != nil || len(got) != 0 {
		t.Errorf("AppendRecords of nothing: %v, %v", got, err)
	}
	// RFC 2181 §5.2: what joins an RRset gets its TTL.
	shorter := libdns.TXT{Name: "_acme-challenge." + b.base, TTL: b.ttl / 2, Text: "three"}
	got, err := b.p.AppendRecords(t.Context(), b.zone, []libdns.Record{shorter})
	if err != nil || len(got) != 1 || got[0].RR().TTL != b.ttl {
		t.Errorf("with another TTL: %v, %v; want TTL %v", got, err, b.ttl)
	}
	b.holds(t, b.txt("_acme-challenge", "one"), b.txt("_acme-challenge", "two"), b.txt("_acme-challenge", "three"))
}
