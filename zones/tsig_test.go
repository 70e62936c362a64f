package zones_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

// testKey is a key that secondaries have in tests.
func testKey(algorithm string) zones.TSIGKey {
	return zones.TSIGKey{Name: "xfr.example", Algorithm: algorithm, Secret: slices.Repeat([]byte{7, 11}, 24)}
}

func secretOf(k zones.TSIGKey) string { return base64.StdEncoding.EncodeToString(k.Secret) }

// transferOptions are those of a zone that may be copied with testKey.
func transferOptions(secondaries ...netip.AddrPort) zones.Options {
	o := options()
	o.Transfer = zones.Transfer{Keys: []zones.TSIGKey{testKey("hmac-sha256")}, Secondaries: secondaries}
	return o
}

// signed returns m in wire form, signed by key at a time, and its MAC in hex.
func signed(t testing.TB, m *dns.Msg, key zones.TSIGKey, at time.Time) ([]byte, string) {
	t.Helper()
	m = m.Copy()
	m.SetTsig(dns.CanonicalName(key.Name), dns.Fqdn(key.Algorithm), 300, at.Unix())
	wire, mac, err := dns.TsigGenerate(m, secretOf(key), "", false)
	if err != nil {
		t.Fatal(err)
	}
	return wire, mac
}

