package sink

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink/internal/wire"
)

// session is one connection: the wire.Handler of its lines, the smtp.Session
// of its transactions, and its record.
//
// The engine calls it from one goroutine, and a second one while it reads a
// message that came by BDAT; mu guards everything that changes.
type session struct {
	server *Server
	limits Limits
	ctx    context.Context // ends when work in progress must
	conn   *wire.Conn
	id     evidence.ConnID
	client netip.Addr
	to     scenario.Domain // as far as the local address tells
	work   sync.WaitGroup  // messages being read

	accepted time.Time // for measuring alone

	mu      sync.Mutex
	record  evidence.Connection
	tlsFrom time.Time // when STARTTLS came
	probe   *Probe
	greeted bool // EHLO or HELO was accepted: the phase of the session is fixed
	offered bool // STARTTLS, in the last reply to EHLO
	done    bool // a message was answered with a temporary failure
	chosen  scenario.Certificate
	sni     scenario.Target // Host is empty if SNI named none of ours
	rcpt    recipient       // the last test recipient
	tx      *transaction    // the open transaction
	closed  bool            // the engine has left
}

// transaction is the open mail transaction. Its evidence is the last of
// record.Transactions.
type transaction struct {
	from      string
	kind      kind
	slot      int
	domain    scenario.Domain
	mailboxes []string
}

func newSession(ctx context.Context, s *Server, id evidence.ConnID, local, client netip.AddrPort, t Treatment) *session {
	to := cmp.Or(t.Destination, scenario.UnknownDomain)
	return &session{
		server: s, limits: *s.limits.Load(), ctx: ctx, id: id, client: client.Addr(), to: to,
		record: evidence.Connection{
			ID: id, Start: s.options.Now(), Client: client.String(), Local: local.String(), Phase: t.Phase,
			Status: evidence.StatusNone, Ending: evidence.EndingOpen, Destination: string(to),
		},
	}
}

// maxText bounds names and addresses that are recorded, in octets.
const maxText = 320

func clip(s string) string { return s[:min(len(s), maxText)] }

// few is how many refused recipients, anomalies and EHLO names are kept.
func (x *session) few() int { return x.limits.Records / 8 }

// add appends v unless the list is full or has it already.
func (x *session) add(list *[]string, v string) {
	if v = clip(v); len(*list) < x.few() && !slices.Contains(*list, v) {
		*list = append(*list, v)
	}
}

// reach records how far the connection came; it never goes back. x.mu is held.
func (x *session) reach(s evidence.Status) {
	order := []evidence.Status{evidence.StatusNone, evidence.StatusSNISeen, evidence.StatusTLSStarted, evidence.StatusMail, evidence.StatusAcked}
	if slices.Index(order, s) > slices.Index(order, x.record.Status) {
		x.record.Status = s
	}
}

// Anomaly records a violation of protocol, each kind once.
func (x *session) Anomaly(text string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.add(&x.record.Anomalies, text)
}

// Command sees each command before the engine.
func (x *session) Command(verb, arg string) *wire.Reply {
	switch verb {
	case "EHLO", "HELO":
		return x.hello(verb, arg)
	case "AUTH":
		// The engine would ask for TLS first, which suggests that it helps.
		return &wire.Reply{Code: 502, Enhanced: [3]int{5, 5, 1}, Text: "No authentication here"}
	}
	return nil
}

// Rewrite completes what the engine cannot parse.
func (x *session) Rewrite(verb, arg, line string) string {
	return x.server.completePostmaster(verb, arg, line)
}

// hello fixes the phase of the session at its first EHLO or HELO. A later one
// in another phase ends it: one connection, one phase.
func (x *session) hello(verb, arg string) *wire.Reply {
	name, _, _ := strings.Cut(arg, " ")
	x.identify(name)
	phase := x.phase()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.greeted && phase != x.record.Phase {
		return phaseOver()
	}
	if arg == "" {
		return nil // the engine refuses it
	}
	x.greeted, x.offered, x.record.Phase = true, false, phase
	x.record.EHLO = x.record.EHLO || verb == "EHLO"
	x.add(&x.record.Helo, name)
	return nil
}

// identify finds out, at the first EHLO, whether this is a probe of our own.
func (x *session) identify(name string) {
	prober, ok := x.server.options.Director.(Prober)
	x.mu.Lock()
	ok = ok && !x.greeted
	x.mu.Unlock()
	if !ok {
		return
	}
	if p, ok := prober.Probe(x.id, name); ok {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.probe = &p
	}
}

// probing returns how a probe is to be treated; nil if this is none.
func (x *session) probing() *Probe {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.probe
}

// phase is the phase of the connection now.
func (x *session) phase() evidence.Phase {
	if p := x.probing(); p != nil {
		return p.Phase
	}
	return x.server.options.Director.Phase(x.id)
}

func phaseOver() *wire.Reply {
	return &wire.Reply{Code: 421, Enhanced: [3]int{4, 3, 2}, Text: "tlsink ends this session on purpose, please connect again"}
}

