package metrics_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/tlsink/tlsink/metrics"
)

// everything shows each metric at least once.
func everything(r *metrics.Recorder) metrics.Options {
	r.ConnectionOpened()
	r.ConnectionClosed("secure", 6)
	r.Refused("limit")
	r.Greeted(time.Millisecond)
	r.Handshake(time.Millisecond, "1.3", "finished")
	r.Replied(451, time.Millisecond)
	r.Written(time.Millisecond, nil)
	r.TestOpened()
	r.TestConcluded(metrics.Verdict{Policy: "dane", Conclusive: true, Took: 10 * time.Minute, Attempts: 2, Downgrade: 3 * time.Minute})
	r.TestEnded("acked")
	r.LeaseWaited(time.Second)
	r.Requested("/", "GET", 200, time.Millisecond, false)
	r.LoggedIn("ok")
	r.WebhookAttempted("delivered")
	r.ReportAttempted("delivered", time.Second)
	r.PolicyFetched(200)
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	return metrics.Options{
		Recorder: r, Version: "1.2.3", Now: func() time.Time { return now },
		Checks: func() map[string]bool { return map[string]bool{"tlsa": true} }, Suspended: func() (bool, bool) { return false, false }, Checked: func() time.Time { return now },
		Certificates: func() []metrics.Certificate {
			return []metrics.Certificate{{Face: "mx06", Kind: "ca", Algorithm: "rsa", NotAfter: now}}
		},
		Serial: func() uint32 { return 1 }, Running: func() int { return 1 }, Oldest: func() time.Time { return now.Add(-time.Hour) }, Queue: func() int { return 1 },
		Overdue: func() time.Duration { return time.Minute }, Storage: func() bool { return true }, History: func() (metrics.Storage, bool) { return metrics.Storage{}, true },
		Secondaries: func() map[string]bool { return map[string]bool{"192.0.2.53:53": true} }, DNS: func() map[string]uint64 { return map[string]uint64{"udp": 7} },
		Leases: func() map[string]int { return map[string]int{"free": 8} }, Waiting: func() int { return 0 }, Watchers: func() int { return 0 }, Blocks: func() map[string]int { return map[string]int{"network": 1} },
	}
}

// described is what a metric is, in the words of the document.
type described struct {
	Type   string
	Labels []string
}

// exposed reads the metrics of ours from the text format.
func exposed(text string) map[string]described {
	out := make(map[string]described)
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (tlsink_\w+) (\w+)$`).FindAllStringSubmatch(text, -1) {
		out[m[1]] = described{Type: m[2]}
	}
	for _, m := range regexp.MustCompile(`(?m)^(tlsink_\w+)\{([^}]*)\}`).FindAllStringSubmatch(text, -1) {
		name := m[1]
		if _, ok := out[name]; !ok {
			name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		}
		d := out[name]
		for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[2], -1) {
			if l[1] != "le" && !slices.Contains(d.Labels, l[1]) {
				d.Labels = append(d.Labels, l[1])
			}
		}
		slices.Sort(d.Labels)
		out[name] = d
	}
	return out
}

// The document and the program name the same metrics, types and labels.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]described)
	for _, m := range regexp.MustCompile("(?m)^\\| `(tlsink_\\w+)` \\| (\\w+) \\|([^|]*)\\|").FindAllStringSubmatch(string(b), -1) {
		d := described{Type: m[2]}
		for _, l := range regexp.MustCompile("`(\\w+)`(?:,|;|:| |$)").FindAllStringSubmatch(m[3], -1) {
			d.Labels = append(d.Labels, l[1])
		}
		slices.Sort(d.Labels)
		want[m[1]] = d
	}
	got := exposed(get(t, everything(metrics.NewRecorder())))
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("docs/metrics.md and the program differ (-document +program):\n%s", d)
	}
}

func TestConventions(t *testing.T) {
	problems, err := promlint.New(bytes.NewReader([]byte(get(t, everything(metrics.NewRecorder()))))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Whatever strangers send, the number of time series stays bounded.
func TestCardinality(t *testing.T) {
	r := metrics.NewRecorder()
	count := func() int { return strings.Count(get(t, everything(r)), "\n") }
	for i := range 2000 {
		junk := fmt.Sprintf("junk-%d\"\n{}", i)
		r.ConnectionOpened()
		r.ConnectionClosed(junk, i)
		r.Refused(junk)
		r.Handshake(time.Second, junk, junk)
		r.Replied(i, time.Second)
		r.TestConcluded(metrics.Verdict{Policy: junk, Attempts: i})
		r.TestEnded(junk)
		r.Requested("/", junk, i, time.Second, false)
		r.LoggedIn(junk)
		r.WebhookAttempted(junk)
		r.ReportAttempted(junk, time.Second)
		r.PolicyFetched(i)
	}
	n := count()
	if n > 1000 {
		t.Errorf("%d lines", n)
	}
	if text := get(t, everything(r)); strings.Contains(text, "junk") {
		t.Error("what a stranger said is a label")
	}
}
