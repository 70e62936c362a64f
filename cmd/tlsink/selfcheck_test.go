package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/history"
)

// A report goes once checks that began after its verdict passed: of our own
// servers, and for a verdict without protection also of what the world sees.
func TestReportsWaitForChecks(t *testing.T) {
	now := time.Now()
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	for name, c := range map[string]struct {
		good        passes
		last        outcome
		unprotected bool
		want, asks  bool
		everything  bool // is asked for
	}{
		"both after":                       {good: passes{Verifiable: ago(1), Faces: ago(1)}, unprotected: true, want: true},
		"at that moment":                   {good: passes{Verifiable: ago(2), Faces: ago(2)}, unprotected: true, want: true},
		"none":                             {asks: true},
		"servers before":                   {good: passes{Verifiable: ago(1), Faces: ago(3)}, asks: true},
		"world before, protected":          {good: passes{Verifiable: ago(3), Faces: ago(1)}, want: true},
		"world before, unprotected":        {good: passes{Verifiable: ago(3), Faces: ago(1)}, unprotected: true, asks: true, everything: true},
		"world not seen, unprotected":      {good: passes{Verifiable: ago(3), Faces: ago(1)}, last: outcome{fault: assess.Fault{Unverifiable: "no DS"}}, unprotected: true, want: true},
		"broken":                           {good: passes{Verifiable: ago(1), Faces: ago(1)}, last: outcome{fault: assess.Fault{Broken: "mx05"}}},
		"not known":                        {good: passes{Verifiable: ago(1), Faces: ago(1)}},
		"the clock was set back since":     {good: passes{Verifiable: ago(1), Faces: ago(-60)}, asks: true},
		"the clock was set back, no world": {good: passes{Verifiable: ago(-60), Faces: ago(1)}, unprotected: true, asks: true, everything: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSelfCheck(&service{log: slog.New(slog.DiscardHandler)})
			s.good = c.good
			s.last = c.last
			s.last.decided = name != "not known"
			for range 2 { // the second time, nothing more is asked for if everything is
				if got := s.speaksFor(ago(2), c.unprotected); got != c.want {
					t.Errorf("speaks: %v, want %v", got, c.want)
				}
			}
			asked := len(s.wake) > 0
			if asked != c.asks || s.awaited != c.everything || s.urgent() && !s.awaited && !s.last.failed() {
				t.Errorf("asks for a check: %v, of everything: %v", asked, s.awaited)
			}
			if c.everything {
				<-s.wake
				if s.speaksFor(ago(2), c.unprotected); len(s.wake) > 0 {
					t.Error("asks again")
				}
			}
		})
	}
}

// Programs and webhooks are told of an end once the verdict is not taken back any
// more. A fault of now does not reach back behind a check that passed.
func TestVerdictsAreConfirmedByChecks(t *testing.T) {
	now := time.Now()
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	for name, c := range map[string]struct {
		good   passes
		broken string
		policy string
		want   bool
	}{
		"both after":                     {good: passes{Verifiable: ago(1), Faces: ago(1)}, policy: "may", want: true},
		"no check":                       {policy: "dane"},
		"servers before":                 {good: passes{Verifiable: ago(1), Faces: ago(3)}, policy: "dane"},
		"world before, protected":        {good: passes{Verifiable: ago(3), Faces: ago(1)}, policy: "dane", want: true},
		"world before, unprotected":      {good: passes{Verifiable: ago(3), Faces: ago(1)}, policy: "may"},
		"broken since it was confirmed":  {good: passes{Verifiable: ago(1), Faces: ago(1)}, policy: "may", broken: "mx05", want: true},
		"broken before it was confirmed": {good: passes{Verifiable: ago(3), Faces: ago(3)}, policy: "dane", broken: "mx05"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSelfCheck(&service{log: slog.New(slog.DiscardHandler)})
			s.good, s.last.fault.Broken = c.good, c.broken
			r := history.TestRecord{Concluded: ago(2), Verdict: []byte(`{"policy":"` + c.policy + `","conclusive":true}`)}
			if got := s.confirms(r); got != c.want {
				t.Errorf("confirmed: %v, want %v", got, c.want)
			}
			if asks := len(s.wake) > 0; asks != (!c.want && c.broken == "") {
				t.Errorf("asks for a check: %v", asks)
			}
			if r.Concluded = (time.Time{}); !s.confirms(r) {
				t.Error("what has no verdict waits for one to be confirmed")
			}
		})
	}
}
