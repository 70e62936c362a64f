package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Socket is the name of the socket, in data_dir and open to its owner only.
const Socket = "control.sock"

// ErrNotRunning says that nobody listens on the control socket.
var ErrNotRunning = errors.New("no tlsink is running")

// Listen makes the socket. A socket that nobody answers is left from a crash.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("control socket %s: another tlsink is running with this data_dir", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if errors.Is(err, syscall.EINVAL) {
		return nil, fmt.Errorf("control socket %s: the path is too long for a socket: choose a shorter data_dir", path)
	}
	if err != nil {
		return nil, fmt.Errorf("control socket (data_dir): %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, nil
}

// Ask asks a running service.
func Ask(ctx context.Context, dataDir, method, path string) ([]byte, error) {
	r, err := Stream(ctx, dataDir, method, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("ask the running service: %w", err)
	}
	return b, nil
}

// Stream asks for an answer of any length. The caller closes it.
func Stream(ctx context.Context, dataDir, method, path string) (io.ReadCloser, error) {
	socket := filepath.Join(dataDir, Socket)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w with data_dir %q: start it with `tlsink serve`", ErrNotRunning, dataDir)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("control socket %s is for the user that runs the service: become that user, or root", socket)
	case err != nil:
		return nil, fmt.Errorf("ask the running service: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("ask the running service: %w", err)
	}
	return nil, errors.New(strings.TrimSpace(string(b)))
}
