package live

import (
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

// What mail servers usually do before their rhythm is known: Postfix comes again
// after 5 minutes, Exim after 15, others after up to half an hour.
const (
	usualFrom = 5 * time.Minute
	usualTo   = 30 * time.Minute
)

// expected says when the sender will probably come again after these attempts;
// nil if it is here now, or nothing can be said.
func (t teller) expected(attempts []policyinfer.Span, now time.Time) *Expected {
	if len(attempts) == 0 {
		return nil
	}
	last := attempts[len(attempts)-1]
	if slices.ContainsFunc(last.Connections, func(c *evidence.Connection) bool { return c.Ending == evidence.EndingOpen }) {
		return nil
	}
	var gaps []time.Duration
	for i := 1; i < len(attempts); i++ {
		gaps = append(gaps, attempts[i].Start.Sub(attempts[i-1].Start))
	}
	from, to, why := rhythm(gaps)
	out := &Expected{From: last.Start.Add(from).UTC(), To: last.Start.Add(to).UTC()}
	out.Text = sentences(why.with(t.l, spell(gaps, t.l)), when(out, now).with(t.l, clock(out.From, now), clock(out.To, now)))
	return out
}

// rhythm foretells the next gap from those so far.
func rhythm(gaps []time.Duration) (from, to time.Duration, why phrase) {
	n := len(gaps)
	if n == 0 {
		return usualFrom, usualTo, phrase{
			"Your provider has come once so far; most mail servers come again after 5 to 30 minutes.",
			"Ihr Anbieter war bisher einmal da; die meisten Mailserver kommen nach 5 bis 30 Minuten wieder.",
		}
	}
	last := gaps[n-1]
	slack := min(max(time.Minute, last/10), last/4)
	if n == 1 {
		return last - slack, 2*last + slack, phrase{
			"Your provider came again after %[1]s; most mail servers wait as long once more, or twice as long.",
			"Ihr Anbieter kam nach %[1]s wieder; die meisten Mailserver warten dann noch einmal so lange oder doppelt so lange.",
		}
	}
	alike := func(a, b time.Duration) bool { return 4*max(a, b) <= 5*min(a, b) }
	before := gaps[n-2]
	switch {
	case alike(before, last) && n > 2 && alike(gaps[n-3], last):
		return min(before, last) - slack, max(before, last) + slack, phrase{
			"Your provider comes at a steady pace (so far after %[1]s).",
			"Ihr Anbieter kommt in gleichmäßigem Abstand (bisher nach %[1]s).",
		}
	case alike(before, last):
		return min(before, last) - slack, 2*last + slack, phrase{
			"So far your provider came again after %[1]s; some wait longer and longer.",
			"Bisher kam Ihr Anbieter nach %[1]s wieder; manche warten von Mal zu Mal länger.",
		}
	case last > before && last < 3*before && (n == 2 || gaps[n-3] <= before || alike(gaps[n-3], before)):
		return last - slack, time.Duration(float64(last)*float64(last)/float64(before)) + slack, phrase{
			"Your provider waits longer and longer (so far %[1]s).",
			"Ihr Anbieter wartet von Mal zu Mal länger (bisher %[1]s).",
		}
	}
	recent := gaps[max(0, n-4):]
	return slices.Min(recent) - slack, slices.Max(recent) + slack, phrase{
		"Your provider comes at no steady pace (so far after %[1]s).",
		"Ihr Anbieter kommt in ungleichmäßigem Abstand (bisher nach %[1]s).",
	}
}

// when says the span. %[1]s is its begin, %[2]s its end.
func when(e *Expected, now time.Time) phrase {
	switch {
	case now.After(e.To):
		return phrase{
			"The next attempt was expected by %[2]s and is overdue. It may still come; some servers give up, or wait much longer.",
			"Der nächste Versuch wurde bis %[2]s erwartet und ist überfällig. Er kann noch kommen; manche Server geben auf oder warten viel länger.",
		}
	case now.After(e.From):
		return phrase{
			"The next attempt may come at any moment, probably by %[2]s.",
			"Der nächste Versuch kann jeden Moment kommen, vermutlich bis %[2]s.",
		}
	}
	if clock(e.From, now) == clock(e.To, now) {
		return phrase{"The next attempt will probably come at about %[2]s.", "Der nächste Versuch kommt vermutlich gegen %[2]s."}
	}
	return phrase{
		"The next attempt will probably come between %[1]s and %[2]s.",
		"Der nächste Versuch kommt vermutlich zwischen %[1]s und %[2]s.",
	}
}

// spell lists the last of the gaps.
func spell(gaps []time.Duration, l report.Language) string {
	var out []string
	for _, g := range gaps[max(0, len(gaps)-4):] {
		out = append(out, length(g, l))
	}
	return strings.Join(out, ", ")
}
