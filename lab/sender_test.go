//go:build linux

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mailbox is the local part of every sender's address.
const mailbox = "tester"

// server is a mail server as those who run and use it see it.
type server interface {
	// start configures and starts it; it trusts the CA in a file.
	start(ctx context.Context, ca string) error
	stop(t *testing.T)
	send(ctx context.Context, from, mail string, to ...string) error
	// queued returns the recipients that are still waiting.
	queued(ctx context.Context) ([]string, error)
	log() string
	// inbox is the pattern of the files with mail for the sender.
	inbox() string
	// answers counts what tlsink answered to the mails of a test, by its log.
	answers(test string) (int, error)
}

// config makes a kind of server with certain settings.
type config interface {
	on(at place) server
}

// place is where a server is, and what it is called.
type place struct {
	node         node
	domain, host string
}

// sender is a domain that mails are sent from, by one server or several. The
// first one has the mailbox.
type sender struct {
	setup
	domain  string
	places  []place
	servers []server
	mails   int // that were sent
}

// newSender makes the nth sender, from 1 on.
func newSender(t *testing.T, n int, s setup) *sender {
	t.Helper()
	out := &sender{setup: s, domain: domainOf(s.kind)}
	network := networks()[s.network]
	for i, c := range s.servers {
		name, host := s.kind, "mx."
		if i > 0 {
			name, host = fmt.Sprintf("%s-%d", name, i+1), fmt.Sprintf("mx%d.", i+1)
		}
		at := place{node: newNode(t, name, strings.Replace(network, "0/24", strconv.Itoa(100+n+75*i), 1)), domain: out.domain, host: host + out.domain}
		out.places = append(out.places, at)
		out.servers = append(out.servers, c.on(at))
	}
	return out
}

func (s *sender) start(ctx context.Context, ca string) error {
	for _, srv := range s.servers {
		if err := srv.start(ctx, ca); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) stop(t *testing.T) {
	t.Helper()
	for _, srv := range s.servers {
		srv.stop(t)
	}
}

func (s *sender) address() string { return mailbox + "@" + s.domain }

// messageID is that of the last mail.
func (s *sender) messageID() string { return fmt.Sprintf("test%d@%s", s.mails, s.domain) }

// send gives a test mail to both test domains to the sender's servers: the same
// to each, as a pool that hands a mail around has it.
func (s *sender) send(ctx context.Context, t *testing.T) {
	t.Helper()
	s.mails++
	et, ut := "en@et."+zone, "en@ut."+zone
	mail := fmt.Sprintf("From: Tester <%s>\nTo: %s, %s\nSubject: test of %s\nDate: %s\nMessage-ID: <%s>\n\nWhich policy is it?\n",
		s.address(), et, ut, s.kind, time.Now().Format(time.RFC1123Z), s.messageID())
	through := s.servers
	if s.fallback {
		through = through[:1]
	}
	for _, srv := range through {
		if err := srv.send(ctx, s.address(), mail, et, ut); err != nil {
			t.Fatal(err)
		}
	}
}

// queued returns the recipients that any server still has a mail for.
func (s *sender) queued(ctx context.Context) ([]string, error) {
	out := []string{}
	for _, srv := range s.servers {
		list, err := srv.queued(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// answers counts what tlsink answered to the mails of a test, by the logs.
func (s *sender) answers(t *testing.T, test string) (n int) {
	t.Helper()
	for _, srv := range s.servers {
		one, err := srv.answers(test)
		if err != nil {
			t.Fatal(err)
		}
		n += one
	}
	return n
}

// reports returns the files of the reports in the mailbox, oldest first. There
// may be other mail, such as a bounce.
func (s *sender) reports() (out []string, err error) {
	files, err := filepath.Glob(s.servers[0].inbox())
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if strings.Contains(string(b), "report@"+zone) {
			out = append(out, f)
		}
	}
	return out, nil
}
