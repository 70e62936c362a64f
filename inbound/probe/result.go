package probe

import (
	"crypto/x509"
	"time"

	"github.com/tlsink/tlsink/inbound/check"
)

// Result is what one server at one address shows.
type Result struct {
	// Reached: it accepts connections and speaks SMTP. Untested if not: a server
	// that can't be reached from here is no failure.
	Reached  check.Result `json:"reached"`
	Greeting string       `json:"greeting,omitempty"`
	// StartTLS: it is offered, answered with 220, and some version of TLS is taken.
	StartTLS check.Result `json:"starttls,omitzero"`
	// Mandatory: without STARTTLS it takes no mail. No if it does not offer it.
	Mandatory check.Result `json:"mandatory,omitzero"`
	// Versions that were tried, the newest first; all of them, or none if there
	// was no handshake.
	Versions []Version `json:"versions,omitempty"`
	// ForwardSecrecy: every suite that it takes has it (TLS 1.3 always does). The
	// zero value if it has no TLS.
	ForwardSecrecy check.Result `json:"forward_secrecy,omitzero"`
	Certificate    *Certificate `json:"certificate,omitempty"` // nil if none was seen
	Connections    int          `json:"connections"`           // that were made
	Notes          []string     `json:"notes,omitempty"`       // what else is odd, a sentence each

	// Chain is what the server sent, its own certificate first.
	Chain []*x509.Certificate `json:"-"`
}

// The names of TLS versions, the newest first.
const (
	TLS13 = "1.3"
	TLS12 = "1.2"
	TLS11 = "1.1"
	TLS10 = "1.0"
	SSL3  = "SSLv3"
)

// Version is one TLS version.
type Version struct {
	Version  string       `json:"version"`
	Accepted check.Result `json:"accepted"`
	Suite    string       `json:"suite,omitempty"` // chosen by the server, IANA name
}

// Certificate is the server's certificate and what can be said of it.
type Certificate struct {
	Trusted check.Result `json:"trusted"` // up to a trusted root, whatever name and dates
	Name    check.Result `json:"name"`    // is for the name of the host
	Dates   check.Result `json:"dates"`   // is valid now, with all above it

	Subject   string    `json:"subject"`
	Names     []string  `json:"names,omitempty"`
	Issuer    string    `json:"issuer"`
	Root      string    `json:"root,omitempty"` // of the trusted chain
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Key       string    `json:"key"`       // e.g. "ECDSA P-256", "RSA 2048"
	Signature string    `json:"signature"` // e.g. "SHA256-RSA"
}

// Valid is what a sender that checks certificates asks: trusted, for this name,
// at this time. Without a certificate it is untested.
func (c *Certificate) Valid() check.Result {
	if c == nil {
		return check.Skip("no certificate was seen")
	}
	return check.Worst(c.Trusted, c.Name, c.Dates)
}
