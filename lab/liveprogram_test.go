//go:build linux

package lab_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/client"
)

// junit is what CI systems read of the result.
type junit struct {
	Tests    int `xml:"tests,attr"`
	Failures int `xml:"failures,attr"`
	Errors   int `xml:"errors,attr"`
	Cases    []struct {
		Name string `xml:"name,attr"`
	} `xml:"testsuite>testcase"`
}

var (
	followIt   = regexp.MustCompile(`follow it at (\S+)`)
	hookSecret = regexp.MustCompile(`webhook secret: (\S+)`)
)

// An administrator tests a mail server by cron, on that host, and watches it
// elsewhere.
func (l *liveLab) followByProgram(ctx context.Context, t *testing.T) {
	s := l.sender(t, "dane")
	srv, ok := s.servers[0].(*postfixServer)
	if !ok {
		t.Fatalf("%T is no Postfix", s.servers[0])
	}
	results := srv.path("junit.xml")
	d := srv.node.start(t, nil, l.sink.binary, "test", "--server", site, "--roots", l.sink.ca(), "--require", "dane", "--junit", results,
		"--webhook", l.hooks.url+hookOwn, "--from", s.address(),
		"--send", fmt.Sprintf("sendmail -C %s -i -f %s $TLSINK_TO", srv.path("etc"), s.address()))
	keep(t, d.log)
	said := func(what *regexp.Regexp) string {
		var found string
		await(ctx, t, what.String(), func(context.Context) error {
			b, err := os.ReadFile(d.log)
			if err != nil {
				return err
			}
			m := what.FindSubmatch(b)
			if m == nil {
				return fmt.Errorf("tlsink test says %s", b)
			}
			found = string(m[1])
			return nil
		})
		return found
	}
	secret, link := said(hookSecret), said(followIt)
	watched, err := output(ctx, "", l.sink.binary, "watch", "--roots", l.sink.ca(), link)
	if err != nil || !strings.Contains(watched, "dane") {
		t.Errorf("tlsink watch: %v\n%s", err, watched)
	}
	await(ctx, t, "tlsink test to end", func(context.Context) error {
		if d.running() {
			return errors.New("it runs")
		}
		return nil
	})
	b, err := os.ReadFile(results)
	if err != nil {
		t.Fatal(err)
	}
	var got junit
	if err := xml.Unmarshal(b, &got); err != nil || got.Tests == 0 || got.Tests != len(got.Cases) || got.Failures+got.Errors != 0 {
		t.Errorf("JUnit: %+v (%v)\n%s", got, err, b)
	}
	if status := d.cmd.ProcessState.ExitCode(); status != 0 {
		t.Errorf("tlsink test exits with %d", status)
	}
	l.checkHooks(ctx, t, link, secret)
	// Another requirement is judged by the finished test.
	l.checkUnmet(ctx, t, link)
}

// checkHooks checks that both webhooks were told, each what is for it.
func (l *liveLab) checkHooks(ctx context.Context, t *testing.T, link, secret string) {
	t.Helper()
	_, capability, err := client.ParseLink(link)
	if err != nil {
		t.Fatal(err)
	}
	st, err := l.api.Status(ctx, capability, "")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct{ secret, link string }{hookOperator: {l.hooks.secret, ""}, hookOwn: {secret, link}} {
		m := l.hooks.await(ctx, t, path, st.Test, want.secret)
		if m.Data.Verdict == nil || m.Data.Verdict.Policy != "dane" || m.Data.Link != want.link || strings.Contains(m.Data.Sender, mailbox) {
			t.Errorf("webhook %s says %+v, verdict %+v; want the verdict dane, link %q, and no address", path, m.Data, m.Data.Verdict, want.link)
		}
	}
}

// checkUnmet checks what programs are told that ask for nonsense.
func (l *liveLab) checkUnmet(ctx context.Context, t *testing.T, link string) {
	t.Helper()
	for _, c := range []struct {
		status int
		args   []string
	}{
		{2, []string{"test", "--server", site, "--roots", l.sink.ca(), "--require", "safe"}},
		{3, []string{"watch", "--roots", l.sink.ca(), link[:len(link)-3] + "aaa"}},
		{3, []string{"watch", link}}, // whose certificate nobody else vouches for
	} {
		_, err := output(ctx, "", l.sink.binary, c.args...)
		if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != c.status {
			t.Errorf("tlsink %q: %v, want exit status %d", c.args, err, c.status)
		}
	}
}
