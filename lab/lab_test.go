//go:build linux

package lab_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/textproto"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// lab is everything that runs during one test.
type lab struct {
	sink    *tlsink
	senders []*sender
	// fixture names the fixture that the history of a kind of sender becomes;
	// nil if it becomes none.
	fixture func(kind string) string
}

// newLab starts tlsink, the resolver and the senders.
func newLab(ctx context.Context, t *testing.T, o options) *lab {
	t.Helper()
	command(t, "ip", "link", "set", "lo", "up")
	l := &lab{}
	for i, s := range setups(t, o.kinds...) {
		l.senders = append(l.senders, newSender(t, i+1, s))
	}
	var ds string
	l.sink, ds = startSink(ctx, t, o)
	startUnbound(ctx, t, stub(ds), l.senders)
	l.sink.start(ctx, t)
	t.Cleanup(func() { l.stopSenders(t) })
	var g errgroup.Group
	g.SetLimit(2 * runtime.NumCPU())
	for _, s := range l.senders {
		g.Go(func() error { return s.start(ctx, l.sink.ca()) }) // takes seconds
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return l
}

// stopSenders stops all at once, since each waits for seconds.
func (l *lab) stopSenders(t *testing.T) {
	t.Helper()
	var all sync.WaitGroup
	for _, s := range l.senders {
		all.Go(func() { s.stop(t) })
	}
	all.Wait()
}

func TestVerdicts(t *testing.T) {
	needLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	l := newLab(ctx, t, options{})
	l.fixture = firstFixture
	t.Run("zone validates", func(t *testing.T) { checkZone(ctx, t) })
	t.Run("no open relay", func(t *testing.T) { checkRelay(ctx, t) })
	t.Run("senders", func(t *testing.T) { l.sendAndFollow(ctx, t) })
}

// tlsink is killed while every sender is in the middle of its test. What it had
// answered is on disk, so the tests go on where they were.
func TestKilled(t *testing.T) {
	needLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	l := newLab(ctx, t, options{kinds: []string{"may", "dane", "mta-sts"}})
	for _, s := range l.senders {
		s.send(ctx, t)
	}
	for _, s := range l.senders {
		l.awaitAttempts(ctx, t, s, 2)
	}
	l.sink.kill(t)
	l.sink.start(ctx, t)
	for _, s := range l.senders {
		// A verdict that shows protection may have come before the kill.
		if test, err := l.sink.test(ctx, s); err != nil || test.State != "running" && !s.right(test.Policy) {
			t.Errorf("after the restart, test of %s: %+v (%v), want it running, or its verdict", s.kind, test, err)
		}
	}
	t.Run("senders", func(t *testing.T) { l.follow(ctx, t) })
	// A report that was sent stays sent.
	l.sink.kill(t)
	l.sink.start(ctx, t)
	for _, s := range l.senders {
		if test, err := l.sink.test(ctx, s); err != nil || test.Report != "sent" || !s.right(test.Policy) {
			t.Errorf("after the second restart, test of %s: %+v (%v), want its report sent", s.kind, test, err)
		}
	}
}

// An administrator changes a setting and tests again: the second test knows
// nothing of the first. A sender that was not changed may remember.
func TestAgain(t *testing.T) {
	needLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	l := newLab(ctx, t, options{kinds: []string{"may", "chasquid"}})
	t.Run("before", func(t *testing.T) { l.sendAndFollow(ctx, t) })
	l.fixture = againFixture
	for _, s := range l.senders {
		switch srv := s.servers[0].(type) {
		case *postfixServer:
			s.setup = setups(t, "dane")[0]
			srv.change(t, "dane")
		case *chasquidServer:
			s.setup = chasquidAgain()
		}
	}
	t.Run("after", func(t *testing.T) { l.sendAndFollow(ctx, t) })
}

// sendAndFollow sends all mails at once and follows each to its end.
func (l *lab) sendAndFollow(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, s := range l.senders {
		s.send(ctx, t)
	}
	l.follow(ctx, t)
}

func (l *lab) follow(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, s := range l.senders {
		t.Run(s.kind, func(t *testing.T) {
			t.Parallel()
			for _, srv := range s.servers {
				keep(t, srv.log())
			}
			t.Cleanup(func() { l.explain(t, s) })
			if s.endless {
				l.checkEndless(ctx, t, s)
			} else {
				l.checkSender(ctx, t, s)
			}
		})
	}
}

// awaitAttempts waits until the test of a sender has some attempts.
func (l *lab) awaitAttempts(ctx context.Context, t *testing.T, s *sender, n int) {
	t.Helper()
	await(ctx, t, fmt.Sprintf("%d attempts of %s", n, s.kind), func(ctx context.Context) error {
		test, err := l.sink.test(ctx, s)
		if err == nil && test.Attempts < n {
			err = fmt.Errorf("%+v", test)
		}
		return err
	})
}

func (l *lab) checkSender(ctx context.Context, t *testing.T, s *sender) {
	t.Helper()
	var reports []string
	await(ctx, t, "the report to "+s.kind, func(context.Context) (err error) {
		if reports, err = s.reports(); err == nil && len(reports) < s.mails {
			err = fmt.Errorf("in the mailbox: %q", reports)
		}
		return err
	})
	test, err := l.sink.test(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if !s.right(test.Policy) {
		t.Errorf("verdict %s, want %s: %+v", test.Policy, s.policy, test)
	}
	checkReport(ctx, t, reports[len(reports)-1], s, test)
	l.sink.checkPage(ctx, t, test.Link, test.Policy)

	// Whoever may send to ut gets rid of both copies.
	await(ctx, t, "the test mail of "+s.kind+" to be accepted", func(ctx context.Context) error {
		queued, err := s.queued(ctx)
		if err == nil && !slices.Equal(queued, s.left) {
			err = fmt.Errorf("still queued: %q", queued)
		}
		return err
	})
	await(ctx, t, "the report to be sent", func(ctx context.Context) error {
		test, err = l.sink.test(ctx, s)
		if err == nil && test.Report != "sent" {
			err = fmt.Errorf("%+v", test)
		}
		return err
	})
	if reports, err = s.reports(); err != nil || len(reports) != s.mails {
		t.Errorf("in the mailbox: %q (%v), want one report for each of %d mails", reports, err, s.mails)
	}
	l.checkHistory(ctx, t, s, test)
}

// checkEndless looks at a sender about which no verdict can come: what tlsink
// knows must hold at any time, so it is asked after more attempts than others
// need.
func (l *lab) checkEndless(ctx context.Context, t *testing.T, s *sender) {
	t.Helper()
	const many = 20
	l.awaitAttempts(ctx, t, s, many)
	test, err := l.sink.test(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if test.State != "running" {
		t.Errorf("%+v, want it running", test)
	}
	l.checkHistory(ctx, t, s, test)
}

// checkZone asks the validating resolver for what senders rely on.
func checkZone(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, q := range []struct {
		name  string
		qtype uint16
		rcode int
		found bool
	}{
		{zone, dns.TypeSOA, dns.RcodeSuccess, true},
		{"et." + zone, dns.TypeMX, dns.RcodeSuccess, true},
		{"mx04.et." + zone, dns.TypeA, dns.RcodeSuccess, true},
		{"_25._tcp.mx04.et." + zone, dns.TypeTLSA, dns.RcodeSuccess, true},
		{"_mta-sts.et." + zone, dns.TypeTXT, dns.RcodeSuccess, true},
		{"ut." + zone, dns.TypeMX, dns.RcodeSuccess, true},
		{"_25._tcp.ut." + zone, dns.TypeTLSA, dns.RcodeNameError, false},
		{"_mta-sts.ut." + zone, dns.TypeTXT, dns.RcodeNameError, false},
	} {
		m, err := query(ctx, q.name, q.qtype)
		if err != nil {
			t.Errorf("%s: %v", q.name, err)
			continue
		}
		if m.Rcode != q.rcode || !m.AuthenticatedData || (len(m.Answer) > 0) != q.found {
			t.Errorf("want %s with AD, records: %v; got\n%v", dns.RcodeToString[q.rcode], q.found, m)
		}
	}
	// The check can fail: the senders' domains are not signed.
	if m, err := query(ctx, domainOf("may"), dns.TypeMX); err != nil || m.AuthenticatedData || len(m.Answer) == 0 {
		t.Errorf("want an MX without AD; got\n%v (%v)", m, err)
	}
}

// checkRelay tries to reach others through the sink, as a stranger.
func checkRelay(ctx context.Context, t *testing.T) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(sinkAddr, "25"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := textproto.Conn{Reader: textproto.Reader{R: bufio.NewReader(conn)}, Writer: textproto.Writer{W: bufio.NewWriter(conn)}}
	if _, _, err := c.ReadResponse(220); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		line string
		code int
	}{
		{"EHLO stranger.example", 250},
		{"MAIL FROM:<tester@" + domainOf("may") + ">", 250},
		{"RCPT TO:<victim@" + domainOf("may") + ">", 550},
		{"RCPT TO:<victim%" + domainOf("may") + "@" + zone + ">", 550},
		{"RCPT TO:<@et." + zone + ":victim@" + domainOf("may") + ">", 550},
		{"DATA", 5},
		{"QUIT", 221},
	} {
		if err := c.PrintfLine("%s", step.line); err != nil {
			t.Fatal(err)
		}
		if _, text, err := c.ReadResponse(step.code); err != nil {
			t.Errorf("%s: %v %s, want %d", step.line, err, text, step.code)
		}
	}
}
