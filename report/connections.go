package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// A line is one connection of the history, ready to be shown.
type line struct {
	Head  string // start – end (Server n, plain text|encrypted, Status)
	ID    string
	Notes string // what was special; may be empty
	Mails []mail
	Gap   string // how many connections are left out before this line; may be empty
}

// A mail is one transaction of a connection.
type mail struct {
	From, To, Signatures string
}

// lines returns the history of connections, the middle of a long one left out.
func lines(h evidence.History, zone string, l Language) []line {
	kept, omitted := fold(h.Connections, foldKeep)
	out := make([]line, 0, len(kept))
	for i := range kept {
		one := lineOf(&kept[i], zone, l)
		if omitted > 0 && i == foldKeep {
			one.Gap = plural{
				phrase{"%[1]d connection left out here", "hier ist %[1]d Verbindung ausgelassen"},
				phrase{"%[1]d connections left out here", "hier sind %[1]d Verbindungen ausgelassen"},
			}.with(l, omitted)
		}
		out = append(out, one)
	}
	return out
}

func lineOf(c *evidence.Connection, zone string, l Language) line {
	kind := phrase{"plain text", "unverschlüsselt"}
	if c.TLS != nil && (c.TLS.Complete || c.TLS.Stage == evidence.StageFinished) {
		kind = phrase{"encrypted", "verschlüsselt"}
	} else if c.TLS != nil {
		kind = phrase{"TLS failed", "TLS gescheitert"}
	}
	out := line{
		Head:  fmt.Sprintf("%s (Server %d, %s, %s)", span(c.Start, c.End), c.Server, kind.in(l), clean(string(c.Status), maxName)),
		ID:    "#" + clean(string(c.ID), maxName),
		Notes: notes(c, zone, l),
	}
	for i, t := range c.Transactions {
		if i == mailsKeep {
			out.Notes = join(out.Notes, phrase{"%[1]d more mails", "%[1]d weitere E-Mails"}.with(l, len(c.Transactions)-mailsKeep))
			break
		}
		out.Mails = append(out.Mails, mailOf(t, zone, l))
	}
	return out
}

func join(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, "; ")
}

// span writes a time span as in "2026-11-21 18:31:53 – 18:31:54".
func span(start, end time.Time) string {
	start, end = start.UTC(), end.UTC()
	switch {
	case end.IsZero():
		return stamp(start) + " –"
	case end.Format(time.DateOnly) == start.Format(time.DateOnly):
		return stamp(start) + " – " + end.Format(time.TimeOnly)
	}
	return stamp(start) + " – " + stamp(end)
}

func stamp(t time.Time) string { return t.UTC().Format(time.DateTime) }

// notes says what the certificate was, how the client left, and what was odd.
func notes(c *evidence.Connection, zone string, l Language) string {
	return join(noteParts(c, zone, l)...)
}

func noteParts(c *evidence.Connection, zone string, l Language) (parts []string) {
	if c.TLS != nil {
		parts = append(parts, sniNote(c.TLS, l), certificateNote(c.TLS, l))
		if c.TLS.Alert != nil {
			parts = append(parts, phrase{"alert: %[1]s", "TLS-Alert: %[1]s"}.with(l, redactText(*c.TLS.Alert, zone, maxName)))
		} else if c.TLS.Error != nil && !c.TLS.Complete {
			parts = append(parts, phrase{"error: %[1]s", "Fehler: %[1]s"}.with(l, redactText(*c.TLS.Error, zone, maxName)))
		}
	}
	if !c.EHLO && len(c.Helo) > 0 {
		parts = append(parts, phrase{"HELO only", "nur HELO"}.in(l))
	}
	// A client that leaves in order because STARTTLS is missing says so by its status.
	if !transferred(c) && (c.TLS != nil || c.Ending != evidence.EndingQuit) {
		parts = append(parts, endingNote(c.Ending).in(l))
	}
	for i, a := range c.Anomalies {
		if i == recipientsKeep {
			break
		}
		parts = append(parts, redactText(anomalyText(a, l), zone, maxName))
	}
	switch c.Attribution {
	case evidence.ByAddress:
		parts = append(parts, phrase{"assigned by address only", "nur nach der Adresse zugeordnet"}.in(l))
	case evidence.BySlot:
		parts = append(parts, phrase{"assigned by a server name that only this test has", "nach einem Servernamen zugeordnet, den nur dieser Test hat"}.in(l))
	}
	return slices.DeleteFunc(parts, func(p string) bool { return p == "" })
}

