package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
)

// Limits of what a server may answer to a ClientHello.
const (
	maxHandshake = 64 << 10 // octets, of all messages
	maxCerts     = 10
	maxRecord    = 1<<14 + 256
	maxWarnings  = 4 // alerts before the answer
)

const alertInternal = 80 // internal_error (RFC 8446 §6.2)

// serverAnswer is how a server goes on after a ClientHello.
type serverAnswer struct {
	version uint16 // that it chose
	suite   uint16
	certs   [][]byte // up to TLS 1.2, where they are in clear
}

// refusal says that the server does not want this ClientHello: it sent an alert
// about version or suites, or closed the connection without a word.
type refusal struct{ why string }

func (r refusal) Error() string { return r.why }

// Answers that are no TLS, that may mean anything, or more than is read.
var (
	errNotTLS   = errors.New("its answer to the ClientHello is not TLS")
	errInternal = errors.New("it ended the handshake with the alert internal_error")
	errTooLong  = fmt.Errorf("its handshake is longer than %d octets", maxHandshake)
)

// answerReader reads records and joins the handshake messages in them.
type answerReader struct {
	r        io.Reader
	pending  []byte // of the handshake, not yet a whole message
	total    int
	warnings int
	started  bool // something was received
}

// readAnswer reads the answer to hello: ServerHello, and up to TLS 1.2 all until
// the server waits, for it may still refuse until then. It returns a refusal,
// or another error if the answer says nothing about what the server takes.
func readAnswer(r io.Reader, hello clientHello) (serverAnswer, error) {
	in := &answerReader{r: r}
	typ, body, err := in.message()
	if err != nil {
		return serverAnswer{}, err
	}
	if typ != typeServerHello {
		return serverAnswer{}, fmt.Errorf("%w: message type %d instead of ServerHello", errNotTLS, typ)
	}
	out, err := parseServerHello(body)
	if err != nil {
		return serverAnswer{}, err
	}
	// A HelloRetryRequest looks the same (RFC 8446 §4.1.4) and chooses them, too.
	if !slices.Contains(hello.suites, out.suite) {
		return serverAnswer{}, fmt.Errorf("%w: it chose suite %s, which was not offered", errNotTLS, suiteByID(out.suite).name)
	}
	if out.version > hello.version || out.version < wireSSL3 {
		return serverAnswer{}, fmt.Errorf("%w: it chose version %#04x, which was not offered", errNotTLS, out.version)
	}
	if out.version == wireTLS13 {
		return out, nil
	}
	for {
		typ, body, err = in.message()
		switch {
		case errors.Is(err, errTooLong) || err == nil && typ == typeServerHelloDone:
			return out, nil
		case err != nil:
			return serverAnswer{}, err
		case typ == typeCertificate && out.certs == nil:
			out.certs = parseCertificates(body)
		}
	}
}

// message returns the next handshake message.
func (in *answerReader) message() (typ uint8, body []byte, err error) {
	for {
		if len(in.pending) >= 4 {
			n := int(in.pending[1])<<16 | int(in.pending[2])<<8 | int(in.pending[3])
			if n > maxHandshake {
				return 0, nil, errTooLong
			}
			if len(in.pending) >= 4+n {
				typ, body = in.pending[0], in.pending[4:4+n]
				in.pending = in.pending[4+n:]
				return typ, body, nil
			}
		}
		if err := in.record(); err != nil {
			return 0, nil, err
		}
	}
}

// record reads one record; alerts are judged, handshake octets kept.
func (in *answerReader) record() error {
	var header [5]byte
	if n, err := io.ReadFull(in.r, header[:]); err != nil {
		return in.ended(n, err)
	}
	in.started = true
	size := int(binary.BigEndian.Uint16(header[3:]))
	if header[1] != 3 || header[0] != recordAlert && header[0] != recordHandshake {
		return fmt.Errorf("%w: it begins with %q", errNotTLS, header[:])
	}
	// RFC 8446 §5.1: no empty fragments of handshake messages or alerts.
	if size == 0 || size > maxRecord {
		return fmt.Errorf("%w: a record of %d octets", errNotTLS, size)
	}
	if in.total += size; in.total > maxHandshake {
		return errTooLong
	}
	body := make([]byte, size)
	if n, err := io.ReadFull(in.r, body); err != nil {
		return in.ended(n, err)
	}
	if header[0] == recordAlert {
		return in.alert(body)
	}
	in.pending = append(in.pending, body...)
	return nil
}

// ended says what the end of the connection means.
func (in *answerReader) ended(n int, err error) error {
	switch {
	case errors.Is(err, io.EOF) && n == 0 && !in.started:
		return refusal{"it closed the connection after the ClientHello"}
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it closed the connection in the middle of its answer")
	}
	return err
}

