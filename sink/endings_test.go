package sink_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink"
)

// facts are what tells connections apart that ended early.
type facts struct {
	Status      evidence.Status
	Ending      evidence.Ending
	Server      int
	Destination string
	Stage       evidence.Stage
	Certificate string
	TLSA        string
	Alert       string
}

func factsOf(c evidence.Connection) facts {
	f := facts{Status: c.Status, Ending: c.Ending, Server: c.Server, Destination: c.Destination}
	if c.TLS != nil {
		f.Stage, f.Certificate, f.TLSA = c.TLS.Stage, c.TLS.Certificate, c.TLS.TLSA
		if c.TLS.Alert != nil {
			f.Alert = *c.TLS.Alert
		}
	}
	return f
}

// leave closes the TCP connection below TLS without a word.
func leave(c *client) {
	if tc, ok := c.Conn.(*tls.Conn); ok {
		_ = tc.NetConn().Close()
		return
	}
	_ = c.Close()
}

func reset(c *client) {
	raw := c.Conn
	if tc, ok := raw.(*tls.Conn); ok {
		raw = tc.NetConn()
	}
	_ = raw.(*net.TCPConn).SetLinger(0)
	_ = raw.Close()
}

// verifying is a client that checks our certificate within the handshake.
func verifying(sni string, version uint16) *tls.Config {
	return &tls.Config{ServerName: sni, RootCAs: x509.NewCertPool(), MinVersion: version, MaxVersion: version}
}

