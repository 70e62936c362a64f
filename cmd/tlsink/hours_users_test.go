package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
)

// Mail to one of the addresses alone ends when what it can show was seen, and
// says what is open. The other address, later, is a test of its own.
func TestUserOfOneAddress(t *testing.T) {
	for _, c := range []struct {
		policy, to, other string
		want              policyinfer.Name
	}{
		{"may", toET, toUT, policyinfer.May},
		{"dane", toET, toUT, policyinfer.Undetermined}, // or dane-only, which ut tells
		{"may", toUT, toET, policyinfer.Undetermined},
		{"dane", toUT, toET, policyinfer.Undetermined},
	} {
		t.Run(c.policy+" to "+c.to, func(t *testing.T) {
			hours(t, func(w *world) {
				s := newMTA(w, policyNamed(c.policy), 10*time.Minute, 1, clientIP(1))
				p := s.deliver(w.t.Context(), s.write("user", c.to), nil)
				s.wait()
				time.Sleep(time.Hour)
				r := w.only(s.address("user"))
				if r.verdict.Policy != c.want || !slices.Contains(r.verdict.Candidates, s.want) || !p.accepted[c.to] {
					t.Errorf("%s %v, %v", r.verdict.Policy, r.verdict.Candidates, p)
				}
				if r.took > 2*time.Hour {
					t.Errorf("the test took %v: nothing was to be learned any more", r.took)
				}
				t.Logf("%s %v after %v", r.verdict.Policy, r.verdict.Candidates, r.took)
				if c.to == toUT && r.verdict.Sender.PlaintextUnprotected != "yes" {
					t.Errorf("the parts say %+v", r.verdict.Sender)
				}
				w.reported(s.address("user"), 1)
				s.deliver(w.t.Context(), s.write("user", c.other), nil)
				s.wait()
				time.Sleep(9 * time.Hour)
				n := len(w.tests(s.address("user")))
				if n != 2 {
					t.Errorf("%d tests after mail to the other address, want 2", n)
				}
				w.reported(s.address("user"), n)
			})
		})
	}
}

// Two mails of one Message-ID, to et and to ut, are one test and get one report.
func TestUserOfTwoMailsWithOneMessageID(t *testing.T) {
	hours(t, func(w *world) {
		s := newMTA(w, policyNamed("dane"), 10*time.Minute, 1, clientIP(1))
		et := s.write("user", toET, toUT)
		ut := *et
		et.to, ut.to = []string{toET}, []string{toUT}
		w.twoMails(s, et, func() *testMail { return &ut })
		time.Sleep(time.Hour)
		if r := w.only(s.address("user")); r.verdict.Policy != policyinfer.DANE || r.rec.State != history.StateAcked {
			t.Errorf("%s %v, %s", r.verdict.Policy, r.verdict.Candidates, r.rec.State)
		}
		w.reported(s.address("user"), 1)
	})
}

// The mail of a test that has ended is accepted at once, in every phase and
// without another report; a new one is a test of its own.
func TestUserWhoSendsAgainAfterTheEnd(t *testing.T) {
	hours(t, func(w *world) {
		s := newMTA(w, policyNamed("may"), 10*time.Minute, 1, clientIP(1))
		m := s.write("user", toET, toUT)
		for i, c := range []struct {
			wait            time.Duration
			mail            *testMail
			once            bool
			tests, attempts int
		}{{0, m, false, 1, 0}, {time.Minute, m, true, 1, 1}, {30 * time.Hour, m, true, 1, 1}, {0, s.write("user", toET, toUT), false, 2, 0}} {
			time.Sleep(c.wait)
			p := s.deliver(w.t.Context(), c.mail, nil)
			time.Sleep(time.Hour)
			if n := len(w.tests(s.address("user"))); n != c.tests || c.once && p.attempts != 1 || !p.accepted[toET] || !p.accepted[toUT] {
				t.Errorf("mail %d: %d tests, want %d; %v", i, n, c.tests, p)
			}
			w.reported(s.address("user"), c.tests)
		}
	})
}

// Automatic mail gets no report, whoever authenticates it. The result is behind
// the link. A list that names itself anew in each envelope is one sender.
func TestUserOfAutomaticMail(t *testing.T) {
	for name, c := range map[string]struct{ head, mailFrom string }{
		"list":           {"List-Id: <l.list.example>\r\n", "list-bounces@list.example"},
		"list with VERP": {"List-Post: <mailto:l@list.example>\r\n", "list-bounces+%d-%s@list.example"},
		"bulk":           {"Precedence: bulk\r\n", "news@list.example"},
		"auto-submitted": {"Auto-Submitted: auto-generated\r\n", "cron@list.example"},
		"null sender":    {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			hours(t, func(w *world) {
				l := w.letter("user@list.example", clientIP(1), toET, toUT)
				l.head += c.head
				senders := make(map[string]bool)
				l.from = func(n int, to string) string {
					from := c.mailFrom
					if strings.Contains(from, "%") {
						from = fmt.Sprintf(from, n, strings.ReplaceAll(to, "@", "="))
					}
					senders[from] = true
					return "<" + from + ">"
				}
				l.deliver()
				time.Sleep(time.Hour)
				n := 0
				for from := range senders {
					n += len(w.tests(from))
					w.reported(from, 0)
				}
				if n != 1 || len(l.pending) != 0 {
					t.Errorf("%d tests, want 1; pending %v", n, l.pending)
				}
				page := w.page(l.replies[0])
				if !strings.Contains(page, "Result: none") || !strings.Contains(page, "could not be mailed") {
					t.Errorf("page: %s", page)
				}
			})
		})
	}
}

