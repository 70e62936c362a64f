package report

import (
	"slices"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/rating"
)

// Each rule that package rating prints is here in both languages, and in
// English in the same words.
func TestEveryRuleHasWords(t *testing.T) {
	rules := rating.Rules()
	if len(rules) < 30 {
		t.Fatalf("only %d rules", len(rules))
	}
	for _, r := range rules {
		if got := ruleText(English, r); got != r.Text {
			t.Errorf("%s %s: %q, want %q", r.Standard, r.ID, got, r.Text)
		}
		if ruleText(German, r) == r.Text {
			t.Errorf("%s %s has no German text", r.Standard, r.ID)
		}
		for part := range strings.SplitSeq(r.Source, "; ") {
			neutral := strings.HasPrefix(part, "RFC ") || strings.HasPrefix(part, "BSI TR-")
			if said := sourceText(part, German); neutral != (said == part) {
				t.Errorf("the source %q is %q in German", part, said)
			}
		}
		switch r.Standard {
		case rating.OfClass:
			if !has(colours[:], r.ID) {
				t.Errorf("the class %s has no name", r.ID)
			}
			if text := classText(&inbound.Analysis{}, rating.Class(r.ID)); !strings.Contains(text.en, "("+r.ID+")") {
				t.Errorf("the class %s is called %q", r.ID, text.en)
			}
		case rating.OfMECSA:
			if ok := has(mechanisms[:], r.ID); !ok && r.ID != rating.MECSARule {
				t.Errorf("the mechanism %s has no name", r.ID)
			}
		default:
			if ok := has(requirements[:], r.ID); !ok {
				t.Errorf("the requirement %s has no name", r.ID)
			}
		}
	}
}

// No word is left of a rule that is gone.
func TestEveryRuleIsThere(t *testing.T) {
	rules := rating.Rules()
	for _, w := range ruleWords {
		if !slices.ContainsFunc(rules, func(r rating.Rule) bool { return r.ID == w.id && (w.standard == "" || w.standard == r.Standard) }) {
			t.Errorf("there is no rule %s %s", w.standard, w.id)
		}
	}
}

func TestEveryGradeHasAName(t *testing.T) {
	r := rating.Rate(inbound.Analysis{Route: inbound.RouteMX}, rating.Outbound{})
	for _, s := range r.MECSA {
		if ok := has(scores[:], s.ID); !ok {
			t.Errorf("the score %q has no name", s.ID)
		}
	}
	for _, m := range r.Mechanisms {
		if ok := has(mechanisms[:], m.ID); !ok {
			t.Errorf("the mechanism %q has no name", m.ID)
		}
	}
	if len(r.MECSA) == 0 || len(r.Mechanisms) == 0 {
		t.Error("there are no grades")
	}
}

// What is of the future is shown as it is.
func TestUnknownGrade(t *testing.T) {
	if got := requirementText(German, "of-the-\x1bfuture"); got != "of-the-\ufffdfuture" {
		t.Errorf("unknown requirement is %q", got)
	}
}

func has(list []named, id string) bool {
	return slices.ContainsFunc(list, func(n named) bool { return n.id == id })
}

// The page prints the rules of every grade.
func TestEveryGradeHasItsRules(t *testing.T) {
	for _, l := range []Language{English, German} {
		groups := speaker{l, "sink.example"}.rules()
		n := 0
		for _, g := range groups {
			n += len(g.Rules)
		}
		if want := len(rating.Rules()) - 3*2; len(groups) != 7 || n != want { // two rules are those of four standards
			t.Errorf("%d groups with %d rules", len(groups), n)
		}
	}
}
