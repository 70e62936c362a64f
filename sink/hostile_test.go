package sink_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink"
)

// A client that does not wait for 221 said QUIT nevertheless.
func TestQuitWithoutWaiting(t *testing.T) {
	f := newFixture(t, evidence.Secure)
	c := f.dial(t, f.listen(t))
	c.secured(host(scenario.MX03))
	c.send("QUIT\r\n")
	leave(c)
	if got := f.director.next(t); got.Ending != evidence.EndingQuit {
		t.Errorf("ending %s, want quit", got.Ending)
	}
}

// The status is the furthest that was reached, also when TLS comes late.
func TestStatusNeverGoesBack(t *testing.T) {
	f := newFixture(t, evidence.Secure)
	c := f.dial(t, f.listen(t))
	c.hello()
	c.cmd("MAIL FROM:<>", 250)
	c.cmd("RSET", 250)
	c.cmd("STARTTLS", 220)
	if err := c.handshake(insecure(host(scenario.MX04))); err != nil {
		t.Fatal(err)
	}
	c.cmd("QUIT", 221)
	got := f.director.next(t)
	if got.Status != evidence.StatusMail || got.Transactions[0].TLS {
		t.Errorf("status %s, transactions %+v", got.Status, got.Transactions)
	}
}

type panicking struct{ *memory }

func (panicking) Inspect(context.Context, netip.Addr, string, *evidence.Transaction, io.Reader) error {
	panic("hostile header")
}

func TestPanicWhileReadingAMessage(t *testing.T) {
	for name, data := range map[string]string{"DATA": "DATA\r\nx\r\n.\r\n", "BDAT": "BDAT 3 LAST\r\nabc"} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, evidence.Secure, func(o *sink.Options) { o.Inspector = panicking{} })
			codes := play(t, f, "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<en@et.sink.example>\r\n"+data)
			if got := codes[len(codes)-1]; got != "421" {
				t.Errorf("reply %s, want 421", got)
			}
			if got := f.director.next(t); got.Ending != evidence.EndingServer {
				t.Errorf("ending %s, want server", got.Ending)
			}
		})
	}
}

// IPv6 clients are counted by /64, IPv4 clients by address.
func TestClientsAreCountedByNetwork(t *testing.T) {
	for name, c := range map[string]struct {
		first, second string
		refused       bool
	}{
		"same IPv4":        {"192.0.2.10", "192.0.2.10", true},
		"other IPv4":       {"192.0.2.10", "192.0.2.11", false},
		"IPv4 in IPv6":     {"192.0.2.10", "::ffff:192.0.2.10", true},
		"same /64":         {"2001:db8::1", "2001:db8::2", true},
		"other /64":        {"2001:db8::1", "2001:db8:0:1::1", false},
		"IPv4 beside IPv6": {"192.0.2.10", "2001:db8::1", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, evidence.Secure, func(o *sink.Options) { o.Limits.PerClient = 1 })
			connect := func(ip string) *client {
				server, remote := pipeFrom(ip)
				t.Cleanup(func() { _ = remote.Close() })
				go f.server.ServeConn(t.Context(), server)
				return newClient(t, remote)
			}
			connect(c.first).expect(220)
			want := 220
			if c.refused {
				want = 421
			}
			connect(c.second).expect(want)
		})
	}
}

// clientFlight returns what a TLS client sends first.
func clientFlight(tb testing.TB, config *tls.Config) []byte {
	tb.Helper()
	server, remote := pipe()
	go tls.Client(remote, config).HandshakeContext(tb.Context()) //nolint:errcheck // it never ends well
	b := make([]byte, 16<<10)
	n, err := server.Read(b)
	_ = server.Close()
	if err != nil {
		tb.Fatal(err)
	}
	return b[:n]
}

// Whatever a client sends, in whatever pieces: no panic, one record, one
// Closed, and nothing accepted that was not ours.
func FuzzSession(f *testing.F) {
	hello := clientFlight(f, insecure(host(scenario.MX04)))
	for _, s := range []string{
		"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<en@et.sink.example>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n",
		"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<postmaster>\r\nBDAT 3\r\nabcBDAT 0 LAST\r\n",
		"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<en4k7w2q9mxa@ut1.sink.example>\r\nBDAT 9\r\nabRSET\r\n",
		"EHLO x\r\nSTARTTLS\r\n" + string(hello), "EHLO x\r\nSTARTTLS\r\n" + string(sslv3Hello), "EHLO x\r\nSTARTTLS\r\n\x15\x03\x01\x00\x02\x02\x28",
	} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		x := newFixture(t, evidence.Secure)
		server, remote := pipe()
		done := make(chan struct{})
		go func() { x.server.ServeConn(t.Context(), server); close(done) }()
		rnd := rand.New(rand.NewPCG(seed, 3))
		for rest := in; len(rest) > 0; {
			n := 1 + rnd.IntN(len(rest))
			if _, err := remote.Write(rest[:n]); err != nil {
				break
			}
			rest = rest[n:]
		}
		_ = remote.(interface{ CloseWrite() error }).CloseWrite()
		drain(remote)
		<-done
		got := x.director.next(t)
		if x.director.closed[got.ID] != 1 || x.director.accepted[got.ID] != 1 {
			t.Error("Closed must be called exactly once")
		}
		if got.Ending == "" || got.Ending == evidence.EndingOpen {
			t.Errorf("ending %q", got.Ending)
		}
		for _, rcpt := range got.RcptTo {
			if !bytes.HasSuffix(bytes.ToLower([]byte(rcpt)), []byte("."+zone)) {
				t.Errorf("accepted %q", rcpt)
			}
		}
		if n := len(x.director.snapshots); n > 0 && !got.Data {
			t.Errorf("%d messages, none recorded", n)
		}
	})
}
