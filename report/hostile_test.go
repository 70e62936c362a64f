package report_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/rating"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/scenario"
)

// evil holds one of everything that must not reach a reader as it is.
const evil = "x\x1b[31m\r\nSubject: forged\n\x00\u202eabc\u2066\u200b\ufeff\u2028\u0085\x9b31m\xff<script>alert(1)</script><img src=x onerror=y>\"'`&{{.}}" +
	"z\u0301\u0301\u0301\u0301\u0301\u0301 john.doe@private.example"

// hostile puts evil into every value that a sender chooses.
func hostile() report.Input {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := evil
	c := evidence.Connection{
		ID: evil, Start: at, End: at, Client: evil, Local: evil, EHLO: true, Server: 3, Helo: []string{evil},
		TLS:      &evidence.TLS{SNI: &s, ClientVersions: []string{evil}, Version: &s, Cipher: &s, Certificate: evil, TLSA: evil, Alert: &s, Error: &s},
		MailFrom: &s, RcptTo: []string{evil}, Addressed: []string{evil}, Replies: []string{evil},
		Status: evil, Ending: evil, Anomalies: []string{evil}, Refused: []string{evil}, Attribution: evil,
		Transactions: []evidence.Transaction{{
			MailFrom: evil, RcptTo: []string{evil}, Addressed: []string{evil}, MessageID: evil,
			Message: &evidence.Message{
				From: []string{evil}, To: []string{evil}, Cc: []string{evil}, Language: evil, Automatic: evil,
				DKIM:  []evidence.DKIM{{Domain: evil, Result: evil, Headers: []string{evil}, Reason: evil}},
				SPF:   evidence.SPF{Result: evil, Domain: evil, Mechanism: evil, Reason: evil},
				DMARC: evidence.DMARC{Result: evil, Domain: evil, From: evil, Policy: evil, Reason: evil}, ARC: true,
				Chain: evidence.ARCChain{Result: evil, Sets: 1 << 40, Sealer: evil, Reason: evil},
				Received: []evidence.Hop{
					{From: evil, By: evil, With: evil, Claim: evil, TLS: evil, Cipher: evil},
					{From: evil, By: evil, With: evil, Claim: evidence.ClaimEncrypted, TLS: evil, Cipher: evil},
				},
			},
		}},
	}
	fetch := evidence.PolicyFetch{Time: at, Client: evil, Host: evil, UserAgent: evil}
	query := evidence.Query{Time: at, Client: evil, Name: evil, Type: evil, Rcode: evil}
	test := evidence.Test{ID: evil, Zone: "sink.example", Started: at, Sender: evil, SenderIPs: []string{evil}}
	var analysis inbound.Analysis
	var ratings rating.Ratings
	fill(reflect.ValueOf(&analysis).Elem())
	fill(reflect.ValueOf(&ratings).Elem())
	return report.Input{
		Service: "sink.example", Test: test, Inbound: &analysis, Ratings: &ratings, InboundMissing: evil,
		History: evidence.History{
			Test: test, Connections: []evidence.Connection{c}, Queries: []evidence.Query{query}, Fetches: []evidence.PolicyFetch{fetch},
			States: []evidence.State{{Time: at, Phase: evil, MX: map[string]int{evil: 1}, Unverifiable: evil, Broken: evil}},
		},
		Verdict: policyinfer.Verdict{
			Policy: evil, Candidates: []policyinfer.Name{evil}, Hosts: map[string]policyinfer.HostVerdict{evil: {
				Policy: evil, Candidates: []policyinfer.Name{evil}, Sender: policyinfer.Sender{MTASTS: evil, WithoutTLS: evil},
			}},
			Findings: []policyinfer.Finding{{ID: evil, Text: evil, Connections: []evidence.ConnID{evil}}},
			Reasons:  []policyinfer.Reason{{Text: evil, Connections: []evidence.ConnID{evil, "unknown"}}},
			Missing:  []policyinfer.Missing{{Face: 99, Certificate: evil, TellsApart: []policyinfer.Name{evil}}},
			Sender:   policyinfer.Sender{TLS: evil, DANE: evil},
		},
		State: evil, Generated: at, Link: "javascript:alert(1)//" + evil, Delivery: evil, Engine: evil,
		Around: []evidence.Query{query},
	}
}

