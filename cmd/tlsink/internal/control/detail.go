package control

import (
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/operate"
	"github.com/tlsink/tlsink/policyinfer"
)

// TestDetail is everything about a test but its connections.
type TestDetail struct {
	operate.Test
	MessageIDs  []string            `json:"message_ids,omitempty"`
	Clients     []string            `json:"clients,omitempty"`
	Verdict     policyinfer.Verdict `json:"verdict"`
	Engine      string              `json:"engine,omitempty"`
	LeftOut     int                 `json:"left_out"`
	Provider    *history.Provider   `json:"provider,omitempty"`
	Connections int                 `json:"connections"`
	Queries     int                 `json:"queries"`
	Fetches     int                 `json:"fetches"`
	States      int                 `json:"states"`
}
