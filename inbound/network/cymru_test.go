package network

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type zone map[string][]string

func (z zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	txts, ok := z[name]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	if len(txts) == 1 && txts[0] == "SERVFAIL" {
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	}
	return txts, nil
}

func TestDNS(t *testing.T) {
	const v6 = "8.8.8.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.8.4.0.6.8.4.1.0.0.2.origin6.asn.cymru.com."
	google := Info{AS: 15169, Name: "GOOGLE", Country: "US"}
	names := zone{"AS15169.asn.cymru.com.": {"15169 | US | arin | 2000-03-30 | GOOGLE, US"}}
	for name, tc := range map[string]struct {
		ip   string
		dns  zone
		want Info
		err  string
	}{
		"IPv4":   {"8.8.8.8", zone{"8.8.8.8.origin.asn.cymru.com.": {"15169 | 8.8.8.0/24 | US | arin | 1992-12-01"}}, google, ""},
		"mapped": {"::ffff:8.8.4.9", zone{"9.4.8.8.origin.asn.cymru.com.": {"15169 | 8.8.4.0/24 | US | arin | 1992-12-01"}}, google, ""},
		"IPv6":   {"2001:4860:4860::8888", zone{v6: {"15169 | 2001:4860::/32 | US | arin | 2005-03-14"}}, google, ""},
		"several origins": {
			"192.0.2.1",
			zone{"1.2.0.192.origin.asn.cymru.com.": {"15169 64496 | 192.0.2.0/24 | DE | ripencc | 1998-09-25"}},
			Info{AS: 15169, Name: "GOOGLE", Country: "DE"},
			"",
		},
		"the smallest network": {
			"192.0.2.1",
			zone{"1.2.0.192.origin.asn.cymru.com.": {"64496 | 192.0.0.0/16 | DE | x | y", "15169 | 192.0.2.0/24 | US | x | y", "64497 | 192.0.2.0/23 | DE | x | y"}},
			google, "",
		},
		"least fields":    {"192.0.2.1", zone{"1.2.0.192.origin.asn.cymru.com.": {"15169|192.0.2.0/24|"}}, google, ""},
		"another network": {"192.0.2.1", zone{"1.2.0.192.origin.asn.cymru.com.": {"15169 | 8.8.8.0/24 | US | arin | x"}}, Info{}, ""},
		"no AS":           {"192.0.2.1", zone{"1.2.0.192.origin.asn.cymru.com.": {"NA | 192.0.2.0/24 | US | arin | x"}}, Info{}, ""},
		"no sense":        {"192.0.2.1", zone{"1.2.0.192.origin.asn.cymru.com.": {"", "|||", "a|b|c", strings.Repeat("1", 2000) + "|192.0.2.0/24|US"}}, Info{}, ""},
		"no name": {
			"192.0.2.1", zone{"1.2.0.192.origin.asn.cymru.com.": {"64496 | 192.0.2.0/24 | usa | x | y"}}, Info{AS: 64496}, "",
		},
		"name of another": {
			"192.0.2.1",
			zone{"1.2.0.192.origin.asn.cymru.com.": {"64496 | 192.0.2.0/24 | | x | y"}, "AS64496.asn.cymru.com.": {"64497 | US | x | y | WRONG", "64496 | DE | x | y | A\x1b | B, DE"}},
			Info{AS: 64496, Name: "A | B", Country: "DE"},
			"",
		},
		"name could not be looked up": {
			"192.0.2.1", zone{"1.2.0.192.origin.asn.cymru.com.": {"64496 | 192.0.2.0/24 | DE | x | y"}, "AS64496.asn.cymru.com.": {"SERVFAIL"}}, Info{AS: 64496, Country: "DE"}, "",
		},
		"not there": {"192.0.2.1", zone{}, Info{}, ""},
		"no answer": {
			"192.0.2.1",
			zone{"1.2.0.192.origin.asn.cymru.com.": {"SERVFAIL"}},
			Info{},
			"network of 192.0.2.1: lookup 1.2.0.192.origin.asn.cymru.com.: server misbehaving",
		},
	} {
		t.Run(name, func(t *testing.T) {
			all := zone{}
			for _, z := range []zone{names, tc.dns} {
				maps.Copy(all, z)
			}
			d, err := NewDNS(DNSOptions{Resolver: all, Origin4: "origin.asn.cymru.com", Origin6: "origin6.asn.cymru.com.", Names: "asn.cymru.com"})
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.Network(t.Context(), netip.MustParseAddr(tc.ip))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
				t.Errorf("error %v, want %q", err, tc.err)
			}
		})
	}
}

func TestDNSWithoutNames(t *testing.T) {
	d, err := NewDNS(DNSOptions{Resolver: zone{"1.2.0.192.o.example.": {"64496 | 192.0.2.0/24 | DE"}}, Origin4: "o.example", Origin6: "o6.example"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.Network(t.Context(), netip.MustParseAddr("192.0.2.1"))
	if want := (Info{AS: 64496, Country: "DE"}); got != want || err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := d.Network(t.Context(), netip.Addr{}); got != (Info{}) || err != nil {
		t.Errorf("no address: %+v, %v", got, err)
	}
}

func TestNewDNSErrors(t *testing.T) {
	for want, opts := range map[string]DNSOptions{
		"network: no resolver": {Origin4: "a.example", Origin6: "b.example"},
		"network: no zone to look up addresses in: give one for IPv4 and one for IPv6, like origin.asn.cymru.com and origin6.asn.cymru.com": {Resolver: zone{}, Origin4: "a.example"},
	} {
		if _, err := NewDNS(opts); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestDNSIsBounded(t *testing.T) {
	txts := make([]string, 100_000)
	for i := range txts {
		txts[i] = "x"
	}
	txts[maxTexts] = "64496 | 192.0.2.0/24 | DE"
	z := zone{"1.2.0.192.o.example.": txts}
	d, err := NewDNS(DNSOptions{Resolver: z, Origin4: "o.example", Origin6: "o6.example"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Network(t.Context(), netip.MustParseAddr("192.0.2.1")); got != (Info{}) || err != nil {
		t.Errorf("got %+v, %v: want nothing beyond the limit", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.opts.Resolver = canceled{}
	if _, err := d.Network(ctx, netip.MustParseAddr("192.0.2.1")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type canceled struct{}

func (canceled) LookupTXT(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func FuzzAnswers(f *testing.F) {
	f.Add("15169 | 8.8.8.0/24 | US | arin | 1992-12-01")
	f.Add("15169 | US | arin | 2000-03-30 | GOOGLE, US")
	f.Add("1 2 |::/0|\x00|")
	f.Fuzz(func(t *testing.T, txt string) {
		for _, info := range []Info{
			origin([]string{txt}, netip.MustParseAddr("8.8.8.8")),
			autonomousSystem([]string{txt, txt}, 15169),
		} {
			if (info.AS == 0) != (info == Info{}) || len(info.Country) != 0 && len(info.Country) != 2 {
				t.Fatalf("%+v", info)
			}
			if strings.ContainsAny(info.Name, "\x00\n\r\x1b\x7f") || len([]rune(info.Name)) > maxName+1 {
				t.Fatalf("unsafe %q", info.Name)
			}
		}
	})
}
