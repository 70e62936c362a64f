package live

import (
	"fmt"
	"strings"
	"time"

	"github.com/tlsink/tlsink/report"
)

// A phrase is one sentence, or part of one, in each language. Its arguments are
// numbered (%[1]s), so that each language has its own order of words.
type phrase struct{ en, de string }

func (p phrase) in(l report.Language) string {
	if l == report.German {
		return p.de
	}
	return p.en
}

// with fills in the arguments. One that is a phrase is put into the same
// language.
func (p phrase) with(l report.Language, args ...any) string {
	if !strings.Contains(p.in(l), "%[") {
		return p.in(l)
	}
	said := make([]any, len(args))
	for i, a := range args {
		if inner, ok := a.(phrase); ok {
			a = inner.in(l)
		}
		said[i] = a
	}
	return fmt.Sprintf(p.in(l), said...)
}

func (p phrase) empty() bool { return p == phrase{} }

// sentences joins what is not empty.
func sentences(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, " ")
}

// clock is a time of day as people write it, in UTC; with its date if that is
// not the one of now.
func clock(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.Format(time.DateOnly) != now.Format(time.DateOnly) {
		return t.Format("2006-01-02 15:04") + " UTC"
	}
	return t.Format("15:04") + " UTC"
}

// length is a duration, coarse enough for what is only expected.
func length(d time.Duration, l report.Language) string {
	d = max(d, 0)
	switch {
	case d < 100*time.Second:
		return fmt.Sprintf("%d s", d.Round(time.Second)/time.Second)
	case d < 100*time.Minute:
		return fmt.Sprintf("%d min", d.Round(time.Minute)/time.Minute)
	}
	d = d.Round(30 * time.Minute)
	if d%time.Hour != 0 {
		return phrase{"%[1]d.5 h", "%[1]d,5 h"}.with(l, int(d/time.Hour))
	}
	return fmt.Sprintf("%d h", d/time.Hour)
}
