package report

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What is proposed is copied line by line: none needs another one, or the space
// at its beginning, which a browser does not copy.
func TestSettingsStandAlone(t *testing.T) {
	postfix := regexp.MustCompile(`^smtpd?_[a-z_]+ = \S+(, \S+)*$`)
	exim := regexp.MustCompile(`^[a-z_]+ = \S.*$`)
	var all []setting
	for _, r := range slices.Concat(weakRemedies(), goodRemedies(), openRemedies(), findingRemedies()) {
		all = append(all, r.settings...)
	}
	for _, w := range weaknesses {
		a := sound()
		w.change(&a)
		for _, s := range stepsFor(a, German) {
			all = append(all, s.Settings...)
		}
	}
	checked := 0
	for _, s := range all {
		for _, line := range s.Lines {
			form := exim
			switch {
			case strings.HasPrefix(s.Name, "Postfix"):
				form = postfix
			case !strings.HasPrefix(s.Name, "Exim") || strings.Contains(s.Name, "acl"):
				continue
			}
			checked++
			if !form.MatchString(line) || len(line) > 70 {
				t.Errorf("%s: %q", s.Name, line)
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d lines", checked)
	}
}
