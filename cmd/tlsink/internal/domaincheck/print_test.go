package domaincheck

import (
	"encoding/json"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	netinfo "github.com/tlsink/tlsink/inbound/network"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/inbound/records"
	"github.com/tlsink/tlsink/rating"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	flag.Parse()
	os.Exit(m.Run())
}

func secureSet(n int) inbound.RRset { return inbound.RRset{Status: dnssec.Secure, Count: n} }

func insecureSet(n int) inbound.RRset {
	return inbound.RRset{Status: dnssec.Insecure, Count: n, Why: "no DS record for example.org."}
}

// checkServer is one that meets everything.
func checkServer(address string) inbound.Server {
	s := inbound.Server{Address: netip.MustParseAddr(address), DANE: check.Pass(), Network: netinfo.Info{AS: 64496, Name: "EXAMPLE-NET", Country: "DE"}}
	s.Result = probe.Result{
		Reached: check.Pass(), StartTLS: check.Pass(), Mandatory: check.Pass(), ForwardSecrecy: check.Pass(), Connections: 5,
		Versions: []probe.Version{
			{Version: probe.TLS13, Accepted: check.Pass()},
			{Version: probe.TLS12, Accepted: check.Pass()},
			{Version: probe.TLS11, Accepted: check.Fail("refused")},
			{Version: probe.TLS10, Accepted: check.Fail("refused")},
		},
		Certificate: &probe.Certificate{
			Trusted: check.Pass(), Name: check.Pass(), Dates: check.Pass(), Root: "ISRG Root X1",
			NotAfter: time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC),
		},
	}
	return s
}

// checkDomain meets everything.
func checkDomain() inbound.Analysis {
	host := func(name string, preference uint16, addresses ...string) inbound.Host {
		h := inbound.Host{
			Name: name, Preference: preference, A: secureSet(1), AAAA: secureSet(1), TLSA: secureSet(1), TLSAName: name,
			Records: []inbound.TLSARecord{{Usage: 3, Selector: 1, MatchingType: 1, Usable: true}}, DANE: check.Pass(), Listed: check.Pass(),
		}
		for _, a := range addresses {
			h.Servers = append(h.Servers, checkServer(a))
		}
		return h
	}
	return inbound.Analysis{
		Domain: "example.org", Route: inbound.RouteMX, Zone: secureSet(1), MX: secureSet(2), TXT: secureSet(1),
		Hosts:  []inbound.Host{host("mx1.example.org", 10, "192.0.2.1", "2001:db8::1"), host("mx2.example.org", 20, "198.51.100.2")},
		MTASTS: records.MTASTS{Published: check.Pass(), Policy: check.Pass(), HTTPS: check.Pass(), Mode: "enforce"},
		TLSRPT: records.TLSRPT{Published: check.Pass(), Valid: check.Pass(), Reports: []string{"mailto:tls@example.org"}},
		SPF:    records.SPF{Published: check.Pass(), Valid: check.Pass(), Strict: check.Pass(), All: "-all", Lookups: 3},
		DMARC:  records.DMARC{Published: check.Pass(), Valid: check.Pass(), Enforced: check.Pass(), Policy: "reject", From: "example.org"},
	}
}

// oneHost is a domain with one host at one address, changed.
func oneHost(change func(a *inbound.Analysis, h *inbound.Host, s *inbound.Server)) inbound.Analysis {
	a := checkDomain()
	a.Hosts = a.Hosts[:1]
	a.Hosts[0].Servers = a.Hosts[0].Servers[:1]
	change(&a, &a.Hosts[0], &a.Hosts[0].Servers[0])
	return a
}

