package records

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"blitiri.com.ar/go/spf"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound/check"
)

type spfCase struct {
	dns  []string
	want SPF // of example.org
	// library is set where blitiri's result for a client that no term matches
	// is not what Valid says, with the reason.
	library string
}

func no(why string) check.Result       { return check.Fail(why) }
func untested(why string) check.Result { return check.Skip(why) }

// good is a valid and strict record without problems.
func good(record, all string, lookups int) SPF {
	return SPF{Published: check.Pass(), Valid: check.Pass(), Strict: check.Pass(), DNSSEC: dnssec.Insecure, Record: record, All: all, Lookups: lookups}
}

// but changes a result.
func (s SPF) but(change func(*SPF)) SPF { change(&s); return s }

func (c spfCase) run(t *testing.T) {
	t.Helper()
	w := newWorld(t, c.dns...)
	got := New(Options{Resolver: w}).SPF(t.Context(), "example.org")
	if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	result, err := spf.CheckHostWithSender(net.ParseIP("203.0.113.99"), "client.example.net", "user@example.org",
		spf.WithContext(t.Context()), spf.WithResolver(spfResolver{w}))
	want := map[check.Outcome]bool{check.No: true}[got.Valid.Outcome]
	if got.Published.OK() && (result == spf.PermError) != want != (c.library != "") {
		t.Errorf("the library says %s (%v), Valid is %v; known difference: %q", result, err, got.Valid, c.library)
	}
}

func TestSPF(t *testing.T) {
	const all = "v=spf1 -all"
	for name, tc := range map[string]spfCase{
		"nothing but all": {dns: []string{"example.org TXT " + all}, want: good(all, "-all", 0)},
		"secure": {
			dns:  []string{"example.org SECURE TXT " + all, "example.org SECURE TXT something else"},
			want: good(all, "-all", 0).but(func(s *SPF) { s.DNSSEC = dnssec.Secure }),
		},
		"in several strings": {
			dns:  []string{"example.org TXT v=spf1 " + strings.Repeat("ip4:192.0.2.1 ", 30) + "~all"},
			want: good("v=spf1 "+strings.Repeat("ip4:192.0.2.1 ", 30)+"~all", "~all", 0),
		},
		"terms that need DNS": {
			dns: []string{
				"example.org TXT v=spf1 a mx a:b.example ip4:192.0.2.1 include:c.example exists:%{i}.d.example ~all",
				"example.org A 192.0.2.1", "example.org MX 10 mx.example.org.", "b.example AAAA 2001:db8::1", "c.example TXT v=spf1 ip4:192.0.2.2 -all",
			},
			want: good("v=spf1 a mx a:b.example ip4:192.0.2.1 include:c.example exists:%{i}.d.example ~all", "~all", 5),
		},
		"redirect": {
			dns:  []string{"example.org TXT v=spf1 redirect=_spf.%{d}", "_spf.example.org TXT v=spf1 ip4:192.0.2.1 ~all"},
			want: good("v=spf1 redirect=_spf.%{d}", "~all", 1),
		},
		"exactly ten": {
			dns:  append(numbered(10, "i%d.example TXT v=spf1 -all"), "example.org TXT v=spf1 "+strings.Join(numbered(10, "include:i%d.example"), " ")+" -all"),
			want: good("v=spf1 "+strings.Join(numbered(10, "include:i%d.example"), " ")+" -all", "-all", 10),
		},
		"eleven, nested": {
			dns: append(numbered(10, "i%d.example TXT v=spf1 -all"), "example.org TXT v=spf1 include:n.example -all",
				"n.example TXT v=spf1 "+strings.Join(numbered(10, "include:i%d.example"), " ")+" -all"),
			want: good("v=spf1 include:n.example -all", "-all", 11).but(func(s *SPF) {
				s.Valid = no("the record needs 11 DNS lookups, at most 10 are allowed: receivers give up")
				s.Problems = []string{s.Valid.Why}
			}),
		},
		"two voids": {
			dns: []string{"example.org TXT v=spf1 a:x.example mx:y.example -all"},
			want: good("v=spf1 a:x.example mx:y.example -all", "-all", 2).but(func(s *SPF) {
				s.Voids = 2
				s.Problems = []string{`"a:x.example" finds nothing: x.example has no A or AAAA records`, `"mx:y.example" finds nothing: y.example has no MX records`}
			}),
		},
		"three voids": {
			dns: []string{"example.org TXT v=spf1 a:x.example mx:y.example exists:z.example -all"},
			want: good("v=spf1 a:x.example mx:y.example exists:z.example -all", "-all", 3).but(func(s *SPF) {
				s.Voids = 3
				s.Valid = no("3 terms find nothing in DNS, at most 2 are allowed: receivers give up")
				s.Problems = []string{
					`"a:x.example" finds nothing: x.example has no A or AAAA records`, `"mx:y.example" finds nothing: y.example has no MX records`,
					`"exists:z.example" finds nothing: z.example has no A records`, s.Valid.Why,
				}
			}),
		},
		"eleven MX": {
			dns: append(numbered(11, "example.org MX %[1]d mx%[1]d.example."), "example.org TXT v=spf1 mx -all"),
			want: good("v=spf1 mx -all", "-all", 1).but(func(s *SPF) {
				s.Valid = no(`"mx": example.org has 11 MX records, at most 10 are allowed`)
				s.Problems = []string{s.Valid.Why}
			}),
		},
		"ptr": {
			dns: []string{"example.org TXT v=spf1 ptr -all"},
			want: good("v=spf1 ptr -all", "-all", 1).but(func(s *SPF) {
				s.Problems = []string{`"ptr" should not be used: it is slow and unreliable, and receivers may skip it`}
			}),
		},
		"names that are none": {
			dns: []string{"example.org TXT v=spf1 a:a..example.org -all"},
			want: good("v=spf1 a:a..example.org -all", "-all", 1).but(func(s *SPF) {
				s.Problems = []string{`"a:a..example.org" never matches: "a..example.org" is not a domain name`}
			}),
		},
	} {
		t.Run(name, tc.run)
	}
}