// fill puts evil into every text of v, and answers every question with no, so
// that the reasons are shown.
func fill(v reflect.Value) {
	switch at := v.Addr().Interface().(type) {
	case *check.Outcome:
		*at = check.No
	case *dnssec.Status:
		*at = dnssec.Bogus
	case *inbound.Route:
		*at = inbound.RouteMX
	case *netip.Addr:
		*at = netip.MustParseAddr("192.0.2.1")
	case *time.Time:
		*at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	case *[]*x509.Certificate: // is never shown
	case *[]rating.Standard:
		for _, id := range []string{rating.TLS, rating.DANE, evil} {
			st := rating.Standard{ID: id, Met: check.Fail(evil)}
			for _, o := range []check.Outcome{check.No, check.Untested, evil} {
				st.Open = append(st.Open, rating.Open{ID: evil, Outcome: o, Subject: evil, Why: evil}, rating.Open{ID: rating.StartTLS, Outcome: o, Subject: evil, Why: evil})
			}
			*at = append(*at, st)
		}
	default:
		fillKind(v)
	}
}

func fillKind(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(evil)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	}
}

// invisible finds characters that are not shown as what they are.
func invisible(s string) (rune, bool) {
	for _, r := range s {
		if r != '\n' && !unicode.IsPrint(r) {
			return r, true
		}
	}
	return 0, !utf8.ValidString(s)
}

func checkPlain(t *testing.T, form, s string) {
	t.Helper()
	if r, bad := invisible(s); bad {
		t.Errorf("%s holds character %U or invalid UTF-8", form, r)
	}
	if strings.Contains(s, "john.doe") {
		t.Errorf("%s holds a full address", form)
	}
	if strings.Contains(s, strings.Repeat("\u0301", 3)) {
		t.Errorf("%s holds heaps of combining characters", form)
	}
}

func TestHostileText(t *testing.T) {
	in := hostile()
	text := report.Text(in)
	checkPlain(t, "text", text)
	if strings.Contains(text, "\nSubject: forged") {
		t.Error("a line was injected")
	}
	if strings.Contains(text, "javascript:") {
		t.Error("the text holds a link that is no web address")
	}
	subject := report.Subject(in)
	checkPlain(t, "subject", subject)
	if strings.Contains(subject, "\n") || utf8.RuneCountInString(subject) > 250 {
		t.Errorf("subject is not one short line: %q", subject)
	}
}

func TestHostileJSON(t *testing.T) {
	b, err := report.JSON(hostile())
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case string:
			checkPlain(t, path, v)
			if strings.Contains(v, "\n") {
				t.Errorf("%s holds a line end", path)
			}
		case []any:
			for i, e := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), e)
			}
		case map[string]any:
			for k, e := range v {
				checkPlain(t, path+" key", k)
				walk(path+"."+k, e)
			}
		}
	}
	walk("", v)
}

func TestHostileHTML(t *testing.T) {
	page, err := report.HTML(hostile())
	if err != nil {
		t.Fatal(err)
	}
	checkElements(t, page, true)
	fragment, err := report.Fragment(hostile())
	if err != nil {
		t.Fatal(err)
	}
	checkElements(t, []byte(fragment), false)
}

