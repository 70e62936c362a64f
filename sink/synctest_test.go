package sink_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/internal/memnet"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink"
)

// pipe returns two ends of a connection in memory, whose clock is that of the
// bubble it is made in.
func pipe() (server, client net.Conn) { return pipeFrom("192.0.2.10") }

// pipeFrom is pipe for a client at ip.
func pipeFrom(ip string) (server, client net.Conn) {
	return memnet.Pipe(netip.MustParseAddrPort("192.0.2.25:25"), netip.AddrPortFrom(netip.MustParseAddr(ip), 40000))
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
