//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// setup is a way to configure Postfix.
type setup struct {
	kind       string
	level      string   // smtp_tls_security_level
	policy     string   // what tlsink calls it
	candidates []string // if that is undetermined; else the policy alone
	sni        bool     // smtp_tls_servername = hostname
	sts        bool     // MTA-STS by postfix-mta-sts-resolver
}

// setups are those under test, all or some.
func setups(t *testing.T, kinds ...string) (out []setup) {
	t.Helper()
	all := []setup{
		{kind: "none", level: "none", policy: "none"},
		{kind: "may", level: "may", policy: "may"},
		{kind: "encrypt", level: "encrypt", policy: "encrypt"},
		{kind: "verify", level: "verify", policy: "verify"},
		{kind: "dane", level: "dane", policy: "dane"},
		{kind: "dane-only", level: "dane-only", policy: "dane-only"},
		{kind: "mta-sts", level: "may", policy: "mta-sts", sts: true},
		// SNI is no sign of authentication.
		{kind: "may-sni", level: "may", policy: "may", sni: true},
		// A sender that also honours MTA-STS would do the same everywhere.
		{kind: "verify-sni", level: "verify", policy: "undetermined", candidates: []string{"verify", "mta-sts"}, sni: true},
		// The policy map replaces DANE, against RFC 8461 §2.
		{kind: "dane-sts", level: "dane", policy: "mta-sts", sts: true},
	}
	for _, s := range all {
		if s.candidates == nil {
			s.candidates = []string{s.policy}
		}
		if len(kinds) == 0 || slices.Contains(kinds, s.kind) {
			out = append(out, s)
		}
	}
	if len(kinds) > 0 && len(out) != len(kinds) {
		t.Fatalf("setups %q: found %v", kinds, out)
	}
	return out
}

// postfix is a sender with a mailbox: one Postfix instance in a kindspace.
type postfix struct {
	node
	setup
	domain, host string
	mails        int // that were sent
}

// newPostfix makes the nth sender, from 1 on. It is called after its setup.
func newPostfix(t *testing.T, n int, s setup) *postfix {
	t.Helper()
	domain := s.kind + "." + senders
	return &postfix{node: newNode(t, s.kind, fmt.Sprintf(senderAddr, 100+n)), setup: s, domain: domain, host: "mx." + domain}
}

func (p *postfix) address() string { return "tester@" + p.domain }

// messageID is that of the last mail.
func (p *postfix) messageID() string { return fmt.Sprintf("test%d@%s", p.mails, p.domain) }

func (p *postfix) path(name ...string) string {
	return filepath.Join(append([]string{p.dir}, name...)...)
}

// mainCF is Debian's configuration of an Internet site, with fast retries.
const mainCF = `compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/state
maillog_file = %[1]s/postfix.log
maillog_file_prefixes = /run
myhostname = %[2]s
mydomain = %[3]s
myorigin = %[3]s
mydestination =
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
alias_maps =
alias_database =

# the mailbox
virtual_mailbox_domains = %[3]s
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534

queue_run_delay = 3s
minimal_backoff_time = 3s
maximal_backoff_time = 5s

smtp_tls_security_level = %[4]s
smtp_tls_CAfile = %[5]s
smtp_tls_loglevel = 1
# DANE asks once whether the resolver validates, of a zone that is signed here.
dnssec_probe = ns:%[6]s
`

// masterCF holds the services of Debian's that are needed, without chroot.
const masterCF = `smtp      inet  n - n -     - smtpd
pickup    unix  n - n 60    1 pickup
cleanup   unix  n - n -     0 cleanup
qmgr      unix  n - n 300   1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n -     - trivial-rewrite
bounce    unix  - - n -     0 bounce
defer     unix  - - n -     0 bounce
trace     unix  - - n -     0 bounce
verify    unix  - - n -     1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -     - proxymap
smtp      unix  - - n -     - smtp
relay     unix  - - n -     - smtp
showq     unix  n - n -     - showq
error     unix  - - n -     - error
retry     unix  - - n -     - error
discard   unix  - - n -     - discard
virtual   unix  - n n -     - virtual
anvil     unix  - - n -     1 anvil
scache    unix  - - n -     1 scache
postlog   unix-dgram n - n - 1 postlogd
`

const stsDaemon = `host: 127.0.0.1
port: 8461
cache:
  type: internal
  options:
    cache_size: 1000
default_zone:
  strict_testing: false
  timeout: 4
`

