package probe

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tlsink/tlsink/inbound/check"
)

// oldServer answers a ClientHello as a server with these versions and suites
// does, up to the end of its first flight. It shares no code with the writer.
type oldServer struct {
	versions []uint16
	suites   []uint16
	cert     []byte
	retry    bool // TLS 1.3 by HelloRetryRequest
}

// offer is what a ClientHello offers.
type offer struct {
	versions, suites []uint16
}

func readOffer(r io.Reader) (offer, error) {
	header := make([]byte, 5)
	if _, err := io.ReadFull(r, header); err != nil {
		return offer{}, err
	}
	body := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return offer{}, err
	}
	b := body[4:] // type, length
	highest := binary.BigEndian.Uint16(b)
	b = b[34:]          // version, random
	b = b[1+int(b[0]):] // session ID
	var out offer
	n := int(binary.BigEndian.Uint16(b))
	for i := 2; i < 2+n; i += 2 {
		out.suites = append(out.suites, binary.BigEndian.Uint16(b[i:]))
	}
	b = b[2+n:]
	b = b[1+int(b[0]):] // compression
	for v := uint16(0x0300); v <= highest; v++ {
		out.versions = append(out.versions, v)
	}
	if len(b) == 0 {
		return out, nil
	}
	for b = b[2:]; len(b) > 0; {
		id, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if data := b[4 : 4+size]; id == 43 {
			out.versions = nil
			for i := 1; i < len(data); i += 2 {
				out.versions = append(out.versions, binary.BigEndian.Uint16(data[i:]))
			}
		}
		b = b[4+size:]
	}
	return out, nil
}

func (s oldServer) handshake(_ int, conn net.Conn) {
	offered, err := readOffer(conn)
	if err != nil {
		return
	}
	first := func(ours, theirs []uint16) uint16 {
		for _, v := range ours {
			if slices.Contains(theirs, v) {
				return v
			}
		}
		return 0
	}
	version, suite := first(s.versions, offered.versions), first(s.suites, offered.suites)
	switch {
	case version == 0:
		_, _ = conn.Write([]byte{21, 3, 1, 0, 2, 2, 70})
	case suite == 0:
		_, _ = conn.Write([]byte{21, 3, 3, 0, 2, 2, 40})
	default:
		_, _ = conn.Write(s.flight(version, suite))
		_, _ = io.Copy(io.Discard, conn)
	}
}

// flight is ServerHello, Certificate and ServerHelloDone, in records of 100
// octets, whatever the borders of messages are.
func (s oldServer) flight(version, suite uint16) []byte {
	messages := serverHello(version, suite, s.retry)
	if version < 0x0304 {
		list := append([]byte{0, byte(len(s.cert) >> 8), byte(len(s.cert))}, s.cert...)
		messages = append(messages, message(11, append([]byte{0, byte(len(list) >> 8), byte(len(list))}, list...))...)
		messages = append(messages, message(14, nil)...)
	}
	var out []byte
	for part := range slices.Chunk(messages, 100) {
		out = append(out, 22, 3, byte(min(version, 0x0303)), 0, byte(len(part)))
		out = append(out, part...)
	}
	return out
}

func message(typ byte, body []byte) []byte {
	return append([]byte{typ, 0, byte(len(body) >> 8), byte(len(body))}, body...)
}

func serverHello(version, suite uint16, retry bool) []byte {
	body := binary.BigEndian.AppendUint16(nil, min(version, 0x0303))
	random := bytes.Repeat([]byte{7}, 32)
	if retry { // RFC 8446 §4.1.3
		_, _ = fmt.Sscanf("CF21AD74E59A6111BE1D8C021E65B891C2A211167ABB8C5E079E09E2C8A8339C", "%x", &random)
	}
	body = append(append(body, random...), 0)
	body = binary.BigEndian.AppendUint16(body, suite)
	body = append(body, 0)
	if version == 0x0304 {
		body = append(body, 0, 6, 0, 43, 0, 2, 3, 4)
	}
	return message(2, body)
}

