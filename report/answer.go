package report

import (
	"unicode/utf8"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound/check"
)

// A mark says how an answer is meant. It is always shown with words, never by
// colour or shape alone, and what could not be tested has a mark of its own.
type mark string

const (
	markYes      mark = "yes"
	markNo       mark = "no"
	markUntested mark = "untested"
	markNone     mark = "none" // neither good nor bad
)

// Sign is the mark as one character.
func (m mark) Sign() string {
	switch m {
	case markYes:
		return "✓"
	case markNo:
		return "✗"
	case markUntested:
		return "?"
	}
	return "·"
}

// Plain is the mark in the text, of one width.
func (m mark) Plain() string {
	switch m {
	case markYes:
		return "[+]"
	case markNo:
		return "[-]"
	case markUntested:
		return "[?]"
	}
	return "[ ]"
}

var untestedWord = phrase{"could not be tested", "nicht prüfbar"}

// An answer is a mark with its words.
type answer struct {
	Mark mark
	Text string
}

// Long reports whether the answer should have a line of its own; a short one is
// not broken.
func (a answer) Long() bool { return utf8.RuneCountInString(a.Text) > 28 }

// answers stand behind each other, the long ones in lines of their own.
type answers []answer

// Break reports whether answer i begins a line.
func (a answers) Break(i int) bool { return i > 0 && (a[i].Long() || a[i-1].Long()) }

// A row is a name with answers.
type row struct {
	Name    string
	Answers answers
}

// answerOf puts r into words: what a yes and a no mean, and why. ok is false
// if the question did not arise.
func (s speaker) answerOf(r check.Result, yes, no phrase) (a answer, ok bool) {
	switch r.Outcome {
	case check.Yes:
		return answer{markYes, yes.in(s.l)}, true
	case check.No:
		return answer{markNo, s.because(no.in(s.l), r.Why)}, true
	case check.Untested:
		return answer{markUntested, s.because(untestedWord.in(s.l), r.Why)}, true
	}
	return answer{}, false
}

// add appends the answer to the row, if there is one.
func (s speaker) add(to *row, r check.Result, yes, no phrase) {
	if a, ok := s.answerOf(r, yes, no); ok {
		to.Answers = append(to.Answers, a)
	}
}

// secured says what DNSSEC proves about one kind of records.
func (s speaker) secured(kind string, status dnssec.Status, why string) (a answer, ok bool) {
	switch status {
	case dnssec.Secure:
		return answer{markYes, kind + " " + phrase{"secure", "gesichert"}.in(s.l)}, true
	case dnssec.Insecure:
		return answer{markNone, kind + " " + phrase{"not signed", "nicht signiert"}.in(s.l)}, true // what that costs is said under DANE
	case dnssec.Bogus:
		return answer{markNo, kind + " " + s.because(phrase{"wrongly signed, validating senders can't use it", "falsch signiert, für prüfende Absender unbrauchbar"}.in(s.l), why)}, true
	case dnssec.Error:
		return answer{markUntested, kind + " " + s.because(untestedWord.in(s.l), why)}, true
	}
	return answer{}, false
}

// speaker writes for one reader: in one language, about one domain, with what
// strangers wrote neutralised and addresses shortened.
type speaker struct {
	l    Language
	zone string
}

// quote is what a stranger wrote, or what was said about it.
func (s speaker) quote(text string, n int) string { return redactRecord(text, s.zone, n) }

// because adds a reason.
func (s speaker) because(text, why string) string {
	if why == "" {
		return text
	}
	return text + ": " + s.reason(why)
}