func TestEndings(t *testing.T) {
	mx04, mx05, ut := host(scenario.MX04), host(scenario.MX05), host(scenario.UT)
	before, certificate, finished := evidence.StageBeforeCertificate, evidence.StageCertificate, evidence.StageFinished
	for name, c := range map[string]struct {
		play func(c *client)
		want facts
	}{
		"FIN before the greeting is read": {
			func(c *client) { c.halfClose(); drain(c.Conn) },
			facts{Status: "None", Ending: "fin", Server: 1, Destination: "unknown"},
		},
		"quit at once": {
			func(c *client) { c.expect(220); c.cmd("QUIT", 221) },
			facts{Status: "None", Ending: "quit", Server: 1, Destination: "unknown"},
		},
		"quit after EHLO": {
			func(c *client) { c.hello(); c.cmd("quit", 221) },
			facts{Status: "None", Ending: "quit", Server: 1, Destination: "unknown"},
		},
		"reset": {
			func(c *client) { c.hello(); reset(c) },
			facts{Status: "None", Ending: "reset", Server: 1, Destination: "unknown"},
		},
		"FIN after MAIL": {
			func(c *client) { c.hello(); c.cmd("MAIL FROM:<>", 250); leave(c) },
			facts{Status: "Mail", Ending: "fin", Server: 1, Destination: "unknown"},
		},
		"FIN within DATA": {
			func(c *client) { c.hello(); c.mail("de@ut.sink.example"); c.send("half a li"); leave(c) },
			facts{Status: "Mail", Ending: "fin", Server: 7, Destination: "ut"},
		},
		"FIN within BDAT LAST": {func(c *client) {
			c.hello()
			c.cmd("MAIL FROM:<>", 250)
			c.cmd("RCPT TO:<en@et.sink.example>", 250)
			c.send("BDAT 100 LAST\r\nhalf a chunk")
			leave(c)
		}, facts{Status: "Mail", Ending: "fin", Server: 1, Destination: "et"}},
		"FIN instead of ClientHello": {
			func(c *client) { c.hello(); c.cmd("STARTTLS", 220); leave(c) },
			facts{Status: "None", Ending: "fin", Server: 2, Destination: "unknown", Stage: before},
		},
		"plaintext instead of ClientHello": {func(c *client) {
			c.hello()
			c.cmd("STARTTLS", 220)
			c.send("MAIL FROM:<j@sender.example>\r\n")
			drain(c.Conn)
		}, facts{Status: "None", Ending: "server", Server: 2, Destination: "unknown", Stage: before}},
		"alert TLS 1.3, in the handshake": {
			func(c *client) { c.mustFail(c.starttls(verifying(mx04, tls.VersionTLS13))) },
			facts{Status: "SniSeen", Ending: "alert", Server: 4, Destination: "et", Stage: certificate, Certificate: "self-signed", TLSA: "match", Alert: "bad certificate"},
		},
		"alert TLS 1.2, in the handshake": {
			func(c *client) { c.mustFail(c.starttls(verifying(mx05, tls.VersionTLS12))) },
			facts{Status: "SniSeen", Ending: "alert", Server: 5, Destination: "et", Stage: certificate, Certificate: "ca", TLSA: "mismatch", Alert: "bad certificate"},
		},
		"no version in common": {func(c *client) {
			c.hello()
			c.cmd("STARTTLS", 220)
			c.send(string(sslv3Hello))
			drain(c.Conn)
		}, facts{Status: "None", Ending: "server", Server: 2, Destination: "unknown", Stage: before}},
		"FIN after our certificate": {func(c *client) {
			c.hello()
			c.cmd("STARTTLS", 220)
			config := insecure(ut)
			config.VerifyConnection = func(tls.ConnectionState) error { c.halfClose(); return errors.New("leaving") }
			c.abandon(muteAfterHello{c.Conn}, config)
		}, facts{Status: "SniSeen", Ending: "fin", Server: 7, Destination: "ut", Stage: certificate, Certificate: "ca", TLSA: "none"}},
		"alert in the clear within TLS 1.3": {func(c *client) {
			c.hello()
			c.cmd("STARTTLS", 220)
			config := insecure(mx04)
			config.VerifyConnection = func(tls.ConnectionState) error {
				c.send("\x15\x03\x03\x00\x02\x02\x30") // as OpenSSL does
				return errors.New("leaving")
			}
			c.abandon(muteAfterHello{c.Conn}, config)
		}, facts{Status: "SniSeen", Ending: "alert", Server: 4, Destination: "et", Stage: certificate, Certificate: "self-signed", TLSA: "match", Alert: "unknown certificate authority"}},
		"FIN after our HelloRetryRequest": {
			func(c *client) {
				c.hello()
				c.cmd("STARTTLS", 220)
				config := insecure(mx04)
				config.MinVersion, config.CurvePreferences = tls.VersionTLS13, []tls.CurveID{tls.CurveP256}
				hello := clientFlight(c, config)
				// A key share of an unknown group: ours is yet to be asked for.
				share, unknown := []byte{0, 23, 0, 65, 4}, []byte{0x7a, 0x7a, 0, 65, 4}
				c.send(string(bytes.Replace(hello, share, unknown, 1)))
				if b, err := c.r.R.ReadByte(); b != 22 || err != nil {
					c.Errorf("no HelloRetryRequest: record type %d, %v", b, err)
				}
				c.halfClose()
				drain(c.r.R)
			},
			facts{Status: "SniSeen", Ending: "fin", Server: 4, Destination: "et", Stage: before},
		},
		"close_notify after the handshake": {
			func(c *client) {
				c.secured(mx04)
				_ = c.Conn.(*tls.Conn).CloseWrite()
				drain(c.Conn)
			},
			facts{Status: "TlsStarted", Ending: "close_notify", Server: 4, Destination: "et", Stage: finished, Certificate: "self-signed", TLSA: "match"},
		},
		"bare FIN after the handshake": {
			func(c *client) { c.secured(mx04); leave(c) },
			facts{Status: "TlsStarted", Ending: "fin", Server: 4, Destination: "et", Stage: finished, Certificate: "self-signed", TLSA: "match"},
		},
		"reset after the handshake": {
			func(c *client) { c.secured(mx04); reset(c) },
			facts{Status: "TlsStarted", Ending: "reset", Server: 4, Destination: "et", Stage: finished, Certificate: "self-signed", TLSA: "match"},
		},
		"QUIT inside TLS, no SNI": {
			func(c *client) { c.secured(""); c.cmd("QUIT", 221) },
			facts{Status: "TlsStarted", Ending: "quit", Server: 2, Destination: "unknown", Stage: finished, Certificate: "self-signed", TLSA: "unknown"},
		},
		"unknown SNI": {
			func(c *client) { c.secured("mx.elsewhere.example"); c.cmd("QUIT", 221) },
			facts{Status: "TlsStarted", Ending: "quit", Server: 2, Destination: "unknown", Stage: finished, Certificate: "self-signed", TLSA: "unknown"},
		},
		"no SNI, recipient at et": {func(c *client) {
			c.secured("")
			c.cmd("EHLO x", 250)
			c.cmd("MAIL FROM:<>", 250)
			c.cmd("RCPT TO:<en@et.sink.example>", 250)
			c.cmd("QUIT", 221)
		}, facts{Status: "Mail", Ending: "quit", Server: 2, Destination: "et", Stage: finished, Certificate: "self-signed", TLSA: "mismatch"}},
		"no SNI, recipient at ut": {func(c *client) {
			c.secured("")
			c.cmd("EHLO x", 250)
			c.cmd("MAIL FROM:<>", 250)
			c.cmd("RCPT TO:<en@ut.sink.example>", 250)
			c.cmd("QUIT", 221)
		}, facts{Status: "Mail", Ending: "quit", Server: 7, Destination: "ut", Stage: finished, Certificate: "self-signed", TLSA: "none"}},
		"SNI wins over a recipient that disagrees": {func(c *client) {
			c.secured(mx05)
			c.cmd("EHLO x", 250)
			c.cmd("MAIL FROM:<>", 250)
			c.cmd("RCPT TO:<en@ut.sink.example>", 250)
			c.cmd("QUIT", 221)
		}, facts{Status: "Mail", Ending: "quit", Server: 5, Destination: "ut", Stage: finished, Certificate: "ca", TLSA: "mismatch"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, evidence.Secure)
			client := f.dial(t, f.listen(t))
			c.play(client)
			got := f.director.next(t)
			if d := cmp.Diff(c.want, factsOf(got)); d != "" {
				t.Errorf("(-want +got):\n%s\n%s", d, join(got.Replies, got.TLS))
			}
			for _, tx := range got.Transactions {
				if tx.Data || tx.Reply != 0 {
					t.Errorf("nothing was transferred: %+v", tx)
				}
			}
			if got.TLS != nil && got.TLS.Complete != (got.TLS.Stage == finished) {
				t.Error("complete and stage disagree")
			}
		})
	}
}

