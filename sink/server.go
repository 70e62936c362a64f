package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/sink/internal/wire"

	"github.com/tlsink/tlsink/evidence"
)

// Server is the SMTP listener. Its methods are safe for concurrent use.
type Server struct {
	options Options
	limits  atomic.Pointer[Limits] // for new connections

	mu        sync.Mutex
	open      int
	perClient map[netip.Prefix]int
}

// New returns a Server. Errors name the option that is wrong.
func New(o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Server{options: o, perClient: make(map[netip.Prefix]int)}
	s.limits.Store(&o.Limits)
	return s, nil
}

// SetLimits changes the limits for connections that are still to come. A zero
// field means its default.
func (s *Server) SetLimits(l Limits) error {
	l = l.withDefaults()
	if err := l.check(); err != nil {
		return err
	}
	s.limits.Store(&l)
	return nil
}

// Serve accepts connections on all listeners until ctx ends or one of them
// fails, then closes the listeners, ends the sessions with 421, gives
// transactions in progress Limits.Drain to finish, and returns when all
// connections are closed. It returns nil when ctx ended.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	if len(listeners) == 0 {
		return errors.New("sink: no listener to serve")
	}
	group, gctx := errgroup.WithContext(ctx)
	var sessions sync.WaitGroup
	for _, l := range listeners {
		stop := context.AfterFunc(gctx, func() { l.Close() }) // Accept will tell
		defer stop()
		group.Go(func() error { return s.accept(gctx, l, &sessions) })
	}
	err := group.Wait()
	sessions.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// maxAcceptDelay is the longest pause after a passing failure of Accept, such
// as too many open files.
const maxAcceptDelay = time.Second

func (s *Server) accept(ctx context.Context, l net.Listener, sessions *sync.WaitGroup) error {
	var delay time.Duration
	for {
		c, err := l.Accept()
		if err == nil {
			delay = 0
			sessions.Go(func() { s.ServeConn(ctx, c) })
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept on %s: %w", l.Addr(), err)
		}
		delay = min(max(2*delay, 5*time.Millisecond), maxAcceptDelay)
		s.options.Logger.Warn("accept failed, trying again", "local", l.Addr(), "delay", delay, "err", err)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ServeConn serves one connection and returns when it is closed and recorded.
// When ctx ends the session is ended with 421 as soon as no transaction is
// open, at the latest after Limits.Drain.
func (s *Server) ServeConn(ctx context.Context, c net.Conn) {
	local, client := addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
	accepted := s.options.Now()
	release, err := s.admit(client.Addr())
	if err != nil {
		s.refuse(c, "limit", err)
		return
	}
	defer release()

	id := s.options.NewID()
	treatment, err := s.options.Director.Accepted(id, local, client)
	if err != nil {
		s.refuse(c, "director", err)
		return
	}
	// What is in progress outlives ctx, but not the drain.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	x := newSession(work, s, id, local, client, treatment)
	x.accepted = accepted
	x.conn = wire.New(c, x.wireLimits(), x)
	unregister := context.AfterFunc(ctx, func() {
		x.conn.Stop()
		hard := time.AfterFunc(x.limits.Drain, func() {
			cancel()
			x.conn.Abort()
		})
		defer hard.Stop()
		<-work.Done()
	})
	wire.Serve(s.engine(x), x.conn)
	unregister()
	if final := x.final(); x.probing() == nil {
		s.options.Director.Closed(final)
	}
}

// engine returns go-smtp for one session. It is not shared: a server of its
// own costs little and needs no way from the engine's connection back to ours.
func (s *Server) engine(x *session) *smtp.Server {
	e := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return x, nil }))
	e.Domain = s.options.Hostname
	e.MaxLineLength = 0 // wire.Conn cuts command lines; here it would also cut messages
	e.MaxMessageBytes = x.limits.MessageSize
	e.MaxRecipients = x.limits.Recipients
	e.EnableSMTPUTF8 = true
	e.EnableREQUIRETLS = true // the parameter; the keyword is ours, inside TLS
	e.ErrorLog = engineLog{s.options.Logger}
	return e
}

func (x *session) wireLimits() wire.Limits {
	l := &x.limits
	return wire.Limits{
		Line: l.Line, Errors: l.Errors, Commands: l.Commands, Command: l.CommandTimeout, Data: l.DataTimeout, Handshake: l.Handshake,
		Write: l.WriteTimeout, Session: l.SessionTime, SilenceAfter: l.SilenceAfter, Linger: l.Linger,
	}
}

// admit counts a connection, or says why there may be no further one.
func (s *Server) admit(client netip.Addr) (release func(), err error) {
	key, limits := evidence.ClientOf(client), s.limits.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.open >= limits.Connections:
		return nil, errors.New("too many connections, please try again later")
	case s.perClient[key] >= limits.PerClient:
		return nil, errors.New("too many connections from your address, please try again later")
	}
	s.open++
	s.perClient[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
		if s.perClient[key]--; s.perClient[key] == 0 {
			delete(s.perClient, key)
		}
	}, nil
}

// refuseTimeout bounds the farewell to a connection that was not admitted.
const refuseTimeout = 5 * time.Second

func (s *Server) refuse(c net.Conn, reason string, why error) {
	s.options.Observer.Refused(reason)
	s.options.Logger.Debug("connection refused", "reason", reason, "err", why)
	c.SetWriteDeadline(time.Now().Add(refuseTimeout)) //nolint:errcheck // best effort
	reply := wire.Reply{Code: 421, Enhanced: [3]int{4, 7, 0}, Text: s.options.Hostname + " " + why.Error()}
	c.Write([]byte(reply.String())) //nolint:errcheck // best effort
	c.Close()
}

func addrPort(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{} // not TCP
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// engineLog takes what go-smtp logs: panics of ours.
type engineLog struct{ log *slog.Logger }

func (l engineLog) Printf(format string, v ...any) {
	l.log.Error("smtp engine", "err", fmt.Sprintf(format, v...))
}
func (l engineLog) Println(v ...any) { l.log.Error("smtp engine", "err", fmt.Sprint(v...)) }
