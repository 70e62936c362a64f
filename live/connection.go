package live

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/scenario"
)

// Lengths at which what strangers wrote is cut, in characters.
const (
	maxName    = 80
	maxDetail  = 200
	maxDetails = 16
)

// A teller puts one test into words for one reader.
type teller struct {
	l      report.Language
	zone   string
	reader *policyinfer.Reader
}

// connection returns row n of the test.
func (t teller) connection(c *evidence.Connection, r *reading, n int) Connection {
	seen := t.reader.Read(c)
	out := Connection{
		Number: n, ID: evidence.ConnID(t.clean(string(c.ID))), Time: c.Start.UTC(), Open: c.Ending == evidence.EndingOpen,
		Client: report.Host(c, t.zone), Server: c.Server, Outcome: r.outcome,
		Phase: evidence.Phase(t.clean(string(c.Phase))), By: evidence.Attribution(t.clean(string(c.Attribution))),
		TLS: t.tls(c),
	}
	if len(c.Helo) > 0 {
		out.Name = t.clean(c.Helo[len(c.Helo)-1])
	}
	if c.TLS != nil && c.TLS.SNI != nil {
		out.SNI = t.clean(*c.TLS.SNI)
	}
	out.Text = t.text(c, r, seen)
	out.Details = t.details(c, r, seen)
	return out
}

func (t teller) clean(s string) string { return report.Clean(s, t.zone, maxName) }

// outcome is what came of a connection. What was transferred is certain,
// whomever it was for; a refusal is only what inference reads as one.
func (t teller) outcome(c *evidence.Connection) Outcome {
	switch {
	case slices.ContainsFunc(c.Transactions, func(tx evidence.Transaction) bool { return tx.Data && !tx.TLS }):
		return Plaintext
	case slices.ContainsFunc(c.Transactions, func(tx evidence.Transaction) bool { return tx.Data }):
		return Encrypted
	case c.Data && c.TLS != nil && c.TLS.Complete:
		return Encrypted
	case c.Data:
		return Plaintext
	case len(t.reader.Read(c)) > 0:
		return Refused
	}
	return Contacted
}

// text says what happened and what it means.
func (t teller) text(c *evidence.Connection, r *reading, seen []policyinfer.Seen) string {
	o := r.outcome
	if o == Contacted && r.doubt.empty() {
		return t.contact(c)
	}
	s, ok := weightiest(seen)
	if !ok {
		return t.unread(c, o)
	}
	words := sightOf(s)
	meaning := words.refused
	if s.Delivered {
		meaning = words.delivered
	}
	if meaning.empty() {
		return t.unread(c, o)
	}
	met := words.met
	if met == pretended && !c.EHLO {
		met = phrase{} // nobody pretended anything: see prelude
	}
	after := t.caution(s)
	if !r.doubt.empty() {
		meaning, after = plainly(o), r.doubt.in(t.l)
	}
	if exception, ok := t.exception(c); ok {
		meaning, after = plainly(o), exception.in(t.l)
	}
	return sentences(t.prelude(c), met.with(t.l, c.Server), meaning.with(t.l, c.Server, t.who(c)), after)
}

// weightiest is what to tell of several: plaintext before encrypted, the mail
// before what followed.
func weightiest(seen []policyinfer.Seen) (out policyinfer.Seen, ok bool) {
	weight := func(s policyinfer.Seen) int {
		switch {
		case s.Delivered && !s.TLS:
			return 3
		case s.Delivered:
			return 2
		}
		return 1
	}
	for _, s := range seen {
		if !ok || weight(s) > weight(out) {
			out, ok = s, true
		}
	}
	return out, ok
}

// who came: of what carried no mail, only the address tells whose it is. To name
// the slot of the test says which test it is part of, not who tried.
func (t teller) who(c *evidence.Connection) phrase {
	if c.Attribution == evidence.ByAddress || c.Attribution == evidence.BySlot {
		return phrase{"A server with your provider’s address", "Ein Server mit der Adresse Ihres Anbieters"}
	}
	return phrase{"Your provider", "Ihr Anbieter"}
}

