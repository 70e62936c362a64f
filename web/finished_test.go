package web_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

// pageOf is the page of a test, and of one that only its result is left of.
func pageOf(t *testing.T, s live.Snapshot, l report.Language, resultOnly bool) string {
	t.Helper()
	f := newFixture(t, nil)
	if !resultOnly {
		f = watched(t, boardOf(s), nil)
	}
	f.source.in = *s.Input
	return f.get(resultURL + "?l=" + string(l)).Body.String()
}

// On the page of a test that is over verdict and report come first, and what is
// long is closed; while it runs the list of connections is open.
func TestFinishedPageIsShort(t *testing.T) {
	for _, state := range []string{report.StateConcluded, report.StateAcked, report.StateClosed} {
		page := pageOf(t, recorded(t, "postfix-dane", 0, state), report.English, false)
		last := -1
		for _, want := range []string{`<div id="p-verdict"><p class="jump`, `<div id="p-report" tabindex="-1"><h1`, `<details class="fold"><summary><h2 class="r-h2">Connection`, `<ol class="strip">`, `<details id="all" class="fold"><summary`} {
			i := strings.Index(page, want)
			if i < last || i < 0 {
				t.Errorf("%s: %q is not there, or too early", state, want)
			}
			last = max(last, i)
		}
		if strings.Contains(page, "<details open") || strings.Count(page, "<details") != strings.Count(page, "</details>") {
			t.Errorf("%s: something is open, or not closed", state)
		}
	}
	page := pageOf(t, recorded(t, "postfix-dane", 7, report.StateRunning), report.English, false)
	if !strings.Contains(page, `<details id="all" class="fold" open>`) || strings.Contains(page, "data-done") {
		t.Errorf("while the test runs the list is not open:\n%s", page)
	}
}

// How far a test is stands on its page once, whoever says it.
func TestPageSaysOnceHowFarTheTestIs(t *testing.T) {
	for _, state := range []string{report.StateConcluded, report.StateAcked, report.StateClosed} {
		for _, l := range []report.Language{report.English, report.German} {
			s := recorded(t, "postfix-dane", 0, state)
			said := live.Of(s, l).Text
			for name, page := range map[string]string{"page": pageOf(t, s, l, false), "result only": pageOf(t, s, l, true)} {
				if n := strings.Count(page, said); n != 1 || said == "" {
					t.Errorf("%s, %s, %s: %q is there %d times", state, l, name, said, n)
				}
			}
			s.Unconfirmed = true // the report does not say that
			if said := live.Of(s, l).Text; !strings.Contains(pageOf(t, s, l, false), "<p>"+said+"</p>") {
				t.Errorf("%s, %s: %q is not there", state, l, said)
			}
		}
	}
}

// A fault of the service is told in the language of the page, and what has no
// translation is marked as English.
func TestFaultInTheLanguageOfThePage(t *testing.T) {
	const fault = "mx05: the TLSA record matches"
	s := recorded(t, "postfix-dane", 3, report.StateRunning)
	s.Slow = fault
	for l, want := range map[report.Language]string{
		report.English: "This service has a fault of its own.",
		report.German:  "Dieser Dienst ist selbst gestört.",
	} {
		page := pageOf(t, s, l, false)
		apart := fmt.Sprintf(`<code class="cause" lang="en"><bdi>%s</bdi></code>`, fault)
		if !strings.Contains(page, want) || !strings.Contains(page, apart) || strings.Count(page, fault) != 1 {
			t.Errorf("%s: %s", l, page[strings.Index(page, `<div id="p-now">`):])
		}
	}
}
