package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tlsink/tlsink/inbound/check"
)

// wireVersions are all versions, the newest first.
func wireVersions() []uint16 {
	return []uint16{wireTLS13, wireTLS12, wireTLS11, wireTLS10, wireSSL3}
}

func versionName(v uint16) string {
	return map[uint16]string{
		wireTLS13: TLS13, wireTLS12: TLS12, wireTLS11: TLS11, wireTLS10: TLS10, wireSSL3: SSL3,
	}[v]
}

// longName is for sentences.
func longName(v uint16) string {
	if v == wireSSL3 {
		return SSL3
	}
	return "TLS " + versionName(v)
}

// handshake makes a complete one with all that crypto/tls has, judges nothing,
// and leaves politely inside TLS. If it fails, the versions tell more.
func (x *look) handshake(ctx context.Context, d *dialog) {
	var raw [][]byte
	config := &tls.Config{
		ServerName:         x.host,
		MinVersion:         tls.VersionTLS10,
		CipherSuites:       goSuites(),
		InsecureSkipVerify: true, // the certificate is judged later, whatever it is
		Time:               x.p.opts.Now,
		// Here, since a server may still end the handshake once it showed them.
		VerifyPeerCertificate: func(sent [][]byte, _ [][]*x509.Certificate) error {
			raw = sent
			return nil
		},
	}
	d.deadline(d.times.Handshake)
	conn := tls.Client(&limited{d.conn, maxHandshake + maxReply}, config)
	err := conn.HandshakeContext(ctx)
	x.keep(raw)
	cs := conn.ConnectionState()
	seen := Version{
		Version: versionName(cs.Version), Accepted: check.Pass(), Suite: suiteByID(cs.CipherSuite).name,
	}
	if err == nil {
		err = newDialog(conn, d.times).quit() // and close_notify
	} else if cs.Version < wireTLS13 && raw == nil || !byPeer(err) {
		return // the ClientHellos tell
	}
	// A server that chooses a version and then gives up, for want of a key or of a
	// certificate of ours, does not have it. With TLS 1.3 that shows in its first
	// answer inside (RFC 8446 §4.4.2.4).
	if cs.HandshakeComplete && (cs.Version < wireTLS13 || !alertOfPeer(err)) {
		x.known[cs.Version] = seen
		return
	}
	seen.Suite, seen.Accepted = "", check.Skip("it breaks the handshake off: "+handshakeReason(ctx, err))
	x.known[cs.Version] = seen
}

// alertOfPeer reports whether the server ended a handshake with an alert.
func alertOfPeer(err error) bool {
	broken, ok := errors.AsType[*net.OpError](err)
	return ok && broken.Op == "remote error"
}

// byPeer reports whether a handshake ended on the server's side.
func byPeer(err error) bool {
	return alertOfPeer(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, os.ErrDeadlineExceeded)
}

// handshakeReason is why for errors of crypto/tls.
func handshakeReason(ctx context.Context, err error) string {
	if alert, ok := errors.AsType[*net.OpError](err); ok && alertOfPeer(err) {
		return "alert " + clean(strings.TrimPrefix(alert.Err.Error(), "tls: "))
	}
	return why(ctx, err)
}

// goSuites are all that crypto/tls has, the bad ones too.
func goSuites() []uint16 {
	var out []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		out = append(out, s.ID)
	}
	return out
}

// versions tries each version that is not known yet, on a connection of its own.
func (x *look) versions(ctx context.Context) {
	var internal []uint16 // answered with internal_error
	for _, v := range wireVersions() {
		if _, ok := x.known[v]; !ok && errors.Is(x.try(ctx, v), errInternal) {
			internal = append(internal, v)
		}
	}
	// The security level of OpenSSL 3 forbids the signatures of what is older than
	// TLS 1.2, and that is the alert with which it says so.
	taken := func(v uint16) bool { return x.known[v].Accepted.OK() }
	if (taken(wireTLS13) || taken(wireTLS12)) && !slices.ContainsFunc(wireVersions()[2:], taken) {
		for _, v := range internal {
			if v < wireTLS12 {
				x.known[v] = Version{Version: versionName(v), Accepted: check.Fail(errInternal.Error() + ", but takes a newer version")}
			}
		}
	}
	for _, v := range wireVersions() {
		x.out.Versions = append(x.out.Versions, x.known[v])
	}
}

