package report

import (
	"fmt"
	"strings"

	"github.com/tlsink/tlsink/evidence"
)

const hopsKeep = 15 // steps of a mail that are shown

// A mailView is what the report says about the test mail itself.
type mailView struct {
	Which string
	Lay   string
	Rows  []row // SPF, DKIM, DMARC, ARC, what it asks for itself
	Path  []hop
	Claim string // how far the mail says it was encrypted
}

// A hop is one step of the mail, as its Received fields tell it.
type hop struct {
	Mark mark
	Text string // from … by …
	How  string // encrypted, with what
}

// mailOfTest describes the newest copy of the mail whose header was read; nil if
// there is none.
func mailOfTest(in Input) *mailView {
	c, t := newestMessage(in.History)
	if t == nil {
		return nil
	}
	s, m := speaker{in.Language, in.Service}, t.Message
	v := &mailView{
		Which: phrase{"The copy that arrived at %[1]s UTC.", "Das am %[1]s UTC eingetroffene Exemplar."}.with(s.l, stamp(t.Time)),
		Lay:   authenticated(m).in(s.l),
		Path:  s.path(m), Claim: s.claim(m),
	}
	if len(v.Path) > 0 {
		v.Path = append(v.Path, s.lastHop(c, t))
	}
	if t.Time.IsZero() {
		v.Which = ""
	}
	for _, r := range []row{s.dmarcRow(m), s.dkimRow(m), s.spfRow(m), s.arcRow(m), s.wishes(t)} {
		if len(r.Answers) > 0 {
			v.Rows = append(v.Rows, r)
		}
	}
	if len(v.Rows) == 0 && len(v.Path) == 0 {
		return nil
	}
	return v
}

// newestMessage returns the newest transaction of which the header was read, and
// its connection; nil if there is none.
func newestMessage(h evidence.History) (c *evidence.Connection, out *evidence.Transaction) {
	for i := range h.Connections {
		for j := range h.Connections[i].Transactions {
			t := &h.Connections[i].Transactions[j]
			if t.Message != nil && (out == nil || !t.Time.Before(out.Time)) {
				c, out = &h.Connections[i], t
			}
		}
	}
	return c, out
}

// authenticated is the sentence for everybody: can a receiver tell that the mail
// is from the domain it names.
func authenticated(m *evidence.Message) phrase {
	passed, open := m.SPF.Result == evidence.AuthPass, m.SPF.Result == evidence.AuthTempError
	for _, d := range m.DKIM {
		passed, open = passed || d.Result == evidence.AuthPass, open || d.Result == evidence.AuthTempError
	}
	switch {
	case m.DMARC.Result == evidence.AuthPass && !m.DMARC.AlignedDKIM && m.DMARC.Reason != "":
		return phrase{
			"This mail passes, but proves nothing: the SPF record of the domain in its From field allows everybody to send in its name.",
			"Diese E-Mail besteht die Prüfung, beweist aber nichts: Der SPF-Eintrag der Domain im Absenderfeld erlaubt jedem, in ihrem Namen zu senden.",
		}
	case m.DMARC.Result == evidence.AuthPass:
		return phrase{
			"Receivers can tell that this mail really comes from the domain in its From field.",
			"Empfänger können erkennen, dass diese E-Mail wirklich von der Domain im Absenderfeld stammt.",
		}
	case m.DMARC.Result == evidence.AuthFail:
		return phrase{
			"Receivers cannot tell that this mail comes from the domain in its From field, and that domain's DMARC record says that they should.",
			"Empfänger können nicht erkennen, dass diese E-Mail von der Domain im Absenderfeld stammt; deren DMARC-Eintrag sagt aber, dass sie es können müssten.",
		}
	case m.DMARC.Result == evidence.AuthTempError || open && !passed:
		return phrase{
			"Whether receivers can tell that this mail really comes from you could not be tested.",
			"Ob Empfänger erkennen können, dass diese E-Mail wirklich von Ihnen stammt, war nicht prüfbar.",
		}
	case passed:
		return phrase{
			"Receivers can tell which domain sent this mail; no DMARC record says what that means for its From field.",
			"Empfänger können erkennen, welche Domain diese E-Mail gesendet hat; was das für das Absenderfeld bedeutet, sagt kein DMARC-Eintrag.",
		}
	}
	return phrase{
		"Nothing shows receivers that this mail really comes from you: neither SPF nor DKIM confirms it.",
		"Nichts zeigt Empfängern, dass diese E-Mail wirklich von Ihnen stammt: Weder SPF noch DKIM bestätigt es.",
	}
}

