package report

import (
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/policyinfer"
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
	Domain  string // of the sender

	Missing  []string
	Findings []string
}

// Say puts in into the words of the report.
func Say(in Input) Said {
	w, l := wordsOf(in.Verdict), in.Language
	out := Said{
		Policy: clean(string(in.Verdict.Policy), maxName), Level: string(w.level), Grade: w.grade().in(l), Summary: w.lay.in(l),
		State: stateText(in), Sender: Address(in.Test.Sender, in.Service), Domain: senderDomain(in.Test.Sender, l), Missing: missing(in),
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

// Fact is something that a report knows by name. Known is false if the test
// could not tell.
type Fact struct {
	ID    string // the same in every language
	Name  string
	Value string
	Known bool
}

// Parts lists what is known of a sender.
func Parts(s policyinfer.Sender, l Language) (out []Fact) {
	for _, p := range partsIn(s) {
		if answer, ok := p.answers[p.value]; ok {
			out = append(out, Fact{ID: p.question.in(English), Name: p.question.in(l), Value: answer.in(l), Known: true})
		}
	}
	return out
}

// Grades lists how the sender's domain receives mail: its colour, each standard,
// each score; empty if it was not looked at.
func Grades(in Input) (out []Fact) {
	if in.Inbound == nil || in.Ratings == nil {
		return nil
	}
	s := speaker{in.Language, in.Service}
	class := in.Ratings.Class
	out = append(out, Fact{
		ID: "class", Name: phrase{"Colour", "Farbe"}.in(s.l), Value: classText(in.Inbound, class).in(s.l), Known: levelOfClass(class) != levelOpen,
	})
	answers := map[check.Outcome]phrase{check.Yes: {"yes", "ja"}, check.No: {"no", "nein"}, check.Untested: untestedWord}
	for _, words := range standards {
		st := in.Ratings.Standard(words.id)
		if answer, ok := answers[st.Met.Outcome]; ok {
			out = append(out, Fact{ID: words.id, Name: words.name.in(s.l), Value: answer.in(s.l), Known: st.Met.Outcome != check.Untested})
		}
	}
	for _, sc := range in.Ratings.MECSA {
		said := s.score(sc)
		out = append(out, Fact{ID: sc.ID, Name: said.Name, Value: said.Value, Known: !sc.Partial})
	}
	return out
}
