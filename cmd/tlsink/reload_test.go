package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// configure changes the configuration file of a running process.
func (p *process) configure(t *testing.T, changes ...any) {
	t.Helper()
	for i := 0; i < len(changes); i += 2 {
		p.settings.set(changes[i].(string), changes[i+1])
	}
	b, err := os.ReadFile(p.settings.write(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.config, b, 0o600); err != nil { //nolint:gosec // of this test
		t.Fatal(err)
	}
}

func (p *process) hangUp(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("s3cret-password"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, newSettings(t))
	open := p.connect(t, "open.sender.example")
	open.cmd(250, "MAIL FROM:<a@sender.example>")
	p.configure(t, "limits.message_size", 12345, "log.level", "debug", "slots", 2, "timing.settle", "9m", "mail.smarthost.address", "mail.example.org:587",
		"mail.smarthost.username", "tlsink", "mail.smarthost.password_file", password)
	p.hangUp(t)
	var line struct {
		Applied, Settings []string
	}
	if err := json.Unmarshal([]byte(p.waitFor(t, "configuration reloaded")), &line); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(p.waitFor(t, "need a restart")), &line); err != nil {
		t.Fatal(err)
	}
	if want := []string{"limits.message_size", "log.level", "mail.smarthost.address", "mail.smarthost.password_file", "mail.smarthost.username"}; !slices.Equal(line.Applied, want) {
		t.Errorf("applied %q, want %q", line.Applied, want)
	}
	if want := []string{"slots", "timing.settle"}; !slices.Equal(line.Settings, want) {
		t.Errorf("need a restart: %q, want %q", line.Settings, want)
	}
	open.cmd(250, "RCPT TO:<en@et.sink.example>") // still there
	fresh := p.dial(t)
	fresh.expect(220)
	if text := fresh.cmd(250, "EHLO fresh.sender.example"); !strings.Contains(text, "SIZE 12345") {
		t.Errorf("a new connection has other limits: %s", text)
	}
	fresh.cmd(221, "QUIT")
	open.cmd(221, "QUIT")
	p.get(t, "https://sink.example/status") // requests are logged at that level
	p.waitFor(t, `"level":"DEBUG"`)

	p.configure(t, "limits.message_size", 0, "log.level", "loud", "mail.smarthost.address", "")
	p.hangUp(t)
	for _, want := range []string{`limits.message_size is 0`, `log.level is`, `mail.smarthost.address is missing`} {
		if line := p.waitFor(t, want); !strings.Contains(line, "configuration not reloaded") {
			t.Errorf("logged %s", line)
		}
	}
	_, stderr, status := runCLI(t, "", "reload", "--config", p.config)
	if status != 1 || !strings.Contains(stderr, "3 problems") {
		t.Errorf("reload with a bad file: status %d, %q", status, stderr)
	}

	p.configure(t, "limits.message_size", 54321, "log.level", "debug", "mail.smarthost.address", "mail.example.org:587", "mail.smarthost.password_file", password+"-none")
	_, stderr, status = runCLI(t, "", "reload", "--config", p.config)
	if status != 1 || !strings.Contains(stderr, "nothing was changed: mail.smarthost.password_file") {
		t.Errorf("reload without the password: status %d, %q", status, stderr)
	}
	p.configure(t, "mail.smarthost.password_file", password)
	if out := p.ask(t, "reload"); out != "reloaded: limits.message_size\nneeds a restart: slots, timing.settle\n" {
		t.Errorf("reload printed %q", out)
	}
	p.configure(t, "slots", 9, "timing.settle", "10m")
	if out := p.ask(t, "reload"); out != "reloaded: no setting has changed\n" {
		t.Errorf("reload printed %q", out)
	}
	if err := os.WriteFile(filepath.Join(p.settings.dir(), "certs", "certificates", "0-mx06-ca-ecdsa.pem"), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, status := runCLI(t, "", "reload", "--config", p.config); status != 1 || !strings.Contains(stderr, "0-mx06-ca-ecdsa.pem") {
		t.Errorf("reload with a damaged certificate: status %d, %q", status, stderr)
	}
	if strings.Contains(p.log.text(), "s3cret-password") {
		t.Error("the log has the password")
	}
	p.stop(t)
}

// The orderly end has a bound, whatever hangs.
func TestStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		hang := make(chan struct{})
		time.AfterFunc(time.Hour, cancel)
		began := time.Now()
		err := waitFor(ctx, func() error { <-hang; return nil }, stopTimeout)
		if took := time.Since(began); err == nil || took != time.Hour+stopTimeout {
			t.Errorf("%v after %v", err, took)
		}
		close(hang)
		want := errors.New("why")
		if err := waitFor(t.Context(), func() error { return want }, time.Second); !errors.Is(err, want) {
			t.Errorf("error %v", err)
		}
		if err := waitFor(ctx, func() error { time.Sleep(time.Second); return want }, time.Minute); !errors.Is(err, want) {
			t.Errorf("error %v", err)
		}
	})
}

func TestServiceManagerIsTold(t *testing.T) {
	dir := t.TempDir()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	next := func(want ...string) {
		t.Helper()
		b := make([]byte, 1000)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(string(b[:n]), w) {
				t.Errorf("told %q, want %q", b[:n], w)
			}
		}
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	p := start(t, newSettings(t))
	next("READY=1")
	p.hangUp(t)
	next("RELOADING=1\nMONOTONIC_USEC=")
	next("READY=1")
	p.configure(t, "slots", 0)
	p.hangUp(t)
	next("RELOADING=1")
	next("READY=1", "reload failed")
	p.terminate(t)
	next("STOPPING=1")
	if s := p.status(); s != 0 {
		t.Errorf("status %d", s)
	}
}
