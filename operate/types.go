package operate

import (
	"net/netip"
	"time"

	"github.com/tlsink/tlsink/blocklist"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/report"
)

// Query selects tests. The zero value selects all, the last opened first.
type Query struct {
	ID      string       // of one test
	Domain  string       // of the sender; also its subdomains
	Address string       // of the sender, exactly but for case
	Network netip.Prefix // a client of the test lies in it
	Verdict string       // name of a policy, also "undetermined"; a running test has the one as of its last attempt
	State   string       // running, concluded, acked, closed; "open" is the first two, "over" the others
	From    time.Time    // opened at or after
	To      time.Time    // opened before
	Slot    *int
	Cursor  string // TestPage.Next of the page before
	Limit   int    // default 50, at most 1000
}

// TestRow is a test in a list.
type TestRow struct {
	ID         string    `json:"id"`
	Started    time.Time `json:"started"`
	LastSeen   time.Time `json:"last_seen,omitzero"`
	Ended      time.Time `json:"ended,omitzero"` // acked or closed
	Sender     string    `json:"sender"`
	Clients    []string  `json:"clients,omitempty"` // at most a few
	State      string    `json:"state"`
	Slot       int       `json:"slot"`
	Policy     string    `json:"policy"` // empty: not known yet
	Conclusive bool      `json:"conclusive"`
	Attempts   int       `json:"attempts"`
	Report     string    `json:"report"` // what became of it, in words
	Link       string    `json:"link,omitempty"`
}

// TestPage is a part of a list of tests.
type TestPage struct {
	Tests []TestRow `json:"tests"`
	// Next is where the list goes on; empty at its end.
	Next string `json:"next,omitempty"`
	// Cut says that so many tests were looked at without finding a whole page
	// that the search stopped. Older ones may match: go on with Next.
	Cut bool `json:"cut,omitempty"`
}

// Test is everything about one test.
type Test struct {
	Row    TestRow            `json:"test"`
	Record history.TestRecord `json:"-"` // as stored; its capability is a secret of the sender
	// Input has the history with every connection, query, fetch and state, the
	// verdict with its reasons, and the analysis of the sender's domain.
	Input  report.Input `json:"-"`
	Report *ReportRow   `json:"report,omitempty"` // nil: none is due
}

// Why says why a connection belongs to a test, or to none.
type Why struct {
	Connection evidence.ConnID      `json:"connection"`
	Start      time.Time            `json:"start"`
	Client     string               `json:"client"`
	By         evidence.Attribution `json:"by,omitempty"` // empty: it belongs to none
	Text       string               `json:"text"`         // a sentence or two
	MessageID  string               `json:"message_id,omitempty"`
	Sender     string               `json:"sender,omitempty"` // of the mail that ties it to the test
	Since      time.Time            `json:"since,omitzero"`   // when its client first handed over mail of the test
	Others     []Other              `json:"others,omitempty"` // those that could own it first
	More       int                  `json:"more,omitempty"`   // others that are not listed
}

// Other is a test that shares the client of a connection.
type Other struct {
	Test  string `json:"test"`
	Could bool   `json:"could"` // the connection could be its own
	Text  string `json:"text"`  // why it could, or could not
}

// Explanation says why each connection of a test belongs to it.
type Explanation struct {
	Test        string `json:"test"`
	Text        string `json:"text"`               // what ties connections to this test
	LeftOut     int    `json:"left_out,omitempty"` // connections that another test could own as well
	Connections []Why  `json:"connections"`
}

// ConnectionQuery selects connections. The zero value selects all, the last
// started first.
type ConnectionQuery struct {
	From, To   time.Time // started at or after From and before To; zero: no bound
	Network    netip.Prefix
	Unattached bool   // only those of no test
	Cursor     string // ConnectionPage.Next of the page before
	Limit      int    // default 50, at most 1000
}

// ConnectionRow is a connection, its test, and why it has it or none.
type ConnectionRow struct {
	evidence.Connection
	Test string `json:"test,omitempty"`
	Why  *Why   `json:"why,omitempty"`
}

// ConnectionPage is a part of a list of connections; see TestPage.
type ConnectionPage struct {
	Connections []ConnectionRow `json:"connections"`
	Next        string          `json:"next,omitempty"`
	Cut         bool            `json:"cut,omitempty"`
}

// Line is a step of a connection: what was said, shown or noticed.
type Line struct {
	Kind string `json:"kind"` // connect, client, server, tls, mail, anomaly or end
	Text string `json:"text"`
}

// The values of Line.Kind.
const (
	LineConnect = "connect"
	LineClient  = "client"
	LineServer  = "server"
	LineTLS     = "tls"
	LineMail    = "mail"
	LineAnomaly = "anomaly"
	LineEnd     = "end"
)

// SelfCheck is what the service found out about itself.
type SelfCheck struct {
	At                time.Time     `json:"at,omitzero"` // the last check ended; zero: none yet
	Passed            bool          `json:"passed"`
	Unverifiable      string        `json:"unverifiable,omitempty"` // why unprotected verdicts are suspended
	UnverifiableSince time.Time     `json:"unverifiable_since,omitzero"`
	Broken            string        `json:"broken,omitempty"` // why all verdicts are
	BrokenSince       time.Time     `json:"broken_since,omitzero"`
	Results           []CheckResult `json:"results"`
}

