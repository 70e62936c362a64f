package sink

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink/internal/wire"
)

// TLSConfig returns the configuration for one connection. A sink must meet old
// senders: what the defaults of crypto/tls refuse would look like a refusal by
// the sender. Resumption would skip the check of our certificate.
func (x *session) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS10,
		CipherSuites:           cipherSuites(),
		SessionTicketsDisabled: true,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			x.clientHello(h)
			return nil, nil
		},
		GetCertificate: x.certificate,
	}
}

func cipherSuites() []uint16 {
	var ids []uint16
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		ids = append(ids, suite.ID)
	}
	return ids
}

// clientHello records what the client offers and has the certificate chosen.
func (x *session) clientHello(h *tls.ClientHelloInfo) {
	chosen := x.choose(h.ServerName)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.chosen = chosen
	if h.ServerName != "" {
		sni := h.ServerName
		x.record.TLS.SNI = &sni
		x.reach(evidence.StatusSNISeen)
		if t, ok := scenario.Find(x.server.options.Zone, sni); ok && t.Slot < x.server.options.Slots && t.Host != "" && t.Role != scenario.RoleTLSA {
			x.sni = t
		}
	}
	for _, v := range h.SupportedVersions {
		if name := versionName(v); name != "" {
			x.record.TLS.ClientVersions = append(x.record.TLS.ClientVersions, name)
		}
	}
	x.record.TLS.ClientSuites = offered(h.CipherSuites, tls.CipherSuiteName)
	x.record.TLS.ClientCurves = offered(h.SupportedCurves, tls.CurveID.String)
}

// offered names what a client offers, without the values that mean nothing on
// purpose (GREASE, RFC 8701).
func offered[T ~uint16](ids []T, name func(T) string) (out []string) {
	for _, id := range ids {
		if grease := id&0x0f0f == 0x0a0a && id>>8 == id&0xff; !grease && len(out) < evidence.MaxOffered {
			out = append(out, name(id))
		}
	}
	return out
}

func (x *session) choose(sni string) scenario.Certificate {
	if p := x.probing(); p != nil {
		return p.Certificate(sni)
	}
	return x.server.options.Director.ClientHello(x.id, sni)
}

// certificate returns the first key pair that the client supports, else the
// first. Unlike in crypto/tls the name does not count: ours are wrong on
// purpose, and a client with RSA alone must get RSA also then.
func (x *session) certificate(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	x.mu.Lock()
	chosen := x.chosen
	x.mu.Unlock()
	pairs, err := x.server.options.Certificates.Certificates(chosen)
	if err != nil {
		return nil, fmt.Errorf("certificate %s/%s: %w", chosen.Owner, chosen.Kind, err)
	}
	if len(pairs) == 0 {
		return nil, errors.New("no certificate " + string(chosen.Owner))
	}
	nameless := *h
	nameless.ServerName = ""
	for i := range pairs {
		if nameless.SupportsCertificate(&pairs[i]) == nil {
			return &pairs[i], nil
		}
	}
	return &pairs[0], nil
}

// Handshake records the outcome of a handshake.
func (x *session) Handshake(h wire.Handshake) {
	x.mu.Lock()
	defer x.mu.Unlock()
	t := x.record.TLS
	if h.State.Version != 0 {
		version, cipher := versionName(h.State.Version), tls.CipherSuiteName(h.State.CipherSuite)
		t.Version = &version
		if h.State.CipherSuite != 0 {
			t.Cipher = &cipher
		}
	}
	switch {
	case h.Err == nil:
		t.Stage, t.Complete = evidence.StageFinished, true
		x.reach(evidence.StatusTLSStarted)
	case h.Certificate:
		t.Stage = evidence.StageCertificate
	}
	if t.Stage != evidence.StageBeforeCertificate {
		t.Certificate = string(x.chosen.Presented())
	}
	if h.Alert != "" {
		t.Alert = &h.Alert
	}
	if h.Err != nil && h.Alert == "" {
		text := wire.Sanitize(strings.TrimPrefix(h.Err.Error(), "tls: "))
		t.Error = &text
	}
	x.observe(h)
}

// observe measures a handshake. x.mu is held.
func (x *session) observe(h wire.Handshake) {
	result := "finished"
	switch {
	case h.Alert != "":
		result = "alert"
	case h.Err != nil:
		result = "failed"
	}
	x.server.options.Observer.Handshake(x.server.options.Now().Sub(x.tlsFrom), versionName(h.State.Version), result)
}

func versionName(v uint16) string {
	switch v {
	case tls.VersionTLS10:
		return "1.0"
	case tls.VersionTLS11:
		return "1.1"
	case tls.VersionTLS12:
		return "1.2"
	case tls.VersionTLS13:
		return "1.3"
	}
	return ""
}