// checkElements parses a document and accepts only what the templates hold.
func checkElements(t *testing.T, page []byte, styles bool) {
	t.Helper()
	checkPlain(t, "HTML", string(page))
	allowed := map[string]bool{}
	for name := range strings.FieldsSeq("html head meta title style body div h1 h2 h3 p strong br bdi table tbody tr th td ul ol li span a") {
		allowed[name] = true
	}
	attributes := map[string]bool{"style": styles}
	for name := range strings.FieldsSeq("class href rel scope lang charset name content role align colspan") {
		attributes[name] = true
	}
	if !styles { // a page has a drawing, and folds what few will read
		for name := range strings.FieldsSeq("svg title desc rect line circle text details summary h4") {
			allowed[name] = true
		}
		for name := range strings.FieldsSeq("id aria-labelledby viewbox x y x1 y1 x2 y2 cx cy r rx width height") {
			attributes[name] = true
		}
	}
	z := html.NewTokenizer(bytes.NewReader(page))
	elements := 0
	for {
		switch z.Next() {
		case html.ErrorToken:
			if elements < 20 {
				t.Errorf("only %d elements", elements)
			}
			return
		case html.StartTagToken, html.SelfClosingTagToken:
			elements++
			token := z.Token()
			if !allowed[token.Data] {
				t.Errorf("element %s in the report", token)
			}
			for _, a := range token.Attr {
				if !attributes[a.Key] {
					t.Errorf("attribute %s of %s", a.Key, token.Data)
				}
				if a.Key == "href" && !strings.HasPrefix(a.Val, "https://") {
					t.Errorf("link to %q", a.Val)
				}
				if a.Key == "style" && (strings.Contains(a.Val, "url(") || strings.Contains(a.Val, "ZgotmplZ")) {
					t.Errorf("style %q", a.Val)
				}
			}
		}
	}
}

// The mail loads nothing from elsewhere, so nobody learns that it was read.
func TestNoRemoteContent(t *testing.T) {
	for name, in := range cases(t) {
		page, err := report.HTML(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{"src=", "url(", "@import", "<link", "<script", "ZgotmplZ"} {
			if bytes.Contains(page, []byte(s)) {
				t.Errorf("%s: the mail holds %s", name, s)
			}
		}
		checkElements(t, page, true)
		if len(page) > 90_000 { // Gmail shows no more than 102 KB
			t.Errorf("%s: the mail has %d octets", name, len(page))
		}
	}
}

func TestRedaction(t *testing.T) {
	for _, c := range []struct{ name, sender, want string }{
		{"usual", "john@example.org", "j***n@example.org"},
		{"short", "joe@example.org", "j***@example.org"},
		{"one letter", "j@example.org", "***@example.org"},
		{"quoted", `"john doe"@example.org`, "j***e@example.org"},
		{"two signs", "john@example.org@relay.example", "j***g@relay.example"},
		{"at our domain", "en@et.sink.example", "en@et.sink.example"},
		{"routed over our domain", "john%example.org@et.sink.example", "j***g@et.sink.example"},
		{"no domain", "John.Doe", "J***e"},
		{"like our domain", "john@notsink.example", "j***n@notsink.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := hostile()
			in.Test.Sender = c.sender
			_, text, _ := strings.Cut(report.Text(in), "\nSender:    ")
			if got, _, _ := strings.Cut(text, "\n"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Addresses are found in the middle of a text, too.
func TestRedactionInText(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"plain", "no user john.doe@example.org here", "no user j***e@example.org here"},
		{"in brackets", "550 <john.doe@example.org>: unknown", "550 <j***e@example.org>: unknown"},
		{"with a full stop", "unknown: john.doe@example.org.", "unknown: j***e@example.org."},
		{"quoted", `to "john doe"@example.org failed`, "to j***e@example.org failed"},
		{"quote inside", `to john"doe@example.org failed`, "to j***e@example.org failed"},
		{"address literal", "to john.doe@[192.0.2.1] failed", "to j***e@[192.0.2.1] failed"},
		{"two", "john.doe@example.org,jane.doe@example.org", "j***e@example.org,j***e@example.org"},
		{"two signs", "john.doe@example.org@relay.example", "j***g@relay.example"},
		{"as a link", "mailto:john.doe@example.org", "m***e@example.org"},
		{"ours", "to en@et.sink.example failed", "to en@et.sink.example failed"},
		{"no address", "at 12:00 @ home", "at 12:00 @ home"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := hostile()
			in.Delivery = c.text
			b, err := report.JSON(in)
			if err != nil {
				t.Fatal(err)
			}
			var got struct{ Delivery string }
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			if got.Delivery != c.want {
				t.Errorf("got %q, want %q", got.Delivery, c.want)
			}
		})
	}
}

// A long history is folded: the first, the last, and how many are between.
func TestManyConnections(t *testing.T) {
	in := recorded(t, "postfix-dane")
	first := in.History.Connections[0]
	in.History.Connections = nil
	for i := range 10_000 {
		c := first.Clone()
		c.ID = evidence.ConnID(fmt.Sprint(i))
		in.History.Connections = append(in.History.Connections, c)
		in.Verdict.Reasons[0].Connections = append(in.Verdict.Reasons[0].Connections, c.ID)
	}
	in.Verdict.Hosts = make(map[string]policyinfer.HostVerdict)
	for i := range 1000 {
		in.Verdict.Hosts[fmt.Sprintf("192.0.2.%d", i)] = policyinfer.HostVerdict{Policy: policyinfer.None}
	}
	text := report.Text(in)
	for _, want := range []string{"- …: 960 more", "10000 connections. The JSON file has more", "... 9970 connections left out here ...", ": #14\n", ": #9985\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the text", want)
		}
	}
	if strings.Contains(text, ": #15\n") {
		t.Error("connection 15 is shown")
	}
	page, err := report.HTML(in)
	if err != nil {
		t.Fatal(err)
	}
	// Gmail shows no more than 102 KB of a mail.
	if len(text) > 24_000 || len(page) > 90_000 {
		t.Errorf("text has %d octets, HTML %d", len(text), len(page))
	}
	b, err := report.JSON(in)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Omitted int `json:"records_omitted"`
	}
	if err := json.Unmarshal(b, &got); err != nil || got.Omitted != 8000 {
		t.Errorf("%d records omitted, error %v; want 8000", got.Omitted, err)
	}
}

