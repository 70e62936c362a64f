//go:build linux

package lab_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/evidence"
)

// checkHistory infers from the exported history, compares that with how the
// sender was configured, and the history with what the sender logged: whatever
// was answered must have been on disk by then.
func (l *lab) checkHistory(ctx context.Context, t *testing.T, s *sender, test listed) {
	t.Helper()
	answers := s.answers(t, test.ID) // before the export: more may come
	path, err := l.sink.export(ctx, t.ArtifactDir(), s.kind, test.ID)
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.sink.infer(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	checkVerdict(t, s, got)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := evidence.ReadHistory(f)
	if err != nil {
		t.Fatal(err)
	}
	recorded := 0
	for _, c := range h.Connections {
		for _, tx := range c.Transactions {
			if tx.Data && (tx.Reply == 451 || tx.Reply == 250) {
				recorded++
			}
		}
	}
	if answers == 0 || recorded < answers {
		t.Errorf("the sender logged %d answers of test %s, its history has %d", answers, test.ID, recorded)
	}
	l.keepFixture(t, s, path)
}

// checkVerdict compares all that is reported with how a sender was configured.
func checkVerdict(t *testing.T, s *sender, got verdict) {
	t.Helper()
	if !s.right(got.Policy) || got.Conclusive != (got.Policy != "undetermined" && got.Policy != "mixed") {
		t.Errorf("inferred from the exported history: %s, conclusive %v; want %s", got.Policy, got.Conclusive, s.policy)
	}
	other := func(name string) bool { return !slices.Contains(s.candidates, name) }
	if got.Policy == "undetermined" && (!slices.Contains(got.Candidates, s.policy) || slices.ContainsFunc(got.Candidates, other)) {
		t.Errorf("inferred from the exported history: candidates %q, want %s among them, and no other than %q", got.Candidates, s.policy, s.candidates)
	}
	if s.policy != "mixed" {
		checkParts(t, s, got.Sender)
	}
	checkFindings(t, s, got)
	if len(got.Hosts) != len(s.hosts) {
		t.Errorf("verdicts of the hosts: %v, want %v", got.Hosts, s.hosts)
	}
	for i, want := range s.hosts {
		h := got.Hosts[s.places[i].node.addr]
		if h.Policy != want && (h.Policy != "undetermined" || !slices.Contains(h.Candidates, want)) {
			t.Errorf("verdict of %s: %v, want %s", s.places[i].host, h, want)
		}
	}
}

func checkParts(t *testing.T, s *sender, got map[string]string) {
	t.Helper()
	want, more := s.parts(), strings.Fields(s.open)
	for part, value := range got {
		w, ok := want[part]
		if !ok {
			w.values = []string{"unknown"}
		}
		if !slices.Contains(w.values, value) && (value != "unknown" || !w.open && !slices.Contains(more, part)) {
			t.Errorf("part %s is %s, want one of %q", part, value, w.values)
		}
	}
}

func checkFindings(t *testing.T, s *sender, got verdict) {
	t.Helper()
	var ids []string
	for _, f := range got.Findings {
		ids = append(ids, f.ID)
		if !slices.Contains(s.findings, f.ID) && !slices.Contains(s.findings, f.ID+"?") {
			t.Errorf("unexpected finding %s", f.ID)
		}
	}
	for _, id := range s.findings {
		if !strings.HasSuffix(id, "?") && !slices.Contains(ids, id) {
			t.Errorf("findings %q, want %s", ids, id)
		}
	}
}

// part is what a part must be.
type part struct {
	values []string
	open   bool // it may stay unknown
}

// parts reads setup.sender. A part that is not there has no effect on such a
// sender, and is always unknown.
func (s setup) parts() map[string]part {
	out := make(map[string]part)
	for field := range strings.FieldsSeq(s.sender) {
		name, value, _ := strings.Cut(field, ":")
		value, open := strings.CutSuffix(value, "?")
		out[name] = part{strings.Split(value, "|"), open}
	}
	return out
}

// explain prints what tlsink knows about a sender whose test failed, and keeps
// the history.
func (l *lab) explain(t *testing.T, s *sender) {
	t.Helper()
	if !t.Failed() {
		return
	}
	ctx := context.WithoutCancel(t.Context())
	test, err := l.sink.test(ctx, s)
	if err != nil {
		t.Logf("tlsink about %s: %v", s.kind, err)
		return
	}
	path, err := l.sink.export(ctx, t.ArtifactDir(), s.kind, test.ID)
	t.Logf("%+v, history: %s (%v)", test, path, err)
	if v, err := l.sink.infer(ctx, path); err == nil {
		t.Logf("%+v", v)
	}
	text, err := output(ctx, "", l.sink.binary, "history", "show", "--config", l.sink.config, test.ID)
	t.Logf("%s (%v)", text, err)
}
