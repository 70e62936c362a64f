package zones_test

import (
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/libdns/libdns"

	"github.com/tlsink/tlsink/zones/internal/realdns"
)

// digCase is a command and what its output must and must not have.
type digCase struct {
	name    string
	program string
	args    string // $ZONE is replaced
	want    []string
	not     []string
}

// digCases are the commands of RFC 8906 §8, those of the EDNS compliance tester
// (genreport), and some more.
func digCases() []digCase {
	const soa = "SOA\tns1.sink.example. hostmaster.sink.example. "
	flags := func(s string) string { return "flags: " + s + ";" }
	return []digCase{
		{"plain", "dig", "+noedns +noad +norec soa $ZONE", []string{"status: NOERROR", flags("qr aa"), soa}, []string{"OPT PSEUDO"}},
		{"unknown type", "dig", "+noedns +noad +norec type1000 $ZONE", []string{"status: NOERROR", flags("qr aa"), "ANSWER: 0, AUTHORITY: 1", soa}, []string{"OPT PSEUDO"}},
		{"CD", "dig", "+noedns +noad +norec +cd soa $ZONE", []string{"status: NOERROR", flags("qr aa"), soa}, []string{"OPT PSEUDO"}},
		{"Z", "dig", "+noedns +noad +norec +zflag soa $ZONE", []string{"status: NOERROR", flags("qr aa"), soa}, []string{"MBZ"}},
		{"RD", "dig", "+noedns +noad +rec soa $ZONE", []string{"status: NOERROR", flags("qr aa rd"), soa}, nil},
		{"AD", "dig", "+noedns +ad +norec soa $ZONE", []string{"status: NOERROR", flags("qr aa"), soa}, nil},
		{"unknown opcode", "dig", "+noedns +noad +opcode=15 +norec +header-only", []string{"status: NOTIMP", "opcode: RESERVED15", flags("qr"), "QUERY: 0, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 0"}, []string{"OPT PSEUDO"}},
		{"TCP", "dig", "+noedns +noad +norec +tcp soa $ZONE", []string{"status: NOERROR", flags("qr aa"), soa}, nil},
		{"EDNS", "dig", "+edns=0 +nocookie +noad +norec soa $ZONE", []string{"status: NOERROR", "EDNS: version: 0, flags:; udp: 1232", soa}, nil},
		{"EDNS 1", "dig", "+edns=1 +noednsneg +nocookie +noad +norec soa $ZONE", []string{"status: BADVERS", "EDNS: version: 0, flags:;"}, []string{"SOA\tns1"}},
		{"unknown option", "dig", "+edns=0 +nocookie +noad +norec +ednsopt=100 soa $ZONE", []string{"status: NOERROR", "EDNS: version: 0", soa}, []string{"OPT=100"}},
		{"EDNS 1, unknown option", "dig", "+edns=1 +noednsneg +nocookie +noad +norec +ednsopt=100 soa $ZONE", []string{"status: BADVERS", "EDNS: version: 0"}, []string{"OPT=100", "SOA\tns1"}},
		{"unknown EDNS flag", "dig", "+edns=0 +nocookie +noad +norec +ednsflags=0x40 soa $ZONE", []string{"status: NOERROR", "EDNS: version: 0, flags:;", soa}, []string{"MBZ"}},
		{"EDNS 1, unknown flag", "dig", "+edns=1 +noednsneg +nocookie +noad +norec +ednsflags=0x40 soa $ZONE", []string{"status: BADVERS", "EDNS: version: 0, flags:;"}, []string{"MBZ", "SOA\tns1"}},
		{"DO", "dig", "+edns=0 +nocookie +noad +norec +dnssec soa $ZONE", []string{"status: NOERROR", "flags: do;", "RRSIG\tSOA"}, nil},
		{"small buffer", "dig", "+edns=0 +nocookie +noad +norec +dnssec +bufsize=512 +ignore dnskey $ZONE", []string{"status: NOERROR", "EDNS: version: 0, flags: do;"}, nil},
		{"too large", "dig", "+edns=0 +nocookie +noad +norec +dnssec +bufsize=512 +ignore txt large.$ZONE", []string{"status: NOERROR", flags("qr aa tc"), "ANSWER: 0, AUTHORITY: 0"}, nil},
		{"too large, TCP", "dig", "+edns=0 +norec +dnssec txt large.$ZONE", []string{"Truncated, retrying in TCP mode", "status: NOERROR", "ANSWER: 9"}, nil},
		{"EDNS, TCP", "dig", "+edns=0 +nocookie +noad +norec +dnssec +tcp dnskey $ZONE", []string{"status: NOERROR", "flags: do;", "RRSIG\tDNSKEY"}, nil},
		{"cookie", "dig", "+cookie=0123456789abcdef +norec soa $ZONE", []string{"status: NOERROR", "COOKIE: 0123456789abcdef01000000", "(good)"}, nil},
		{"NSID, subnet, expire, padding", "dig", "+nsid +subnet=0.0.0.0/0 +expire +padding=64 +norec soa $ZONE", []string{"status: NOERROR", soa}, []string{"NSID"}},
		{"ZONEVERSION", "dig", "+ednsopt=19 +norec soa $ZONE", []string{"status: NOERROR", soa}, nil},
		{"keepalive", "dig", "+keepalive +tcp +norec soa $ZONE", []string{"status: NOERROR", "TCP KEEPALIVE: 10.0 secs"}, nil},
		{"ANY", "dig", "+norec any $ZONE", []string{"status: NOERROR", "ANSWER: 1,"}, nil},
		{"case", "dig", "+norec mx eT.SiNk.ExAmPlE", []string{"\neT.SiNk.ExAmPlE.\t", "ANSWER: 4"}, nil},
		{"transfer", "dig", "axfr $ZONE", []string{"Transfer failed"}, []string{"SOA\t"}},
		{"transfer with key", "dig", "-y $KEY axfr $ZONE", []string{soa, "NSEC\t", "XFR size:", "TSIG"}, []string{"Couldn't verify", "failed"}},
		{"incremental transfer with key", "dig", "-y $KEY ixfr=1 $ZONE", []string{soa, "NSEC\t", "XFR size:"}, []string{"Couldn't verify", "failed"}},
		{"SOA with key", "dig", "-y $KEY soa $ZONE", []string{"status: NOERROR", soa, "NOERROR 0"}, []string{"Couldn't verify"}},
		{"SOA with another key", "dig", "-y hmac-sha256:other:AAECAwQFBgcICQoLDA0ODw== soa $ZONE", []string{"status: NOTAUTH", "BADKEY"}, []string{"SOA\tns1"}},
		{"update", "dig", "+opcode=update soa $ZONE", []string{"status: NOTIMP", "opcode: UPDATE"}, nil},
		{"status", "dig", "+opcode=status soa $ZONE", []string{"status: NOTIMP", "opcode: STATUS"}, nil},

		{"kdig", "kdig", "+norec +dnssec mx et.$ZONE", []string{"status: NOERROR", "RRSIG"}, nil},
		{"kdig, too large, TCP", "kdig", "+norec +dnssec +bufsize=512 txt large.$ZONE", []string{"retrying over TCP", "status: NOERROR", "ANSWER: 9"}, nil},
		{"kdig, cookie", "kdig", "+norec +cookie soa $ZONE", []string{"status: NOERROR", "COOKIE: "}, nil},
		{"kdig, transfer with key", "kdig", "-y $KEY axfr $ZONE", []string{"AXFR for", "NSEC\t"}, []string{"WARNING", ";; ERROR"}},
		{"kdig, several queries of one connection", "kdig", "+tcp +keepopen $ZONE soa et.$ZONE mx ut.$ZONE mx", []string{"SOA", "mx04", "ut.sink.example."}, []string{"WARNING"}},
	}
}