// However long everything is, the mail stays below what Gmail shows, and keeps
// what matters most.
func TestLongestMail(t *testing.T) {
	in := hostile()
	long := strings.Repeat("a long word of a stranger ", 200)
	for range 200 {
		c := in.History.Connections[0].Clone()
		c.Helo, c.Anomalies = []string{long}, []string{long, long, long, long}
		in.History.Connections = append(in.History.Connections, c)
		in.Verdict.Reasons = append(in.Verdict.Reasons, policyinfer.Reason{Text: long, Connections: []evidence.ConnID{"1", "2", "3"}})
	}
	in.Verdict.Reasons = in.Verdict.Reasons[:40]
	for i := range 30 {
		h := in.Inbound.Hosts[0]
		h.Name = fmt.Sprint(i, long)
		in.Inbound.Hosts = append(in.Inbound.Hosts, h)
	}
	in.Verdict.Policy = policyinfer.DANE
	page, err := report.HTML(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(page) > 90_000 || !bytes.Contains(page, []byte("This mail was shortened")) || !bytes.Contains(page, []byte("Your provider protects mail")) {
		t.Errorf("%d octets:\n%.2000s", len(page), page)
	}
}

// Whatever a sender chooses, the report is clean.
func FuzzReport(f *testing.F) {
	f.Add(evil, "a@b")
	f.Add("\"", "\"a@b\"@c")
	f.Fuzz(func(t *testing.T, value, address string) {
		in := hostile()
		c := &in.History.Connections[0]
		c.Helo, c.TLS.SNI, c.ID = []string{value}, &value, evidence.ConnID(value)
		c.TLS.Certificate = string(scenario.SelfSigned)
		c.Transactions[0].MailFrom, in.Test.Sender, in.Link = address, address, value
		in.Delivery, in.Verdict.Findings[0].Text = value, value
		text := report.Text(in)
		if r, bad := invisible(text); bad {
			t.Errorf("text holds %U", r)
		}
		if strings.Contains(report.Subject(in), "\n") {
			t.Error("subject has more than one line")
		}
		if _, err := report.JSON(in); err != nil {
			t.Error(err)
		}
		page, err := report.HTML(in)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(page, []byte("ZgotmplZ")) {
			t.Error("a value reached a place where it does not belong")
		}
	})
}
