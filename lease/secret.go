package lease

import (
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/tlsink/tlsink/scenario"
)

// secrets are what makes a lease hard to guess.
type secrets struct{ id, capability, random string }

// newSecrets makes an id in the form of test ids, a capability of 160 bits and
// the random part of a token, 50 bits.
func newSecrets(r io.Reader) (secrets, error) {
	b := make([]byte, 4+20+7)
	if _, err := io.ReadFull(r, b); err != nil {
		return secrets{}, fmt.Errorf("make secrets of a lease: %w", err)
	}
	enc := base32.NewEncoding(scenario.TokenAlphabet).WithPadding(base32.NoPadding)
	return secrets{
		id:         strings.ToUpper(enc.EncodeToString(b[:4])[:6]),
		capability: base64.RawURLEncoding.EncodeToString(b[4:24]),
		random:     enc.EncodeToString(b[24:])[:10],
	}, nil
}

// networkOf returns the /24 of a client, or its /48.
func networkOf(client netip.Addr) netip.Prefix {
	client = client.Unmap().WithZone("")
	if !client.IsValid() {
		return netip.Prefix{}
	}
	bits := 48
	if client.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(client, bits).Masked()
}
