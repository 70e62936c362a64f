package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

// status tells how a test stands. With wait and If-None-Match it answers once
// that is something new.
func (s *server) status(w http.ResponseWriter, r *http.Request) error {
	if err := known(r, "language", "wait"); err != nil {
		return err
	}
	l, err := language(r)
	if err != nil {
		return err
	}
	wait, err := s.wait(r)
	if err != nil {
		return err
	}
	capab, st, err := s.look(r, l)
	if err != nil {
		return err
	}
	etag, same, err := known304(r, st)
	if err != nil {
		return err
	}
	if same && wait > 0 && !st.State.Over() {
		// The server's own deadline is for answers that come at once.
		if err := extend(w, s.o.Limits.Write+wait); err != nil {
			return err
		}
		if st, etag, same, err = s.waitForChange(r, capab, l, wait); err != nil {
			return err
		}
	}
	w.Header().Set("ETag", "W/"+etag)
	w.Header().Set("Cache-Control", "no-cache, private")
	if same {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return writeJSON(w, http.StatusOK, st)
}

// known304 returns the tag of st, and whether the client has it.
func known304(r *http.Request, st *live.Status) (etag string, same bool, err error) {
	t, err := tag(st)
	etag = `"` + t + `"`
	return etag, err == nil && matches(r, etag), err
}

// wait reads the parameter of that name: seconds.
func (s *server) wait(r *http.Request) (time.Duration, error) {
	v, err := parameter(r, "wait")
	if err != nil || v == "" {
		return 0, err
	}
	n, err := strconv.Atoi(v)
	if most := int(s.o.Limits.Wait / time.Second); err != nil || n < 0 || n > most {
		return 0, invalid("wait", v, "This is no number of seconds, or too many.", fmt.Sprintf("Use 0 to %d.", most))
	}
	return time.Duration(n) * time.Second, nil
}

// watch follows a test for a client; close it in the end.
func (s *server) watch(ctx context.Context, r *http.Request, capab string, l report.Language) (Watcher, error) {
	client := evidence.ClientOf(addressOf(r))
	if !s.followers.enter(client) {
		return nil, busy("You follow too many tests at the same time. Poll without wait instead.")
	}
	watcher, err := s.follow(ctx, capab, l)
	if err != nil {
		s.followers.leave(client)
		return nil, err
	}
	return &follower{Watcher: watcher, leave: func() { s.followers.leave(client) }}, nil
}

func (s *server) follow(ctx context.Context, capab string, l report.Language) (Watcher, error) {
	watcher, ok, err := s.o.Live.Watch(ctx, capab, l)
	switch {
	case errors.Is(err, ErrBusy):
		return nil, busy("Too many people follow tests at the moment. Poll without wait instead.")
	case err != nil:
		return nil, fmt.Errorf("watch a test: %w", err)
	case !ok:
		return nil, notFound()
	}
	return watcher, nil
}

func (s *server) waitForChange(r *http.Request, capab string, l report.Language, wait time.Duration) (st *live.Status, etag string, same bool, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	watcher, err := s.watch(ctx, r, capab, l)
	if err != nil {
		return nil, "", false, err
	}
	defer watcher.Close()
	for {
		next, err := watcher.Next(ctx)
		switch {
		case err == nil:
			st = next
		case errors.Is(err, live.ErrGone):
			return nil, "", false, notFound()
		case ctx.Err() == nil:
			return nil, "", false, fmt.Errorf("watch a test: %w", err)
		case st == nil:
			return nil, "", false, busy("The state of the test could not be had in time.")
		default:
			return st, etag, true, nil
		}
		if etag, same, err = known304(r, st); err != nil || !same {
			return st, etag, same, err
		}
	}
}

// extend lets the answer take d from now. Some writers have no deadline.
func extend(w http.ResponseWriter, d time.Duration) error {
	err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d))
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// events streams what becomes of a test. The identifier of an event is the tag
// of what it leads to: a client that comes back with the present one has missed
// nothing.
func (s *server) events(w http.ResponseWriter, r *http.Request) error {
	if err := known(r, "language"); err != nil {
		return err
	}
	l, err := language(r)
	if err != nil {
		return err
	}
	capab, st, err := s.look(r, l)
	if err != nil {
		return err
	}
	last := r.Header.Get("Last-Event-ID")
	if now, err := tag(st); err != nil {
		return err
	} else if st.State.Over() && last == now {
		// An EventSource comes back after the end, until it is told so.
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.o.Limits.Stream)
	defer cancel()
	watcher, err := s.watch(ctx, r, capab, l)
	if err != nil {
		return err
	}
	defer watcher.Close()
	out := &stream{w: w, timeout: s.o.Limits.Write, last: last}
	out.head()
	if r.Method == http.MethodHead {
		return nil
	}
	if err := s.pump(ctx, watcher, out); err != nil && ctx.Err() == nil {
		// The header has gone out: the client sees an end, and comes back.
		s.o.Logger.Debug("stream ended", "err", scrub(r, err))
	}
	return nil
}

