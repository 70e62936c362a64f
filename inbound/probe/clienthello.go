package probe

import (
	"crypto/ecdh"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
)

// The protocol versions on the wire (RFC 8446 §4.2.1, RFC 6101).
const (
	wireSSL3  = 0x0300
	wireTLS10 = 0x0301
	wireTLS11 = 0x0302
	wireTLS12 = 0x0303
	wireTLS13 = 0x0304
)

// Record and handshake types (RFC 8446 §5.1, §4).
const (
	recordAlert     = 21
	recordHandshake = 22

	typeClientHello     = 1
	typeServerHello     = 2
	typeCertificate     = 11
	typeServerHelloDone = 14
)

// The extensions that are sent or read.
const (
	extServerName        = 0
	extGroups            = 10
	extPointFormats      = 11
	extSignatures        = 13
	extPadding           = 21
	extMasterSecret      = 23
	extSupportedVersions = 43
	extPSKModes          = 45
	extKeyShare          = 51

	groupX25519 = 0x001d
)

// clientHello is the first message of a handshake that offers one version.
type clientHello struct {
	version    uint16   // the highest; of TLS 1.3 the only one
	suites     []uint16 // in order of preference
	serverName string   // SNI; left out if it is empty or an address
}

// builder writes the presentation language of TLS (RFC 8446 §3).
type builder []byte

func (b *builder) u8(v ...uint8) { *b = append(*b, v...) }

func (b *builder) u16(vs ...uint16) {
	for _, v := range vs {
		*b = binary.BigEndian.AppendUint16(*b, v)
	}
}

// vector writes what f does behind its length of size octets.
func (b *builder) vector(size int, f func()) {
	start := len(*b)
	*b = append(*b, make([]byte, size)...)
	f()
	n := len(*b) - start - size
	for i := range size {
		(*b)[start+i] = byte(n >> (8 * (size - 1 - i)))
	}
}

func (b *builder) extension(id uint16, f func()) {
	b.u16(id)
	b.vector(2, f)
}

// marshal returns the message in one record.
func (h clientHello) marshal(rand io.Reader) ([]byte, error) {
	var noise [64]byte // client random and session ID
	if _, err := io.ReadFull(rand, noise[:]); err != nil {
		return nil, fmt.Errorf("make a ClientHello: %w", err)
	}
	share, err := keyShare(rand)
	if err != nil {
		return nil, err
	}
	var b builder
	b.u8(recordHandshake)
	// RFC 8446 §5.1: the first record says 3.1, for the sake of old servers.
	b.u16(min(h.version, wireTLS10))
	b.vector(2, func() {
		b.u8(typeClientHello)
		b.vector(3, func() { h.body(&b, noise, share) })
	})
	return b, nil
}

// keyShare returns a public key for X25519. The private key is dropped: no
// handshake is completed.
func keyShare(rand io.Reader) ([]byte, error) {
	var seed [32]byte
	if _, err := io.ReadFull(rand, seed[:]); err != nil {
		return nil, fmt.Errorf("make a key share: %w", err)
	}
	key, err := ecdh.X25519().NewPrivateKey(seed[:])
	if err != nil {
		return nil, fmt.Errorf("make a key share: %w", err)
	}
	return key.PublicKey().Bytes(), nil
}

func (h clientHello) body(b *builder, noise [64]byte, share []byte) {
	start := len(*b)
	b.u16(min(h.version, wireTLS12)) // RFC 8446 §4.1.2: legacy_version
	b.u8(noise[:32]...)
	b.vector(1, func() {
		// RFC 8446 §D.4: with a session ID, TLS 1.3 looks to a middlebox like a
		// session that is resumed.
		if h.version == wireTLS13 {
			b.u8(noise[32:]...)
		}
	})
	b.vector(2, func() {
		b.u16(h.suites...)
		if h.version < wireTLS13 {
			b.u16(0x00ff) // RFC 5746 §3.3: TLS_EMPTY_RENEGOTIATION_INFO_SCSV
		}
	})
	b.u8(1, 0) // compression: none
	if h.version == wireSSL3 {
		return // extensions are younger (RFC 6066)
	}
	b.vector(2, func() {
		h.extensions(b, share)
		// RFC 7685 §4: some servers hang on a message of 256 to 511 octets.
		if n := len(*b) - start + 4; n > 255 && n < 512 {
			b.extension(extPadding, func() { *b = append(*b, make([]byte, max(1, 512-n-4))...) })
		}
	})
}

func (h clientHello) extensions(b *builder, share []byte) {
	if _, err := netip.ParseAddr(h.serverName); err != nil && h.serverName != "" {
		b.extension(extServerName, func() {
			b.vector(2, func() {
				b.u8(0) // host_name
				b.vector(2, func() { b.u8([]byte(h.serverName)...) })
			})
		})
	}
	b.extension(extGroups, func() {
		b.vector(2, func() {
			b.u16(groupX25519, 0x0017, 0x0018, 0x0019, 0x001e) // P-256, P-384, P-521, X448
			if h.version == wireTLS13 {
				b.u16(0x11ec, 0x11eb, 0x001f, 0x0020, 0x0021) // with ML-KEM, brainpool for TLS 1.3
			} else {
				b.u16(0x001a, 0x001b, 0x001c) // brainpool
			}
			b.u16(0x0100, 0x0101, 0x0102, 0x0103, 0x0104) // ffdhe2048 to ffdhe8192
		})
	})
	b.extension(extPointFormats, func() { b.vector(1, func() { b.u8(0) }) })
	if h.version >= wireTLS12 {
		b.extension(extSignatures, func() { b.vector(2, func() { b.u16(signatures()...) }) })
	}
	if h.version < wireTLS13 {
		b.extension(extMasterSecret, func() {}) // RFC 7627 §5.2: a server may insist on it
		return
	}
	b.extension(extSupportedVersions, func() { b.vector(1, func() { b.u16(wireTLS13) }) })
	b.extension(extPSKModes, func() { b.vector(1, func() { b.u8(1) }) }) // psk_dhe_ke
	b.extension(extKeyShare, func() {
		b.vector(2, func() {
			b.u16(groupX25519)
			b.vector(2, func() { b.u8(share...) })
		})
	})
}

// signatures are all schemes that a server may sign with (RFC 8446 §4.2.3, RFC
// 5246 §7.4.1.4.1), the bad ones too: it is not refused for its certificate.
func signatures() []uint16 {
	return []uint16{
		0x0403, 0x0503, 0x0603, // ECDSA
		0x0807, 0x0808, // Ed25519, Ed448
		0x081a, 0x081b, 0x081c, // ECDSA with brainpool curves
		0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, // RSA-PSS
		0x0401, 0x0501, 0x0601, // RSA with SHA-256 to SHA-512
		0x0303, 0x0301, 0x0302, 0x0402, 0x0502, 0x0602, // SHA-224, DSA
		0x0203, 0x0201, 0x0202, 0x0101, // SHA-1, MD5
	}
}

// ids returns what a ClientHello offers.
func ids(lists ...[]suite) []uint16 {
	var out []uint16
	for _, list := range lists {
		for _, s := range list {
			out = append(out, s.id)
		}
	}
	return out
}

// helloFor offers one version with all suites that it has.
func helloFor(version uint16, serverName string) clientHello {
	h := clientHello{version: version, serverName: serverName}
	if version == wireTLS13 {
		h.suites = ids(suites13())
	} else {
		h.suites = ids(forwardSuites(), staticSuites())
	}
	return h
}
