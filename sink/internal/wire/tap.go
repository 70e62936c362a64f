package wire

import (
	"crypto/tls"
	"net"
	"strings"
)

// TLS record types (RFC 8446 §5.1).
const (
	recordAlert     = 21
	recordHandshake = 22
)

const recordHeader = 5

// tap lies between crypto/tls and the network. It remembers what crypto/tls
// does not tell: whether our certificates left, whether the network or the
// peer's close_notify ended the stream, and alerts sent in the clear.
type tap struct {
	net.Conn
	held error // an error that came together with octets: reported afterwards
	eof  error // the error that ended reading, nil while it goes on

	following   bool // until the handshake is over
	chosen      bool // crypto/tls has chosen our certificate
	certificate bool // and written it

	head  []byte // of the incoming record, then the payload of a clear alert
	skip  int    // octets of the record still to come
	alert string // a fatal alert that came in the clear
}

func (t *tap) Read(b []byte) (int, error) {
	if t.held != nil {
		t.eof, t.held = t.held, nil
		return 0, t.eof
	}
	n, err := t.Conn.Read(b)
	if t.following {
		t.follow(b[:n])
	}
	if n > 0 && err != nil {
		t.held = err
		return n, nil
	}
	if err != nil && !isTimeout(err) {
		t.eof = err
	}
	return n, err
}

func (t *tap) Write(b []byte) (int, error) {
	n, err := t.Conn.Write(b)
	// The certificate leaves in the flight that starts with ServerHello. What
	// follows the choice may also be an alert of ours.
	if t.following && t.chosen && err == nil && len(b) > 0 && b[0] == recordHandshake {
		t.certificate = true
	}
	return n, err
}

// follow looks for alerts in the clear. OpenSSL sends its TLS 1.3 handshake
// alerts so, which crypto/tls reports as a record that it cannot decrypt.
func (t *tap) follow(b []byte) {
	for len(b) > 0 {
		if t.skip > 0 {
			n := min(t.skip, len(b))
			t.skip -= n
			b = b[n:]
			continue
		}
		t.head = append(t.head, b[0])
		b = b[1:]
		if len(t.head) < recordHeader {
			continue
		}
		size := int(t.head[3])<<8 | int(t.head[4])
		if t.head[0] == recordAlert && size == 2 {
			if len(t.head) < recordHeader+size {
				continue
			}
			if level, code := t.head[5], t.head[6]; level == 2 {
				t.alert = alertText(tls.AlertError(code))
			}
			size = 0
		}
		t.skip, t.head = size, t.head[:0]
	}
}

// alertText names an alert in the words of crypto/tls.
func alertText(err error) string { return strings.TrimPrefix(err.Error(), "tls: ") }
