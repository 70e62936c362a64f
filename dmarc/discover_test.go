package dmarc

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
)

// names answers from a map; what is not there does not exist.
type names map[string]dnssec.Answer

func (n names) Lookup(_ context.Context, name string, qtype uint16) (dnssec.Answer, error) {
	a, ok := n[name]
	switch {
	case qtype != dns.TypeTXT:
		return dnssec.Answer{Status: dnssec.Error}, errors.New("not asked for TXT")
	case a.Status == dnssec.Error:
		return a, errors.New("i/o timeout")
	case !ok:
		return dnssec.Answer{Status: dnssec.Secure, Rcode: dns.RcodeNameError}, nil
	}
	return a, nil
}

func txt(status dnssec.Status, texts ...string) dnssec.Answer {
	a := dnssec.Answer{Status: status}
	for _, t := range texts {
		a.RRs = append(a.RRs, &dns.TXT{Txt: []string{t[:len(t)/2], t[len(t)/2:]}})
	}
	return a
}

func TestDiscover(t *testing.T) {
	type result struct {
		From   string
		Policy Policy
		Text   string
		Status dnssec.Status
	}
	const none, reject = "v=DMARC1; p=none", "v=DMARC1; p=reject; sp=quarantine"
	for name, tc := range map[string]struct {
		domain string
		dns    names
		want   result
		is     error
		err    string
	}{
		"own record": {
			"example.org",
			names{"_dmarc.example.org": txt(dnssec.Secure, reject)},
			result{"example.org", Reject, reject, dnssec.Secure},
			nil, "",
		},
		"case and final dot": {
			"Example.ORG.",
			names{"_dmarc.example.org": txt(dnssec.Secure, reject)},
			result{"example.org", Reject, reject, dnssec.Secure},
			nil, "",
		},
		"own record before that of the organization": {
			"a.example.org",
			names{"_dmarc.a.example.org": txt(dnssec.Secure, none), "_dmarc.example.org": txt(dnssec.Secure, reject)},
			result{"a.example.org", None, none, dnssec.Secure},
			nil, "",
		},
		"organization": {
			"c.b.a.example.co.uk",
			names{"_dmarc.example.co.uk": txt(dnssec.Insecure, reject)},
			result{"example.co.uk", Quarantine, reject, dnssec.Insecure},
			nil, "",
		},
		"only the organization, not what lies between": {
			"c.b.example.org",
			names{"_dmarc.b.example.org": txt(dnssec.Secure, reject)},
			result{"", "", "", dnssec.Secure},
			ErrNoRecord, "no DMARC policy: no record at _dmarc.c.b.example.org nor at _dmarc.example.org",
		},
		"no organization above a public suffix": {
			"co.uk",
			names{"_dmarc.uk": txt(dnssec.Secure, reject)},
			result{"", "", "", dnssec.Secure},
			ErrNoRecord, "no DMARC policy: no record at _dmarc.co.uk",
		},
		"other records are discarded": {
			"a.example.org",
			names{
				"_dmarc.a.example.org": txt(dnssec.Secure, "v=spf1 -all", "hello"),
				"_dmarc.example.org":   txt(dnssec.Secure, "x", reject, "v=DMARC2; p=none"),
			},
			result{"example.org", Quarantine, reject, dnssec.Secure},
			nil, "",
		},
		"weakest of both": {
			"a.example.org",
			names{"_dmarc.a.example.org": txt(dnssec.Insecure), "_dmarc.example.org": txt(dnssec.Secure, reject)},
			result{"example.org", Quarantine, reject, dnssec.Insecure},
			nil, "",
		},
		"several": {
			"a.example.org",
			names{"_dmarc.a.example.org": txt(dnssec.Secure, none, reject), "_dmarc.example.org": txt(dnssec.Secure, reject)},
			result{"", "", "", dnssec.Secure},
			ErrNoRecord,
			"no DMARC policy: _dmarc.a.example.org has 2 DMARC records, and receivers then ignore all: keep one",
		},
		"invalid": {
			"a.example.org",
			names{"_dmarc.a.example.org": txt(dnssec.Secure, "v=DMARC1;"), "_dmarc.example.org": txt(dnssec.Secure, reject)},
			result{"a.example.org", "", "v=DMARC1;", dnssec.Secure},
			ErrInvalid,
			"invalid DMARC record at _dmarc.a.example.org: tag p is missing: want p=none, p=quarantine or p=reject",
		},
		"no answer": {
			"a.example.org",
			names{"_dmarc.a.example.org": {Status: dnssec.Error}, "_dmarc.example.org": txt(dnssec.Secure, reject)},
			result{"", "", "", dnssec.Error},
			ErrTemporary, "DNS lookup failed: TXT of _dmarc.a.example.org: i/o timeout",
		},
		"no answer of the organization": {
			"a.example.org",
			names{"_dmarc.example.org": {Status: dnssec.Error}},
			result{"", "", "", dnssec.Error},
			ErrTemporary, "DNS lookup failed: TXT of _dmarc.example.org: i/o timeout",
		},
		"bogus": {
			"example.org",
			names{"_dmarc.example.org": {Status: dnssec.Bogus, Why: "expired"}},
			result{"", "", "", dnssec.Bogus},
			ErrTemporary, "DNS lookup failed: TXT of _dmarc.example.org is bogus: expired",
		},
		"no name": {
			"a..b", nil, result{}, ErrNoRecord, `no DMARC policy: "a..b" is not a domain name`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rec, from, status, err := Discover(t.Context(), tc.dns, tc.domain)
			got := result{from, "", rec.Text, status}
			if err == nil {
				got.Policy = rec.PolicyFor(tc.domain, from)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if !errors.Is(err, tc.is) || (err != nil && err.Error() != tc.err) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
		})
	}
}

func TestOrganizational(t *testing.T) {
	for in, want := range map[string]string{
		"example.com": "example.com", "A.b.Example.com.": "example.com", "x.example.co.uk": "example.co.uk",
		"co.uk": "co.uk", "com": "com", "": "", "a..b": "a..b",
		"et.sink.example":  "sink.example",                                 // not on the list: one label is the suffix
		"www.city.kobe.jp": "city.kobe.jp", "a.b.c.kobe.jp": "b.c.kobe.jp", // exception and wildcard
		"x.user.github.io": "user.github.io", // the private part of the list counts
	} {
		if got := Organizational(in); got != want {
			t.Errorf("Organizational(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAligned(t *testing.T) {
	for name, tc := range map[string]struct {
		identifier, from string
		relaxed, strict  bool
	}{
		// RFC 7489 §3.1.1 and §3.1.2.
		"equal":            {"example.com", "Example.com.", true, true},
		"below From":       {"news.example.com", "example.com", true, false},
		"above From":       {"example.com", "news.example.com", true, false},
		"siblings":         {"a.example.com", "b.example.com", true, false},
		"others":           {"example.net", "example.com", false, false},
		"suffix of a name": {"badexample.com", "example.com", false, false},
		"public suffix":    {"co.uk", "example.co.uk", false, false},
		"customers of one": {"a.github.io", "b.github.io", false, false},
		"suffix itself":    {"co.uk", "co.uk", true, true},
		"empty":            {"", "", false, false},
		"empty identifier": {"", "example.com", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Aligned(tc.identifier, tc.from, false); got != tc.relaxed {
				t.Errorf("relaxed: %t", got)
			}
			if got := Aligned(tc.identifier, tc.from, true); got != tc.strict {
				t.Errorf("strict: %t", got)
			}
		})
	}
}
