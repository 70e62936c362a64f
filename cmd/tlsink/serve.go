package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/backups"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/config"
)

type serveCmd struct {
	Config string `default:"/etc/tlsink/tlsink.toml" help:"Configuration file; 'tlsink config example' prints one." type:"path" placeholder:"FILE"`
}

// Run serves until it is interrupted.
func (c *serveCmd) Run(e *cli.Env) error {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	log, err := newLogger(e.Stderr, cfg.Log, level)
	if err != nil {
		return err
	}
	if err := backups.CheckRestored(&cfg); err != nil {
		return err
	}
	// From here on a hangup must not end us; it is looked at once we serve.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	l, err := listen(e.Ctx, cfg.Listen)
	if err != nil {
		return err
	}
	s, err := newService(e.Ctx, cfg, network{}, log)
	if err != nil {
		l.close()
		return err
	}
	return s.serve(e.Ctx, l, &reloader{service: s, file: c.Config, level: level, hangups: hangups})
}

// serve runs s and its control socket.
func (s *service) serve(ctx context.Context, l *listeners, r *reloader) error {
	s.reload = r
	socket, err := control.Listen(ctx, s.cfg.Path(control.Socket))
	if err != nil {
		l.close()
		return errors.Join(err, s.store.Close())
	}
	backups.RemoveLeftovers(&s.cfg)
	manager := newNotifier(s.log)
	s.log.Info("tlsink serves", "zone", s.cfg.Zone, "data_dir", s.cfg.DataDir, "smtp", addresses(l.smtp), "dns", l.dnsAddresses(),
		"http", addresses(l.http), "https", addresses(l.https), "metrics", addresses(l.metrics))
	s.announce()
	manager.ready("")
	stopping := context.AfterFunc(ctx, func() {
		s.log.Info("tlsink stops: transactions in progress may end; a second signal ends it at once", "at_most", stopTimeout)
		manager.stopping()
	})
	defer stopping()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.run(gctx, l) })
	g.Go(func() error { return serveControl(gctx, socket, s) })
	g.Go(func() error { return r.watch(gctx, manager) })
	if err := waitFor(gctx, g.Wait, stopTimeout); err != nil {
		return err
	}
	s.log.Info("tlsink has stopped")
	return nil
}

// stopTimeout bounds the orderly end. Every part has a shorter limit of its
// own; this one is for a disk or a peer that keeps one of them.
const stopTimeout = 30 * time.Second

// waitFor returns what wait does, or an error if that takes longer than limit
// after ctx has ended.
func waitFor(ctx context.Context, wait func() error, limit time.Duration) error {
	done := make(chan error, 1)
	go func() { done <- wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("not everything has ended within %v: ended all the same; what was answered is stored", limit)
	}
}

// newLogger returns a logger whose level can change.
func newLogger(w io.Writer, c config.Log, level *slog.LevelVar) (*slog.Logger, error) {
	initial, err := config.LogLevel(c.Level)
	if err != nil {
		return nil, err
	}
	level.Set(initial)
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(tracing{slog.NewJSONHandler(w, o)}), nil
	}
	return slog.New(tracing{slog.NewTextHandler(w, o)}), nil
}
