//go:build linux

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// serversVar names the folder that servers.sh filled.
	serversVar = "TLSINK_LAB_SERVERS"
	// noServersVar says why these servers are not in the lab.
	noServersVar = "TLSINK_LAB_NO_SERVERS"

	unpacked = "/run/servers"

	// The users of a box, and their groups.
	serverUID  = 611
	mailboxUID = 612
)

// unpackServers unpacks the packages of servers that cannot be installed
// beside Postfix. It runs inside the namespaces, where /run is the lab's.
func unpackServers() error {
	dir := os.Getenv(serversVar)
	if dir == "" {
		return errors.New("set " + serversVar + " to the folder that lab/servers.sh filled")
	}
	packages, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(unpacked, "usr/lib"), 0o755); err != nil {
		return err
	}
	for _, p := range packages {
		if _, err := output(context.Background(), "", "dpkg", "-x", p, unpacked); err != nil {
			return err
		}
	}
	if err := mergeUsr(); err != nil {
		return err
	}
	for _, program := range []string{"usr/sbin/exim4", "usr/bin/chasquid", "usr/sbin/smtpd"} {
		if _, err := os.Stat(filepath.Join(unpacked, program)); err != nil {
			if _, err := os.Stat(filepath.Join("/", program)); err != nil {
				return fmt.Errorf("%s has no package with /%s (run lab/servers.sh again)", dir, program)
			}
		}
	}
	return nil
}

// mergeUsr moves what is unpacked to where the machine has symbolic links, as
// from /lib to usr/lib: a folder there would hide all else that is behind them.
func mergeUsr() error {
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		target, err := os.Readlink(filepath.Join("/", dir))
		if err != nil {
			continue // it is no link, or not there
		}
		alias := filepath.Join(unpacked, dir)
		if _, err := os.Stat(alias); err != nil {
			continue
		}
		if _, err := output(context.Background(), "", "cp", "-a", alias+"/.", filepath.Join(unpacked, target)); err != nil {
			return err
		}
		if err := os.RemoveAll(alias); err != nil {
			return err
		}
	}
	return nil
}

// box shows a node the machine's files, over them those of the unpacked
// packages, and over these the node's own. What it writes is its own, too.
type box struct {
	node
}

// open makes the box usable: name resolution, trust in a CA, users for the
// server. The root is not below the node's folder, which is removed recursively.
func (b *box) open(ca string, users ...string) error {
	b.root = filepath.Join("/run/roots", b.name)
	for _, dir := range []string{b.root, b.path("work"), b.path("top", "etc", "ssl", "certs"), b.path("top", "dev"), b.path("top", "run")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, minor := range map[string]int{"null": 3, "zero": 5, "random": 8, "urandom": 9} {
		if err := syscall.Mknod(b.path("top", "dev", name), syscall.S_IFCHR|0o666, 1<<8|minor); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
		if err := os.Chmod(b.path("top", "dev", name), 0o666); err != nil {
			return err
		}
	}
	const bundle = "/etc/ssl/certs/ca-certificates.crt"
	if err := b.derive(bundle, "", bundle, ca); err != nil {
		return err
	}
	if err := b.derive("/etc/resolv.conf", "", "/etc/resolv.conf"); err != nil { // the lab's, by furnish
		return err
	}
	// The first line about a user counts.
	passwd := fmt.Sprintf("%s:x:%[2]d:%[2]d::/home/%[1]s:/bin/sh\n", mailbox, mailboxUID)
	group := fmt.Sprintf("%s:x:%d:\n", mailbox, mailboxUID)
	for _, user := range users {
		passwd += fmt.Sprintf("%s:x:%[2]d:%[2]d::/nonexistent:/usr/sbin/nologin\n", user, serverUID)
		group += fmt.Sprintf("%s:x:%d:\n", user, serverUID)
	}
	for file, lines := range map[string]string{"/etc/passwd": passwd, "/etc/group": group} {
		if err := b.derive(file, lines, file); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s:/,upperdir=%s,workdir=%s", unpacked, b.path("top"), b.path("work"))
	if err := syscall.Mount("overlay", b.root, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount the files of %s: %w", b.name, err)
	}
	return nil
}

// close takes the files away from whoever still uses them.
func (b *box) close() error {
	if err := syscall.Unmount(b.root, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the files of %s: %w", b.name, err)
	}
	return os.Remove(b.root)
}

// derive makes a file of the box from a text and files of the machine; one that
// does not exist is empty.
func (b *box) derive(name, text string, from ...string) error {
	content := []byte(text)
	for _, f := range from {
		part, err := os.ReadFile(f)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		content = append(content, part...)
	}
	return os.WriteFile(b.path("top", name), content, 0o644)
}

// write writes a file of the open box.
func (b *box) write(name, content string, mode os.FileMode) error {
	path := filepath.Join(b.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), mode)
}

// makeDirs makes folders in the open box that belong to a user.
func (b *box) makeDirs(uid int, dirs ...string) error {
	for _, dir := range dirs {
		path := filepath.Join(b.root, dir)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := os.Chown(path, uid, uid); err != nil {
			return err
		}
	}
	return nil
}

// certificate makes a self-signed certificate and its key in the open box.
func (b *box) certificate(ctx context.Context, host, cert, key string) error {
	_, err := output(ctx, "", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-days", "300", "-subj", "/CN="+host, "-addext", "subjectAltName=DNS:"+host,
		"-keyout", filepath.Join(b.root, key), "-out", filepath.Join(b.root, cert))
	return err
}

// countLines counts the lines of a file that contain all of some strings.
func countLines(path string, parts ...string) (n int, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
lines:
	for line := range strings.Lines(string(b)) {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue lines
			}
		}
		n++
	}
	return n, nil
}