// Bounces of one mail server have the same sender, but are different mails.
func TestUserOfTwoBounces(t *testing.T) {
	hours(t, func(w *world) {
		var letters []*letter
		for i := range 2 {
			l := w.letter("mailer-daemon@sender.example", clientIP(1), toET)
			l.from = func(int, string) string { return "<>" }
			l.id = fmt.Sprintf("<bounce-%d@sender.example>", i)
			letters = append(letters, l)
		}
		for n := range 12 {
			for _, l := range letters {
				l.attempt(n)
			}
			time.Sleep(10 * time.Minute)
		}
		tests := w.tests("")
		if len(tests) != 2 || len(tests[0].rec.MessageIDs) != 1 || len(tests[1].rec.MessageIDs) != 1 {
			t.Errorf("%d tests of two bounces: %+v", len(tests), tests)
		}
		for _, l := range letters {
			if len(l.pending) != 0 {
				t.Errorf("%s was never accepted: %v", l.id, l.replies)
			}
		}
		w.reported("mailer-daemon@sender.example", 0)
	})
}

// Addresses as users have them: each is one test with one report. One that
// needs quotes gets it on the page.
func TestUserAddresses(t *testing.T) {
	local := strings.Repeat("a", 64)
	for name, c := range map[string]struct {
		from, path, to string
		reports        int
	}{
		"sub-address":      {"user@a.example", "", "en+tag-1@et." + worldZone, 1},
		"64 octets":        {local + "@a.example", "", toET, 1},
		"SRS, 79 octets":   {"SRS0=" + local + "=a.example@a.example", "", toET, 1},
		"64 octets for us": {"user@a.example", "", "en+" + strings.Repeat("b", 61) + "@et." + worldZone, 1},
		"upper case":       {"User@A.EXAMPLE", "", "EN@ET." + strings.ToUpper(worldZone), 1},
		"quoted":           {"john doe@a.example", `<"john doe"@a.example>`, toET, 0},
		"quoted for us":    {"user@a.example", "", `"en"@et.` + worldZone, 1},
		"batv":             {"user@a.example", "<prvs=%04d1234abcdef=user@a.example>", toET, 1},
	} {
		t.Run(name, func(t *testing.T) {
			hours(t, func(w *world) {
				l := w.letter(c.from, clientIP(1), c.to)
				l.head = "From: user@a.example\r\nTo: " + c.to + "\r\n"
				if c.path != "" {
					l.from = func(n int, _ string) string {
						if strings.Contains(c.path, "%") {
							return fmt.Sprintf(c.path, n)
						}
						return c.path
					}
				}
				l.deliver()
				time.Sleep(time.Hour)
				records, err := w.service().store.Tests(context.Background(), history.TestFilter{})
				if err != nil || len(records) != 1 || len(l.pending) != 0 {
					t.Fatalf("%d tests, %v, pending %v, replies %v", len(records), err, l.pending, l.replies)
				}
				r := w.only(records[0].Test.Sender)
				if r.verdict.Policy != policyinfer.None || r.rec.State != history.StateAcked {
					t.Errorf("%s %v, %s", r.verdict.Policy, r.verdict.Candidates, r.rec.State)
				}
				if got := w.inbox(); got != c.reports {
					t.Errorf("%d reports, want %d; %q %q", got, c.reports, r.rec.ReportTo, r.rec.ReportBlocked)
				}
				if page := w.page(l.replies[0]); strings.Contains(page, "could not be mailed") == (c.reports > 0) {
					t.Errorf("page: %s", page)
				}
			})
		})
	}
}

// A local part of 65 octets is refused by the code for that, where it is ours,
// and opens no test.
func TestUserWithALocalPartTooLong(t *testing.T) {
	hours(t, func(w *world) {
		s := w.talk(clientIP(1))
		s.cmd(250, "MAIL FROM:<user@a.example>")
		if text := s.cmd(501, "RCPT TO:<en+"+strings.Repeat("b", 62)+"@et."+worldZone+">"); !strings.Contains(text, "5.1.3") {
			t.Errorf("RCPT: %q", text)
		}
		s.cmd(221, "QUIT")
		_ = s.conn.Close()
		if n := w.service().assess.Running(); n != 0 {
			t.Errorf("%d tests are running", n)
		}
	})
}

// inbox is the number of all reports that arrived.
func (w *world) inbox() (n int) {
	w.mailbox.mu.Lock()
	defer w.mailbox.mu.Unlock()
	for _, mails := range w.mailbox.mails {
		n += len(mails)
	}
	return n
}

