package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"golang.org/x/sync/errgroup"
)

type serveCmd struct {
	Config string `required:"" help:"Configuration file; 'tlsink config example' prints one." type:"path" placeholder:"FILE"`
}

// Run serves until it is interrupted.
func (c *serveCmd) Run(e *env) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	log, err := newLogger(e.stderr, cfg.Log)
	if err != nil {
		return err
	}
	l, err := listen(e.ctx, cfg.Listen)
	if err != nil {
		return err
	}
	s, err := newService(e.ctx, cfg, network{}, log)
	if err != nil {
		l.close()
		return err
	}
	return s.serve(e.ctx, l)
}

// serve runs s and its control socket.
func (s *service) serve(ctx context.Context, l *listeners) error {
	control, err := listenControl(ctx, s.cfg.path(controlSocket))
	if err != nil {
		l.close()
		return errors.Join(err, s.store.Close())
	}
	s.log.Info("tlsink serves", "zone", s.cfg.Zone, "data_dir", s.cfg.DataDir, "smtp", addresses(l.smtp), "dns", l.dnsAddresses(),
		"http", addresses(l.http), "https", addresses(l.https))
	stopping := context.AfterFunc(ctx, func() {
		s.log.Info("tlsink stops: transactions in progress may end; a second signal ends it at once")
	})
	defer stopping()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.run(ctx, l) })
	g.Go(func() error { return serveControl(ctx, control, s) })
	if err := g.Wait(); err != nil {
		return err
	}
	s.log.Info("tlsink has stopped")
	return nil
}

func newLogger(w io.Writer, c logConfig) (*slog.Logger, error) {
	level, err := logLevel(c.Level)
	if err != nil {
		return nil, err
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return slog.New(slog.NewTextHandler(w, o)), nil
}

func logLevel(s string) (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(s))); err != nil {
		return 0, fmt.Errorf("log.level is %q: want debug, info, warn or error", s)
	}
	return l, nil
}
