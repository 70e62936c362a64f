package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/mailer"
	"github.com/tlsink/tlsink/sink"
)

// reloader applies a changed configuration file to a running service.
type reloader struct {
	service *service
	file    string
	level   *slog.LevelVar
	hangups <-chan os.Signal

	mu sync.Mutex // one reload at a time
}

// reload reads the file again and applies what can change. A file with any
// problem changes nothing. Connections and deliveries in progress go on.
func (r *reloader) reload(ctx context.Context) (config.Changes, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.service
	next, err := config.Load(r.file)
	if err != nil {
		for _, p := range config.Problems(err) {
			s.log.Error("configuration not reloaded: problem", "field", p.Field, "problem", p.Text, "fix", p.Fix)
		}
		return config.Changes{}, fmt.Errorf("nothing was changed: %w", err)
	}
	// What needs a restart stays what it was, so that the next start is the
	// only one that sees it.
	now := s.cfg
	out := config.Compare(*s.current.Load(), next)
	now.Take(&next)
	transport, err := s.observedTransport(&now)
	if err != nil {
		s.log.Error("configuration not reloaded", "err", err)
		return config.Changes{}, fmt.Errorf("nothing was changed: %w", err)
	}
	if err := s.sink.SetLimits(sinkLimits(&now)); err != nil {
		return config.Changes{}, fmt.Errorf("nothing was changed: %w", err)
	}
	s.mailer.Change(mailerSettings(&now, transport))
	s.store.LimitMailbox(now.Limits.MailboxMessages, now.Limits.MessageSize)
	if level, err := config.LogLevel(now.Log.Level); err == nil && r.level != nil {
		r.level.Set(level)
	}
	s.current.Store(&now)
	s.log.Info("configuration reloaded", "applied", out.Applied)
	if len(out.Restart) > 0 {
		s.log.Warn("settings that have changed need a restart", "settings", out.Restart)
	}
	if err := errors.Join(s.certs.Reload(), s.retryCertificates(ctx)); err != nil {
		s.log.Error("certificates not read again, those in use stay", "err", err)
		return out, fmt.Errorf("the configuration was reloaded, but: %w", err)
	}
	return out, nil
}

func sinkLimits(c *config.Config) sink.Limits {
	l := c.Limits
	return sink.Limits{Connections: l.Connections, PerClient: l.PerClient, MessageSize: l.MessageSize, CommandTimeout: time.Duration(l.CommandTimeout)}
}

func mailerSettings(c *config.Config, t mailer.Transport) mailer.Settings {
	l := c.Limits
	return mailer.Settings{
		Transport: t, Limits: mailer.Limits{Address: l.ReportsAddress, Domain: l.ReportsDomain, Network: l.ReportsNetwork},
		FirstRetry: time.Duration(c.Timing.ReportRetry), GiveUp: time.Duration(c.Timing.GiveUp), AttemptTimeout: time.Duration(c.Timing.ReportAttempt),
	}
}

type reloadCmd struct{ control.Flag }

// Run has a running service read its configuration again.
func (c *reloadCmd) Run(e *cli.Env) error {
	b, err := c.Ask(e, http.MethodPost, "/reload")
	if err != nil {
		return err
	}
	var r config.Changes
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("answer of the running service: %w", err)
	}
	if len(r.Applied)+len(r.Restart) == 0 {
		fmt.Fprintln(e.Stdout, "reloaded: no setting has changed")
		return nil
	}
	if len(r.Applied) > 0 {
		fmt.Fprintln(e.Stdout, "reloaded:", strings.Join(r.Applied, ", "))
	}
	if len(r.Restart) > 0 {
		fmt.Fprintln(e.Stdout, "needs a restart:", strings.Join(r.Restart, ", "))
	}
	return nil
}

// operations adds what operators do with a running service.
func (s *service) operations(mux *http.ServeMux) {
	mux.HandleFunc("GET /backup", s.serveBackup)
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		if s.reload == nil {
			http.Error(w, "this service was started without a configuration file", http.StatusNotFound)
			return
		}
		out, err := s.reload.reload(r.Context())
		if err == nil {
			err = json.NewEncoder(w).Encode(out)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

// watch reloads at each signal until ctx ends.
func (r *reloader) watch(ctx context.Context, n *notifier) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.hangups:
			n.reloading()
			status := ""
			if _, err := r.reload(ctx); err != nil {
				status = "reload failed, going on as before: see the log"
			}
			n.ready(status)
		}
	}
}
