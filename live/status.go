package live

import (
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/report"
)

// State is how far a test is. The last four are those of the report.
type State string

// The states of a test.
const (
	Queued    State = "queued"  // all slots are taken
	Waiting   State = "waiting" // has a slot; no mail has come yet
	Expired   State = "expired" // no mail came in time, or it was given up
	Running   State = report.StateRunning
	Concluded State = report.StateConcluded
	Acked     State = report.StateAcked
	Closed    State = report.StateClosed
)

// Over reports whether nothing will change any more.
func (s State) Over() bool { return s == Expired || s == Acked || s == Closed }

// Status is a test as it stands now. Texts are in the language that was asked
// for; times are UTC.
type Status struct {
	Test     string    `json:"test"` // id
	State    State     `json:"state"`
	Language string    `json:"language"`
	Now      time.Time `json:"now"`              // when this was made
	Started  time.Time `json:"started,omitzero"` // when the test was asked for, or its first mail came
	Text     string    `json:"text"`             // one sentence: what is going on

	Place     *Place     `json:"place,omitempty"`     // while queued
	Addresses *Addresses `json:"addresses,omitempty"` // to send the mail to; as long as it may be sent
	Expires   time.Time  `json:"expires,omitzero"`    // while waiting: the first mail must have come by then
	Sender    string     `json:"sender,omitempty"`    // redacted

	Phase    *Phase   `json:"phase,omitempty"`    // while running
	Rotation Rotation `json:"rotation,omitzero"`  // while waiting or running
	Servers  []Server `json:"servers,omitempty"`  // seven of them, once there is a test
	Attempts int      `json:"attempts,omitempty"` // see [policyinfer.Verdict]

	Connections []Connection `json:"connections,omitempty"` // the newest last; at most MaxConnections
	Omitted     int          `json:"omitted,omitempty"`     // older ones that are not listed

	Missing []string  `json:"missing,omitempty"` // evidence that would bring the verdict nearer
	Next    *Expected `json:"next,omitempty"`    // when the sender will probably come again
	Slow    string    `json:"slow,omitempty"`    // why it may take longer, e.g. a fault of this service
	Delay   *Delay    `json:"-"`                 // Slow in its parts, for pages
	Verdict *Verdict  `json:"verdict,omitempty"` // once there is one
	// Unconfirmed: this service has not checked since then that it was in order
	// itself, so the verdict may still be taken back.
	Unconfirmed bool `json:"unconfirmed,omitempty"`

	Finding []string `json:"findings,omitempty"` // titles of findings so far
	Pending bool     `json:"pending,omitempty"`  // the report will soon say more: the sender's domain is being looked at
}

// MaxConnections bounds the list of a Status.
const MaxConnections = 200

// Place is where a test stands in the queue for a slot.
type Place struct {
	Ahead int       `json:"ahead"`
	Free  time.Time `json:"free,omitzero"` // when its turn comes at the latest, as far as known
}

// Addresses are where the test mail goes to.
type Addresses struct {
	ET     string `json:"et"`
	UT     string `json:"ut"`
	Mailto string `json:"mailto"` // URI (RFC 6068) of a mail to both
}

// Phase is whether STARTTLS is offered to this sender.
type Phase struct {
	Name string    `json:"name"` // downgrade or secure
	Ends time.Time `json:"ends,omitzero"`
	Text string    `json:"text"`
}

// Rotation is the MX order that this sender finds.
type Rotation struct {
	Order []string  `json:"order,omitempty"` // labels of hosts, the most preferred first
	Next  time.Time `json:"next,omitzero"`   // when it changes at the earliest
}

// Outcome is what came of a connection, or of all at one server.
type Outcome string

// The outcomes. Of several at one server, Mixed says that it was both.
const (
	None      Outcome = ""          // no connection
	Contacted Outcome = "contacted" // connected, and nothing that tells anything
	Refused   Outcome = "refused"   // the sender did not hand its mail over
	Plaintext Outcome = "plaintext" // handed over without encryption
	Encrypted Outcome = "encrypted" // handed over inside TLS
	Mixed     Outcome = "mixed"     // handed over, and also refused
)

// Server is one of the seven virtual servers, and what the sender did there. What
// may be the doing of somebody else is in no Server, but is listed.
type Server struct {
	Number      int       `json:"number"`
	Name        string    `json:"name"` // what it presents, in a few words
	Connections int       `json:"connections"`
	Outcome     Outcome   `json:"outcome,omitempty"`
	Text        string    `json:"text,omitempty"` // what that means
	Last        time.Time `json:"last,omitzero"`
}

// Connection is one connection, and what it means.
type Connection struct {
	Number  int                  `json:"number"` // counts from 1 in the order of the evidence
	ID      evidence.ConnID      `json:"id"`
	Time    time.Time            `json:"time"`
	Open    bool                 `json:"open,omitempty"`
	Client  string               `json:"client"`         // address
	Name    string               `json:"name,omitempty"` // of EHLO
	Server  int                  `json:"server"`
	Outcome Outcome              `json:"outcome"`
	Phase   evidence.Phase       `json:"phase,omitempty"`
	SNI     string               `json:"sni,omitempty"`
	TLS     string               `json:"tls,omitempty"` // version and suite, or how it failed
	By      evidence.Attribution `json:"by,omitempty"`  // why it belongs to the test
	Text    string               `json:"text"`          // what happened and what it means, a sentence or two
	Details []string             `json:"details,omitempty"`
	// Follows: it is of the same attempt as the one before it in the list. Only for
	// pages, which join rows that say the same.
	Follows bool `json:"-"`
}

// Expected is a time span in which the sender will probably come again, from
// the rhythm of its attempts so far.
type Expected struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Text string    `json:"text"`
}

// Delay is a fault of this service that makes a test take longer.
type Delay struct {
	Text  string // a sentence or two
	Cause string // what the service says is wrong with it: English in every language
}

// Verdict is what was found.
type Verdict struct {
	Policy     string   `json:"policy"`
	Conclusive bool     `json:"conclusive"`
	Candidates []string `json:"candidates,omitempty"`
	Protected  bool     `json:"protected"`
	Level      string   `json:"level"`   // good, fair, weak, bad, open: the colour of the report
	Grade      string   `json:"grade"`   // in a word or two
	Summary    string   `json:"summary"` // in a sentence for everyone
}

// Booking is what a test started on the web has of its own before, and besides,
// its evidence.
type Booking struct {
	State    State // Queued, Waiting, Expired; else empty
	Slot     int   // 0 while queued
	Token    string
	Created  time.Time
	Expires  time.Time // while waiting
	Ahead    int       // while queued
	Free     time.Time // while queued; zero: not known
	Language report.Language
}

// Snapshot is everything that a Status is made of.
type Snapshot struct {
	ID      string
	Zone    string
	Now     time.Time
	Booking *Booking      // nil: started by plain mail
	Input   *report.Input // nil: no mail has come yet

	Phase     evidence.Phase // that the sender meets next; empty if not known
	PhaseEnds time.Time      // zero: not by time
	Order     []string       // MX hosts, the most preferred first; empty if not known
	NextTurn  time.Time
	Slow      string // a fault of this service that holds verdicts back, in English

	// Unconfirmed: the verdict may still be taken back, as this service has not
	// looked yet whether it was in order. Until then the test is not over.
	Unconfirmed bool
}
