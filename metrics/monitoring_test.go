package metrics_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/metrics"
)

func monitoring(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "packaging", "monitoring", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// selected are the metrics that expressions name, with the labels that they ask
// for.
func selected(text string) map[string][]string {
	out := make(map[string][]string)
	for _, m := range regexp.MustCompile(`\b((?:tlsink|process|go)_[a-z0-9_]+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(text, -1) {
		labels := out[m[1]]
		for _, l := range regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`).FindAllStringSubmatch(m[2], -1) {
			if l[1] != "job" && !slices.Contains(labels, l[1]) {
				labels = append(labels, l[1])
			}
		}
		out[m[1]] = labels
	}
	return out
}

// Every metric that the dashboard and the rules name exists, with its labels.
func TestMonitoringNamesWhatExists(t *testing.T) {
	text := get(t, everything(metrics.NewRecorder()))
	known := exposed(text)
	find := func(name string) (described, bool) {
		if d, ok := known[name]; ok {
			return d, d.Type != "histogram" // its series have a suffix
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && known[base].Type == "histogram" {
				return known[base], true
			}
		}
		return described{}, regexp.MustCompile(`(?m)^# TYPE `+regexp.QuoteMeta(name)+` `).MatchString(text) && !strings.HasPrefix(name, "tlsink_")
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(monitoring(t, "dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	shown := ""
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			shown += q.Expr + "\n"
		}
	}
	for file, expressions := range map[string]string{"dashboard.json": shown, "alerts.yml": monitoring(t, "alerts.yml"), "alerts_test.yml": monitoring(t, "alerts_test.yml")} {
		names := selected(expressions)
		if len(names) < 10 {
			t.Errorf("%s names %d metrics", file, len(names))
		}
		for name, labels := range names {
			d, ok := find(name)
			if !ok {
				t.Errorf("%s: there is no metric %s", file, name)
			}
			for _, l := range labels {
				if !slices.Contains(append(d.Labels, "le"), l) {
					t.Errorf("%s: %s has no label %s", file, name, l)
				}
			}
		}
	}
	for name, d := range known {
		if d.Type == "histogram" {
			name += "_"
		}
		if !strings.Contains(shown, name) {
			t.Errorf("dashboard.json does not show %s", name)
		}
	}
}

// Each alert has something to do in the runbook, and a test of both sorts.
func TestAlertsHaveRunbooks(t *testing.T) {
	rules, tests, runbook := monitoring(t, "alerts.yml"), monitoring(t, "alerts_test.yml"), monitoring(t, "README.md")
	alerts := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(rules, -1)
	links := regexp.MustCompile(`README\.md#([a-z0-9-]+)'`).FindAllStringSubmatch(rules, -1)
	if len(alerts) < 15 || len(alerts) != len(links) {
		t.Fatalf("%d alerts, %d links", len(alerts), len(links))
	}
	for i, a := range alerts {
		if !strings.Contains(runbook, "\n### "+links[i][1]+"\n\n") {
			t.Errorf("%s: README.md has no section %s", a[1], links[i][1])
		}
		for _, kind := range []string{"wrong", "well"} {
			if !strings.Contains(tests, "name: '"+a[1]+": "+kind+"'") {
				t.Errorf("%s has no test where all is %s", a[1], kind)
			}
		}
	}
}
