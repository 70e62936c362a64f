package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// What is written is what crypto/tls reads, and of no length that servers are
// known to hang on.
func TestClientHello(t *testing.T) {
	for _, c := range []struct {
		version  uint16
		name     string
		sni      string
		versions []uint16
	}{
		{wireTLS13, host, host, []uint16{wireTLS13}},
		{wireTLS12, host, host, []uint16{wireTLS12, wireTLS11, wireTLS10}},
		{wireTLS10, strings.Repeat("a", 60) + ".example.org", strings.Repeat("a", 60) + ".example.org", []uint16{wireTLS10}},
		{wireTLS12, "192.0.2.1", "", []uint16{wireTLS12, wireTLS11, wireTLS10}},
		{wireTLS12, "", "", []uint16{wireTLS12, wireTLS11, wireTLS10}},
	} {
		hello := helloFor(c.version, c.name)
		b, err := hello.marshal(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(b) - 5; n > 255 && n < 512 {
			t.Errorf("%#04x: %d octets", c.version, n)
		}
		got := read(t, b)
		slices.Sort(got.SupportedVersions)
		slices.Reverse(got.SupportedVersions)
		if !cmp.Equal(got.SupportedVersions, c.versions) || got.ServerName != c.sni {
			t.Errorf("%#04x: read as %x for %q", c.version, got.SupportedVersions, got.ServerName)
		}
		if suites := slices.DeleteFunc(got.CipherSuites, func(id uint16) bool { return id == 0x00ff }); !cmp.Equal(suites, hello.suites) {
			t.Error(cmp.Diff(hello.suites, suites))
		}
	}
	if _, err := helloFor(wireTLS13, "").marshal(strings.NewReader("little")); err == nil {
		t.Error("made without randomness")
	}
}

// read lets crypto/tls read a ClientHello.
func read(t *testing.T, b []byte) tls.ClientHelloInfo {
	t.Helper()
	var out tls.ClientHelloInfo
	config := &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		out = *h
		return nil, io.EOF
	}}
	_ = tls.Server(fixed{r: bytes.NewReader(b)}, config).HandshakeContext(t.Context())
	return out
}

// fixed is a connection that says the same, whatever it hears.
type fixed struct {
	net.Conn
	r io.Reader
}

func (f fixed) Read(b []byte) (int, error)     { return f.r.Read(b) }
func (fixed) Write(b []byte) (int, error)      { return len(b), nil }
func (fixed) Close() error                     { return nil }
func (fixed) SetDeadline(time.Time) error      { return nil }
func (fixed) SetWriteDeadline(time.Time) error { return nil }

func TestSuites(t *testing.T) {
	seen := map[uint16]string{}
	for _, list := range [][]suite{suites13(), forwardSuites(), staticSuites()} {
		for _, s := range list {
			if seen[s.id] != "" {
				t.Errorf("%#04x is %s and %s", s.id, seen[s.id], s.name)
			}
			seen[s.id] = s.name
			diffie := strings.Contains(s.name, "DHE_") || s.id>>8 == 0x13
			if s.forward != diffie || forward(s.name) != diffie {
				t.Errorf("%s: forward secrecy %v", s.name, s.forward)
			}
		}
	}
	// The names of crypto/tls, and none that it has is missing.
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if seen[s.ID] != s.Name {
			t.Errorf("%#04x: %q, want %q", s.ID, seen[s.ID], s.Name)
		}
	}
}

func FuzzClientHello(f *testing.F) {
	f.Add(uint16(wireTLS13), "mx.example.org", []byte{0x13, 1})
	f.Add(uint16(wireSSL3), "", []byte{0, 5, 0, 4})
	f.Fuzz(func(t *testing.T, version uint16, name string, raw []byte) {
		if version < wireSSL3 || version > wireTLS13 || !isHostName(name) || len(raw) > 400 {
			return
		}
		hello := clientHello{version: version, serverName: name}
		for ; len(raw) >= 2; raw = raw[2:] {
			hello.suites = append(hello.suites, binary.BigEndian.Uint16(raw))
		}
		b, err := hello.marshal(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readOffer(bytes.NewReader(b))
		if err != nil || slices.Max(got.versions) != version {
			t.Errorf("versions %x, %v", got.versions, err)
		}
		if version < wireTLS13 {
			got.suites = got.suites[:len(got.suites)-1] // the SCSV
		}
		if !slices.Equal(got.suites, hello.suites) {
			t.Errorf("suites %x, want %x", got.suites, hello.suites)
		}
	})
}

func FuzzReadAnswer(f *testing.F) {
	s := oldServer{cert: bytes.Repeat([]byte{1}, 300)}
	f.Add(s.flight(wireTLS12, 0x0039), uint16(wireTLS12))
	f.Add(s.flight(wireSSL3, 0x0005), uint16(wireSSL3))
	f.Add(s.flight(wireTLS13, 0x1301), uint16(wireTLS13))
	f.Add([]byte{21, 3, 1, 0, 2, 2, 40}, uint16(wireTLS10))
	f.Fuzz(func(t *testing.T, b []byte, version uint16) {
		if version < wireSSL3 || version > wireTLS13 {
			return
		}
		hello := helloFor(version, host)
		in := bytes.NewReader(b)
		got, err := readAnswer(in, hello)
		if err != nil {
			if got.version != 0 || clean(netReason(err)) == "" {
				t.Errorf("%+v with %v", got, err)
			}
			return
		}
		if !slices.Contains(hello.suites, got.suite) || got.version > version || got.version < wireSSL3 {
			t.Errorf("took %+v", got)
		}
		if used := len(b) - in.Len(); used > maxHandshake+maxRecord+5*maxHandshake || len(got.certs) > maxCerts+1 {
			t.Errorf("read %d octets, %d certificates", used, len(got.certs))
		}
	})
}

// FuzzDialogue has a server say anything.
func FuzzDialogue(f *testing.F) {
	f.Add([]byte("220 mx\r\n250-mx\r\n250 STARTTLS\r\n250 ok\r\n250 ok\r\n250 ok\r\n220 go\r\n"))
	f.Add([]byte("220 mx\r\n250 mx\r\n221 bye\r\n"))
	f.Add([]byte("554-x\r\n554 no\r\n"))
	f.Add([]byte("220\r\n502\r\n250\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			p, err := New(Options{
				HELO: "probe.example.net", Now: now, Pause: -1,
				Dial: func(context.Context, string, string) (net.Conn, error) {
					return fixed{r: bytes.NewReader(b)}, nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			got := p.Probe(t.Context(), address(), host, nil, "example.org")
			if got.Reached.Outcome == "" || got.StartTLS.Outcome == "" || got.Mandatory.Outcome == "" || got.Connections > maxConnections {
				t.Errorf("%+v", got)
			}
			for _, text := range append(strings.Split(reasons(got), "\n"), got.Greeting) {
				if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%q", text)
				}
			}
		})
	})
}

func BenchmarkProbe(b *testing.B) {
	root := newRoot(b)
	s := &server{tls: root.config(b, ecdsaKey(b))}
	p, err := New(Options{Dial: s.dialer, HELO: "probe.example.net", Roots: root.pool(), Now: now, Pause: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := p.Probe(b.Context(), address(), host, nil, "example.org"); !got.Certificate.Valid().OK() {
			b.Fatal(reasons(got))
		}
	}
}
