package report

import (
	"encoding/json"
	"html"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

// What rests on other tests, or on a forwarder, is in every form of the report,
// with its caveat.
func TestProviderAndForwarder(t *testing.T) {
	in := Input{
		Service: "sink.example", Test: evidence.Test{ID: "7KQ2PX", Sender: "j@sender.example", LeftOut: 3},
		Verdict:   policyinfer.Verdict{Policy: policyinfer.Undetermined, Candidates: []policyinfer.Name{policyinfer.MTASTS, policyinfer.DANE}, LeftOut: 2},
		State:     StateConcluded,
		Provider:  &Provider{Policy: policyinfer.DANE, Candidates: []policyinfer.Name{policyinfer.DANE}, Tests: 3, Connections: 42},
		Forwarded: &Forwarded{Way: WayForwarded, By: "fwd.test", Author: "sender.example"},
	}
	page, err := Fragment(in)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"text": Text(in), "html": html.UnescapeString(string(page))} {
		text = strings.Join(strings.Fields(strings.ReplaceAll(text, "’", "'")), " ")
		for _, want := range []string{
			"What your provider's servers do", "Policy dane, as far as several tests that ran at the same time show together: 42 connections of 3 tests.",
			"This is not the verdict of your test.", "This mail was forwarded by fwd.test: what was measured is the policy of fwd.test, not that of sender.example.",
			"3 connections from addresses of this sender were not used", "2 connections contradict the mails",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q:\n%s", name, want, text)
			}
		}
	}
	b, err := JSON(in)
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		LeftOut   int        `json:"left_out"`
		Provider  *Provider  `json:"provider"`
		Forwarded *Forwarded `json:"forwarded"`
	}
	if err := json.Unmarshal(b, &out); err != nil || out.LeftOut != 3 || out.Provider == nil || out.Provider.Tests != 3 || out.Forwarded == nil || out.Forwarded.By != "fwd.test" {
		t.Errorf("JSON %s, %v", b, err)
	}
	in.Provider, in.Forwarded = nil, nil
	if text := Text(in); strings.Contains(text, "provider's servers") || strings.Contains(text, "forwarded") {
		t.Errorf("without either:\n%s", text)
	}
	for way, want := range map[string]string{WayRelayed: "handed over by the servers of fwd.test", WayUnlisted: "SPF record of sender.example excludes", "other": ""} {
		in.Forwarded = &Forwarded{Way: way, By: "fwd.test", Author: "sender.example"}
		if got := forwardedText(in); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q", way, got)
		}
	}
}
