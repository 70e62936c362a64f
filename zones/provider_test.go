package zones_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"
	"github.com/miekg/dns"
)

func TestProviderRefuses(t *testing.T) {
	z := newZone(t, options())
	serial := z.Serial()
	for _, c := range []struct {
		name, zone string
		rec        libdns.Record
		want       string
	}{
		{"other zone", "other.example.", libdns.TXT{Name: "x", Text: "x"}, "other.example."},
		{"absolute name elsewhere", zoneName, libdns.TXT{Name: "x.other.example.", Text: "x"}, "not in zone"},
		{"empty name", zoneName, libdns.TXT{Text: "x"}, "empty name"},
		{"wildcard", zoneName, libdns.TXT{Name: "*.et", Text: "x"}, "wildcard"},
		{"odd name", zoneName, libdns.TXT{Name: "a b", Text: "x"}, "label"},
		{"long label", zoneName, libdns.TXT{Name: strings.Repeat("a", 64), Text: "x"}, "63"},
		{"CNAME at the apex", zoneName, libdns.CNAME{Name: "@", Target: "x.example."}, "CNAME"},
		{"NS", zoneName, libdns.NS{Name: "sub", Target: "ns.example."}, "NS"},
		{"DNSKEY", zoneName, libdns.RR{Name: "@", Type: "DNSKEY", Data: "257 3 13 AAAA"}, "DNSKEY"},
		{"unknown type", zoneName, libdns.RR{Name: "x", Type: "NOPE", Data: "x"}, "NOPE"},
		{"MX without host", zoneName, libdns.RR{Name: "x", Type: "MX", Data: "10"}, "MX"},
		{"two lines", zoneName, libdns.RR{Name: "x", Type: "MX", Data: "10 a.\nx 0 IN A 1.2.3.4"}, "one line"},
		{"A with IPv6", zoneName, libdns.RR{Name: "x", Type: "A", Data: "2001:db8::1"}, "A"},
		{"huge", zoneName, libdns.TXT{Name: "x", Text: strings.Repeat("x", 10_000)}, "longer"},
		{"escapes", zoneName, libdns.RR{Name: "x", Type: "MX", Data: `10 a\000.`}, "one line"},
		{"nil", zoneName, nil, "nil"},
		{"TLSA at ut", zoneName, libdns.RR{Name: "_25._tcp.ut", Type: "TLSA", Data: "3 1 1 " + strings.Repeat("00", 32)}, "unprotected"},
		{"MTA-STS at ut of a slot", zoneName, libdns.TXT{Name: "_mta-sts.ut1", Text: "v=STSv1; id=1;"}, "unprotected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for what, call := range map[string]func() error{
				"set":    func() error { _, err := z.SetRecords(t.Context(), c.zone, []libdns.Record{c.rec}); return err },
				"append": func() error { _, err := z.AppendRecords(t.Context(), c.zone, []libdns.Record{c.rec}); return err },
			} {
				if err := call(); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: error %v, want one with %q", what, err, c.want)
				}
			}
		})
	}
	if z.Serial() != serial {
		t.Errorf("serial %d after %d", z.Serial(), serial)
	}
}

func TestProviderLimitsRRsets(t *testing.T) {
	z := newZone(t, options())
	var recs []libdns.Record
	for i := range 65 {
		recs = append(recs, libdns.TXT{Name: "x", Text: fmt.Sprint(i)})
	}
	if _, err := z.SetRecords(t.Context(), zoneName, recs); err == nil {
		t.Error("65 records of one name were taken")
	}
	if _, err := z.SetRecords(t.Context(), zoneName, recs[:64]); err != nil {
		t.Error(err)
	}
	if _, err := z.AppendRecords(t.Context(), zoneName, recs[64:]); err == nil {
		t.Error("a 65th record was appended")
	}
}

func TestProviderTTLs(t *testing.T) {
	z := newZone(t, options())
	ctx := t.Context()
	for _, c := range []struct {
		name     string
		ttl, got time.Duration
	}{
		{"zero means that of the zone", 0, time.Minute},
		{"less", 5 * time.Second, 5 * time.Second},
		{"more is lowered", time.Hour, time.Minute},
		{"less than a second means zero", time.Millisecond, 0},
	} {
		rec := libdns.TXT{Name: "x", TTL: c.ttl, Text: "x"}
		got, err := z.SetRecords(ctx, zoneName, []libdns.Record{rec})
		if err != nil || got[0].RR().TTL != c.got {
			t.Errorf("%s: %v, %v; want TTL %v", c.name, got, err, c.got)
		}
		// What was set can be deleted by what was asked for.
		if gone, err := z.DeleteRecords(ctx, zoneName, []libdns.Record{rec}); err != nil || len(gone) != 1 {
			t.Errorf("%s: deleted %v, %v", c.name, gone, err)
		}
	}
	// RFC 2181 §5.2: one RRset, one TTL.
	got, err := z.SetRecords(ctx, zoneName, []libdns.Record{
		libdns.TXT{Name: "x", TTL: 30 * time.Second, Text: "a"}, libdns.TXT{Name: "x", TTL: 20 * time.Second, Text: "b"},
	})
	if err != nil || got[0].RR().TTL != 20*time.Second || got[1].RR().TTL != 20*time.Second {
		t.Errorf("mixed TTLs: %v, %v", got, err)
	}
	got, err = z.AppendRecords(ctx, zoneName, []libdns.Record{libdns.TXT{Name: "x", TTL: 10 * time.Second, Text: "c"}})
	if err != nil || got[0].RR().TTL != 20*time.Second {
		t.Errorf("appended: %v, %v", got, err)
	}
	if gone, err := z.DeleteRecords(ctx, zoneName, []libdns.Record{libdns.TXT{Name: "x", TTL: 10 * time.Second, Text: "c"}}); err != nil || len(gone) != 0 {
		t.Errorf("deleted by another TTL: %v, %v", gone, err)
	}
}

