package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/tlsink/tlsink/evidence"
)

// isTimeout reports whether a deadline passed. Reading can go on after it.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// remoteAlert returns the fatal alert in err that the client sent, "" if there
// is none.
func remoteAlert(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return alertText(op.Err)
	}
	return ""
}

// classify says how the client ended the connection, from the error that
// reading ended with. t is nil without TLS.
func classify(err error, t *tap) evidence.Ending {
	switch {
	case remoteAlert(err) != "":
		return evidence.EndingAlert
	case t != nil && t.following && t.alert != "":
		return evidence.EndingAlert
	case errors.Is(err, net.ErrClosed):
		return evidence.EndingServer
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return evidence.EndingReset
	case isTimeout(err), errors.Is(err, syscall.ETIMEDOUT):
		return evidence.EndingTimeout
	case errors.Is(err, io.EOF) && t != nil && t.eof == nil:
		// crypto/tls reports EOF although the network did not: the client
		// sent close_notify (RFC 8446 §6.1).
		return evidence.EndingCloseNotify
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
		return evidence.EndingFIN
	}
	if t != nil {
		return evidence.EndingServer // a violation that crypto/tls answered with an alert of ours
	}
	return evidence.EndingReset // e.g. host unreachable
}