// checkSigned fails unless wire is signed by key as the answer to a message
// with a MAC. It is written from RFC 8945 §4.3, not from the server.
func checkSigned(t testing.TB, wire []byte, key zones.TSIGKey, mac string) {
	t.Helper()
	var m dns.Msg
	if err := m.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	tsig := m.IsTsig()
	if tsig == nil {
		t.Errorf("not signed:\n%v", &m)
		return
	}
	name := func(s string) []byte {
		b := make([]byte, 256)
		n, err := dns.PackDomainName(dns.CanonicalName(s), b, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		return b[:n]
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	message := slices.Clone(wire[:len(wire)-dns.Len(tsig)])
	binary.BigEndian.PutUint16(message[10:], binary.BigEndian.Uint16(wire[10:])-1)
	request := unhex(mac)
	hash := map[string]func() hash.Hash{"hmac-sha256.": sha256.New, "hmac-sha384.": sha512.New384, "hmac-sha512.": sha512.New}[dns.CanonicalName(tsig.Algorithm)]
	digest := hmac.New(hash, key.Secret)
	for _, part := range [][]byte{
		binary.BigEndian.AppendUint16(nil, uint16(len(request))), request, message,
		name(tsig.Hdr.Name),
		{0, 255, 0, 0, 0, 0},
		name(tsig.Algorithm),
		binary.BigEndian.AppendUint64(nil, tsig.TimeSigned)[2:], binary.BigEndian.AppendUint16(nil, tsig.Fudge),
		binary.BigEndian.AppendUint16(nil, tsig.Error), binary.BigEndian.AppendUint16(nil, tsig.OtherLen), unhex(tsig.OtherData),
	} {
		digest.Write(part)
	}
	if !hmac.Equal(digest.Sum(nil), unhex(tsig.MAC)) {
		t.Errorf("answer not signed as it should be:\n%v", &m)
	}
}

func TestTSIG(t *testing.T) {
	clk := newClock()
	o := transferOptions()
	o.Now = clk.Now
	for _, algorithm := range []string{"hmac-sha384", "hmac-sha512"} {
		key := testKey(algorithm)
		key.Name = algorithm + ".example"
		o.Transfer.Keys = append(o.Transfer.Keys, key)
	}
	z := newZone(t, o)
	good, now := o.Transfer.Keys[0], clk.Now()
	soa := new(dns.Msg).SetQuestion(zoneName, dns.TypeSOA)
	cut := func(octets int) func([]byte) []byte {
		return func(wire []byte) []byte { return cutMAC(t, wire, octets) }
	}
	for _, c := range []struct {
		name   string
		query  *dns.Msg
		key    zones.TSIGKey
		at     time.Time
		change func(wire []byte) []byte
		rcode  int
		tsig   int
		signed bool
	}{
		{name: "SHA-256", query: soa, key: good, at: now, signed: true},
		{name: "SHA-384", query: soa, key: o.Transfer.Keys[1], at: now, signed: true},
		{name: "SHA-512", query: soa, key: o.Transfer.Keys[2], at: now, signed: true},
		{name: "with EDNS", query: soa.Copy().SetEdns0(1232, true), key: good, at: now, signed: true},
		{name: "name in capitals", query: new(dns.Msg).SetQuestion("eT."+zoneName, dns.TypeMX), key: zones.TSIGKey{Name: "XFR.example", Algorithm: "HMAC-SHA256", Secret: good.Secret}, at: now, signed: true},
		{name: "refused", query: new(dns.Msg).SetQuestion("example.", dns.TypeA), key: good, at: now, rcode: dns.RcodeRefused, signed: true},
		{name: "UPDATE", query: new(dns.Msg).SetUpdate(zoneName), key: good, at: now, rcode: dns.RcodeNotImplemented, signed: true},
		{name: "NOTIFY", query: new(dns.Msg).SetNotify(zoneName), key: good, at: now, rcode: dns.RcodeNotImplemented, signed: true},
		{name: "clocks differ a little", query: soa, key: good, at: now.Add(-299 * time.Second), signed: true},

		{name: "unknown key", query: soa, key: zones.TSIGKey{Name: "other.example", Algorithm: "hmac-sha256", Secret: good.Secret}, at: now, rcode: dns.RcodeNotAuth, tsig: dns.RcodeBadKey},
		{name: "another algorithm", query: soa, key: zones.TSIGKey{Name: good.Name, Algorithm: "hmac-sha512", Secret: good.Secret}, at: now, rcode: dns.RcodeNotAuth, tsig: dns.RcodeBadKey},
		{name: "another secret", query: soa, key: zones.TSIGKey{Name: good.Name, Algorithm: "hmac-sha256", Secret: []byte("sixteen octets..")}, at: now, rcode: dns.RcodeNotAuth, tsig: dns.RcodeBadSig},
		{name: "message changed", query: soa, key: good, at: now, change: func(w []byte) []byte { w[2] ^= 1; return w }, rcode: dns.RcodeNotAuth, tsig: dns.RcodeBadSig},
		{name: "too early", query: soa, key: good, at: now.Add(301 * time.Second), rcode: dns.RcodeNotAuth, tsig: dns.RcodeBadTime, signed: true},
		{name: "too late", query: soa, key: good, at: now.Add(-301 * time.Second), rcode: dns.RcodeNotAuth, tsig: dns.RcodeBadTime, signed: true},
		{name: "MAC cut to half", query: soa, key: good, at: now, change: cut(16), rcode: dns.RcodeNotAuth, tsig: dns.RcodeBadTrunc},
		{name: "MAC cut to less", query: soa, key: good, at: now, change: cut(15), rcode: dns.RcodeFormatError},
		{name: "no MAC", query: soa, key: good, at: now, change: cut(0), rcode: dns.RcodeFormatError},
		{name: "record after it", query: soa, key: good, at: now, change: func(w []byte) []byte {
			w[11]++
			return append(w, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0)
		}, rcode: dns.RcodeFormatError},
	} {
		t.Run(c.name, func(t *testing.T) {
			wire, mac := signed(t, c.query, c.key, c.at)
			if c.change != nil {
				wire = c.change(wire)
			}
			out := zones.Respond(t.Context(), z, wire, client(), true)
			var m dns.Msg
			if err := m.Unpack(out); err != nil {
				t.Fatal(err)
			}
			if m.Rcode != c.rcode || m.Id != c.query.Id {
				t.Errorf("%s, want %s", dns.RcodeToString[m.Rcode], dns.RcodeToString[c.rcode])
			}
			tsig := m.IsTsig()
			if (tsig != nil) != (c.signed || c.tsig != 0) {
				t.Fatalf("TSIG record: %v", tsig)
			}
			if tsig != nil && int(tsig.Error) != c.tsig {
				t.Errorf("TSIG error %d, want %d", tsig.Error, c.tsig)
			}
			if c.signed {
				checkSigned(t, out, c.key, mac)
			} else if tsig != nil && c.tsig != dns.RcodeBadTrunc && tsig.MACSize != 0 {
				t.Errorf("signed, though the request was not authentic: %v", tsig)
			}
			if c.tsig == dns.RcodeBadTime && (tsig.OtherData != hex.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(now.Unix()))[2:]) || tsig.TimeSigned != uint64(c.at.Unix())) {
				t.Errorf("RFC 8945 §5.2.3: %v", tsig)
			}
		})
	}
}

