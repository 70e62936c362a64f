package probe

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/tlsink/tlsink/inbound/check"
)

// forever writes b again and again, with a pause, until nobody reads any more.
func forever(conn net.Conn, b []byte, pause time.Duration) {
	for {
		if _, err := conn.Write(b); err != nil {
			return
		}
		if pause > 0 {
			time.Sleep(pause)
		}
	}
}

// Whatever a server does, a probe ends in a minute, and says what happened.
func TestHostileServers(t *testing.T) {
	line := strings.Repeat("x", 1<<20) + "\r\n"
	// after says hello first.
	after := func(f func(conn net.Conn)) func(net.Conn) {
		return func(conn net.Conn) {
			script(conn, []string{"220 mx", "250-mx"})
			f(conn)
		}
	}
	for name, c := range map[string]struct {
		do      func(conn net.Conn)
		reached check.Outcome
		why     string
	}{
		"floods before the greeting": {func(c net.Conn) { forever(c, []byte(line), 0) }, check.Untested, "a reply of more than"},
		"endless greeting":           {func(c net.Conn) { forever(c, []byte("220-hello\r\n"), 0) }, check.Untested, "a reply of more than"},
		"no end of line":             {func(c net.Conn) { forever(c, []byte("220 "), 0) }, check.Untested, "a reply of more than"},
		"dripping banner":            {func(c net.Conn) { forever(c, []byte("2"), time.Second) }, check.Untested, "no answer in time"},
		"dripping lines":             {func(c net.Conn) { forever(c, []byte("220-\r\n"), time.Second) }, check.Untested, "no answer in time"},
		"NULs":                       {func(c net.Conn) { forever(c, make([]byte, 1000), 0) }, check.Untested, "a reply of more than"},
		"NUL line":                   {func(c net.Conn) { forever(c, []byte("\x00\x00\x00\r\n"), 0) }, check.Untested, "not SMTP"},
		"another protocol":           {func(c net.Conn) { forever(c, []byte("SSH-2.0-x\r\n"), time.Second) }, check.Untested, "not SMTP"},
		"strange code":               {func(c net.Conn) { forever(c, []byte("999 hi\r\n"), time.Second) }, check.Untested, "999 hi (greeting)"},
		"silent":                     {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, check.Untested, "no answer in time"},
		"closes at once":             {func(net.Conn) {}, check.Untested, "connection closed"},
		"closes after half a line":   {func(c net.Conn) { _, _ = c.Write([]byte("220 mx")) }, check.Untested, "connection closed"},
		"endless EHLO":               {after(func(c net.Conn) { forever(c, []byte("250-X\r\n"), 0) }), check.Yes, "a reply of more than"},
		"dripping EHLO":              {after(func(c net.Conn) { forever(c, []byte("250-X\r\n"), time.Second) }), check.Yes, "no answer in time"},
		"megabyte keyword":           {after(func(c net.Conn) { forever(c, []byte("250-"+line), 0) }), check.Yes, "a reply of more than"},
		"closes in EHLO":             {after(func(net.Conn) {}), check.Yes, "connection closed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				s := &server{take: func(_ int, conn net.Conn) bool { c.do(conn); return true }}
				got := s.probe(t, nil)
				if got.Reached.Outcome != c.reached || !strings.Contains(reasons(got), c.why) || got.Connections != 1 {
					t.Errorf("%s, %d connections\n%s", short(got), got.Connections, reasons(got))
				}
				if got.StartTLS.Outcome != check.Untested || got.Mandatory.Outcome != check.Untested {
					t.Errorf("%s", short(got))
				}
				if d := time.Since(start); d > time.Minute+time.Second {
					t.Errorf("took %v", d)
				}
			})
		})
	}
}

