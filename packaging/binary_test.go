//go:build linux

package packaging_test

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// The binary needs no file beside it: no loader, no library.
func TestBinaryIsStatic(t *testing.T) {
	need(t, false)
	f, err := elf.Open(os.Getenv(binaryVar))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary has a segment %v", p.Type)
		}
	}
	if libraries, err := f.ImportedLibraries(); err == nil && len(libraries) > 0 {
		t.Errorf("the binary needs %q", libraries)
	}
	if out := command(t, os.Getenv(binaryVar), "version"); !strings.HasPrefix(out, "tlsink ") {
		t.Errorf("version prints %q", out)
	}
}

// An empty root with the binary, the CA certificates and a configuration is
// what the image has; each case is a way to run it.
func TestEmptyRoot(t *testing.T) {
	need(t, true, "setcap")
	for _, c := range []struct {
		name string
		jail jail
		// problem is in what it says if it can't start.
		problem string
	}{
		{name: "ambient capability, as systemd and Podman give it", jail: jail{ambient: true, noNewPrivileges: true}},
		{name: "sysctl, as Docker sets it", jail: jail{sysctl: true, noNewPrivileges: true, unbound: true}},
		{name: "file capability, as the image has it", jail: jail{capable: true}},
		{name: "file capability, all privileges denied but the sysctl", jail: jail{capable: true, sysctl: true, noNewPrivileges: true}},
		{name: "no privilege", jail: jail{noNewPrivileges: true}, problem: "CAP_NET_BIND_SERVICE"},
		{name: "file capability, denied", jail: jail{capable: true, noNewPrivileges: true}, problem: "CAP_NET_BIND_SERVICE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			j := c.jail
			j.prepare(t)
			log := j.start(t)
			if c.problem != "" {
				<-j.done
				if !strings.Contains(log.String(), c.problem) {
					t.Errorf("it says %q, want %q in it", log, c.problem)
				}
				return
			}
			await(ctx, t, "tlsink zone", func() error {
				select {
				case <-j.done:
					t.Fatalf("it ended:\n%s", log)
				default:
				}
				out, err := j.command("zone", "--config", "/etc/tlsink/tlsink.toml").CombinedOutput()
				if err != nil {
					return fmt.Errorf("%w: %s", err, out)
				}
				return nil
			})
			j.cmd.Process.Signal(os.Interrupt) //nolint:errcheck // the wait shows it
			<-j.done
			if !j.cmd.ProcessState.Success() {
				t.Errorf("it ended with %v:\n%s", j.cmd.ProcessState, log)
			}
		})
	}
}

// nobody is the user of the image.
const nobody = 65532

// Of <linux/capability.h> and <linux/prctl.h>.
const (
	bindService     = 10 // CAP_NET_BIND_SERVICE
	capabilityDrop  = 24 // PR_CAPBSET_DROP
	noNewPrivileges = 38 // PR_SET_NO_NEW_PRIVS
)

// jail is an empty root, and what a process in it may do.
type jail struct {
	ambient         bool // CAP_NET_BIND_SERVICE as an ambient capability
	capable         bool // the same as a capability of the file
	sysctl          bool // no port is privileged
	noNewPrivileges bool
	unbound         bool // no capability in the bounding set

	root string
	cmd  *exec.Cmd
	done chan struct{}
}

func (j *jail) prepare(t *testing.T) {
	t.Helper()
	j.root = t.TempDir()
	// Everyone may pass: TempDir's own parents are the test's.
	for dir := j.root; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"data", "etc/tlsink", "etc/ssl/certs"} {
		if err := os.MkdirAll(filepath.Join(j.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	j.copy(t, os.Getenv(binaryVar), "tlsink", 0o755)
	j.copy(t, "/etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/ca-certificates.crt", 0o644)
	const config = `zone = "sink.example"
data_dir = "/data"
[dns]
addresses = ["192.0.2.25"]
private = true
resolvers = ["127.0.0.1:53"]
`
	if err := os.WriteFile(filepath.Join(j.root, "etc/tlsink/tlsink.toml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(j.root, "data"), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	if j.capable {
		command(t, "setcap", "cap_net_bind_service=+ep", filepath.Join(j.root, "tlsink"))
	}
}

func (j *jail) copy(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(filepath.Join(j.root, to), b, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// command is tlsink in the jail.
func (j *jail) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), "/tlsink", args...)
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: j.root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if j.ambient {
		cmd.SysProcAttr.AmbientCaps = []uintptr{bindService}
	}
	return cmd
}

// start runs the service in a network of its own, where all ports are free.
func (j *jail) start(t *testing.T) *bytes.Buffer {
	t.Helper()
	log := new(bytes.Buffer)
	j.cmd, j.done = j.command("serve", "--config", "/etc/tlsink/tlsink.toml"), make(chan struct{})
	j.cmd.Stdout, j.cmd.Stderr = io.Discard, log
	started := make(chan error)
	// What a thread may do, its children may do. The thread ends with its goroutine.
	go func() {
		runtime.LockOSThread()
		err := j.confine()
		if err == nil {
			err = j.cmd.Start()
		}
		started <- err
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	go func() {
		j.cmd.Wait() //nolint:errcheck // the state says it
		close(j.done)
	}()
	t.Cleanup(func() {
		j.cmd.Process.Kill() //nolint:errcheck // it may have ended
		<-j.done
	})
	return log
}

// confine confines the calling thread.
func (j *jail) confine() error {
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		return fmt.Errorf("new network: %w", err)
	}
	first := "1024"
	if j.sysctl {
		first = "0"
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte(first), 0o644); err != nil {
		return err
	}
	if j.unbound {
		if err := prctl(capabilityDrop, bindService); err != nil {
			return fmt.Errorf("drop the capability: %w", err)
		}
	}
	if j.noNewPrivileges {
		return prctl(noNewPrivileges, 1)
	}
	return nil
}

func prctl(option, argument uintptr) error {
	if _, _, errno := syscall.Syscall6(syscall.SYS_PRCTL, option, argument, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("prctl %d: %w", option, errno)
	}
	return nil
}
