package records

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"
)

// MaxData is the longest record data taken from a caller, in octets.
const MaxData = 8 << 10

// maxName is the longest name in presentation form, final dot included.
const maxName = 254

// Types returns the types that can be written.
func Types() []uint16 {
	return []uint16{dns.TypeA, dns.TypeMX, dns.TypeTXT, dns.TypeAAAA, dns.TypeTLSA}
}

// Settable reports whether records of a type can be written.
func Settable(rrtype uint16) bool { return slices.Contains(Types(), rrtype) }

// CheckName checks a canonical, fully qualified owner name: letters, digits,
// hyphen and underscore, no wildcard.
func CheckName(fqdn string) error {
	if fqdn == "." || !strings.HasSuffix(fqdn, ".") {
		return errors.New("want a domain name")
	}
	if len(fqdn) > maxName {
		return errors.New("name is longer than 253 octets")
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(fqdn, "."), ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("label %q: want 1 to 63 octets", label)
		}
		for _, r := range label {
			switch {
			case r == '*':
				return errors.New("wildcards are not served: one would answer _mta-sts.ut")
			case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '_':
			default:
				return fmt.Errorf("label %q: want letters, digits, '-' and '_'", label)
			}
		}
	}
	return nil
}

// Owner checks the name of a libdns record and makes it absolute, in lower case.
// zone is canonical.
func Owner(zone, name string) (string, error) {
	if name == "" {
		return "", errors.New(`empty name: want a name relative to the zone, "@" for the zone itself`)
	}
	fqdn := dns.CanonicalName(libdns.AbsoluteName(name, zone))
	if err := CheckName(fqdn); err != nil {
		return "", fmt.Errorf("name %q: %w", name, err)
	}
	if !dns.IsSubDomain(zone, fqdn) {
		return "", fmt.Errorf("name %q is not in zone %q", name, zone)
	}
	return fqdn, nil
}

// FromLibdns returns a record that may be written, with an absolute owner name.
// A TTL of 0 becomes ttl, in seconds.
func FromLibdns(zone string, rec libdns.Record, ttl uint32) (dns.RR, error) {
	if rec == nil {
		return nil, errors.New("a record is nil")
	}
	in := rec.RR()
	fqdn, err := Owner(zone, in.Name)
	if err != nil {
		return nil, err
	}
	rrtype, ok := dns.StringToType[strings.ToUpper(in.Type)]
	if !ok || !Settable(rrtype) {
		return nil, fmt.Errorf("%s %s: records of this type can't be set in this zone", fqdn, in.Type)
	}
	rr, err := Parse(rrtype, in.Data)
	if err != nil {
		return nil, fmt.Errorf("%s %s %q: %w", fqdn, in.Type, in.Data, err)
	}
	if in.TTL > 0 {
		ttl = uint32(min(in.TTL/time.Second, 1<<31-1)) // RFC 2181 §8
	}
	*rr.Header() = dns.RR_Header{Name: fqdn, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
	return rr, nil
}

// ToLibdns returns a record as the concrete type that libdns has for it, else as
// libdns.RR. Its name is relative to zone, in lower case.
func ToLibdns(zone string, rr dns.RR) libdns.Record {
	header := rr.Header()
	out := libdns.RR{
		Name: libdns.RelativeName(dns.CanonicalName(header.Name), zone),
		TTL:  time.Duration(header.Ttl) * time.Second,
		Type: dns.TypeToString[header.Rrtype],
		Data: Data(rr),
	}
	if out.Type == "" {
		out.Type = fmt.Sprintf("TYPE%d", header.Rrtype) // RFC 3597 §5
	}
	if rec, err := out.Parse(); err == nil {
		return rec
	}
	return out
}

// Parse reads record data as libdns writes it: text of TXT as it is, else the
// zone file form, with names that are always absolute. The header is empty but
// for the type.
func Parse(rrtype uint16, data string) (dns.RR, error) {
	if len(data) > MaxData {
		return nil, fmt.Errorf("data is longer than %d octets", MaxData)
	}
	if rrtype == dns.TypeTXT {
		return &dns.TXT{Hdr: dns.RR_Header{Rrtype: rrtype}, Txt: SplitTXT(data)}, nil
	}
	if data == "" {
		return nil, errors.New("data is missing")
	}
	// Nothing but the fields of one record: no further lines, comments, groups,
	// strings or escapes. Addresses, numbers, hex and host names need no more.
	if strings.ContainsFunc(data, func(r rune) bool { return !field(r) }) {
		return nil, errors.New("want the fields of one record on one line")
	}
	rr, err := dns.NewRR(". 0 IN " + dns.TypeToString[rrtype] + " " + data)
	if err != nil {
		return nil, err
	}
	if rr == nil || rr.Header().Rrtype != rrtype {
		return nil, errors.New("not the data of one record")
	}
	// What can't be packed could not be answered.
	if _, err := dns.PackRR(rr, make([]byte, dns.Len(rr)+MaxData), 0, nil, false); err != nil {
		return nil, err
	}
	return rr, nil
}

func field(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(" .-_:", r)
}

// Data returns the data of a record as libdns writes it.
func Data(rr dns.RR) string {
	if txt, ok := rr.(*dns.TXT); ok {
		return JoinTXT(txt.Txt)
	}
	data := strings.TrimPrefix(rr.String(), rr.Header().String())
	if rr.Header().Rrtype == dns.TypeTLSA {
		return strings.ToLower(data)
	}
	return data
}

// SplitTXT splits text into character strings of at most 255 octets
// (RFC 1035 §3.3), with backslashes escaped as the dns package wants them.
func SplitTXT(text string) []string {
	if text == "" {
		return []string{""}
	}
	var out []string
	for part := range slices.Chunk([]byte(text), 255) {
		out = append(out, strings.ReplaceAll(string(part), `\`, `\\`))
	}
	return out
}

// JoinTXT is the reverse of SplitTXT, also for strings from the wire or from a
// zone file, in which more is escaped (RFC 1035 §5.1: \X and \DDD).
func JoinTXT(parts []string) string {
	joined := strings.Join(parts, "")
	if !strings.Contains(joined, `\`) {
		return joined
	}
	out := make([]byte, 0, len(joined))
	for i := 0; i < len(joined); i++ {
		if joined[i] != '\\' || i+1 == len(joined) {
			out = append(out, joined[i])
			continue
		}
		i++
		if i+2 < len(joined) && digits(joined[i:i+3]) {
			code := int(joined[i]-'0')*100 + int(joined[i+1]-'0')*10 + int(joined[i+2]-'0')
			if code <= 255 {
				out = append(out, byte(code))
				i += 2
				continue
			}
		}
		out = append(out, joined[i])
	}
	return string(out)
}

func digits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// SameData compares the data of two records of one type: names and hex in any
// case.
func SameData(a, b dns.RR) bool {
	if a.Header().Rrtype == dns.TypeTXT {
		return Data(a) == Data(b)
	}
	return strings.EqualFold(Data(a), Data(b))
}

// Contains reports whether a set has a record with the data of rr.
func Contains(set []dns.RR, rr dns.RR) bool {
	return slices.ContainsFunc(set, func(o dns.RR) bool { return SameData(o, rr) })
}

// SameSet reports whether two sets have the same members, whatever their order
// and TTL.
func SameSet(a, b []dns.RR) bool {
	return len(a) == len(b) && !slices.ContainsFunc(b, func(rr dns.RR) bool { return !Contains(a, rr) })
}
