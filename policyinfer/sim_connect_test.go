package policyinfer

import (
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// simTry is one connection that a sender makes to hand over a mail.
type simTry struct {
	s      *simSender
	w      *simWorld
	host   *simHost
	p      Policy
	mail   *simMail
	domain scenario.Domain
	target scenario.Host
	view   simView
	rules  simRules

	c            *evidence.Connection
	sni          bool
	kind         scenario.Kind
	alternate    *simAlternate
	afterFailure bool // TLS failed with this host just before, or did once
	unverified   bool // it reconnected, and no longer minds the certificate chain
}

type simResult int

const (
	simLeft simResult = iota
	simMailed
	simNoTLS
)

func (t *simTry) connect() simResult {
	s, w := t.s, t.w
	t.c = w.connection(t.host.addr)
	if t.dropped() {
		return simLeft
	}
	t.c.Helo, t.c.EHLO = []string{t.host.helo}, !s.heloOnly
	t.c.StartTLSOffered = t.c.EHLO && t.c.Phase == evidence.Secure
	t.replied("250")
	if t.dropped() {
		return simLeft
	}
	wantsTLS := simWantsTLS(t.p, t.rules)
	if t.afterFailure || simMayFallBack(t.p, t.rules) && t.host.failed[t.target] {
		t.afterFailure, wantsTLS = true, false
	}
	switch {
	case t.c.StartTLSOffered && wantsTLS:
		return t.startTLS()
	case !t.c.StartTLSOffered && simNeedsTLS(t.p, t.rules):
		t.leaves(s.missing)
		t.ends(simOutcome{refused: true})
		return simNoTLS
	}
	return t.mails(false)
}

func (t *simTry) startTLS() simResult {
	c, w := t.c, t.w
	c.StartTLS = true
	c.TLS = &evidence.TLS{Stage: evidence.StageBeforeCertificate}
	if t.dropped() {
		return t.failed()
	}
	t.sni = simNames(t.p, t.rules)
	t.kind, t.alternate = w.present(t.host.addr, t.target, t.sni)
	c.TLS.ClientVersions = []string{"1.2", "1.3"}
	if t.sni {
		name := t.s.names().Host(t.target)
		c.TLS.SNI = &name
	}
	if t.dropped() {
		return t.failed()
	}
	version := "1.3"
	c.TLS.Certificate, c.TLS.Stage, c.TLS.Version = string(t.kind), evidence.StageCertificate, &version
	if t.dropped() {
		return t.failed()
	}
	if t.s.abort && t.p.SNI == SNIAlways && t.p.CA == CAIgnored && !t.unverified && t.kind == scenario.SelfSigned {
		t.leaves(simAlertEarly)
		t.ends(simOutcome{tls: true})
		t.w.now = t.w.now.Add(10 * time.Millisecond)
		t.unverified = true
		return t.connect()
	}
	if !simAccepts(t.p, t.rules, t.target, t.sni, t.kind) {
		return t.refuses()
	}
	c.TLS.Stage, c.TLS.Complete = evidence.StageFinished, true
	if t.dropped() {
		return t.failed()
	}
	return t.mails(true)
}

func (t *simTry) refuses() simResult {
	t.c.TLS.Stage, t.c.TLS.Complete = evidence.StageFinished, true
	t.leaves(t.s.refusal)
	t.ends(simOutcome{tls: true, refused: true})
	if !t.rules.authenticates() && t.p.CA == CAElsePlaintext {
		return t.inPlaintext()
	}
	return simLeft
}

// failed: the connection ended during the handshake, without the sender's doing.
func (t *simTry) failed() simResult {
	if t.s.fallBack && simMayFallBack(t.p, t.rules) {
		return t.inPlaintext()
	}
	return simLeft
}

func (t *simTry) inPlaintext() simResult {
	if t.s.remembers {
		t.host.failed[t.target] = true
	}
	t.w.now = t.w.now.Add(50 * time.Millisecond)
	t.afterFailure = true
	t.sni, t.kind, t.alternate = false, "", nil
	return t.connect()
}

// leaves ends the connection as one ends that was left without MAIL.
func (t *simTry) leaves(how simRefusal) {
	c := t.c
	alert := "bad certificate"
	switch how {
	case simQuit:
		c.Ending = evidence.EndingQuit
		t.replied("221")
	case simUnoffered:
		c.StartTLS, c.Ending = true, evidence.EndingQuit
		t.replied("454", "221")
	case simAlert, simAlertEarly:
		c.Ending, c.TLS.Alert = evidence.EndingAlert, &alert
	case simClose:
		c.Ending = evidence.EndingFIN
		if c.TLS != nil {
			c.Ending = evidence.EndingCloseNotify
		}
	case simCloseEarly:
		c.Ending = evidence.EndingFIN
	}
	if c.TLS != nil && (how == simAlertEarly || how == simCloseEarly) {
		c.TLS.Stage, c.TLS.Complete = evidence.StageCertificate, false
	}
}

// mails hands the mail over, perhaps several times in one session.
func (t *simTry) mails(tls bool) simResult {
	c, n := t.c, t.s.names()
	rcpt := "en@" + n.ET
	if t.domain == scenario.Unprotected {
		rcpt = "en@" + n.UT
	}
	from := "user@sender.example"
	for {
		c.MailFrom = &from
		c.Transactions = append(c.Transactions, evidence.Transaction{MailFrom: from, TLS: tls, RequireTLS: t.s.optTLS && tls})
		tx := &c.Transactions[len(c.Transactions)-1]
		if t.dropped() {
			return t.over(tls)
		}
		tx.RcptTo, c.RcptTo = []string{rcpt}, []string{rcpt}
		if t.dropped() {
			return t.over(tls)
		}
		t.replied("250", "250", "354")
		tx.Addressed, tx.MessageID, tx.TLSRequiredNo = t.mail.addressed, t.mail.id, t.s.optNo
		tx.Message = &evidence.Message{Date: t.mail.date}
		c.Addressed = t.mail.addressed
		if t.dropped() {
			return t.over(tls)
		}
		tx.Data, c.Data, tx.Reply = true, true, 451
		t.replied("451")
		if t.w.rng.Float64() >= t.s.reuse {
			break
		}
		t.w.now = t.w.now.Add(time.Duration(t.w.rng.IntN(200)) * time.Second)
	}
	c.Ending = evidence.EndingQuit
	if t.w.rng.IntN(8) == 0 {
		c.Ending = evidence.EndingServer // kept too long
	}
	t.ends(simOutcome{tls: tls, delivered: true})
	return simMailed
}

// over: the connection was dropped within a transaction; an earlier one in the
// same session may have been complete.
func (t *simTry) over(bool) simResult {
	if t.c.Data {
		return simMailed
	}
	return simLeft
}

// ends records the connection. What the sender did is what the truth learns.
func (t *simTry) ends(o simOutcome) {
	if t.alternate != nil {
		t.alternate.learn(t.kind, o.delivered)
	}
	if !t.w.record(t.c) {
		return
	}
	o.host, o.target, o.domain, o.sni, o.kind = t.host.addr, t.target, t.domain, t.sni, t.kind
	o.offered = t.c.StartTLSOffered
	o.hello = t.c.TLS != nil && len(t.c.TLS.ClientVersions) > 0
	o.explicit = t.c.Ending == evidence.EndingQuit || t.c.Ending == evidence.EndingAlert
	t.s.truth.met[o.host] = true
	if o.delivered || !t.w.weak { // else it may be anybody's, also where it names the slot
		t.s.truth.saw(o, t.c.Start)
	}
}

// dropped ends the connection here, by chance and without the sender's doing.
// One that follows an alert is spared: without it the alert looks like that of
// a sender that verifies, and nobody could tell.
func (t *simTry) dropped() bool {
	if t.unverified || t.w.rng.Float64()*6 >= t.s.flaky {
		return false
	}
	t.c.Ending = []evidence.Ending{evidence.EndingReset, evidence.EndingTimeout, evidence.EndingServer}[t.w.rng.IntN(3)]
	if t.s.accident && t.w.rng.IntN(3) == 0 {
		t.c.Ending, t.s.accident = evidence.EndingFIN, false
	}
	t.ends(simOutcome{tls: t.kind != "", delivered: t.c.Data})
	return true
}

func (t *simTry) replied(codes ...string) { t.c.Replies = append(t.c.Replies, codes...) }
