package evidence

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
)

// The checks of what is read. A history that says two things at once, or
// something that nobody can know the meaning of, is refused with the name of
// the field: a verdict must not rest on it. Left out may be what is only for
// people, or what inference takes for unknown.

// maxID bounds the ids that verdicts cite, in octets.
const maxID = 200

// fault is what is wrong with a field.
func fault(field, format string, args ...any) error {
	return fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...))
}

// oneOf reports a value that is not in the format. An empty one is unknown.
func oneOf[T ~string](field string, v T, allowed ...T) error {
	if v == "" || slices.Contains(allowed, v) {
		return nil
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	return fault(field, "%q is unknown; want %s", clip(string(v)), strings.Join(words, ", "))
}

// clip shortens what an error quotes.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkID(field, id string) error {
	if len(id) > maxID {
		return fault(field, "%d octets long; want %d at most", len(id), maxID)
	}
	return printable(field, id)
}

// printable: findings and citations go to terminals.
func printable(field, s string) error {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return fault(field, "%q has control characters", clip(s))
	}
	return nil
}

func (t *Test) check() error {
	if t.Slot < 0 || t.LeftOut < 0 {
		return fault("slot, left_out", "%d, %d; want no negative numbers", t.Slot, t.LeftOut)
	}
	return first(checkID("id", t.ID), checkZone(t.Zone))
}

// checkZone: without the zone no name can be told from a foreign one.
func checkZone(zone string) error {
	name := strings.TrimSuffix(zone, ".")
	if name == "" {
		return fault("zone", "missing; want the DNS zone of the test domains, e.g. \"sink.example\"")
	}
	bad := len(name) > 253
	for label := range strings.SplitSeq(name, ".") {
		bad = bad || label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
			return !letter && (r < '0' || r > '9') && r != '-' && r != '_'
		})
	}
	if bad {
		return fault("zone", "%q is not a domain name", clip(zone))
	}
	return nil
}

func checkTime(field string, t time.Time) error {
	if t.IsZero() {
		return fault(field, "missing; want an RFC 3339 time")
	}
	return nil
}

func (c *Connection) check() error {
	if c.ID == "" {
		return fault("id", "missing; want one that no other connection has")
	}
	if err := checkID("id", string(c.ID)); err != nil {
		return err
	}
	if err := first(c.checkFields(), c.checkTLS(), c.checkMail()); err != nil {
		return fmt.Errorf("connection %q: %w", c.ID, err)
	}
	return nil
}

func (c *Connection) checkFields() error {
	if _, err := netip.ParseAddrPort(c.Client); err != nil {
		return fault("client", "%q; want address:port", clip(c.Client))
	}
	// Without an end it is one that was open when the record was written.
	if !c.End.IsZero() && c.End.Before(c.Start) {
		return fault("end", "%s is before start, %s", c.End.Format(time.RFC3339Nano), c.Start.Format(time.RFC3339Nano))
	}
	if c.Server < 0 || c.Server > 7 {
		return fault("server", "%d; want 1 to 7", c.Server)
	}
	if c.Slot < 0 {
		return fault("slot", "%d is negative", c.Slot)
	}
	for _, code := range c.Replies {
		if len(code) != 3 || code[0] < '2' || code[0] > '5' || strings.Trim(code, "0123456789") != "" {
			return fault("replies", "%q is not a reply code; want three digits", clip(code))
		}
	}
	if len(c.Verbs) > 0 && len(c.Verbs) != len(c.Replies) {
		return fault("verbs", "%d of them, but %d replies", len(c.Verbs), len(c.Replies))
	}
	return first(
		checkTime("start", c.Start),
		checkWords("verbs", c.Verbs, len(c.Replies)),
		oneOf("phase", c.Phase, Downgrade, Secure),
		oneOf("destination", c.Destination, "et", "ut", "unknown"),
		oneOf("status", c.Status, StatusNone, StatusSNISeen, StatusTLSStarted, StatusMail, StatusAcked),
		oneOf("ending", c.Ending, EndingQuit, EndingAlert, EndingCloseNotify, EndingFIN, EndingReset, EndingTimeout, EndingServer, EndingOpen),
		oneOf("attribution", c.Attribution, ByMail, ByAddress, BySlot),
	)
}

// checkTLS looks for handshakes that cannot have been.
func (c *Connection) checkTLS() error {
	t := c.TLS
	switch {
	case t == nil && c.Status == StatusTLSStarted, t == nil && c.Status == StatusSNISeen:
		return fault("status", "%q, but tls is null", c.Status)
	case t == nil:
		return nil
	case !c.StartTLSOffered:
		return fault("tls", "a handshake, but starttls_offered is false")
	case !c.StartTLS:
		return fault("tls", "a handshake, but starttls is false")
	case t.Stage == "":
		return fault("tls.stage", "missing; want %s, %s or %s", StageBeforeCertificate, StageCertificate, StageFinished)
	case t.Complete != (t.Stage == StageFinished):
		return fault("tls.complete", "%v, but tls.stage is %q", t.Complete, clip(string(t.Stage)))
	case t.Certificate == "" && t.Stage != StageBeforeCertificate:
		return fault("tls.certificate", "missing, but tls.stage is %q", clip(string(t.Stage)))
	}
	return first(
		checkWords("tls.client_suites", t.ClientSuites, MaxOffered), checkWords("tls.client_curves", t.ClientCurves, MaxOffered),
		oneOf("tls.stage", t.Stage, StageBeforeCertificate, StageCertificate, StageFinished),
		oneOf("tls.certificate", t.Certificate, "self-signed", "ca", "ca-default"),
		oneOf("tls.tlsa", t.TLSA, "match", "mismatch", "none", "unknown"),
	)
}

