package dmarc

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	mail := func(local, domain string) []URI {
		return []URI{{Text: "mailto:" + local + "@" + domain, Scheme: "mailto", Domain: domain}}
	}
	for name, tc := range map[string]struct {
		txt  string
		want Record // without Text
	}{
		"least": {"v=DMARC1; p=none", Record{Policy: None, Subdomains: None, Percent: 100}},
		// RFC 7489 appendix B.2.1 to B.2.4.
		"entire domain, monitoring": {
			"v=DMARC1; p=none; rua=mailto:dmarc-feedback@example.com",
			Record{Policy: None, Subdomains: None, Percent: 100, Aggregate: mail("dmarc-feedback", "example.com")},
		},
		"failure reports": {
			"v=DMARC1; p=none; rua=mailto:dmarc-feedback@example.com;   ruf=mailto:auth-reports@example.com",
			Record{Policy: None, Subdomains: None, Percent: 100, Aggregate: mail("dmarc-feedback", "example.com"), Failure: mail("auth-reports", "example.com")},
		},
		"subdomain, sampling, several destinations": {
			"v=DMARC1; p=quarantine; rua=mailto:dmarc-feedback@example.com,mailto:tld-test@thirdparty.example.net!10m; pct=25",
			Record{Policy: Quarantine, Subdomains: Quarantine, Percent: 25, Aggregate: append(mail("dmarc-feedback", "example.com"),
				URI{Text: "mailto:tld-test@thirdparty.example.net", Scheme: "mailto", Domain: "thirdparty.example.net", MaxSize: 10 << 20})},
		},
		"every tag": {
			"v=DMARC1;p=reject;sp=quarantine;adkim=s;aspf=s;ri=3600;fo=1:d:s;rf=afrf;pct=0;",
			Record{Policy: Reject, Subdomains: Quarantine, StrictDKIM: true, StrictSPF: true},
		},
		"relaxed in words":      {"v=DMARC1; p=none; adkim=r; aspf=R", Record{Policy: None, Subdomains: None, Percent: 100}},
		"spaces and case":       {"V = DMARC1 ;\tP = Reject ; SP=NONE ;", Record{Policy: Reject, Subdomains: None, Percent: 100}},
		"unknown tags":          {"v=DMARC1; p=none; np=reject; t=y; psd=n; x_1=", Record{Policy: None, Subdomains: None, Percent: 100}},
		"p not second":          {"v=DMARC1; sp=none; p=reject", Record{Policy: Reject, Subdomains: None, Percent: 100, Notes: []string{"tag p is not next to v, where some receivers expect it"}}},
		"https":                 {"v=DMARC1; p=none; rua=https://example.org/r", Record{Policy: None, Subdomains: None, Percent: 100, Aggregate: []URI{{Text: "https://example.org/r", Scheme: "https", Domain: "example.org"}}, Notes: []string{`tag rua: "https://example.org/r": receivers send reports to mailto: addresses only`}}},
		"pct":                   {"v=DMARC1; p=none; pct=101", Record{Policy: None, Subdomains: None, Percent: 100, Problems: []string{`pct="101": want a number from 0 to 100`}}},
		"pct is no number":      {"v=DMARC1; p=none; pct=-1", Record{Policy: None, Subdomains: None, Percent: 100, Problems: []string{`pct="-1": want a number from 0 to 100`}}},
		"pct of four digits":    {"v=DMARC1; p=none; pct=0099", Record{Policy: None, Subdomains: None, Percent: 100, Problems: []string{`pct="0099": want a number from 0 to 100`}}},
		"adkim":                 {"v=DMARC1; p=none; adkim=strict", Record{Policy: None, Subdomains: None, Percent: 100, Problems: []string{`adkim="strict": want r or s`}}},
		"aspf":                  {"v=DMARC1; p=none; aspf=", Record{Policy: None, Subdomains: None, Percent: 100, Problems: []string{`aspf="": want r or s`}}},
		"fo":                    {"v=DMARC1; p=none; fo=2", Record{Policy: None, Subdomains: None, Percent: 100, Problems: []string{`fo="2": want 0, 1, d or s, separated by :`}}},
		"rf":                    {"v=DMARC1; p=none; rf=iodef", Record{Policy: None, Subdomains: None, Percent: 100, Problems: []string{`rf="iodef": want afrf`}}},
		"ri":                    {"v=DMARC1; p=none; ri=1d", Record{Policy: None, Subdomains: None, Percent: 100, Problems: []string{`ri="1d": want a number of seconds`}}},
		"two semicolons":        {"v=DMARC1; p=none;; pct=100", Record{Policy: None, Subdomains: None, Percent: 100, Problems: []string{`empty tag: two ";" in a row`}}},
		"no tag":                {"v=DMARC1; p=none; mailto:x@example.org", Record{Policy: None, Subdomains: None, Percent: 100, Problems: []string{`"mailto:x@example.org" is not tag=value`}}},
		"tag name":              {"v=DMARC1; p=none; 1x=2", Record{Policy: None, Subdomains: None, Percent: 100, Problems: []string{`"1x=2" is not tag=value`}}},
		"not ASCII":             {"v=DMARC1; p=none; rua=mailto:ü@example.org", Record{Policy: None, Subdomains: None, Percent: 100, Problems: []string{`tag rua: "mailto:\u00fc@example.org" has characters other than printable ASCII`}}},
		"one wrong address":     {"v=DMARC1; p=none; rua=a@example.org,mailto:b@example.org", Record{Policy: None, Subdomains: None, Percent: 100, Aggregate: mail("b", "example.org"), Problems: []string{`tag rua: "a@example.org": no scheme; want mailto:a@example.org`}}},
		"p missing, but rua":    {"v=DMARC1; rua=mailto:a@example.org", Record{Policy: None, Subdomains: None, Percent: 100, Aggregate: mail("a", "example.org"), Problems: []string{"tag p is missing: want p=none, p=quarantine or p=reject; receivers take it as p=none"}}},
		"p wrong, but rua":      {"v=DMARC1; p=block; sp=reject; rua=mailto:a@example.org", Record{Policy: None, Subdomains: None, Percent: 100, Aggregate: mail("a", "example.org"), Problems: []string{`p="block": want none, quarantine or reject; receivers take it as p=none`}}},
		"sp wrong, but rua":     {"v=DMARC1; p=reject; sp=no; rua=mailto:a@example.org", Record{Policy: None, Subdomains: None, Percent: 100, Aggregate: mail("a", "example.org"), Problems: []string{`sp="no": want none, quarantine or reject; receivers take it as p=none`}}},
		"escaped as zone files": {`v=DMARC1; p=none; rua=mailto:a@example.org\; pct=1`, Record{Policy: None, Subdomains: None, Percent: 1, Problems: []string{`tag rua: "mailto:a@example.org\\": the character "\\" is not allowed in a URI`}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(tc.txt)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Text = tc.txt
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for name, tc := range map[string]struct{ txt, want string }{
		"no version":        {"p=none", "DMARC record: does not begin with v=DMARC1;"},
		"another version":   {"v=DMARC2; p=none", "DMARC record: does not begin with v=DMARC1;"},
		"version in lower":  {"v=dmarc1; p=none", "DMARC record: does not begin with v=DMARC1;"},
		"version not first": {"p=none; v=DMARC1", "DMARC record: does not begin with v=DMARC1;"},
		"space before":      {" v=DMARC1; p=none", "DMARC record: does not begin with v=DMARC1;"},
		"no semicolon":      {"v=DMARC1 p=none", "DMARC record: does not begin with v=DMARC1;"},
		"no policy":         {"v=DMARC1;", "DMARC record: tag p is missing: want p=none, p=quarantine or p=reject"},
		"no policy, bad rua": {
			"v=DMARC1; rua=example.org", "DMARC record: tag p is missing: want p=none, p=quarantine or p=reject",
		},
		"policy":     {"v=DMARC1; p=spam", `DMARC record: p="spam": want none, quarantine or reject`},
		"sp":         {"v=DMARC1; p=none; sp=all", `DMARC record: sp="all": want none, quarantine or reject`},
		"two p":      {"v=DMARC1; p=none; p=reject", "DMARC record: tag p occurs more than once: a tag may occur once"},
		"two v":      {"v=DMARC1; v=DMARC1; p=reject", "DMARC record: tag v occurs more than once: a tag may occur once"},
		"two of any": {"v=DMARC1; p=none; x=1; X=2", "DMARC record: tag x occurs more than once: a tag may occur once"},
		"many tags":  {"v=DMARC1; p=none" + strings.Repeat(";", 101), "DMARC record: more than 100 tags"},
		"huge":       {"v=DMARC1; p=none; x=" + strings.Repeat("a", 16<<10), "DMARC record: 16404 bytes, more than 16384"},
		"control":    {"v=DMARC1; p=none\x1b[2J", "DMARC record: tag p is missing: want p=none, p=quarantine or p=reject"},
		"long value": {"v=DMARC1; p=" + strings.Repeat("a", 90), `DMARC record: p="` + strings.Repeat("a", 80) + `"…: want none, quarantine or reject`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(tc.txt); err == nil || err.Error() != tc.want {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

func TestParseIsBounded(t *testing.T) {
	r, err := Parse("v=DMARC1; p=none; rua=" + strings.Repeat("mailto:a@b.example,", 60) + "; ruf=" + strings.Repeat("x,", 100))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Aggregate) != maxURIs || len(r.Problems) != maxProblems {
		t.Errorf("got %d addresses and %d problems", len(r.Aggregate), len(r.Problems))
	}
	if want := "tag rua: more than 50 addresses; the rest is left out"; r.Problems[0] != want {
		t.Errorf("got %q, want %q", r.Problems[0], want)
	}
}

func TestParseURI(t *testing.T) {
	for in, want := range map[string]URI{
		"mailto:a@Example.ORG.":             {Text: "mailto:a@Example.ORG.", Scheme: "mailto", Domain: "example.org"},
		"MAILTO:a@example.org!50":           {Text: "MAILTO:a@example.org", Scheme: "mailto", Domain: "example.org", MaxSize: 50},
		"mailto:a@example.org!1K":           {Text: "mailto:a@example.org", Scheme: "mailto", Domain: "example.org", MaxSize: 1 << 10},
		"mailto:a@example.org!1g":           {Text: "mailto:a@example.org", Scheme: "mailto", Domain: "example.org", MaxSize: 1 << 30},
		"mailto:a@example.org!99999999999t": {Text: "mailto:a@example.org", Scheme: "mailto", Domain: "example.org", MaxSize: 1<<64 - 1},
		"mailto:a%21b@example.org":          {Text: "mailto:a%21b@example.org", Scheme: "mailto", Domain: "example.org"},
		"mailto:a@example.org?subject=x":    {Text: "mailto:a@example.org?subject=x", Scheme: "mailto", Domain: "example.org"},
		"https://example.org:8443/x":        {Text: "https://example.org:8443/x", Scheme: "https", Domain: "example.org"},
	} {
		t.Run(in, func(t *testing.T) {
			got, err := ParseURI(in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseURIErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                          `"": want an address like mailto:reports@example.org`,
		"!5":                        `"!5": want an address like mailto:reports@example.org`,
		"a@example.org":             `"a@example.org": no scheme; want mailto:a@example.org`,
		"mailto:a@example.org!":     `"mailto:a@example.org!": after "!" (%21 in an address) want a size like 10m`,
		"mailto:a@example.org!10x":  `"mailto:a@example.org!10x": after "!" (%21 in an address) want a size like 10m`,
		"mailto:a@example.org!1!2":  `"mailto:a@example.org!1!2": after "!" (%21 in an address) want a size like 10m`,
		"mailto:a b@example.org":    `"mailto:a b@example.org": the character " " is not allowed in a URI`,
		"<mailto:a@example.org>":    `"<mailto:a@example.org>": the character "<" is not allowed in a URI`,
		"mailto:a%zz@example.org":   `"mailto:a%zz@example.org": want mailto: and one address`,
		"mailto:":                   `"mailto:": want mailto: and one address`,
		"mailto:example.org":        `"mailto:example.org": want mailto: and one address`,
		"mailto://a@example.org":    `"mailto://a@example.org": want mailto: and one address`,
		"mailto:@example.org":       `"mailto:@example.org": want mailto: and one address`,
		"mailto:a%0a@example.org":   `"mailto:a%0a@example.org": want mailto: and one address`,
		"mailto:a@b%2Cc@d.example":  `"mailto:a@b%2Cc@d.example": want mailto: and one address`,
		"mailto:a@exam_ple..org":    `"mailto:a@exam_ple..org": "exam_ple..org" is not a domain name`,
		"mailto:a@[192.0.2.1]":      `"mailto:a@[192.0.2.1]": "[192.0.2.1]" is not a domain name`,
		"https:///x":                `"https:///x": no host name`,
		"https://[::1]:namedport/x": `"https://[::1]:namedport/x": not a URI`,
	} {
		t.Run(in, func(t *testing.T) {
			if _, err := ParseURI(in); err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"v=DMARC1; p=none; rua=mailto:a@example.org!10m,https://x/; pct=5",
		"v=DMARC1;p=reject;;sp=;adkim=s;fo=1:d", "V\t=DMARC1 ; P=NONE", "v=DMARC1; p=\xff\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err == nil != (r.Policy != "") || err == nil && (!IsRecord(s) || r.Subdomains == "") {
			t.Fatalf("policy %q, sp %q, error %v", r.Policy, r.Subdomains, err)
		}
		texts := append(r.Problems, r.Notes...)
		if err != nil {
			texts = append(texts, err.Error())
		}
		for _, p := range texts {
			if strings.ContainsFunc(p, func(c rune) bool { return c < ' ' || c == 0x7f }) || len(p) > 1000 {
				t.Fatalf("unsafe text %q", p)
			}
		}
		if len(r.Aggregate) > maxURIs || len(texts) > 2*maxProblems+1 || r.Percent < 0 || r.Percent > 100 {
			t.Fatalf("beyond a limit: %+v", r)
		}
	})
}
