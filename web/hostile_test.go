package web_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/web"
)

// hostile are values that strangers choose: names in EHLO, SNI and DNS, header
// fields, programs. Nothing of them may become more than text.
var hostile = map[string]string{
	"script":        `"><script>alert(1)</script>`,
	"image":         `<img src=x onerror=alert(1)>`,
	"attribute":     `" onmouseover="alert(1)" x="`,
	"single quote":  `' autofocus onfocus='alert(1)`,
	"template":      `</template></bdi></li></ol></div><form action="/start">`,
	"comment":       `--><!--<script>`,
	"title":         `</title><svg onload=alert(1)>`,
	"raw text":      `</script><script src=//evil.example>`,
	"scheme":        `javascript:alert(1)`,
	"data":          `data:text/html;base64,PHNjcmlwdD4=`,
	"template go":   `{{.Secret}} {{template "row" .}}`,
	"right to left": "\u202egnp.exe\u2066<b>\u2069\u200f",
	"control":       "\x00\x1b[31m\x07\u2028\u2029\r\n\r\ndata: <b>",
	"not UTF-8":     "\xff\xfe<\xc0\xbcscript>",
	"entities":      `&lt;script&gt;&#60;b&#62;&NewLine;`,
	"long":          strings.Repeat(`<a href="javascript:x">`, 500),
}

// raw is a status that holds a value everywhere, as if nothing had cleaned it.
func raw(v string, state live.State) *live.Status {
	connection := live.Connection{
		Number: 1, ID: evidence.ConnID(v), Time: start, Open: true, Client: v, Name: v, Server: 5, Outcome: live.Refused, Phase: evidence.Phase(v),
		SNI: v, TLS: v, By: evidence.Attribution(v), Text: v, Details: []string{v, v},
	}
	out := &live.Status{
		Test: v, State: state, Language: "en", Now: start, Started: start, Text: v, Sender: v,
		Connections: []live.Connection{connection}, Missing: []string{v}, Slow: v, Finding: []string{v},
		Addresses: &live.Addresses{ET: v, UT: v, Mailto: v}, Place: &live.Place{Ahead: 1, Free: start}, Expires: start,
		Phase: &live.Phase{Name: v, Ends: start, Text: v}, Rotation: live.Rotation{Order: []string{v}, Next: start}, Next: &live.Expected{From: start, To: start, Text: v},
		Verdict: &live.Verdict{Policy: v, Candidates: []string{v}, Level: "good", Grade: v, Summary: v},
	}
	for i := range 7 {
		out.Servers = append(out.Servers, live.Server{Number: i + 1, Name: v, Connections: 1, Outcome: live.Mixed, Text: v})
	}
	return out
}

// hostileInput is evidence that holds a value wherever a stranger writes.
func hostileInput(v, state string) report.Input {
	from := v + "@sender.example"
	test := evidence.Test{ID: "7KQ2XM", Zone: zone, Started: start, Sender: from}
	return report.Input{
		Service: zone, Test: test, State: state, Generated: start, Engine: "1", Delivery: v,
		Verdict: policyinfer.Verdict{Policy: policyinfer.DANE, Conclusive: true, Candidates: []policyinfer.Name{policyinfer.DANE}},
		History: evidence.History{
			Test: test,
			Connections: []evidence.Connection{{
				ID: "1", Start: start, End: start, Client: "192.0.2.1:4711", EHLO: true, Server: 6, StartTLSOffered: true, Helo: []string{v}, Anomalies: []string{v},
				TLS:      &evidence.TLS{SNI: &v, Version: &v, Cipher: &v, Complete: true, ClientVersions: []string{v}},
				MailFrom: &from, Status: evidence.StatusMail, Ending: evidence.EndingQuit,
				Transactions: []evidence.Transaction{{MailFrom: from, RcptTo: []string{"en@et." + zone, v + "@et." + zone}, MessageID: v, TLS: true, Message: &evidence.Message{
					From: []string{from}, Language: v, SPF: evidence.SPF{Result: "pass", Domain: v, Reason: v}, Received: []evidence.Hop{{From: v, By: v, With: v}},
				}}},
			}},
			Queries: []evidence.Query{{Time: start, Client: v, Name: v, Type: v, Rcode: v}},
			Fetches: []evidence.PolicyFetch{{Time: start, Client: "192.0.2.1", Host: v, UserAgent: v, Status: 200}},
		},
	}
}