// result is a result of SPF, DKIM, DMARC or ARC in its own word (RFC 8601
// §2.7), which programs and admins know.
func (s speaker) result(r evidence.AuthResult, details ...string) answer {
	a := answer{markNone, s.quote(string(r), maxName)}
	switch r {
	case evidence.AuthPass:
		a.Mark = markYes
	case evidence.AuthFail, evidence.AuthSoftFail, evidence.AuthPermError:
		a.Mark = markNo
	case evidence.AuthTempError:
		a.Mark, a.Text = markUntested, untestedWord.in(s.l)
	}
	if note := join(details...); note != "" {
		a.Text += " (" + note + ")"
	}
	return a
}

func (s speaker) spfRow(m *evidence.Message) row {
	r := row{Name: "SPF"}
	if m.SPF.Result != "" {
		mechanism := ""
		if m.SPF.Mechanism != "" {
			mechanism = phrase{"by %[1]s", "durch %[1]s"}.with(s.l, s.quote(m.SPF.Mechanism, maxName))
		}
		r.Answers = []answer{s.result(m.SPF.Result, s.quote(m.SPF.Domain, maxName), mechanism, s.optionalReason(m.SPF.Reason))}
	}
	return r
}

func (s speaker) dkimRow(m *evidence.Message) row {
	r := row{Name: "DKIM"}
	for i, d := range m.DKIM {
		if i == recipientsKeep {
			r.Answers = append(r.Answers, answer{markNone, s.more(len(m.DKIM) - recipientsKeep)})
			break
		}
		r.Answers = append(r.Answers, s.result(d.Result, s.quote(d.Domain, maxName), s.optionalReason(d.Reason)))
	}
	if len(m.DKIM) == 0 {
		r.Answers = []answer{{markNone, phrase{"no signature", "keine Signatur"}.in(s.l)}}
	}
	return r
}

func (s speaker) dmarcRow(m *evidence.Message) row {
	r := row{Name: "DMARC"}
	d := m.DMARC
	switch d.Result {
	case "":
		return r
	case evidence.AuthNone:
		r.Answers = []answer{{markNone, phrase{"%[1]s has no record", "%[1]s hat keinen Eintrag"}.with(s.l, s.quote(d.Domain, maxName))}}
		return r
	}
	var aligned []string
	if d.AlignedSPF {
		aligned = append(aligned, "SPF")
	}
	if d.AlignedDKIM {
		aligned = append(aligned, "DKIM")
	}
	by, policy := phrase{"neither SPF nor DKIM is aligned", "weder SPF noch DKIM passt zum Absenderfeld"}.in(s.l), ""
	if len(aligned) > 0 {
		by = phrase{"aligned: %[1]s", "passt zum Absenderfeld: %[1]s"}.with(s.l, strings.Join(aligned, ", "))
	}
	if d.Policy != "" {
		policy = "p=" + s.quote(d.Policy, maxName)
	}
	r.Answers = []answer{s.result(d.Result, s.quote(d.Domain, maxName), by, policy, s.optionalReason(d.Reason))}
	return r
}

func (s speaker) arcRow(m *evidence.Message) row {
	r := row{Name: "ARC"}
	switch {
	case m.Chain.Result != "" && m.Chain.Result != evidence.AuthNone:
		sealer := ""
		if m.Chain.Sealer != "" {
			sealer = phrase{"sealed by %[1]s", "versiegelt von %[1]s"}.with(s.l, s.quote(m.Chain.Sealer, maxName))
		}
		r.Answers = []answer{s.result(m.Chain.Result, phrase{"ARC sets: %[1]d", "ARC-Sätze: %[1]d"}.with(s.l, m.Chain.Sets), sealer, s.optionalReason(m.Chain.Reason))}
	case m.ARC:
		r.Answers = []answer{{markNone, phrase{"present, not validated", "vorhanden, nicht geprüft"}.in(s.l)}}
	}
	return r
}

// wishes is what the mail asks for itself (RFC 8689).
func (s speaker) wishes(t *evidence.Transaction) row {
	r := row{Name: phrase{"It asks for itself", "Eigene Wünsche"}.in(s.l)}
	if t.RequireTLS {
		r.Answers = append(r.Answers, answer{markNone, phrase{"REQUIRETLS: only encrypted", "REQUIRETLS: nur verschlüsselt"}.in(s.l)})
	}
	if t.TLSRequiredNo {
		r.Answers = append(r.Answers, answer{markNone, phrase{"TLS-Required: No: rather unencrypted than not at all", "TLS-Required: No: lieber unverschlüsselt als gar nicht"}.in(s.l)})
	}
	return r
}

func (s speaker) optionalReason(why string) string {
	if why == "" {
		return ""
	}
	return s.reason(why)
}

