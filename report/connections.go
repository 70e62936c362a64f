package report

import (
	"fmt"
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
	Gap   int // connections left out before this line
}

// A mail is one transaction of a connection.
type mail struct {
	From, To, Signatures string
}

// lines returns the history of connections, the middle of a long one left out.
func lines(h evidence.History, zone string) []line {
	kept, omitted := fold(h.Connections, foldKeep)
	out := make([]line, 0, len(kept))
	for i := range kept {
		l := lineOf(&kept[i], zone)
		if omitted > 0 && i == foldKeep {
			l.Gap = omitted
		}
		out = append(out, l)
	}
	return out
}

func lineOf(c *evidence.Connection, zone string) line {
	kind := "plain text"
	if c.TLS != nil && (c.TLS.Complete || c.TLS.Stage == evidence.StageFinished) {
		kind = "encrypted"
	} else if c.TLS != nil {
		kind = "TLS failed"
	}
	l := line{
		Head:  fmt.Sprintf("%s (Server %d, %s, %s)", span(c.Start, c.End), c.Server, kind, clean(string(c.Status), maxName)),
		ID:    "#" + clean(string(c.ID), maxName),
		Notes: notes(c, zone),
	}
	for i, t := range c.Transactions {
		if i == mailsKeep {
			l.Notes = join(l.Notes, fmt.Sprintf("%d more mails", len(c.Transactions)-mailsKeep))
			break
		}
		l.Mails = append(l.Mails, mailOf(t, zone))
	}
	return l
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
func notes(c *evidence.Connection, zone string) string {
	var parts []string
	if c.TLS != nil {
		parts = append(parts, sniNote(c.TLS), certificateNote(c.TLS))
		if c.TLS.Alert != nil {
			parts = append(parts, "alert: "+redactText(*c.TLS.Alert, zone, maxName))
		} else if c.TLS.Error != nil && !c.TLS.Complete {
			parts = append(parts, "error: "+redactText(*c.TLS.Error, zone, maxName))
		}
	}
	if !c.EHLO && len(c.Helo) > 0 {
		parts = append(parts, "HELO only")
	}
	// A client that leaves in order because STARTTLS is missing says so by its status.
	if !transferred(c) && (c.TLS != nil || c.Ending != evidence.EndingQuit) {
		parts = append(parts, endingNote(c.Ending))
	}
	for i, a := range c.Anomalies {
		if i == recipientsKeep {
			break
		}
		parts = append(parts, redactText(a, zone, maxName))
	}
	if c.Attribution == evidence.ByAddress {
		parts = append(parts, "assigned by address only")
	}
	return join(parts...)
}

func transferred(c *evidence.Connection) bool {
	for _, t := range c.Transactions {
		if t.Data {
			return true
		}
	}
	return c.Data
}

func sniNote(t *evidence.TLS) string {
	if t.SNI == nil || *t.SNI == "" {
		return "no SNI"
	}
	return "SNI " + clean(*t.SNI, maxName)
}

func certificateNote(t *evidence.TLS) string {
	s := ""
	switch scenario.Kind(t.Certificate) {
	case scenario.SelfSigned:
		s = "self-signed certificate"
	case scenario.CA, scenario.CADefault:
		s = "certificate of a public CA"
	default:
		return ""
	}
	switch scenario.TLSA(t.TLSA) {
	case scenario.TLSAMatch:
		s += ", TLSA matches"
	case scenario.TLSAMismatch:
		s += ", TLSA does not match"
	}
	return s
}

// endingNote says how a client left that handed nothing over.
func endingNote(e evidence.Ending) string {
	switch e {
	case evidence.EndingQuit:
		return "left with QUIT"
	case evidence.EndingAlert:
		return "left with an alert"
	case evidence.EndingCloseNotify, evidence.EndingFIN:
		return "left without QUIT"
	case evidence.EndingReset:
		return "connection reset"
	case evidence.EndingTimeout:
		return "timed out"
	case evidence.EndingServer:
		return "ended by this service"
	case evidence.EndingOpen:
		return "still open"
	}
	return ""
}

func mailOf(t evidence.Transaction, zone string) mail {
	m := mail{From: "<" + clean(redactAddress(t.MailFrom, zone), maxName) + ">", Signatures: signatures(t.Message, zone)}
	var to []string
	for i, r := range t.RcptTo {
		if i == recipientsKeep {
			to = append(to, fmt.Sprintf("and %d more", len(t.RcptTo)-recipientsKeep))
			break
		}
		to = append(to, "<"+clean(redactAddress(r, zone), maxName)+">")
	}
	m.To = strings.Join(to, ", ")
	if m.To == "" {
		m.To = "none"
	}
	return m
}

// signatures lists DKIM and ARC, and what SPF said. Empty if no header was read.
func signatures(m *evidence.Message, zone string) string {
	if m == nil {
		return ""
	}
	var parts []string
	for i, d := range m.DKIM {
		if i == recipientsKeep {
			parts = append(parts, fmt.Sprintf("%d more", len(m.DKIM)-recipientsKeep))
			break
		}
		parts = append(parts, fmt.Sprintf("DKIM %s (%s)", redactText(d.Domain, zone, maxName), clean(string(d.Result), maxName)))
	}
	if m.ARC {
		parts = append(parts, "ARC")
	}
	if len(parts) == 0 {
		parts = append(parts, "none")
	}
	if m.SPF.Result != "" {
		parts = append(parts, "SPF "+clean(string(m.SPF.Result), maxName))
	}
	return strings.Join(parts, ", ")
}