// MaxOffered bounds what is kept of a list in a ClientHello.
const MaxOffered = 64

// checkWords looks at names that only people read.
func checkWords(field string, words []string, most int) error {
	if len(words) > most {
		return fault(field, "%d of them; want %d at most", len(words), most)
	}
	for _, w := range words {
		if len(w) > maxID {
			return fault(field, "%q is too long", clip(w))
		}
		if err := printable(field, w); err != nil {
			return err
		}
	}
	return nil
}

// checkMail looks for mail that cannot have been. A record without
// transactions may still say that there was some: then it says nothing more.
func (c *Connection) checkMail() error {
	noMail := c.MailFrom == nil && len(c.Transactions) == 0
	switch {
	case noMail && (c.Status == StatusMail || c.Status == StatusAcked):
		return fault("status", "%q, but there was no MAIL", c.Status)
	case noMail && (c.Data || len(c.RcptTo) > 0):
		return fault("mail_from", "null, but there was RCPT or DATA")
	}
	inside := false
	for i, tx := range c.Transactions {
		field := func(name string) string { return fmt.Sprintf("transactions[%d].%s", i, name) }
		switch {
		case tx.TLS && (c.TLS == nil || !c.TLS.Complete):
			return fault(field("tls"), "true, but no handshake was completed")
		case inside && !tx.TLS:
			return fault(field("tls"), "false, but an earlier one was inside TLS")
		case tx.Reply != 0 && (tx.Reply < 200 || tx.Reply > 599):
			return fault(field("reply"), "%d is not a reply code; want 0 or 200 to 599", tx.Reply)
		case tx.Data && len(tx.RcptTo) == 0:
			return fault(field("data"), "true, but no recipient was accepted")
		}
		if err := tx.Message.check(); err != nil {
			return fmt.Errorf("%s.%w", field("message"), err)
		}
		inside = tx.TLS
	}
	return nil
}

// Bounds of a path: nobody shows more.
const (
	maxHops = 100
	maxText = 1000 // octets of a text of a hop, DMARC or ARC
)

// check looks at what is told of the way and the authentication of a message.
// Inference does not use it; people are shown it.
func (m *Message) check() error {
	switch {
	case m == nil:
		return nil
	case m.Chain.Sets < 0 || m.Chain.Sets > 50: // RFC 8617 §4.2.1
		return fault("arc_chain.sets", "%d; want 0 to 50", m.Chain.Sets)
	case len(m.Received) > maxHops:
		return fault("received", "%d hops; want %d at most", len(m.Received), maxHops)
	case m.ReceivedLeftOut < 0:
		return fault("received_left_out", "%d is negative", m.ReceivedLeftOut)
	}
	err := first(
		oneOf("dmarc.result", m.DMARC.Result, AuthPass, AuthFail, AuthNone, AuthTempError, AuthPermError),
		oneOf("dmarc.policy", m.DMARC.Policy, "none", "quarantine", "reject"),
		oneOf("arc_chain.result", m.Chain.Result, AuthPass, AuthFail, AuthNone, AuthTempError),
		checkText("dmarc.domain", m.DMARC.Domain), checkText("dmarc.from", m.DMARC.From), checkText("dmarc.reason", m.DMARC.Reason),
		checkText("arc_chain.sealer", m.Chain.Sealer), checkText("arc_chain.reason", m.Chain.Reason),
	)
	for i, h := range m.Received {
		field := func(name string) string { return fmt.Sprintf("received[%d].%s", i, name) }
		if h.Claim == "" {
			return fault(field("claim"), "missing; want %s, %s, %s or %s", ClaimEncrypted, ClaimUnencrypted, ClaimLocal, ClaimNone)
		}
		err = first(err,
			oneOf(field("claim"), h.Claim, ClaimEncrypted, ClaimUnencrypted, ClaimLocal, ClaimNone),
			checkText(field("from"), h.From), checkText(field("by"), h.By), checkText(field("with"), h.With),
			checkText(field("tls"), h.TLS), checkText(field("cipher"), h.Cipher),
		)
	}
	return err
}

func checkText(field, s string) error {
	if len(s) > maxText {
		return fault(field, "%d octets long; want %d at most", len(s), maxText)
	}
	return printable(field, s)
}

func (q *Query) check() error { return checkTime("time", q.Time) }

func (f *PolicyFetch) check() error {
	if f.Status != 0 && (f.Status < 100 || f.Status > 599) {
		return fault("status", "%d is not an HTTP status", f.Status)
	}
	return checkTime("time", f.Time)
}

func (s *State) check() error {
	for host, preference := range s.MX {
		if preference < 0 || preference > 65535 {
			return fault("mx."+clip(host), "%d is not a preference; want 0 to 65535", preference)
		}
	}
	return first(
		checkTime("time", s.Time), oneOf("phase", s.Phase, Downgrade, Secure),
		s.checkFault("unverifiable", s.Unverifiable, s.UnverifiableSince), s.checkFault("broken", s.Broken, s.BrokenSince),
	)
}

// checkFault: a fault cannot have begun after it was found.
func (s *State) checkFault(field, why string, since time.Time) error {
	switch {
	case why == "" && !since.IsZero():
		return fault(field, "missing, but there is %s_since", field)
	case since.After(s.Time):
		return fault(field+"_since", "%s is after time, %s", since.Format(time.RFC3339Nano), s.Time.Format(time.RFC3339Nano))
	}
	return printable(field, why)
}
