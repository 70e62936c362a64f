package report

import (
	"regexp"
	"slices"
	"strings"

	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/rating"
)

// hostsKept is how many hosts a sentence names; policyHosts how many lines a
// policy has.
const (
	hostsKept   = 4
	policyHosts = 20
)

// hostPattern is what may stand in a line that people copy into a zone or a
// shell.
var hostPattern = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$`)

// receiver is a domain whose weaknesses as a receiver are put into steps.
type receiver struct {
	a      *inbound.Analysis
	r      rating.Ratings
	l      Language
	domain string
}

func receiverOf(in Input) receiver {
	r := receiver{a: in.Inbound, l: in.Language, domain: in.Inbound.Domain}
	if in.Ratings != nil {
		r.r = *in.Ratings
	} else {
		r.r = rating.Rate(*in.Inbound, rating.Outbound{})
	}
	return r
}

// inboundAdvice returns the next steps for receiving: first what keeps mail
// from arriving, then encryption, then what senders can insist on, then the
// rest. What could not be tested gives none.
func inboundAdvice(in Input) []step {
	if in.Inbound == nil || !hostPattern.MatchString(in.Inbound.Domain) {
		return nil
	}
	r := receiverOf(in)
	var weaknesses []func() (step, bool)
	switch r.a.Route {
	case inbound.RouteMX, inbound.RouteImplicit:
		weaknesses = append(weaknesses,
			r.bogus, r.route, r.mismatch, r.policyBroken, r.noStartTLS, r.noVersion, r.certificate,
			r.dane, r.policyMissing)
	case inbound.RouteUnknown:
		weaknesses = append(weaknesses, r.bogus) // the rest waits for it
	}
	if r.a.Route != inbound.RouteUnknown {
		weaknesses = append(weaknesses, r.spf, r.dmarc)
	}
	if r.a.Route == inbound.RouteMX || r.a.Route == inbound.RouteImplicit {
		weaknesses = append(weaknesses, r.tlsReports, r.oldTLS, r.mandatory)
	}
	var out []step
	for _, weak := range weaknesses {
		if s, ok := weak(); ok && len(out) < maxSteps {
			out = append(out, s)
		}
	}
	return out
}

// failed returns the hosts or domains that do not meet a requirement, each
// once. Only names that may be copied.
func (r receiver) failed(id string) []string {
	var out []string
	for _, s := range r.r.Standards {
		for _, o := range s.Open {
			name, _, _ := strings.Cut(o.Subject, " ")
			if o.ID == id && o.Outcome == check.No && hostPattern.MatchString(name) && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// hosts returns the MX hosts whose names may be copied, the most preferred
// first.
func (r receiver) hosts() []string {
	var out []string
	for _, h := range r.a.Hosts {
		if hostPattern.MatchString(h.Name) && len(out) < policyHosts && !slices.Contains(out, h.Name) {
			out = append(out, h.Name)
		}
	}
	return out
}

// list names some of them.
func (r receiver) list(names []string) string {
	if len(names) > hostsKept {
		return strings.Join(names[:hostsKept], ", ") + " " + phrase{"and %[1]d more", "und %[1]d weitere"}.with(r.l, len(names)-hostsKept)
	}
	return strings.Join(names, ", ")
}

// ask is a sentence for the support of a provider, with the names it is about.
func (r receiver) ask(p phrase, names []string) string { return p.with(r.l, r.list(names)) }

// route is about MX records that break a rule.
func (r receiver) route() (step, bool) {
	var said []string
	for _, f := range r.a.Faults {
		s := r.fault(f)
		if len(said) < hostsKept && !slices.Contains(said, s) {
			said = append(said, s)
		}
	}
	if len(said) == 0 {
		return step{}, false
	}
	return step{
		Title: phrase{"Correct the MX records", "MX-Einträge berichtigen"}.in(r.l),
		Text:  strings.Join(said, " "),
		Ask: phrase{
			"The MX records of %[1]s are wrong, as the attached report says. Please correct them.",
			"Die MX-Einträge von %[1]s sind fehlerhaft, wie der beigefügte Bericht zeigt. Bitte berichtigen Sie sie.",
		}.with(r.l, r.domain),
	}, true
}

// fault says what to do about a fault of the route.
func (r receiver) fault(f inbound.Fault) string {
	subject := clean(f.Subject, maxName)
	for _, w := range faultWords {
		if w.id == f.ID {
			return w.text.with(r.l, subject)
		}
	}
	return clean(f.Text, maxText)
}

var faultWords = [...]named{
	{inbound.FaultNullMixed, phrase{
		"%[1]s says by a null MX that it takes no mail, and names servers that do: remove the null MX.",
		"%[1]s erklärt mit einem Null-MX, keine E-Mails anzunehmen, und nennt zugleich Server, die es tun: Entfernen Sie den Null-MX.",
	}},
	{inbound.FaultNotAHost, phrase{
		"“%[1]s” cannot be the name of a host: put a real one into the MX record.",
		"„%[1]s“ kann kein Servername sein: Tragen Sie im MX-Eintrag einen richtigen ein.",
	}},
	{inbound.FaultAddress, phrase{
		"“%[1]s” is an address: an MX record has to have a name, with an A or AAAA record of its own.",
		"„%[1]s“ ist eine Adresse: In den MX-Eintrag gehört ein Name, der einen eigenen A- oder AAAA-Eintrag hat.",
	}},
	{inbound.FaultLocalhost, phrase{
		"“%[1]s” is every sender’s own machine: put the name of your server into the MX record.",
		"„%[1]s“ ist für jeden Absender der eigene Rechner: Tragen Sie im MX-Eintrag den Namen Ihres Servers ein.",
	}},
	{inbound.FaultAlias, phrase{
		"%[1]s is an alias (CNAME), which an MX record must not name (RFC 2181 §10.3): put the name that it leads to into the MX record.",
		"%[1]s ist ein Alias (CNAME), den ein MX-Eintrag nicht nennen darf (RFC 2181 §10.3): Tragen Sie dort den Namen ein, auf den er verweist.",
	}},
	{inbound.FaultNoAddress, phrase{
		"%[1]s has no address: give it an A or AAAA record, or remove its MX record.",
		"%[1]s hat keine Adresse: Geben Sie ihm einen A- oder AAAA-Eintrag, oder entfernen Sie seinen MX-Eintrag.",
	}},
}
