package assess

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// A sender of each policy gets the verdict, one report, and then its 250.
func TestEachPolicyIsRecognised(t *testing.T) {
	t.Parallel()
	for _, p := range policyinfer.Names() {
		for _, retry := range []time.Duration{5 * time.Minute, 20 * time.Minute, time.Hour} {
			t.Run(fmt.Sprintf("%s/%v", p, retry), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 1)
					defer w.stop()
					s := w.sender("user@sender.example", p)
					attempts := s.until(40, retry)
					w.wait(time.Minute)
					v := w.test(s.from)
					if v.Verdict.Policy != p || !v.Verdict.Conclusive {
						t.Fatalf("after %d attempts: %s, candidates %v, findings %v", attempts, v.Verdict.Policy, v.Verdict.Candidates, v.Verdict.Findings)
					}
					if p != policyinfer.DANEOnly && v.Record.State != history.StateAcked {
						t.Errorf("state %s after %d attempts, want acked", v.Record.State, attempts)
					}
					queue, err := w.store.Queue(t.Context())
					if err != nil || len(queue) != 1 || queue[0].To != s.from {
						t.Errorf("queue of reports: %+v, %v; want one to the sender", queue, err)
					}
					if again := policyinfer.New().Infer(v.History, policyinfer.Options{}); again.Policy != p {
						t.Errorf("the stored history re-infers to %s %v", again.Policy, again.Candidates)
					}
					t.Logf("%d attempts", attempts)
				})
			})
		}
	}
}

// A downgrade is seen, never rewarded: 451 with a text that says what goes on.
func TestRepliesSayWhatIsGoingOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.May)
		s.attempt()
		for _, want := range []string{"tlsink test ", "STARTTLS withheld on purpose", "https://sink.example/t/"} {
			if !strings.Contains(s.text, want) {
				t.Errorf("reply %q lacks %q", s.text, want)
			}
		}
		v := w.test(s.from)
		if strings.Contains(v.Record.Test.ID, v.Record.Capability) || len(v.Record.Capability) < 22 {
			t.Errorf("capability %q is guessable", v.Record.Capability)
		}
		if got, ok, err := w.a.ByCapability(v.Record.Capability); err != nil || !ok || got.Record.Test.ID != v.Record.Test.ID {
			t.Errorf("by capability: %v, %v, %v", got.Record.Test.ID, ok, err)
		}
		if _, ok, err := w.a.ByCapability("x" + v.Record.Capability[1:]); ok || err != nil {
			t.Errorf("a wrong capability found a test: %v", err)
		}
	})
}

// The admin's loop: after the ack a new mail is a fresh test, with a downgrade
// phase of its own, and shows a changed setting.
func TestNewMailAfterTheAckIsAFreshTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.May)
		s.until(20, 10*time.Minute)
		w.wait(10 * time.Minute)
		s.policy = policyinfer.Encrypt
		s.mail()
		s.until(20, 10*time.Minute)
		tests := w.tests(s.from)
		if len(tests) != 2 {
			t.Fatalf("%d tests, want 2", len(tests))
		}
		for i, want := range []policyinfer.Name{policyinfer.Encrypt, policyinfer.May} {
			v, err := w.a.View(tests[i].Test.ID)
			if err != nil || v.Verdict.Policy != want {
				t.Errorf("test %d: %s %v, want %s", i, v.Verdict.Policy, v.Verdict.Candidates, want)
			}
		}
	})
}

// A mail that is sent again, e.g. after a bounce, continues the test and ends
// the downgrade phase.
func TestResendContinuesTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.May)
		s.attempt()
		s.mail()
		s.attempt()
		if !strings.Contains(s.text, "more evidence is needed") { // to ut, the second of the two
			t.Errorf("reply to the resend: %q", s.text)
		}
		id := w.store.NewConnID()
		if treatment, err := w.a.Accepted(id, addrPort("192.0.2.25:25"), addrPort("192.0.2.10:1")); err != nil || treatment.Phase != evidence.Secure {
			t.Errorf("after the resend: %v, %v; want the secure phase", treatment, err)
		}
		w.a.Closed(evidence.Connection{ID: id, Start: time.Now(), End: time.Now(), Client: "192.0.2.10:1", Ending: evidence.EndingQuit})
		if n := len(w.tests(s.from)); n != 1 {
			t.Errorf("%d tests, want 1", n)
		}
	})
}

