package web

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

// reportPoll is how often a report is looked at that still waits for something
// which no status tells.
const reportPoll = 5 * time.Second

// roomKey names what is rendered once: a test in a language. An empty language
// is that of the test.
type roomKey struct {
	capability string
	language   report.Language
}

// rooms are the tests that pages follow at the moment.
type rooms struct {
	mu   sync.Mutex
	open map[roomKey]*room
}

func newRooms() *rooms { return &rooms{open: make(map[roomKey]*room)} }

// A room renders a test for all pages that show it.
type room struct {
	key   roomKey
	users int // guarded by rooms.mu
	stop  context.CancelFunc

	mu      sync.Mutex
	now     *rendering    // nil at first
	ended   bool          // now is the last one
	changed chan struct{} // closed when one of the above changes
}

// now returns the newest rendering, if somebody follows the test.
func (rs *rooms) now(key roomKey) *rendering {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.open[key]
	if r == nil {
		return nil
	}
	now, ended, _ := r.look()
	if ended {
		return nil // of an error maybe: ask again
	}
	return now
}

// join returns the room of a test; leave it in the end. It is false if there is
// no such test.
func (s *Server) join(ctx context.Context, key roomKey) (*room, bool, error) {
	if r := s.rooms.enter(key, nil); r != nil {
		return r, true, nil
	}
	// The watcher outlives the request: others may join.
	background, stop := s.untilClosing(context.WithoutCancel(ctx))
	watcher, ok, err := s.o.Live.Watch(background, key.capability, key.language)
	if err != nil || !ok {
		stop()
		return nil, ok, err
	}
	made := &room{key: key, stop: stop, changed: make(chan struct{})}
	r := s.rooms.enter(key, made)
	if r != made { // somebody was faster
		stop()
		watcher.Close()
		return r, true, nil
	}
	go func() {
		defer watcher.Close()
		s.follow(background, made, watcher)
	}()
	return made, true, nil
}

// enter returns the room of a test, or makes the given one that.
func (rs *rooms) enter(key roomKey, made *room) *room {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.open[key]
	if r == nil {
		if r = made; r == nil {
			return nil
		}
		rs.open[key] = r
	}
	r.users++
	return r
}

// leave ends the room with the last one in it.
func (rs *rooms) leave(r *room) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r.users--; r.users == 0 {
		rs.drop(r)
		r.stop()
	}
}

// forget lets the next one open a new room.
func (rs *rooms) forget(r *room) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.drop(r)
}

func (rs *rooms) drop(r *room) {
	if rs.open[r.key] == r {
		delete(rs.open, r.key)
	}
}

// follow renders each status until nothing changes any more, or it fails.
func (s *Server) follow(ctx context.Context, r *room, w Watcher) {
	defer r.end()
	defer s.rooms.forget(r)
	var st *live.Status
	for ctx.Err() == nil {
		next, err := s.next(ctx, w, st)
		if err != nil {
			if ctx.Err() == nil {
				s.o.Logger.Error("follow a test", "err", err)
			}
			return
		}
		st = next
		before, _, _ := r.look()
		now, err := s.render(ctx, r.key, st, before)
		if err != nil {
			if ctx.Err() == nil {
				s.o.Logger.Error("render a test", "err", err)
			}
			return
		}
		r.show(now)
		if now.final {
			return
		}
	}
}

// next waits for a status, but of a test that has a report not for long: no status
// tells of an analysis that comes late, nor that nothing comes any more.
func (s *Server) next(ctx context.Context, w Watcher, last *live.Status) (*live.Status, error) {
	if last == nil || !concluded(last.State) {
		return w.Next(ctx)
	}
	short, cancel := context.WithTimeout(ctx, reportPoll)
	defer cancel()
	st, err := w.Next(short)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		same := *last
		same.Now = same.Now.Add(reportPoll)
		return &same, nil
	}
	return st, err
}

// show makes a rendering the newest, unless it is the same.
func (r *room) show(now *rendering) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now != nil && r.now.version == now.version && r.now.final == now.final {
		return
	}
	r.now = now
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *room) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	close(r.changed)
	r.changed = make(chan struct{})
}

// look returns the newest rendering, whether it is the last one, and what is
// closed when that changes.
func (r *room) look() (*rendering, bool, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now, r.ended, r.changed
}
