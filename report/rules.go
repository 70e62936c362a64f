package report

import (
	"slices"
	"strings"

	"github.com/tlsink/tlsink/rating"
)

// A ruleGroup is the rules of one grade.
type ruleGroup struct {
	Name  string
	Rules []string
}

// rules lists the rules of all grades with where they come from: first those
// that all standards share.
func (s speaker) rules() []ruleGroup {
	all := rating.Rules()
	shared := func(r rating.Rule) bool { return r.ID == rating.Complete || r.ID == rating.Reachable }
	out := []ruleGroup{s.group(phrase{"For all standards", "Für alle Standards"}.in(s.l), slices.DeleteFunc(slices.Clone(all), func(r rating.Rule) bool {
		return r.Standard != all[0].Standard || !shared(r)
	}))}
	all = slices.DeleteFunc(all, shared)
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(r rating.Rule) bool { return r.Standard != all[0].Standard })
		if n < 0 {
			n = len(all)
		}
		out = append(out, s.group(s.gradeName(all[0].Standard), all[:n]))
		all = all[n:]
	}
	return out
}

// group puts rules into words. A source that all of them have stands in the
// name.
func (s speaker) group(name string, rules []rating.Rule) ruleGroup {
	var common []string
	for i, r := range rules {
		parts := strings.Split(r.Source, sourceBetween)
		if i == 0 {
			common = parts
		}
		common = slices.DeleteFunc(slices.Clone(common), func(p string) bool { return !slices.Contains(parts, p) })
	}
	out := ruleGroup{Name: name + s.sources(common)}
	for _, r := range rules {
		text := ruleText(s.l, r)
		if r.Standard == rating.OfClass {
			text = capital(nameIn(colours[:], r.ID, s.l)) + ": " + text
		}
		own := slices.DeleteFunc(strings.Split(r.Source, sourceBetween), func(p string) bool { return slices.Contains(common, p) })
		out.Rules = append(out.Rules, text+s.sources(own))
	}
	return out
}

const sourceBetween = "; "

func (s speaker) sources(list []string) string {
	if len(list) == 0 {
		return ""
	}
	var said []string
	for _, source := range list {
		said = append(said, sourceText(source, s.l))
	}
	return " (" + strings.Join(said, sourceBetween) + ")"
}

// gradeName is what a standard or another kind of grade is called.
func (s speaker) gradeName(id string) string {
	switch id {
	case rating.OfClass:
		return phrase{"Colour", "Farbe"}.in(s.l)
	case rating.OfMECSA:
		return phrase{"Stars (MECSA)", "Sterne (MECSA)"}.in(s.l)
	}
	if i := slices.IndexFunc(standards[:], func(w standardWords) bool { return w.id == id }); i >= 0 {
		return standards[i].name.in(s.l)
	}
	return clean(id, maxName)
}

var colours = [...]named{
	{string(rating.Red), phrase{"red", "rot"}},
	{string(rating.Yellow), phrase{"yellow", "gelb"}},
	{string(rating.White), phrase{"white", "weiß"}},
	{string(rating.Green), phrase{"green", "grün"}},
	{string(rating.Grey), phrase{"grey", "grau"}},
}

// sources are the documents that rules come from; RFCs have no other name.
var sources = [...]phrase{
	{"tlsink: what could not be tested is neither met nor failed", "tlsink: Was nicht prüfbar war, ist weder erfüllt noch verfehlt"},
	{
		"DSK, Orientierungshilfe “Maßnahmen zum Schutz personenbezogener Daten bei der Übermittlung per E-Mail”, 16 June 2021: qualified transport encryption",
		"DSK, Orientierungshilfe „Maßnahmen zum Schutz personenbezogener Daten bei der Übermittlung per E-Mail“, 16. Juni 2021: qualifizierte Transportverschlüsselung",
	},
	{"emailtest by Joachim Lindenberg, table of providers", "emailtest von Joachim Lindenberg, Tabelle der Anbieter"},
	{
		"JRC, My Email Communications Security Assessment (MECSA), results of 2018 and mecsa-st of 2023",
		"JRC, My Email Communications Security Assessment (MECSA), Ergebnisse von 2018 und mecsa-st von 2023",
	},
}

// sourceText names one source of a rule in language l.
func sourceText(source string, l Language) string {
	if i := slices.IndexFunc(sources[:], func(p phrase) bool { return p.en == source }); i >= 0 {
		return sources[i].in(l)
	}
	return clean(source, maxText)
}
