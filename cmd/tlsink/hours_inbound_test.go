package main

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	gomail "github.com/emersion/go-message/mail"

	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/mailer"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/scenario"
)

// A report also says how the sender's domain receives mail, in the language of
// the address that was written to.
func TestReportWithAnalysis(t *testing.T) {
	hours(t, func(w *world) {
		s := newMTA(w, policyNamed("dane"), 10*time.Minute, 1, clientIP(1))
		s.deliver(w.t.Context(), s.write("user", "de@et."+worldZone, "de@ut."+worldZone), nil)
		s.wait()
		time.Sleep(time.Hour)
		r := w.only(s.address("user"))
		b, err := w.service().store.Analysis(r.rec.Test.ID)
		if err != nil {
			t.Fatal(err)
		}
		var kept keptAnalysis
		if err := json.Unmarshal(b, &kept); err != nil {
			t.Fatal(err)
		}
		a := kept.Analysis
		if a.Domain != s.domain || a.Route != inbound.RouteMX || len(a.Hosts) != 1 || len(a.Hosts[0].Servers) != 1 || !a.Hosts[0].Servers[0].Reached.OK() {
			t.Errorf("analysis: %s", b)
		}
		text := reportText(t, w.mailbox.reports(s.address("user")))
		for _, want := range []string{"Wie " + s.domain + " E-Mails", "mx." + s.domain, "Die empfangenden Server"} {
			if !strings.Contains(text, want) {
				t.Errorf("the report does not say %q:\n%s", want, text)
			}
		}
		if hellos := w.mailbox.said(); len(hellos) < 2 || slices.ContainsFunc(hellos, func(h string) bool { return h != scenario.ServiceHost(worldZone) }) {
			t.Errorf("EHLO names at the sender's server: %q", hellos)
		}
	})
}

// reportText returns the plain text of the one report in a list.
func reportText(t *testing.T, mails []string) string {
	t.Helper()
	if len(mails) != 1 {
		t.Fatalf("%d reports, want 1", len(mails))
	}
	return textOf(t, mails[0])
}

// textOf returns the plain text of a mail.
func textOf(t *testing.T, mail string) string {
	t.Helper()
	r, err := gomail.CreateReader(strings.NewReader(mail))
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(p.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Anybody can name a domain that is not theirs: it is left alone.
func TestForgedDomainIsLeftAlone(t *testing.T) {
	hours(t, func(w *world) {
		l := w.letter("user@forged.example", clientIP(1), toET, toUT)
		w.allow("forged.example", clientIP(2))
		l.deliver()
		time.Sleep(time.Hour)
		r := w.only("user@forged.example")
		if _, err := w.service().store.Analysis(r.rec.Test.ID); !errors.Is(err, history.ErrNotFound) {
			t.Errorf("analysis: %v", err)
		}
		if said := w.mailbox.said(); len(said) != 0 {
			t.Errorf("its servers were connected to: EHLO %q", said)
		}
		if page := w.page(l.replies[0]); !strings.Contains(page, "forged.example") || strings.Contains(page, "mx.forged.example") {
			t.Errorf("page: %s", page)
		}
		v, err := w.service().assess.View(r.rec.Test.ID)
		if err != nil {
			t.Fatal(err)
		}
		in := w.service().input(v)
		if in.Inbound != nil || in.InboundMissing != report.NotAuthenticated {
			t.Errorf("analysis %v, missing %q", in.Inbound, in.InboundMissing)
		}
	})
}

// A report waits for its analysis, not for ever, and others do not wait for it.
func TestReportWaitsForAnalysis(t *testing.T) {
	store, err := history.Open(history.Options{Path: t.TempDir() + "/history.db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	now := time.Now()
	var first history.TestRecord
	first.Test.ID, first.Test.Sender, first.Test.Started, first.State = "A", "a@a.example", now, history.StateConcluded
	item := func(id string, rendered string) history.QueueItem {
		return history.QueueItem{ID: id, TestID: id, To: "a@a.example", Created: now, Due: now, Message: []byte(rendered)}
	}
	if err := store.Commit(t.Context(), history.Batch{Tests: []history.TestRecord{first}, Enqueue: []history.QueueItem{item("A", ""), item("B", "")}}); err != nil {
		t.Fatal(err)
	}
	if err := store.Commit(t.Context(), history.Batch{Update: []history.QueueItem{item("B", "as it was rendered")}}); err != nil {
		t.Fatal(err)
	}
	a := &analyst{service: &service{store: store}, wake: make(chan struct{}, 1), busy: make(map[string]string)}
	q := analysedQueue{reportQueue{store}, a}
	due := func(now time.Time, limit int) (ids []string) {
		items, err := q.Due(now, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			ids = append(ids, it.ID)
		}
		slices.Sort(ids)
		return ids
	}
	var _ mailer.Queue = q
	if got := due(now, 1); !slices.Equal(got, []string{"B"}) {
		t.Errorf("due without an analysis: %v", got)
	}
	select {
	case <-a.wake:
	default:
		t.Error("nobody was told to make the analysis")
	}
	if !a.begin(item("A", "")) || a.begin(item("A", "")) {
		t.Error("the analysis is not made exactly once")
	}
	if got := due(now.Add(analysisPatience), 2); !slices.Equal(got, []string{"A", "B"}) {
		t.Errorf("due when there is still no analysis: %v", got)
	}
	if err := store.SetAnalysis(t.Context(), "A", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if got := due(now, 2); !slices.Equal(got, []string{"A", "B"}) {
		t.Errorf("due with an analysis: %v", got)
	}
}
