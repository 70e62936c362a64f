package inbound

import (
	"net/netip"
	"time"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/network"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/inbound/records"
)

// Route says how a domain receives mail (RFC 5321 §5.1).
type Route string

// The values of Route.
const (
	RouteMX       Route = "mx"       // MX records
	RouteImplicit Route = "implicit" // none, so its own address
	RouteNull     Route = "null"     // null MX: it takes no mail (RFC 7505)
	RouteNone     Route = "none"     // no MX and no address, or no such domain
	RouteUnknown  Route = "unknown"  // could not be looked up
)

// Analysis is how a domain receives mail, as far as that can be seen from
// outside. Strings that come from strangers hold no control characters.
type Analysis struct {
	Domain  string    `json:"domain"` // A-labels, lower case, no final dot
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	// LeftOut says what a limit kept from being looked at, one sentence each.
	LeftOut []string `json:"left_out,omitempty"`

	Route Route  `json:"route"`
	Why   string `json:"why,omitempty"` // about the route, if it is not mx or implicit
	// Canonical is the name that CNAME records of the domain lead to; empty if
	// there are none.
	Canonical string  `json:"canonical,omitempty"`
	Faults    []Fault `json:"faults,omitempty"` // of the route

	Zone  RRset  `json:"zone"` // SOA of the zone of the domain
	MX    RRset  `json:"mx"`
	TXT   RRset  `json:"txt"`
	Hosts []Host `json:"hosts,omitempty"` // the most preferred first

	MTASTS records.MTASTS `json:"mta_sts"`
	TLSRPT records.TLSRPT `json:"tls_rpt"`
	SPF    records.SPF    `json:"spf"`
	DMARC  records.DMARC  `json:"dmarc"`
}

// Fault is something about the route of a domain that breaks a rule.
type Fault struct {
	ID      string `json:"id"`
	Subject string `json:"subject"` // a host or the domain
	Text    string `json:"text"`    // one sentence
}

// The IDs of faults.
const (
	FaultNullMixed = "null-mx-mixed"      // a null MX beside other MX records
	FaultNotAHost  = "mx-not-a-host"      // an MX that is no host name
	FaultAddress   = "mx-is-address"      // an IP address instead of a name
	FaultLocalhost = "mx-is-localhost"    // every sender's own machine
	FaultAlias     = "mx-is-alias"        // an MX that is a CNAME
	FaultNoAddress = "mx-without-address" // an MX host that has none
)

// RRset is what DNSSEC proves about one set of records, or about its absence.
// The status dnssec.Error means that it could not be tested. The zero value was
// not asked for.
type RRset struct {
	Status dnssec.Status `json:"status,omitempty"`
	Count  int           `json:"count"`
	Why    string        `json:"why,omitempty"` // why it is not secure
}

// CountsBeside reports whether the RRset of one kind of address matters to
// DNSSEC beside that of the other. That there is none of one kind need not be
// proven: senders look for TLSA records once an address is secure.
func (s RRset) CountsBeside(other RRset) bool {
	return s.Count > 0 || other.Count == 0 || s.Status != dnssec.Insecure
}

// DANERefuses reports whether senders that use DANE refuse a server of the
// domain: its certificate matches none of the TLSA records that hold for it.
func (a *Analysis) DANERefuses() bool {
	for _, h := range a.Hosts {
		for _, s := range h.Servers {
			if h.DANE.OK() && s.DANE.Failed() {
				return true
			}
		}
	}
	return false
}

// Host is one MX host.
type Host struct {
	Name       string `json:"name"` // as the MX record has it; no final dot
	Preference uint16 `json:"preference"`
	// Canonical is the name that CNAME records lead to; empty if there are none.
	// An MX must not point to an alias (RFC 2181 §10.3), but senders follow.
	Canonical string `json:"canonical,omitempty"`
	A         RRset  `json:"a"`
	AAAA      RRset  `json:"aaaa"`

	TLSA     RRset        `json:"tlsa"`
	TLSAName string       `json:"tlsa_name,omitempty"` // whose records count (RFC 7672 §2.2.2)
	Records  []TLSARecord `json:"tlsa_records,omitempty"`
	// DANE: senders that do DANE authenticate this host, because MX, address and
	// TLSA records are secure and one is usable. The zero value if the name can't
	// be that of a host.
	DANE check.Result `json:"dane,omitzero"`

	Listed  check.Result `json:"listed,omitzero"` // the MTA-STS policy lists it
	Servers []Server     `json:"servers,omitempty"`
}

// TLSARecord is one TLSA record and whether a sender can use it for SMTP.
type TLSARecord struct {
	Usage        uint8  `json:"usage"`
	Selector     uint8  `json:"selector"`
	MatchingType uint8  `json:"matching_type"`
	Data         string `json:"data"` // hexadecimal, shortened
	Usable       bool   `json:"usable"`
	Why          string `json:"why,omitempty"` // why it is not usable
}

// Server is one address of a host.
type Server struct {
	Address netip.Addr   `json:"address"`
	Network network.Info `json:"network,omitzero"`
	probe.Result
	// DANE: its certificate matches a usable TLSA record that is secure, whether
	// or not MX and addresses are, too (see Host.DANE). The zero value if the host
	// has no such records.
	DANE check.Result `json:"dane,omitzero"`
}
