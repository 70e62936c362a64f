package web

import (
	"bytes"
	"context"
	"net/http"
	"time"
)

// events sends what changes on the page of a test, as server-sent events. The
// data of an event is HTML: elements with an id that take the place of those on
// the page, and new rows of its list. The id of an event is the version of the
// page that it leads to.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	capability, ok := s.capability(w, r)
	if !ok {
		return
	}
	if s.o.Live == nil {
		s.unknown(w, r)
		return
	}
	client := clientOf(r.RemoteAddr)
	if !s.streams.acquire(client) {
		s.later(w, r)
		return
	}
	defer s.streams.release(client)
	l, _ := known(r.URL.Query().Get("l"))
	room, ok, err := s.join(r.Context(), roomKey{capability, l})
	if err != nil {
		s.log(w).Warn("follow a test", "err", scrub(r, err.Error()))
		s.later(w, r)
		return
	}
	if !ok {
		s.unknown(w, r)
		return
	}
	defer s.rooms.leave(room)
	version := r.Header.Get("Last-Event-ID")
	if version == "" {
		version = r.URL.Query().Get("v")
	}
	ctx, cancel := s.untilClosing(r.Context())
	defer cancel()
	out := &stream{w: w, control: http.NewResponseController(w), timeout: s.o.Limits.WriteTimeout}
	if !out.begin() || r.Method == http.MethodHead {
		return
	}
	out.follow(ctx, room, version, s.o.Limits.KeepAlive, s.o.Limits.StreamTime)
}

// later says that no stream is possible at the moment.
func (s *Server) later(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "30")
	s.fail(w, r, http.StatusServiceUnavailable)
}

// A stream writes events to one client.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

func (e *stream) begin() bool {
	// The deadline for reading would end the request (it has no body).
	_ = e.control.SetReadDeadline(time.Time{}) // a writer that has none needs none
	h := e.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	return e.write([]byte("retry: 3000\n\n"))
}

// follow sends until the test is over, the client leaves, or time is up: a page
// that wants more asks again.
func (e *stream) follow(ctx context.Context, r *room, version string, keepAlive, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	var shown *rendering
	for {
		now, ended, changed := r.look()
		if now != nil && now.version != version {
			if !e.event("", now.version, now.message(shown)) {
				return
			}
		}
		if now != nil {
			shown, version = now, now.version
		}
		if ended {
			if now != nil && now.final {
				e.event("end", version, nil)
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
			if !e.write([]byte(":\n\n")) {
				return
			}
		}
	}
}

// event sends data, line by line, and reports whether the client still reads.
func (e *stream) event(name, id string, data []byte) bool {
	var b bytes.Buffer
	if name != "" {
		b.WriteString("event: " + name + "\n")
	}
	b.WriteString("id: " + id + "\n")
	// A lone CR ends a line, too: what a stranger wrote must not.
	data = bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte(" "))
	for line := range bytes.SplitSeq(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")) {
		b.WriteString("data: ")
		b.Write(line)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return e.write(b.Bytes())
}

// write gives the client so long to take it.
func (e *stream) write(b []byte) bool {
	_ = e.control.SetWriteDeadline(time.Now().Add(e.timeout)) // as above
	if _, err := e.w.Write(b); err != nil {
		return false
	}
	return e.control.Flush() == nil
}
