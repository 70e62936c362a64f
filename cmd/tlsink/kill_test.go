package main

import (
	"fmt"
	"math/rand/v2"
	"net/mail"
	"strings"
	"sync"
	"testing"

	"github.com/tlsink/tlsink/evidence"
)

// answered is a message whose reply a client has read.
type answered struct {
	sender, helo string // the EHLO name is one of its own
	code         int
}

// killed is the state of TestKill.
type killed struct {
	t   *testing.T
	out *outside

	mu       sync.Mutex
	replies  []answered
	senders  map[string]bool
	sessions int
}

// What a client was told survives kill -9 at any moment, and each report comes.
func TestKill(t *testing.T) {
	t.Parallel()
	const rounds = 4
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // moments
	k := &killed{t: t, out: newOutside(t), senders: make(map[string]bool)}
	s := k.out.settings(t, "timing.downgrade", "100ms", "timing.attempt", "100ms", "timing.close", "500ms", "timing.report_retry", "1s", "timing.report_attempt", "1s")
	for round := range rounds {
		p := start(t, s)
		k.deliver(p, round, 5+rng.IntN(60))
	}
	p := start(t, s)
	for sender := range k.senders {
		for code := 0; code != 250; { // the tests are closed by time
			var ok bool
			if code, ok = k.attempt(p, sender); !ok {
				t.Fatal("the service is gone")
			}
		}
	}
	k.compareEvidence(p)
	ids := k.awaitReports()
	p.stop(t)
	for len(k.out.reports) > 0 {
		k.accept(<-k.out.reports, ids)
	}
}

// deliver has several clients deliver until they have read so many replies;
// then the process is killed under them.
func (k *killed) deliver(p *process, round, replies int) {
	var wg sync.WaitGroup
	enough := make(chan struct{})
	var once sync.Once
	before := len(k.replies)
	for n := range 4 {
		sender := fmt.Sprintf("user%d-%d@sender.example", round, n)
		wg.Go(func() {
			for {
				if _, ok := k.attempt(p, sender); !ok {
					break
				}
				k.mu.Lock()
				if len(k.replies)-before >= replies {
					once.Do(func() { close(enough) })
				}
				k.mu.Unlock()
			}
			once.Do(func() { close(enough) })
		})
	}
	<-enough
	p.kill()
	wg.Wait()
}

// attempt delivers one mail; false if the process is gone.
func (k *killed) attempt(p *process, sender string) (code int, ok bool) {
	k.mu.Lock()
	k.sessions++
	helo := fmt.Sprintf("mta%d.sender.example", k.sessions)
	k.mu.Unlock()
	c, err := dialSession(k.t, p.smtp)
	if err != nil {
		return 0, false
	}
	defer c.conn.Close()
	var text string
	for _, line := range []string{
		"", "EHLO " + helo + "\r\n", "MAIL FROM:<" + sender + ">\r\n", "RCPT TO:<en@et.sink.example>\r\n", "DATA\r\n", mailText(sender, sender) + "\r\n.\r\n",
	} {
		c.send(line)
		if code, text = c.reply(); code == 0 {
			return 0, false
		}
	}
	if code != 250 && code != 451 {
		k.t.Errorf("reply %d %s", code, text)
		return code, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.replies = append(k.replies, answered{sender, helo, code})
	k.senders[sender] = true
	return code, true
}

// compareEvidence looks for each message that was answered in the history.
func (k *killed) compareEvidence(p *process) {
	k.t.Helper()
	stored := make(map[string]evidence.Transaction)
	for _, test := range p.tests(k.t) {
		for _, c := range p.export(k.t, test.ID).Connections {
			for _, tx := range c.Transactions {
				if tx.Data && tx.MailFrom == test.Sender {
					stored[c.Helo[0]] = tx
				}
			}
		}
	}
	for _, r := range k.replies {
		tx, ok := stored[r.helo]
		switch {
		case !ok:
			k.t.Errorf("%s was answered %d, but its evidence is lost", r.helo, r.code)
		case tx.MailFrom != r.sender || tx.MessageID != "<"+r.sender+">":
			k.t.Errorf("%s: stored as a message of %q with Message-ID %q", r.helo, tx.MailFrom, tx.MessageID)
		case tx.Reply != 0 && tx.Reply != r.code:
			k.t.Errorf("%s was answered %d, stored is %d", r.helo, r.code, tx.Reply)
		}
	}
	k.t.Logf("%d replies to %d senders compared", len(k.replies), len(k.senders))
}

// awaitReports waits until every sender has its report, and returns their
// Message-IDs.
func (k *killed) awaitReports() map[string]string {
	k.t.Helper()
	ids := make(map[string]string)
	for len(ids) < len(k.senders) {
		k.accept(k.out.report(k.t), ids)
	}
	return ids
}

// accept checks a report. After a kill the same one may come again.
func (k *killed) accept(m mailed, ids map[string]string) {
	k.t.Helper()
	msg, err := mail.ReadMessage(strings.NewReader(m.text))
	if err != nil {
		k.t.Fatal(err)
	}
	id := msg.Header.Get("Message-ID")
	if known := ids[m.to]; known != "" && known != id {
		k.t.Errorf("%s got two reports: %s and %s", m.to, known, id)
	}
	if !k.senders[m.to] || id == "" {
		k.t.Errorf("report %q to %s", id, m.to)
	}
	ids[m.to] = id
}
