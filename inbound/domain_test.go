package inbound_test

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/idna"

	"github.com/tlsink/tlsink/inbound"
)

func TestParseDomain(t *testing.T) {
	long := strings.Repeat("a.", 126) + "a" // 253 octets
	for _, c := range []struct{ in, want string }{
		{"example.org", "example.org"},
		{"Example.ORG.", "example.org"},
		{"bücher.example", "xn--bcher-kva.example"},
		{"BÜCHER.example.", "xn--bcher-kva.example"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"faß.example", "xn--fa-hia.example"},
		{"例え。テスト", "xn--r8jz45g.xn--zckzah"},
		{"example。org。", "example.org"},
		{"ｅｘａｍｐｌｅ.org", "example.org"},
		{"my_host.example.org", "my_host.example.org"},
		{"r3---sn.example.org", "r3---sn.example.org"},
		{long, long},
	} {
		if got, err := inbound.ParseDomain(c.in); err != nil || got != c.want {
			t.Errorf("ParseDomain(%q) = %q, %v, want %q", c.in, got, err, c.want)
		}
	}
	for _, c := range []struct{ in, want string }{
		{"", "empty"},
		{".", "empty"},
		{"..", "labels have"},
		{"example.org..", "labels have"},
		{"postmaster@example.org", "behind the @"},
		{"192.0.2.1", "IP address"},
		{"192.0.2.1.", "IP address"},
		{"[192.0.2.1]", "IP address"},
		{"[IPv6:2001:db8::1]", "IP address"},
		{"2001:db8::1", "IP address"},
		{"::1", "IP address"},
		{"１９２.０.２.１", "number"},
		{"127.1", "number"},
		{"0x7f000001", "number"},
		{"a.0x7f", "number"},
		{"localhost", "single label"},
		{"org", "single label"},
		{"a b.example", "labels have"},
		{"a\x00.example", "labels have"},
		{"a\r\nRCPT.example", "labels have"},
		{`a\.b.example`, "labels have"},
		{"-a.example", "labels have"},
		{"a-.example", "labels have"},
		{"a..example", "labels have"},
		{"*.example", "labels have"},
		{strings.Repeat("a", 64) + ".example", "labels have"},
		{long + ".a", "255 octets"},
		{strings.Repeat("a", 5000), "too long"},
		{"xn--a.example", "internationalized"},
		{"a\u202eb.example", "internationalized"},
		{"\xff.example", "internationalized"},
	} {
		got, err := inbound.ParseDomain(c.in)
		if err == nil || !strings.Contains(err.Error(), c.want) || got != "" {
			t.Errorf("ParseDomain(%q) = %q, %v, want an error with %q", c.in, got, err, c.want)
		} else if len(err.Error()) > 500 {
			t.Errorf("error of %d bytes", len(err.Error()))
		}
	}
}

func FuzzParseDomain(f *testing.F) {
	for _, s := range []string{"example.org", "bücher.example.", "例え。テスト", "[::1]", "1.2.3.4", "xn--", "a\x00.b", "faß.de", "x@y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := inbound.ParseDomain(s)
		if err != nil {
			if got != "" {
				t.Errorf("%q with error %v", got, err)
			}
			return
		}
		if strings.Trim(got, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || len(got) > 253 || !strings.Contains(got, ".") {
			t.Errorf("ParseDomain(%q) = %q", s, got)
		}
		if _, err := netip.ParseAddr(got); err == nil {
			t.Errorf("ParseDomain(%q) = %q, an address", s, got)
		}
		if again, err := inbound.ParseDomain(got + "."); err != nil || again != got {
			t.Errorf("ParseDomain(%q) = %q, and of that %q, %v", s, got, again, err)
		}
		if _, err := idna.Display.ToUnicode(got); err != nil && !strings.ContainsAny(got, "_-") {
			t.Errorf("%q can't be shown: %v", got, err)
		}
	})
}

func TestPublic(t *testing.T) {
	for _, c := range []struct {
		addr string
		want bool
	}{
		{"1.1.1.1", true},
		{"8.8.8.8", true},
		{"100.63.255.255", true},
		{"100.128.0.0", true},
		{"172.15.255.255", true},
		{"172.32.0.0", true},
		{"192.169.0.1", true},
		{"223.255.255.255", true},
		{"2606:4700::1111", true},
		{"2a00:1450::1", true},
		{"2001:200::1", true},
		{"2003::1", true},
		{"0.0.0.0", false},
		{"0.1.2.3", false},
		{"10.0.0.1", false},
		{"100.64.0.1", false},
		{"100.127.255.255", false},
		{"127.0.0.1", false},
		{"127.255.255.255", false},
		{"169.254.169.254", false},
		{"172.16.0.1", false},
		{"172.31.255.255", false},
		{"192.0.0.1", false},
		{"192.0.2.1", false},
		{"192.88.99.1", false},
		{"192.168.1.1", false},
		{"198.18.0.1", false},
		{"198.19.255.255", false},
		{"198.51.100.1", false},
		{"203.0.113.1", false},
		{"224.0.0.1", false},
		{"239.255.255.255", false},
		{"240.0.0.1", false},
		{"255.255.255.255", false},
		{"::", false},
		{"::1", false},
		{"::ffff:127.0.0.1", false},
		{"::ffff:1.1.1.1", false},
		{"::1.1.1.1", false},
		{"64:ff9b::a00:1", false},
		{"64:ff9b::101:101", false},
		{"64:ff9b:1::1", false},
		{"100::1", false},
		{"2001::1", false},
		{"2001:0:4136:e378:8000:63bf:3fff:fdd2", false},
		{"2001:2::1", false},
		{"2001:10::1", false},
		{"2001:20::1", false},
		{"2001:db8::1", false},
		{"2002:7f00:1::1", false},
		{"2002:101:101::1", false},
		{"3ffe::1", false},
		{"3fff::1", false},
		{"5f00::1", false},
		{"fc00::1", false},
		{"fd12::1", false},
		{"fe80::1", false},
		{"fe80::1%eth0", false},
		{"2606:4700::1%eth0", false},
		{"fec0::1", false},
		{"ff02::1", false},
	} {
		if got := inbound.Public(netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("Public(%s) = %v", c.addr, got)
		}
	}
	if inbound.Public(netip.Addr{}) {
		t.Error("the zero address is public")
	}
}