// try offers one version with all suites. It returns why that got no answer.
func (x *look) try(ctx context.Context, v uint16) error {
	answer, err := x.offer(ctx, helloFor(v, x.host))
	out := Version{Version: versionName(v)}
	defer func() { x.known[v] = out }()
	if err != nil {
		out.Accepted = verdict(ctx, err)
		return err
	}
	x.keep(answer.certs)
	taken := Version{
		Version: versionName(answer.version), Accepted: check.Pass(), Suite: suiteByID(answer.suite).name,
	}
	if answer.version == v {
		out = taken
		return nil
	}
	// RFC 5246 §E.1: a server chooses the highest version that it has, so it has
	// none in between either.
	out.Accepted = check.Fail("it answers with " + longName(answer.version))
	for w := v - 1; w > answer.version; w-- {
		x.learn(w, Version{Version: versionName(w), Accepted: out.Accepted})
	}
	x.learn(answer.version, taken)
	return nil
}

// learn keeps what an answer shows of another version.
func (x *look) learn(v uint16, seen Version) {
	if _, ok := x.known[v]; !ok {
		x.known[v] = seen
	}
}

// verdict reads a failed offer: only a clear refusal is a no.
func verdict(ctx context.Context, err error) check.Result {
	if r, ok := errors.AsType[refusal](err); ok && ctx.Err() == nil {
		return check.Fail(r.why)
	}
	return check.Skip(why(ctx, err))
}

// offer sends one ClientHello on a new connection.
func (x *look) offer(ctx context.Context, hello clientHello) (serverAnswer, error) {
	if x.down != "" {
		return serverAnswer{}, errors.New(x.down)
	}
	message, err := hello.marshal(x.p.opts.Rand)
	if err != nil {
		return serverAnswer{}, err
	}
	d, hangUp, err := x.startTLS(ctx)
	if err != nil {
		return serverAnswer{}, errors.New(x.down)
	}
	defer hangUp()
	d.deadline(d.times.Handshake)
	if _, err := d.conn.Write(message); err != nil {
		return serverAnswer{}, err
	}
	answer, err := readAnswer(d.conn, hello)
	if err == nil {
		// RFC 8446 §6.1: user_canceled and close_notify: no handshake follows.
		bye := builder{}
		for _, code := range []uint8{90, 0} {
			bye.u8(recordAlert)
			bye.u16(min(max(answer.version, wireSSL3), wireTLS12), 2)
			bye.u8(1, code)
		}
		d.deadline(time.Second)
		_, _ = d.conn.Write(bye) // it is over either way
	}
	return answer, err
}

// forwardSecrecy offers nothing but suites without it.
func (x *look) forwardSecrecy(ctx context.Context) check.Result {
	var highest uint16 // up to TLS 1.2
	var open string    // why one of them is not known
	var newer string   // likewise, of one that is newer than highest
	for _, v := range wireVersions()[1:] {
		known := x.known[v]
		switch {
		case known.Accepted.OK() && !forward(known.Suite):
			return check.Fail("it takes " + known.Suite + " in " + longName(v))
		case known.Accepted.OK() && highest == 0:
			highest, newer = v, open
		case known.Accepted.Outcome == check.Untested && open == "":
			open = known.Accepted.Why
		}
	}
	switch {
	case highest == 0 && open != "":
		return check.Skip(open)
	case highest == 0 && x.known[wireTLS13].Accepted.OK():
		return check.Pass() // TLS 1.3 has nothing else
	case highest == 0 && x.known[wireTLS13].Accepted.Failed():
		return check.Result{} // no TLS at all
	case highest == 0:
		return x.known[wireTLS13].Accepted
	}
	answer, err := x.offer(ctx, clientHello{version: highest, suites: ids(staticSuites()), serverName: x.host})
	if err == nil {
		return check.Fail("it takes " + suiteByID(answer.suite).name + " in " + longName(answer.version))
	}
	r := verdict(ctx, err)
	switch {
	case r.Failed() && newer != "":
		return check.Skip(newer)
	case r.Failed():
		return check.Pass() // none of them
	}
	return r
}

// forward reports whether the suite of that name has forward secrecy.
func forward(name string) bool {
	for _, list := range [][]suite{suites13(), forwardSuites()} {
		for _, s := range list {
			if s.name == name {
				return true
			}
		}
	}
	return false
}
