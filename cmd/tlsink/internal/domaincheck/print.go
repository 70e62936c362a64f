package domaincheck

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/rating"
)

// checkPrinter prints analyses for people: the answers first, then what they
// rest on, then what is wrong.
type checkPrinter struct {
	w      io.Writer
	colour bool
	second bool // something was printed before
}

// ink is a colour of a terminal (ECMA-48 SGR), or none.
type ink string

const (
	plainInk  ink = ""
	boldInk   ink = "1"
	redInk    ink = "31"
	greenInk  ink = "32"
	yellowInk ink = "33"
	greyInk   ink = "90"
)

// inked is a text with its colour.
type inked struct {
	text string
	ink  ink
}

// String returns text fit for a terminal, at least width wide.
func (p *checkPrinter) string(t inked, width int) string {
	text := cli.Printable(t.text)
	pad := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
	if !p.colour || t.ink == plainInk {
		return text + pad
	}
	return "\x1b[" + string(t.ink) + "m" + text + "\x1b[0m" + pad
}

func (p *checkPrinter) domain(a inbound.Analysis, r rating.Ratings) error {
	var b strings.Builder
	if p.second {
		b.WriteByte('\n')
	}
	p.second = true
	fmt.Fprintln(&b, p.string(inked{a.Domain, boldInk}, 0))
	p.verdicts(&b, a, r)
	p.servers(&b, a)
	p.records(&b, a)
	if a.Route != inbound.RouteNone {
		p.stars(&b, r)
	}
	p.problems(&b, a, r)
	_, err := io.WriteString(p.w, b.String())
	return err
}

// verdicts are one line each: the colour, and the standards.
func (p *checkPrinter) verdicts(b *strings.Builder, a inbound.Analysis, r rating.Ratings) {
	line := func(what string, word inked, why string) {
		fmt.Fprintf(b, "  %-10s %s %s\n", what, p.string(word, 10), cli.Printable(why))
	}
	line("class", inked{string(r.Class), classInk(r.Class)}, classSentence(a, r))
	for _, s := range r.Standards {
		word, why := inked{"met", greenInk}, metSentence(s.ID)
		switch s.Met.Outcome {
		case check.No:
			word, why = inked{"not met", redInk}, firstOpen(s)
		case check.Untested:
			word, why = inked{"not tested", greyInk}, firstOpen(s)
		case "":
			word, why = inked{"–", greyInk}, "The question does not arise."
		}
		line(s.ID, word, why)
	}
}

func classInk(c rating.Class) ink {
	switch c {
	case rating.Red:
		return redInk
	case rating.Yellow:
		return yellowInk
	case rating.White:
		return boldInk
	case rating.Green:
		return greenInk
	}
	return greyInk
}

func classSentence(a inbound.Analysis, r rating.Ratings) string {
	switch r.Class {
	case rating.Red:
		return "Mail may arrive unencrypted: a server does not offer encryption that works."
	case rating.Yellow:
		return "Mail arrives encrypted, but senders cannot tell these servers from others: a certificate is not valid."
	case rating.White:
		if r.Standard(rating.MTASTS).Met.OK() {
			return "Mail arrives encrypted, at servers with valid certificates. Senders with MTA-STS can make sure of it."
		}
		if r.Standard(rating.DANE).Met.Outcome == check.Untested || r.Standard(rating.MTASTS).Met.Outcome == check.Untested {
			return "Mail arrives encrypted, at servers with valid certificates. Whether senders can make sure of it could not be tested."
		}
		return "Mail arrives encrypted, at servers with valid certificates; but an attacker on the way can turn that off."
	case rating.Green:
		return "Mail arrives encrypted, and senders can make sure of it."
	}
	switch a.Route {
	case inbound.RouteNull:
		return "The domain takes no mail (null MX)."
	case inbound.RouteNone:
		return "The domain takes no mail: " + shortReason(cmp.Or(a.Why, "it has neither MX records nor an address")) + "."
	case inbound.RouteUnknown:
		return "It could not be found out where its mail goes: " + shortReason(cmp.Or(a.Why, "DNS did not tell")) + "."
	}
	for _, h := range a.Hosts {
		if slices.ContainsFunc(h.Servers, func(s inbound.Server) bool { return s.Reached.OK() }) {
			return "No server could be tested far enough."
		}
	}
	return "No server could be tested."
}

func metSentence(id string) string {
	switch id {
	case rating.DANE:
		return "Senders with DANE deliver only encrypted, and only to these servers (RFC 7672)."
	case rating.MTASTS:
		return "Senders with MTA-STS deliver only encrypted, and only to these servers (RFC 8461)."
	case rating.Qualified:
		return "Every server takes mail only with up-to-date encryption, and can be authenticated (German Orientierungshilfe)."
	case rating.TLS:
		return "Every server offers TLS 1.2 or later."
	}
	return ""
}

// servers is the table of hosts and their addresses.
func (p *checkPrinter) servers(b *strings.Builder, a inbound.Analysis) {
	if len(a.Hosts) == 0 {
		return
	}
	rows := [][]inked{{{"  ADDRESS", greyInk}, {"STARTTLS", greyInk}, {"TLS", greyInk}, {"TLSA", greyInk}, {"CERTIFICATE", greyInk}}}
	for _, h := range a.Hosts {
		rows = append(rows, p.hostRow(a, h))
		for _, s := range h.Servers {
			rows = append(rows, serverRow(s))
		}
	}
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			if i < len(row)-1 { // the last one may be as long as it wants
				width[i] = max(width[i], utf8.RuneCountInString(cli.Printable(cell.text)))
			}
		}
	}
	b.WriteByte('\n')
	for _, row := range rows {
		b.WriteString("  ")
		for i, cell := range row {
			w := 0
			if i < len(row)-1 {
				w = width[i] + 2
			}
			b.WriteString(p.string(cell, w))
		}
		b.WriteByte('\n')
	}
	p.networks(b, a)
}

