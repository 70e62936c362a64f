package domaincheck

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/rating"
)

// networks names the networks of the servers, if they are known.
func (p *checkPrinter) networks(b *strings.Builder, a inbound.Analysis) {
	var order []string
	addresses := make(map[string][]string)
	for _, h := range a.Hosts {
		for _, s := range h.Servers {
			n := s.Network
			if n.AS == 0 && n.Name == "" {
				continue
			}
			name := strings.TrimSpace(fmt.Sprintf("%s %s", n.Country, n.Name))
			if n.AS != 0 {
				name += fmt.Sprintf(" (AS%d)", n.AS)
			}
			if addresses[name] == nil {
				order = append(order, name)
			}
			if address := s.Address.String(); !slices.Contains(addresses[name], address) {
				addresses[name] = append(addresses[name], address)
			}
		}
	}
	for _, name := range order {
		fmt.Fprintf(b, "  network %s: %s\n", cli.Printable(name), strings.Join(addresses[name], ", "))
	}
}

// records are one line each: what the domain publishes.
func (p *checkPrinter) records(b *strings.Builder, a inbound.Analysis) {
	head := "\n"
	line := func(name string, published, valid check.Result, text string) {
		switch {
		case published.Outcome == "":
			return
		case published.Failed():
			text = "none" + because(published.Why)
		case published.Outcome == check.Untested:
			text = "not tested" + because(published.Why)
		case valid.Failed():
			text += ", not valid" + because(valid.Why)
		case valid.Outcome == check.Untested:
			text += ", not tested further" + because(valid.Why)
		}
		fmt.Fprintf(b, "%s  %-10s %s\n", head, name, cli.Printable(text))
		head = ""
	}
	mode := "policy not read"
	if a.MTASTS.Mode != "" {
		mode = "mode " + a.MTASTS.Mode
	}
	line("MTA-STS", a.MTASTS.Published, check.Worst(a.MTASTS.HTTPS, a.MTASTS.Policy), mode)
	line("TLS-RPT", a.TLSRPT.Published, a.TLSRPT.Valid, "reports to "+cmp.Or(strings.Join(a.TLSRPT.Reports, ", "), "nobody"))
	line("SPF", a.SPF.Published, a.SPF.Valid, fmt.Sprintf("ends in %s, %d lookups", cmp.Or(a.SPF.All, "no all"), a.SPF.Lookups))
	from := ""
	if a.DMARC.From != "" && a.DMARC.From != a.Domain {
		from = ", from " + a.DMARC.From
	}
	line("DMARC", a.DMARC.Published, a.DMARC.Valid, "policy "+cmp.Or(a.DMARC.Policy, "unknown")+from)
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + shortReason(why)
}

// shortReason cuts a reason that is too long for people, as those of lookups
// that failed at several servers; --json has all of it.
func shortReason(why string) string {
	const most = 160
	if r := []rune(why); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return why
}

// stars are MECSA's scores.
func (p *checkPrinter) stars(b *strings.Builder, r rating.Ratings) {
	b.WriteByte('\n')
	partial := ""
	for _, s := range r.MECSA {
		mark := ""
		if s.Partial {
			mark, partial = " *", "  * In part: only mail from the domain shows STARTTLS when sending, DKIM and the result of SPF.\n"
		}
		full, half := s.HalfStars/2, s.HalfStars%2
		drawn := strings.Repeat("★", full) + strings.Repeat("½", half) + strings.Repeat("☆", 5-full-half)
		if s.Partial && s.HalfStars == 0 { // no stars is not what was found out
			drawn = "not tested"
		}
		supported := ""
		if len(s.Mechanisms) > 0 {
			supported = " (" + strings.Join(s.Mechanisms, ", ") + ")"
		}
		fmt.Fprintf(b, "  MECSA %-27s %s%s%s\n", s.ID, drawn, mark, supported)
	}
	b.WriteString(partial)
}

// requirementName is what a line about a requirement begins with.
func requirementName(id string) string {
	switch id {
	case rating.Complete:
		return "Limit"
	case rating.Reachable:
		return "Reachability"
	case rating.MXSecure, rating.AddressSecure:
		return "DNSSEC"
	case rating.TLSAPresent, rating.TLSAUsable:
		return "TLSA"
	case rating.TLSAMatch:
		return "TLSA match"
	case rating.StartTLS:
		return "STARTTLS"
	case rating.Mandatory:
		return "Mandatory STARTTLS"
	case rating.TLSVersion:
		return "TLS version"
	case rating.NoOldTLS:
		return "Old TLS"
	case rating.ForwardSecrecy:
		return "Forward secrecy"
	case rating.Authenticated:
		return "DANE or certificate"
	case rating.PolicyRecord:
		return "MTA-STS record"
	case rating.PolicyHTTPS:
		return "MTA-STS policy host"
	case rating.PolicyFile, rating.PolicyLists:
		return "MTA-STS policy"
	case rating.PolicyMode:
		return "MTA-STS mode"
	case rating.Certificate:
		return "Certificate"
	}
	return id
}

