package zones

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	tsigFudge  = 300 // seconds that clocks may differ (RFC 8945 §10)
	minMAC     = 10  // octets, of a truncated MAC (RFC 8945 §5.2.2.1)
	minSecret  = 16
	maxSecret  = 512
	tsigFixed  = 10 + 16 + 6 // of a TSIG record: header, fixed fields, time in other data
	arcountOff = 10          // of ARCOUNT in the header
)

// TSIGKey is a shared secret that messages are authenticated with (RFC 8945).
type TSIGKey struct {
	Name      string // a domain name
	Algorithm string // hmac-sha256, hmac-sha384 or hmac-sha512
	Secret    []byte
}

// ParseTSIGKey reads a key whose secret is in base64, as tsig-keygen and
// keymgr print it. An empty algorithm means hmac-sha256.
func ParseTSIGKey(name, algorithm, secret string) (TSIGKey, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(secret))
	if err != nil {
		return TSIGKey{}, fmt.Errorf("TSIG key %q: the secret is not in base64", name)
	}
	key := TSIGKey{Name: name, Algorithm: algorithm, Secret: raw}
	if algorithm == "" {
		key.Algorithm = "hmac-sha256"
	}
	if _, err := key.prepare(); err != nil {
		return TSIGKey{}, err
	}
	return key, nil
}

// String names the key, without its secret.
func (k TSIGKey) String() string { return k.Algorithm + ":" + k.Name }

// GoString is String: a secret is not printed by accident.
func (k TSIGKey) GoString() string { return k.String() }

// tsigKey is a checked key, names in canonical form.
type tsigKey struct {
	name, algorithm string
	secret          []byte
	hash            func() hash.Hash
}

func (k TSIGKey) prepare() (*tsigKey, error) {
	out := &tsigKey{name: dns.CanonicalName(k.Name), algorithm: dns.CanonicalName(k.Algorithm), secret: k.Secret}
	if err := checkHostname(out.name); err != nil {
		return nil, fmt.Errorf("TSIG key %q: %w", k.Name, err)
	}
	switch out.algorithm {
	case dns.HmacSHA256:
		out.hash = sha256.New
	case dns.HmacSHA384:
		out.hash = sha512.New384
	case dns.HmacSHA512:
		out.hash = sha512.New
	default:
		return nil, fmt.Errorf("TSIG key %q: algorithm %q: want hmac-sha256, hmac-sha384 or hmac-sha512", k.Name, k.Algorithm)
	}
	if len(k.Secret) < minSecret || len(k.Secret) > maxSecret {
		return nil, fmt.Errorf("TSIG key %q: the secret has %d octets: want %d to %d, e.g. as tsig-keygen makes it", k.Name, len(k.Secret), minSecret, maxSecret)
	}
	return out, nil
}

// Generate returns the MAC of a message with its TSIG variables.
func (k *tsigKey) Generate(msg []byte, _ *dns.TSIG) ([]byte, error) {
	mac := hmac.New(k.hash, k.secret)
	mac.Write(msg)
	return mac.Sum(nil), nil
}

var (
	errTruncated = errors.New("truncated MAC") // right as far as it goes
	errMACSize   = errors.New("MAC of a size that can't be")
)

// Verify checks a MAC. RFC 8945 §5.2.2.1: one that was cut short is compared as
// far as it goes, and then refused.
func (k *tsigKey) Verify(msg []byte, t *dns.TSIG) error {
	got, err := hex.DecodeString(t.MAC)
	if err != nil {
		return err
	}
	want, err := k.Generate(msg, t)
	if err != nil {
		return err
	}
	if len(got) > len(want) || len(got) < max(minMAC, len(want)/2) {
		return errMACSize
	}
	if !hmac.Equal(want[:len(got)], got) {
		return dns.ErrSig
	}
	if len(got) < len(want) {
		return errTruncated
	}
	return nil
}

var _ dns.TsigProvider = (*tsigKey)(nil)

// tsigSession signs the answers to one request, which form a chain.
type tsigSession struct {
	key        *tsigKey // nil: unknown
	request    *dns.TSIG
	mac        []byte // of the request, then of the last answer
	rcode      uint16 // what is wrong with the request's TSIG
	timersOnly bool   // from the second answer on
}

// reserve is how many octets the session's TSIG record takes at most.
func (s *tsigSession) reserve() int {
	n := len(s.request.Hdr.Name) + 1 + len(s.request.Algorithm) + 1 + tsigFixed
	if s.key != nil {
		n += s.key.hash().Size()
	}
	return n
}