// A setting that changes between two mails of one test ends it with what was
// known, and a new one starts from there.
func TestContradictingResendSplitsTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.DANEMTASTS)
		s.perTry = 1
		for range 3 {
			s.attempt()
			w.wait(5 * time.Minute)
		}
		s.mail()
		s.policy, s.sni = policyinfer.May, true
		s.until(20, 10*time.Minute)
		tests := w.tests(s.from)
		if len(tests) != 2 {
			t.Fatalf("%d tests, want 2", len(tests))
		}
		for i, want := range []policyinfer.Name{policyinfer.May, policyinfer.Undetermined} {
			v, err := w.a.View(tests[i].Test.ID)
			if err != nil || v.Verdict.Policy != want || v.Record.Open() || v.Record.Note == "" {
				t.Errorf("test %d: %s %v, state %s, note %q, %v; want %s", i, v.Verdict.Policy, v.Verdict.Candidates, v.Record.State, v.Record.Note, err, want)
			}
		}
	})
}

// The Message-ID of a finished test gets 250 at once, whatever the phase.
func TestFinishedMessageIDIsAcceptedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.None)
		s.until(20, 10*time.Minute)
		w.wait(48 * time.Hour)
		s.acked = make(map[scenario.Domain]bool)
		s.attempt()
		if !s.delivered() || !strings.Contains(s.text, "this test has ended") {
			t.Errorf("late copy: %v, %q", s.acked, s.text)
		}
	})
}

// behind is a store that does not know yet which tests a Message-ID has.
type behind struct{ Store }

func (behind) ByMessageID(string) ([]history.TestRecord, error) { return nil, nil }

// When the copies for et and ut come together, the first may end the test
// before the store tells the second.
func TestCopiesThatComeTogetherAreOneTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		w.a.o.Store = behind{w.a.o.Store}
		s := w.sender("user@sender.example", policyinfer.None)
		s.to = s.to[:1]
		s.until(20, 10*time.Minute)
		s.to = []scenario.Domain{scenario.ET, scenario.Unprotected}
		s.attempt()
		if n := len(w.tests(s.from)); !s.delivered() || n != 1 {
			t.Errorf("%d tests, acked %v", n, s.acked)
		}
	})
}

// A treatment belongs to an address: after the downgrade phase STARTTLS is
// offered, and after a day of silence everything starts afresh.
func TestTreatmentOfAClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		visit := func(client string) evidence.Phase {
			id := w.store.NewConnID()
			treatment, err := w.a.Accepted(id, addrPort("192.0.2.25:25"), addrPort(client))
			if err != nil {
				t.Fatal(err)
			}
			w.a.Closed(evidence.Connection{ID: id, Start: time.Now(), End: time.Now(), Client: client, Ending: evidence.EndingQuit})
			return treatment.Phase
		}
		for _, c := range []struct {
			after  time.Duration
			client string
			want   evidence.Phase
		}{
			{0, "192.0.2.10:1", evidence.Downgrade},
			{2 * time.Minute, "192.0.2.10:2", evidence.Downgrade},
			{time.Minute, "192.0.2.10:3", evidence.Secure},
			{0, "192.0.2.11:3", evidence.Downgrade},
			{0, "[2001:db8::1]:3", evidence.Downgrade},
			{4 * time.Minute, "[2001:db8::ffff]:3", evidence.Secure}, // the same /64
			{0, "[2001:db8:0:1::1]:3", evidence.Downgrade},
			{23 * time.Hour, "192.0.2.10:4", evidence.Secure},
			{24 * time.Hour, "192.0.2.10:5", evidence.Downgrade},
		} {
			w.wait(c.after)
			if got := visit(c.client); got != c.want {
				t.Errorf("%v later, %s: %s, want %s", c.after, c.client, got, c.want)
			}
		}
		if n := w.a.Running(); n != 0 {
			t.Errorf("visitors opened %d tests", n)
		}
	})
}

// What was known before a restart is known after it.
func TestRestart(t *testing.T) {
	for _, p := range []policyinfer.Name{policyinfer.May, policyinfer.Encrypt, policyinfer.DANE, policyinfer.MTASTS, policyinfer.Verify} {
		t.Run(string(p), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 3)
				s := w.sender("user@sender.example", p)
				for range 12 {
					s.attempt()
					w.stop()
					w.start()
					if s.delivered() {
						break
					}
					w.wait(7 * time.Minute)
				}
				w.wait(time.Minute)
				v := w.test(s.from)
				if v.Verdict.Policy != p {
					t.Errorf("verdict %s %v, want %s", v.Verdict.Policy, v.Verdict.Candidates, p)
				}
				if queue, err := w.store.Queue(t.Context()); err != nil || len(queue) != 1 {
					t.Errorf("%d reports due, %v; want 1", len(queue), err)
				}
				w.stop()
			})
		})
	}
}

