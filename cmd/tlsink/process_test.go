package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/BurntSushi/toml"
)

// asProgram is the environment variable with the arguments of TestAsProgram.
const asProgram = "TLSINK_TEST_AS_PROGRAM"

// TestAsProgram is no test: start runs it in another process, as tlsink.
func TestAsProgram(t *testing.T) {
	args := os.Getenv(asProgram)
	if args == "" {
		t.Skip("run by other tests")
	}
	os.Args = append([]string{"tlsink"}, strings.Split(args, "\x1f")...)
	main()
}

// settings are those of a configuration file.
type settings map[string]any

// newSettings returns a configuration on free loopback ports, with changes
// such as "timing.close", "3s".
func newSettings(t *testing.T, changes ...any) settings {
	t.Helper()
	s := settings{"zone": "sink.example"}
	s.set("data_dir", filepath.Join(t.TempDir(), "data"))
	for _, l := range []string{"smtp", "dns", "http", "https"} {
		s.set("listen."+l, []string{"127.0.0.1:0"})
	}
	s.set("dns.addresses", []string{"192.0.2.25"})
	s.set("dns.resolvers", []string{"127.0.0.1:1"})
	s.set("dns.private", true) // nobody delegates it
	s.set("log.format", "json")
	for i := 0; i < len(changes); i += 2 {
		s.set(changes[i].(string), changes[i+1])
	}
	return s
}

func (s settings) set(key string, value any) {
	section, rest, nested := strings.Cut(key, ".")
	if !nested {
		s[key] = value
		return
	}
	inner, ok := s[section].(settings)
	if !ok {
		inner = settings{}
		s[section] = inner
	}
	inner.set(rest, value)
}

func (s settings) dir() string { return s["data_dir"].(string) }

// write returns the configuration file, which lies beside data_dir.
func (s settings) write(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(s); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tlsink.toml")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// process is a running `tlsink serve`.
type process struct {
	settings settings
	config   string
	cmd      *exec.Cmd
	log      *record
	exited   chan struct{} // closed at its end; then cmd.ProcessState is valid

	smtp, dns, http, https string
}

// start starts `tlsink serve` and waits until it serves.
func start(t *testing.T, s settings) *process {
	t.Helper()
	p := launch(t, s)
	line := p.waitFor(t, "tlsink serves")
	var at struct{ SMTP, DNS, HTTP, HTTPS []string }
	if err := json.Unmarshal([]byte(line), &at); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	p.smtp, p.dns, p.http, p.https = at.SMTP[0], at.DNS[0], at.HTTP[0], at.HTTPS[0]
	return p
}

// launch starts `tlsink serve` and does not wait.
func launch(t *testing.T, s settings) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{settings: s, config: s.write(t), log: newRecord(), exited: make(chan struct{})}
	p.cmd = exec.Command(self, "-test.run=^TestAsProgram$") //nolint:gosec // this very binary
	p.cmd.Env = append(os.Environ(), asProgram+"="+strings.Join([]string{"serve", "--config", p.config}, "\x1f"))
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // ProcessState tells
		p.log.end()
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of tlsink:\n%s", p.log.text())
		}
	})
	return p
}

// waitFor waits for a line of the log that contains text.
func (p *process) waitFor(t *testing.T, text string) string {
	t.Helper()
	line, ok := p.log.wait(text)
	if !ok {
		t.Fatalf("tlsink ended before it logged %q:\n%s", text, p.log.text())
	}
	return line
}

// terminate sends SIGTERM.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// kill ends the process without any chance to tidy up.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}

// status waits for the end and returns the exit status; -1 after a signal.
func (p *process) status() int {
	<-p.exited
	return p.cmd.ProcessState.ExitCode()
}

// stop ends the process in order.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.terminate(t)
	if s := p.status(); s != 0 {
		t.Errorf("exit status %d after SIGTERM:\n%s", s, p.log.text())
	}
}

// ask runs another command of tlsink with the same configuration.
func (p *process) ask(t *testing.T, args ...string) string {
	t.Helper()
	out, stderr, status := runCLI(t, "", append(args, "--config", p.config)...)
	if status != 0 {
		t.Fatalf("tlsink %s: status %d: %s", strings.Join(args, " "), status, stderr)
	}
	return out
}

// roots returns the pool with the root of the local CA.
func (p *process) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(p.settings.dir(), "ca", "root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		t.Fatal("no certificate in root.pem")
	}
	return pool
}

// record collects the lines that a process writes.
type record struct {
	mu    sync.Mutex
	more  *sync.Cond
	lines bytes.Buffer
	ended bool
}

func newRecord() *record {
	r := &record{}
	r.more = sync.NewCond(&r.mu)
	return r
}

// Write implements io.Writer.
func (r *record) Write(b []byte) (int, error) {
	defer r.more.Broadcast()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.Write(b)
}

func (r *record) end() {
	defer r.more.Broadcast()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

func (r *record) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.String()
}

func (r *record) wait(text string) (line string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		for line := range strings.Lines(r.lines.String()) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				return line, true
			}
		}
		if r.ended { // and all of it is here
			return "", false
		}
		r.more.Wait()
	}
}