func TestSPFNotPublished(t *testing.T) {
	for name, tc := range map[string]spfCase{
		"nothing": {want: SPF{Published: no("no SPF record at example.org"), DNSSEC: dnssec.Secure}},
		"two": {
			dns:  []string{"example.org TXT v=spf1 -all", "example.org TXT V=SPF1 a"},
			want: SPF{Published: no("2 SPF records at example.org: receivers treat that as an error; merge them into one"), DNSSEC: dnssec.Insecure},
		},
		"nearly": {
			dns: []string{"example.org TXT v=spf1; -all", "example.org TXT v=SPF2 -all", `example.org TXT "v=spf1 -all"`, "example.org TXT x"},
			want: SPF{Published: no("no SPF record at example.org"), DNSSEC: dnssec.Insecure, Problems: []string{
				`a TXT record of example.org looks like SPF but does not begin with "v=spf1 ": "v=spf1; -all"`,
				`a TXT record of example.org looks like SPF but does not begin with "v=spf1 ": "v=SPF2 -all"`,
				`a TXT record of example.org looks like SPF but does not begin with "v=spf1 ": "\"v=spf1 -all\""`,
			}},
		},
		"no answer": {
			dns:  []string{"example.org ERROR TXT"},
			want: SPF{Published: untested("the TXT records of example.org could not be looked up: i/o timeout"), DNSSEC: dnssec.Error},
		},
		"bogus": {
			dns:  []string{"example.org BOGUS TXT"},
			want: SPF{Published: no("DNSSEC: the answer for the TXT records of example.org is bogus, so validating resolvers refuse it: because"), DNSSEC: dnssec.Bogus},
		},
	} {
		t.Run(name, tc.run)
	}
}