// alert tells refusals of what was offered from other alerts (RFC 8446 §6.2).
func (in *answerReader) alert(body []byte) error {
	if len(body) != 2 {
		return fmt.Errorf("%w: an alert of %d octets", errNotTLS, len(body))
	}
	const warning = 1
	code := body[1]
	if code == 0 { // close_notify
		if in.warnings > 0 || len(in.pending) > 0 {
			return errors.New("it ended TLS in the middle of its answer")
		}
		return refusal{"it ended TLS after the ClientHello (alert close_notify)"}
	}
	if body[0] == warning {
		if in.warnings++; in.warnings > maxWarnings {
			return fmt.Errorf("%w: more than %d warnings", errNotTLS, maxWarnings)
		}
		return nil
	}
	name, refuses := alertName(code)
	if refuses {
		return refusal{fmt.Sprintf("it refuses with the alert %s", name)}
	}
	if code == alertInternal {
		return errInternal
	}
	return fmt.Errorf("it ended the handshake with the alert %s", name)
}

// alertName names an alert; refuses reports whether it says that nothing that
// was offered is acceptable.
func alertName(code uint8) (name string, refuses bool) {
	switch code {
	case 10:
		return "unexpected_message", false
	case 40:
		return "handshake_failure", true
	case 47:
		return "illegal_parameter", false
	case 50:
		return "decode_error", false
	case 70:
		return "protocol_version", true
	case 71:
		return "insufficient_security", true
	case 112:
		return "unrecognized_name", false
	}
	return fmt.Sprintf("%d", code), false
}

// parseServerHello reads version and suite of a ServerHello (RFC 8446 §4.1.3,
// RFC 5246 §7.4.1.3, RFC 6101 §5.6.1.3).
func parseServerHello(body []byte) (serverAnswer, error) {
	bad := func(what string) (serverAnswer, error) {
		return serverAnswer{}, fmt.Errorf("%w: its ServerHello has no %s", errNotTLS, what)
	}
	s := scanner(body)
	version, ok := s.u16()
	if !ok || !s.skip(32) {
		return bad("random")
	}
	if id, ok := s.vector(1); !ok || len(id) > 32 {
		return bad("session ID")
	}
	chosen, ok := s.u16()
	if !ok {
		return bad("suite")
	}
	if !s.skip(1) {
		return bad("compression method")
	}
	out := serverAnswer{version: version, suite: chosen}
	if len(s) == 0 {
		return out, nil // before TLS 1.3 extensions are optional
	}
	extensions, ok := s.vector(2)
	if !ok || len(s) > 0 {
		return bad("extensions")
	}
	for e := extensions; len(e) > 0; {
		id, ok := e.u16()
		data, ok2 := e.vector(2)
		if !ok || !ok2 {
			return bad("extensions")
		}
		if id != extSupportedVersions {
			continue
		}
		// RFC 8446 §4.2.1: the version is here, and the other one says 1.2.
		selected, ok := data.u16()
		if !ok || len(data) > 0 || selected < wireTLS13 || version != wireTLS12 {
			return bad("valid version")
		}
		out.version = selected
	}
	return out, nil
}

// parseCertificates reads a Certificate message up to TLS 1.2; nil if it is
// malformed.
func parseCertificates(body []byte) [][]byte {
	s := scanner(body)
	list, ok := s.vector(3)
	if !ok || len(s) > 0 {
		return nil
	}
	var out [][]byte
	for len(list) > 0 && len(out) <= maxCerts { // one more shows that there are more
		cert, ok := list.vector(3)
		if !ok {
			return nil
		}
		out = append(out, cert)
	}
	return out
}

// scanner reads the presentation language of TLS.
type scanner []byte

func (s *scanner) skip(n int) bool {
	if len(*s) < n {
		return false
	}
	*s = (*s)[n:]
	return true
}

func (s *scanner) u16() (uint16, bool) {
	if len(*s) < 2 {
		return 0, false
	}
	v := binary.BigEndian.Uint16(*s)
	return v, s.skip(2)
}

// vector reads what follows its length of size octets.
func (s *scanner) vector(size int) (scanner, bool) {
	if len(*s) < size {
		return nil, false
	}
	n := 0
	for _, b := range (*s)[:size] {
		n = n<<8 | int(b)
	}
	if len(*s)-size < n {
		return nil, false
	}
	out := (*s)[size : size+n : size+n]
	return out, s.skip(size + n)
}

// netReason says why a connection gave no answer, in plain words.
func netReason(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, errTotal):
		return errTotal.Error()
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "no route to it"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	}
	return clean(err.Error())
}
