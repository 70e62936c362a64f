package memnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// bufferSize is what one direction holds before writers wait.
const bufferSize = 256 << 10

// Pipe returns two ends of a connection between the addresses a and b. Both
// have CloseWrite, as *net.TCPConn does. They are safe for concurrent use.
func Pipe(a, b netip.AddrPort) (atA, atB net.Conn) {
	x, y := newHalf(), newHalf()
	local, remote := net.TCPAddrFromAddrPort(a), net.TCPAddrFromAddrPort(b)
	return &end{in: x, out: y, local: local, remote: remote}, &end{in: y, out: x, local: remote, remote: local}
}

// half is one direction of a connection.
type half struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each change
	buf      []byte
	finished bool // by the writer: io.EOF once buf is read
	gone     bool // the reader is closed: nobody reads any more

	readBy, writeBy time.Time // deadlines
}

func newHalf() *half { return &half{changed: make(chan struct{})} }

func (h *half) update(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.wake()
}

func (h *half) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// await runs try under the lock until it is done, the deadline that by points
// to has passed, or both in turn after each change.
func (h *half) await(by *time.Time, try func() (done bool, err error)) error {
	for {
		h.mu.Lock()
		deadline, changed := *by, h.changed
		if !deadline.IsZero() && !time.Now().Before(deadline) {
			h.mu.Unlock()
			return os.ErrDeadlineExceeded
		}
		done, err := try()
		if done {
			h.wake()
		}
		h.mu.Unlock()
		if done {
			return err
		}
		wait(changed, deadline)
	}
}

// wait returns at a change, or at the deadline if there is one.
func wait(changed <-chan struct{}, deadline time.Time) {
	if deadline.IsZero() {
		<-changed
		return
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	}
}

func (h *half) read(b []byte) (n int, err error) {
	err = h.await(&h.readBy, func() (bool, error) {
		switch {
		case h.gone:
			return true, net.ErrClosed
		case len(b) == 0:
			return true, nil
		case len(h.buf) > 0:
			n = copy(b, h.buf)
			h.buf = h.buf[n:]
			return true, nil
		case h.finished:
			return true, io.EOF
		}
		return false, nil
	})
	return n, err
}

func (h *half) write(b []byte) (n int, err error) {
	err = h.await(&h.writeBy, func() (bool, error) {
		switch {
		case h.finished:
			return true, net.ErrClosed
		case h.gone:
			return true, syscall.EPIPE
		}
		take := min(len(b)-n, bufferSize-len(h.buf))
		h.buf = append(h.buf, b[n:n+take]...)
		n += take
		if n < len(b) && take > 0 {
			h.wake() // the reader makes room
		}
		return n == len(b), nil
	})
	return n, err
}

// end is one end of a connection.
type end struct {
	in, out       *half
	local, remote net.Addr
}

func (e *end) wrap(op string, err error) error {
	if err == nil || err == io.EOF { //nolint:errorlint // Read must return io.EOF itself
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: e.local, Addr: e.remote, Err: err}
}

// Read implements net.Conn.
func (e *end) Read(b []byte) (int, error) {
	n, err := e.in.read(b)
	return n, e.wrap("read", err)
}

// Write implements net.Conn. It waits while the buffer is full.
func (e *end) Write(b []byte) (int, error) {
	n, err := e.out.write(b)
	return n, e.wrap("write", err)
}

// Close implements net.Conn. The peer still reads what was written before.
func (e *end) Close() error {
	e.out.update(func() { e.out.finished = true })
	e.in.update(func() { e.in.gone, e.in.buf = true, nil })
	return nil
}

// CloseWrite ends our direction: the peer reads io.EOF.
func (e *end) CloseWrite() error {
	e.out.update(func() { e.out.finished = true })
	return nil
}

// LocalAddr implements net.Conn.
func (e *end) LocalAddr() net.Addr { return e.local }

// RemoteAddr implements net.Conn.
func (e *end) RemoteAddr() net.Addr { return e.remote }

// SetDeadline implements net.Conn.
func (e *end) SetDeadline(t time.Time) error {
	_ = e.SetReadDeadline(t)
	return e.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (e *end) SetReadDeadline(t time.Time) error {
	e.in.update(func() { e.in.readBy = t })
	return nil
}

// SetWriteDeadline implements net.Conn.
func (e *end) SetWriteDeadline(t time.Time) error {
	e.out.update(func() { e.out.writeBy = t })
	return nil
}