// muteAfterHello lets the ClientHello through and nothing else.
type muteAfterHello struct{ net.Conn }

func (m muteAfterHello) Write(b []byte) (int, error) {
	if len(b) > 5 && b[0] == 22 && b[5] == 1 {
		return m.Conn.Write(b)
	}
	return len(b), nil
}

// sslv3Hello is a ClientHello of SSL 3.0.
var sslv3Hello = func() []byte {
	hello := append([]byte{3, 0}, make([]byte, 32)...)
	hello = append(hello, 0, 0, 2, 0, 5, 1, 0)
	handshake := append([]byte{1, 0, 0, byte(len(hello))}, hello...)
	return append([]byte{22, 3, 0, 0, byte(len(handshake))}, handshake...)
}()

// A TLS 1.3 client that checks late finishes the handshake and then sends its alert.
func TestAlertAfterTheHandshake(t *testing.T) {
	f := newFixture(t, evidence.Secure)
	c := f.dial(t, f.listen(t))
	spoil := &spoiler{Conn: c.Conn}
	c.hello()
	c.cmd("STARTTLS", 220)
	tc := tls.Client(spoil, insecure(host(scenario.MX05)))
	if err := tc.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(tc, "EHLO mta.sender.example\r\n"); err != nil {
		t.Fatal(err)
	}
	// A record that crypto/tls cannot decrypt makes the client send an alert.
	spoil.spoil = true
	drain(tc)
	got := factsOf(f.director.next(t))
	want := facts{Status: "TlsStarted", Ending: "alert", Server: 5, Destination: "et", Stage: evidence.StageFinished, Certificate: "ca", TLSA: "mismatch", Alert: "bad record MAC"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// spoiler changes the last octet that is read.
type spoiler struct {
	net.Conn
	spoil bool
}

func (s *spoiler) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if s.spoil && n > 0 {
		b[n-1] ^= 1
	}
	return n, err
}

func TestTimeouts(t *testing.T) {
	short := func(o *sink.Options) {
		o.Limits.CommandTimeout, o.Limits.DataTimeout, o.Limits.Handshake = time.Millisecond, time.Millisecond, time.Millisecond
	}
	for name, play := range map[string]func(c *client){
		"silent":       func(c *client) { c.expect(220); c.expect(421) },
		"half a line":  func(c *client) { c.expect(220); c.send("EH"); c.expect(421) },
		"in handshake": func(c *client) { c.send("EHLO x\r\nSTARTTLS\r\n"); drain(c.Conn) },
		"within a mail": func(c *client) {
			c.send("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<en@et.sink.example>\r\nDATA\r\nx")
			drain(c.Conn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, evidence.Secure, short)
			c := f.dial(t, f.listen(t))
			play(c)
			if got := f.director.next(t); got.Ending != evidence.EndingTimeout || got.Data {
				t.Errorf("ending %s, data %v, want timeout without data", got.Ending, got.Data)
			}
		})
	}
}

