//go:build linux

package packaging_test

import (
	"strings"
	"testing"
)

// Prometheus takes the alert rules, and each fires where it should.
func TestAlertRules(t *testing.T) {
	need(t, false, "promtool")
	if out := command(t, "promtool", "check", "rules", "monitoring/alerts.yml"); !strings.Contains(out, "SUCCESS") {
		t.Errorf("promtool check rules: %s", out)
	}
	if out := command(t, "promtool", "test", "rules", "monitoring/alerts_test.yml"); !strings.Contains(out, "SUCCESS") {
		t.Errorf("promtool test rules: %s", out)
	}
}
