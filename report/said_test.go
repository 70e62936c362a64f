package report

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/rating"
)

// The id of a part is its name in JSON, and every value that has an order is one
// that has words.
func TestPartsHaveIDs(t *testing.T) {
	b, err := json.Marshal(policyinfer.Sender{})
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]string
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	parts := partsIn(policyinfer.Sender{})
	if len(parts) != len(fields) {
		t.Errorf("%d parts of %d", len(parts), len(fields))
	}
	for _, p := range parts {
		if _, ok := fields[p.id]; !ok {
			t.Errorf("%q is no part of a verdict", p.id)
		}
		var ranks []int
		for value := range p.answers {
			if rank := partRank(p.id, value); rank > 0 {
				ranks = append(ranks, rank)
			}
		}
		slices.Sort(ranks)
		if len(ranks) != 0 && len(ranks) != len(p.answers) && p.id != "verifies_ca" || len(slices.Compact(slices.Clone(ranks))) != len(ranks) {
			t.Errorf("%s: the order has %v for %d values", p.id, ranks, len(p.answers))
		}
	}
	facts := Parts(policyinfer.Sender{DANE: "yes", TLS: policyinfer.Unknown}, German)
	if len(facts) != 1 || facts[0] != (Fact{ID: "dane", Name: "DANE", Value: "durchgesetzt", Known: true, Rank: 2}) {
		t.Errorf("%+v", facts)
	}
}

func TestGrades(t *testing.T) {
	in := Input{Language: German, Inbound: &inbound.Analysis{Route: inbound.RouteMX}, Ratings: &rating.Ratings{
		Class: rating.White,
		Standards: []rating.Standard{
			{ID: rating.TLS, Met: check.Pass()},
			{ID: rating.DANE, Met: check.Fail("no TLSA"), Open: []rating.Open{{ID: rating.TLSAPresent, Outcome: check.No}, {ID: rating.MXSecure, Outcome: check.Untested}}},
			{ID: rating.MTASTS, Met: check.Skip("no answer")},
		},
		MECSA: []rating.Score{{ID: rating.Phishing, HalfStars: 5}, {ID: rating.Integrity, HalfStars: 4, Partial: true}},
	}}
	got := make(map[string]Fact)
	for _, f := range Grades(in) {
		got[f.ID] = f
	}
	for id, want := range map[string]struct {
		value string
		rank  int
		known bool
	}{
		"class": {"verschlüsselt, mit gültigen Zertifikaten (weiß)", 3, true}, rating.TLS: {"ja", 2, true}, rating.DANE: {"nein", 1, true},
		rating.MTASTS: {"nicht prüfbar", 0, false}, "mecsa " + rating.Phishing: {"2,5 von 5 Sternen", 6, true},
		"mecsa " + rating.Integrity: {"mindestens 2 von 5 Sternen", 5, false},
	} {
		if f := got[id]; f.Value != want.value || f.Rank != want.rank || f.Known != want.known || f.Name == "" {
			t.Errorf("%s: %+v, want %+v", id, f, want)
		}
	}
	if _, ok := got[rating.Qualified]; ok {
		t.Error("a standard that was not rated has a grade")
	}
	if unmet := Unmet(in); len(unmet) != 1 || unmet[0].ID != rating.TLSAPresent {
		t.Errorf("unmet: %+v", unmet)
	}
	if Grades(Input{}) != nil || Unmet(Input{}) != nil {
		t.Error("grades of what was not looked at")
	}
}

// What is said elsewhere is as neutral as the report itself.
func TestSaid(t *testing.T) {
	in := Input{
		Service: "sink.example", State: StateAcked, Test: evidence.Test{Sender: "alice@sender.example"},
		Verdict: policyinfer.Verdict{Policy: policyinfer.DANE, Findings: []policyinfer.Finding{{ID: "x", Text: "of bob@example.org\x1b[2J"}}},
	}
	got := Say(in)
	if got.Sender != "a***e@sender.example" || got.Domain != "sender.example" || got.Policy != "dane" || got.Level != "good" || got.Grade != "protected" ||
		!strings.Contains(got.Summary, "DANE") || !strings.Contains(got.State, "finished") {
		t.Errorf("%+v", got)
	}
	if text := got.Findings[0]; strings.Contains(text, "bob@") || strings.Contains(text, "\x1b") {
		t.Errorf("finding %q", text)
	}
	in.Test.Sender = ""
	if got := Say(in); got.Domain != "" {
		t.Errorf("domain of nobody: %q", got.Domain)
	}
	c := evidence.Connection{Client: "[2001:db8::1]:25", EHLO: true, Ending: evidence.EndingReset}
	if got := Notes(&c, in.Service, English); len(got) != 1 || got[0] != "connection reset" {
		t.Errorf("notes %q", got)
	}
	if got := Host(&c, in.Service); got != "2001:db8::1" {
		t.Errorf("host %q", got)
	}
}