func TestServersThatGoDoesNotKnow(t *testing.T) {
	root := newRoot(t)
	cert := root.leaf(t).Raw
	const (
		dheRSA = 0x0039
		rsa    = 0x0035
		rc4    = 0x0005
	)
	for name, c := range map[string]struct {
		server oldServer
		want   string
		suite  string
	}{
		"DHE alone": {
			oldServer{versions: []uint16{0x0303, 0x0302, 0x0301}, suites: []uint16{dheRSA}},
			"fs=yes [1.3=no 1.2=yes 1.1=yes 1.0=yes SSLv3=no]", "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
		},
		"DHE, and RSA when asked for": {
			oldServer{versions: []uint16{0x0303}, suites: []uint16{dheRSA, rsa}},
			"fs=no [1.3=no 1.2=yes 1.1=no 1.0=no SSLv3=no]", "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
		},
		"SSLv3 with RC4": {
			oldServer{versions: []uint16{0x0300}, suites: []uint16{rc4}},
			"fs=no [1.3=no 1.2=no 1.1=no 1.0=no SSLv3=yes]", "TLS_RSA_WITH_RC4_128_SHA",
		},
		"SSLv3 with DHE": {
			oldServer{versions: []uint16{0x0300}, suites: []uint16{dheRSA}},
			"fs=yes [1.3=no 1.2=no 1.1=no 1.0=no SSLv3=yes]", "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
		},
		"1.3 by HelloRetryRequest": {
			oldServer{versions: []uint16{0x0304, 0x0303}, suites: []uint16{0x1302, dheRSA}, retry: true},
			"fs=yes [1.3=yes 1.2=yes 1.1=no 1.0=no SSLv3=no]", "TLS_AES_256_GCM_SHA384",
		},
		"nothing in common": {
			oldServer{versions: []uint16{0x0303, 0x0301}, suites: []uint16{0xfefe}},
			"fs= [1.3=no 1.2=no 1.1=no 1.0=no SSLv3=no]", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.server.cert = cert
				s := &server{handshake: c.server.handshake}
				got := s.probe(t, root.pool())
				starttls := "yes"
				if c.suite == "" {
					starttls = "no"
				}
				if want := "reached=yes starttls=" + starttls + " mandatory=no " + c.want; short(got) != want {
					t.Errorf("got  %s\nwant %s\n%s", short(got), want, reasons(got))
				}
				for _, v := range got.Versions {
					if v.Accepted.OK() {
						if v.Suite != c.suite {
							t.Errorf("suite %s in %s", v.Suite, v.Version)
						}
						break
					}
				}
				if seen := got.Certificate != nil && got.Certificate.Valid().OK(); seen != (c.suite != "") {
					t.Errorf("certificate %+v", got.Certificate)
				}
			})
		})
	}
}

// An internal error says something only about versions that are too old for
// OpenSSL's security level.
func TestInternalError(t *testing.T) {
	for name, c := range map[string]struct {
		good []uint16 // the others get the alert
		want string
	}{
		"below 1.2":       {[]uint16{wireTLS13, wireTLS12}, "starttls=yes mandatory=no fs=yes [1.3=yes 1.2=yes 1.1=no 1.0=no SSLv3=no]"},
		"below 1.3":       {[]uint16{wireTLS13}, "starttls=yes mandatory=no fs=untested [1.3=yes 1.2=untested 1.1=no 1.0=no SSLv3=no]"},
		"all but 1.0":     {[]uint16{wireTLS12, wireTLS10}, "starttls=yes mandatory=no fs=yes [1.3=untested 1.2=yes 1.1=untested 1.0=yes SSLv3=untested]"},
		"all but 1.1":     {[]uint16{wireTLS11}, "starttls=yes mandatory=no fs=untested [1.3=untested 1.2=untested 1.1=yes 1.0=untested SSLv3=untested]"},
		"whatever is new": {nil, "starttls=untested mandatory=no fs=untested [1.3=untested 1.2=untested 1.1=untested 1.0=untested SSLv3=untested]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{handshake: func(_ int, conn net.Conn) {
					hello, err := readOffer(conn)
					if err != nil {
						return
					}
					static := !slices.Contains(hello.suites, 0x0039)
					highest := slices.Max(hello.versions)
					switch {
					case highest == wireTLS13 && slices.Contains(c.good, highest):
						_, _ = conn.Write(oldServer{}.flight(highest, 0x1301))
					case !slices.Contains(c.good, highest):
						_, _ = conn.Write([]byte{21, 3, 1, 0, 2, 2, 80})
					case static:
						_, _ = conn.Write([]byte{21, 3, 1, 0, 2, 2, 40})
					default:
						_, _ = conn.Write(oldServer{cert: []byte("x")}.flight(highest, 0x0039))
					}
				}}
				if got := s.probe(t, nil); short(got) != "reached=yes "+c.want {
					t.Errorf("got  %s\nwant reached=yes %s\n%s", short(got), c.want, reasons(got))
				}
			})
		})
	}
}

// noSigner is a private key that can't be used.
type noSigner struct{ crypto.Signer }

func (noSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("no")
}