// firstOpen is the first requirement that decides about a standard.
func firstOpen(s rating.Standard) string {
	first, more := "", -1
	for _, o := range s.Open {
		if o.Outcome != s.Met.Outcome {
			continue
		}
		if more++; more == 0 {
			first = checkProblem{name: requirementName(o.ID), text: o.Why, subjects: []string{o.Subject}}.String()
		}
	}
	if more > 0 {
		first += fmt.Sprintf(" (and %d more)", more)
	}
	return first
}

// checkProblem is one thing that is wrong or could not be tested, in one line.
type checkProblem struct {
	untested  bool
	name      string
	text      string
	subjects  []string
	standards []string
}

const mostSubjects = 3 // named in one line

// problems lists what is wrong first, then what could not be tested.
func (p *checkPrinter) problems(b *strings.Builder, a inbound.Analysis, r rating.Ratings) {
	list := openProblems(r)
	add := func(untested bool, name, subject, text string) {
		list = append(list, checkProblem{untested: untested, name: name, text: text, subjects: []string{subject}})
	}
	for _, f := range a.Faults {
		add(false, "MX", f.Subject, f.Text)
	}
	for _, of := range []struct {
		name     string
		problems []string
	}{{"MTA-STS", a.MTASTS.Problems}, {"TLS-RPT", a.TLSRPT.Problems}, {"SPF", a.SPF.Problems}, {"DMARC", a.DMARC.Problems}} {
		for _, text := range of.problems {
			add(false, of.name, "", text)
		}
	}
	for _, h := range a.Hosts {
		for _, s := range h.Servers {
			for _, text := range s.Notes {
				add(false, "Server", fmt.Sprintf("%s (%s)", h.Name, s.Address), text)
			}
		}
	}
	for _, o := range r.LeftOut {
		add(true, requirementName(o.ID), o.Subject, o.Why+" (counts nowhere: the host could be tested at another address)")
	}
	if len(list) == 0 {
		return
	}
	for _, part := range []struct {
		head     string
		untested bool
	}{{"Problems", false}, {"Not tested", true}} {
		head := part.head
		for _, x := range list {
			if x.untested != part.untested {
				continue
			}
			if head != "" {
				fmt.Fprintf(b, "\n  %s\n", p.string(inked{head, boldInk}, 0))
				head = ""
			}
			fmt.Fprintf(b, "  - %s\n", cli.Printable(x.String()))
		}
	}
}

func (x checkProblem) String() string {
	subjects := slices.DeleteFunc(slices.Clone(x.subjects), func(s string) bool { return s == "" })
	text := x.text
	if more := len(subjects) - mostSubjects; more > 0 {
		subjects = append(subjects[:mostSubjects], fmt.Sprintf("%d more", more))
	}
	text = shortReason(text)
	if len(subjects) > 0 {
		text = strings.Join(subjects, ", ") + ": " + text
	}
	text = x.name + ": " + text
	if len(x.standards) > 0 {
		text += " [" + strings.Join(x.standards, ", ") + "]"
	}
	return text
}

// openProblems joins the open requirements of all standards: the same one of
// several standards, and the same reason for several servers.
func openProblems(r rating.Ratings) []checkProblem {
	type key struct{ id, subject, why string }
	var order []key
	found := make(map[key]*checkProblem)
	for _, s := range r.Standards {
		for _, o := range s.Open {
			k := key{o.ID, o.Subject, o.Why}
			if found[k] == nil {
				order = append(order, k)
				found[k] = &checkProblem{untested: o.Outcome == check.Untested, name: requirementName(o.ID), text: o.Why, subjects: []string{o.Subject}}
			}
			found[k].standards = append(found[k].standards, s.ID)
		}
	}
	var out []checkProblem
	for _, k := range order {
		x := found[k]
		i := slices.IndexFunc(out, func(y checkProblem) bool {
			return x.untested == y.untested && x.name == y.name && x.text == y.text && slices.Equal(x.standards, y.standards)
		})
		if i < 0 {
			out = append(out, *x)
			continue
		}
		out[i].subjects = append(out[i].subjects, x.subjects...)
	}
	return out
}

// printRules prints the rules of all ratings.
func printRules(w io.Writer) error {
	var b strings.Builder
	standard := ""
	for _, r := range rating.Rules() {
		if r.Standard != standard {
			if standard != "" {
				b.WriteByte('\n')
			}
			standard = r.Standard
			fmt.Fprintf(&b, "%s\n", standard)
		}
		fmt.Fprintf(&b, "  %-19s %s\n  %-19s (%s)\n", r.ID, r.Text, "", r.Source)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