// start configures and starts Postfix, which trusts the CA in a file.
func (p *postfix) start(ctx context.Context, ca string) error {
	for _, dir := range []string{"spool", "state", "etc", "mail"} {
		if err := os.Mkdir(p.path(dir), 0o755); err != nil {
			return err
		}
	}
	cf := fmt.Sprintf(mainCF, p.dir, p.host, p.domain, p.level, ca, zone)
	if strings.HasPrefix(p.level, "dane") {
		cf += "smtp_dns_support_level = dnssec\n"
	}
	if p.sni {
		cf += "smtp_tls_servername = hostname\n"
	}
	if p.sts {
		cf += "smtp_tls_policy_maps = socketmap:inet:127.0.0.1:8461:postfix\n"
	}
	if err := os.WriteFile(p.path("etc", "main.cf"), []byte(cf), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(p.path("etc", "master.cf"), []byte(masterCF), 0o644); err != nil {
		return err
	}
	for _, line := range [][]string{
		{"chown", "postfix", p.path("state")},
		{"chown", "65534:65534", p.path("mail")},
		{"postfix", "-c", p.path("etc"), "tls", "enable-server", "-a", "ecdsa", p.host},
		{"nsenter", p.net(), "postfix", "-c", p.path("etc"), "start"},
	} {
		if _, err := output(ctx, "", line[0], line[1:]...); err != nil {
			return fmt.Errorf("start Postfix of %s: %w", p.name, err)
		}
	}
	return nil
}

func (p *postfix) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if _, err := output(ctx, "", "postfix", "-c", p.path("etc"), "abort"); err != nil {
		t.Logf("stop Postfix of %s: %v", p.name, err)
	}
}

// startSTS starts the daemon that gives Postfix MTA-STS policies.
func (p *postfix) startSTS(ctx context.Context, t *testing.T, ca string) {
	t.Helper()
	d := p.node.start(t, []string{"SSL_CERT_FILE=" + ca}, "mta-sts-daemon", "-c", p.file(t, "mta-sts-daemon.yml", stsDaemon))
	keep(t, d.log)
	await(ctx, t, "mta-sts-daemon", func(context.Context) error {
		b, err := os.ReadFile(d.log)
		if err == nil && !strings.Contains(string(b), "Server started") {
			err = fmt.Errorf("not started: %s", b)
		}
		return err
	})
}

// change gives a running sender another setup.
func (p *postfix) change(t *testing.T, s setup) {
	t.Helper()
	p.setup = s
	support := "enabled"
	if strings.HasPrefix(s.level, "dane") {
		support = "dnssec"
	}
	command(t, "", "postconf", "-c", p.path("etc"), "-e", "smtp_tls_security_level="+s.level, "smtp_dns_support_level="+support)
	command(t, "", "nsenter", p.net(), "postfix", "-c", p.path("etc"), "reload")
}

// send gives a test mail to Postfix. It goes to both test domains.
func (p *postfix) send(t *testing.T) {
	t.Helper()
	p.mails++
	et, ut := "en@et."+zone, "en@ut."+zone
	mail := fmt.Sprintf("From: Tester <%s>\nTo: %s, %s\nSubject: test of %s\nDate: %s\nMessage-ID: <%s>\n\nWhich policy is it?\n",
		p.address(), et, ut, p.name, time.Now().Format(time.RFC1123Z), p.messageID())
	command(t, mail, "sendmail", "-C", p.path("etc"), "-i", "-f", p.address(), et, ut)
}

// queued returns the recipients that are still waiting.
func (p *postfix) queued(ctx context.Context) ([]string, error) {
	out, err := output(ctx, "", "postqueue", "-c", p.path("etc"), "-j")
	if err != nil {
		return nil, err
	}
	recipients := []string{}
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var mail struct{ Recipients []struct{ Address string } }
		switch err := d.Decode(&mail); {
		case errors.Is(err, io.EOF):
			return recipients, nil
		case err != nil:
			return nil, fmt.Errorf("postqueue: %w\n%s", err, out)
		}
		for _, r := range mail.Recipients {
			recipients = append(recipients, r.Address)
		}
	}
}

// answers counts what tlsink answered to the mails of a test, by Postfix's log.
func (p *postfix) answers(t *testing.T, test string) (n int) {
	t.Helper()
	b, err := os.ReadFile(p.path("postfix.log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "tlsink test "+test+":")
}

// inbox returns the files of the mails that were delivered to the sender.
func (p *postfix) inbox() ([]string, error) {
	return filepath.Glob(p.path("mail", "inbox", "new", "*"))
}
