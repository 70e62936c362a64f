package live_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/rating"
	"github.com/tlsink/tlsink/report"
)

// inputOf is the end of a recorded test, as many days later as is said.
func inputOf(t *testing.T, name string, days int) report.Input {
	t.Helper()
	s := snapshotOf(readHistory(t, filepath.Join(histories, name+".jsonl")), report.StateAcked)
	in := *s.Input
	in.Test.ID, in.Test.Started = fmt.Sprintf("test-%d", days), time.Date(2026, 10, 1+days, 8, 0, 0, 0, time.UTC)
	in.Test.Sender = "alice@sender.example"
	return in
}

// received adds an analysis of the domain.
func received(in report.Input, class rating.Class, dane check.Outcome, open ...rating.Open) report.Input {
	in.Inbound = &inbound.Analysis{Domain: "sender.example", Route: inbound.RouteMX}
	in.Ratings = &rating.Ratings{
		Class:     class,
		Standards: []rating.Standard{{ID: rating.TLS, Met: check.Result{Outcome: check.Yes}}, {ID: rating.DANE, Met: check.Result{Outcome: dane}, Open: open}},
		MECSA:     []rating.Score{{ID: rating.Confidential, HalfStars: map[check.Outcome]int{check.Yes: 9, check.No: 6}[dane], Partial: dane == check.Untested}},
	}
	return in
}

type comparison struct {
	name       string
	a, b       report.Input
	trend      live.Trend
	comparable bool
}

func comparisons(t *testing.T) []comparison {
	t.Helper()
	change := func(in report.Input, f func(*report.Input)) report.Input {
		f(&in)
		return in
	}
	undetermined := func(in *report.Input) {
		in.Verdict.Policy, in.Verdict.Conclusive = policyinfer.Undetermined, false
		in.Verdict.Candidates = []policyinfer.Name{policyinfer.May, policyinfer.MTASTS}
	}
	mixed := func(policy policyinfer.Name) func(*report.Input) {
		return func(in *report.Input) {
			in.Verdict.Policy = policyinfer.Mixed
			in.Verdict.Hosts = map[string]policyinfer.HostVerdict{"192.0.2.10": {Policy: policy}, "192.0.2.77": {Policy: policyinfer.DANE}}
			in.Verdict.Sender = policyinfer.Sender{}
		}
	}
	may, dane := inputOf(t, "postfix-may", 0), inputOf(t, "postfix-dane", 7)
	moved := func(in *report.Input) {
		in.History.Connections = append([]evidence.Connection(nil), in.History.Connections...)
		for i := range in.History.Connections {
			in.History.Connections[i].Client = fmt.Sprintf("198.51.100.%d:25", i%9)
		}
	}
	return []comparison{
		{"better", may, dane, live.Better, true},
		{"worse", inputOf(t, "postfix-dane", 0), inputOf(t, "postfix-may", 7), live.Worse, true},
		{"given in the wrong order", dane, may, live.Better, true},
		{"same", inputOf(t, "postfix-dane", 0), inputOf(t, "postfix-dane", 7), live.Same, true},
		{"protected in another way", inputOf(t, "postfix-sts-may", 0), dane, live.Other, true},
		{"verify after encrypt", inputOf(t, "postfix-encrypt", 0), change(inputOf(t, "postfix-verify-sni", 7), func(in *report.Input) { in.Verdict.Policy = policyinfer.Verify }), live.Better, true},
		{"other hosts, a new finding", inputOf(t, "exim-debian", 0), change(inputOf(t, "chasquid-default", 7), moved), "", true},
		{"mixed, a host changed", change(may, mixed(policyinfer.None)), change(dane, mixed(policyinfer.May)), live.Same, true},
		{"mixed since then", may, change(dane, mixed(policyinfer.May)), live.Other, true},
		{"undetermined before", change(may, undetermined), dane, live.Unknown, false},
		{"undetermined now", may, change(dane, undetermined), live.Unknown, false},
		{"another version of the rules", change(may, func(in *report.Input) { in.Engine = "2" }), dane, live.Unknown, false},
		{"another version, same verdict", change(may, func(in *report.Input) { in.Engine = "2" }), inputOf(t, "postfix-may", 7), live.Same, true},
		{"other domains", change(may, func(in *report.Input) { in.Test.Sender = "bob@elsewhere.example" }), dane, live.Unknown, false},
		{"still running", may, change(dane, func(in *report.Input) { in.State = report.StateRunning; undetermined(in) }), live.Unknown, false},
		{"still running, and nearly sure", may, change(dane, func(in *report.Input) { in.State = report.StateRunning }), live.Unknown, false},
		{"the same test", dane, dane, live.Same, true},
		{"receives better", received(may, rating.White, check.No, rating.Open{ID: rating.TLSAPresent, Outcome: check.No}), received(dane, rating.Green, check.Yes), live.Better, true},
		{"receives worse", received(may, rating.Green, check.Yes), received(dane, rating.White, check.No, rating.Open{ID: rating.TLSAMatch, Outcome: check.No}), live.Better, true},
		{"receiving could not be tested", received(may, rating.Green, check.Yes), received(dane, rating.Grey, check.Untested, rating.Open{ID: rating.TLSAMatch, Outcome: check.Untested}), live.Better, true},
		{"receiving looked at once", may, received(dane, rating.Green, check.Yes), live.Better, true},
	}
}