// Internationalized mail is tested like any other. Without SMTPUTF8 on our side
// the report can't be mailed to such an address; the page says so.
func TestUserWithSMTPUTF8(t *testing.T) {
	hours(t, func(w *world) {
		l := w.letter("jürgen@a.example", clientIP(1), toET)
		l.from = func(int, string) string { return "<jürgen@a.example> SMTPUTF8" }
		l.head = "From: Jürgen <jürgen@a.example>\r\nTo: en <" + toET + ">\r\nSubject: Prüfung\r\n"
		l.deliver()
		time.Sleep(time.Hour)
		r := w.only("jürgen@a.example")
		if r.verdict.Policy != policyinfer.None || len(l.pending) != 0 {
			t.Errorf("%s %v, pending %v", r.verdict.Policy, r.verdict.Candidates, l.pending)
		}
		if page := w.page(l.replies[0]); !strings.Contains(page, "Result: none") || !strings.Contains(page, "could not be mailed") {
			t.Errorf("page: %s", page)
		}
		w.reported("jürgen@a.example", 0)
	})
}

// A mail without Message-ID is told by its Date: it ends like any other. There is
// no report about a mail that can't be told from a copy of it, elsewhere.
func TestUserWithoutMessageID(t *testing.T) {
	hours(t, func(w *world) {
		l := w.letter("user@a.example", clientIP(1), toET, toUT)
		l.id = ""
		attempts := l.deliver()
		time.Sleep(time.Hour)
		if r := w.only("user@a.example"); r.verdict.Policy != policyinfer.None || r.rec.State != history.StateAcked {
			t.Errorf("after %d attempts: %s, %s", attempts, r.verdict.Policy, r.rec.State)
		}
		w.reported("user@a.example", 0)
	})
}

// A forwarder's policy is what a forwarded mail measures: the page says so. The
// author gets a report only if the mail was written to us.
func TestUserBehindAForwarder(t *testing.T) {
	const srs, author = "SRS0=HHHH=TT=author.example=user@fwd.example", "user@author.example"
	for name, c := range map[string]struct {
		mailFrom, to, want string
		reports            int
	}{
		"rewritten":                {srs, "me@fwd.example", "This mail was forwarded by fwd.example: what was measured is the policy of fwd.example, not that of author.example.", 1},
		"unchanged":                {author, "me@sender.example", "This mail was forwarded by sender.example", 0},
		"unchanged, written to us": {author, toET, "but came from a host (mta.sender.example) that the SPF record of author.example excludes", 1},
		"by a sending service":     {"bounce-77@fwd.example", toET, "handed over by the servers of fwd.example", 1},
		"straight":                 {author, toET, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			hours(t, func(w *world) {
				l := w.letter(c.mailFrom, clientIP(1), toET)
				l.head = "From: " + author + "\r\nTo: " + c.to + "\r\n"
				if name != "straight" {
					w.allow("author.example", clientIP(99))
					l.sign = w.signer("author.example")
				}
				l.deliver()
				time.Sleep(time.Hour)
				if r := w.only(c.mailFrom); r.verdict.Policy != policyinfer.None {
					t.Errorf("%s %v", r.verdict.Policy, r.verdict.Candidates)
				}
				w.reported(c.mailFrom, c.reports)
				page := w.page(l.replies[0])
				if !strings.Contains(page, c.want) || c.want == "" && (strings.Contains(page, "forwarded") || strings.Contains(page, "handed over by")) {
					t.Errorf("page lacks %q: %s", c.want, page)
				}
			})
		})
	}
}

// A Message-ID is no secret. Somebody else who knows one does not join its test
// under another sender of the same domain.
func TestUserWhoseMessageIDIsKnown(t *testing.T) {
	hours(t, func(w *world) {
		s := newMTA(w, policyNamed("dane"), 10*time.Minute, 1, clientIP(1))
		m := s.write("user", toET, toUT)
		done := make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(5 * time.Minute)
			l := w.letter("evil@"+s.domain, clientIP(77), toET)
			l.id = "<1.user@" + s.domain + ">"
			w.allow(s.domain, clientIP(1))
			for n := range 4 {
				l.attempt(n)
				time.Sleep(10 * time.Minute)
			}
		}()
		s.deliver(w.t.Context(), m, nil)
		<-done
		s.wait()
		time.Sleep(time.Hour)
		r := w.only(s.address("user"))
		if r.verdict.Policy != policyinfer.DANE || len(r.rec.Clients) != 1 {
			t.Errorf("%s %v of %v", r.verdict.Policy, r.verdict.Candidates, r.rec.Clients)
		}
		if n := len(w.tests("evil@" + s.domain)); n != 1 {
			t.Errorf("the other has %d tests, want 1 of its own", n)
		}
		w.reported(s.address("user"), 1)
		w.reported("evil@"+s.domain, 0)
		h, err := w.service().store.History(r.rec.Test.ID)
		if err != nil || slices.ContainsFunc(h.Connections, func(c evidence.Connection) bool { return strings.HasPrefix(c.Client, clientIP(77).String()) }) {
			t.Errorf("the stranger's connections are in the history: %v", err)
		}
	})
}
