package policyinfer

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// EngineVersion is stored with mailed reports. It changes whenever the same
// evidence may give another verdict.
const EngineVersion = "4"

// Verdict is what evidence proves about a sender. Its JSON form is the one of
// the interchange format.
type Verdict struct {
	Policy     Name                   `json:"policy"`
	Candidates []Name                 `json:"candidates"`
	Conclusive bool                   `json:"conclusive"`
	Sender     Sender                 `json:"sender"`
	Findings   []Finding              `json:"findings"`
	Reasons    []Reason               `json:"reasons"`
	Missing    []Missing              `json:"missing"`
	Hosts      map[string]HostVerdict `json:"hosts,omitempty"`      // with Mixed: each host's own verdict, by address
	Attempts   int                    `json:"attempts"`             // delivery attempts that count
	LeftOut    int                    `json:"left_out,omitempty"`   // connections without MAIL that contradict the mails, and were not used
	Settles    *time.Time             `json:"settles,omitempty"`    // neither an unprotected verdict is given before, nor lazy MTA-STS excluded
	Eliminated []Elimination          `json:"eliminated,omitempty"` // with Explain
}

// HostVerdict is the verdict about one outbound host of a sender whose hosts
// differ. It rests on what that host did, and on nothing else.
type HostVerdict struct {
	Policy     Name   `json:"policy"`
	Candidates []Name `json:"candidates"`
	Conclusive bool   `json:"conclusive"`
	Sender     Sender `json:"sender"`
}

// UnmarshalJSON also reads the bare name of a policy, as verdicts had it that
// were stored before hosts got more.
func (v *HostVerdict) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*v = HostVerdict{}
		return json.Unmarshal(b, &v.Policy)
	}
	type plain HostVerdict
	return json.Unmarshal(b, (*plain)(v))
}

// Unknown is the value of a part that was not shown, or that has no effect on
// this sender.
const Unknown = "unknown"

// Sender holds the parts of the model, each Unknown until shown. A part that
// has no effect stays Unknown for ever: Both without DANE and MTA-STS,
// UnlistedMX without MTA-STS, WithoutTLS where no mail to a domain that
// publishes DANE and MTA-STS needs TLS.
type Sender struct {
	TLS                  string `json:"tls"`                   // its own rule: never, offered, required
	Plaintext            string `json:"plaintext"`             // mail without TLS to a domain that publishes DANE and MTA-STS: no, yes
	PlaintextUnprotected string `json:"plaintext_unprotected"` // … to one that publishes nothing: no, yes
	VerifiesCA           string `json:"verifies_ca"`           // of its own: no, yes
	DANE                 string `json:"dane"`                  // no, yes, required
	MTASTS               string `json:"mta_sts"`               // no, yes, lazy
	Both                 string `json:"both"`                  // where DANE and MTA-STS apply: dane or mta-sts decides, both must hold, either suffices
	SNI                  string `json:"sni"`                   // never, authenticating, always
	UnlistedMX           string `json:"unlisted_mx"`           // MX hosts that the MTA-STS policy does not list: contacted, skipped
	WithoutTLS           string `json:"without_tls"`           // a mail that needs TLS when no MX offers it: retry, bounce
}

// Contradicted reports whether what was seen contradicts itself, and a change
// during the test may be why. Hosts that certainly differ are Mixed instead.
func (v *Verdict) Contradicted() bool {
	return slices.ContainsFunc(v.Findings, func(f Finding) bool {
		switch f.ID {
		case FindingChanged, FindingChangedOrMixed, FindingContradictory, FindingAmbiguous:
			return true
		}
		return false
	})
}

// Finding is something that people should know beside the policy name. ID and
// Args say the same as Text, for other languages.
type Finding struct {
	ID          string            `json:"id"`
	Text        string            `json:"text"` // English
	Connections []evidence.ConnID `json:"connections"`
	Args        map[string]string `json:"args,omitempty"` // see the Arg constants
}

// Reason is a statement of evidence that the verdict rests on. ID and Args say
// the same as Text; verdicts that were stored before there were any have none.
type Reason struct {
	ID          string            `json:"id,omitempty"`
	Text        string            `json:"text"` // English
	Connections []evidence.ConnID `json:"connections"`
	Args        map[string]string `json:"args,omitempty"`
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

// The arguments of findings.
const (
	ArgAfter       = "after"       // plaintext-after-tls-failure: AfterRefusal or AfterFailure
	ArgConnections = "connections" // how many
	ArgFrom        = "from"        // changed-during-test: times of day, UTC
	ArgTo          = "to"
	ArgIPv4        = "ipv4" // ip-families-differ: names of policies, with commas
	ArgIPv6        = "ipv6"
	ArgSpan        = "span" // bounced-at-once: as time.Duration writes it
	ArgWhy         = "why"  // zone-unverifiable, sink-broken: the fault, English
)

// The values of ArgAfter.
const (
	AfterRefusal = "refusal"
	AfterFailure = "failure"
)

// The ids of findings.
const (
	FindingOptedOut       = "opted-out"
	FindingRequireTLS     = "requiretls"
	FindingChanged        = "changed-during-test"
	FindingMixed          = "hosts-differ"
	FindingChangedOrMixed = "changed-or-hosts-differ"
	FindingFamilies       = "ip-families-differ"
	FindingContradictory  = "contradictory"
	FindingAmbiguous      = "attribution-ambiguous"
	FindingUnverifiable   = "zone-unverifiable"
	FindingBroken         = "sink-broken"
	FindingGoodRefused    = "good-server-refused"
	FindingFallback       = "plaintext-after-tls-failure"
	FindingVerifiesUnused = "verifies-but-sends-plaintext"
	FindingVerifiesNoSNI  = "verifies-without-sni"
	FindingSTSOverDANE    = "mta-sts-overrides-dane"
	FindingEither         = "either-suffices"
	FindingLazy           = "first-contact-unprotected"
	FindingUnlistedMX     = "unlisted-mx-contacted"
	FindingAlsoSTS        = "also-mta-sts"
	FindingBounced        = "bounced-at-once"
	FindingTLSAUnused     = "tlsa-asked-not-enforced"
	FindingSTSUnused      = "mta-sts-fetched-not-honoured"
	FindingPipelined      = "plaintext-behind-starttls"
	FindingOldTLS         = "only-old-tls"
	FindingWeakSuites     = "only-weak-suites"
	FindingNoCommonTLS    = "no-common-tls"
)

// FindingIDs lists the ids of all findings.
func FindingIDs() []string {
	return []string{
		FindingOptedOut, FindingRequireTLS, FindingChanged, FindingMixed, FindingChangedOrMixed, FindingFamilies, FindingContradictory, FindingAmbiguous,
		FindingUnverifiable, FindingBroken, FindingGoodRefused, FindingFallback, FindingVerifiesUnused, FindingVerifiesNoSNI, FindingSTSOverDANE,
		FindingEither, FindingLazy, FindingUnlistedMX, FindingAlsoSTS, FindingBounced, FindingTLSAUnused, FindingSTSUnused,
		FindingPipelined, FindingOldTLS, FindingWeakSuites, FindingNoCommonTLS,
	}
}
