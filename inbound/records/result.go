package records

import (
	"time"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/tlspolicy"
)

// SPF is the SPF record of a domain (RFC 7208).
type SPF struct {
	Published check.Result  `json:"published"`       // there is exactly one
	Valid     check.Result  `json:"valid,omitzero"`  // syntax, and the limits on lookups
	Strict    check.Result  `json:"strict,omitzero"` // it ends in -all or ~all, itself or where it redirects to
	DNSSEC    dnssec.Status `json:"dnssec,omitempty"`
	Record    string        `json:"record,omitempty"`
	All       string        `json:"all,omitempty"` // "-all", "~all", "?all", "+all"; empty: none
	Lookups   int           `json:"lookups"`       // terms that need DNS; at most 10 (RFC 7208 §4.6.4)
	Voids     int           `json:"voids"`         // lookups that found nothing; at most 2
	Problems  []string      `json:"problems,omitempty"`
}

// DMARC is the DMARC record that holds for a domain (RFC 7489).
type DMARC struct {
	Published check.Result  `json:"published"`
	Valid     check.Result  `json:"valid,omitzero"`
	Enforced  check.Result  `json:"enforced,omitzero"` // p (or sp, if it comes from the domain above) is quarantine or reject
	DNSSEC    dnssec.Status `json:"dnssec,omitempty"`
	Record    string        `json:"record,omitempty"`
	From      string        `json:"from,omitempty"`   // the domain that publishes it
	Policy    string        `json:"policy,omitempty"` // that holds for this domain
	Percent   int           `json:"percent,omitempty"`
	Reports   []string      `json:"reports,omitempty"` // rua
	Problems  []string      `json:"problems,omitempty"`
}

// TLSRPT is the record that asks for TLS reports (RFC 8460).
type TLSRPT struct {
	Published check.Result `json:"published"`
	Valid     check.Result `json:"valid,omitzero"`
	Record    string       `json:"record,omitempty"`
	Reports   []string     `json:"reports,omitempty"` // rua
	Problems  []string     `json:"problems,omitempty"`
}

// MTASTS is the record and the policy of RFC 8461.
type MTASTS struct {
	Published check.Result  `json:"published"`            // there is one record, with right syntax
	Policy    check.Result  `json:"policy,omitzero"`      // it was fetched, and its syntax is right
	HTTPS     check.Result  `json:"https,omitzero"`       // the certificate of the policy host
	DNSSEC    dnssec.Status `json:"dnssec,omitempty"`     // of the record
	ID        string        `json:"id,omitempty"`         // of the record
	Mode      string        `json:"mode,omitempty"`       // enforce, testing, none
	MaxAge    time.Duration `json:"max_age_ns,omitempty"` // of the policy
	MX        []string      `json:"mx,omitempty"`         // patterns
	Problems  []string      `json:"problems,omitempty"`
}

// Enforced reports whether a policy in mode enforce is in force.
func (m MTASTS) Enforced() bool { return m.Published.OK() && m.Policy.OK() && m.Mode == "enforce" }

// Lists reports whether the policy allows a host (RFC 8461 §4.1).
func (m MTASTS) Lists(host string) bool { return tlspolicy.Policy{MX: m.MX}.Matches(host) }
