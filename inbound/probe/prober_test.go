package probe

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/inbound/check"
)

const (
	tls10 = tls.VersionTLS10
	tls11 = tls.VersionTLS11
	tls12 = tls.VersionTLS12
	tls13 = tls.VersionTLS13
)

func TestVersionsAndForwardSecrecy(t *testing.T) {
	root, key := newRoot(t), rsaKey(t)
	for name, c := range map[string]struct {
		edit []func(*tls.Config)
		want string
		conn int
	}{
		"1.0 only": {
			[]func(*tls.Config){versions(tls10, tls10)},
			"fs=yes [1.3=no 1.2=no 1.1=no 1.0=yes SSLv3=no]", 5,
		},
		"1.1 only": {
			[]func(*tls.Config){versions(tls11, tls11)},
			"fs=yes [1.3=no 1.2=no 1.1=yes 1.0=no SSLv3=no]", 6,
		},
		"1.2 only": {
			[]func(*tls.Config){versions(tls12, tls12)},
			"fs=yes [1.3=no 1.2=yes 1.1=no 1.0=no SSLv3=no]", 6,
		},
		"1.3 only": {
			[]func(*tls.Config){versions(tls13, tls13)},
			"fs=yes [1.3=yes 1.2=no 1.1=no 1.0=no SSLv3=no]", 5,
		},
		"1.2 and 1.3": {
			[]func(*tls.Config){versions(tls12, tls13)},
			"fs=yes [1.3=yes 1.2=yes 1.1=no 1.0=no SSLv3=no]", 6,
		},
		"all": {
			[]func(*tls.Config){versions(tls10, tls13)},
			"fs=yes [1.3=yes 1.2=yes 1.1=yes 1.0=yes SSLv3=no]", 6,
		},
		"1.3, and 1.2 with RSA key exchange beside": {
			[]func(*tls.Config){versions(tls12, tls13), withSuites(
				tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_128_CBC_SHA)},
			"fs=no [1.3=yes 1.2=yes 1.1=no 1.0=no SSLv3=no]", 6,
		},
		"1.2 with RC4 alone": {
			[]func(*tls.Config){versions(tls12, tls12), withSuites(tls.TLS_RSA_WITH_RC4_128_SHA)},
			"fs=no [1.3=no 1.2=yes 1.1=no 1.0=no SSLv3=no]", 5,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{tls: root.config(t, key, c.edit...)}
				got := s.probe(t, root.pool())
				want := "reached=yes starttls=yes mandatory=no " + c.want
				if short(got) != want || got.Connections != c.conn {
					t.Errorf("got  %s, %d connections\nwant %s, %d\n%s", short(got), got.Connections, want, c.conn, reasons(got))
				}
				if v := got.Certificate.Valid(); !v.OK() {
					t.Errorf("certificate: %+v", v)
				}
				for _, v := range got.Versions {
					if v.Accepted.OK() != (v.Suite != "") {
						t.Errorf("suite of %+v", v)
					}
				}
				if s.said("QUIT") != 1 || s.said("EHLO probe.example.net") != got.Connections {
					t.Errorf("commands %q", s.commands)
				}
			})
		})
	}
}

