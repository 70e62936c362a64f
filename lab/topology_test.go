//go:build linux

package lab_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The addresses are those for documentation (RFC 5737).
const (
	routerAddr   = "192.0.2.1"
	routerAddr6  = "2001:db8::1"
	sinkAddr     = "192.0.2.25"
	resolverAddr = "192.0.2.53"
	zone         = "sink.example"
)

// networks are those that senders are in. Most are neighbours in the first one.
// Each pool has another one to itself, as a provider has: which connections of
// one network belong together is not known once a mail comes from several of
// its addresses.
func networks() []string { return []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"} }

// domainOf is a sender's. Each is an organization of its own: the names of
// servers that share one count as one provider's.
func domainOf(kind string) string { return kind + ".example" }

// node is a network namespace with one address, and a folder for its server.
type node struct {
	name, addr, dir string
	root            string // of the server's files; empty if it sees the machine's
}

// newNode makes a namespace that is joined to the test's by a veth pair. All
// ends have host addresses, so that the routes are the topology.
func newNode(t testing.TB, name, addr string) node {
	t.Helper()
	n := node{name: name, addr: addr, dir: filepath.Join("/run/lab", t.Name(), name)}
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	link := n.link()
	for _, line := range []string{
		"netns add " + n.name,
		"link add " + link + " type veth peer name eth0 netns " + n.name,
		"addr add " + routerAddr + " peer " + addr + " dev " + link,
		"link set " + link + " up",
		"-n " + n.name + " link set lo up",
		"-n " + n.name + " addr add " + addr + " peer " + routerAddr + " dev eth0",
		"-n " + n.name + " link set eth0 up",
		"-n " + n.name + " route add default via " + routerAddr,
	} {
		command(t, "ip", strings.Fields(line)...)
	}
	t.Cleanup(func() {
		// The link goes at once, the namespace somewhat later: both must go, for
		// the next test uses the same names.
		for _, args := range [][]string{{"link", "del", link}, {"netns", "del", n.name}} {
			if _, err := output(context.WithoutCancel(t.Context()), "", "ip", args...); err != nil {
				t.Error(err)
			}
		}
		if err := os.RemoveAll(n.dir); err != nil {
			t.Error(err)
		}
	})
	return n
}

// also gives the node more addresses, IPv4 or IPv6.
func (n node) also(t testing.TB, addrs ...string) {
	t.Helper()
	for _, addr := range addrs {
		lines := []string{
			"addr add " + routerAddr + " peer " + addr + " dev " + n.link(),
			"-n " + n.name + " addr add " + addr + " peer " + routerAddr + " dev eth0",
		}
		if strings.Contains(addr, ":") { // nobody else has it: no duplicate address detection
			lines = []string{
				"addr replace " + routerAddr6 + "/128 dev " + n.link() + " nodad",
				"route add " + addr + " dev " + n.link(),
				"-n " + n.name + " addr add " + addr + "/128 dev eth0 nodad",
				"-n " + n.name + " route replace " + routerAddr6 + " dev eth0",
			}
		}
		for _, line := range lines {
			command(t, "ip", strings.Fields(line)...)
		}
	}
}

// file writes a file into the node's folder and returns its path.
func (n node) file(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(n.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// link is the test's end of what joins the node to it.
func (n node) link() string { return "v" + n.addr }

// path is that of a file in the node's folder.
func (n node) path(name ...string) string {
	return filepath.Join(append([]string{n.dir}, name...)...)
}

// in is the command line that runs a program in the node. It becomes that
// program, so signals reach it.
func (n node) in(program string, args ...string) []string {
	line := []string{"nsenter", "--net=/run/netns/" + n.name}
	if n.root != "" {
		line = append(line, "chroot", n.root)
	}
	return append(append(line, program), args...)
}

// run runs a program in the node to its end and returns what it prints.
func (n node) run(ctx context.Context, stdin, program string, args ...string) (string, error) {
	line := n.in(program, args...)
	return output(ctx, stdin, line[0], line[1:]...)
}

// daemon is a server in the foreground whose output goes to a file.
type daemon struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
}

// start runs a server until the test ends. Its output is appended to a log.
func (n node) start(t testing.TB, env []string, program string, args ...string) *daemon {
	t.Helper()
	d, err := n.spawn(env, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.end(t, os.Interrupt) })
	return d
}

// spawn is start for those who end the server themselves.
func (n node) spawn(env []string, program string, args ...string) (*daemon, error) {
	d := &daemon{log: n.path(filepath.Base(program) + ".log"), done: make(chan struct{})}
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	line := n.in(program, args...)
	// It ends in a cleanup, after those who need it; a test's context ends before.
	d.cmd = exec.CommandContext(context.Background(), line[0], line[1:]...)
	d.cmd.Stdout, d.cmd.Stderr, d.cmd.Env = out, out, append(os.Environ(), env...)
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	go func() {
		d.cmd.Wait() //nolint:errcheck // how it ended is in its log
		close(d.done)
	}()
	return d, nil
}

// end signals the server and waits until it has ended.
func (d *daemon) end(t testing.TB, s os.Signal) {
	t.Helper()
	select {
	case <-d.done:
		return
	default:
	}
	d.cmd.Process.Signal(s) //nolint:errcheck // it may have ended meanwhile
	stuck := time.AfterFunc(20*time.Second, func() {
		t.Errorf("%s did not end on %v", d.cmd, s)
		d.cmd.Process.Kill() //nolint:errcheck // it may have ended meanwhile
	})
	defer stuck.Stop()
	<-d.done
}

// running reports whether the server has not ended.
func (d *daemon) running() bool {
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

// command runs a program to its end and returns what it prints.
func command(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := output(t.Context(), "", program, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// output is command for those who retry.
func output(ctx context.Context, stdin, program string, args ...string) (string, error) {
	var out, problem bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &problem
	if stdin != "" {
		cmd.Stdin = io.Reader(strings.NewReader(stdin))
	}
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", cmd, err, &out, &problem)
	}
	return out.String(), nil
}
