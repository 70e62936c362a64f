package evidence

import (
	"slices"
	"time"
)

// ConnID identifies a connection; unique over the life of a store.
type ConnID string

// Phase is the treatment of a client at one time.
type Phase string

// The phases: STARTTLS withheld, and offered.
const (
	Downgrade Phase = "downgrade"
	Secure    Phase = "secure"
)

// Status is the furthest that a connection came.
type Status string

// The values of Status, in order.
const (
	StatusNone       Status = "None"
	StatusSNISeen    Status = "SniSeen"    // a ClientHello with SNI, handshake not completed
	StatusTLSStarted Status = "TlsStarted" // handshake completed, no MAIL
	StatusMail       Status = "Mail"       // MAIL FROM came, with or without TLS
	StatusAcked      Status = "Acked"      // the message was answered 250
)

// Ending says how a connection ended.
type Ending string

// The endings.
const (
	EndingQuit        Ending = "quit"
	EndingAlert       Ending = "alert"        // the client sent a fatal TLS alert
	EndingCloseNotify Ending = "close_notify" // TLS closed in order, without QUIT
	EndingFIN         Ending = "fin"          // bare FIN
	EndingReset       Ending = "reset"
	EndingTimeout     Ending = "timeout"
	EndingServer      Ending = "server" // we ended it: never a refusal
	EndingOpen        Ending = "open"   // still open when the record was written
)

// Stage says how far a TLS handshake came.
type Stage string

// The stages of a handshake.
const (
	StageBeforeCertificate Stage = "before-certificate" // failed before ours was sent
	StageCertificate       Stage = "certificate"        // ours was sent
	StageFinished          Stage = "finished"           // the client's Finished came
)

// TLS is what was seen of a handshake.
type TLS struct {
	SNI            *string  `json:"sni"`
	ClientVersions []string `json:"client_versions"`
	Version        *string  `json:"version"`
	Cipher         *string  `json:"cipher"`
	Stage          Stage    `json:"stage"`
	Complete       bool     `json:"complete"` // Stage is StageFinished
	Certificate    string   `json:"certificate"`
	TLSA           string   `json:"tlsa,omitempty"`
	Alert          *string  `json:"alert"` // sent by the client, during or after the handshake
	Error          *string  `json:"error"`

	// ClientSuites and ClientCurves are what the client offered, as package
	// crypto/tls names it, the most preferred first.
	ClientSuites []string `json:"client_suites,omitempty"`
	ClientCurves []string `json:"client_curves,omitempty"`
}

// Transaction is one mail transaction (RFC 5321 §3.3), from MAIL on.
type Transaction struct {
	MailFrom      string   `json:"mail_from"`
	RcptTo        []string `json:"rcpt_to"` // accepted recipients
	Data          bool     `json:"data"`    // the message was transferred completely, whatever was answered
	Reply         int      `json:"reply"`   // to the message; 0 without one
	TLS           bool     `json:"tls"`
	Addressed     []string `json:"addressed"` // our own addresses in To and Cc
	MessageID     string   `json:"message_id"`
	TLSRequiredNo bool     `json:"tls_required_no"` // RFC 8689 §5
	RequireTLS    bool     `json:"requiretls"`      // RFC 8689 §2

	// Time is when MAIL came. Message holds what the header fields and the
	// authentication of the message tell; nil until the header was read.
	Time    time.Time `json:"time,omitzero"`
	Message *Message  `json:"message,omitempty"`
}

// Message is what is kept of a message: header facts and how it was
// authenticated. Bodies are never kept.
type Message struct {
	From      []string  `json:"from,omitempty"`
	To        []string  `json:"to,omitempty"`
	Cc        []string  `json:"cc,omitempty"`
	Date      time.Time `json:"date,omitzero"`
	Language  string    `json:"language,omitempty"`
	Size      int64     `json:"size,omitempty"`      // octets received
	Automatic string    `json:"automatic,omitempty"` // why it must not be answered, e.g. "Auto-Submitted: auto-replied"
	ARC       bool      `json:"arc,omitempty"`       // an ARC set is present; see Chain
	DKIM      []DKIM    `json:"dkim,omitempty"`
	SPF       SPF       `json:"spf,omitzero"`
	DMARC     DMARC     `json:"dmarc,omitzero"`
	Chain     ARCChain  `json:"arc_chain,omitzero"` // the ARC set, validated
	Received  []Hop     `json:"received,omitempty"` // as the mail tells, in the order it went; ours is not among them

	// ReceivedLeftOut is how many hops before those of Received were left out.
	ReceivedLeftOut int `json:"received_left_out,omitempty"`
}

// AuthResult is a result of SPF or DKIM evaluation in the words of RFC 8601 §2.7.
type AuthResult string

// The results that are told apart.
const (
	AuthPass      AuthResult = "pass"
	AuthFail      AuthResult = "fail"
	AuthNeutral   AuthResult = "neutral"
	AuthSoftFail  AuthResult = "softfail"
	AuthNone      AuthResult = "none"
	AuthTempError AuthResult = "temperror"
	AuthPermError AuthResult = "permerror"
)