// A server that chooses a version and then can't go on takes no mail over TLS.
func TestHandshakeBreaksOff(t *testing.T) {
	root, key := newRoot(t), ecdsaKey(t)
	noKey := func(c *tls.Config) { c.Certificates[0].PrivateKey = noSigner{key} }
	wantsCertificate := func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }
	for name, c := range map[string]struct {
		edit []func(*tls.Config)
		want string
		why  string
	}{
		"key that fails": {
			[]func(*tls.Config){versions(tls13, tls13), noKey},
			"[1.3=untested 1.2=no 1.1=no 1.0=no SSLv3=no]", "alert internal error",
		},
		"wants a certificate, 1.3": {
			[]func(*tls.Config){versions(tls13, tls13), wantsCertificate},
			"[1.3=untested 1.2=no 1.1=no 1.0=no SSLv3=no]", "alert certificate required",
		},
		"wants a certificate, 1.2": {
			[]func(*tls.Config){versions(tls12, tls12), wantsCertificate},
			"[1.3=no 1.2=untested 1.1=no 1.0=no SSLv3=no]", "breaks the handshake off",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{tls: root.config(t, key, c.edit...)}
				got := s.probe(t, root.pool())
				want := "reached=yes starttls=untested mandatory=no fs=untested " + c.want
				if short(got) != want || !strings.Contains(reasons(got), c.why) || !got.Certificate.Valid().OK() {
					t.Errorf("got  %s\nwant %s\n%s", short(got), want, reasons(got))
				}
			})
		})
	}
}

// What a server answers to every ClientHello, and what that says.
func TestAnswersToClientHello(t *testing.T) {
	alert := func(level, code byte) []byte { return []byte{21, 3, 1, 0, 2, level, code} }
	record := func(b []byte) []byte { return append([]byte{22, 3, 3, byte(len(b) >> 8), byte(len(b))}, b...) }
	for name, c := range map[string]struct {
		answer []byte
		hang   bool // stays silent after it
		want   check.Outcome
		why    string
	}{
		"closes":                    {nil, false, check.No, "closed the connection after the ClientHello"},
		"silent":                    {nil, true, check.Untested, "no answer in time"},
		"handshake_failure":         {alert(2, 40), false, check.No, "handshake_failure"},
		"protocol_version":          {alert(2, 70), true, check.No, "protocol_version"},
		"insufficient_security":     {alert(2, 71), false, check.No, "insufficient_security"},
		"close_notify":              {alert(1, 0), false, check.No, "close_notify"},
		"internal_error":            {alert(2, 80), false, check.Untested, "internal_error"},
		"unrecognized_name":         {alert(2, 112), false, check.Untested, "unrecognized_name"},
		"another alert":             {alert(2, 99), false, check.Untested, "alert 99"},
		"warning, then failure":     {append(alert(1, 112), alert(2, 40)...), false, check.No, "handshake_failure"},
		"warning, then end":         {alert(1, 112), false, check.Untested, "middle of its answer"},
		"warnings without end":      {bytes.Repeat(alert(1, 112), 1000), true, check.Untested, "more than 4 warnings"},
		"half a record":             {[]byte{22, 3, 3, 1, 0, 2}, false, check.Untested, "middle of its answer"},
		"plaintext":                 {[]byte("454 TLS not available\r\n"), true, check.Untested, "not TLS"},
		"empty records":             {bytes.Repeat([]byte{22, 3, 3, 0, 0}, 1000), true, check.Untested, "a record of 0 octets"},
		"record too large":          {[]byte{22, 3, 3, 0xff, 0xff}, true, check.Untested, "a record of 65535 octets"},
		"long alert":                {[]byte{21, 3, 3, 0, 3, 1, 1, 1}, true, check.Untested, "an alert of 3 octets"},
		"message too large":         {record([]byte{2, 0xff, 0xff, 0xff}), true, check.Untested, "longer than"},
		"suite that is not offered": {record(serverHello(0x0303, 0xfefe, false)), true, check.Untested, "suite 0xFEFE"},
		"ServerHello, then silence": {record(serverHello(0x0301, 0x0035, false)), true, check.Untested, "no answer in time"},
		"ServerHello, then failure": {
			append(record(serverHello(0x0301, 0x0035, false)), alert(2, 40)...), false, check.No, "handshake_failure",
		},
		"other message":     {record(message(1, make([]byte, 40))), true, check.Untested, "instead of ServerHello"},
		"short ServerHello": {record(message(2, make([]byte, 30))), true, check.Untested, "no random"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{handshake: func(_ int, conn net.Conn) {
					if _, err := readOffer(conn); err != nil {
						return
					}
					_, _ = conn.Write(c.answer)
					if c.hang {
						_, _ = io.Copy(io.Discard, conn)
					}
				}}
				got := s.probe(t, nil)
				v := got.Versions[3] // 1.0
				if v.Accepted.Outcome != c.want || !strings.Contains(v.Accepted.Why, c.why) {
					t.Errorf("%+v, want %s, %q", v.Accepted, c.want, c.why)
				}
				if got.StartTLS.OK() || got.StartTLS.Failed() && c.want != check.No {
					t.Errorf("STARTTLS %+v", got.StartTLS)
				}
			})
		})
	}
}