// prelude is what comes before the server is met: how the sender asked for it.
func (t teller) prelude(c *evidence.Connection) string {
	switch {
	case c.TLS == nil && !c.EHLO && len(c.Helo) > 0:
		return phrase{
			"The greeting was of an old kind (HELO) in which no encryption can be offered.",
			"Die Begrüßung war von alter Art (HELO), bei der sich keine Verschlüsselung anbieten lässt.",
		}.in(t.l)
	case c.TLS == nil:
		return ""
	case c.TLS.SNI == nil:
		return phrase{
			"No server name was given (no SNI).",
			"Ein Servername wurde nicht genannt (kein SNI).",
		}.in(t.l)
	case t.reader.SNI(c) != scenario.Yes:
		return phrase{
			"A server name was given that is not part of this test.",
			"Genannt wurde ein Servername, der nicht zu diesem Test gehört.",
		}.in(t.l)
	}
	return ""
}

// exception is why what was handed over says nothing about other mail.
func (t teller) exception(c *evidence.Connection) (p phrase, ok bool) {
	mail := func(has func(evidence.Transaction) bool) bool { return slices.ContainsFunc(c.Transactions, has) }
	switch {
	case t.reader.Faulty(c):
		return phrase{
			"This service had a fault of its own at that time, so this says nothing about your provider.",
			"Dieser Dienst war zu dieser Zeit selbst gestört; über Ihren Anbieter sagt das deshalb nichts.",
		}, true
	case mail(func(tx evidence.Transaction) bool { return tx.TLSRequiredNo }):
		return phrase{
			"But this mail asked to be sent without protection, so it does not show how other mail is treated.",
			"Diese E-Mail verlangte aber, ohne Schutz verschickt zu werden; wie andere behandelt werden, zeigt sie nicht.",
		}, true
	case mail(func(tx evidence.Transaction) bool { return tx.RequireTLS }):
		return phrase{
			"But this mail demanded encryption for itself, so it does not show how other mail is treated.",
			"Diese E-Mail verlangte aber für sich selbst Verschlüsselung; wie andere behandelt werden, zeigt sie nicht.",
		}, true
	}
	return phrase{}, false
}

// plainly says what happened, and nothing of what it means.
func plainly(o Outcome) phrase {
	switch o {
	case Plaintext:
		return phrase{"%[2]s handed the mail over unencrypted.", "%[2]s übergab die E-Mail unverschlüsselt."}
	case Encrypted:
		return phrase{"%[2]s handed the mail over, encrypted.", "%[2]s übergab die E-Mail, verschlüsselt."}
	}
	return phrase{"%[2]s left without handing over the mail.", "%[2]s ging, ohne die E-Mail zu übergeben."}
}

// unread is a mail that inference does not read, e.g. since the host that was
// asked for is not one of its recipient.
func (t teller) unread(c *evidence.Connection, o Outcome) string {
	return sentences(t.prelude(c), plainly(o).with(t.l, c.Server, t.who(c)), phrase{
		"Which rule it followed can’t be told from this connection.",
		"Welcher Regel das folgte, ist an dieser Verbindung nicht zu erkennen.",
	}.in(t.l))
}

// caution says that a refusal without a reason counts only if it is repeated.
func (t teller) caution(s policyinfer.Seen) string {
	if s.Delivered || s.Explicit || sightOf(s).refused == unknownReason {
		return ""
	}
	return phrase{
		"It gave no reason, so this counts only if it happens again.",
		"Einen Grund nannte er nicht; das zählt deshalb nur, wenn es wieder geschieht.",
	}.in(t.l)
}

// doubts are what a refusal alone leaves open.
func (t teller) doubts(r *reading, seen []policyinfer.Seen) (out []string) {
	s, ok := weightiest(seen)
	if !ok || s.Delivered || !r.doubt.empty() {
		return nil
	}
	if s.Face.Domain == scenario.UnknownDomain {
		out = append(out, phrase{
			"No recipient was named, so which test address this was for is not known.",
			"Ein Empfänger wurde nicht genannt; für welche Testadresse das war, ist deshalb nicht bekannt.",
		}.in(t.l))
	}
	if s.Explicit && sightOf(s).refused != unknownReason {
		out = append(out, phrase{
			"One refusal alone makes no verdict, since it may have other reasons.",
			"Eine einzelne Ablehnung reicht für ein Ergebnis nicht, da sie andere Gründe haben kann.",
		}.in(t.l))
	}
	return out
}