// DKIM is one DKIM signature (RFC 6376).
type DKIM struct {
	Domain  string     `json:"domain"` // d=
	Result  AuthResult `json:"result"`
	Headers []string   `json:"headers,omitempty"` // signed header fields, lower case
	Reason  string     `json:"reason,omitempty"`
}

// DMARC is the result of DMARC for the domain in From (RFC 7489).
type DMARC struct {
	Result      AuthResult `json:"result,omitempty"` // none: no record
	Domain      string     `json:"domain,omitempty"` // of From
	From        string     `json:"from,omitempty"`   // the domain that publishes the record
	Policy      string     `json:"policy,omitempty"` // none, quarantine or reject
	AlignedSPF  bool       `json:"aligned_spf,omitempty"`
	AlignedDKIM bool       `json:"aligned_dkim,omitempty"`
	Reason      string     `json:"reason,omitempty"`
}

// ARCChain is the result of validating the ARC sets (RFC 8617 §5.2).
type ARCChain struct {
	Result AuthResult `json:"result,omitempty"` // none, pass, fail or temperror
	Sets   int        `json:"sets,omitempty"`
	Sealer string     `json:"sealer,omitempty"` // d= of the newest seal
	Reason string     `json:"reason,omitempty"`
}

// Claim is what a Received field says about encryption.
type Claim string

// The claims.
const (
	ClaimEncrypted   Claim = "encrypted"
	ClaimUnencrypted Claim = "unencrypted" // a protocol without TLS, by RFC 3848
	ClaimLocal       Claim = "local"       // within one machine, or not by SMTP
	ClaimNone        Claim = "none"        // it does not say
)

// Hop is one step of a mail, as a Received field tells it (RFC 5321 §4.4). It
// is a claim: whoever had the mail later could write it.
type Hop struct {
	From   string    `json:"from,omitempty"`
	By     string    `json:"by,omitempty"`
	With   string    `json:"with,omitempty"` // e.g. ESMTPS (RFC 3848)
	Claim  Claim     `json:"claim"`
	TLS    string    `json:"tls,omitempty"`    // version, if it is given, e.g. "1.3" or "SSLv3"
	Cipher string    `json:"cipher,omitempty"` // if it is given
	Time   time.Time `json:"time,omitzero"`
}

// SPF is the result of SPF for the MAIL FROM domain (RFC 7208).
type SPF struct {
	Result    AuthResult `json:"result,omitempty"`
	Domain    string     `json:"domain,omitempty"`
	Mechanism string     `json:"mechanism,omitempty"` // the term that matched, e.g. "ip4", "mx", "all"
	Reason    string     `json:"reason,omitempty"`
}

// AnomalyPipelined is the anomaly of a client that sent more in plaintext
// together with STARTTLS. It was dropped.
const AnomalyPipelined = "plaintext pipelined behind STARTTLS"

// Connection is one TCP connection and everything observed on it.
type Connection struct {
	ID              ConnID        `json:"id"`
	Start           time.Time     `json:"start"`
	End             time.Time     `json:"end"`
	Client          string        `json:"client"` // address:port
	Local           string        `json:"local"`
	Phase           Phase         `json:"phase"`            // that of the session's last EHLO
	StartTLSOffered bool          `json:"starttls_offered"` // in the reply to an EHLO of this connection
	EHLO            bool          `json:"ehlo"`             // false: HELO only, STARTTLS could not be offered
	Server          int           `json:"server"`           // label, see package scenario
	Destination     string        `json:"destination"`      // et, ut, unknown
	Helo            []string      `json:"helo"`
	StartTLS        bool          `json:"starttls"` // the client sent STARTTLS
	TLS             *TLS          `json:"tls"`
	MailFrom        *string       `json:"mail_from"`
	RcptTo          []string      `json:"rcpt_to"`
	Data            bool          `json:"data"`
	Addressed       []string      `json:"addressed"`
	Transactions    []Transaction `json:"transactions"`
	Replies         []string      `json:"replies"`
	Status          Status        `json:"status"`
	Ending          Ending        `json:"ending"`

	// Slot is the slot that SNI or recipients named; 0 also when unknown.
	Slot int `json:"slot,omitempty"`
	// Anomalies are violations of protocol that people should see, e.g.
	// AnomalyPipelined. They make a finding at most, never a verdict.
	Anomalies []string `json:"anomalies,omitempty"`
	// Verbs are the commands that Replies answer, one for each: "" for the greeting
	// and for what is none, "." for a message.
	Verbs []string `json:"verbs,omitempty"`
	// Refused are recipients that were refused, at most a few.
	Refused []string `json:"refused,omitempty"`
	// Attribution says how the connection came to its test; empty in records
	// of a single sender, where it is exact.
	Attribution Attribution `json:"attribution,omitempty"`
}

// Attribution says how sure it is that a connection belongs to a test.
type Attribution string

// The ways of attribution. What carried no MAIL can be attributed in error.
// ByAddress: its client address is all that ties it to the test. BySlot: it also
// names, in SNI, the slot that the test has to itself, so it is part of this
// test; but whoever administers the sender may have tried it by hand.
const (
	ByMail    Attribution = "mail"
	ByAddress Attribution = "address"
	BySlot    Attribution = "slot"
)

