package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/scenario"
)

// Server serves the policies and the pages. It is safe for concurrent use.
type Server struct {
	o       Options
	started time.Time
	rate    *rateLimit // of requests
	starts  *rateLimit // of tests
	streams *connLimit
	rooms   *rooms
	origin  *http.CrossOriginProtection
	handler http.Handler

	closing context.Context // ends when the server is about to
	close   context.CancelFunc
}

// New returns a server; it listens nowhere until Serve is called.
func New(o Options) (*Server, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	l := o.Limits
	s := &Server{
		o: o, started: o.Now(), rooms: newRooms(), origin: http.NewCrossOriginProtection(),
		rate: newRateLimit(l.PagesPerMinute*pageCost, time.Minute, l.Clients), starts: newRateLimit(l.StartsPerHour, time.Hour, l.Clients),
		streams: newConnLimit(l.Streams, l.StreamsPerClient),
	}
	s.closing, s.close = context.WithCancel(context.Background())
	s.handler = s.guard(s.routes())
	return s, nil
}

// Handler returns the handler of every host, for plain HTTP and HTTPS: it
// tells them apart by Request.TLS.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve serves until ctx is done or a listener fails, then waits for requests
// in progress and closes all listeners. It returns nil after an orderly end.
func (s *Server) Serve(ctx context.Context, httpListeners, httpsListeners []net.Listener) error {
	server := &http.Server{
		Handler:           s.handler,
		TLSConfig:         s.tlsConfig(),
		ReadHeaderTimeout: s.o.Limits.HeaderTimeout,
		ReadTimeout:       s.o.Limits.ReadTimeout,
		WriteTimeout:      s.o.Limits.WriteTimeout,
		IdleTimeout:       s.o.Limits.IdleTimeout,
		MaxHeaderBytes:    s.o.Limits.MaxHeaderBytes,
		ErrorLog:          log.New(errorLog{s.o.Logger}, "", 0),
	}
	limit := newConnLimit(s.o.Limits.Connections, s.o.Limits.PerClient)
	group, groupCtx := errgroup.WithContext(ctx)
	for _, l := range httpListeners {
		group.Go(func() error { return served("http", l, server.Serve(limit.listener(l))) })
	}
	for _, l := range httpsListeners {
		group.Go(func() error { return served("https", l, server.ServeTLS(limit.listener(l), "", "")) })
	}
	group.Go(func() error {
		<-groupCtx.Done()
		s.close()
		deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Limits.ShutdownTimeout)
		defer cancel()
		if err := server.Shutdown(deadline); err != nil {
			return errors.Join(fmt.Errorf("web: shut down: %w", err), server.Close())
		}
		return nil
	})
	return group.Wait()
}

func served(scheme string, l net.Listener, err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("web: serve %s on %s: %w", scheme, l.Addr(), err)
}

func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: s.certificate,
		NextProtos:     []string{"h2", "http/1.1"},
	}
}

// certificate chooses by SNI. RFC 8461 §3.3: the policy host must present a
// certificate for its own name; a client that sends no SNI is none that
// follows the RFC, and gets the certificate of the pages.
func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	id := scenario.Certificate{Owner: scenario.OwnerService, Kind: scenario.CA}
	if hello.ServerName != "" {
		target, ok := s.target(hello.ServerName)
		if !ok {
			return nil, errors.New("web: no certificate for this name")
		}
		if target.Role == scenario.RolePolicy {
			id = scenario.Certificate{Slot: target.Slot, Owner: scenario.OwnerMTASTS, Kind: scenario.CA}
		}
	}
	list, err := s.o.Certificates.Certificates(id)
	if err != nil {
		return nil, fmt.Errorf("web: certificate of %s, slot %d: %w", id.Owner, id.Slot, err)
	}
	for i := range list {
		if hello.SupportsCertificate(&list[i]) == nil {
			return &list[i], nil
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("web: certificate of %s, slot %d: there is none", id.Owner, id.Slot)
	}
	return &list[0], nil
}

// target says what a host name means here; false if it is none of ours.
func (s *Server) target(host string) (scenario.Target, bool) {
	t, ok := scenario.Find(s.o.Zone, host)
	if !ok || t.Slot >= s.o.Slots {
		return scenario.Target{}, false
	}
	switch t.Role {
	case scenario.RoleApex, scenario.RoleService, scenario.RolePolicy:
		return t, true
	}
	return scenario.Target{}, false
}
