package rating

import (
	"github.com/tlsink/tlsink/inbound/check"
)

// The IDs of standards.
const (
	DANE      = "dane"      // RFC 7672
	MTASTS    = "mta-sts"   // RFC 8461
	Qualified = "qualified" // qualified transport encryption (German Orientierungshilfe)
	TLS       = "tls"       // every server offers STARTTLS with TLS 1.2 or later
)

// Standard says whether a domain, as a receiver, meets one standard.
type Standard struct {
	ID   string       `json:"id"`
	Met  check.Result `json:"met"`
	Open []Open       `json:"open,omitempty"` // what is not met or could not be tested
}

// Open is a requirement of a standard that is not met, or could not be tested.
type Open struct {
	ID      string        `json:"id"`                // of the requirement, e.g. "starttls-mandatory"
	Outcome check.Outcome `json:"outcome"`           // no or untested
	Subject string        `json:"subject,omitempty"` // host or server
	Why     string        `json:"why,omitempty"`
}

// Class is the colour of the table of providers of the original test.
type Class string

// The colours.
const (
	Red    Class = "red"    // no encryption
	Yellow Class = "yellow" // encryption without trusted certificates
	White  Class = "white"  // encryption with valid certificates
	Green  Class = "green"  // SMTP-DANE or qualified transport encryption, and no server refused by DANE
	Grey   Class = "grey"   // could not be tested, or takes no mail
)

// Score is one of MECSA's three.
type Score struct {
	ID         string   `json:"id"`                // "confidential delivery", "phishing and identity theft", "integrity of messages"
	HalfStars  int      `json:"half_stars"`        // 0 to 10
	Mechanisms []string `json:"mechanisms"`        // that count as supported
	Partial    bool     `json:"partial,omitempty"` // something that counts could not be tested
}

// Mechanism is how often one of MECSA's mechanisms succeeded. It is supported
// from 80 % on.
type Mechanism struct {
	ID        string `json:"id"` // as in the table: dane, dkim, dmarc, dmarc_policy, dnssec, mta-sts, spf, spf_policy, starttls, x509
	Succeeded int    `json:"succeeded"`
	Tested    int    `json:"tested"`
	Supported bool   `json:"supported"`
	// Partial: all of it, or one of the directions that count, could not be
	// tested.
	Partial bool `json:"partial,omitempty"`
}

// Ratings are all grades of a domain.
type Ratings struct {
	Class      Class       `json:"class"`
	Standards  []Standard  `json:"standards"` // dane, mta-sts, qualified, tls
	MECSA      []Score     `json:"mecsa"`
	Mechanisms []Mechanism `json:"mechanisms"`
	// LeftOut are servers that could not be tested while others of the same
	// host could: they count nowhere.
	LeftOut []Open `json:"left_out,omitempty"`
}

// Standard returns one of the standards; the zero value if there is none of
// that ID.
func (r Ratings) Standard(id string) Standard {
	for _, s := range r.Standards {
		if s.ID == id {
			return s
		}
	}
	return Standard{}
}

// Outbound is what the mails of a domain show, for the grades that count both
// directions. The zero value means that no mail was seen.
type Outbound struct {
	Hosts     int // sending hosts that were seen
	Encrypted int // of them, those that used STARTTLS where it was offered
	SPF       check.Result
	DKIM      check.Result
}
