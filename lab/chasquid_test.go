//go:build linux

package lab_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// chasquid is Debian's chasquid. It has no setting for outgoing TLS: it does
// MTA-STS and nothing else, and names the host in every ClientHello.
type chasquid struct{}

func (c chasquid) on(at place) server { return &chasquidServer{place: at, box: box{node: at.node}} }

type chasquidServer struct {
	place
	box
	daemon *daemon
}

const chasquidConf = `hostname: %q
smtp_address: ":25"
submission_address: ":587"
mail_delivery_agent_bin: "/etc/chasquid/deliver"
mail_delivery_agent_args: "%%from%%"
mail_delivery_agent_args: "%%to%%"
data_dir: "/var/lib/chasquid"
mail_log_path: "/var/log/chasquid-mail.log"
`

// chasquidDeliver puts a mail into a mailbox. The null sender is given as <>.
const chasquidDeliver = `#!/bin/sh
from=${1#<}
{ printf 'Return-Path: <%s>\nDelivered-To: %s\n' "${from%>}" "$2"; cat; } >/var/mail/inbox/$$.part
mv /var/mail/inbox/$$.part "/var/mail/inbox/new/$(date +%s).$$"
`

// chasquidLoop starts chasquid again and again: it then tries all mail at once,
// where it would otherwise wait for minutes. An attempt takes well under a second.
const chasquidLoop = `#!/bin/sh
trap 'kill "$child"; wait; exit' TERM INT
while :; do
	timeout 4 chasquid --logfile /var/log/chasquid.log --config_dir /etc/chasquid </dev/null &
	child=$!
	wait "$child"
done
`

const chasquidPassword = "secret"

func (c *chasquidServer) start(ctx context.Context, ca string) error {
	if err := c.open(ca, "chasquid"); err != nil {
		return err
	}
	certs := filepath.Join("/etc/chasquid/certs", c.host)
	if err := c.makeDirs(0, certs, filepath.Join("/etc/chasquid/domains", c.domain), "/var/lib/chasquid", "/var/mail/inbox/new"); err != nil {
		return err
	}
	if err := c.certificate(ctx, c.host, filepath.Join(certs, "fullchain.pem"), filepath.Join(certs, "privkey.pem")); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"/etc/chasquid/chasquid.conf": fmt.Sprintf(chasquidConf, c.host),
		"/etc/chasquid/deliver":       chasquidDeliver,
		"/etc/chasquid/loop":          chasquidLoop,
	} {
		if err := c.write(name, content, 0o755); err != nil {
			return err
		}
	}
	if _, err := c.run(ctx, "", "chasquid-util", "user-add", mailbox+"@"+c.domain, "--password="+chasquidPassword); err != nil {
		return err
	}
	var err error
	c.daemon, err = c.spawn(nil, "/etc/chasquid/loop")
	return err
}

func (c *chasquidServer) stop(t *testing.T) {
	t.Helper()
	if c.daemon != nil {
		c.daemon.end(t, syscall.SIGTERM)
	}
	if c.root == "" {
		return
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
}

// send submits a mail as its user, as soon as chasquid is there.
func (c *chasquidServer) send(ctx context.Context, from, mail string, to ...string) error {
	return until(ctx, "chasquid to take a mail", func(ctx context.Context) error { return c.submit(ctx, from, mail, to) })
}

func (c *chasquidServer) submit(ctx context.Context, from, mail string, to []string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(c.addr, "587"))
	if err != nil {
		return err
	}
	client, err := smtp.NewClient(conn, c.host)
	if err != nil {
		conn.Close()
		return err
	}
	defer client.Close()
	if err := client.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil { //nolint:gosec // its own certificate, in a namespace of its own
		return err
	}
	if err := client.Auth(smtp.PlainAuth("", from, chasquidPassword, c.host)); err != nil {
		return err
	}
	if err := client.Mail(from); err != nil {
		return err
	}
	for _, r := range to {
		if err := client.Rcpt(r); err != nil {
			return err
		}
	}
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(strings.ReplaceAll(mail, "\n", "\r\n"))); err != nil {
		return err
	}
	return w.Close() // from here on it is queued, whatever happens to QUIT
}

// queued reads chasquid's queue: one file for each mail, with a record for each
// recipient.
func (c *chasquidServer) queued(context.Context) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(c.root, "/var/lib/chasquid/queue/m:*"))
	if err != nil {
		return nil, err
	}
	recipients := []string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		for record := range strings.SplitSeq(string(b), "Rcpt:") {
			_, rest, ok := strings.Cut(record, "address:")
			if !ok || !strings.Contains(rest, "PENDING") {
				continue
			}
			if quoted := strings.SplitN(rest, `"`, 3); len(quoted) == 3 {
				recipients = append(recipients, quoted[1])
			}
		}
	}
	return recipients, nil
}

func (c *chasquidServer) log() string { return filepath.Join(c.root, "/var/log/chasquid-mail.log") }

func (c *chasquidServer) inbox() string { return filepath.Join(c.root, "/var/mail/inbox/new/*") }

// answers: chasquid logs the last reply of a delivery.
func (c *chasquidServer) answers(test string) (int, error) {
	return countLines(c.log(), "tlsink test "+test+":")
}