// Clone returns a deep copy of c.
func (c Connection) Clone() Connection {
	c.Helo = slices.Clone(c.Helo)
	c.RcptTo = slices.Clone(c.RcptTo)
	c.Addressed = slices.Clone(c.Addressed)
	c.Replies = slices.Clone(c.Replies)
	c.Verbs = slices.Clone(c.Verbs)
	c.Anomalies = slices.Clone(c.Anomalies)
	c.Refused = slices.Clone(c.Refused)
	c.Transactions = slices.Clone(c.Transactions)
	for i, t := range c.Transactions {
		t.RcptTo = slices.Clone(t.RcptTo)
		t.Addressed = slices.Clone(t.Addressed)
		if t.Message != nil {
			t.Message = t.Message.clone()
		}
		c.Transactions[i] = t
	}
	if c.TLS != nil {
		t := *c.TLS
		t.ClientVersions = slices.Clone(t.ClientVersions)
		t.ClientSuites, t.ClientCurves = slices.Clone(t.ClientSuites), slices.Clone(t.ClientCurves)
		c.TLS = &t
	}
	if c.MailFrom != nil {
		from := *c.MailFrom
		c.MailFrom = &from
	}
	return c
}

func (m Message) clone() *Message {
	m.From, m.To, m.Cc = slices.Clone(m.From), slices.Clone(m.To), slices.Clone(m.Cc)
	m.DKIM, m.Received = slices.Clone(m.DKIM), slices.Clone(m.Received)
	for i := range m.DKIM {
		m.DKIM[i].Headers = slices.Clone(m.DKIM[i].Headers)
	}
	return &m
}

// Query is a DNS query for a name of our zone.
type Query struct {
	Time   time.Time `json:"time"`
	Client string    `json:"client"`
	Name   string    `json:"name"` // with trailing dot
	Type   string    `json:"qtype"`
	DO     bool      `json:"do"`
	Rcode  string    `json:"rcode"`
	Count  int       `json:"count,omitempty"` // merged equal queries; 0 is one
}

// PolicyFetch is a fetch of the MTA-STS policy over HTTPS (RFC 8461 §3.3).
type PolicyFetch struct {
	Time      time.Time `json:"time"`
	Client    string    `json:"client"`
	Host      string    `json:"host"`
	UserAgent string    `json:"user_agent"`
	Status    int       `json:"status"`
}

// State records a change of what is presented, so that absence of contact can
// be judged: the phase of the test's client, and the MX preferences of et.
type State struct {
	Time  time.Time      `json:"time"`
	Phase Phase          `json:"phase,omitempty"`
	MX    map[string]int `json:"mx"` // host label to preference

	// Unverifiable says why our own zone or policy could not be verified from
	// then on; empty if it could. Unprotected verdicts need it to be empty.
	Unverifiable string `json:"unverifiable,omitempty"`
	// UnverifiableSince is when the last check began that still passed: the
	// fault may have begun at any time after it. Zero means Time.
	UnverifiableSince time.Time `json:"unverifiable_since,omitzero"`

	// Broken says which of our own servers was not what it has to be: a
	// deliberate fault that was none, or a good server with a fault. Empty if all
	// were as they should. What was seen meanwhile says nothing about a sender.
	Broken string `json:"broken,omitempty"`
	// BrokenSince is to Broken what UnverifiableSince is to Unverifiable.
	BrokenSince time.Time `json:"broken_since,omitzero"`
}

// Duration is a time.Duration that JSON writes as a Go duration, e.g. "10m0s".
type Duration time.Duration

// Timing is the setting that a test ran under. A zero field means the default.
type Timing struct {
	Settle  Duration `json:"settle,omitempty"`  // unprotected verdicts not before; default 10 min
	Silence Duration `json:"silence,omitempty"` // absence counts only after; default 30 min
	Margin  Duration `json:"margin,omitempty"`  // an MX order holds for certain only after TTL and a minute; default 2 min
	Attempt Duration `json:"attempt,omitempty"` // connections that follow each other within it are one attempt; default 10 s, less if settle is short
}

// Test is one test mail of one sender.
type Test struct {
	ID        string    `json:"id"`
	Zone      string    `json:"zone"`
	Slot      int       `json:"slot"`
	Started   time.Time `json:"started"`
	Sender    string    `json:"sender"`
	SenderIPs []string  `json:"sender_ips"`
	Timing    *Timing   `json:"timing,omitempty"`

	// LeftOut counts connections that may be this sender's or another's, and
	// are not in the history for that reason. Where it is not 0, absence of
	// contact says nothing.
	LeftOut int `json:"left_out,omitempty"`
}

// History is the evidence of one test, each kind in order of time.
type History struct {
	Test        Test
	Connections []Connection
	Queries     []Query
	Fetches     []PolicyFetch
	States      []State

	// Until is the time up to which the history is known; zero if it is
	// complete. Attempts that may still go on at that time do not count yet.
	Until time.Time
}
