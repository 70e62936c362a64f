//go:build linux

package lab_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/evidence"
)

// lab is everything that runs during one test.
type lab struct {
	sink    *tlsink
	senders []*postfix
}

// newLab starts tlsink, the resolver and the senders; without names, all of them.
func newLab(ctx context.Context, t *testing.T, names ...string) *lab {
	t.Helper()
	command(t, "", "ip", "link", "set", "lo", "up")
	l := &lab{}
	for i, s := range setups(t, names...) {
		l.senders = append(l.senders, newPostfix(t, i+1, s))
	}
	var ds string
	l.sink, ds = startSink(ctx, t)
	startUnbound(ctx, t, ds, l.senders)
	l.sink.start(ctx, t)
	var g errgroup.Group
	for _, p := range l.senders {
		if p.sts {
			p.startSTS(ctx, t, l.sink.ca())
		}
		t.Cleanup(func() { p.stop(t) })
		g.Go(func() error { return p.start(ctx, l.sink.ca()) }) // takes seconds
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestVerdicts(t *testing.T) {
	needLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	l := newLab(ctx, t)
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
	l := newLab(ctx, t, "may", "dane", "mta-sts")
	for _, p := range l.senders {
		p.send(t)
	}
	for _, p := range l.senders {
		await(ctx, t, "two attempts of "+p.name, func(ctx context.Context) error {
			test, err := l.sink.test(ctx, p)
			if err == nil && test.Attempts < 2 {
				err = fmt.Errorf("%+v", test)
			}
			return err
		})
	}
	l.sink.kill(t)
	l.sink.start(ctx, t)
	for _, p := range l.senders {
		// A verdict that shows protection may have come before the kill.
		if test, err := l.sink.test(ctx, p); err != nil || test.State != "running" && test.Policy != p.policy {
			t.Errorf("after the restart, test of %s: %+v (%v), want it running, or its verdict", p.name, test, err)
		}
	}
	t.Run("senders", func(t *testing.T) { l.follow(ctx, t) })
	// A report that was sent stays sent.
	l.sink.kill(t)
	l.sink.start(ctx, t)
	for _, p := range l.senders {
		if test, err := l.sink.test(ctx, p); err != nil || test.Report != "sent" || test.Policy != p.policy {
			t.Errorf("after the second restart, test of %s: %+v (%v), want its report sent", p.name, test, err)
		}
	}
}

// An administrator changes a setting and tests again. The second test knows
// nothing of the first.
func TestAgain(t *testing.T) {
	needLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	l := newLab(ctx, t, "may")
	p := l.senders[0]
	t.Run("before", func(t *testing.T) { l.sendAndFollow(ctx, t) })
	p.change(t, setups(t, "dane")[0])
	t.Run("after", func(t *testing.T) { l.sendAndFollow(ctx, t) })
}

// sendAndFollow sends all mails at once and follows each to its end.
func (l *lab) sendAndFollow(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, p := range l.senders {
		p.send(t)
	}
	l.follow(ctx, t)
}

func (l *lab) follow(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, p := range l.senders {
		t.Run(p.kind, func(t *testing.T) {
			t.Parallel()
			keep(t, p.path("postfix.log"))
			l.checkSender(ctx, t, p)
		})
	}
}

func (l *lab) checkSender(ctx context.Context, t *testing.T, p *postfix) {
	t.Helper()
	dir := t.ArtifactDir()
	t.Cleanup(func() { l.explain(t, dir, p) })
	var reports []string
	await(ctx, t, "the report to "+p.name, func(context.Context) (err error) {
		if reports, err = p.inbox(); err == nil && len(reports) < p.mails {
			err = fmt.Errorf("in the mailbox: %q", reports)
		}
		return err
	})
	test, err := l.sink.test(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	if test.Policy != p.policy {
		t.Errorf("verdict %s, want %s: %+v", test.Policy, p.policy, test)
	}
	checkReport(ctx, t, reports[len(reports)-1], p, test.ID)
	l.sink.checkPage(ctx, t, test.Link, p.policy)

	// Whoever may send to ut gets rid of both copies. dane-only never will:
	// ut has no TLSA record.
	left := []string{}
	if p.policy == "dane-only" {
		left = []string{"en@ut." + zone}
	}
	await(ctx, t, "the test mail of "+p.name+" to be accepted", func(ctx context.Context) error {
		queued, err := p.queued(ctx)
		if err == nil && !slices.Equal(queued, left) {
			err = fmt.Errorf("still queued: %q", queued)
		}
		return err
	})
	await(ctx, t, "the report to be sent", func(ctx context.Context) error {
		test, err = l.sink.test(ctx, p)
		if err == nil && test.Report != "sent" {
			err = fmt.Errorf("%+v", test)
		}
		return err
	})
	if reports, err = p.inbox(); err != nil || len(reports) != p.mails {
		t.Errorf("in the mailbox: %q (%v), want one report for each of %d mails", reports, err, p.mails)
	}
	l.checkHistory(ctx, t, dir, p, test.ID)
}

// checkHistory compares the exported history with the verdict, and with what
// the sender logged: whatever was answered must have been on disk by then.
func (l *lab) checkHistory(ctx context.Context, t *testing.T, dir string, p *postfix, test string) {
	t.Helper()
	path, err := l.sink.export(ctx, dir, p.kind, test)
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.sink.infer(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	want := verdict{Test: test, Policy: p.policy, Candidates: p.candidates, Conclusive: len(p.candidates) == 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inferred from the exported history (-want +got):\n%s", diff)
	}
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
	if n := p.answers(t, test); n == 0 || recorded < n {
		t.Errorf("Postfix logged %d answers of test %s, its history has %d", n, test, recorded)
	}
}

// explain prints what tlsink knows about a sender whose test failed, and keeps
// the history.
func (l *lab) explain(t *testing.T, dir string, p *postfix) {
	t.Helper()
	if !t.Failed() {
		return
	}
	ctx := context.WithoutCancel(t.Context())
	test, err := l.sink.test(ctx, p)
	if err != nil {
		t.Logf("tlsink about %s: %v", p.name, err)
		return
	}
	path, err := l.sink.export(ctx, dir, p.kind, test.ID)
	t.Logf("%+v, history: %s (%v)", test, path, err)
	text, err := output(ctx, "", l.sink.binary, "history", "show", "--config", l.sink.config, test.ID)
	t.Logf("%s (%v)", text, err)
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
	if m, err := query(ctx, "may."+senders, dns.TypeMX); err != nil || m.AuthenticatedData || len(m.Answer) == 0 {
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
		{"MAIL FROM:<tester@may." + senders + ">", 250},
		{"RCPT TO:<victim@may." + senders + ">", 550},
		{"RCPT TO:<victim%may." + senders + "@" + zone + ">", 550},
		{"RCPT TO:<@et." + zone + ":victim@may." + senders + ">", 550},
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