func TestSPFStrict(t *testing.T) {
	soft := func(record, all, why string, problems ...string) SPF {
		return good(record, all, 0).but(func(s *SPF) { s.Strict, s.Problems = no(why), problems })
	}
	for name, tc := range map[string]spfCase{
		"no end": {
			dns:  []string{"example.org TXT v=spf1 ip4:192.0.2.1"},
			want: soft("v=spf1 ip4:192.0.2.1", "", "the record does not end in -all or ~all: it says nothing about other senders"),
		},
		"?all": {
			dns:  []string{"example.org TXT v=spf1 ?all"},
			want: soft("v=spf1 ?all", "?all", "the record ends in ?all: it does not ask to reject other senders"),
		},
		"+all": {
			dns:  []string{"example.org TXT v=spf1 all"},
			want: soft("v=spf1 all", "+all", `"all" lets nearly everyone send mail as example.org`, `"all" lets nearly everyone send mail as example.org`),
		},
		"everyone before -all": {
			dns: []string{"example.org TXT v=spf1 ip4:0.0.0.0/0 -all"},
			want: soft("v=spf1 ip4:0.0.0.0/0 -all", "-all", `"ip4:0.0.0.0/0" lets nearly everyone send mail as example.org`,
				`"ip4:0.0.0.0/0" lets nearly everyone send mail as example.org`),
		},
		"everyone with IPv6": {
			dns: []string{"example.org TXT v=spf1 ip6:2000::/3 -all"},
			want: soft("v=spf1 ip6:2000::/3 -all", "-all", `"ip6:2000::/3" lets nearly everyone send mail as example.org`,
				`"ip6:2000::/3" lets nearly everyone send mail as example.org`),
		},
		"a net around a host": {
			dns: []string{"example.org TXT v=spf1 a/1 -all", "example.org A 192.0.2.1"},
			want: soft("v=spf1 a/1 -all", "-all", `"a/1" lets nearly everyone send mail as example.org`,
				`"a/1" lets nearly everyone send mail as example.org`).but(func(s *SPF) { s.Lookups = 1 }),
		},
		"exists for everyone": {
			dns: []string{"example.org TXT v=spf1 exists:%{d} -all", "example.org A 192.0.2.1"},
			want: soft("v=spf1 exists:%{d} -all", "-all", `"exists:%{d}" lets nearly everyone send mail as example.org`,
				`"exists:%{d}" lets nearly everyone send mail as example.org`).but(func(s *SPF) { s.Lookups = 1 }),
		},
		"not everyone: it does not pass": {
			dns:  []string{"example.org TXT v=spf1 ?ip4:0.0.0.0/0 -ip6:::/0 -all"},
			want: good("v=spf1 ?ip4:0.0.0.0/0 -ip6:::/0 -all", "-all", 0),
		},
		"included +all": {
			dns: []string{"example.org TXT v=spf1 include:x.example -all", "x.example TXT v=spf1 +all"},
			want: soft("v=spf1 include:x.example -all", "-all", `the record of x.example: "+all" lets nearly everyone send mail as example.org`,
				`the record of x.example: "+all" lets nearly everyone send mail as example.org`).but(func(s *SPF) { s.Lookups = 1 }),
		},
		"excluded +all": {
			dns:  []string{"example.org TXT v=spf1 -include:x.example -all", "x.example TXT v=spf1 +all"},
			want: good("v=spf1 -include:x.example -all", "-all", 1),
		},
		"redirect to ?all": {
			dns:  []string{"example.org TXT v=spf1 redirect=x.example", "x.example TXT v=spf1 ?all"},
			want: soft("v=spf1 redirect=x.example", "?all", "the record ends in ?all: it does not ask to reject other senders").but(func(s *SPF) { s.Lookups = 1 }),
		},
		"the end of an include does not count": {
			dns: []string{"example.org TXT v=spf1 include:x.example", "x.example TXT v=spf1 -all"},
			want: soft("v=spf1 include:x.example", "", "the record does not end in -all or ~all: it says nothing about other senders").but(func(s *SPF) {
				s.Lookups = 1
			}),
		},
		"redirect that depends on the mail": {
			dns: []string{"example.org TXT v=spf1 redirect=%{l}.example.org"},
			want: good("v=spf1 redirect=%{l}.example.org", "", 1).but(func(s *SPF) {
				s.Strict = untested("where the record redirects to depends on the mail")
			}),
			library: "the record for the one local part that is asked for does not exist",
		},
		"after all": {
			dns: []string{"example.org TXT v=spf1 -all ip4:192.0.2.1 include:x.example redirect=y.example exp=e.example"},
			want: good("v=spf1 -all ip4:192.0.2.1 include:x.example redirect=y.example exp=e.example", "-all", 0).but(func(s *SPF) {
				s.Problems = []string{
					`"ip4:192.0.2.1" is ignored: it comes after "-all"`, `"include:x.example" is ignored: it comes after "-all"`,
					`"redirect=y.example" is ignored: the record has "-all"`,
				}
			}),
		},
	} {
		t.Run(name, tc.run)
	}
}