// Keywords offers STARTTLS in the secure phase, REQUIRETLS inside TLS.
func (x *session) Keywords() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.conn.Secure():
		return []string{"REQUIRETLS"} // RFC 8689 §2: only inside TLS
	case x.record.Phase == evidence.Secure:
		x.offered, x.record.StartTLSOffered = true, true
		return []string{"STARTTLS"}
	}
	return nil
}

// StartTLS refuses what was not offered, and prepares the record.
func (x *session) StartTLS() *wire.Reply {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.record.StartTLS = true
	if x.conn.Secure() || x.tx != nil {
		return nil // the wire refuses it
	}
	if !x.offered {
		return &wire.Reply{Code: 454, Enhanced: [3]int{4, 7, 0}, Text: "TLS not available due to temporary reason"}
	}
	x.record.TLS = &evidence.TLS{Stage: evidence.StageBeforeCertificate}
	x.tlsFrom = x.server.options.Now()
	return nil
}

// Replied records the codes that we sent, and the reply to a message.
func (x *session) Replied(verb string, code int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.record.Replies) == 0 {
		x.server.options.Observer.Greeted(x.server.options.Now().Sub(x.accepted))
	}
	if len(x.record.Replies) < x.limits.Records {
		x.record.Replies = append(x.record.Replies, replyText(code))
		x.record.Verbs = append(x.record.Verbs, known(verb))
	}
	if x.tx == nil || x.tx.kind != test {
		return
	}
	tx := x.current()
	switch verb {
	case ".": // the end of the message came, also if it was too large to read
		tx.Data, tx.Reply = true, code
	case "BDAT":
		if !tx.Data && code != 552 {
			return // a chunk that is not the last, or a syntax error
		}
		tx.Reply = code
	default:
		return
	}
	if tx.Data && code == 250 {
		x.reach(evidence.StatusAcked)
	}
	x.done = x.done || code/100 == 4
}

// known returns a verb as it is recorded: not what a client makes up.
func known(verb string) string {
	switch verb {
	case ".", "EHLO", "HELO", "STARTTLS", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "EXPN", "HELP", "AUTH":
		return verb
	}
	return ""
}

func replyText(code int) string {
	return string([]byte{'0' + byte(code/100%10), '0' + byte(code/10%10), '0' + byte(code%10)})
}

// Busy reports whether a transaction is open.
func (x *session) Busy() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.tx != nil
}

// Idle ends a session that has served its purpose or whose phase is over.
func (x *session) Idle() *wire.Reply {
	phase := x.phase()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tx == nil && x.served(phase) {
		return phaseOver()
	}
	return nil
}

// served reports whether no further message is wanted in this session: the
// client shall meet another face. x.mu is held.
func (x *session) served(phase evidence.Phase) bool {
	return x.done || (x.greeted && phase != x.record.Phase)
}

// current returns the evidence of the open transaction. x.mu is held.
func (x *session) current() *evidence.Transaction {
	return &x.record.Transactions[len(x.record.Transactions)-1]
}

// snapshot returns a copy of the record with all that follows from the rest.
// x.mu is held.
func (x *session) snapshot() evidence.Connection {
	c := x.record.Clone()
	for _, t := range c.Transactions {
		if c.MailFrom == nil {
			c.MailFrom = &t.MailFrom
		}
		c.Data = c.Data || t.Data
		c.RcptTo = union(c.RcptTo, t.RcptTo)
		c.Addressed = union(c.Addressed, t.Addressed)
	}
	domain, slot := x.rcpt.domain, x.rcpt.slot
	if x.rcpt.kind != test {
		domain, slot = x.to, x.sni.Slot
		if x.sni.Host != "" {
			domain = x.sni.Host.Domain()
		}
	}
	c.Destination, c.Slot = string(domain), slot
	c.Server = int(scenario.ServerOf(c.TLS != nil, x.sni.Host, domain))
	if c.TLS != nil && c.TLS.Certificate != "" {
		c.TLS.TLSA = string(x.face(domain).TLSA)
	}
	return c.Clone() // MailFrom of its own
}

// face returns what TLS presented. x.mu is held.
func (x *session) face(domain scenario.Domain) scenario.Face {
	kind := x.chosen.Presented()
	isDefault := x.chosen.Owner == scenario.OwnerDefault
	switch {
	case x.sni.Host != "" && isDefault:
		return scenario.Default(x.sni.Host.Domain(), kind)
	case x.sni.Host != "":
		return scenario.Named(scenario.Host(x.chosen.Owner), kind)
	case isDefault:
		return scenario.Default(domain, kind)
	}
	return scenario.Default(scenario.UnknownDomain, kind) // not for Director to choose: it claims nothing
}

func union(a, b []string) []string {
	for _, v := range b {
		if !slices.Contains(a, v) {
			a = append(a, v)
		}
	}
	return a
}

// final returns the complete record, once the engine has left. The engine does
// not wait for a message that was cut off within BDAT: we do.
func (x *session) final() evidence.Connection {
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	x.work.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.record.End = x.server.options.Now()
	x.record.Ending = x.conn.Ending()
	if a := x.conn.Alert(); a != "" && x.record.TLS != nil {
		x.record.TLS.Alert = &a
	}
	return x.snapshot()
}