// CheckResult is what one check found out about one thing.
type CheckResult struct {
	Check   string `json:"check"`
	Subject string `json:"subject"`
	Status  string `json:"status"` // ok, wrong, or cannot (be tested)
	Seen    string `json:"seen"`
	Fix     string `json:"fix,omitempty"`
	Effect  string `json:"effect,omitempty"` // unverifiable or broken
}

// The values of ReportRow.State.
const (
	ReportQueued  = "queued"
	ReportRetried = "retried" // failed at least once, and will be tried again
	ReportSent    = "sent"
	ReportGivenUp = "given up"
)

// ReportQuery selects reports of the queue.
type ReportQuery struct {
	Pending bool   // only those that still have to be sent
	Cursor  string // ReportPage.Next of the page before
	Limit   int    // default 50, at most 1000
}

// ReportRow is a report in the queue. Its ID is that of its test.
type ReportRow struct {
	ID          string    `json:"id"`
	To          string    `json:"to"`
	State       string    `json:"state"`
	Created     time.Time `json:"created"`
	Due         time.Time `json:"due,omitzero"` // while it still has to be sent
	Attempts    int       `json:"attempts"`
	LastAttempt time.Time `json:"last_attempt,omitzero"`
	LastError   string    `json:"last_error,omitempty"`
	Sent        time.Time `json:"sent,omitzero"`
}

// ReportPage is a part of the queue; see TestPage.
type ReportPage struct {
	Reports []ReportRow `json:"reports"`
	Next    string      `json:"next,omitempty"`
	Cut     bool        `json:"cut,omitempty"`
}

// Delivery is one notification of a webhook.
type Delivery struct {
	ID        string    `json:"id"`
	Test      string    `json:"test"`
	Host      string    `json:"host"`  // of its URL, which may hold secrets
	State     string    `json:"state"` // as that of a report
	Created   time.Time `json:"created"`
	Due       time.Time `json:"due,omitzero"` // while pending
	Attempts  int       `json:"attempts"`
	LastError string    `json:"last_error,omitempty"`
}

// Retention says what is kept.
type Retention struct {
	Days             int           `json:"days"` // after their last activity tests are deleted
	OldestTest       time.Time     `json:"oldest_test,omitzero"`
	OldestConnection time.Time     `json:"oldest_connection,omitzero"`
	Stats            history.Stats `json:"stats"`
}

// Preview says what would be deleted of a person. Connections without a test
// are found only while deleting.
type Preview struct {
	Tests   []string `json:"tests"`          // at most 100 of them
	More    bool     `json:"more,omitempty"` // there are more tests
	Reports int      `json:"reports"`
	Mailbox int      `json:"mailbox"` // messages to postmaster and abuse
}

// Forgotten says what was deleted of a person.
type Forgotten struct {
	Records int            `json:"records"` // in all
	Parts   map[string]int `json:"parts"`   // "history" and the names of Options.Forgetter
}

// Slot is a slot that tests can lease.
type Slot struct {
	Slot  int       `json:"slot"`
	State string    `json:"state"` // free, waiting, running, resting
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	Test  string    `json:"test,omitempty"`
}

// Limit is a limit that somebody has reached, or is near to.
type Limit struct {
	What  string    `json:"what"` // e.g. "reports to one domain, a day"
	Who   string    `json:"who"`  // address, domain, network; empty: all together
	Count int       `json:"count"`
	Limit int       `json:"limit"`
	Until time.Time `json:"until,omitzero"` // when it ends if nothing more comes
}

// Reached reports whether more is refused at present.
func (l Limit) Reached() bool { return l.Count >= l.Limit }

// Overview is the state of the service in short.
type Overview struct {
	Now       time.Time     `json:"now"`
	Stats     history.Stats `json:"stats"`
	Disk      string        `json:"disk,omitempty"` // why the history cannot be written
	Running   []TestRow     `json:"running"`        // at most 20
	Recent    []TestRow     `json:"recent"`         // the last ten
	Slots     []Slot        `json:"slots,omitempty"`
	SelfCheck *SelfCheck    `json:"self_check,omitempty"`
	Blocks    int           `json:"blocks"`
	Limits    int           `json:"limits"` // that are reached
}

// BlockRequest asks for a block.
type BlockRequest struct {
	What   string    `json:"what"` // address, network, domain or mail address; see blocklist.Parse
	Reason string    `json:"reason"`
	Until  time.Time `json:"until,omitzero"` // zero: until removed
	// Wide also allows what blocks very many, e.g. a whole address family.
	Wide bool `json:"wide,omitempty"`
}

// Block is an entry of the block list.
type Block = blocklist.Entry

// AuditRecord is what is kept of an action. It names no person.
type AuditRecord struct {
	Time   time.Time `json:"time"`
	Actor  Actor     `json:"actor"`
	Action string    `json:"action"`           // e.g. "test deleted"
	Object string    `json:"object,omitempty"` // id of a test, report or block; a keyed hash of a person
	Count  int       `json:"count,omitempty"`  // of records
	Detail string    `json:"detail,omitempty"`
	Error  string    `json:"error,omitempty"` // it was done only in part
}
