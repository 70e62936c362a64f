package sink_test

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink"
)

// pipe returns two ends of a buffered connection in memory, with addresses and
// deadlines, whose clock is that of the bubble it is made in.
func pipe() (a, b net.Conn) {
	x, y := newHalf(), newHalf()
	server := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 25), Port: 25}
	client := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 10), Port: 40000}
	return &end{in: x, out: y, local: server, remote: client}, &end{in: y, out: x, local: client, remote: server}
}

// half is one direction.
type half struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each change
	buf      []byte
	closed   bool
	deadline time.Time
}

func newHalf() *half { return &half{changed: make(chan struct{})} }

func (h *half) update(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *half) read(b []byte) (int, error) {
	for {
		h.mu.Lock()
		changed, deadline := h.changed, h.deadline
		if !deadline.IsZero() && !time.Now().Before(deadline) {
			h.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		}
		if n := copy(b, h.buf); n > 0 {
			h.buf = h.buf[n:]
			h.mu.Unlock()
			return n, nil
		}
		if h.closed {
			h.mu.Unlock()
			return 0, io.EOF
		}
		h.mu.Unlock()
		var late <-chan time.Time
		var timer *time.Timer
		if !deadline.IsZero() {
			timer = time.NewTimer(time.Until(deadline))
			late = timer.C
		}
		select {
		case <-changed:
		case <-late:
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

type end struct {
	in, out       *half
	local, remote net.Addr
	once          sync.Once
}

func (e *end) Read(b []byte) (int, error) { return e.in.read(b) }

func (e *end) Write(b []byte) (n int, err error) {
	e.out.update(func() {
		if e.out.closed {
			err = io.ErrClosedPipe
			return
		}
		e.out.buf = append(e.out.buf, b...)
		n = len(b)
	})
	return n, err
}

func (e *end) Close() error {
	e.once.Do(func() {
		e.out.update(func() { e.out.closed = true })
		e.in.update(func() { e.in.closed = true })
	})
	return nil
}

func (e *end) LocalAddr() net.Addr              { return e.local }
func (e *end) RemoteAddr() net.Addr             { return e.remote }
func (e *end) SetDeadline(t time.Time) error    { return e.SetReadDeadline(t) }
func (e *end) SetWriteDeadline(time.Time) error { return nil }
func (e *end) SetReadDeadline(t time.Time) error {
	e.in.update(func() { e.in.deadline = t })
	return nil
}

// bubble runs play against a sink on fake time and returns the record.
func bubble(t *testing.T, phase evidence.Phase, play func(f *fixture, c *client)) (got evidence.Connection) {
	t.Helper()
	keys() // made outside: it may take long
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, phase)
		server, remote := pipe()
		go f.server.ServeConn(context.Background(), server)
		play(f, newClient(t, remote))
		got = f.director.next(t)
		_ = remote.Close()
		synctest.Wait()
		if n := f.director.closed[got.ID]; n != 1 {
			t.Errorf("Closed %d times", n)
		}
	})
	return got
}

func TestSilenceAfter451EndsTheSession(t *testing.T) {
	got := bubble(t, evidence.Secure, func(_ *fixture, c *client) {
		c.secured(host(scenario.MX04))
		c.cmd("EHLO x", 250)
		c.mail("en@et.sink.example")
		c.send(body)
		c.expect(451)
		start := time.Now()
		c.expect(421)
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("421 after %v, want 2s", d)
		}
	})
	if got.Ending != evidence.EndingServer || got.Status != evidence.StatusMail {
		t.Errorf("ending %s, status %s", got.Ending, got.Status)
	}
}