// While our own zone cannot be verified, senders that rely on it look as if
// they did not: unprotected verdicts are suspended.
func TestUnverifiableZoneSuspendsVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		w.a.SetFault(Fault{Unverifiable: "RRSIG expired"})
		s := w.sender("user@sender.example", policyinfer.May)
		for range 5 {
			s.attempt()
			w.wait(10 * time.Minute)
		}
		if v := w.test(s.from); v.Verdict.Policy != policyinfer.Undetermined {
			t.Errorf("verdict %s with a zone that cannot be verified", v.Verdict.Policy)
		}
	})
}

// Nobody gets a report who was not authenticated; the reason is kept, and a
// later attempt is judged again.
func TestReportNeedsAnAuthenticSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("", policyinfer.None) // null reverse-path
		s.until(20, 10*time.Minute)
		queue, err := w.store.Queue(t.Context())
		if err != nil || len(queue) != 0 {
			t.Errorf("queue %+v, %v: a bounce must not be answered", queue, err)
		}
		if r := w.tests("")[0]; r.ReportBlocked == "" {
			t.Error("the reason why no report is sent was not kept")
		}
	})
}

// After eight hours a test ends with what is known.
func TestTestCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.May)
		s.attempt()
		w.wait(9 * time.Hour)
		r := w.tests(s.from)[0]
		if r.State == history.StateRunning || len(r.Verdict) == 0 {
			t.Fatalf("state %s after 9 h", r.State)
		}
		var v policyinfer.Verdict
		if err := json.Unmarshal(r.Verdict, &v); err != nil || v.Policy != policyinfer.Undetermined {
			t.Errorf("stored verdict %s, %v", v.Policy, err)
		}
		s.attempt()
		if !s.delivered() {
			t.Error("the mail of a closed test is not accepted")
		}
	})
}

// A MAIL FROM is no proof: from another address only a mail with the test's
// Message-ID joins it.
func TestAStrangerCannotJoinATest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.MTASTS)
		s.attempt()
		stranger := w.sender(s.from, policyinfer.None)
		stranger.ip, stranger.id, stranger.helo, stranger.forged = "198.51.100.7", 77, "mx.evil.example", true
		stranger.attempt()
		if n := len(w.tests(s.from)); n != 2 {
			t.Fatalf("%d tests, want 2", n)
		}
		s.until(20, 10*time.Minute)
		for _, r := range w.tests(s.from) {
			v, err := w.a.View(r.Test.ID)
			if err != nil {
				t.Fatal(err)
			}
			if r.Test.SenderIPs[0] == s.ip && v.Verdict.Policy != policyinfer.MTASTS {
				t.Errorf("verdict %s %v beside a stranger", v.Verdict.Policy, v.Verdict.Candidates)
			}
		}
		other := w.sender(s.from, policyinfer.MTASTS)
		other.ip, other.id = "192.0.2.11", s.id // another outbound host of the provider
		other.attempt()
		if n := len(w.tests(s.from)); n != 2 {
			t.Errorf("%d tests, want 2: the same Message-ID from another host belongs to the test", n)
		}
	})
}

// A Message-ID is no secret, e.g. of a mail that went to others, too. Where SPF
// names the clients of a test, a copy from elsewhere does not join it.
func TestACopyFromElsewhereDoesNotJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.MTASTS)
		s.attempt()
		copied := w.sender(s.from, policyinfer.None)
		copied.ip, copied.id, copied.helo, copied.forged = "198.51.100.7", s.id, "mx.evil.example", true
		for range 20 {
			s.attempt()
			copied.attempt()
			w.wait(10 * time.Minute)
		}
		tests := w.tests(s.from)
		if len(tests) != 2 {
			t.Fatalf("%d tests, want 2", len(tests))
		}
		for _, r := range tests {
			v, err := w.a.View(r.Test.ID)
			if err != nil || len(r.Clients) != 1 {
				t.Fatalf("clients %v, %v", r.Clients, err)
			}
			if r.Test.SenderIPs[0] == s.ip && v.Verdict.Policy != policyinfer.MTASTS {
				t.Errorf("verdict %s %v beside a copy from elsewhere", v.Verdict.Policy, v.Verdict.Candidates)
			}
		}
		queue, err := w.store.Queue(t.Context())
		if err != nil || len(queue) != 1 {
			t.Errorf("%d reports due, %v; want one", len(queue), err)
		}
	})
}

