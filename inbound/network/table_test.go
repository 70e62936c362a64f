package network

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sample = "1.0.0.0\t1.0.0.255\t13335\tUS\tCLOUDFLARENET\n" +
	"1.0.1.0\t1.0.3.255\t0\tNone\tNot routed\n" +
	"192.0.2.0\t192.0.2.127\t64496\tde\tEXAMPLE-AS Beispiel GmbH\r\n" +
	"198.51.100.7\t198.51.100.7\t64497\tNone\tONE\n" +
	"2001:db8::\t2001:db8:0:ffff:ffff:ffff:ffff:ffff\t64496\tDE\tEXAMPLE-AS Beispiel GmbH\n" +
	"::\t2001:db7:ffff:ffff:ffff:ffff:ffff:ffff\t0\tNone\tNot routed\n"

func TestTable(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := io.WriteString(z, sample); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	example := Info{AS: 64496, Name: "EXAMPLE-AS Beispiel GmbH", Country: "DE"}
	for name, in := range map[string]io.Reader{"plain": strings.NewReader(sample), "gzip": &zipped} {
		table, err := Load(in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if table.Len() != 4 {
			t.Errorf("%s: %d ranges, want 4", name, table.Len())
		}
		if len(table.infos) != 3 {
			t.Errorf("%s: %d networks kept, want each once: 3", name, len(table.infos))
		}
		for ip, want := range map[string]Info{
			"1.0.0.0":               {AS: 13335, Name: "CLOUDFLARENET", Country: "US"},
			"1.0.0.255":             {AS: 13335, Name: "CLOUDFLARENET", Country: "US"},
			"0.255.255.255":         {},
			"1.0.1.0":               {}, // not routed
			"192.0.2.127":           example,
			"192.0.2.128":           {},
			"::ffff:192.0.2.1":      example,
			"198.51.100.6":          {},
			"198.51.100.7":          {AS: 64497, Name: "ONE"},
			"255.255.255.255":       {},
			"2001:db8::1":           example,
			"2001:db8::1%eth0":      example,
			"2001:db8:0:ffff::ffff": example,
			"2001:db8:1::":          {},
			"::1":                   {},
		} {
			got, err := table.Network(t.Context(), netip.MustParseAddr(ip))
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s: %s", name, ip, diff)
			}
		}
		if got, err := table.Network(t.Context(), netip.Addr{}); got != (Info{}) || err != nil {
			t.Errorf("no address: %v, %v", got, err)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	good := "1.0.0.0\t1.0.0.255\t13335\tUS\tX\n"
	for name, tc := range map[string]struct{ in, want string }{
		"empty":           {"", "no ranges"},
		"nothing routed":  {"1.0.0.0\t1.0.0.255\t0\tNone\tNot routed\n", "no ranges"},
		"spaces":          {"1.0.0.0 1.0.0.255 13335 US X\n", "line 1: 1 fields, want 5 with tabs between them"},
		"comment":         {good + "# x\n", "line 2: 1 fields, want 5 with tabs between them"},
		"first":           {"1.0.0\t1.0.0.255\t1\tUS\tX\n", `line 1: first address "1.0.0": want an IP address`},
		"first with zone": {"fe80::%1\tfe80::1\t1\tUS\tX\n", `line 1: first address "fe80::%1": want an IP address`},
		"last":            {"1.0.0.0\t\t1\tUS\tX\n", `line 1: last address "": want an IP address`},
		"order":           {"1.0.0.1\t1.0.0.0\t1\tUS\tX\n", "line 1: range from 1.0.0.1 to 1.0.0.0: want two addresses of one family, the lower first"},
		"families":        {"1.0.0.1\t::ffff\t1\tUS\tX\n", "line 1: range from 1.0.0.1 to ::ffff: want two addresses of one family, the lower first"},
		"AS":              {"1.0.0.0\t1.0.0.1\tAS1\tUS\tX\n", `line 1: AS number "AS1": want a number below 2^32`},
		"AS too large":    {"1.0.0.0\t1.0.0.1\t4294967296\tUS\tX\n", `line 1: AS number "4294967296": want a number below 2^32`},
		"country":         {"1.0.0.0\t1.0.0.1\t1\tUSA\tX\n", `line 1: country code "USA": want two letters, or None`},
		"overlap":         {good + "1.0.0.128\t1.0.1.0\t2\tUS\tY\n", "the range that begins at 1.0.0.128 overlaps with the one before it"},
		"overlap of IPv6": {"::5\t::9\t1\tUS\tX\n::1\t::5\t1\tUS\tX\n", "the range that begins at ::5 overlaps with the one before it"},
		"long line":       {good + strings.Repeat("x", 5000) + "\n", "line 2: longer than 4096 bytes"},
		"broken gzip":     {"\x1f\x8bxxxxxxxxxxxxx", "gzip: invalid header"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(strings.NewReader(tc.in))
			if want := "table of networks: " + tc.want; err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

// endless has an empty line, and another one.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	return copy(p, strings.Repeat("\n", len(p))), nil
}

func TestLoadIsBounded(t *testing.T) {
	if _, err := load(endless{}, 1<<16, 1<<20); err == nil || err.Error() != "more than 65536 bytes" {
		t.Errorf("size: %v", err)
	}
	if _, err := load(endless{}, 1<<20, 1000); err == nil || err.Error() != "more than 1000 lines" {
		t.Errorf("lines: %v", err)
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(z, endless{}, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := load(&bomb, 1<<16, 1<<30); err == nil || err.Error() != "more than 65536 bytes" {
		t.Errorf("compressed: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("1.2.3.4\t1.2.3.4\t1\tUS\t\x1b[2J\xff\n"))
	f.Add([]byte("\x1f\x8b\x08"))
	f.Fuzz(func(t *testing.T, in []byte) {
		table, err := load(bytes.NewReader(in), 1<<16, 1000)
		if err != nil {
			return
		}
		for _, info := range table.infos {
			if info.AS == 0 || len([]rune(info.Name)) > maxName+1 || strings.ContainsAny(info.Name, "\x00\n\r\x1b\x7f") {
				t.Fatalf("unsafe %+v", info)
			}
		}
		for _, s := range table.v6 {
			if got, _ := table.Network(t.Context(), netip.AddrFrom16(s.last).Unmap()); netip.AddrFrom16(s.last).Is4In6() {
				continue // is looked up as IPv4
			} else if got != table.infos[s.info] {
				t.Fatalf("the last address of a range is not found: %+v", s)
			}
		}
	})
}
