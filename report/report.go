package report

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/rating"
)

// The states of a test.
const (
	StateRunning   = "running"   // no verdict yet
	StateConcluded = "concluded" // verdict reached, the mail not yet accepted
	StateAcked     = "acked"     // verdict reached, the mail was accepted
	StateClosed    = "closed"    // ended before the mail was accepted
)

// Limits of what a report holds.
const (
	foldKeep       = 15   // connections shown at the beginning and at the end
	aroundKeep     = 20   // queries and fetches shown as "around that time"
	jsonKeep       = 1000 // records of a kind in JSON at the beginning and at the end
	hostsKeep      = 40   // hosts of a mixed verdict
	mailsKeep      = 5    // mails shown of one connection
	recipientsKeep = 4    // recipients shown of one mail
)

// Missing says why a report tells nothing about the mail that a domain
// receives.
type Missing string

// The values of Missing. The zero value says nothing.
const (
	SwitchedOff      Missing = "switched-off"      // this service analyses no domains
	Later            Missing = "later"             // the domain is analysed once there is a verdict
	NotReady         Missing = "not-ready"         // the analysis is still running
	NotAuthenticated Missing = "not-authenticated" // no report may be mailed, e.g. as nobody proved that the domain is the sender's
	NotPossible      Missing = "not-possible"      // e.g. the domain is no host name
)

// Input is everything that a report tells.
type Input struct {
	Service   string // the zone, e.g. sink.example
	Test      evidence.Test
	History   evidence.History
	Verdict   policyinfer.Verdict
	State     string    // one of the states above
	Generated time.Time // when the report was made
	Link      string    // result page; may be empty. It is a secret of the sender and never part of JSON

	// Queries of which nobody knows whether they belong to the test. Shown as
	// "around that time".
	Around []evidence.Query

	Provider  *Provider  // what several tests show together; may be nil
	Forwarded *Forwarded // whose servers handed the mail over; may be nil

	Inbound        *inbound.Analysis // how the sender's domain receives mail; may be nil
	Ratings        *rating.Ratings   // of Inbound; may be nil
	InboundMissing Missing           // why there is no Inbound

	Delivery string   // why the report could not be mailed; may be empty
	Engine   string   // version of the inference
	Language Language // of every form but JSON; the zero value is English
}

// Subject returns the subject of the report mail, one line.
func Subject(in Input) string {
	w := wordsOf(in.Verdict)
	return phrase{
		"tlsink: outbound mail of %[1]s: %[2]s (%[3]s)",
		"tlsink: %[1]s, ausgehende E-Mails: %[2]s (%[3]s)",
	}.with(in.Language, senderDomain(in.Test.Sender, in.Language), clean(string(in.Verdict.Policy), maxName), w.grade())
}

// document is the JSON form.
type document struct {
	Service   string              `json:"service"`
	Test      string              `json:"test"`
	State     string              `json:"state"`
	Generated time.Time           `json:"generated"`
	Engine    string              `json:"engine"`
	Summary   string              `json:"summary"`
	Verdict   policyinfer.Verdict `json:"verdict"`
	LeftOut   int                 `json:"left_out"`
	Provider  *Provider           `json:"provider,omitempty"`
	Forwarded *Forwarded          `json:"forwarded,omitempty"`
	Delivery  string              `json:"delivery,omitempty"`
	Inbound   json.RawMessage     `json:"inbound,omitempty"`
	Missing   Missing             `json:"inbound_missing,omitempty"`
	Ratings   json.RawMessage     `json:"ratings,omitempty"`
	Mail      *mailFacts          `json:"mail,omitempty"`
	Omitted   int                 `json:"records_omitted,omitempty"`
	History   []json.RawMessage   `json:"history"`
}

// JSON returns the verdict and the redacted history. The records of the
// history are those of the interchange format. Of a very long one the middle
// is left out and counted in records_omitted.
func JSON(in Input) ([]byte, error) {
	omitted := foldHistory(&in.History)
	h := redactHistory(in)
	records, err := recordsOf(h)
	if err != nil {
		return nil, err
	}
	analysis, err := neutral(in.Inbound, in.Service)
	if err != nil {
		return nil, fmt.Errorf("encode analysis of test %q: %w", in.Test.ID, err)
	}
	ratings, err := neutral(in.Ratings, in.Service)
	if err != nil {
		return nil, fmt.Errorf("encode ratings of test %q: %w", in.Test.ID, err)
	}
	b, err := json.MarshalIndent(document{
		Service: clean(in.Service, maxName), Test: redactText(in.Test.ID, in.Service, maxRecord), State: clean(in.State, maxName),
		Generated: in.Generated.UTC(), Engine: clean(in.Engine, maxName), Summary: wordsOf(in.Verdict).lay.in(English),
		Verdict: redactVerdict(in), LeftOut: in.Test.LeftOut, Provider: redactProvider(in), Forwarded: redactForwarded(in), Delivery: redactText(in.Delivery, in.Service, maxText),
		Inbound: analysis, Missing: value(redactor{zone: in.Service}, in.InboundMissing), Ratings: ratings, Mail: factsOfMail(in),
		Omitted: omitted, History: records,
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode report of test %q: %w", in.Test.ID, err)
	}
	return append(b, '\n'), nil
}

// foldHistory bounds each kind of record, and returns how many were left out.
func foldHistory(h *evidence.History) int {
	var connections, queries, fetches, states int
	h.Connections, connections = fold(h.Connections, jsonKeep)
	h.Queries, queries = fold(h.Queries, jsonKeep)
	h.Fetches, fetches = fold(h.Fetches, jsonKeep)
	h.States, states = fold(h.States, jsonKeep)
	return connections + queries + fetches + states
}

// fold returns the first and the last n of s, and how many are left out
// between them.
func fold[T any](s []T, n int) (kept []T, omitted int) {
	if len(s) <= 2*n {
		return s, 0
	}
	kept = append(kept, s[:n]...)
	return append(kept, s[len(s)-n:]...), len(s) - 2*n
}