// A tarpit that answers each command just in time holds no probe for longer than
// the time for one server.
func TestTarpit(t *testing.T) {
	root, key := newRoot(t), ecdsaKey(t)
	synctest.Test(t, func(t *testing.T) {
		slow := &server{tls: root.config(t, key)}
		slow.take = func(n int, conn net.Conn) bool {
			slow.serve(n, sluggish{conn, 9 * time.Second})
			return true
		}
		start := time.Now()
		got := slow.probe(t, root.pool())
		// Its last answer may come after we left.
		if d := time.Since(start); d < time.Minute || d > time.Minute+9*time.Second {
			t.Errorf("took %v", d)
		}
		if !strings.Contains(reasons(got), errTotal.Error()) || got.StartTLS.Failed() || got.ForwardSecrecy.Outcome != check.Untested {
			t.Errorf("%s\n%s", short(got), reasons(got))
		}
		for _, v := range got.Versions {
			if v.Accepted.Failed() {
				t.Errorf("%+v", v)
			}
		}
	})
}

// sluggish waits before it writes.
type sluggish struct {
	net.Conn
	wait time.Duration
}

func (s sluggish) Write(b []byte) (int, error) {
	time.Sleep(s.wait)
	return s.Conn.Write(b)
}

func TestHugeHandshakes(t *testing.T) {
	root, key := newRoot(t), ecdsaKey(t)
	for name, c := range map[string]struct {
		config func() *tls.Config
		chain  int // certificates that are kept
		note   string
	}{
		"a hundred certificates": {func() *tls.Config {
			c := root.config(t, key)
			for range 99 {
				c.Certificates[0].Certificate = append(c.Certificates[0].Certificate, root.cert.Raw)
			}
			return c
		}, maxCerts, "more than 10 certificates"},
		"more than is read": {func() *tls.Config {
			c := root.config(t, key)
			big := root.leaf(t, func(c *x509.Certificate) { c.DNSNames = []string{strings.Repeat("a", 120<<10)} })
			c.Certificates[0].Certificate = append(c.Certificates[0].Certificate, big.Raw)
			return c
		}, 0, "could not be seen"},
		"a key that takes long": {func() *tls.Config {
			c := root.config(t, key)
			long := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 100_000, 1), E: 1<<31 - 1}
			c.Certificates[0].Certificate = append(c.Certificates[0].Certificate, root.sign(t, caTemplate("Long"), long).Raw)
			return c
		}, 1, "a key of more than 8192 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{tls: c.config()}
				got := s.probe(t, root.pool())
				if len(got.Chain) != c.chain || !got.StartTLS.OK() || !strings.Contains(reasons(got), c.note) {
					t.Errorf("%d certificates, %s\n%s", len(got.Chain), short(got), reasons(got))
				}
			})
		})
	}
}

// After the handshake a server may say anything, too.
func TestFloodAfterHandshake(t *testing.T) {
	root, key := newRoot(t), ecdsaKey(t)
	synctest.Test(t, func(t *testing.T) {
		config := root.config(t, key)
		s := &server{handshake: func(_ int, conn net.Conn) {
			secure := tls.Server(conn, config)
			if secure.Handshake() == nil {
				forever(secure, bytes.Repeat([]byte("x"), 1<<14), 0)
			}
		}}
		got := s.probe(t, root.pool())
		if !got.StartTLS.OK() || !got.Certificate.Valid().OK() {
			t.Errorf("%s\n%s", short(got), reasons(got))
		}
	})
}

// Nothing that a server says gets out as it is.
func TestCleanText(t *testing.T) {
	root, key := newRoot(t), ecdsaKey(t)
	evil := "\x1b[31m\u202e\x00\xff" + strings.Repeat("€", 1000)
	for name, s := range map[string]*server{
		"greeting": {greeting: "220 " + evil + "\r\n"},
		"refusal":  {greeting: "554 " + evil + "\r\n"},
		"EHLO":     {replies: map[string]string{"EHLO": "550 " + evil + "\r\n"}},
		"MAIL":     {replies: map[string]string{"MAIL": "550 " + evil + "\r\n"}},
		"STARTTLS": {replies: map[string]string{"STARTTLS": "550 " + evil + "\r\n"}},
		"keyword":  {ehlo: "250-x\r\n250 XXXXXXXXX" + evil + "\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s.tls = root.config(t, key)
				got := s.probe(t, root.pool())
				for _, text := range append(strings.Split(reasons(got), "\n"), got.Greeting) {
					bad := strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
					if bad || len([]rune(text)) > 2*maxText {
						t.Errorf("%d characters: %q", len([]rune(text)), text)
					}
				}
			})
		})
	}
}
