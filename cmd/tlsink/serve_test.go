package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"go.etcd.io/bbolt"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/operate"
)

// fails runs `tlsink serve`, which has to end with status 1 and one line that
// says everything in want.
func fails(t *testing.T, s settings, want ...string) {
	t.Helper()
	p := launch(t, s)
	if status := p.status(); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	var plain []string
	for line := range strings.Lines(p.log.text()) {
		if !strings.HasPrefix(line, "{") { // the log
			plain = append(plain, line)
		}
	}
	if len(plain) != 1 {
		t.Fatalf("want one line, got %q", plain)
	}
	for _, w := range append(want, "tlsink: ") {
		if !strings.Contains(plain[0], w) {
			t.Errorf("%q does not say %q", plain[0], w)
		}
	}
}

func TestServeNamesTheAddressInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, key := range []string{"smtp", "http", "https", "dns"} {
		fails(t, newSettings(t, "listen."+key, []string{l.Addr().String()}), "listen."+key, l.Addr().String(), "address already in use", "stop what runs there")
	}
	fails(t, newSettings(t, "listen.dns", []string{l.Addr().String()}), "systemd-resolved")
}

func TestServeStartErrors(t *testing.T) {
	t.Parallel()
	used := newSettings(t)
	start(t, used).stop(t)
	keyed := func(t *testing.T, changes ...any) settings { // RSA keys take long to make
		t.Helper()
		s := newSettings(t, changes...)
		copyTree(t, used.dir(), s.dir())
		return s
	}
	t.Run("address of another host", func(t *testing.T) {
		t.Parallel()
		fails(t, newSettings(t, "listen.smtp", []string{"192.0.2.1:0"}), "listen.smtp", "192.0.2.1:0", "does not have that address")
	})
	t.Run("no address", func(t *testing.T) {
		t.Parallel()
		fails(t, newSettings(t, "listen.smtp", []string{"smtp"}), "listen.smtp", `"smtp"`, "missing port", `":25"`)
	})
	t.Run("privileged port", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:25")
		if err == nil || !strings.Contains(err.Error(), "permission") {
			if err == nil {
				l.Close()
			}
			t.Skip("this user may bind port 25, or it is in use")
		}
		fails(t, newSettings(t, "listen.smtp", []string{"127.0.0.1:25"}), "listen.smtp", "permission denied", "CAP_NET_BIND_SERVICE")
	})
	t.Run("file in the way of data_dir", func(t *testing.T) {
		t.Parallel()
		file := fileOf(t, "")
		fails(t, newSettings(t, "data_dir", filepath.Join(file, "data")), "data_dir", file, "directory that tlsink may write to")
	})
	t.Run("unwritable data_dir", func(t *testing.T) {
		t.Parallel()
		if os.Geteuid() == 0 {
			t.Skip("root may write everywhere")
		}
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o500); err != nil { //nolint:gosec // a directory
			t.Fatal(err)
		}
		fails(t, newSettings(t, "data_dir", filepath.Join(dir, "data")), "data_dir", dir, "directory that tlsink may write to")
	})
	t.Run("data_dir too long for a socket", func(t *testing.T) {
		t.Parallel()
		fails(t, newSettings(t, "data_dir", filepath.Join(t.TempDir(), strings.Repeat("a", 120))), "data_dir", "too long")
	})
	t.Run("wrong zone", func(t *testing.T) {
		t.Parallel()
		fails(t, newSettings(t, "zone", "sink example"), `zone is "sink example"`, "sink.example")
	})
	t.Run("address that nobody can reach", func(t *testing.T) {
		t.Parallel()
		fails(t, keyed(t, "dns.addresses", []string{"0.0.0.0"}), "address", `"0.0.0.0"`)
	})
	t.Run("no trust anchors", func(t *testing.T) {
		t.Parallel()
		fails(t, keyed(t, "dns.trust_anchors", "/nowhere/anchors"), "dns.trust_anchors", "/nowhere/anchors")
	})
	t.Run("smarthost in plain text elsewhere", func(t *testing.T) {
		t.Parallel()
		fails(t, keyed(t, "mail.smarthost.address", "192.0.2.1:25", "mail.smarthost.plaintext", true), "smarthost", "192.0.2.1:25", "loopback")
	})
	t.Run("no password", func(t *testing.T) {
		t.Parallel()
		fails(t, keyed(t, "mail.smarthost.address", "mail.example.org:587", "mail.smarthost.username", "tlsink", "mail.smarthost.password_file", "/nowhere/password"),
			"mail.smarthost.password_file", "/nowhere/password")
	})
	t.Run("no roots", func(t *testing.T) {
		t.Parallel()
		fails(t, keyed(t, "certificates.roots", fileOf(t, "none")), "certificates.roots", "no certificate")
	})
}