func transferred(c *evidence.Connection) bool {
	for _, t := range c.Transactions {
		if t.Data {
			return true
		}
	}
	return c.Data
}

func sniNote(t *evidence.TLS, l Language) string {
	if t.SNI == nil || *t.SNI == "" {
		return phrase{"no SNI", "ohne SNI"}.in(l)
	}
	return "SNI " + clean(*t.SNI, maxName)
}

func certificateNote(t *evidence.TLS, l Language) string {
	var kind phrase
	switch scenario.Kind(t.Certificate) {
	case scenario.SelfSigned:
		kind = phrase{"self-signed certificate", "selbstsigniertes Zertifikat"}
	case scenario.CA, scenario.CADefault:
		kind = phrase{"certificate of a public CA", "Zertifikat einer öffentlichen Zertifizierungsstelle"}
	default:
		return ""
	}
	switch scenario.TLSA(t.TLSA) {
	case scenario.TLSAMatch:
		return phrase{"%[1]s, TLSA matches", "%[1]s, TLSA-Eintrag passt"}.with(l, kind)
	case scenario.TLSAMismatch:
		return phrase{"%[1]s, TLSA does not match", "%[1]s, TLSA-Eintrag passt nicht"}.with(l, kind)
	}
	return kind.in(l)
}

// endingNote says how a client left that handed nothing over.
func endingNote(e evidence.Ending) phrase {
	switch e {
	case evidence.EndingQuit:
		return phrase{"left with QUIT", "mit QUIT beendet"}
	case evidence.EndingAlert:
		return phrase{"left with an alert", "mit einem TLS-Alert abgebrochen"}
	case evidence.EndingCloseNotify, evidence.EndingFIN:
		return phrase{"left without QUIT", "ohne QUIT beendet"}
	case evidence.EndingReset:
		return phrase{"connection reset", "Verbindung abgebrochen (Reset)"}
	case evidence.EndingTimeout:
		return phrase{"timed out", "Zeit abgelaufen"}
	case evidence.EndingServer:
		return phrase{"ended by this service", "von diesem Dienst beendet"}
	case evidence.EndingOpen:
		return phrase{"still open", "noch offen"}
	}
	return phrase{}
}

func mailOf(t evidence.Transaction, zone string, l Language) mail {
	m := mail{From: "<" + clean(redactAddress(t.MailFrom, zone), maxName) + ">", Signatures: signatures(t.Message, zone, l)}
	var to []string
	for i, r := range t.RcptTo {
		if i == recipientsKeep {
			to = append(to, phrase{"and %[1]d more", "und %[1]d weitere"}.with(l, len(t.RcptTo)-recipientsKeep))
			break
		}
		to = append(to, "<"+clean(redactAddress(r, zone), maxName)+">")
	}
	m.To = strings.Join(to, ", ")
	if m.To == "" {
		m.To = phrase{"none", "niemanden"}.in(l)
	}
	return m
}

// signatures lists DKIM and ARC, and what SPF said. Empty if no header was read.
func signatures(m *evidence.Message, zone string, l Language) string {
	if m == nil {
		return ""
	}
	var parts []string
	for i, d := range m.DKIM {
		if i == recipientsKeep {
			parts = append(parts, phrase{"%[1]d more", "%[1]d weitere"}.with(l, len(m.DKIM)-recipientsKeep))
			break
		}
		parts = append(parts, fmt.Sprintf("DKIM %s (%s)", redactText(d.Domain, zone, maxName), clean(string(d.Result), maxName)))
	}
	if m.ARC {
		parts = append(parts, "ARC")
	}
	if len(parts) == 0 {
		parts = append(parts, phrase{"none", "keine"}.in(l))
	}
	if m.SPF.Result != "" {
		parts = append(parts, "SPF "+clean(string(m.SPF.Result), maxName))
	}
	return strings.Join(parts, ", ")
}
