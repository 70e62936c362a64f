package main

import (
	"context"
	"encoding/json"
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

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

// Commands on a running service go through its control socket, in data_dir and
// open to its owner only: the history has one opener.

const controlSocket = "control.sock"

// maxConnections is how many connections a listing has at most.
const maxConnections = 10_000

// testLine is a test in a listing.
type testLine struct {
	ID       string           `json:"id"`
	Started  time.Time        `json:"started"`
	Sender   string           `json:"sender"`
	State    string           `json:"state"`
	Policy   policyinfer.Name `json:"policy"`
	Attempts int              `json:"attempts"`
	Report   string           `json:"report"` // what became of it
	Link     string           `json:"link"`
}

// connectionLine is a connection in a listing.
type connectionLine struct {
	evidence.Connection
	Test string `json:"test,omitempty"` // the test that has it
}

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

func controlHandler(s *service) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(w io.Writer, r *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			err := f(w, r)
			switch {
			case errors.Is(err, history.ErrNotFound):
				http.Error(w, err.Error(), http.StatusNotFound)
			case err != nil:
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	handle("GET /tests", func(w io.Writer, r *http.Request) error { return s.listTests(r.Context(), w) })
	handle("GET /connections", func(w io.Writer, r *http.Request) error {
		since, err := time.Parse(time.RFC3339Nano, r.FormValue("since"))
		if err != nil {
			return fmt.Errorf("since: %w", err)
		}
		list, err := s.store.Connections(r.Context(), history.ConnectionFilter{From: since, Newest: true, Limit: maxConnections})
		if err != nil {
			return err
		}
		out := make([]connectionLine, 0, len(list))
		for _, r := range list {
			out = append(out, connectionLine{r.Connection, r.Test})
		}
		return json.NewEncoder(w).Encode(out)
	})
	handle("GET /tests/{id}/history", func(w io.Writer, r *http.Request) error {
		v, err := s.assess.View(strings.ToUpper(r.PathValue("id")))
		if err != nil {
			return err
		}
		return evidence.WriteHistory(w, v.History)
	})
	handle("GET /tests/{id}/report", func(w io.Writer, r *http.Request) error {
		v, err := s.assess.View(strings.ToUpper(r.PathValue("id")))
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, report.Text(s.input(v)))
		return err
	})
	handle("GET /inbox", func(w io.Writer, r *http.Request) error {
		list, err := s.store.Mailbox(r.Context())
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(list)
	})
	handle("GET /inbox/{id}", func(w io.Writer, r *http.Request) error {
		m, err := s.store.MailboxMessage(r.PathValue("id"))
		if err != nil {
			return err
		}
		_, err = w.Write(m)
		return err
	})
	handle("DELETE /inbox/{id}", func(_ io.Writer, r *http.Request) error {
		return s.store.DeleteMailbox(r.Context(), r.PathValue("id"))
	})
	handle("DELETE /people/{address}", func(w io.Writer, r *http.Request) error {
		n, err := s.assess.Forget(r.Context(), r.PathValue("address"))
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(n)
	})
	s.keyRoutes(handle)
	s.doctorRoutes(handle)
	s.operations(mux)
	return mux
}

func (s *service) listTests(ctx context.Context, w io.Writer) error {
	records, err := s.store.Tests(ctx, history.TestFilter{Limit: 1000})
	if err != nil {
		return err
	}
	out := make([]testLine, 0, len(records))
	for _, r := range records {
		v, err := s.assess.View(r.Test.ID)
		switch {
		case errors.Is(err, history.ErrNotFound):
			continue // deleted meanwhile
		case err != nil:
			return fmt.Errorf("test %s: %w", r.Test.ID, err)
		}
		line := testLine{
			ID: r.Test.ID, Started: r.Test.Started, Sender: r.Test.Sender, State: v.Record.State, Policy: v.Verdict.Policy, Attempts: v.Verdict.Attempts,
			Link: s.cfg.resultURL(r.Capability), Report: "none: " + v.Record.ReportBlocked,
		}
		if v.Record.ReportBlocked == "" {
			line.Report = "not yet due"
		}
		if q, err := s.store.QueueItem(r.Test.ID); err == nil {
			line.Report = queueState(q)
		}
		out = append(out, line)
	}
	return json.NewEncoder(w).Encode(out)
}

func queueState(q history.QueueItem) string {
	switch {
	case !q.Sent.IsZero():
		return "sent"
	case q.GaveUp:
		return "given up: " + q.LastError
	case q.LastError != "":
		return "will be retried: " + q.LastError
	}
	return "queued"
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
	socket := (&config{DataDir: dataDir}).path(controlSocket)
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
