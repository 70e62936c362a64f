package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// limitFiles lets no file of the process grow beyond n octets: as on a full
// disk, but with EFBIG.
func (p *process) limitFiles(t *testing.T, n uint64) {
	t.Helper()
	var l unix.Rlimit
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &l); err != nil {
		t.Fatal(err)
	}
	l.Cur = min(n, l.Max)
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &l, nil); err != nil {
		t.Fatal(err)
	}
}

// Without space nothing is accepted, nothing is lost, everything else goes on,
// and it ends by itself.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	send := func(from, to string, want int) {
		t.Helper()
		c := p.connect(t, "mta.sender.example")
		defer c.conn.Close()
		if code, text := c.mail(from, to, mailText(from, from)); code != want {
			t.Errorf("mail of %s to %s: %d %s, want %d", from, to, code, text, want)
		}
	}
	send("before@sender.example", "en@et.sink.example", 451)
	p.limitFiles(t, 0)
	for range 20 {
		send("full@sender.example", "en@et.sink.example", 451)
	}
	send("full@sender.example", "postmaster@sink.example", 452)
	c := p.connect(t, "mta.sender.example")
	c.cmd(250, "MAIL FROM:<full@sender.example>")
	c.cmd(550, "RCPT TO:<nobody@elsewhere.example>")
	c.cmd(221, "QUIT")
	if line := p.waitFor(t, "history cannot be written"); !strings.Contains(line, "free some space") {
		t.Errorf("the fix is missing: %s", line)
	}
	a, err := dns.ExchangeContext(t.Context(), new(dns.Msg).SetQuestion("et.sink.example.", dns.TypeMX), p.dns)
	if err != nil || len(a.Answer) == 0 {
		t.Errorf("DNS: %v", err)
	}
	client := &http.Client{Timeout: time.Minute}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.http+"/healthz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if list := p.ask(t, "history", "list"); !strings.Contains(list, "before@sender.example") {
		t.Errorf("history: %s", list)
	}
	if n := strings.Count(p.log.text(), `"level":"ERROR"`); n > 3 {
		t.Errorf("%d errors in the log, want a few", n)
	}
	p.limitFiles(t, 1<<62)
	for i := 0; !strings.Contains(p.log.text(), "history is written again"); i++ {
		send("full@sender.example", "en@et.sink.example", 451)
	}
	send("full@sender.example", "postmaster@sink.example", 250)
	p.kill() // what comes now is from the disk
	q := start(t, p.settings)
	if list := q.ask(t, "history", "list"); strings.Count(list, "full@sender.example") != 1 || !strings.Contains(list, "before@sender.example") {
		t.Errorf("after the end:\n%s", list)
	}
	q.stop(t)
}

// A file system that the kernel made read-only after a fault of its disk.
func TestReadOnlyDisk(t *testing.T) {
	lab := os.Getenv("TLSINK_LAB")
	if lab == "" {
		t.Skip("TLSINK_LAB is not set: no file system is mounted")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		if lab == "require" {
			t.Fatal(err)
		}
		t.Skipf("cannot mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := newSettings(t, "data_dir", filepath.Join(dir, "data"))
	start(t, s).stop(t)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	fails(t, s, "data_dir", "read-only file system", "directory that tlsink may write to")
	out, _, status := runCLI(t, "", "config", "check", "--config", s.write(t))
	if status != 1 || !strings.Contains(out, "data_dir") || !strings.Contains(out, "read-only file system") {
		t.Errorf("config check: status %d, %s", status, out)
	}
}