// Each case damages what an earlier run left.
func TestServeRefusesDamagedData(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	start(t, s).stop(t)
	for name, c := range map[string]struct {
		file   string
		damage func(path string) error
		want   []string
	}{
		"damaged history": {"history.db", func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("no bolt file", 10_000)), 0o600)
		}, []string{"history.db", "damaged", "backup"}},
		"history of a later version": {"history.db", laterSchema, []string{"history.db", "later tlsink", "run the later version"}},
		"others can read the DKIM key": {"dkim.pem", func(path string) error { return os.Chmod(path, 0o644) }, //nolint:gosec // the point
			[]string{"dkim.pem", "others can read it", "0600"}},
		"damaged DKIM key": {"dkim.pem", func(path string) error { return os.WriteFile(path, []byte("?"), 0o600) }, []string{"dkim.pem", "PEM"}},
		"damaged zone key": {"zone.json", func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) }, []string{"zone.json", "restore the file"}},
		"damaged CA":       {"ca/root.pem", func(path string) error { return os.WriteFile(path, []byte("?"), 0o600) }, []string{"root.pem"}},
		"lost CA key":      {"ca/root-key.pem", os.Remove, []string{"restore the other"}},
		"damaged certificate": {
			"certs/certificates/0-mx05-ca-rsa.pem", func(path string) error { return os.WriteFile(path, []byte("?"), 0o600) },
			[]string{"0-mx05-ca-rsa.pem", "remove it"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mine := newSettings(t)
			copyTree(t, s.dir(), mine.dir())
			if err := c.damage(filepath.Join(mine.dir(), filepath.FromSlash(c.file))); err != nil {
				t.Fatal(err)
			}
			fails(t, mine, c.want...)
		})
	}
}

// laterSchema makes the file one of a version that is yet to come.
func laterSchema(path string) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte{0, 0, 0, 0, 0, 0, 0, 99})
	})
}

// copyTree copies files with their modes.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path) //nolint:gosec // of this test
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOneServiceForOneDataDir(t *testing.T) {
	t.Parallel()
	first := start(t, newSettings(t))
	fails(t, newSettings(t, "data_dir", first.settings.dir()), "data_dir", first.settings.dir(), "another tlsink")
	// The second one has not harmed the first.
	first.ask(t, "history", "list")
	first.connect(t, "mta.sender.example").cmd(221, "QUIT")
}

func TestSignalDrains(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	idle, busy := p.connect(t, "idle.sender.example"), p.connect(t, "busy.sender.example")
	busy.cmd(250, "MAIL FROM:<a@sender.example>")
	busy.cmd(250, "RCPT TO:<en@et.sink.example>")
	busy.cmd(354, "DATA")
	p.terminate(t)
	p.waitFor(t, "tlsink stops")
	idle.expect(421)
	// Until the last transaction has ended, what was begun can be looked up.
	q := new(dns.Msg).SetQuestion("et.sink.example.", dns.TypeMX)
	if a, err := dns.ExchangeContext(t.Context(), q, p.dns); err != nil || len(a.Answer) == 0 {
		t.Errorf("DNS while the connections drain: %v", err)
	}
	if c, err := dialSession(t, p.smtp); err == nil {
		t.Error("a new connection was accepted")
		c.conn.Close()
	}
	busy.send(mailText("a@sender.example", "1@sender.example") + "\r\n.\r\n")
	if code, text := busy.reply(); code != 451 || !strings.Contains(text, "tlsink test") {
		t.Errorf("reply %d %s, want the 451 of a test", code, text)
	}
	if s := p.status(); s != 0 {
		t.Errorf("exit status %d, want 0", s)
	}
	p.waitFor(t, "tlsink has stopped")
	if _, err := os.Stat(filepath.Join(p.settings.dir(), control.Socket)); err == nil {
		t.Error("the control socket is still there")
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	busy := p.connect(t, "busy.sender.example") // would be waited for
	busy.cmd(250, "MAIL FROM:<a@sender.example>")
	busy.cmd(250, "RCPT TO:<en@et.sink.example>")
	busy.cmd(354, "DATA")
	p.terminate(t)
	p.waitFor(t, "a second signal ends it at once")
	p.terminate(t)
	if status := p.status(); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	p.waitFor(t, "tlsink: second signal")
	start(t, p.settings).stop(t)
}

func TestControlSocketIsForItsOwner(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	info, err := os.Stat(filepath.Join(p.settings.dir(), control.Socket))
	if err != nil {
		t.Fatal(err)
	}
	if m := info.Mode().Perm(); m != 0o600 {
		t.Errorf("control socket has mode %v, want 0600", m)
	}
	if info, err = os.Stat(p.settings.dir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data_dir: %v, mode %v, want 0700", err, info.Mode().Perm())
	}
}

func TestCommandsWithoutService(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	file := s.write(t)
	start(t, s).kill() // leaves its socket
	for _, c := range []struct{ file, why string }{{file, "socket of a dead service"}, {newSettings(t).write(t), "no data_dir"}} {
		for _, args := range [][]string{
			{"history", "list"}, {"history", "show", "ABC"}, {"history", "export", "ABC"}, {"history", "connections"}, {"inbox"}, {"zone"},
		} {
			_, stderr, status := runCLI(t, "", append(args, "--config", c.file)...)
			if status != 1 || !strings.Contains(stderr, "start it with `tlsink serve`") || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s: tlsink %s: status %d, stderr %q", c.why, strings.Join(args, " "), status, stderr)
			}
		}
	}
}