// Real clients find nothing wrong with the server.
func TestDig(t *testing.T) {
	realdns.Need(t, "dig")
	o := transferOptions()
	o.Now, o.RateLimit.Off = time.Now, true
	z := newZone(t, o)
	var large []libdns.Record
	for i := range 8 {
		large = append(large, libdns.TXT{Name: "large", Text: strings.Repeat(string(rune('a'+i)), 200)})
	}
	if _, err := z.SetRecords(t.Context(), zoneName, large); err != nil {
		t.Fatal(err)
	}
	addrs, _ := serve(t, z, "127.0.0.1:0")
	_, port, err := net.SplitHostPort(addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	key := testKey("hmac-sha256")
	for _, c := range digCases() {
		t.Run(c.name, func(t *testing.T) {
			args := strings.NewReplacer("$ZONE", zoneName, "$KEY", key.Algorithm+":"+key.Name+":"+secretOf(key)).Replace(c.args)
			cmd := exec.CommandContext(t.Context(), realdns.Need(t, c.program), append([]string{"@127.0.0.1", "-p", port}, strings.Fields(args)...)...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Logf("%v", err) // a refused transfer, for one
			}
			for _, s := range c.want {
				if !strings.Contains(string(out), s) {
					t.Errorf("%q is missing in the output of %s %s\n%s", s, c.program, args, out)
				}
			}
			for _, s := range c.not {
				if strings.Contains(string(out), s) {
					t.Errorf("%q is in the output of %s %s\n%s", s, c.program, args, out)
				}
			}
		})
	}
}