// skeleton lists the elements and the names of their attributes, and the
// values of those that a browser acts upon.
func skeleton(t *testing.T, page string) (out []string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		names := make([]string, 0, len(n.Attr))
		for _, a := range n.Attr {
			names = append(names, a.Key)
			switch a.Key {
			case "href", "src", "action":
				u, err := url.Parse(a.Val)
				if err != nil || u.Scheme != "" && u.Scheme != "mailto" || u.Host != "" {
					if a.Val != "#ZgotmplZ" {
						t.Errorf("%s of %s is %q", a.Key, n.Data, a.Val)
					}
				}
			}
		}
		slices.Sort(names)
		out = append(out, n.Data+" "+strings.Join(names, " "))
	}
	return out
}

// Pages and streams have the same elements, whatever strangers say.
func TestStrangersAddNothingToPages(t *testing.T) {
	for _, state := range []live.State{live.Queued, live.Waiting, live.Expired, live.Running, live.Acked} {
		page, stream := shownRaw(t, "word", state)
		wantPage, wantStream := skeleton(t, page), skeleton(t, stream)
		for name, v := range hostile {
			t.Run(fmt.Sprintf("%s/%s", state, name), func(t *testing.T) {
				page, stream := shownRaw(t, v, state)
				if diff := cmp.Diff(wantPage, skeleton(t, page)); diff != "" {
					t.Errorf("elements of the page (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(wantStream, skeleton(t, stream)); diff != "" {
					t.Errorf("elements in the stream (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// shownRaw is the page of a status that holds v everywhere, and the HTML that
// its stream brings.
func shownRaw(t *testing.T, v string, state live.State) (page, stream string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := watched(t, newBoard(func(report.Language) *live.Status { return raw(v, state) }), nil)
		f.source.in = hostileInput("word", report.StateAcked)
		page = f.get(resultURL).Body.String()
		s := f.follow(t, "l=en", "", visitor)
		stream = data(s.take())
		s.leave()
	})
	if len(stream) < 200 {
		t.Fatalf("the stream is empty: %q", stream)
	}
	return page, stream
}

// data is the HTML that a page makes of a stream.
func data(stream string) string {
	var b strings.Builder
	for line := range strings.Lines(stream) {
		if text, ok := strings.CutPrefix(line, "data: "); ok {
			b.WriteString(text)
		}
	}
	return b.String()
}

// The way of a real test: what strangers say in SMTP, TLS, DNS and HTTP.
func TestStrangersAddNothingToRealTests(t *testing.T) {
	for _, state := range []string{report.StateRunning, report.StateAcked} {
		var want []string
		for i, name := range append([]string{""}, names(hostile)...) {
			v := hostile[name]
			if i == 0 {
				v = "<b>" // changed as others are, but in the template there is none
			}
			in := hostileInput(v, state)
			f := watched(t, boardOf(live.Snapshot{ID: in.Test.ID, Zone: zone, Now: start, Input: &in}), nil)
			f.source.in = in
			for _, path := range []string{"", "?l=de"} {
				page := f.get(resultURL + path).Body.String()
				if strings.ContainsAny(page, "\x00\x1b\x07\u202e\u2066\u2028") {
					t.Errorf("%s, %s: characters that are not visible", state, name)
				}
				got := skeleton(t, page)
				for _, forbidden := range []string{"b ", "img onerror src", "form action", "svg onload"} {
					if slices.Contains(got, forbidden) {
						t.Errorf("%s, %s: element %q", state, name, forbidden)
					}
				}
				if want == nil {
					want = elements(got)
				}
				if diff := cmp.Diff(want, elements(got)); diff != "" {
					t.Errorf("%s, %s: kinds of elements (-want +got):\n%s", state, name, diff)
				}
			}
		}
	}
}

// elements are the different ones of a skeleton.
func elements(skeleton []string) []string {
	out := slices.Clone(skeleton)
	slices.Sort(out)
	return slices.Compact(out)
}

func names(m map[string]string) (out []string) {
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// What the operator writes is text, too.
func TestSettingsAddNothingToPages(t *testing.T) {
	for _, path := range []string{"/privacy?l=en", "/privacy?l=de", "/en", "/de", "/status"} {
		var want []string
		for i, v := range append([]string{"word"}, names(hostile)...) {
			if i > 0 {
				v = hostile[v]
			}
			f := watched(t, boardOf(waiting()), func(o *web.Options) {
				p := settings()
				p.Operator, p.Contact, p.NetworkZones, p.Providers, p.WebhookHosts = v, v, []string{v}, []string{v}, []string{v}
				o.Privacy, o.Version = p, v
			})
			f.source.status.NotReady, f.source.status.Broken, f.source.status.Unverifiable, f.source.status.MX, f.source.status.Ready = v, v, v, []string{v}, false
			got := skeleton(t, f.get("https://"+zone+path).Body.String())
			if want == nil {
				want = got
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %.30q: elements (-want +got):\n%s", path, v, diff)
			}
		}
	}
}