func TestUnknownTest(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	for _, args := range [][]string{{"history", "show", "NOSUCH"}, {"history", "export", "../../x"}, {"inbox", "77"}} {
		_, stderr, status := runCLI(t, "", append(args, "--config", p.config)...)
		if status != 1 || !strings.Contains(stderr, "not found") {
			t.Errorf("tlsink %s: status %d, stderr %q", strings.Join(args, " "), status, stderr)
		}
	}
}

func TestInbox(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	c := p.connect(t, "mta.sender.example")
	to := []string{"postmaster@sink.example", "postmaster", "abuse@sink.example", "report@sink.example", "Postmaster@ut.sink.example"}
	for _, rcpt := range to {
		if code, text := c.mail("a@sender.example", rcpt, "Subject: to "+rcpt+"\r\n\r\nHello."); code != 250 {
			t.Errorf("%s: %d %s", rcpt, code, text)
		}
	}
	lines := strings.Split(strings.TrimSpace(p.ask(t, "inbox")), "\n")
	if len(lines) != 1+len(to) {
		t.Fatalf("%d lines, want a head and %d messages:\n%s", len(lines), len(to), strings.Join(lines, "\n"))
	}
	id := strings.Fields(lines[2])[0]
	if m := p.ask(t, "inbox", id); !strings.Contains(m, "Subject: to postmaster\r\n") || !strings.Contains(m, "Hello.") {
		t.Errorf("message %s:\n%s", id, m)
	}
	p.ask(t, "inbox", "--delete", id)
	if left := p.ask(t, "inbox"); strings.Contains(left, "\n"+id+" ") || strings.Count(left, "\n") != len(to) {
		t.Errorf("after the deletion of %s:\n%s", id, left)
	}
	var tests []operate.TestRow
	if err := json.Unmarshal([]byte(p.ask(t, "history", "list", "--json")), &tests); err != nil || len(tests) != 0 {
		t.Errorf("mail to the operator made tests: %v %v", tests, err)
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	c := p.connect(t, "mta.sender.example")
	c.mail("a/b?c@sender.example", "en@et.sink.example", "Subject: test\r\nMessage-ID: <1@sender.example>\r\n\r\nHello.")
	if list := p.ask(t, "history", "list"); !strings.Contains(list, "a/b?c@sender.example") {
		t.Fatalf("no test:\n%s", list)
	}
	if out := p.ask(t, "forget", "a/b?c@sender.example"); !strings.HasSuffix(out, "records deleted\n") || strings.HasPrefix(out, "0 ") {
		t.Errorf("forget printed %q", out)
	}
	if list := p.ask(t, "history", "list"); strings.Contains(list, "sender.example") {
		t.Errorf("the test is still there:\n%s", list)
	}
}

// Without our DS at the parent every sender that enforces DANE looks as if it
// did not: the status page says so, and unprotected verdicts are suspended.
func TestZoneThatTheWorldCannotVerify(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	p := start(t, o.settings(t, "dns.private", false))
	if line := p.waitFor(t, "unprotected verdicts are suspended"); !strings.Contains(line, "`tlsink zone`") {
		t.Errorf("the fix is missing: %s", line)
	}
}