func TestSPFNested(t *testing.T) {
	bad := func(record, all string, lookups int, why string, more ...string) SPF {
		return good(record, all, lookups).but(func(s *SPF) { s.Valid, s.Problems = no(why), append([]string{why}, more...) })
	}
	for name, tc := range map[string]spfCase{
		"syntax": {
			dns:  []string{"example.org TXT v=spf1 ipv4:192.0.2.1 -all"},
			want: bad("v=spf1 ipv4:192.0.2.1 -all", "-all", 0, `"ipv4:192.0.2.1": unknown mechanism; perhaps ip4 was meant`),
		},
		"syntax behind all": {
			dns:     []string{"example.org TXT v=spf1 -all foo"},
			want:    bad("v=spf1 -all foo", "-all", 0, `"foo": unknown mechanism`),
			library: "it stops at all; RFC 7208 §4.6 wants errors anywhere to be found",
		},
		"syntax of an included record": {
			dns:  []string{"example.org TXT v=spf1 include:a.example -all", "a.example TXT v=spf1 include:b.example -all", "b.example TXT v=spf1 ip4:x -all"},
			want: bad("v=spf1 include:a.example -all", "-all", 2, `the record of b.example: "ip4:x": want ip4:<address>, or with a prefix length after "/"`),
		},
		"include of nothing": {
			dns: []string{"example.org TXT v=spf1 include:x.example -all"},
			want: bad("v=spf1 include:x.example -all", "-all", 1, `"include:x.example": no SPF record at x.example`).but(func(s *SPF) {
				s.Voids = 1
			}),
		},
		"include of two": {
			dns: []string{"example.org TXT v=spf1 include:x.example -all", "x.example TXT v=spf1", "x.example TXT v=spf1 a"},
			want: bad("v=spf1 include:x.example -all", "-all", 1,
				`"include:x.example": 2 SPF records at x.example: receivers treat that as an error; merge them into one`),
		},
		"include of no name": {
			dns:  []string{"example.org TXT v=spf1 include:x..example -all"},
			want: bad("v=spf1 include:x..example -all", "-all", 1, `"include:x..example": "x..example" is not a domain name`),
		},
		"redirect to nothing": {
			dns: []string{"example.org TXT v=spf1 redirect=x.example", "x.example TXT hello"},
			want: bad("v=spf1 redirect=x.example", "", 1, `"redirect=x.example": no SPF record at x.example`).but(func(s *SPF) {
				s.Strict = no("redirect=x.example leads to no usable record")
			}),
		},
		"itself": {
			dns:  []string{"example.org TXT v=spf1 include:example.org -all"},
			want: bad("v=spf1 include:example.org -all", "-all", 1, `"include:example.org" is a loop: example.org, example.org`),
		},
		"loop": {
			dns: []string{"example.org TXT v=spf1 include:a.example -all", "a.example TXT v=spf1 redirect=b.example", "b.example TXT v=spf1 include:a.example"},
			want: bad("v=spf1 include:a.example -all", "-all", 3,
				`the record of b.example: "include:a.example" is a loop: example.org, a.example, b.example, a.example`),
		},
		"include could not be looked up": {
			dns: []string{"example.org TXT v=spf1 include:x.example -all", "x.example ERROR TXT"},
			want: good("v=spf1 include:x.example -all", "-all", 1).but(func(s *SPF) {
				s.Valid = untested("the TXT records of x.example could not be looked up: i/o timeout")
			}),
		},
		"redirect could not be looked up": {
			dns: []string{"example.org TXT v=spf1 redirect=x.example", "x.example ERROR TXT"},
			want: good("v=spf1 redirect=x.example", "", 1).but(func(s *SPF) {
				s.Valid = untested("the TXT records of x.example could not be looked up: i/o timeout")
				s.Strict = s.Valid
			}),
		},
		"an error is known in spite of that": {
			dns:     []string{"example.org TXT v=spf1 a:x.example foo -all", "x.example ERROR A"},
			want:    bad("v=spf1 a:x.example foo -all", "-all", 1, `"foo": unknown mechanism`),
			library: "it looks up the first term before it reads the second",
		},
		"bogus include": {
			dns: []string{"example.org TXT v=spf1 include:x.example -all", "x.example BOGUS TXT"},
			want: bad("v=spf1 include:x.example -all", "-all", 1,
				`"include:x.example": DNSSEC: the answer for the TXT records of x.example is bogus, so validating resolvers refuse it: because`),
			library: "to it that is a temporary error",
		},
		"nearly a record": {
			dns: []string{"example.org TXT v=spf1 include:x.example -all", "x.example TXT v=spf1,a"},
			want: good("v=spf1 include:x.example -all", "-all", 1).but(func(s *SPF) {
				s.Valid = no(`"include:x.example": no SPF record at x.example`)
				s.Problems = []string{`a TXT record of x.example looks like SPF but does not begin with "v=spf1 ": "v=spf1,a"`, s.Valid.Why}
			}),
		},
	} {
		t.Run(name, tc.run)
	}
}

