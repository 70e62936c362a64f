package follow

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"net/mail"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/live"
)

// sendingView prints the addresses once there are some, and has the mail sent.
type sendingView struct {
	testView
	run *testRun
	ctx context.Context //nolint:containedctx // that of the command which this is a part of
}

// show implements testView. An error ends the test.
func (v *sendingView) show(st *live.Status) error {
	if a := st.Addresses; a != nil && !v.run.mailed {
		v.run.mailed = true
		if !v.run.cmd.JSON {
			if _, err := fmt.Fprintf(v.run.env.Stdout, "%s\n%s\n", cli.Printable(a.ET), cli.Printable(a.UT)); err != nil {
				return err
			}
		}
		if err := v.run.cmd.send(v.ctx, v.run.env, *a, time.Now()); err != nil {
			return err
		}
	}
	return v.testView.show(st)
}

// sendTime bounds what takes the mail: it has only to queue it.
const sendTime = 2 * time.Minute

// send hands the test mail to a program of this host; without one, somebody else
// sends it.
func (c *TestCmd) send(ctx context.Context, e *cli.Env, a live.Addresses, now time.Time) error {
	if c.Send == "" && c.Sendmail == "" {
		return nil
	}
	to := []string{a.ET, a.UT}
	for _, address := range to {
		// They come from the server, and go to a command line.
		if p, err := mail.ParseAddress(address); err != nil || p.Address != address || strings.HasPrefix(address, "-") || strings.ContainsAny(address, " \"\\'`$;&|<>()") {
			return fmt.Errorf("the server names %q as an address, which is none", address)
		}
	}
	from := c.From
	if c.Sendmail != "" {
		from = c.Sendmail
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", c.Send) //nolint:gosec // what the user gave
	if c.Sendmail != "" {
		program, err := sendmailPath()
		if err != nil {
			return err
		}
		cmd = exec.CommandContext(ctx, program, append([]string{"-i", "-f", from, "--"}, to...)...) //nolint:gosec // checked above
	}
	cmd.Env = append(os.Environ(), "TLSINK_TO="+strings.Join(to, " "))
	cmd.Stdin = bytes.NewReader(mailForTest(from, to, now))
	cmd.Stdout, cmd.Stderr = e.Stderr, e.Stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the test mail was not taken: %w", err)
	}
	return nil
}

func sendmailPath() (string, error) {
	if p, err := exec.LookPath("sendmail"); err == nil {
		return p, nil
	}
	for _, p := range []string{"/usr/sbin/sendmail", "/usr/lib/sendmail"} {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", errors.New("--sendmail: there is no sendmail(1) on this host: use --send with another command")
}

// mailForTest writes the mail, with lines as programs of this host take them. It says that it comes from a program (RFC 3834
// §3.1.7): then no report is mailed, every night, to who reads cron's mail.
func mailForTest(from string, to []string, now time.Time) []byte {
	var b strings.Builder
	if from != "" {
		domain := from[strings.LastIndexByte(from, '@')+1:]
		fmt.Fprintf(&b, "From: <%s>\nMessage-ID: <%s@%s>\n", from, randomID(), domain)
	}
	fmt.Fprintf(&b, "To: <%s>\n", strings.Join(to, ">, <"))
	fmt.Fprintf(&b, "Date: %s\n", now.Format(time.RFC1123Z))
	b.WriteString("Subject: tlsink test\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\n\n")
	b.WriteString("This mail tests how mail is protected on its way. It can be deleted.\n")
	return []byte(b.String())
}

func randomID() string {
	b := make([]byte, 10)
	_, _ = rand.Read(b) // never fails
	return strings.ToLower(base32.StdEncoding.EncodeToString(b))
}