func TestSessionTimeIsBounded(t *testing.T) {
	f := newFixture(t, evidence.Secure, func(o *sink.Options) { o.Limits.SessionTime = time.Millisecond })
	c := f.dial(t, f.listen(t))
	c.expect(220)
	c.expect(421)
	if got := f.director.next(t); got.Ending != evidence.EndingServer {
		t.Errorf("ending %s, want server", got.Ending)
	}
}

// What a half-closed client sent is answered before we leave.
func TestHalfClosedClient(t *testing.T) {
	f := newFixture(t, evidence.Downgrade)
	c := f.dial(t, f.listen(t))
	c.send("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<en@et.sink.example>\r\nDATA\r\n" + body)
	c.halfClose()
	for _, code := range []int{220, 250, 250, 250, 354, 451} {
		c.expect(code)
	}
	c.eof()
	if got := f.director.next(t); got.Ending != evidence.EndingFIN || !got.Data {
		t.Errorf("ending %s, data %v", got.Ending, got.Data)
	}
}

func TestConnectionsAsJSONLines(t *testing.T) {
	f := newFixture(t, evidence.Secure)
	addr := f.listen(t)
	var h evidence.History
	h.Test = evidence.Test{ID: "demo", Zone: zone}
	for _, sni := range []string{"", host(scenario.MX04), host(scenario.UT)} {
		c := f.dial(t, addr)
		c.secured(sni)
		c.cmd("EHLO x", 250)
		c.mail("en@et.sink.example")
		c.send(body)
		c.expect(451)
		c.cmd("QUIT", 221)
		h.Connections = append(h.Connections, f.director.next(t))
	}
	var out bytes.Buffer
	if err := evidence.WriteHistory(&out, h); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), `"type":"connection"`); n != 3 {
		t.Errorf("%d lines of connections, want 3", n)
	}
	again, err := evidence.ReadHistory(&out)
	if err != nil {
		t.Fatal(err)
	}
	var servers []int
	for _, c := range again.Connections {
		servers = append(servers, c.Server)
	}
	if d := cmp.Diff([]int{2, 4, 7}, servers); d != "" {
		t.Errorf("servers (-want +got):\n%s", d)
	}
}
