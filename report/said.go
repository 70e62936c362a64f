package report

import (
	"slices"
	"strings"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/rating"
)

// Said is what a report says about a test, for others that show the same test:
// in the words and the language of the report, neutralised and redacted.
type Said struct {
	Policy  string
	Level   string // good, fair, weak, bad or open: the colour
	Grade   string // in a word or two
	Summary string // in a sentence for everyone
	State   string // how far the test is
	Sender  string // redacted
	Domain  string // of the sender; empty if it is not known

	Missing  []string
	Findings []string
}

// Say puts in into the words of the report.
func Say(in Input) Said {
	w, l := wordsOf(in.Verdict), in.Language
	out := Said{
		Policy: redactText(string(in.Verdict.Policy), in.Service, maxName), Level: string(w.level), Grade: w.grade().in(l), Summary: w.lay.in(l),
		State: stateText(in), Sender: Address(in.Test.Sender, in.Service),
	}
	if at := strings.LastIndexByte(in.Test.Sender, '@'); at >= 0 && at+1 < len(in.Test.Sender) {
		out.Domain = senderDomain(in.Test.Sender, l)
	}
	for _, m := range missing(in) {
		out.Missing = append(out.Missing, redactText(m, in.Service, maxText))
	}
	for _, f := range in.Verdict.Findings {
		out.Findings = append(out.Findings, redactText(findingText(f, l), in.Service, maxText))
	}
	return out
}

// Notes says what was special about a connection, each in a few words, as the
// report has it.
func Notes(c *evidence.Connection, zone string, l Language) []string { return noteParts(c, zone, l) }

// Host returns the address of the client, without its port.
func Host(c *evidence.Connection, zone string) string { return redactText(hostOf(c), zone, maxName) }

// Address redacts a mail address: of the local part only its first and last
// character are left, unless it is one of the zone.
func Address(address, zone string) string { return clean(redactAddress(address, zone), maxRecord) }

// Clean neutralises what a stranger wrote: one line of at most max characters,
// all of them visible, in which mail addresses are redacted.
func Clean(s, zone string, max int) string { return redactText(s, zone, max) }

// Fact is something that a report knows by name.
type Fact struct {
	ID    string // the same in every language
	Name  string
	Value string
	Known bool // false: the test could not tell
	Rank  int  // of two of the same ID the better one has the higher; 0 if neither is better
}

// Parts lists what is known of a sender.
func Parts(s policyinfer.Sender, l Language) (out []Fact) {
	for _, p := range partsIn(s) {
		if answer, ok := p.answers[p.value]; ok {
			out = append(out, Fact{ID: p.id, Name: p.question.in(l), Value: answer.in(l), Known: true, Rank: partRank(p.id, p.value)})
		}
	}
	return out
}

// partRank orders the values of those parts of which one protects better.
func partRank(id, value string) int {
	var worstFirst []string
	switch id {
	case "tls":
		worstFirst = []string{"never", "offered", "required"}
	case "plaintext", "plaintext_unprotected":
		worstFirst = []string{"yes", "no"}
	case "verifies_ca", "dane":
		worstFirst = []string{"no", "yes", "required"}
	case "mta_sts":
		worstFirst = []string{"no", "lazy", "yes"}
	case "unlisted_mx":
		worstFirst = []string{"contacted", "skipped"}
	}
	return slices.Index(worstFirst, value) + 1
}

// Grades lists how the sender's domain receives mail: its colour, each standard
// and score; nil if it was not looked at.
func Grades(in Input) (out []Fact) {
	if in.Inbound == nil || in.Ratings == nil {
		return nil
	}
	s := speaker{in.Language, in.Service}
	class := in.Ratings.Class
	rank := slices.Index([]rating.Class{rating.Red, rating.Yellow, rating.White, rating.Green}, class) + 1
	out = append(out, Fact{
		ID: "class", Name: phrase{"Colour", "Farbe"}.in(s.l), Value: classText(in.Inbound, class).in(s.l), Known: rank > 0, Rank: rank,
	})
	for _, words := range standards {
		if st := in.Ratings.Standard(words.id); st.Met.Outcome != "" {
			out = append(out, s.fact(words.id, words.name.in(s.l), st.Met.Outcome))
		}
	}
	for _, sc := range in.Ratings.MECSA {
		said := s.score(sc)
		out = append(out, Fact{ID: "mecsa " + sc.ID, Name: said.Name, Value: said.Value, Known: !sc.Partial, Rank: sc.HalfStars + 1})
	}
	return out
}

// Unmet lists the requirements of the standards that something of the domain
// does not meet. One that is not among them may be met, or not have arisen.
func Unmet(in Input) (out []Fact) {
	if in.Inbound == nil || in.Ratings == nil {
		return nil
	}
	for _, r := range requirements {
		if slices.ContainsFunc(in.Ratings.Standards, func(st rating.Standard) bool {
			return slices.ContainsFunc(st.Open, func(o rating.Open) bool { return o.ID == r.id && o.Outcome == check.No })
		}) {
			out = append(out, Fact{ID: r.id, Name: r.text.in(in.Language), Known: true})
		}
	}
	return out
}

func (s speaker) fact(id, name string, o check.Outcome) Fact {
	f := Fact{ID: id, Name: name}
	switch o {
	case check.Yes:
		f.Value, f.Known, f.Rank = phrase{"yes", "ja"}.in(s.l), true, 2
	case check.No:
		f.Value, f.Known, f.Rank = phrase{"no", "nein"}.in(s.l), true, 1
	default:
		f.Value = untestedWord.in(s.l)
	}
	return f
}
