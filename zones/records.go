package zones

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/scenario"
)

// maxData is the longest record data taken from a caller, in octets.
const maxData = 8 << 10

// settableTypes are the types that can be set through libdns: those that need
// no work from the server but to be answered.
func settableTypes() []uint16 {
	return []uint16{dns.TypeA, dns.TypeMX, dns.TypeTXT, dns.TypeAAAA, dns.TypeTLSA}
}

func settable(rrtype uint16) bool { return slices.Contains(settableTypes(), rrtype) }

// ownerName checks the name of a libdns record and makes it absolute.
func (z *Zone) ownerName(name string) (string, nameKey, error) {
	if name == "" {
		return "", "", errors.New(`empty name: want a name relative to the zone, "@" for the zone itself`)
	}
	fqdn := dns.CanonicalName(libdns.AbsoluteName(name, z.opts.Zone))
	if err := checkHostname(fqdn); err != nil {
		return "", "", fmt.Errorf("name %q: %w", name, err)
	}
	key, err := keyOf(fqdn)
	if err != nil {
		return "", "", err
	}
	if !key.within(z.apex) {
		return "", "", fmt.Errorf("name %q is not in zone %q", name, z.opts.Zone)
	}
	return fqdn, key, nil
}

// fromLibdns turns a libdns record into ours, with the TTL it will have.
func (z *Zone) fromLibdns(rec libdns.Record) (setID, dns.RR, error) {
	in := rec.RR()
	fqdn, key, err := z.ownerName(in.Name)
	if err != nil {
		return setID{}, nil, err
	}
	rrtype, ok := dns.StringToType[strings.ToUpper(in.Type)]
	if !ok || !settable(rrtype) {
		return setID{}, nil, fmt.Errorf("%s %s: records of this type can't be set in this zone", fqdn, in.Type)
	}
	if err := z.checkUnprotected(fqdn, rrtype); err != nil {
		return setID{}, nil, err
	}
	rr, err := parseData(rrtype, in.Data)
	if err != nil {
		return setID{}, nil, fmt.Errorf("%s %s %q: %w", fqdn, in.Type, in.Data, err)
	}
	*rr.Header() = dns.RR_Header{Name: fqdn, Rrtype: rrtype, Class: dns.ClassINET, Ttl: z.clampTTL(in.TTL)}
	return setID{key, rrtype}, rr, nil
}

// clampTTL turns a libdns TTL into seconds. Nothing in the zone may live longer
// than the zone's own TTL, so that every change is seen in time.
func (z *Zone) clampTTL(ttl time.Duration) uint32 {
	if ttl <= 0 {
		return z.ttl
	}
	return uint32(min(ttl/time.Second, time.Duration(z.ttl)))
}

// checkUnprotected refuses records that would make ut a protected domain: every
// verdict rests on it having neither DANE nor MTA-STS.
func (z *Zone) checkUnprotected(fqdn string, rrtype uint16) error {
	rest := strings.TrimSuffix(fqdn, "."+z.opts.Zone)
	first, _, _ := strings.Cut(rest, ".")
	last := rest[strings.LastIndexByte(rest, '.')+1:]
	t, ok := scenario.Find(z.opts.Zone, last+"."+z.opts.Zone)
	if !ok || t.Role != scenario.RoleUT {
		return nil
	}
	if rrtype == dns.TypeTLSA || first == "_mta-sts" || first == "mta-sts" {
		return fmt.Errorf("%s %s: ut is the unprotected test domain and must have neither TLSA nor MTA-STS", fqdn, dns.TypeToString[rrtype])
	}
	return nil
}

// parseData reads record data as libdns writes it: text of TXT as it is, else
// the zone file form, with names that are always absolute.
func parseData(rrtype uint16, data string) (dns.RR, error) {
	if len(data) > maxData {
		return nil, fmt.Errorf("data is longer than %d octets", maxData)
	}
	if rrtype == dns.TypeTXT {
		return &dns.TXT{Txt: splitTXT(data)}, nil
	}
	if data == "" {
		return nil, errors.New("data is missing")
	}
	// Nothing but the fields of one record: no further lines, comments, groups,
	// strings or escapes, which none of these types need.
	if strings.ContainsFunc(data, unicode.IsControl) || strings.ContainsAny(data, "();\"\\") {
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
	if _, err := dns.PackRR(rr, make([]byte, dns.Len(rr)+maxData), 0, nil, false); err != nil {
		return nil, err
	}
	return rr, nil
}

// toLibdns returns a record as the concrete type that libdns has for it; TLSA,
// for which it has none, as libdns.RR.
func (z *Zone) toLibdns(rr dns.RR) (libdns.Record, error) {
	header := rr.Header()
	out := libdns.RR{
		Name: libdns.RelativeName(header.Name, z.opts.Zone),
		TTL:  time.Duration(header.Ttl) * time.Second,
		Type: dns.TypeToString[header.Rrtype],
		Data: dataOf(rr),
	}
	rec, err := out.Parse()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", header.Name, out.Type, err)
	}
	return rec, nil
}

// dataOf returns the data of a record as libdns writes it.
func dataOf(rr dns.RR) string {
	if txt, ok := rr.(*dns.TXT); ok {
		return joinTXT(txt.Txt)
	}
	data := strings.TrimPrefix(rr.String(), rr.Header().String())
	if rr.Header().Rrtype == dns.TypeTLSA {
		return strings.ToLower(data)
	}
	return data
}