// hostRow is a line over the servers of a host: its name, and DNS.
func (p *checkPrinter) hostRow(a inbound.Analysis, h inbound.Host) []inked {
	name := fmt.Sprintf("%s (%d)", h.Name, h.Preference)
	if a.Route == inbound.RouteImplicit {
		name = h.Name + " (no MX records)"
	}
	if h.Canonical != "" {
		name += " = " + h.Canonical
	}
	if h.A.Status == "" && h.AAAA.Status == "" {
		return []inked{{name + ": not looked up", plainInk}}
	}
	tlsa := "no TLSA"
	if h.TLSA.Count > 0 || h.TLSA.Status == dnssec.Bogus || h.TLSA.Status == dnssec.Error {
		tlsa = "TLSA " + dnsWord(h.TLSA)
	}
	dns := fmt.Sprintf("MX %s, address %s, %s", dnsWord(a.MX), dnsWord(worstRRset(h)), tlsa)
	switch {
	case h.Listed.OK():
		dns += ", in MTA-STS policy"
	case h.Listed.Failed():
		dns += ", not in MTA-STS policy"
	}
	return []inked{{name + ": " + dns, plainInk}}
}

// worstRRset is the weaker one of A and AAAA.
func worstRRset(h inbound.Host) inbound.RRset {
	switch {
	case !h.AAAA.CountsBeside(h.A):
		return h.A
	case !h.A.CountsBeside(h.AAAA):
		return h.AAAA
	}
	order := []dnssec.Status{dnssec.Secure, dnssec.Error, "", dnssec.Insecure, dnssec.Bogus}
	if slices.Index(order, h.AAAA.Status) > slices.Index(order, h.A.Status) {
		return h.AAAA
	}
	return h.A
}

func dnsWord(r inbound.RRset) string {
	switch r.Status {
	case dnssec.Secure, dnssec.Insecure, dnssec.Bogus:
		return string(r.Status)
	}
	return "not tested"
}

func serverRow(s inbound.Server) []inked {
	address := inked{"  " + s.Address.String(), plainInk}
	if !s.Reached.OK() {
		return []inked{address, {"not tested" + because(cmp.Or(s.Reached.Why, "not connected to")), greyInk}}
	}
	return []inked{address, startTLSCell(s), versionsCell(s), tlsaCell(s), certificateCell(s)}
}

func startTLSCell(s inbound.Server) inked {
	switch {
	case s.StartTLS.Failed():
		return inked{"no", redInk}
	case !s.StartTLS.OK():
		return inked{"not tested", greyInk}
	case s.Mandatory.OK():
		return inked{"mandatory", greenInk}
	case s.Mandatory.Failed():
		return inked{"optional", plainInk}
	}
	return inked{"offered", plainInk}
}

// versionsCell lists the versions that are accepted, the oldest first.
func versionsCell(s inbound.Server) inked {
	if s.StartTLS.Failed() {
		return inked{"–", greyInk}
	}
	var names []string
	old, open := false, len(s.Versions) == 0
	for _, v := range s.Versions {
		switch v.Accepted.Outcome {
		case check.Yes:
			names = append(names, v.Version)
			old = old || v.Version != probe.TLS13 && v.Version != probe.TLS12
		case check.Untested:
			open = true
		}
	}
	slices.Reverse(names)
	switch text := strings.Join(names, " "); {
	case text == "" && open:
		return inked{"not tested", greyInk}
	case text == "":
		return inked{"none works", redInk}
	case s.ForwardSecrecy.Failed():
		return inked{text + ", not only FS", yellowInk}
	case old:
		return inked{text, yellowInk}
	default:
		return inked{text, greenInk}
	}
}

func tlsaCell(s inbound.Server) inked {
	switch s.DANE.Outcome {
	case check.Yes:
		return inked{"matches", greenInk}
	case check.No:
		return inked{"no match", redInk}
	case check.Untested:
		return inked{"not tested", greyInk}
	}
	return inked{"–", greyInk}
}

func certificateCell(s inbound.Server) inked {
	c := s.Certificate
	if c == nil {
		if s.StartTLS.OK() {
			return inked{"not seen", greyInk}
		}
		return inked{"–", greyInk}
	}
	until := ""
	if !c.NotAfter.IsZero() {
		until = ", until " + c.NotAfter.UTC().Format("2006-01-02")
	}
	var bad []string
	for _, part := range []struct {
		result check.Result
		word   string
	}{{c.Trusted, "not trusted"}, {c.Name, "other name"}, {c.Dates, "not in date"}} {
		if part.result.Failed() {
			bad = append(bad, part.word)
		}
	}
	switch {
	case len(bad) > 0:
		return inked{strings.Join(bad, ", ") + until, yellowInk}
	case !c.Valid().OK():
		return inked{"not tested" + until, greyInk}
	}
	root := ""
	if c.Root != "" {
		root = ", " + c.Root
	}
	return inked{"valid" + root + until, greenInk}
}