func TestPhaseChangeEndsTheSession(t *testing.T) {
	for name, c := range map[string]struct {
		play func(f *fixture, c *client)
		mail bool
	}{
		"when silent": {func(f *fixture, c *client) {
			c.hello()
			time.Sleep(time.Minute)
			f.director.phase.Store(evidence.Secure)
			c.expect(421)
		}, false},
		"at MAIL": {func(f *fixture, c *client) {
			c.hello()
			f.director.phase.Store(evidence.Secure)
			c.cmd("MAIL FROM:<>", 421)
		}, false},
		"at EHLO": {func(f *fixture, c *client) {
			c.hello()
			f.director.phase.Store(evidence.Secure)
			c.cmd("EHLO x", 421)
		}, false},
		"never within a transaction": {func(f *fixture, c *client) {
			c.hello()
			c.cmd("MAIL FROM:<>", 250)
			f.director.phase.Store(evidence.Secure)
			time.Sleep(time.Minute)
			c.cmd("RCPT TO:<en@et.sink.example>", 250)
			time.Sleep(time.Minute)
			c.cmd("DATA", 354)
			time.Sleep(time.Minute)
			c.send("Subject: x\r\n")
			time.Sleep(time.Minute)
			c.send("\r\n.\r\n")
			c.expect(451)
			c.expect(421)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := bubble(t, evidence.Downgrade, c.play)
			if got.Ending != evidence.EndingServer || got.Phase != evidence.Downgrade || got.StartTLSOffered || (got.MailFrom != nil) != c.mail {
				t.Errorf("record: %+v", got)
			}
		})
	}
}

func TestPhaseIsThatOfTheFirstEHLO(t *testing.T) {
	got := bubble(t, evidence.Downgrade, func(f *fixture, c *client) {
		c.expect(220)
		f.director.phase.Store(evidence.Secure)
		c.cmd("EHLO x", 250)
		c.cmd("QUIT", 221)
	})
	if got.Phase != evidence.Secure || !got.StartTLSOffered {
		t.Errorf("phase %s, offered %v", got.Phase, got.StartTLSOffered)
	}
}

// A slow message is not cut off, an abandoned one is.
func TestDataDeadlineIsRefreshed(t *testing.T) {
	got := bubble(t, evidence.Downgrade, func(_ *fixture, c *client) {
		c.hello()
		c.mail("en@et.sink.example")
		for range 8 {
			time.Sleep(2*time.Minute + 50*time.Second)
			c.send("line\r\n")
		}
		c.send(".\r\n")
		c.expect(451)
		c.cmd("QUIT", 221)
	})
	if !got.Data {
		t.Error("a slow message was cut off")
	}
	got = bubble(t, evidence.Downgrade, func(_ *fixture, c *client) {
		c.hello()
		c.mail("en@et.sink.example")
		start := time.Now()
		c.expect(421)
		if d := time.Since(start); d != 3*time.Minute {
			t.Errorf("421 after %v, want 3m", d)
		}
	})
	if got.Data || got.Ending != evidence.EndingTimeout {
		t.Errorf("data %v, ending %s", got.Data, got.Ending)
	}
}

func TestSilentClient(t *testing.T) {
	got := bubble(t, evidence.Downgrade, func(_ *fixture, c *client) {
		c.expect(220)
		start := time.Now()
		c.expect(421)
		if d := time.Since(start); d != 5*time.Minute {
			t.Errorf("421 after %v, want 5m", d)
		}
	})
	if got.Ending != evidence.EndingTimeout || got.Status != evidence.StatusNone {
		t.Errorf("ending %s, status %s", got.Ending, got.Status)
	}
}

func TestAcceptedSessionGoesOn(t *testing.T) {
	got := bubble(t, evidence.Secure, func(f *fixture, c *client) {
		f.director.reply = sink.Reply{Code: 250, Text: "done"}
		c.secured(host(scenario.UT)) // silence within TLS must not break it
		c.cmd("EHLO x", 250)
		for range 3 {
			c.mail("en@ut.sink.example")
			c.send(body[:10])
			time.Sleep(time.Minute)
			c.send(body[10:])
			c.expect(250)
			time.Sleep(time.Minute)
		}
		c.cmd("QUIT", 221)
	})
	if got.Status != evidence.StatusAcked || got.Ending != evidence.EndingQuit {
		t.Errorf("status %s, ending %s", got.Status, got.Ending)
	}
}
