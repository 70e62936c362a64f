//go:build linux

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

const (
	// labVar asks for the lab: 1, or "require" to fail where it can't run.
	labVar = "TLSINK_LAB"
	// binaryVar names the tlsink to test; it is set inside the namespaces.
	binaryVar = "TLSINK_LAB_BINARY"
	// reasonVar says why there is no lab.
	reasonVar = "TLSINK_LAB_REASON"

	resolvConf = "nameserver " + resolverAddr + "\noptions edns0 trust-ad\n"
)

func TestMain(m *testing.M) {
	if os.Getenv(binaryVar) == "" && os.Getenv(labVar) != "" {
		err := missing()
		if err == nil {
			var status int
			if status, err = isolate(); err == nil {
				os.Exit(status)
			}
		}
		unavailable(err)
	}
	if os.Getenv(binaryVar) != "" {
		if err := furnish(); err != nil {
			unavailable(err)
		}
	}
	os.Exit(m.Run())
}

// unavailable lets needLab say why there is no lab.
func unavailable(err error) {
	if err := os.Setenv(reasonVar, err.Error()); err != nil {
		panic(err) // as impossible as it is
	}
}

// needLab skips t where the lab can't run, or fails it if that is required.
func needLab(t testing.TB) {
	t.Helper()
	reason := os.Getenv(reasonVar)
	switch {
	case os.Getenv(labVar) == "":
		t.Skip("set TLSINK_LAB=1 to test against real servers (root, Debian with postfix, postfix-mta-sts-resolver, unbound, knot and nsd; for Exim and chasquid also lab/servers.sh)")
	case reason != "" && os.Getenv(labVar) == "require":
		t.Fatalf("TLSINK_LAB=require: %s", reason)
	case reason != "":
		t.Skip(reason)
	}
}

// needServers says why a sender is not in the lab, or fails t if that is
// required.
func needServers(t testing.TB, kind string) (available bool) {
	t.Helper()
	reason := os.Getenv(noServersVar)
	switch {
	case reason == "":
		return true
	case os.Getenv(labVar) == "require":
		t.Fatalf("TLSINK_LAB=require, but no %s: %s", kind, reason)
	}
	t.Logf("without %s: %s", kind, reason)
	return false
}

// missing says what the lab lacks on this machine.
func missing() error {
	if os.Geteuid() != 0 {
		return errors.New("the lab must run as root: it uses network namespaces and port 25")
	}
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		return err
	}
	for _, need := range [][2]string{
		{"ip", "iproute2"},
		{"nsenter", "util-linux"},
		{"openssl", "openssl"},
		{"dpkg", "dpkg"},
		{"postfix", "postfix"},
		{"mta-sts-daemon", "postfix-mta-sts-resolver"},
		{"unbound", "unbound"},
		{"knotd", "knot"},
		{"nsd", "nsd"},
	} {
		if _, err := exec.LookPath(need[0]); err != nil {
			return fmt.Errorf("%s is not installed (Debian: apt install %s)", need[0], need[1])
		}
	}
	return nil
}

// isolate builds tlsink and runs this test binary again as process 1 of new
// namespaces. It returns its exit status.
func isolate() (status int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "tlsink-lab-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "tlsink")
	if err := build(ctx, binary); err != nil {
		return 0, err
	}
	if err := buildPebble(ctx, filepath.Join(dir, "pebble")); err != nil {
		return 0, err
	}
	// Pdeathsig belongs to the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// The race detector would make each of many commands wait a second at its end.
	cmd.Env = append(os.Environ(), binaryVar+"="+binary, "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("no namespaces for the lab: %w", err)
	}
	err = cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); ok || err == nil {
		if cmd.ProcessState.Success() {
			return 0, nil
		}
		return max(cmd.ProcessState.ExitCode(), 1), nil
	}
	return 0, err
}

// build compiles the tree that the test belongs to; with the race detector if
// the test has it.
func build(ctx context.Context, binary string) error {
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	out, err := exec.CommandContext(ctx, "go", append(args, "github.com/tlsink/tlsink/cmd/tlsink")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build tlsink: %w\n%s", err, out)
	}
	return nil
}

// buildPebble compiles the ACME server, which is a tool of the tree.
func buildPebble(ctx context.Context, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-modfile=tools/go.mod", "-o", binary, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	cmd.Dir = ".." // the root of the tree
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build Pebble: %w\n%s", err, out)
	}
	return nil
}

// furnish makes the new namespaces usable. Nothing of it is seen outside.
func furnish() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("the lab's mounts can't be made private: %w", err)
	}
	for _, m := range []struct{ kind, at, options string }{{"proc", "/proc", ""}, {"tmpfs", "/run", "mode=0755"}} {
		if err := syscall.Mount(m.kind, m.at, m.kind, 0, m.options); err != nil {
			return fmt.Errorf("mount %s for the lab: %w", m.at, err)
		}
	}
	const ours = "/run/resolv.conf"
	if err := os.WriteFile(ours, []byte(resolvConf), 0o644); err != nil {
		return err
	}
	if err := syscall.Mount(ours, "/etc/resolv.conf", "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("replace /etc/resolv.conf for the lab: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("let the lab route: %w", err)
	}
	if err := unpackServers(); err != nil {
		return os.Setenv(noServersVar, err.Error())
	}
	return nil
}
