package deliver_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/deliver"
)

// Attempts run in a bubble, over in-memory connections, with its clock.
func TestAttemptInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, newPKI(t))
		w.hosts("mx05", "mx06")
		w.opts.Dial = w.server.pipe
		r := w.sender(t, named(t, "dane")).Attempt(t.Context(), mail("et.sink.example"))
		if seen := w.server.seen(); !r.Delivered || letter(r.Tries[0]) != "r" || len(seen) != 2 || seen[0].End != "quit" {
			t.Errorf("got %+v, seen %+v", r, seen)
		}
	})
}

// A server that says nothing costs the time of RFC 5321 §4.5.3.2, not more.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, newPKI(t))
		w.hosts("mx06")
		w.opts.Dial = func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			t.Cleanup(func() { _ = server.Close() })
			return client, nil
		}
		start := time.Now()
		r := w.sender(t, named(t, "may")).Attempt(t.Context(), mail("et.sink.example"))
		if d := time.Since(start); d != 5*time.Minute || r.Tries[0].Outcome != deliver.Broken || !r.Temporary {
			t.Errorf("after %v: %+v", d, r)
		}
	})
}