// pump writes events until the test is over, and a heartbeat where nothing
// happens.
func (s *server) pump(ctx context.Context, watcher Watcher, out *stream) error {
	type step struct {
		st  *live.Status
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	steps, ended := make(chan step), make(chan struct{})
	defer func() {
		cancel()
		<-ended
	}()
	go func() {
		defer close(ended)
		for {
			st, err := watcher.Next(ctx)
			select {
			case steps <- step{st, err}:
			case <-ctx.Done():
				return
			}
			if err != nil || st.State.Over() {
				return
			}
		}
	}()
	for {
		beat := time.NewTimer(s.o.Limits.Heartbeat)
		select {
		case <-ctx.Done():
			beat.Stop()
			return ctx.Err()
		case <-beat.C:
			if err := out.write(": still here\n\n"); err != nil {
				return err
			}
		case next := <-steps:
			beat.Stop()
			if next.err != nil {
				return next.err
			}
			if err := out.status(next.st); err != nil || next.st.State.Over() {
				return err
			}
		}
	}
}

// stream is an event stream to one client.
type stream struct {
	w       http.ResponseWriter
	timeout time.Duration
	last    string       // identifier of what the client has
	before  *live.Status // what was sent on this connection; nil: nothing
}

func (o *stream) head() {
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // a proxy would keep events back
	o.w.WriteHeader(http.StatusOK)
}

// status writes an event if the client does not have st yet.
func (o *stream) status(st *live.Status) error {
	id, err := tag(st)
	if err != nil {
		return err
	}
	name, data := "snapshot", *st
	if o.before != nil && !lost(o.before, st) {
		name, data.Connections = "status", fresh(o.before, st)
	}
	o.before = st
	if id == o.last {
		return o.write("retry: 3000\n\n")
	}
	o.last = id
	b, err := json.Marshal(&data)
	if err != nil {
		return fmt.Errorf("encode status: %w", err)
	}
	return o.write("retry: 3000\nid: " + id + "\nevent: " + name + "\ndata: " + string(b) + "\n\n")
}

func (o *stream) write(s string) error {
	if err := extend(o.w, o.timeout); err != nil {
		return err
	}
	if _, err := o.w.Write([]byte(s)); err != nil {
		return err
	}
	return http.NewResponseController(o.w).Flush()
}

// fresh returns the connections of now that are not in before as they are.
func fresh(before, now *live.Status) []live.Connection { return live.Delta(before, now) }

// lost reports whether a connection of before is gone from now, as one is that
// turned out to be another sender's: then a list of new ones does not say it.
// Those that the list has no room for any more do not count.
func lost(before, now *live.Status) bool {
	if now.Omitted < before.Omitted {
		return true
	}
	have := make(map[evidence.ConnID]bool, len(now.Connections))
	for _, c := range now.Connections {
		have[c.ID] = true
	}
	left := before.Connections[min(now.Omitted-before.Omitted, len(before.Connections)):]
	return slices.ContainsFunc(left, func(c live.Connection) bool { return !have[c.ID] })
}