// cutMAC shortens the MAC of a message that ends in a TSIG record.
func cutMAC(t *testing.T, wire []byte, octets int) []byte {
	t.Helper()
	var m dns.Msg
	if err := m.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	tsig := m.IsTsig()
	tsig.MAC, tsig.MACSize = tsig.MAC[:2*octets], uint16(octets)
	out, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Answers with TSIG stay within the client's buffer, too.
func TestTSIGFitsUDP(t *testing.T) {
	o := transferOptions()
	z := newZone(t, o)
	for size := uint16(512); size < 1300; size += 13 {
		for _, name := range []string{"s1._domainkey.", "et.", "_25._tcp.mx04.et.", "nope.et."} {
			q := new(dns.Msg).SetQuestion(name+zoneName, dns.TypeANY).SetEdns0(size, true)
			wire, mac := signed(t, q, testKey("hmac-sha256"), o.Now())
			out := zones.Respond(t.Context(), z, wire, client(), true)
			if len(out) > int(min(size, 1232)) {
				t.Errorf("%s: %d octets for a buffer of %d", name, len(out), size)
			}
			checkSigned(t, out, testKey("hmac-sha256"), mac)
		}
	}
}

func TestTSIGKeysAreChecked(t *testing.T) {
	for _, c := range []struct {
		name      string
		key       zones.TSIGKey
		want      string
		parseOnly bool
	}{
		{"no name", zones.TSIGKey{Algorithm: "hmac-sha256", Secret: make([]byte, 32)}, "domain name", false},
		{"MD5", zones.TSIGKey{Name: "k", Algorithm: "hmac-md5", Secret: make([]byte, 32)}, "hmac-sha256, hmac-sha384 or hmac-sha512", false},
		{"SHA-1", zones.TSIGKey{Name: "k", Algorithm: "hmac-sha1", Secret: make([]byte, 32)}, "hmac-sha1", false},
		{"short secret", zones.TSIGKey{Name: "k", Algorithm: "hmac-sha256", Secret: make([]byte, 15)}, "15 octets", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options()
			o.Transfer.Keys = []zones.TSIGKey{c.key}
			if _, err := zones.New(o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
			if _, err := zones.ParseTSIGKey(c.key.Name, c.key.Algorithm, secretOf(c.key)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("parse: error %v, want one about %q", err, c.want)
			}
		})
	}
	key, err := zones.ParseTSIGKey("k.example", "", " AAECAwQFBgcICQoLDA0ODxAREhM=\n")
	if err != nil || key.Algorithm != "hmac-sha256" || len(key.Secret) != 20 {
		t.Errorf("%v, %v", key, err)
	}
	if _, err := zones.ParseTSIGKey("k", "", "not base64!"); err == nil || strings.Contains(err.Error(), "not base64!") {
		t.Errorf("error %v: want one without the secret", err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, zones.Options{Transfer: zones.Transfer{Keys: []zones.TSIGKey{testKey("hmac-sha256")}}}); strings.Contains(s, "7, 11") || strings.Contains(s, "7 11") || strings.Contains(s, "0x7") {
			t.Errorf("%s prints the secret", format)
		}
	}
	o := options()
	o.Transfer.Keys = []zones.TSIGKey{testKey("hmac-sha256"), testKey("hmac-sha512")}
	if _, err := zones.New(o); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("error %v for two keys of one name", err)
	}
}