// On request everything of a sender goes, a running test included, and it
// does not come back by a restart.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s, other := w.sender("user@sender.example", policyinfer.May), w.sender("other@sender.example", policyinfer.May)
		other.ip = "192.0.2.77"
		s.attempt()
		other.attempt()
		synctest.Wait()
		if n, err := w.a.Forget(t.Context(), "User@Sender.example"); err != nil || n == 0 {
			t.Fatalf("%d records deleted, %v", n, err)
		}
		w.stop()
		w.start()
		defer w.stop()
		if n := len(w.tests(s.from)); n != 0 || w.a.Running() != 1 || len(w.tests(other.from)) != 1 {
			t.Errorf("%d tests of the sender left, %d running", n, w.a.Running())
		}
		conns, err := w.store.Connections(t.Context(), history.ConnectionFilter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range conns {
			if c.Connection.MailFrom != nil && *c.Connection.MailFrom == s.from {
				t.Errorf("connection %s still names the sender", c.Connection.ID)
			}
		}
	})
}

// et and ut may come as two mails, and the second one late: it belongs to the
// test even if the first one has brought the verdict.
func TestLateSecondMailBelongsToTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.None)
		s.to = []scenario.Domain{scenario.ET}
		for !s.concluded() {
			s.attempt()
			w.wait(10 * time.Minute)
		}
		s.mail()
		s.to = []scenario.Domain{scenario.Unprotected}
		s.attempt()
		if n := len(w.tests(s.from)); n != 1 || !s.delivered() {
			t.Errorf("%d tests, %q", n, s.text)
		}
	})
}

// A new mail after the verdict has a downgrade phase that its sender can meet:
// it starts with the next connection, not with the mail.
func TestNewMailAfterTheVerdictMeetsADowngrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.May)
		for !s.concluded() {
			s.attempt()
			w.wait(10 * time.Minute)
		}
		s.mail()
		s.policy = policyinfer.Encrypt
		s.until(20, 10*time.Minute)
		if v := w.test(s.from); v.Verdict.Policy != policyinfer.Encrypt || len(w.tests(s.from)) != 2 {
			t.Errorf("verdict %s %v", v.Verdict.Policy, v.Verdict.Candidates)
		}
	})
}

// DNS queries belong to a test if they came from its own address, or if it was
// alone; else they are only around.
func TestQueriesOfATest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		var asked []evidence.Query
		w.a.o.Queries = func(time.Time) []evidence.Query { return asked }
		n := scenario.Names(zone, 0)
		for _, client := range []string{"192.0.2.10", "198.51.100.53"} {
			asked = append(asked, evidence.Query{Time: time.Now(), Client: client, Name: n.TLSA(scenario.MX04) + ".", Type: "TLSA"})
		}
		asked = append(asked, evidence.Query{Time: time.Now(), Client: "192.0.2.10", Name: zone + ".", Type: "SOA"})
		s := w.sender("user@sender.example", policyinfer.May)
		s.attempt()
		if v := w.test(s.from); len(v.History.Queries) != 2 || len(v.Around) != 0 {
			t.Errorf("alone: %d own, %d around; want 2 and 0", len(v.History.Queries), len(v.Around))
		}
		other := w.sender("other@sender.example", policyinfer.May)
		other.ip = "192.0.2.77"
		other.attempt()
		if v := w.test(s.from); len(v.History.Queries) != 1 || len(v.Around) != 1 {
			t.Errorf("beside another test: %d own, %d around; want 1 and 1", len(v.History.Queries), len(v.Around))
		}
		// The other one ends first: what was asked while both ran stays nobody's,
		// also after a restart.
		other.until(10, 5*time.Minute)
		if !other.delivered() {
			t.Fatal("the other test did not end")
		}
		for _, when := range []string{"after another test", "after a restart"} {
			if v := w.test(s.from); len(v.History.Queries) != 1 || len(v.Around) != 1 {
				t.Errorf("%s: %d own, %d around; want 1 and 1", when, len(v.History.Queries), len(v.Around))
			}
			w.stop()
			w.start()
			w.a.o.Queries = func(time.Time) []evidence.Query { return asked }
		}
	})
}
