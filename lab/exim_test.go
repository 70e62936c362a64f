//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// exim is Debian's Exim, configured by Debian's scripts as an Internet site.
type exim struct {
	transport []string // options that its administrator added to remote_smtp
}

func (c exim) on(at place) server { return &eximServer{exim: c, place: at, box: box{node: at.node}} }

type eximServer struct {
	exim
	place
	box
	daemon *daemon
}

// eximAnswers is what debconf would have asked.
const eximAnswers = `dc_eximconfig_configtype='internet'
dc_other_hostnames='%s'
dc_local_interfaces='0.0.0.0'
dc_readhost=''
dc_relay_domains=''
dc_minimaldns='false'
dc_relay_nets=''
dc_smarthost=''
CFILEMODE='644'
dc_use_split_config='false'
dc_hide_mailname=''
dc_mailname_in_oh='true'
dc_localdelivery='maildir_home'
`

// remoteSMTP is how the transport starts in Debian's template.
const remoteSMTP = `
remote_smtp:
  debug_print = "T: remote_smtp for $local_part@$domain"
  driver = smtp
`

const eximMacros = `MAIN_HARDCODE_PRIMARY_HOSTNAME = %s
MAIN_TLS_ENABLE = yes
`

func (e *eximServer) start(ctx context.Context, ca string) error {
	if err := e.open(ca, "Debian-exim"); err != nil {
		return err
	}
	if err := e.configure(ctx); err != nil {
		return fmt.Errorf("configure Exim of %s: %w", e.name, err)
	}
	// -bdf: in the foreground; -q: a queue run every other second.
	var err error
	e.daemon, err = e.spawn(nil, "/usr/sbin/exim4", "-bdf", "-q2s")
	return err
}

func (e *eximServer) configure(ctx context.Context) error {
	if err := e.makeDirs(serverUID, "/var/spool/exim4", "/var/log/exim4", "/run/exim4", "/var/lib/exim4"); err != nil {
		return err
	}
	if err := e.makeDirs(mailboxUID, filepath.Join("/home", mailbox)); err != nil {
		return err
	}
	template, err := os.ReadFile(filepath.Join(e.root, "/etc/exim4/exim4.conf.template"))
	if err != nil {
		return err
	}
	text := string(template)
	for _, edit := range [][2]string{
		{"*                      *           F,2h,15m; G,16h,1h,1.5; F,4d,6h", "* * F,2h,2s"},
		{remoteSMTP, remoteSMTP + "  " + strings.Join(e.transport, "\n  ") + "\n"},
	} {
		if strings.Count(text, edit[0]) != 1 {
			return fmt.Errorf("its template does not contain %q once", edit[0])
		}
		text = strings.Replace(text, edit[0], edit[1], 1)
	}
	for name, content := range map[string]string{
		"/etc/exim4/exim4.conf.template":    text,
		"/etc/exim4/exim4.conf.localmacros": fmt.Sprintf(eximMacros, e.host),
		"/etc/exim4/update-exim4.conf.conf": fmt.Sprintf(eximAnswers, e.domain),
		"/etc/mailname":                     e.domain + "\n",
		"/etc/exim4/email-addresses":        "",
		"/etc/aliases":                      "",
	} {
		if err := e.write(name, content, 0o644); err != nil {
			return err
		}
	}
	if err := e.certificate(ctx, e.host, "/etc/exim4/exim.crt", "/etc/exim4/exim.key"); err != nil {
		return err
	}
	if err := os.Chown(filepath.Join(e.root, "/etc/exim4/exim.key"), serverUID, serverUID); err != nil {
		return err
	}
	_, err = e.run(ctx, "", "/usr/sbin/update-exim4.conf")
	return err
}

func (e *eximServer) stop(t *testing.T) {
	t.Helper()
	if e.daemon != nil {
		e.daemon.end(t, syscall.SIGTERM)
	}
	if e.root == "" {
		return
	}
	if err := e.close(); err != nil {
		t.Error(err)
	}
}

func (e *eximServer) send(ctx context.Context, from, mail string, to ...string) error {
	_, err := e.run(ctx, mail, "/usr/sbin/exim4", append([]string{"-i", "-f", from}, to...)...)
	return err
}

// queued reads Exim's list: a line about each mail, then one for each
// recipient, which starts with D once it was delivered.
func (e *eximServer) queued(ctx context.Context) ([]string, error) {
	out, err := e.run(ctx, "", "/usr/sbin/exim4", "-bp")
	if err != nil {
		return nil, err
	}
	recipients := []string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 1 && strings.Contains(f[0], "@") {
			recipients = append(recipients, f[0])
		}
	}
	return recipients, nil
}

func (e *eximServer) log() string { return filepath.Join(e.root, "/var/log/exim4/mainlog") }

func (e *eximServer) inbox() string { return filepath.Join(e.root, "/home", mailbox, "Maildir/new/*") }

// answers: Exim logs a reply with the host that gave it, and a deferral again
// with the recipient.
func (e *eximServer) answers(test string) (int, error) {
	deferred, err := countLines(e.log(), " == ", "tlsink test "+test+":")
	if err != nil {
		return 0, err
	}
	accepted, err := countLines(e.log(), " => ", "tlsink test "+test+":")
	return deferred + accepted, err
}