func checkCases() map[string]inbound.Analysis {
	weak := oneHost(func(a *inbound.Analysis, h *inbound.Host, s *inbound.Server) {
		a.MX, h.A, h.AAAA, h.TLSA, h.Records = insecureSet(1), insecureSet(1), insecureSet(0), insecureSet(0), nil
		h.DANE, h.Listed, s.DANE = check.Fail("not signed"), check.Result{}, check.Result{}
		s.Mandatory, s.Certificate.Trusted, s.Certificate.Name = check.Fail("it took MAIL"), check.Fail("self-signed"), check.Fail("for localhost")
		s.ForwardSecrecy = check.Fail("TLS_RSA_WITH_AES_128_CBC_SHA")
		s.Versions[0].Accepted, s.Versions[2].Accepted, s.Versions[3].Accepted = check.Fail("refused"), check.Pass(), check.Pass()
		a.MTASTS = records.MTASTS{Published: check.Fail("there is no record")}
		a.TLSRPT = records.TLSRPT{Published: check.Fail("there is no record")}
		a.SPF.Valid, a.SPF.Lookups, a.SPF.Problems = check.Fail("too many lookups"), 14, []string{"14 terms need a DNS lookup, at most 10 may"}
		a.DMARC = records.DMARC{Published: check.Skip("SERVFAIL")}
	})
	mixed := checkDomain()
	mixed.Hosts[0].Servers[1] = inbound.Server{Address: netip.MustParseAddr("2001:db8::1"), Result: probe.Result{Reached: check.Skip("network is unreachable")}}
	plain := &mixed.Hosts[1].Servers[0]
	plain.Result, plain.DANE = probe.Result{Reached: check.Pass(), StartTLS: check.Fail("EHLO does not offer it")}, check.Fail("no STARTTLS")
	mixed.MTASTS.Mode = "testing"
	return map[string]inbound.Analysis{
		"green": checkDomain(),
		"weak":  weak,
		"mixed": mixed,
		"null":  {Domain: "null.example", Route: inbound.RouteNull, Zone: secureSet(1), MX: secureSet(1), SPF: records.SPF{Published: check.Pass(), Valid: check.Pass(), All: "-all"}},
		"none":  {Domain: "none.example", Route: inbound.RouteNone, Why: "there is no such domain", MX: insecureSet(0)},
		"bogus": {Domain: "bogus.example", Route: inbound.RouteUnknown, Why: "the MX records are bogus", MX: inbound.RRset{Status: dnssec.Bogus, Why: "signature expired"}},
		"silent": oneHost(func(_ *inbound.Analysis, _ *inbound.Host, s *inbound.Server) {
			s.Result, s.DANE = probe.Result{Reached: check.Skip("connection timed out")}, check.Skip("the server could not be reached")
		}),
		"unknown": oneHost(func(a *inbound.Analysis, h *inbound.Host, s *inbound.Server) {
			h.TLSA, h.Records, h.DANE, s.DANE = inbound.RRset{Status: dnssec.Error, Why: "timeout"}, nil, check.Skip("timeout"), check.Skip("timeout")
			s.Mandatory, s.Certificate, s.Versions = check.Skip("it closed the connection"), nil, nil
			a.LeftOut = []string{"4 more MX hosts were not looked at, only 16"}
			a.MTASTS.Policy = check.Skip("connection refused")
		}),
		"open": oneHost(func(a *inbound.Analysis, h *inbound.Host, s *inbound.Server) {
			h.TLSA, h.Records, h.DANE, s.DANE = inbound.RRset{Status: dnssec.Error, Why: "timeout"}, nil, check.Skip("timeout"), check.Skip("timeout")
			s.Mandatory, a.MTASTS = check.Fail("it took MAIL"), records.MTASTS{Published: check.Fail("there is no record")}
		}),
		"implicit": oneHost(func(a *inbound.Analysis, h *inbound.Host, s *inbound.Server) {
			a.Route, a.MX = inbound.RouteImplicit, insecureSet(0)
			h.Name, h.Preference, h.Canonical, h.Listed = "example.org", 0, "host.example.net", check.Fail("the policy lists mx.example.org")
			s.Certificate.Dates = check.Fail("expired on 2026-01-01")
			a.Faults = []inbound.Fault{{ID: inbound.FaultAlias, Subject: "example.org", Text: "the MX is an alias"}}
		}),
	}
}

func TestCheckGolden(t *testing.T) {
	update := flag.Lookup("update").Value.String() == "true"
	for name, a := range checkCases() {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			p := checkPrinter{w: &b}
			if err := p.domain(a, rating.Rate(a, rating.Outbound{})); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".txt")
			if update {
				if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil { //nolint:gosec // no secret
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("%s (-want +got); run with -update if it is meant:\n%s", path, diff)
			}
		})
	}
}

func TestCheckColours(t *testing.T) {
	a := checkCases()["mixed"]
	text := func(colour bool) string {
		var b strings.Builder
		p := checkPrinter{w: &b, colour: colour}
		if err := p.domain(a, rating.Rate(a, rating.Outbound{})); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	coloured, plain := text(true), text(false)
	for _, want := range []string{"\x1b[1mexample.org\x1b[0m\n", "\x1b[31mred\x1b[0m        ", "\x1b[31mnot met\x1b[0m    ", "\x1b[32mmandatory\x1b[0m  ", "\x1b[90mnot tested: network is unreachable\x1b[0m\n"} {
		if !strings.Contains(coloured, want) {
			t.Errorf("no %q in:\n%s", want, coloured)
		}
	}
	if strings.Contains(plain, "\x1b") {
		t.Errorf("escapes without colour:\n%s", plain)
	}
	if stripped := regexp.MustCompile("\x1b\\[[0-9]+m").ReplaceAllString(coloured, ""); stripped != plain {
		t.Errorf("colours change the text (-plain +coloured):\n%s", cmp.Diff(plain, stripped))
	}
}

func TestCheckColoursOnlyForTerminals(t *testing.T) {
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as terminals are
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	cases := []struct {
		name, term, noColor string
		w                   io.Writer
		want                bool
	}{
		{"terminal", "xterm", "", device, true},
		{"terminal, not wanted", "xterm", "1", device, false},
		{"terminal without colours", "dumb", "", device, false},
		{"no terminal", "xterm", "", &strings.Builder{}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("TERM", c.term)
			t.Setenv("NO_COLOR", c.noColor)
			if got := takesColour(c.w); got != c.want {
				t.Errorf("colours: %v, want %v", got, c.want)
			}
		})
	}
}

