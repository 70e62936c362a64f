package main

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/doctor"
)

// remindAfter is when what is still wrong is logged again.
const remindAfter = 10 * time.Minute

// checkLog logs what the self-check finds when it changes: a check that fails
// is repeated every few seconds. One goroutine uses it.
type checkLog struct {
	log *slog.Logger

	begun                           bool
	broken, unverifiable, undecided reason
	results                         []string // that were wrong at the last check
	failed                          bool
}

// reason is why something is not as it should be, as it was logged.
type reason struct {
	text string
	at   time.Time
}

// news reports whether a reason, "" if there is none, is to be logged now.
func (r *reason) news(text string, now time.Time) bool {
	if text == "" {
		*r = reason{}
		return false
	}
	if text = withoutNumbers(text); text == r.text && now.Sub(r.at) < remindAfter {
		return false
	}
	*r = reason{text, now}
	return true
}

// withoutNumbers lets texts be compared that differ in a port or a time.
func withoutNumbers(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return '0' <= r && r <= '9' }), "#")
}

// tell logs an outcome: first what verdicts suffer from, with the fix, then the
// rest.
func (l *checkLog) tell(o outcome) {
	f, now := o.fault, o.at
	if l.broken.news(f.Broken, now) {
		l.log.Error("self-check fails: a server is not what it has to be, no verdicts and no reports", "err", f.Broken, "fix", fixOf(o.results, doctor.Broken))
	}
	if l.unverifiable.news(f.Unverifiable, now) {
		l.log.Error("self-check fails: own zone or policy not verifiable, unprotected verdicts are suspended", "err", f.Unverifiable, "fix", fixOf(o.results, doctor.Unverifiable))
	}
	undecided := ""
	if !o.decided && f.Broken == "" && f.Unverifiable == "" {
		undecided = "undecided"
	}
	if l.undecided.news(undecided, now) {
		l.log.Warn("the self-check could not look at every server: reports wait", "fix", "`tlsink doctor` says why")
	}
	if failed := o.failed(); !failed && (l.failed || !l.begun) {
		l.log.Info("own zone and policy verified")
	}
	l.failed, l.begun = o.failed(), true
	l.tellResults(o)
}

// tellResults logs what is newly wrong, once for each cause.
func (l *checkLog) tellResults(o outcome) {
	var wrong []string
	for _, r := range doctor.Group(o.results) {
		if r.Status != doctor.Wrong {
			continue
		}
		key := withoutNumbers(r.Check + " " + r.Subject + " " + r.Seen)
		wrong = append(wrong, key)
		if slices.Contains(l.results, key) || said(o.fault, r) {
			continue
		}
		l.log.Warn("self-check", "check", r.Check, "subject", r.Subject, "seen", r.Seen, "fix", firstLine(r.Fix))
	}
	l.results = wrong
}

// said reports whether a result is the reason that was logged as an error.
func said(f assess.Fault, r doctor.Result) bool {
	return strings.HasSuffix(f.Broken, ": "+r.Seen) || strings.HasSuffix(f.Unverifiable, ": "+r.Seen)
}

// fixOf is what to do about the first thing that has an effect. What is wrong
// with the delegation comes before what follows from it.
func fixOf(results []doctor.Result, effect doctor.Effect) string {
	for _, is := range []func(r doctor.Result) bool{
		func(r doctor.Result) bool { return r.Check == "delegation" || r.Check == "ds" },
		func(r doctor.Result) bool { return r.Effect == effect },
	} {
		if i := slices.IndexFunc(results, func(r doctor.Result) bool { return r.Status == doctor.Wrong && is(r) }); i >= 0 {
			return firstLine(results[i].Fix)
		}
	}
	return "`tlsink doctor` says more"
}

// firstLine leaves out the records below it.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
