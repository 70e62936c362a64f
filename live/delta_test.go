package live_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

func TestDelta(t *testing.T) {
	numbers := func(rows []live.Connection) (out []int) {
		for _, r := range rows {
			out = append(out, r.Number)
		}
		return out
	}
	open := with(plain(), func(c *evidence.Connection) { c.Ending = evidence.EndingOpen })
	at := func(connections ...evidence.Connection) *live.Status {
		return live.Of(snapshotOf(historyOf(connections...), report.StateRunning), report.English)
	}
	many := make([]evidence.Connection, 203)
	for i := range many {
		many[i] = plain()
	}
	for _, tt := range []struct {
		name        string
		before, now *live.Status
		want        []int
	}{
		{"the first", nil, at(plain(), plain()), []int{1, 2}},
		{"nothing new", at(plain(), plain()), at(plain(), plain()), nil},
		{"a new one", at(plain()), at(plain(), plain()), []int{2}},
		{"one has ended", at(plain(), open), at(plain(), plain()), []int{2}},
		{"older ones are left out", at(many[:201]...), at(many...), []int{202, 203}},
		{"one was another's", at(plain(), secure("mx04.et", "self-signed", 4), plain()), at(plain(), plain()), []int{2}},
		{"no status", at(plain()), nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, numbers(live.Delta(tt.before, tt.now))); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
	if s := at(many...); s.Omitted != 3 || len(s.Connections) != live.MaxConnections || s.Servers[0].Connections != 203 {
		t.Errorf("omitted %d, rows %d, server 1 %d", s.Omitted, len(s.Connections), s.Servers[0].Connections)
	}
}

// Once a connection is over its row stays as it is, also when there is a verdict.
func TestRowsStay(t *testing.T) {
	h := historyOf(plain(), with(plain(), func(c *evidence.Connection) { c.Ending = evidence.EndingFIN }), secure("mx05.et", "ca", 5))
	before, now := live.Of(snapshotOf(h, report.StateRunning), report.English), live.Of(snapshotOf(h, report.StateAcked), report.English)
	if rows := live.Delta(before, now); len(rows) != 0 {
		t.Errorf("rows changed with the verdict: %+v", rows)
	}
}

// Without a language it is that of the test.
func TestLanguageOfTheTest(t *testing.T) {
	s := snapshotOf(historyOf(plain()), report.StateRunning)
	for _, tt := range []struct {
		booking, input report.Language
		want           string
	}{{"", "", "en"}, {"", report.German, "de"}, {report.German, report.English, "de"}, {report.English, report.German, "en"}, {"fr", "", "en"}} {
		s.Booking = &live.Booking{Language: tt.booking}
		s.Input.Language = tt.input
		if got := live.Of(s, "").Language; got != tt.want {
			t.Errorf("%q, %q: %q, want %q", tt.booking, tt.input, got, tt.want)
		}
	}
	if s.Input.Language != "" {
		t.Error("the snapshot was changed")
	}
}
