package report

import (
	"slices"

	"github.com/tlsink/tlsink/policyinfer"
)

// maxSteps bounds the steps of one direction: whoever has done the first ones
// tests again.
const maxSteps = 8

// A step is what to do next about one weakness.
type step struct {
	Title    string // short; may be empty
	Text     string // what to do, and why; may be empty
	Settings []setting
	Ask      string // what to ask a provider; may be empty
}

// A setting is to be copied as it is.
type setting struct {
	Name  string // where it belongs: Postfix, Exim, DNS, a URL
	Lines []string
}

// A remedy is a step in each language. {candidates} and {zone} are replaced in
// its text.
type remedy struct {
	key      string // of words, or the id of a finding
	title    phrase
	text     phrase
	settings []setting
	ask      phrase
}

func (r remedy) in(in Input) step {
	l := in.Language
	return step{
		Title: r.title.in(l), Text: fill(r.text.in(l), in.Verdict, in.Service), Settings: r.settings, Ask: r.ask.in(l),
	}
}

// advice returns the next steps for sending: first the one for the verdict,
// then those for findings.
func advice(in Input, w words) []step {
	out := []step{ofVerdict(in, w).in(in)}
	for _, r := range findingRemedies() {
		if hasFinding(in.Verdict, r.key) && len(out) < maxSteps {
			out = append(out, r.in(in))
		}
	}
	return out
}

// ofVerdict returns the step for the verdict. Without a verdict it depends on
// whether the mail comes back.
func ofVerdict(in Input, w words) remedy {
	list := slices.Concat(weakRemedies(), goodRemedies(), openRemedies())
	if i := slices.IndexFunc(list, func(r remedy) bool { return r.key == w.key }); i >= 0 {
		r := list[i]
		if w.key == string(policyinfer.DANE) && in.Verdict.Sender.PlaintextUnprotected != "yes" {
			r.text, r.settings = noChange, nil // mail to other domains is encrypted, too, or was not seen
		}
		return r
	}
	switch in.State {
	case StateClosed:
		return remedy{text: phrase{
			"Send a new test mail to en@et.{zone} and en@ut.{zone}, and leave it in the queue until it is accepted.",
			"Schicken Sie eine neue Testmail an de@et.{zone} und de@ut.{zone}, und lassen Sie sie in der Warteschlange, bis sie angenommen ist.",
		}}
	case StateAcked:
		return remedy{text: phrase{
			"The mail was accepted, so it will not be tried again. Send a new test mail to en@et.{zone} and en@ut.{zone} to see more.",
			"Die Testmail wurde angenommen und wird daher nicht noch einmal versucht. Um mehr zu sehen, schicken Sie eine neue an de@et.{zone} und de@ut.{zone}.",
		}}
	}
	return remedy{
		text: phrase{
			"Leave the mail in the queue: each retry meets other servers. The admin can speed that up:",
			"Lassen Sie die Testmail in der Warteschlange: Jeder Zustellversuch trifft auf andere Server. Wer den Mailserver betreut, kann das beschleunigen:",
		},
		settings: []setting{{"Postfix", []string{"postqueue -f"}}, {"Exim", []string{"exim -qff"}}},
	}
}