// Programs read these.
func TestCheckJSONNames(t *testing.T) {
	a := checkCases()["mixed"]
	var b strings.Builder
	if err := printCheckJSON(&b, a, rating.Rate(a, rating.Outbound{})); err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal([]byte(b.String()), &doc); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{
		"domain": "example.org", "analysis.route": "mx", "analysis.mx.status": "secure", "analysis.mta_sts.mode": "testing",
		"analysis.hosts.0.name": "mx1.example.org", "analysis.hosts.0.servers.0.address": "192.0.2.1",
		"analysis.hosts.0.servers.0.starttls.outcome": "yes", "analysis.hosts.1.servers.0.starttls.outcome": "no",
		"analysis.hosts.0.servers.1.reached.outcome": "untested", "analysis.hosts.0.servers.0.dane.outcome": "yes",
		"analysis.hosts.0.servers.0.versions.0.version": "1.3", "analysis.hosts.0.servers.0.certificate.trusted.outcome": "yes",
		"ratings.class": "red", "ratings.standards.0.id": "dane", "ratings.standards.0.met.outcome": "no", "ratings.standards.0.open.0.id": "starttls",
		"ratings.mecsa.0.id": "confidential delivery", "ratings.mecsa.0.half_stars": 0.0, "ratings.mechanisms.0.id": "dane",
		"ratings.left_out.0.subject": "mx1.example.org (2001:db8::1)",
	} {
		at := doc
		for step := range strings.SplitSeq(path, ".") {
			switch x := at.(type) {
			case map[string]any:
				at = x[step]
			case []any:
				at = nil
				if i, err := strconv.Atoi(step); err == nil && i < len(x) {
					at = x[i]
				}
			default:
				at = nil
			}
		}
		if at != want {
			t.Errorf("%s is %v, want %v", path, at, want)
		}
	}
}

// spoil puts s into every text of a value.
func spoil(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			spoil(v.Elem(), s)
		}
	case reflect.Slice:
		for i := range v.Len() {
			spoil(v.Index(i), s)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				spoil(v.Field(i), s)
			}
		}
	case reflect.String:
		// Words of our own have a type, or are versions.
		if v.Type() == reflect.TypeFor[string]() && !strings.HasPrefix(v.String(), "1.") {
			v.SetString(v.String() + s)
		}
	}
}

func TestCheckIsSafeForATerminal(t *testing.T) {
	const evil = "\x1b]0;title\x07\x1b[2J\x9b31m\u009b2J\u202e\u2028\u200d\r\n\t\x00\x7f\U000e0041<end>"
	for name, a := range checkCases() {
		spoil(reflect.ValueOf(&a).Elem(), evil)
		ratings := rating.Rate(a, rating.Outbound{})
		var text, lines strings.Builder
		p := checkPrinter{w: &text}
		if err := p.domain(a, ratings); err != nil {
			t.Fatal(err)
		}
		if err := printCheckJSON(&lines, a, ratings); err != nil {
			t.Fatal(err)
		}
		for form, out := range map[string]string{"text": text.String(), "JSON": lines.String()} {
			if !strings.Contains(out, "end") {
				t.Errorf("%s, %s: the test is without effect", name, form)
			}
			for i, r := range out {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Errorf("%s, %s: %q in %q", name, form, r, out[max(0, i-20):i])
					break
				}
			}
		}
		if n := strings.Count(lines.String(), "\n"); n != 1 {
			t.Errorf("%s: %d lines of JSON", name, n)
		}
		var doc struct{ Domain string }
		if err := json.Unmarshal([]byte(lines.String()), &doc); err != nil || !strings.Contains(doc.Domain, "\u202e\u2028\u200d\r\n\t\x00\x7f\U000e0041<end>") {
			t.Errorf("%s: %v, domain %q", name, err, doc.Domain)
		}
	}
}

func TestCheckProgress(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	steps := func(terminal bool, total int) string {
		var b strings.Builder
		p := &checkProgress{w: &b, terminal: terminal, total: total, now: func() time.Time { return now }}
		for range 4 {
			p.step("a.example: \x1b" + strings.Repeat("servers ", 12))
			now = now.Add(10 * time.Second)
		}
		p.clear()
		p.done("a.example")
		p.clear()
		return b.String()
	}
	long := "a.example: \uFFFD" + strings.Repeat("servers ", 12)
	if diff := cmp.Diff(long+"\n", steps(false, 1)); diff != "" {
		t.Errorf("one domain, no terminal (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("[0/3] "+long+"\n[1/3] a.example: done\n", steps(false, 3)); diff != "" {
		t.Errorf("three domains, no terminal (-want +got):\n%s", diff)
	}
	got := steps(true, 0)
	if n := strings.Count(got, "\r\x1b[2K[0] a.example"); n != 4 || !strings.HasSuffix(got, "…\r\x1b[2K") {
		t.Errorf("terminal: %q", got)
	}
	for drawn := range strings.SplitSeq(got, "\r\x1b[2K") {
		if n := utf8.RuneCountInString(drawn); n > progressWidth {
			t.Errorf("%d columns: %q", n, drawn)
		}
	}
}