// tls is version and suite, or how the handshake failed.
func (t teller) tls(c *evidence.Connection) string {
	if c.TLS == nil {
		return ""
	}
	var parts []string
	for _, p := range []*string{c.TLS.Version, c.TLS.Cipher} {
		if p != nil && *p != "" {
			parts = append(parts, t.clean(*p))
		}
	}
	agreed := strings.Join(parts, ", ")
	if c.TLS.Complete || c.TLS.Stage == evidence.StageFinished {
		return agreed
	}
	why := phrase{"not completed", "nicht abgeschlossen"}.in(t.l)
	switch {
	case c.TLS.Alert != nil:
		why = phrase{"failed: %[1]s", "gescheitert: %[1]s"}.with(t.l, t.clean(*c.TLS.Alert))
	case c.TLS.Error != nil:
		why = phrase{"failed: %[1]s", "gescheitert: %[1]s"}.with(t.l, t.clean(*c.TLS.Error))
	}
	if agreed == "" {
		return why
	}
	return agreed + "; " + why
}

// details are for those who want to know more: what the report notes, whom the
// mails were for, what we answered, and why this belongs to the test.
func (t teller) details(c *evidence.Connection, r *reading, seen []policyinfer.Seen) []string {
	out := slices.Concat(report.Notes(c, t.zone, t.l), t.doubts(r, seen))
	for i := range c.Transactions {
		out = append(out, t.mail(&c.Transactions[i]))
	}
	switch c.Attribution {
	case evidence.ByMail:
		out = append(out, phrase{"Belongs to this test, since its mail came this way.", "Gehört zu diesem Test, da dessen E-Mail so kam."}.in(t.l))
	case evidence.ByAddress:
		out = append(out, phrase{
			"Probably belongs to this test: it came from an address that sent the test mail, but carried no mail itself.",
			"Gehört vermutlich zu diesem Test: Sie kam von einer Adresse, die die Testmail schickte, trug aber selbst keine E-Mail.",
		}.in(t.l))
	case evidence.BySlot:
		out = append(out, phrase{
			"Belongs to this test: it asked for a server name that only this test has.",
			"Gehört zu diesem Test: Sie verlangte einen Servernamen, den nur dieser Test hat.",
		}.in(t.l))
	}
	out = slices.DeleteFunc(out, func(s string) bool { return s == "" })
	if len(out) > maxDetails {
		out = append(out[:maxDetails-1:maxDetails-1], "…")
	}
	for i := range out {
		out[i] = report.Clean(out[i], t.zone, maxDetail)
	}
	return out
}

// mail is one transaction, and what we answered.
func (t teller) mail(tx *evidence.Transaction) string {
	var to []string
	for _, r := range tx.RcptTo[:min(len(tx.RcptTo), 2)] {
		to = append(to, report.Address(r, t.zone))
	}
	if len(to) == 0 {
		return phrase{"A mail was begun, without a recipient of this test.", "Eine E-Mail wurde begonnen, ohne Empfänger dieses Tests."}.in(t.l)
	}
	if len(tx.RcptTo) > 2 {
		to = append(to, "…")
	}
	list := strings.Join(to, ", ")
	switch {
	case !tx.Data:
		return phrase{"A mail to %[1]s was begun, and not transferred.", "Eine E-Mail an %[1]s wurde begonnen und nicht übertragen."}.with(t.l, list)
	case tx.Reply >= 200 && tx.Reply < 300:
		return phrase{"The mail to %[1]s was accepted (%[2]s).", "Die E-Mail an %[1]s wurde angenommen (%[2]s)."}.with(t.l, list, strconv.Itoa(tx.Reply))
	case tx.Reply >= 400 && tx.Reply < 500:
		return phrase{
			"The mail to %[1]s was transferred; this service asked to send it again later (%[2]s), to see more.",
			"Die E-Mail an %[1]s wurde übertragen; dieser Dienst bat darum, sie später noch einmal zu senden (%[2]s), um mehr zu sehen.",
		}.with(t.l, list, strconv.Itoa(tx.Reply))
	}
	return phrase{"The mail to %[1]s was transferred.", "Die E-Mail an %[1]s wurde übertragen."}.with(t.l, list)
}
