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

// ID names an RRset.
type ID struct {
	Name string // canonical
	Type uint16
}

func (id ID) String() string { return id.Name + " " + dns.TypeToString[id.Type] }

// IDOf returns the RRset that a record belongs to.
func IDOf(rr dns.RR) ID { return ID{dns.CanonicalName(rr.Header().Name), rr.Header().Rrtype} }

// Sets are RRsets, and the order in which they first came.
type Sets struct {
	Order []ID
	Of    map[ID][]dns.RR
}

// Group sorts records into RRsets. A record that is there already is left out.
// All of a set get the lowest TTL of them (RFC 2181 §5.2).
func Group(rrs []dns.RR) Sets {
	s := Sets{Of: make(map[ID][]dns.RR)}
	for _, rr := range rrs {
		id := IDOf(rr)
		set, ok := s.Of[id]
		if !ok {
			s.Order = append(s.Order, id)
		}
		if !Contains(set, rr) {
			s.Of[id] = append(set, rr)
		}
	}
	for _, set := range s.Of {
		lowest := slices.MinFunc(set, func(a, b dns.RR) int {
			return int(int64(a.Header().Ttl) - int64(b.Header().Ttl))
		}).Header().Ttl
		for _, rr := range set {
			rr.Header().Ttl = lowest
		}
	}
	return s
}

// ParseAll turns records that shall be written into RRsets.
func ParseAll(zone string, recs []libdns.Record, ttl uint32) (Sets, error) {
	rrs := make([]dns.RR, len(recs))
	for i, rec := range recs {
		var err error
		if rrs[i], err = FromLibdns(zone, rec, ttl); err != nil {
			return Sets{}, err
		}
	}
	return Group(rrs), nil
}

// All returns the records of all sets, in order.
func (s Sets) All() []dns.RR {
	var out []dns.RR
	for _, id := range s.Order {
		out = append(out, s.Of[id]...)
	}
	return out
}

// Joining returns those of more that an RRset does not have yet. They get its
// TTL (RFC 2181 §5.2), and so do the others of more.
func Joining(set, more []dns.RR) []dns.RR {
	var out []dns.RR
	for _, rr := range more {
		if len(set) > 0 {
			rr.Header().Ttl = set[0].Header().Ttl
		}
		if !Contains(set, rr) {
			out = append(out, rr)
		}
	}
	return out
}

// AllToLibdns converts records.
func AllToLibdns(zone string, rrs []dns.RR) []libdns.Record {
	out := make([]libdns.Record, len(rrs))
	for i, rr := range rrs {
		out[i] = ToLibdns(zone, rr)
	}
	return out
}

// Lines returns the data of records in the form of libdns, sorted, in lower case
// but for TXT: two sets with equal lines serve the same.
func Lines(set []dns.RR) []string {
	out := make([]string, len(set))
	for i, rr := range set {
		out[i] = Data(rr)
		if rr.Header().Rrtype != dns.TypeTXT {
			out[i] = strings.ToLower(out[i])
		}
	}
	slices.Sort(out)
	return out
}

// Matcher returns what decides whether a record is one that DeleteRecords of
// libdns shall delete for rec: the same name, type, TTL and data, where an empty
// type, TTL or data stands for every one. Types that can't be written never match.
func Matcher(zone string, rec libdns.Record) (func(dns.RR) bool, error) {
	if rec == nil {
		return nil, errors.New("a record is nil")
	}
	in := rec.RR()
	fqdn, err := Owner(zone, in.Name)
	if err != nil {
		return nil, err
	}
	rrtype := dns.StringToType[strings.ToUpper(in.Type)]
	if in.Type != "" && !Settable(rrtype) {
		return nil, fmt.Errorf("%s %s: records of this type can't be deleted from this zone", fqdn, in.Type)
	}
	var want dns.RR
	if in.Type != "" && in.Data != "" {
		if want, err = Parse(rrtype, in.Data); err != nil {
			return nil, fmt.Errorf("%s %s %q: %w", fqdn, in.Type, in.Data, err)
		}
	}
	return func(rr dns.RR) bool {
		id := IDOf(rr)
		switch {
		case id.Name != fqdn, !Settable(id.Type), in.Type != "" && id.Type != rrtype,
			in.TTL != 0 && rr.Header().Ttl != uint32(in.TTL/time.Second):
			return false
		case want != nil:
			return SameData(rr, want)
		}
		return in.Data == "" || Data(rr) == in.Data
	}, nil
}
