//go:build linux

package packaging_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// gateway is the test's own address in the lab's network.
const gateway = "192.0.2.1"

// container is what a container would be: files and a network of its own.
type container struct {
	name, addr, root string
	cmd              *exec.Cmd
	done             chan struct{} // closed when it has ended
}

// newContainer makes a container that sees this machine's files, as if it were
// the image, over them its own, and /lab.
func newContainer(t *testing.T, name, addr string) *container {
	t.Helper()
	c := &container{name: name, addr: addr, root: filepath.Join("/run/containers", name, "root")}
	c.join(t)
	top, work := filepath.Join("/run/containers", name, "top"), filepath.Join("/run/containers", name, "work")
	mkdirs(t, top, work, c.root)
	options := fmt.Sprintf("lowerdir=/,upperdir=%s,workdir=%s", top, work)
	if err := syscall.Mount("overlay", c.root, "overlay", 0, options); err != nil {
		t.Fatalf("mount the files of %s: %v", name, err)
	}
	mkdirs(t, c.path("lab"), c.path("var/lib/tlsink-lab"))
	for _, at := range []string{"/dev", "/proc"} {
		c.bind(t, at, at)
	}
	c.bind(t, "/run/lab", "/lab")
	return c
}

// join gives c a network that is joined to the test's by a veth pair. All ends
// have host addresses, so that the routes are the topology.
func (c *container) join(t *testing.T) {
	t.Helper()
	link := "v" + c.addr
	for _, line := range []string{
		"netns add " + c.name,
		"link add " + link + " type veth peer name eth0 netns " + c.name,
		"addr add " + gateway + " peer " + c.addr + " dev " + link,
		"link set " + link + " up",
		"-n " + c.name + " link set lo up",
		"-n " + c.name + " addr add " + c.addr + " peer " + gateway + " dev eth0",
		"-n " + c.name + " link set eth0 up",
		"-n " + c.name + " route add default via " + gateway,
	} {
		command(t, "ip", strings.Fields(line)...)
	}
}

func (c *container) path(name string) string { return filepath.Join(c.root, name) }

func (c *container) bind(t *testing.T, from, to string) {
	t.Helper()
	if err := syscall.Mount(from, c.path(to), "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		t.Fatalf("%s: mount %s: %v", c.name, to, err)
	}
}

// log is the file with what it prints.
func (c *container) log() string { return filepath.Join("/run/containers", c.name, "log") }

// start runs a program in c, as a user; it ends with the namespaces if not before.
func (c *container) start(t *testing.T, user string, env []string, line ...string) {
	t.Helper()
	chroot, err := exec.LookPath("chroot") // the container's PATH is not ours
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(c.log())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	args := append([]string{"--net=/run/netns/" + c.name, chroot, "--userspec=" + user, "--groups=", c.root}, line...)
	c.cmd, c.done = exec.CommandContext(context.Background(), "nsenter", args...), make(chan struct{})
	c.cmd.Stdout, c.cmd.Stderr, c.cmd.Env, c.cmd.Dir = out, out, env, "/"
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.cmd.Wait() //nolint:errcheck // the state says it
		close(c.done)
	}()
	t.Cleanup(func() { c.stop(t) })
}

// stop stops it as Docker does.
func (c *container) stop(t *testing.T) {
	t.Helper()
	c.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	stuck := time.AfterFunc(20*time.Second, func() {
		t.Errorf("%s did not stop", c.name)
		c.cmd.Process.Kill() //nolint:errcheck // it may have ended
	})
	defer stuck.Stop()
	<-c.done
	if t.Failed() {
		t.Logf("%s:\n%s", c.name, c.said(t))
	}
}

func (c *container) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// said is what it printed.
func (c *container) said(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(c.log())
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func mkdirs(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}