// path lists the steps before ours, the last of a long way.
func (s speaker) path(m *evidence.Message) (out []hop) {
	left := m.ReceivedLeftOut
	hops := m.Received
	if n := len(hops) - hopsKeep; n > 0 {
		hops, left = hops[n:], left+n
	}
	if left > 0 {
		out = append(out, hop{markNone, phrase{"Earlier steps that are not shown: %[1]d.", "Frühere Schritte, die nicht gezeigt sind: %[1]d."}.with(s.l, left), ""})
	}
	unknown := phrase{"an unnamed host", "ein ungenannter Host"}.in(s.l)
	for i, h := range hops {
		from, by := unknown, unknown
		if h.From != "" {
			from = s.quote(h.From, maxName)
		}
		if h.By != "" {
			by = s.quote(h.By, maxName)
		}
		text := from + " → " + by
		if h.Claim == evidence.ClaimLocal && h.From == "" {
			text = by
		}
		how, mark := s.how(h)
		if !h.Time.IsZero() {
			how = stamp(h.Time) + ": " + how
		}
		out = append(out, hop{mark, fmt.Sprintf("%d. %s", left+i+1, text), how})
	}
	return out
}

// lastHop is the step to us, which we saw.
func (s speaker) lastHop(c *evidence.Connection, t *evidence.Transaction) hop {
	from, how, m := s.quote(hostOf(c), maxName), phrase{"seen by us: not encrypted", "von uns gesehen: nicht verschlüsselt"}.in(s.l), markNo
	if len(c.Helo) > 0 {
		from = s.quote(c.Helo[len(c.Helo)-1], maxName) + " (" + from + ")"
	}
	if t.TLS {
		how, m = phrase{"seen by us: encrypted", "von uns gesehen: verschlüsselt"}.in(s.l), markYes
		var details []string
		if c.TLS != nil {
			for _, p := range []*string{c.TLS.Version, c.TLS.Cipher} {
				if p != nil && *p != "" {
					details = append(details, s.quote(*p, maxName))
				}
			}
		}
		if len(details) > 0 {
			how += " (" + strings.Join(details, ", ") + ")"
		}
	}
	return hop{m, from + " → " + phrase{"this service", "dieser Dienst"}.in(s.l), how}
}

// how says what a step claims.
func (s speaker) how(h evidence.Hop) (string, mark) {
	var details []string
	for _, d := range []string{h.With, h.TLS, h.Cipher} {
		if d != "" {
			details = append(details, s.quote(d, maxName))
		}
	}
	note := ""
	if len(details) > 0 {
		note = " (" + strings.Join(details, ", ") + ")"
	}
	switch h.Claim {
	case evidence.ClaimEncrypted:
		return phrase{"says: encrypted", "Angabe: verschlüsselt"}.in(s.l) + note, markYes
	case evidence.ClaimUnencrypted:
		return phrase{"says: not encrypted", "Angabe: nicht verschlüsselt"}.in(s.l) + note, markNo
	case evidence.ClaimLocal:
		return phrase{"within one machine", "innerhalb eines Rechners"}.in(s.l) + note, markNone
	}
	return phrase{"does not say", "keine Angabe"}.in(s.l) + note, markUntested
}

// claim says where the mail stops saying that it was encrypted. Whoever had the
// mail later could have written all of it.
func (s speaker) claim(m *evidence.Message) string {
	for i, h := range m.Received {
		step := m.ReceivedLeftOut + i + 1
		switch h.Claim {
		case evidence.ClaimUnencrypted:
			return phrase{
				"Step %[1]d says that it was not encrypted. These are claims of the servers that the mail passed, not observations of ours.",
				"Schritt %[1]d sagt, dass er unverschlüsselt war. Dies sind Angaben der Server auf dem Weg, keine Beobachtungen von uns.",
			}.with(s.l, step)
		case evidence.ClaimNone, "":
			return phrase{
				"The claim of encryption ends at step %[1]d, which does not say how the mail came. These are claims of the servers that the mail passed, not observations of ours.",
				"Ab Schritt %[1]d ist Verschlüsselung nicht mehr belegt, denn er sagt nicht, wie die E-Mail kam. Dies sind Angaben der Server auf dem Weg, keine Beobachtungen von uns.",
			}.with(s.l, step)
		}
	}
	if m.ReceivedLeftOut > 0 {
		return phrase{
			"Every step that is shown says that it was encrypted, or stayed within one machine; the first ones were not kept. These are claims of the servers that the mail passed, not observations of ours.",
			"Jeder gezeigte Schritt sagt, dass er verschlüsselt war oder auf einem Rechner blieb; die ersten wurden nicht aufgehoben. Dies sind Angaben der Server auf dem Weg, keine Beobachtungen von uns.",
		}.in(s.l)
	}
	return phrase{
		"Every step up to us says that it was encrypted, or stayed within one machine. These are claims of the servers that the mail passed, not observations of ours.",
		"Jeder Schritt bis zu uns sagt, dass er verschlüsselt war oder auf einem Rechner blieb. Dies sind Angaben der Server auf dem Weg, keine Beobachtungen von uns.",
	}.in(s.l)
}
