package records

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound/check"
)

func TestDMARC(t *testing.T) {
	const reject = "v=DMARC1; p=reject; sp=none; rua=mailto:r@example.org"
	enforced := DMARC{
		Published: check.Pass(), Valid: check.Pass(), Enforced: check.Pass(), DNSSEC: dnssec.Insecure,
		From: "example.org", Policy: "reject", Percent: 100,
	}
	with := func(change func(*DMARC)) DMARC { d := enforced; change(&d); return d }
	for name, tc := range map[string]struct {
		domain string
		dns    []string
		want   DMARC
	}{
		"own record": {
			"example.org",
			[]string{"_dmarc.example.org TXT " + reject},
			with(func(d *DMARC) { d.Record, d.Reports = reject, []string{"mailto:r@example.org"} }),
		},
		"sp of the organization": {
			"a.b.example.org",
			[]string{"_dmarc.example.org SECURE TXT " + reject},
			with(func(d *DMARC) {
				d.Record, d.Reports, d.Policy, d.DNSSEC = reject, []string{"mailto:r@example.org"}, "none", dnssec.Secure
				d.Enforced = no("the policy is none: mail that fails is delivered as usual")
			}),
		},
		"quarantine of some": {
			"example.org",
			[]string{"_dmarc.example.org TXT v=DMARC1; p=quarantine; pct=20; ri=x"},
			with(func(d *DMARC) {
				d.Record, d.Policy, d.Percent = "v=DMARC1; p=quarantine; pct=20; ri=x", "quarantine", 20
				d.Problems = []string{`ri="x": want a number of seconds`, "pct=20: the policy is not for all mail", "no address for reports (rua): nobody learns what fails"}
			}),
		},
		"quarantine of nothing": {
			"example.org",
			[]string{"_dmarc.example.org TXT v=DMARC1; p=quarantine; pct=0; rua=mailto:r@example.org"},
			with(func(d *DMARC) {
				d.Record, d.Policy, d.Percent, d.Reports = "v=DMARC1; p=quarantine; pct=0; rua=mailto:r@example.org", "quarantine", 0, []string{"mailto:r@example.org"}
				d.Enforced = no("the policy is quarantine, but for none of the mail (pct=0)")
				d.Problems = []string{"pct=0: the policy is not for all mail"}
			}),
		},
		"invalid": {
			"example.org",
			[]string{"_dmarc.example.org TXT v=DMARC1; p=nothing\x1b"},
			DMARC{
				Published: check.Pass(), DNSSEC: dnssec.Insecure, From: "example.org", Record: `v=DMARC1; p=nothing\x1b`,
				Valid:    no(`invalid DMARC record at _dmarc.example.org: tag p is missing: want p=none, p=quarantine or p=reject`),
				Problems: []string{`invalid DMARC record at _dmarc.example.org: tag p is missing: want p=none, p=quarantine or p=reject`},
			},
		},
		"none": {
			"example.org", nil,
			DMARC{Published: no("no DMARC policy: no record at _dmarc.example.org"), DNSSEC: dnssec.Secure},
		},
		"two": {
			"example.org",
			[]string{"_dmarc.example.org TXT " + reject, "_dmarc.example.org TXT " + reject},
			DMARC{Published: no("no DMARC policy: _dmarc.example.org has 2 DMARC records, and receivers then ignore all: keep one"), DNSSEC: dnssec.Insecure},
		},
		"no answer": {
			"example.org",
			[]string{"_dmarc.example.org ERROR TXT"},
			DMARC{Published: untested("DNS lookup failed: TXT of _dmarc.example.org: i/o timeout"), DNSSEC: dnssec.Error},
		},
		"bogus": {
			"example.org",
			[]string{"_dmarc.example.org BOGUS TXT"},
			DMARC{Published: no("DNS lookup failed: TXT of _dmarc.example.org is bogus: because"), DNSSEC: dnssec.Bogus},
		},
		"bogus at the organization": {
			"a.example.org",
			[]string{"_dmarc.example.org BOGUS TXT"},
			DMARC{Published: no("DNS lookup failed: TXT of _dmarc.example.org is bogus: because"), DNSSEC: dnssec.Bogus},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := New(Options{Resolver: newWorld(t, tc.dns...)}).DMARC(t.Context(), tc.domain)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// RFC 7489 §7.1: others must agree to get reports.
func TestDMARCDestinations(t *testing.T) {
	const record = "v=DMARC1; p=none; rua=mailto:a@example.org,mailto:b@mail.example.org,mailto:c@yes.example,mailto:d@no.example;" +
		"ruf=mailto:e@no.example,mailto:f@other.example,mailto:g@unknown.example,https://x.example/"
	w := newWorld(
		t, "_dmarc.example.org TXT "+record,
		"example.org._report._dmarc.yes.example TXT v=DMARC1;", "example.org._report._dmarc.other.example TXT v=spf1",
		"example.org._report._dmarc.unknown.example ERROR TXT",
	)
	// It is the publishing domain that others must agree to.
	got := New(Options{Resolver: w}).DMARC(t.Context(), "sub.example.org")
	want := []string{
		`tag ruf: "https://x.example/": receivers send reports to mailto: addresses only`,
		"no.example does not say that it takes reports about example.org, so it gets none: there is no record v=DMARC1 at example.org._report._dmarc.no.example",
		"other.example does not say that it takes reports about example.org, so it gets none: there is no record v=DMARC1 at example.org._report._dmarc.other.example",
	}
	if diff := cmp.Diff(want, got.Problems); diff != "" {
		t.Error(diff)
	}
	if len(got.Reports) != 4 || !got.Valid.OK() {
		t.Errorf("valid %v, reports %q", got.Valid, got.Reports)
	}
}

func TestDMARCIsBounded(t *testing.T) {
	w := newWorld(t, "_dmarc.example.org TXT v=DMARC1; p=none; rua="+strings.Join(numbered(60, "mailto:a@d%d.example"), ","))
	got := New(Options{Resolver: w}).DMARC(t.Context(), "example.org")
	if len(w.asked) != 1+maxDestinations || len(got.Reports) != maxReports || len(got.Problems) > maxProblems {
		t.Errorf("%d lookups, %d reports, %d problems", len(w.asked), len(got.Reports), len(got.Problems))
	}
}

func TestTLSRPT(t *testing.T) {
	for name, tc := range map[string]struct {
		dns  []string
		want TLSRPT
	}{
		// RFC 8460 §3.1.
		"mailto": {
			[]string{"_smtp._tls.example.org TXT v=TLSRPTv1;rua=mailto:reports@example.com"},
			TLSRPT{Published: check.Pass(), Valid: check.Pass(), Record: "v=TLSRPTv1;rua=mailto:reports@example.com", Reports: []string{"mailto:reports@example.com"}},
		},
		"https": {
			[]string{"_smtp._tls.example.org TXT v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt", "_smtp._tls.example.org TXT other"},
			TLSRPT{Published: check.Pass(), Valid: check.Pass(), Record: "v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt", Reports: []string{"https://reporting.example.com/v1/tlsrpt"}},
		},
		"both, and an extension": {
			[]string{"_smtp._tls.example.org TXT v=TLSRPTv1 ; x=y; rua=mailto:a@b.example , https://c.example/ ;"},
			TLSRPT{
				Published: check.Pass(), Valid: check.Pass(), Record: "v=TLSRPTv1 ; x=y; rua=mailto:a@b.example , https://c.example/ ;",
				Reports: []string{"mailto:a@b.example", "https://c.example/"},
			},
		},
		"some wrong": {
			[]string{"_smtp._tls.example.org TXT v=TLSRPTv1; rua=a@b.example,mailto:a!5@b.example,ftp://x.example,mailto:ok@b.example; rua=mailto:z@b.example; foo"},
			TLSRPT{
				Published: check.Pass(), Valid: check.Pass(), Reports: []string{"mailto:ok@b.example"},
				Record: "v=TLSRPTv1; rua=a@b.example,mailto:a!5@b.example,ftp://x.example,mailto:ok@b.example; rua=mailto:z@b.example; foo",
				Problems: []string{
					`rua: "a@b.example": no scheme; want mailto:a@b.example`,
					`rua: "mailto:a!5@b.example": "!" must be written %21`,
					`rua: "ftp://x.example": want mailto: or https:`,
					"rua occurs more than once: senders may use only one; put all addresses into it, separated by commas",
					`"foo" is not name=value`,
				},
			},
		},
		"no rua": {
			[]string{"_smtp._tls.example.org TXT v=TLSRPTv1;"},
			TLSRPT{
				Published: check.Pass(), Valid: no("no usable rua: there is no address to send reports to"), Record: "v=TLSRPTv1;",
				Problems: []string{"no usable rua: there is no address to send reports to"},
			},
		},
		"no usable rua": {
			[]string{"_smtp._tls.example.org TXT v=TLSRPTv1; rua=mailto:"},
			TLSRPT{
				Published: check.Pass(), Valid: no("no usable rua: there is no address to send reports to"), Record: "v=TLSRPTv1; rua=mailto:",
				Problems: []string{`rua: "mailto:": want mailto: and one address`, "no usable rua: there is no address to send reports to"},
			},
		},
		"none": {nil, TLSRPT{Published: no("no TLS-RPT record at _smtp._tls.example.org")}},
		"another version": {
			[]string{"_smtp._tls.example.org TXT v=tlsrptv1; rua=mailto:a@b.example"},
			TLSRPT{
				Published: no("no TLS-RPT record at _smtp._tls.example.org"),
				Problems:  []string{`a TXT record of _smtp._tls.example.org does not begin with "v=TLSRPTv1;", so it is ignored: "v=tlsrptv1; rua=mailto:a@b.example"`},
			},
		},
		"two": {
			[]string{"_smtp._tls.example.org TXT v=TLSRPTv1; rua=mailto:a@b.example", "_smtp._tls.example.org TXT v=TLSRPTv1; rua=mailto:c@b.example"},
			TLSRPT{Published: no("2 TLS-RPT records at _smtp._tls.example.org, and senders then ignore all: keep one")},
		},
		"no answer": {
			[]string{"_smtp._tls.example.org ERROR TXT"},
			TLSRPT{Published: untested("the TXT records of _smtp._tls.example.org could not be looked up: i/o timeout")},
		},
		"bogus": {
			[]string{"_smtp._tls.example.org BOGUS TXT"},
			TLSRPT{Published: no("DNSSEC: the answer for the TXT records of _smtp._tls.example.org is bogus, so validating resolvers refuse it: because")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := New(Options{Resolver: newWorld(t, tc.dns...)}).TLSRPT(t.Context(), "example.org")
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTLSRPTIsBounded(t *testing.T) {
	w := newWorld(t, "_smtp._tls.example.org TXT v=TLSRPTv1; rua="+strings.Join(numbered(30, "mailto:a%d@b.example"), ","))
	got := New(Options{Resolver: w}).TLSRPT(t.Context(), "example.org")
	if len(got.Reports) != maxReports {
		t.Errorf("%d addresses", len(got.Reports))
	}
	if diff := cmp.Diff([]string{"rua: more than 20 addresses; the rest is left out"}, got.Problems); diff != "" {
		t.Error(diff)
	}
}

func FuzzTLSRPT(f *testing.F) {
	f.Add("v=TLSRPTv1; rua=mailto:a@b.example,https://c.example/!5;x=y;;")
	f.Add("v=TLSRPTv1;\x00=")
	f.Fuzz(func(t *testing.T, txt string) {
		got := New(Options{Resolver: newWorld(t, "_smtp._tls.e.example TXT "+txt)}).TLSRPT(t.Context(), "e.example")
		if got.Valid.OK() != (len(got.Reports) > 0) || len(got.Problems) > maxProblems {
			t.Fatalf("%+v", got)
		}
		for _, s := range append(got.Reports, got.Problems...) {
			if strings.ContainsFunc(s, func(c rune) bool { return c != '…' && (c < ' ' || c > '~') }) {
				t.Fatalf("unsafe %q", s)
			}
		}
	})
}
