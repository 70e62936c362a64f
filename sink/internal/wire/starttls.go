package wire

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

// startTLS answers a STARTTLS command and runs the handshake.
func (c *Conn) startTLS(refusal *Reply) {
	if refusal == nil {
		refusal = c.handler.StartTLS()
	}
	// A 5xx would make some senders bounce for good, 454 makes them retry
	// (RFC 3207 §4).
	if refusal == nil && c.tls != nil {
		refusal = &Reply{454, [3]int{4, 7, 0}, "TLS is already in use"}
	}
	if refusal == nil && c.handler.Busy() {
		refusal = &Reply{454, [3]int{4, 7, 0}, "TLS not available within a transaction"}
	}
	if refusal != nil {
		c.Answer("STARTTLS", *refusal)
		return
	}
	if c.br.Buffered() > 0 {
		// RFC 3207 §4: nothing may follow STARTTLS before TLS. Whoever put it
		// there, it must not become part of the session: handshake drops it.
		c.handler.Anomaly(evidence.AnomalyPipelined)
	}
	c.Answer("STARTTLS", Reply{220, [3]int{2, 0, 0}, "Ready to start TLS"})
	if c.flush() {
		c.handshake()
	}
}

func (c *Conn) handshake() {
	t := &tap{Conn: c.raw, following: true}
	config := c.handler.TLSConfig()
	choose := config.GetCertificate
	config.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := choose(h)
		t.chosen = err == nil
		return cert, err
	}
	deadline := earlier(time.Now().Add(c.limits.Handshake), c.sessionEnd)
	c.raw.SetDeadline(deadline) //nolint:errcheck // the handshake will tell
	c.tap = t
	conn := tls.Server(t, config)
	err := conn.HandshakeContext(context.Background()) // the deadline ends it
	result := Handshake{Err: err, Certificate: t.certificate, State: conn.ConnectionState()}
	if err != nil {
		c.broken(err)
		if c.alert == "" {
			c.alert = t.alert
		}
		result.Alert = c.alert
		c.handler.Handshake(result)
		return
	}
	t.following, t.head = false, nil
	c.tls, c.needEHLO, c.errors = conn, true, 0
	c.br.Reset(conn) // what was read in plaintext is gone
	c.handler.Handshake(result)
}
