package policyinfer

import (
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// EngineVersion is stored with mailed reports. It changes whenever the same
// evidence may give another verdict.
const EngineVersion = "1"

// Verdict is what evidence proves about a sender. Its JSON form is the one of
// the interchange format.
type Verdict struct {
	Policy     Name            `json:"policy"`
	Candidates []Name          `json:"candidates"`
	Conclusive bool            `json:"conclusive"`
	Sender     Sender          `json:"sender"`
	Findings   []Finding       `json:"findings"`
	Reasons    []Reason        `json:"reasons"`
	Missing    []Missing       `json:"missing"`
	Hosts      map[string]Name `json:"hosts,omitempty"`      // with Mixed: each host's own verdict
	Attempts   int             `json:"attempts"`             // delivery attempts that count
	LeftOut    int             `json:"left_out,omitempty"`   // connections without MAIL that contradict the mails, and were not used
	Settles    *time.Time      `json:"settles,omitempty"`    // an unprotected verdict is not given before
	Eliminated []Elimination   `json:"eliminated,omitempty"` // with Explain
}

// Sender holds the parts of the model, each "unknown" until shown.
type Sender struct {
	TLS                  string `json:"tls"`                   // never, offered, required
	Plaintext            string `json:"plaintext"`             // mail without TLS to a domain that publishes DANE and MTA-STS
	PlaintextUnprotected string `json:"plaintext_unprotected"` // … to one that publishes nothing
	VerifiesCA           string `json:"verifies_ca"`
	DANE                 string `json:"dane"`    // no, yes, required
	MTASTS               string `json:"mta_sts"` // no, yes, lazy
	SNI                  string `json:"sni"`     // never, authenticating, always
}

// Finding is something that people should know beside the policy name.
type Finding struct {
	ID          string            `json:"id"`
	Text        string            `json:"text"`
	Connections []evidence.ConnID `json:"connections"`
}

// Reason is a statement of evidence that the verdict rests on.
type Reason struct {
	Text        string            `json:"text"`
	Connections []evidence.ConnID `json:"connections"`
}

// Missing is a face that would tell the remaining names apart.
type Missing struct {
	Face        scenario.Server `json:"face"`
	Certificate scenario.Kind   `json:"certificate,omitempty"`
	TellsApart  []Name          `json:"tells_apart"`
}

// Elimination says which connections made a policy impossible.
type Elimination struct {
	Policy      string            `json:"policy"`
	Name        Name              `json:"name"`
	By          string            `json:"by"`
	Connections []evidence.ConnID `json:"connections"`
}

// The ids of findings.
const (
	FindingOptedOut       = "opted-out"
	FindingRequireTLS     = "requiretls"
	FindingChanged        = "changed-during-test"
	FindingMixed          = "hosts-differ"
	FindingContradictory  = "contradictory"
	FindingAmbiguous      = "attribution-ambiguous"
	FindingUnverifiable   = "zone-unverifiable"
	FindingGoodRefused    = "good-server-refused"
	FindingFallback       = "plaintext-after-tls-failure"
	FindingSTSOverDANE    = "mta-sts-overrides-dane"
	FindingEither         = "either-suffices"
	FindingLazy           = "first-contact-unprotected"
	FindingVerifiesUnused = "verifies-but-sends-plaintext"
	FindingAlsoSTS        = "also-mta-sts"
)
