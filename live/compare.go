package live

import (
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

// Trend is how something has changed for the one whose mail it is.
type Trend string

// The trends. Other is a change of which neither side is better; Unknown means
// that the two can't be compared.
const (
	Same    Trend = "same"
	Better  Trend = "better"
	Worse   Trend = "worse"
	Other   Trend = "other"
	Unknown Trend = "unknown"
)

// Area is what a change is about.
type Area string

// The areas, in the order of a Comparison.
const (
	AreaPolicy   Area = "policy"  // of outbound mail
	AreaPart     Area = "part"    // of what is known of the sender
	AreaFinding  Area = "finding" // about outbound mail
	AreaHost     Area = "host"    // that sent the mails
	AreaGrade    Area = "grade"   // of inbound mail
	AreaInbound  Area = "inbound" // requirements that are not met
	maxChanges        = 100       // of all areas
	maxHostsTold      = 4         // new or gone
)

// Side is one of two tests.
type Side struct {
	Test       string    `json:"test"`
	Started    time.Time `json:"started"`
	Policy     string    `json:"policy"`
	Candidates []string  `json:"candidates,omitempty"`
	Level      string    `json:"level"` // good, fair, weak, bad, open
	Grade      string    `json:"grade"`
	Engine     string    `json:"engine"`
}

// Change is one difference.
type Change struct {
	Area    Area   `json:"area"`
	ID      string `json:"id"` // the same in every language
	Trend   Trend  `json:"trend"`
	Name    string `json:"name"`
	Earlier string `json:"earlier,omitempty"` // what it was; empty: it was not there
	Later   string `json:"later,omitempty"`
	Text    string `json:"text"` // all of it as a sentence
}

// Comparison says what changed from one test of a domain to a later one.
type Comparison struct {
	Language   string   `json:"language"`
	Domain     string   `json:"domain"` // of the sender
	Earlier    Side     `json:"earlier"`
	Later      Side     `json:"later"`
	Comparable bool     `json:"comparable"` // both verdicts
	Trend      Trend    `json:"trend"`      // of the verdict
	Summary    string   `json:"summary"`    // one or two sentences, the verdict first
	Cautions   []string `json:"cautions"`   // why less, or nothing, follows from a difference
	Changes    []Change `json:"changes"`
}

// Compare says what changed from a to b. Their order is that of their begins,
// however they are given.
func Compare(a, b report.Input, l report.Language) Comparison {
	if l != report.German {
		l = report.English
	}
	if b.Test.Started.Before(a.Test.Started) {
		a, b = b, a
	}
	a.Language, b.Language = l, l
	earlier, later := report.Say(a), report.Say(b)
	c := comparer{l: l, a: a, b: b, earlier: earlier, later: later}
	out := Comparison{
		Language: string(l), Domain: later.Domain, Earlier: sideOf(a, earlier), Later: sideOf(b, later), Cautions: []string{}, Changes: []Change{},
	}
	if earlier.Domain == "" || later.Domain == "" {
		out.Trend = Unknown
		out.Summary = phrase{
			"These tests can’t be compared: not both tell whose mail they are about.",
			"Diese Tests lassen sich nicht vergleichen: Nicht beide zeigen, wessen E-Mails sie betreffen.",
		}.in(l)
		return out
	}
	if !strings.EqualFold(earlier.Domain, later.Domain) {
		out.Trend = Unknown
		out.Summary = phrase{
			"These tests can’t be compared: one is of %[1]s, the other of %[2]s.",
			"Diese Tests lassen sich nicht vergleichen: Der eine ist von %[1]s, der andere von %[2]s.",
		}.with(l, earlier.Domain, later.Domain)
		return out
	}
	out.Trend, out.Comparable = c.trend()
	out.Cautions = append(out.Cautions, c.cautions()...)
	out.Changes = append(out.Changes, c.changes(out.Trend)...)
	out.Changes = out.Changes[:min(len(out.Changes), maxChanges)]
	out.Summary = c.summary(out)
	return out
}

func sideOf(in report.Input, said report.Said) Side {
	out := Side{
		Test: report.Clean(in.Test.ID, in.Service, maxName), Started: in.Test.Started.UTC(), Policy: said.Policy, Level: said.Level,
		Grade: said.Grade, Engine: report.Clean(in.Engine, in.Service, maxName),
	}
	if in.Verdict.Policy == policyinfer.Undetermined {
		for _, n := range in.Verdict.Candidates[:min(len(in.Verdict.Candidates), len(policyinfer.Names()))] {
			out.Candidates = append(out.Candidates, report.Clean(string(n), in.Service, maxName))
		}
	}
	return out
}

// A comparer compares two tests of one domain.
type comparer struct {
	l              report.Language
	a, b           report.Input
	earlier, later report.Said
}

// trend compares the verdicts. What the engine of another version concluded can
// be the same, but a difference may come from the engine.
func (c comparer) trend() (t Trend, comparable bool) {
	a, b := c.a.Verdict.Policy, c.b.Verdict.Policy
	names := policyinfer.Names()
	switch {
	case a == policyinfer.Undetermined || b == policyinfer.Undetermined || a == "" || b == "":
		return Unknown, false
	case c.running():
		return Unknown, false
	case a == b:
		return Same, true
	case c.a.Engine != c.b.Engine:
		return Unknown, false
	case !slices.Contains(names, a) || !slices.Contains(names, b):
		return Other, true // mixed
	}
	switch before, now := strength(a), strength(b); {
	case now > before:
		return Better, true
	case now < before:
		return Worse, true
	}
	return Other, true
}

func (c comparer) running() bool {
	return c.a.State == report.StateRunning || c.b.State == report.StateRunning
}

// strength orders policies by what they keep an attacker from. Of those that
// protect as a standard asks none is stronger: they protect in different ways.
func strength(n policyinfer.Name) int {
	switch n {
	case policyinfer.May:
		return 1
	case policyinfer.Encrypt:
		return 2
	case policyinfer.Verify:
		return 3
	case policyinfer.MTASTS, policyinfer.DANE, policyinfer.DANEOnly, policyinfer.DANEMTASTS:
		return 4
	}
	return 0
}

// changes lists all differences, the verdict first.
func (c comparer) changes(t Trend) (out []Change) {
	if c.earlier.Policy != c.later.Policy {
		out = append(out, c.change(AreaPolicy, "policy", t, phrase{"Policy", "Schutzstufe"}.in(c.l), c.verdict(c.earlier), c.verdict(c.later)))
	}
	out = append(out, c.facts(AreaPart, report.Parts(c.a.Verdict.Sender, c.l), report.Parts(c.b.Verdict.Sender, c.l))...)
	out = append(out, c.findings()...)
	out = append(out, c.hosts()...)
	if c.bothInbound() {
		out = append(out, c.facts(AreaGrade, report.Grades(c.a), report.Grades(c.b))...)
		out = append(out, c.unmet()...)
	}
	return out
}

func (c comparer) verdict(s report.Said) string { return s.Policy + " (" + s.Grade + ")" }

// change makes one of the difference between two values.
func (c comparer) change(area Area, id string, t Trend, name, before, now string) Change {
	return Change{
		Area: area, ID: id, Trend: t, Name: name, Earlier: before, Later: now,
		Text: phrase{"%[1]s: %[2]s, before %[3]s.", "%[1]s: %[2]s, vorher %[3]s."}.with(c.l, name, now, before),
	}
}

// facts compares what has the same ID. What one test could not tell is no
// change for better or worse; a part of the sender that was not shown, or that
// has no effect, is no change at all.
func (c comparer) facts(area Area, a, b []report.Fact) (out []Change) {
	unknown := report.Fact{Value: phrase{"not known", "nicht bekannt"}.in(c.l)}
	find := func(in []report.Fact, id string) report.Fact {
		if i := slices.IndexFunc(in, func(f report.Fact) bool { return f.ID == id }); i >= 0 {
			return in[i]
		}
		return unknown
	}
	all := slices.Clone(b)
	for _, f := range a {
		if !slices.ContainsFunc(b, func(other report.Fact) bool { return other.ID == f.ID }) {
			all = append(all, f)
		}
	}
	for _, f := range all {
		before, now := find(a, f.ID), find(b, f.ID)
		known := before.Known && now.Known
		if before.Value == now.Value || area == AreaPart && !known {
			continue
		}
		t := Other
		switch {
		case !known || area == AreaPart && c.a.Engine != c.b.Engine:
			t = Unknown
		case now.Rank > before.Rank && before.Rank > 0:
			t = Better
		case now.Rank < before.Rank && now.Rank > 0:
			t = Worse
		}
		out = append(out, c.change(area, f.ID, t, f.Name, before.Value, now.Value))
	}
	return out
}

func (c comparer) bothInbound() bool {
	has := func(in report.Input) bool { return in.Inbound != nil && in.Ratings != nil }
	return has(c.a) && has(c.b)
}