func TestCompare(t *testing.T) {
	var b strings.Builder
	for _, c := range comparisons(t) {
		fmt.Fprintf(&b, "##### %s\n", c.name)
		for _, l := range []report.Language{report.English, report.German} {
			got := live.Compare(c.a, c.b, l)
			if c.trend != "" && got.Trend != c.trend || got.Comparable != c.comparable {
				t.Errorf("%s: trend %s, comparable %t; want %s, %t", c.name, got.Trend, got.Comparable, c.trend, c.comparable)
			}
			if !got.Comparable && (got.Trend == live.Better || got.Trend == live.Worse) {
				t.Errorf("%s: %s, but not comparable", c.name, got.Trend)
			}
			text := got.Text()
			if strings.Contains(text, "%!") || strings.Contains(text, "alice") {
				t.Errorf("%s: %s", c.name, text)
			}
			if got.Earlier.Started.After(got.Later.Started) {
				t.Errorf("%s: the earlier test is the later one", c.name)
			}
			fmt.Fprintf(&b, "%s\n", text)
			if raw, err := json.Marshal(got); err != nil || strings.Contains(string(raw), ":null") {
				t.Errorf("%s: JSON %s, %v", c.name, raw, err)
			}
		}
	}
	golden(t, "comparisons.txt", b.String())
}

// Nothing of one domain is told to whoever has a test of another.
func TestCompareOfOtherDomains(t *testing.T) {
	a, b := inputOf(t, "postfix-may", 0), inputOf(t, "postfix-dane", 7)
	a.Test.Sender = "bob@elsewhere.example"
	if got := live.Compare(a, b, report.English); len(got.Changes) != 0 || !strings.Contains(got.Summary, "can’t be compared") {
		t.Errorf("%+v", got)
	}
}

// A comparison is bounded, and neutralises what strangers chose.
func TestCompareHostile(t *testing.T) {
	a, b := inputOf(t, "postfix-may", 0), inputOf(t, "postfix-dane", 7)
	for i := range 500 {
		b.Verdict.Findings = append(b.Verdict.Findings, policyinfer.Finding{ID: fmt.Sprintf("x%d\x1b[2J", i), Text: "of victim@example.org\x1b[2J" + strings.Repeat("x", 5000)})
	}
	b.Engine = "3\x1b\n"
	got := live.Compare(a, b, report.English)
	if len(got.Changes) > 100 {
		t.Errorf("%d changes", len(got.Changes))
	}
	raw, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if text := got.Text() + string(raw); strings.Contains(text, "\x1b") || strings.Contains(text, "victim@") || len(text) > 200_000 {
		t.Errorf("%d octets: %.2000q", len(text), text)
	}
}
