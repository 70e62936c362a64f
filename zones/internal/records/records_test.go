package records_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones/internal/records"
)

const zone = "sink.example."

// Every text survives libdns, the wire and the zone file.
func TestTXTRoundTrips(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for name, text := range map[string]string{
		"empty": "", "plain": "v=spf1 -all", "quotes": `a "b" ; c`, "backslash": `a\b\\c\065\`,
		"255 octets": strings.Repeat("x", 255), "256 octets": strings.Repeat("x", 256),
		"escape at the seam": strings.Repeat("x", 254) + `\"` + `\`, "UTF-8": "grüße ✓", "every octet": string(every),
	} {
		rr, err := records.FromLibdns(zone, libdns.TXT{Name: "x", Text: text}, 60)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wire := make([]byte, 4096)
		n, err := dns.PackRR(rr, wire, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		unpacked, _, err := dns.UnpackRR(wire[:n], 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := records.Data(unpacked); got != text {
			t.Errorf("%s: from the wire %q, want %q", name, got, text)
		}
		read, err := dns.NewRR(unpacked.String())
		if err != nil {
			t.Fatal(err)
		}
		if got := records.Data(read); got != text {
			t.Errorf("%s: from the zone file %q, want %q", name, got, text)
		}
		if !records.SameData(rr, unpacked) {
			t.Errorf("%s: not the same data after the wire", name)
		}
	}
}

func TestGroup(t *testing.T) {
	sets, err := records.ParseAll(zone, []libdns.Record{
		libdns.MX{Name: "ET", TTL: time.Minute, Preference: 0, Target: "MX03.et.sink.example."},
		libdns.TXT{Name: "@", Text: "x"},
		libdns.MX{Name: "et", TTL: 30 * time.Second, Preference: 10, Target: "mx04.et.sink.example."},
		libdns.MX{Name: "et", Preference: 10, Target: "mx04.ET.sink.example."},
	}, 45)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, rr := range sets.All() {
		got = append(got, strings.Join(strings.Fields(rr.String()), " "))
	}
	want := []string{
		"et.sink.example. 30 IN MX 0 MX03.et.sink.example.", "et.sink.example. 30 IN MX 10 mx04.et.sink.example.",
		`sink.example. 45 IN TXT "x"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sets (-want +got):\n%s", diff)
	}
}

func TestMatcher(t *testing.T) {
	rr, err := dns.NewRR("_25._tcp.x.sink.example. 60 IN TLSA 3 1 1 ABCDEF")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		rec  libdns.RR
		want bool
	}{
		{"exact", libdns.RR{Name: "_25._tcp.x", Type: "TLSA", TTL: time.Minute, Data: "3 1 1 abcdef"}, true},
		{"any TTL", libdns.RR{Name: "_25._TCP.x", Type: "TLSA", Data: "3 1 1 ABCdef"}, true},
		{"any data", libdns.RR{Name: "_25._tcp.x", Type: "TLSA"}, true},
		{"any type", libdns.RR{Name: "_25._tcp.x"}, true},
		{"any type, data", libdns.RR{Name: "_25._tcp.x", Data: "3 1 1 abcdef"}, true},
		{"other TTL", libdns.RR{Name: "_25._tcp.x", Type: "TLSA", TTL: time.Hour}, false},
		{"other data", libdns.RR{Name: "_25._tcp.x", Type: "TLSA", Data: "3 1 1 00"}, false},
		{"other type", libdns.RR{Name: "_25._tcp.x", Type: "TXT"}, false},
		{"other name", libdns.RR{Name: "x", Type: "TLSA"}, false},
	} {
		match, err := records.Matcher(zone, c.rec)
		if err != nil || match(rr) != c.want {
			t.Errorf("%s: %v, want match %v", c.name, err, c.want)
		}
	}
	for _, bad := range []libdns.Record{nil, libdns.RR{Type: "TXT"}, libdns.RR{Name: "x", Type: "NS"}, libdns.RR{Name: "x", Type: "MX", Data: "x"}} {
		if _, err := records.Matcher(zone, bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}