// authenticate checks the TSIG record of msg, whose wire form is given, and
// takes it out of msg. Without one the session is nil. An rcode other than NOERROR
// means that the message is malformed.
func (z *Zone) authenticate(wire []byte, msg *dns.Msg, now time.Time) (s *tsigSession, rcode int) {
	i := slices.IndexFunc(msg.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeTSIG })
	if i < 0 {
		return nil, dns.RcodeSuccess
	}
	t, ok := msg.Extra[i].(*dns.TSIG)
	// RFC 8945 §5.1: there is one, and it is the last record. The library takes
	// one without data.
	if !ok || t.Algorithm == "" || i != len(msg.Extra)-1 || t.Hdr.Class != dns.ClassANY || t.Hdr.Ttl != 0 {
		return nil, dns.RcodeFormatError
	}
	msg.Extra = msg.Extra[:i]
	s = &tsigSession{request: t, key: z.tsigKeys[dns.CanonicalName(t.Hdr.Name)]}
	if s.key == nil || s.key.algorithm != dns.CanonicalName(t.Algorithm) {
		s.key, s.rcode = nil, dns.RcodeBadKey
		return s, dns.RcodeSuccess
	}
	// The library compares with its own clock, but last of all.
	err := dns.TsigVerifyWithProvider(slices.Clone(wire), s.key, "", false)
	switch {
	case err == nil, errors.Is(err, dns.ErrTime), errors.Is(err, errTruncated):
	case errors.Is(err, dns.ErrSig):
		s.rcode = dns.RcodeBadSig
		return s, dns.RcodeSuccess
	default:
		return nil, dns.RcodeFormatError
	}
	mac, bad := hex.DecodeString(t.MAC)
	if bad != nil {
		return nil, dns.RcodeFormatError
	}
	s.mac = mac
	// RFC 8945 §5.2: the time comes before the policy on truncation.
	switch {
	case !timely(t, now):
		s.rcode = dns.RcodeBadTime
	case errors.Is(err, errTruncated):
		s.rcode = dns.RcodeBadTrunc
	}
	return s, dns.RcodeSuccess
}

func timely(t *dns.TSIG, now time.Time) bool {
	return now.Sub(time.Unix(int64(t.TimeSigned&(1<<48-1)), 0)).Abs() <= time.Duration(t.Fudge)*time.Second
}

// sign appends a TSIG record to an answer in wire form.
func (s *tsigSession) sign(wire []byte, now time.Time) ([]byte, error) {
	t := &dns.TSIG{
		Hdr:        dns.RR_Header{Name: s.request.Hdr.Name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm:  s.request.Algorithm,
		TimeSigned: uint64(now.Unix()), Fudge: tsigFudge, Error: s.rcode,
		OrigId: binary.BigEndian.Uint16(wire),
	}
	if s.rcode == dns.RcodeBadTime {
		// RFC 8945 §5.2.3: the client's time, so that it takes the answer; ours beside it.
		t.OtherLen, t.OtherData = 6, fmt.Sprintf("%012x", t.TimeSigned)
		t.TimeSigned, t.Fudge = s.request.TimeSigned, s.request.Fudge
	}
	// RFC 8945 §5.3.2: these two answers are not signed.
	if s.rcode != dns.RcodeBadKey && s.rcode != dns.RcodeBadSig {
		mac, err := s.digest(wire, t)
		if err != nil {
			return nil, err
		}
		s.mac, s.timersOnly = mac, true
		t.MAC, t.MACSize = hex.EncodeToString(mac), uint16(len(mac))
	}
	size := dns.Len(t)
	out := slices.Grow(wire, size)[:len(wire)+size]
	end, err := dns.PackRR(t, out, len(wire), nil, false)
	if err != nil {
		return nil, fmt.Errorf("sign DNS message: %w", err)
	}
	binary.BigEndian.PutUint16(out[arcountOff:], binary.BigEndian.Uint16(out[arcountOff:])+1)
	return out[:end], nil
}

// digest is the MAC over what RFC 8945 §4.3 lists: the MAC before, the message,
// and the TSIG variables, of which later messages have only the timers (§5.3.1).
func (s *tsigSession) digest(wire []byte, t *dns.TSIG) ([]byte, error) {
	var b []byte
	if len(s.mac) > 0 {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s.mac)))
		b = append(b, s.mac...)
	}
	b = append(b, wire...)
	if !s.timersOnly {
		var name [maxWireName + 1]byte
		n, err := dns.PackDomainName(s.key.name, name[:], 0, nil, false)
		if err != nil {
			return nil, fmt.Errorf("sign DNS message: %w", err)
		}
		b = append(b, name[:n]...)
		b = binary.BigEndian.AppendUint16(b, dns.ClassANY)
		b = binary.BigEndian.AppendUint32(b, 0)
		if n, err = dns.PackDomainName(s.key.algorithm, name[:], 0, nil, false); err != nil {
			return nil, fmt.Errorf("sign DNS message: %w", err)
		}
		b = append(b, name[:n]...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(t.TimeSigned>>32))
	b = binary.BigEndian.AppendUint32(b, uint32(t.TimeSigned))
	b = binary.BigEndian.AppendUint16(b, t.Fudge)
	if !s.timersOnly {
		b = binary.BigEndian.AppendUint16(b, t.Error)
		b = binary.BigEndian.AppendUint16(b, t.OtherLen)
		other, err := hex.DecodeString(t.OtherData)
		if err != nil {
			return nil, fmt.Errorf("sign DNS message: %w", err)
		}
		b = append(b, other...)
	}
	return s.key.Generate(b, t)
}
