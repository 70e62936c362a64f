package desec

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones/internal/records"
)

// rrset is an RRset of the API. Records are in zone file form.
type rrset struct {
	Subname string   `json:"subname"`
	Type    string   `json:"type"`
	TTL     uint32   `json:"ttl,omitempty"`
	Records []string `json:"records"`
}

// label returns the name as libdns has it.
func (s rrset) label() string {
	if s.Subname == "" {
		return "@"
	}
	return s.Subname
}

func (s rrset) String() string { return s.label() + " " + s.Type }

// subname returns the name of the API, which is empty for the domain itself.
func subname(zone, fqdn string) string {
	if fqdn == zone {
		return ""
	}
	return strings.TrimSuffix(fqdn, "."+zone)
}

func newRRset(zone string, id records.ID, rrs []dns.RR) rrset {
	out := rrset{Subname: subname(zone, id.Name), Type: dns.TypeToString[id.Type], Records: []string{}}
	for _, rr := range rrs {
		out.TTL = rr.Header().Ttl
		data := strings.TrimPrefix(rr.String(), rr.Header().String())
		if id.Type == dns.TypeTLSA {
			data = strings.ToLower(data)
		}
		out.Records = append(out.Records, data)
	}
	return out
}

// parse returns the records of a set.
func (s rrset) parse(zone string) ([]dns.RR, error) {
	name := dns.CanonicalName(libdns.AbsoluteName(s.label(), zone))
	if _, ok := dns.IsDomainName(name); !ok || strings.ContainsFunc(name, unicode.IsSpace) {
		return nil, fmt.Errorf("deSEC returned the name %q", s.Subname)
	}
	if _, ok := dns.StringToType[s.Type]; !ok {
		return nil, fmt.Errorf("deSEC returned the unknown type %q", s.Type)
	}
	out := make([]dns.RR, len(s.Records))
	for i, data := range s.Records {
		if strings.ContainsFunc(data, unicode.IsControl) {
			return nil, fmt.Errorf("deSEC returned %q for %s: control characters", data, s)
		}
		rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", name, s.TTL, s.Type, data))
		if err == nil && rr == nil {
			err = errors.New("that is no record")
		}
		if err != nil {
			return nil, fmt.Errorf("deSEC returned %q for %s: %w", data, s, err)
		}
		out[i] = rr
	}
	return out, nil
}