// What a hostile record can make us do is bounded.
func TestSPFHostile(t *testing.T) {
	includes := func(format string) string { return "v=spf1 " + strings.Join(numbered(60, format), " ") }
	for name, lines := range map[string][]string{
		"a thousand terms": {"example.org TXT v=spf1 " + strings.Join(numbered(1000, "a:h%d.example"), " ")},
		"wide tree":        append(numbered(60, "i%d.example TXT "+includes("include:j%d.example")), "example.org TXT "+includes("include:i%d.example")),
		"the same record many times": {
			"example.org TXT v=spf1 " + strings.Repeat("include:a.example ", 1000), "a.example TXT v=spf1 " + strings.Repeat("include:b.example ", 1000),
			"b.example TXT v=spf1 " + strings.Repeat("include:c.example ", 1000), "c.example TXT v=spf1 " + strings.Repeat("a:d.example ", 1000),
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, lines...)
			got := New(Options{Resolver: w}).SPF(t.Context(), "example.org")
			if len(w.asked) > maxSPFQueries+1 {
				t.Errorf("%d queries", len(w.asked))
			}
			if len(got.Problems) > maxProblems || len(got.Record) > maxRecord+3 {
				t.Errorf("%d problems, record of %d bytes", len(got.Problems), len(got.Record))
			}
			if !strings.HasPrefix(got.Valid.Why, "the record needs at least ") && !strings.Contains(got.Valid.Why, "no SPF record") {
				t.Errorf("valid: %v", got.Valid)
			}
		})
	}
}

func TestSPFShowsNoControlCharacters(t *testing.T) {
	w := newWorld(t, "example.org TXT v=spf1 \x1b[2Jü -all")
	got := New(Options{Resolver: w}).SPF(t.Context(), "example.org")
	want := good(`v=spf1 \x1b[2J\u00fc -all`, "-all", 0).but(func(s *SPF) {
		s.Valid = no(`"\x1b[2J\u00fc": unknown mechanism`)
		s.Problems = []string{s.Valid.Why}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// silent never answers.
type silent struct{}

func (silent) Lookup(ctx context.Context, _ string, _ uint16) (dnssec.Answer, error) {
	<-ctx.Done()
	return dnssec.Answer{Status: dnssec.Error}, ctx.Err()
}

func TestTimeout(t *testing.T) {
	r := New(Options{Resolver: silent{}, Timeout: time.Millisecond})
	for name, got := range map[string]check.Result{
		"spf": r.SPF(t.Context(), "example.org").Published, "dmarc": r.DMARC(t.Context(), "example.org").Published,
		"tlsrpt": r.TLSRPT(t.Context(), "example.org").Published, "mta-sts": r.MTASTS(t.Context(), "example.org").Published,
	} {
		if got.Outcome != check.Untested || !strings.Contains(got.Why, "context deadline exceeded") {
			t.Errorf("%s: %v", name, got)
		}
	}
}
