package memnet_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/internal/memnet"
)

var (
	server = netip.MustParseAddrPort("192.0.2.25:25")
	client = netip.MustParseAddr("192.0.2.10")
)

func pipe() (a, b net.Conn) {
	return memnet.Pipe(server, netip.AddrPortFrom(client, 40000))
}

func TestPipeCarriesMoreThanItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe()
		sent := make([]byte, 3<<20)
		_, _ = rand.Read(sent)
		go func() {
			if n, err := a.Write(sent); n != len(sent) || err != nil {
				t.Errorf("wrote %d: %v", n, err)
			}
			_ = a.Close()
		}()
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("read %d octets: %v", len(got), err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	for name, c := range map[string]struct {
		set func(c net.Conn, t time.Time) error
		use func(c net.Conn) error
	}{
		"read":  {net.Conn.SetReadDeadline, func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }},
		"write": {net.Conn.SetWriteDeadline, func(c net.Conn) error { _, err := c.Write(make([]byte, 1<<20)); return err }},
		"both":  {net.Conn.SetDeadline, func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _ := pipe()
				start := time.Now()
				if err := c.set(a, start.Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
				// It can be moved while somebody waits.
				time.AfterFunc(time.Minute, func() { _ = c.set(a, start.Add(2*time.Minute)) })
				err := c.use(a)
				if ne, ok := errors.AsType[net.Error](err); !errors.Is(err, os.ErrDeadlineExceeded) || !ok || !ne.Timeout() {
					t.Errorf("error %v", err)
				}
				if d := time.Since(start); d != 2*time.Minute {
					t.Errorf("after %v", d)
				}
			})
		})
	}
}

func TestEndings(t *testing.T) {
	for name, c := range map[string]struct {
		end         func(a, b net.Conn)
		read, write error // at b
	}{
		"peer closed":        {func(a, _ net.Conn) { _ = a.Close() }, io.EOF, syscall.EPIPE},
		"peer closed to us":  {func(a, _ net.Conn) { _ = a.(interface{ CloseWrite() error }).CloseWrite() }, io.EOF, nil},
		"closed ourselves":   {func(_, b net.Conn) { _ = b.Close() }, net.ErrClosed, net.ErrClosed},
		"closed one way":     {func(_, b net.Conn) { _ = b.(interface{ CloseWrite() error }).CloseWrite() }, os.ErrDeadlineExceeded, net.ErrClosed},
		"closed by deadline": {func(_, b net.Conn) { _ = b.SetDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe()
				_ = b.SetReadDeadline(time.Now().Add(time.Hour))
				time.AfterFunc(time.Minute, func() { c.end(a, b) })
				// A reader that waits is woken.
				if _, err := b.Read(make([]byte, 1)); !errors.Is(err, c.read) {
					t.Errorf("read: %v, want %v", err, c.read)
				}
				if _, err := b.Write([]byte("x")); !errors.Is(err, c.write) {
					t.Errorf("write: %v, want %v", err, c.write)
				}
			})
		})
	}
}

func TestWhatWasWrittenBeforeCloseIsRead(t *testing.T) {
	a, b := pipe()
	if _, err := a.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
		t.Errorf("read %q: %v", got, err)
	}
}

func TestNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memnet.Network
		dial := n.Dialer(client)
		if _, err := dial(t.Context(), "tcp", server.String()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial before listen: %v", err)
		}
		l, err := n.Listen(server)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Listen(server); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listen twice: %v", err)
		}
		if _, err := dial(t.Context(), "tcp", "host:25"); err == nil {
			t.Error("dialled a name")
		}
		c, err := dial(t.Context(), "tcp", server.String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := netip.MustParseAddrPort(s.RemoteAddr().String()); got.Addr() != client || c.LocalAddr().String() != s.RemoteAddr().String() {
			t.Errorf("client is %v here and %v there", s.RemoteAddr(), c.LocalAddr())
		}
		if s.LocalAddr().String() != server.String() || c.RemoteAddr().String() != server.String() {
			t.Errorf("server is %v here and %v there", s.LocalAddr(), c.RemoteAddr())
		}
		waiting, err := dial(t.Context(), "tcp", server.String())
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Minute, func() { _ = l.Close() })
		if _, err := waiting.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // must be itself
			t.Errorf("never accepted: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after close: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := dial(ctx, "tcp", server.String()); !errors.Is(err, context.Canceled) {
			t.Errorf("dial after the end: %v", err)
		}
		if _, err := n.Listen(server); err != nil {
			t.Errorf("listen again: %v", err)
		}
	})
}
