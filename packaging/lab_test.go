//go:build linux

package packaging_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

const (
	// insideVar is set inside the namespaces.
	insideVar = "TLSINK_PACKAGING_INSIDE"
	// pebbleVar names the Pebble that was built.
	pebbleVar = "TLSINK_PACKAGING_PEBBLE"

	pebbleAddr   = "192.0.2.14"
	sinkAddr     = "192.0.2.25"
	resolverAddr = "192.0.2.53"
	zone         = "sink.example"
)

// The laboratory of docker-compose.yml without Docker: the same scripts,
// settings, addresses and command lines, each in a namespace, with an overlay
// for its files. Only the images are replaced: by this machine's programs, which
// are to be Debian's, and the binary that was built.
func TestLab(t *testing.T) {
	need(t, true, "ip", "nsenter", "setcap", "chroot", "openssl", "curl", "dig", "unbound", "postfix", "mta-sts-daemon")
	if os.Getenv(insideVar) == "" {
		isolate(t)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	furnish(t)

	pebble := newContainer(t, "pebble", pebbleAddr)
	runScript(ctx, t, newContainer(t, "setup", "192.0.2.10"), "setup.sh")
	startPebble(t, pebble)
	runScript(ctx, t, newContainer(t, "roots", "192.0.2.11"), "roots.sh")
	resolver := newContainer(t, "resolver", resolverAddr)
	resolver.startScript(t, "resolver.sh")
	sink := startSink(t)
	servers := []*container{pebble, sink, resolver}

	list := senders(t)
	for _, s := range list {
		s.startScript(t, "sender.sh", "POLICY="+s.name)
	}
	for _, s := range list {
		await(ctx, t, "the verdict about "+s.name, func() error {
			for _, server := range servers {
				if !server.running() {
					t.Fatalf("%s ended", server.name)
				}
			}
			if s.running() {
				return errors.New("no report yet")
			}
			return nil
		})
		said := s.said(t)
		want := fmt.Sprintf("lab: %s: VERDICT %s, as it is configured\n", s.name, s.name)
		if !s.cmd.ProcessState.Success() || !strings.HasSuffix(said, want) {
			t.Errorf("sender.sh of %s ended with %v; want %q at the end of\n%s", s.name, s.cmd.ProcessState, want, said)
			continue
		}
		t.Log(strings.TrimSpace(want))
	}
}

// scripts is where the image of the lab has them.
const scripts = "/usr/local/lib/tlsink-lab"

// startScript runs a script of the lab in c.
func (c *container) startScript(t *testing.T, name string, env ...string) {
	t.Helper()
	c.equip(t)
	c.start(t, "0:0", append([]string{"PATH=" + scripts + ":/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"}, env...), name)
}

// runScript runs one to its end.
func runScript(ctx context.Context, t *testing.T, c *container, name string) {
	t.Helper()
	c.startScript(t, name)
	select {
	case <-c.done:
	case <-ctx.Done():
	}
	if c.running() || !c.cmd.ProcessState.Success() {
		t.Fatalf("%s: %v\n%s", name, c.cmd.ProcessState, c.said(t))
	}
}

// equip copies into c what the Dockerfile of the lab copies into the image.
func (c *container) equip(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile("lab/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^COPY (.*) ` + regexp.QuoteMeta(scripts) + `/$`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("lab/Dockerfile copies nothing to %s", scripts)
	}
	mkdirs(t, c.path(scripts))
	for name := range strings.FieldsSeq(string(m[1])) {
		info, err := os.Stat(filepath.Join("lab", name))
		if err != nil {
			t.Fatal(err)
		}
		copyFile(t, filepath.Join("lab", name), c.path(filepath.Join(scripts, name)), info.Mode())
	}
}

// senders are those of the compose file.
func senders(t *testing.T) (list []*container) {
	t.Helper()
	b, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`(?m)^  lab-([a-z-]+):\n    <<: \*sender\n    environment: \{POLICY: ([a-z-]+)\}\n    networks:\n      lab: \{ipv4_address: ([0-9.]+)\}$`)
	for _, m := range pattern.FindAllStringSubmatch(string(b), -1) {
		if m[1] != m[2] {
			t.Errorf("lab-%s has POLICY %s", m[1], m[2])
		}
		list = append(list, newContainer(t, m[1], m[3]))
	}
	if n := strings.Count(string(b), "<<: *sender\n"); n == 0 || n != len(list) {
		t.Fatalf("%d senders in docker-compose.yml, of which %d were understood", n, len(list))
	}
	return list
}

// startPebble runs the CA as the compose file does.
func startPebble(t *testing.T, c *container) {
	t.Helper()
	copyFile(t, "lab/pebble.json", c.path("etc/pebble.json"), 0o644)
	copyFile(t, os.Getenv(pebbleVar), c.path("app"), 0o755)
	c.start(t, "0:0", []string{"PEBBLE_VA_NOSLEEP=1"}, "/app", "-config", "/etc/pebble.json", "-dnsserver", resolverAddr+":53")
}

// startSink runs tlsink from files that are those of the image.
func startSink(t *testing.T) *container {
	t.Helper()
	c := &container{name: "sink", addr: sinkAddr, root: "/run/containers/sink/root"}
	c.join(t)
	mkdirs(t, c.path("data"), c.path("lab"), c.path("etc/tlsink"), c.path("etc/ssl/certs"))
	copyFile(t, os.Getenv(binaryVar), c.path("tlsink"), 0o755)
	command(t, "setcap", "cap_net_bind_service=+ep", c.path("tlsink"))
	copyFile(t, "/etc/ssl/certs/ca-certificates.crt", c.path("etc/ssl/certs/ca-certificates.crt"), 0o644)
	copyFile(t, "lab/tlsink.toml", c.path("etc/tlsink/tlsink.toml"), 0o644)
	copyFile(t, "lab/anchors", c.path("etc/tlsink/anchors"), 0o644)
	if err := os.Chown(c.path("data"), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	c.bind(t, "/run/lab", "/lab")
	c.start(t, fmt.Sprintf("%d:%[1]d", nobody), []string{}, "/tlsink", "serve", "--config", "/etc/tlsink/tlsink.toml")
	return c
}

// isolate runs the test again as process 1 of new namespaces. When it ends,
// however it ends, the kernel ends the servers with it and takes the namespaces
// and files away.
func isolate(t *testing.T) {
	t.Helper()
	pebble := filepath.Join(t.TempDir(), "pebble")
	command(t, "go", "build", "-C", "..", "-modfile=tools/go.mod", "-o", pebble, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	// Pdeathsig belongs to the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestLab$", "-test.v")
	cmd.Env = append(os.Environ(), insideVar+"=1", pebbleVar+"="+pebble)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	t.Logf("inside:\n%s", out)
	if err != nil {
		t.Error(err)
	}
}

// furnish makes the new namespaces usable. Nothing of it is seen outside.
func furnish(t *testing.T) {
	t.Helper()
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatalf("make the mounts private: %v", err)
	}
	for _, m := range []struct{ kind, at, options string }{{"proc", "/proc", ""}, {"tmpfs", "/run", "mode=0755"}} {
		if err := syscall.Mount(m.kind, m.at, m.kind, 0, m.options); err != nil {
			t.Fatalf("mount %s: %v", m.at, err)
		}
	}
	mkdirs(t, "/run/lab")
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	command(t, "ip", "link", "set", "lo", "up")
}