func TestFirstDialogue(t *testing.T) {
	root, key := newRoot(t), ecdsaKey(t)
	const all = "[1.3=yes 1.2=yes 1.1=no 1.0=no SSLv3=no]"
	for name, c := range map[string]struct {
		server *server
		plain  bool // no STARTTLS
		want   string
		why    string
		conn   int
	}{
		"multiline greeting": {
			&server{greeting: "220-mx.example.org\r\n220-no spam\r\n220 please\r\n"}, false,
			"reached=yes starttls=yes mandatory=no fs=yes " + all, "", 6,
		},
		"closed": {
			&server{dial: func(int) error { return &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED} }}, false,
			"reached=untested starttls=untested mandatory=untested fs=untested []", "connection refused", 1,
		},
		"refuses for now": {
			&server{greeting: "421 4.7.0 too busy\r\n"}, false,
			"reached=untested starttls=untested mandatory=untested fs=untested []", "421 4.7.0 too busy", 1,
		},
		"refuses us": {
			&server{greeting: "554-no\r\n554 service\r\n"}, false,
			"reached=untested starttls=untested mandatory=untested fs=untested []", "554 no service", 1,
		},
		"no STARTTLS": {
			&server{}, true,
			"reached=yes starttls=no mandatory=no fs= []", "does not offer STARTTLS", 1,
		},
		"keyword overwritten": {
			&server{ehlo: "250-mx\r\n250-XXXXXXXA\r\n250 SIZE\r\n"}, true,
			"reached=yes starttls=untested mandatory=untested fs= []", "overwritten the offer of STARTTLS (XXXXXXXA)", 1,
		},
		"STARTTLS in the first line is a name": {
			&server{ehlo: "250 STARTTLS\r\n"}, true,
			"reached=yes starttls=no mandatory=no fs= []", "", 1,
		},
		"only HELO": {
			&server{replies: map[string]string{"EHLO": "502 what?\r\n"}}, false,
			"reached=yes starttls=no mandatory=no fs= []", "502 what?", 1,
		},
		"neither EHLO nor HELO": {
			&server{replies: map[string]string{"EHLO": "550 you are listed\r\n", "HELO": "550 no\r\n"}}, false,
			"reached=yes starttls=untested mandatory=untested fs=untested []", "550 you are listed", 1,
		},
		"EHLO refused to us, HELO not": {
			&server{replies: map[string]string{"EHLO": "554 5.7.1 you are listed\r\n"}}, false,
			"reached=yes starttls=untested mandatory=untested fs=untested []", "554 5.7.1 you are listed", 1,
		},
		"STARTTLS refused to us": {
			&server{replies: map[string]string{"STARTTLS": "554 5.7.1 Client host rejected\r\n"}}, false,
			"reached=yes starttls=untested mandatory=no fs=untested []", "554 5.7.1 Client host rejected", 2,
		},
		"EHLO later": {
			&server{replies: map[string]string{"EHLO": "450 later\r\n"}}, false,
			"reached=yes starttls=untested mandatory=untested fs=untested []", "450 later", 1,
		},
		"STARTTLS not now": {
			&server{replies: map[string]string{"STARTTLS": "454 TLS not available\r\n"}}, false,
			"reached=yes starttls=untested mandatory=no fs=untested []", "454 TLS not available", 2,
		},
		"STARTTLS offered and refused": {
			&server{replies: map[string]string{"STARTTLS": "502 not implemented\r\n"}}, false,
			"reached=yes starttls=no mandatory=no fs= []", "502 not implemented", 2,
		},
		"plaintext behind 220": {
			&server{replies: map[string]string{"STARTTLS": "220 go\r\n250-injected\r\n"}}, false,
			"reached=yes starttls=yes mandatory=no fs=yes " + all, "plaintext behind", 6,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := c.server
				if !c.plain {
					s.tls = root.config(t, key)
				}
				got := s.probe(t, root.pool())
				if short(got) != c.want || got.Connections != c.conn || !strings.Contains(reasons(got), c.why) {
					t.Errorf("got  %s, %d connections\nwant %s, %d\n%s", short(got), got.Connections, c.want, c.conn, reasons(got))
				}
				if s.dial == nil && s.said("QUIT") == 0 && got.Reached.OK() {
					t.Errorf("left without QUIT: %q", s.commands)
				}
			})
		})
	}
}

// A server that hangs up or refuses STARTTLS after a transaction is asked again
// without one.
func TestSecondDialogue(t *testing.T) {
	root, key := newRoot(t), ecdsaKey(t)
	type dialogue = []string // replies to MAIL, RCPT, RSET, STARTTLS; empty: hangs up
	for name, c := range map[string]struct {
		first     dialogue
		mandatory check.Outcome
	}{
		"421 to RSET":           {dialogue{"530 Must issue a STARTTLS command first", "421 bye", "", ""}, check.Yes},
		"hangs up after MAIL":   {dialogue{""}, check.Untested},
		"hangs up after RCPT":   {dialogue{"250 ok", ""}, check.Untested},
		"hangs up after RSET":   {dialogue{"250 ok", "250 ok", ""}, check.No},
		"refuses STARTTLS then": {dialogue{"250 ok", "250 ok", "250 ok", "503 not after MAIL", "221 bye"}, check.No},
		"STARTTLS later":        {dialogue{"250 ok", "250 ok", "250 ok", "454 4.3.0 later", "221 bye"}, check.No},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{tls: root.config(t, key)}
				s.take = func(n int, conn net.Conn) bool {
					if n == 1 {
						script(conn, append(dialogue{"220 mx", "250-mx\r\n250 STARTTLS"}, c.first...))
					}
					return n == 1
				}
				got := s.probe(t, root.pool())
				want := "reached=yes starttls=yes mandatory=" + string(c.mandatory) +
					" fs=yes [1.3=yes 1.2=yes 1.1=no 1.0=no SSLv3=no]"
				if short(got) != want || got.Connections != 7 {
					t.Errorf("%s, %d connections\n%s", short(got), got.Connections, reasons(got))
				}
			})
		})
	}
}

