package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/operate"
)

// Commands on a running service go through its control socket, in data_dir and
// open to its owner only: the history has one opener.

const controlSocket = "control.sock"

func listenControl(ctx context.Context, path string) (net.Listener, error) {
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

func serveControl(ctx context.Context, l net.Listener, s *service) error {
	srv := &http.Server{Handler: controlHandler(s), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// handler answers one request of the control socket.
type handler func(w io.Writer, r *http.Request) error

func controlHandler(s *service) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f handler) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := f(w, r); err != nil {
				http.Error(w, err.Error(), statusOf(err))
			}
		})
	}
	s.testRoutes(handle)
	s.queueRoutes(handle)
	s.listRoutes(handle)
	s.inboxRoutes(handle)
	s.keyRoutes(handle)
	s.doctorRoutes(handle)
	s.operations(mux)
	if s.api != nil {
		mux.Handle("/api/", s.api) // for `tlsink watch`
	}
	return mux
}

// statusOf is the status that tells what went wrong.
func statusOf(err error) int {
	_, invalid := errors.AsType[*operate.InvalidError](err)
	switch {
	case invalid:
		return http.StatusBadRequest
	case errors.Is(err, history.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, operate.ErrConflict):
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}

// errNotRunning says that nobody listens on the control socket.
var errNotRunning = errors.New("no tlsink is running")

// control asks a running service.
func control(ctx context.Context, dataDir, method, path string) ([]byte, error) {
	r, err := controlStream(ctx, dataDir, method, path)
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

// controlStream asks for an answer of any length. The caller closes it.
func controlStream(ctx context.Context, dataDir, method, path string) (io.ReadCloser, error) {
	socket := (&config.Config{DataDir: dataDir}).Path(controlSocket)
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
		return nil, fmt.Errorf("%w with data_dir %q: start it with `tlsink serve`", errNotRunning, dataDir)
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
