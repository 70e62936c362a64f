package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/operate"
)

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