// A call that changes nothing publishes nothing.
func TestSetWithoutChange(t *testing.T) {
	z := newZone(t, options())
	order := preferences("mx04", "mx03", "mx05", "mx06")
	if _, err := z.SetRecords(t.Context(), zoneName, order); err != nil {
		t.Fatal(err)
	}
	serial := z.Serial()
	order[0], order[3] = order[3], order[0]
	got, err := z.SetRecords(t.Context(), strings.ToUpper(zoneName), order)
	if err != nil || len(got) != 4 || z.Serial() != serial {
		t.Errorf("%v, %v, serial %d after %d", got, err, z.Serial(), serial)
	}
}

func TestGetRecords(t *testing.T) {
	z := newZone(t, options())
	recs, err := z.GetRecords(t.Context(), zoneName)
	if err != nil {
		t.Fatal(err)
	}
	types := make(map[string]int)
	for _, r := range recs {
		types[fmt.Sprintf("%T", r)+" "+r.RR().Type]++
	}
	want := map[string]int{
		"libdns.Address A": 3 + 2*6, "libdns.Address AAAA": 3 + 2, "libdns.MX MX": 1 + 2*5,
		"libdns.TXT TXT": 4 + 2*4, "libdns.RR TLSA": 6,
	}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// Deleting the only records below a name makes that name go away.
func TestDeletedNamesDoNotExist(t *testing.T) {
	z := newZone(t, options())
	rec := libdns.TXT{Name: "_acme-challenge.mx05.et", Text: "token"}
	name := "_acme-challenge.mx05.et." + zoneName
	for _, c := range []struct {
		call  func() ([]libdns.Record, error)
		rcode int
	}{
		{func() ([]libdns.Record, error) {
			return z.AppendRecords(t.Context(), zoneName, []libdns.Record{rec})
		}, 0},
		{func() ([]libdns.Record, error) {
			return z.DeleteRecords(t.Context(), zoneName, []libdns.Record{rec})
		}, dns.RcodeNameError},
	} {
		if got, err := c.call(); err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		m := ask(t, z, name, dns.TypeTXT, true)
		verify(t, z, m)
		if m.Rcode != c.rcode {
			t.Errorf("rcode %s, want %s", dns.RcodeToString[m.Rcode], dns.RcodeToString[c.rcode])
		}
	}
}

// Whatever is taken can be read back and is answered with a valid signature.
func FuzzSetRecords(f *testing.F) {
	f.Add("x", "TXT", "text")
	f.Add("@", "MX", "10 mx.example.")
	f.Add("_25._tcp.x", "TLSA", "3 1 1 00")
	f.Add("x", "AAAA", "::ffff:192.0.2.1")
	f.Add("x", "TXT", `\"\000`)
	z := newZone(f, options())
	f.Fuzz(func(t *testing.T, name, rrtype, data string) {
		in := []libdns.Record{libdns.RR{Name: name, Type: rrtype, Data: data}}
		set, err := z.SetRecords(t.Context(), zoneName, in)
		if err != nil {
			return
		}
		if _, err := z.GetRecords(t.Context(), zoneName); err != nil {
			t.Fatalf("set %q %s %q, then: %v", name, rrtype, data, err)
		}
		if again, err := z.SetRecords(t.Context(), zoneName, set); err != nil || cmp.Diff(lines(set), lines(again)) != "" {
			t.Errorf("set %v, again %v, %v", set, again, err)
		}
		rr := set[0].RR()
		m := exchange(t, z, new(dns.Msg).SetQuestion(libdns.AbsoluteName(rr.Name, zoneName), dns.StringToType[rr.Type]).SetEdns0(1232, true), false)
		if len(m.Answer) != 2 {
			t.Errorf("set %v, answered\n%v", set, m)
		}
		verify(t, z, m)
		if name == "@" || strings.Contains(name, "et") || strings.Contains(name, "ut") {
			return
		}
		if gone, err := z.DeleteRecords(t.Context(), zoneName, set); err != nil || len(gone) != 1 {
			t.Errorf("deleted %v of %v: %v", gone, set, err)
		}
	})
}
