package records

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseSPF(t *testing.T) {
	for txt, want := range map[string][]term{
		"v=spf1": nil,
		"V=SPF1 -ALL": {
			{text: "-ALL", kind: kindAll, qualifier: '-', bits4: -1, bits6: -1},
		},
		"v=spf1  a   mx  ~all ": { // several spaces are fine
			{text: "a", kind: kindA, qualifier: '+', bits4: -1, bits6: -1},
			{text: "mx", kind: kindMX, qualifier: '+', bits4: -1, bits6: -1},
			{text: "~all", kind: kindAll, qualifier: '~', bits4: -1, bits6: -1},
		},
		"v=spf1 a:mail.example.org/24//64 ?mx/0 a//128 mx:%{d2}//0": {
			{text: "a:mail.example.org/24//64", kind: kindA, qualifier: '+', spec: "mail.example.org", bits4: 24, bits6: 64},
			{text: "?mx/0", kind: kindMX, qualifier: '?', bits4: 0, bits6: -1},
			{text: "a//128", kind: kindA, qualifier: '+', bits4: -1, bits6: 128},
			{text: "mx:%{d2}//0", kind: kindMX, qualifier: '+', spec: "%{d2}", bits4: -1, bits6: 0},
		},
		"v=spf1 ip4:192.0.2.0/24 ip4:192.0.2.1 ip6:2001:db8::/32 -ip6:::1": {
			{text: "ip4:192.0.2.0/24", kind: kindIP4, qualifier: '+', bits4: 24, bits6: 128},
			{text: "ip4:192.0.2.1", kind: kindIP4, qualifier: '+', bits4: 32, bits6: 128},
			{text: "ip6:2001:db8::/32", kind: kindIP6, qualifier: '+', bits4: 32, bits6: 32},
			{text: "-ip6:::1", kind: kindIP6, qualifier: '-', bits4: 32, bits6: 128},
		},
		"v=spf1 ptr ptr:example.org include:_spf.example.org. exists:%{ir}.%{l1r-}.%{d}.x-1 redirect=_spf.%{d} exp=e.%{o} x.y-z_1=%{s}%%%_%-": {
			{text: "ptr", kind: kindPTR, qualifier: '+', bits4: -1, bits6: -1},
			{text: "ptr:example.org", kind: kindPTR, qualifier: '+', spec: "example.org", bits4: -1, bits6: -1},
			{text: "include:_spf.example.org.", kind: kindInclude, qualifier: '+', spec: "_spf.example.org.", bits4: -1, bits6: -1},
			{text: "exists:%{ir}.%{l1r-}.%{d}.x-1", kind: kindExists, qualifier: '+', spec: "%{ir}.%{l1r-}.%{d}.x-1", bits4: -1, bits6: -1},
			{text: "redirect=_spf.%{d}", kind: kindRedirect, spec: "_spf.%{d}", bits4: -1, bits6: -1},
			{text: "exp=e.%{o}", kind: kindExp, spec: "e.%{o}", bits4: -1, bits6: -1},
		},
	} {
		t.Run(txt, func(t *testing.T) {
			got := parseSPF(txt)
			if diff := cmp.Diff(want, got.terms, cmp.AllowUnexported(term{}), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			if len(got.errors)+len(got.notes) > 0 {
				t.Errorf("errors %q, notes %q", got.errors, got.notes)
			}
		})
	}
}

func TestParseSPFErrors(t *testing.T) {
	for in, want := range map[string]string{
		"-":                         `"-": no mechanism`,
		":x":                        `":x": no mechanism`,
		"/24":                       `"/24": no mechanism`,
		"foo":                       `"foo": unknown mechanism`,
		"ipv4:192.0.2.1":            `"ipv4:192.0.2.1": unknown mechanism; perhaps ip4 was meant`,
		"ipv6:::1":                  `"ipv6:::1": unknown mechanism; perhaps ip6 was meant`,
		"includes:example.org":      `"includes:example.org": unknown mechanism; perhaps include was meant`,
		"192.0.2.1":                 `"192.0.2.1": unknown mechanism; an address needs ip4: or ip6: before it`,
		"redirect:example.org":      `"redirect:example.org": redirect takes "=" before its domain`,
		"exp:example.org":           `"exp:example.org": exp takes "=" before its domain`,
		"-all:x":                    `"-all:x": all takes nothing after it`,
		"--all":                     `"--all": unknown mechanism`,
		"all\t":                     `"all\t": unknown mechanism`,
		"all;":                      `"all;": unknown mechanism`,
		"include":                   `"include": want include:<domain>`,
		"include:":                  `"include:": the domain is missing`,
		"include:localhost":         `"include:localhost": "localhost" does not end like a domain name`,
		"include:example.123":       `"include:example.123": "example.123" does not end like a domain name`,
		"include:example.-x":        `"include:example.-x": "example.-x" does not end like a domain name`,
		"include:example.org/24":    `"include:example.org/24": "example.org/24" does not end like a domain name`,
		"include:%{d}com":           `"include:%{d}com": "%{d}com" does not end like a domain name`,
		"include:exämple.org":       `"include:ex\u00e4mple.org": has characters other than printable ASCII`,
		"exists/24":                 `"exists/24": want exists:<domain>`,
		"ptr/24":                    `"ptr/24": want ptr or ptr:<domain>`,
		"ptr:x":                     `"ptr:x": "x" does not end like a domain name`,
		"a:":                        `"a:": the domain is missing`,
		"a:/24":                     `"a:/24": the domain is missing`,
		"a/33":                      `"a/33": prefix length "33": want a number from 0 to 32`,
		"a/":                        `"a/": prefix length "": want a number from 0 to 32`,
		"a/024":                     `"a/024": prefix length "024": want a number from 0 to 32`,
		"mx//129":                   `"mx//129": prefix length "129": want a number from 0 to 128`,
		"mx/24/64":                  `"mx/24/64": prefix length "64": want a number from 0 to 32`,
		"mx//":                      `"mx//": prefix length "": want a number from 0 to 128`,
		"ip4":                       `"ip4": want ip4:<address>, or with a prefix length after "/"`,
		"ip4:":                      `"ip4:": want ip4:<address>, or with a prefix length after "/"`,
		"ip4:192.0.2":               `"ip4:192.0.2": want ip4:<address>, or with a prefix length after "/"`,
		"ip4:192.0.2.01":            `"ip4:192.0.2.01": want ip4:<address>, or with a prefix length after "/"`,
		"ip4:mail.example.org":      `"ip4:mail.example.org": want ip4:<address>, or with a prefix length after "/"`,
		"ip4:2001:db8::1":           `"ip4:2001:db8::1": this is an IPv6 address: use ip6`,
		"ip6:192.0.2.1":             `"ip6:192.0.2.1": this is an IPv4 address: use ip4`,
		"ip6:fe80::1%eth0":          `"ip6:fe80::1%eth0": want ip6:<address>, or with a prefix length after "/"`,
		"ip4:192.0.2.0/33":          `"ip4:192.0.2.0/33": prefix length "33": want a number from 0 to 32`,
		"ip4:192.0.2.0/":            `"ip4:192.0.2.0/": prefix length "": want a number from 0 to 32`,
		"ip6:2001:db8::/129":        `"ip6:2001:db8::/129": prefix length "129": want a number from 0 to 128`,
		"=x":                        `"=x": want a mechanism, or a modifier name=value`,
		"-redirect=example.org":     `"-redirect=example.org": want a mechanism, or a modifier name=value`,
		"1x=y":                      `"1x=y": want a mechanism, or a modifier name=value`,
		"x=%":                       `"x=%": "%" alone: write %%`,
		"x=100%x":                   `"x=100%x": "%x" is no macro: write %% for %`,
		"x=%{":                      `"x=%{": a macro is not closed, or empty: want something like %{d}`,
		"x=%{}":                     `"x=%{}": a macro is not closed, or empty: want something like %{d}`,
		"x=%{d":                     `"x=%{d": a macro is not closed, or empty: want something like %{d}`,
		"x=%{x}":                    `"x=%{x}": "%{x}" is no macro`,
		"x=%{d0}":                   `"x=%{d0}": "%{d0}" is no macro`,
		"x=%{drr}":                  `"x=%{drr}": "%{drr}" is no macro`,
		"x=%{d99999}":               `"x=%{d99999}": "%{d99999}" is no macro`,
		"x=%{t}":                    `"x=%{t}": "%{t}" is for the text of explanations only`,
		"redirect=":                 `"redirect=": the domain is missing`,
		"redirect=a.b redirect=a.b": `"redirect=a.b": redirect may occur only once`,
		"exp=a.b exp=c.d":           `"exp=c.d": exp may occur only once`,
		"x=%%%":                     `"x=%%%": "%" alone: write %%`,
	} {
		t.Run(in, func(t *testing.T) {
			if diff := cmp.Diff([]string{want}, parseSPF("v=spf1 "+in).errors); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseSPFNotes(t *testing.T) {
	got := parseSPF("v=spf1 ip4=192.0.2.1 include=example.org -all")
	want := []string{
		`"ip4=192.0.2.1" is ignored: after ip4 comes a colon, not "="`,
		`"include=example.org" is ignored: after include comes a colon, not "="`,
	}
	if diff := cmp.Diff(want, got.notes); diff != "" {
		t.Error(diff)
	}
}

func TestIsSPF(t *testing.T) {
	for txt, want := range map[string]bool{
		"v=spf1": true, "v=spf1 ": true, "V=Spf1 -all": true, "v=spf10 -all": false, "v=spf1\t-all": false,
		" v=spf1": false, "": false, "v=spf1;": false, "spf2.0/pra -all": false,
	} {
		if isSPF(txt) != want {
			t.Errorf("%q: got %t", txt, !want)
		}
	}
}

// RFC 7208 §7.4, as far as it does not depend on the mail.
func TestExpand(t *testing.T) {
	const domain, sender = "email.example.com", "strong.example.org"
	for spec, want := range map[string]string{
		"_spf.example.com.": "_spf.example.com",
		"%{d}":              "email.example.com", "%{d4}": "email.example.com", "%{d3}": "email.example.com",
		"%{d2}": "example.com", "%{d1}": "com", "%{dr}": "com.example.email", "%{d2r}": "example.email", "%{D1R}.x": "email.x",
		"%{o}": "strong.example.org", "%{d1}.%{o1}": "com.org", "%{dr-}": "email.example.com", "%%%-x.org": "%%20x.org",
	} {
		if got, ok := expand(spec, domain, sender); got != want || !ok {
			t.Errorf("%s: got %q, %t, want %q", spec, got, ok, want)
		}
	}
	for _, spec := range []string{"%{i}.x.org", "%{ir}.%{v}.%{d}", "%{s}", "%{l}.org", "%{p}", "%{h}"} {
		if got, ok := expand(spec, domain, sender); ok {
			t.Errorf("%s: got %q", spec, got)
		}
	}
	long := strings.Repeat("a.", 120) + "%{d}"
	if got, _ := expand(long, domain, sender); len(got) > 253 || !strings.HasSuffix(got, ".a.email.example.com") {
		t.Errorf("a long name is not cut on the left: %q", got)
	}
}

func FuzzSPF(f *testing.F) {
	for _, s := range []string{
		"v=spf1 a:x.org/24//64 mx//0 ip4:1.2.3.4/8 ip6:::/0 ptr exists:%{ir}.x.org include:y.org redirect=z.org -all",
		"v=spf1 %{d2r-+,/_=} =x %%", "v=spf1 \x00\xff \t", "v=spf1 a:%{d/}/24",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, txt string) {
		w := newWorld(t, "e.example TXT "+txt, "x.org TXT v=spf1 include:y.org", "y.org TXT v=spf1 include:x.org a:e.example")
		got := New(Options{Resolver: w}).SPF(t.Context(), "e.example")
		if len(w.asked) > maxSPFQueries+1 {
			t.Fatalf("%d queries", len(w.asked))
		}
		for _, s := range append(slices.Clone(got.Problems), got.Record, got.Published.Why, got.Valid.Why, got.Strict.Why) {
			if strings.ContainsFunc(s, func(c rune) bool { return c != '…' && (c < ' ' || c > '~') }) || len(s) > maxRecord+20 {
				t.Fatalf("unsafe %q", s)
			}
		}
		if got.Valid.OK() && (len(parseSPF(txt).errors) > 0 || got.Lookups > maxSPFLookups) {
			t.Fatalf("valid: %+v", got)
		}
	})
}
