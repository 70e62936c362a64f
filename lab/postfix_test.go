//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// postfix is a way to configure Postfix.
type postfix struct {
	level string // smtp_tls_security_level
	sni   bool   // smtp_tls_servername = hostname
	sts   bool   // MTA-STS by postfix-mta-sts-resolver
	// fallback hands mail that the sender's first server could not deliver to
	// the second one, which is to take it.
	fallback bool
}

func (c postfix) on(at place) server { return &postfixServer{postfix: c, place: at, node: at.node} }

type postfixServer struct {
	postfix
	place
	node
	daemon *daemon // mta-sts-daemon
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
mynetworks = 127.0.0.0/8 %[7]s
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

func (p *postfixServer) start(ctx context.Context, ca string) error {
	if p.sts {
		if err := p.startSTS(ctx, ca); err != nil {
			return err
		}
	}
	for _, dir := range []string{"spool", "state", "etc", "mail"} {
		if err := os.Mkdir(p.path(dir), 0o755); err != nil {
			return err
		}
	}
	cf := fmt.Sprintf(mainCF, p.dir, p.host, p.domain, p.level, ca, zone, strings.Join(networks(), " "))
	if strings.HasPrefix(p.level, "dane") {
		cf += "smtp_dns_support_level = dnssec\n"
	}
	if p.sni {
		cf += "smtp_tls_servername = hostname\n"
	}
	if p.sts {
		cf += "smtp_tls_policy_maps = socketmap:inet:127.0.0.1:8461:postfix\n"
	}
	if p.fallback {
		cf += "smtp_fallback_relay = [mx2." + p.domain + "]\n"
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
		p.in("postfix", "-c", p.path("etc"), "start"),
	} {
		if _, err := output(ctx, "", line[0], line[1:]...); err != nil {
			return fmt.Errorf("start Postfix of %s: %w", p.name, err)
		}
	}
	return nil
}

func (p *postfixServer) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if _, err := output(ctx, "", "postfix", "-c", p.path("etc"), "abort"); err != nil {
		t.Logf("stop Postfix of %s: %v", p.name, err)
	}
	if p.daemon != nil {
		p.daemon.end(t, os.Interrupt)
	}
}

// startSTS starts the daemon that gives Postfix MTA-STS policies.
func (p *postfixServer) startSTS(ctx context.Context, ca string) error {
	config := p.path("mta-sts-daemon.yml")
	if err := os.WriteFile(config, []byte(stsDaemon), 0o644); err != nil {
		return err
	}
	d, err := p.spawn([]string{"SSL_CERT_FILE=" + ca}, "mta-sts-daemon", "-c", config)
	if err != nil {
		return err
	}
	p.daemon = d
	return until(ctx, "mta-sts-daemon", func(context.Context) error {
		b, err := os.ReadFile(d.log)
		if err == nil && !strings.Contains(string(b), "Server started") {
			err = fmt.Errorf("not started: %s", b)
		}
		return err
	})
}

// change gives a running server another level.
func (p *postfixServer) change(t *testing.T, level string) {
	t.Helper()
	p.level = level
	support := "enabled"
	if strings.HasPrefix(level, "dane") {
		support = "dnssec"
	}
	command(t, "postconf", "-c", p.path("etc"), "-e", "smtp_tls_security_level="+level, "smtp_dns_support_level="+support)
	reload := p.in("postfix", "-c", p.path("etc"), "reload")
	command(t, reload[0], reload[1:]...)
}

func (p *postfixServer) send(ctx context.Context, from, mail string, to ...string) error {
	_, err := output(ctx, mail, "sendmail", append([]string{"-C", p.path("etc"), "-i", "-f", from}, to...)...)
	return err
}

func (p *postfixServer) queued(ctx context.Context) ([]string, error) {
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

func (p *postfixServer) log() string { return p.path("postfix.log") }

func (p *postfixServer) inbox() string { return p.path("mail", "inbox", "new", "*") }

func (p *postfixServer) answers(test string) (int, error) {
	return countLines(p.log(), "tlsink test "+test+":")
}