// A server that stops answering is left alone; nothing of the rest is a no.
func TestStopsAnswering(t *testing.T) {
	root, key := newRoot(t), ecdsaKey(t)
	const rest = "1.1=untested 1.0=untested SSLv3=untested]"
	for name, c := range map[string]struct {
		server *server
		why    string
	}{
		"connection refused": {
			&server{dial: func(n int) error {
				if n > 2 {
					return &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
				}
				return nil
			}}, "it stopped answering: connection refused",
		},
		"421": {
			&server{take: func(n int, c net.Conn) bool {
				if n > 2 {
					_, _ = c.Write([]byte("421 4.7.0 too many connections\r\n"))
				}
				return n > 2
			}}, "it stopped answering: its reply to our connection is 421 4.7.0 too many connections",
		},
		"no greeting": {
			&server{take: func(n int, c net.Conn) bool {
				if n > 2 {
					_, _ = c.Read(make([]byte, 1))
				}
				return n > 2
			}}, "it stopped answering: no answer in time (greeting)",
		},
		"hangs up": {
			&server{take: func(n int, c net.Conn) bool { return n > 2 }},
			"it stopped answering: connection closed (greeting)",
		},
		"no STARTTLS any more": {
			&server{take: func(n int, c net.Conn) bool {
				if n > 2 {
					(&server{}).serve(n, c)
				}
				return n > 2
			}}, "it stopped answering: STARTTLS is offered only at times",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := c.server
				s.tls = root.config(t, key)
				got := s.probe(t, root.pool())
				want := "reached=yes starttls=yes mandatory=no fs=untested [1.3=yes 1.2=yes " + rest
				// Forward secrecy was not tried: 1.2 chose a suite that has it.
				if short(got) != want || got.Connections != 3 || got.ForwardSecrecy.Why != c.why {
					t.Errorf("%s, %d connections\n%s", short(got), got.Connections, reasons(got))
				}
			})
		})
	}
}

// The certificate alone takes one connection, or two without crypto/tls.
func TestCertificateAlone(t *testing.T) {
	root, key := newRoot(t), ecdsaKey(t)
	old := oldServer{versions: []uint16{wireTLS10}, suites: []uint16{0x0039}, cert: root.leaf(t).Raw}
	for name, c := range map[string]struct {
		server *server
		want   string // STARTTLS, certificate
		conn   int
	}{
		"good":        {&server{tls: root.config(t, key)}, "yes yes", 1},
		"DHE alone":   {&server{handshake: old.handshake}, "yes yes", 2},
		"no STARTTLS": {&server{}, "no untested", 1},
		"no TLS":      {&server{handshake: func(int, net.Conn) {}}, "untested untested", 2},
		"closed":      {&server{dial: func(int) error { return syscall.ECONNREFUSED }}, "untested untested", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, err := New(Options{Dial: c.server.dialer, HELO: "probe.example.net", Roots: root.pool(), Now: now})
				if err != nil {
					t.Fatal(err)
				}
				got := p.Certificate(t.Context(), address(), host, nil)
				outcomes := string(got.StartTLS.Outcome + " " + got.Certificate.Valid().Outcome)
				if outcomes != c.want || got.Connections != c.conn || c.server.said("MAIL") > 0 {
					t.Errorf("%s, want %s; %d connections\n%s", outcomes, c.want, got.Connections, reasons(got))
				}
				if got.Mandatory != (check.Result{}) || got.ForwardSecrecy != (check.Result{}) || got.Versions != nil {
					t.Errorf("%s", short(got))
				}
			})
		})
	}
}

func TestBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{take: func(_ int, c net.Conn) bool { _, _ = c.Read(make([]byte, 1)); return true }}
		p, err := New(Options{Dial: s.dialer, HELO: "probe.example.net"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		got := p.Probe(ctx, address(), host, nil, "example.org")
		if got.Reached != check.Skip("the test was broken off") || time.Since(start) != time.Second {
			t.Errorf("%+v after %v", got.Reached, time.Since(start))
		}
	})
}

// Names that can't stand in a command or as SNI are not used.
func TestStrangeNames(t *testing.T) {
	root, key := newRoot(t), ecdsaKey(t)
	synctest.Test(t, func(t *testing.T) {
		s := &server{tls: root.config(t, key)}
		p, err := New(Options{Dial: s.dialer, HELO: "probe.example.net", Roots: root.pool(), Now: now})
		if err != nil {
			t.Fatal(err)
		}
		got := p.Probe(t.Context(), address(), "a b", nil, "x>\r\nDATA")
		if s.said("MAIL") > 0 || s.said("DATA") > 0 || got.Mandatory.Outcome != check.Untested {
			t.Errorf("commands %q, %+v", s.commands, got.Mandatory)
		}
		if got.Certificate.Name.Outcome != check.Untested || !got.Certificate.Trusted.OK() {
			t.Errorf("certificate %+v", got.Certificate)
		}
	})
}

func TestOptions(t *testing.T) {
	for _, helo := range []string{"", "a b", "x\r\nQUIT", strings.Repeat("a", 300)} {
		if _, err := New(Options{HELO: helo}); err == nil {
			t.Errorf("HELO %q is taken", helo)
		}
	}
	p, err := New(Options{HELO: "probe.example.net"})
	if err != nil || p.opts.Timeouts.Total != time.Minute || p.opts.Pause != time.Second/2 {
		t.Errorf("%+v, %v", p, err)
	}
}
