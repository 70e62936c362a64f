package operate

import (
	"fmt"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

// Transcript tells a connection step by step. The text holds what strangers
// sent: it must be escaped where it is shown.
func Transcript(c evidence.Connection) []Line {
	var t transcript
	offered := "withheld"
	if c.StartTLSOffered {
		offered = "offered"
	}
	t.add(LineConnect, "%s from %s to %s, phase %s, STARTTLS %s", clock(c.Start), c.Client, c.Local, c.Phase, offered)
	if complete(c) {
		t.dialog(c)
	} else {
		t.summary(c)
	}
	for _, a := range c.Anomalies {
		t.add(LineAnomaly, "%s", a)
	}
	if c.Ending == evidence.EndingOpen {
		t.add(LineEnd, "still open")
	} else {
		t.add(LineEnd, "%s after %.1f s: %s, status %s", clock(c.End), c.End.Sub(c.Start).Seconds(), endings(c.Ending), c.Status)
	}
	return t.lines
}

type transcript struct {
	lines []Line
	told  bool // the handshake
}

func (t *transcript) add(kind, format string, args ...any) {
	t.lines = append(t.lines, Line{kind, fmt.Sprintf(format, args...)})
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// complete reports whether every command is known, and which mail it was about.
func complete(c evidence.Connection) bool {
	mails := 0
	for i, verb := range c.Verbs {
		if i < len(c.Replies) && verb == "MAIL" && good(c.Replies[i]) {
			mails++
		}
	}
	return len(c.Verbs) > 0 && len(c.Verbs) == len(c.Replies) && mails == len(c.Transactions)
}

func good(reply string) bool { return strings.HasPrefix(reply, "2") }

// unrecorded stands for what was said and not kept.
const unrecorded = "…"

// names are given out one by one.
type names []string

func (n *names) next() string {
	if len(*n) == 0 {
		return unrecorded
	}
	first := (*n)[0]
	*n = (*n)[1:]
	return first
}

// dialog tells every command and its reply, in their order.
func (t *transcript) dialog(c evidence.Connection) {
	hellos, refused, left := names(c.Helo), names(c.Refused), c.Transactions
	var tx evidence.Transaction
	var to names
	open := false
	for i, verb := range c.Verbs {
		reply := c.Replies[i]
		switch {
		case verb == "":
			t.add(LineServer, "%s (greeting)", reply)
			continue
		case verb == "EHLO" || verb == "HELO":
			t.add(LineClient, "%s %s", verb, hellos.next())
		case verb == "MAIL" && good(reply):
			if open {
				t.facts(tx)
			}
			tx, left, open = left[0], left[1:], true
			to = names(tx.RcptTo)
			t.add(LineClient, "MAIL FROM:<%s>", tx.MailFrom)
		case verb == "RCPT" && good(reply):
			t.add(LineClient, "RCPT TO:<%s>", to.next())
		case verb == "RCPT":
			t.add(LineClient, "RCPT TO:<%s>", refused.next())
		case verb == ".":
			t.add(LineClient, "end of the message")
		default:
			t.add(LineClient, "%s", verb)
		}
		t.add(LineServer, "%s", reply)
		if verb == "STARTTLS" {
			t.tls(c.TLS)
		}
		if verb == "." && open {
			t.facts(tx)
			open = false
		}
	}
	t.tls(c.TLS)
	if open {
		t.facts(tx)
	}
}

// summary tells what is known of a dialog of which only replies were recorded.
func (t *transcript) summary(c evidence.Connection) {
	for _, name := range c.Helo {
		verb := "EHLO"
		if !c.EHLO {
			verb = "HELO"
		}
		t.add(LineClient, "%s %s", verb, name)
	}
	if c.StartTLS {
		t.add(LineClient, "STARTTLS")
	}
	t.tls(c.TLS)
	for _, tx := range c.Transactions {
		t.transaction(tx)
	}
	if len(c.Refused) > 0 {
		t.add(LineServer, "refused recipients: %s", strings.Join(c.Refused, ", "))
	}
	if len(c.Verbs) > 0 {
		t.add(LineClient, "all commands: %s", strings.Join(c.Verbs, " "))
	}
	if len(c.Replies) > 0 {
		t.add(LineServer, "all replies: %s", strings.Join(c.Replies, " "))
	}
}

// tls tells the handshake, once.
func (t *transcript) tls(h *evidence.TLS) {
	if h == nil || t.told {
		return
	}
	t.told = true
	name := "no SNI"
	if h.SNI != nil {
		name = "SNI " + *h.SNI
	}
	offers := []string{name}
	for _, list := range []struct {
		what   string
		values []string
	}{{"versions", h.ClientVersions}, {"suites", h.ClientSuites}, {"curves", h.ClientCurves}} {
		if len(list.values) > 0 {
			offers = append(offers, list.what+" "+strings.Join(list.values, ", "))
		}
	}
	if h.Stage != evidence.StageBeforeCertificate || h.SNI != nil || len(h.ClientVersions) > 0 {
		t.add(LineTLS, "ClientHello: %s", strings.Join(offers, "; "))
	}
	if h.Stage != evidence.StageBeforeCertificate {
		shown := "certificate " + h.Certificate
		if h.TLSA != "" {
			shown += ", TLSA " + h.TLSA
		}
		t.add(LineTLS, "shown: %s", shown)
	}
	if h.Complete {
		t.add(LineTLS, "handshake completed: %s", strings.TrimSpace(value(h.Version)+" "+value(h.Cipher)))
	} else {
		t.add(LineTLS, "handshake not completed, it came as far as: %s", h.Stage)
	}
	if h.Alert != nil {
		t.add(LineTLS, "alert of the client: %s", *h.Alert)
	}
	if h.Error != nil {
		t.add(LineTLS, "error: %s", *h.Error)
	}
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (t *transcript) transaction(tx evidence.Transaction) {
	how := "without TLS"
	if tx.TLS {
		how = "over TLS"
	}
	opts := ""
	if tx.RequireTLS {
		opts += " REQUIRETLS"
	}
	t.add(LineMail, "%s %s", strings.TrimSpace(when(tx.Time)+" MAIL FROM:<"+tx.MailFrom+">"+opts), how)
	for _, r := range tx.RcptTo {
		t.add(LineMail, "RCPT TO:<%s>", r)
	}
	t.facts(tx)
}

// facts tell what came of a mail transaction.
func (t *transcript) facts(tx evidence.Transaction) {
	if !tx.Data {
		t.add(LineMail, "no message came")
		return
	}
	answer := "not answered"
	if tx.Reply != 0 {
		answer = fmt.Sprintf("answered %d", tx.Reply)
	}
	t.add(LineMail, "message %s, %s", tx.MessageID, answer)
	if tx.TLSRequiredNo {
		t.add(LineMail, "TLS-Required: No")
	}
	m := tx.Message
	if m == nil {
		return
	}
	t.add(LineMail, "%d octets, From %s, To %s, Cc %s", m.Size, strings.Join(m.From, ", "), strings.Join(m.To, ", "), strings.Join(m.Cc, ", "))
	t.add(LineMail, "SPF %s for %s, DMARC %s for %s", m.SPF.Result, m.SPF.Domain, m.DMARC.Result, m.DMARC.Domain)
	for _, d := range m.DKIM {
		t.add(LineMail, "DKIM %s by %s %s", d.Result, d.Domain, d.Reason)
	}
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return clock(t)
}

func endings(e evidence.Ending) string {
	switch e {
	case evidence.EndingQuit:
		return "the client said QUIT"
	case evidence.EndingAlert:
		return "the client sent a fatal TLS alert"
	case evidence.EndingCloseNotify:
		return "the client closed TLS in order, without QUIT"
	case evidence.EndingFIN:
		return "the client closed the connection"
	case evidence.EndingReset:
		return "reset"
	case evidence.EndingTimeout:
		return "nothing more came in time"
	case evidence.EndingServer:
		return "we closed it"
	}
	return string(e)
}
