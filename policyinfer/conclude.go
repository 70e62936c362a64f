package policyinfer

import (
	"fmt"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// verdict puts r into words and applies the rules that stand above
// elimination.
func (e *Engine) verdict(h *evidence.History, t timing, as []attempt, r result) Verdict {
	v := Verdict{
		Candidates: e.names(r.candidates), Sender: e.parts(r.candidates), Findings: append([]Finding{}, r.findings...),
		Reasons: reasons(r.facts), Missing: []Missing{}, Hosts: r.hosts, Attempts: len(as), LeftOut: r.leftOut,
	}
	if v.Candidates == nil {
		v.Candidates = []Name{}
	}
	v.Policy = e.nameOf(r)
	v.Conclusive = v.Policy != Undetermined && v.Policy != Mixed
	if v.Conclusive && !v.Policy.Protected() && !laterAttempt(r, t.settle) {
		v.Policy, v.Conclusive = Undetermined, false
	}
	if settles, ok := r.settles(t.settle); ok && !v.Conclusive && slices.ContainsFunc(v.Candidates, func(n Name) bool { return !n.Protected() }) {
		v.Settles = &settles
	}
	e.unverifiable(h, t, as, &v)
	if v.Policy == Undetermined && !r.candidates.empty() {
		v.Missing = e.missing(r.candidates)
	}
	if !e.optOut(h, &v) {
		v.Findings = append(v.Findings, e.findings(r)...)
	}
	for i := range v.Findings {
		if v.Findings[i].Connections == nil {
			v.Findings[i].Connections = []evidence.ConnID{}
		}
	}
	return v
}

// laterAttempt: none, may and encrypt need an attempt after the first one, at
// least settle after the first contact of the same host, in which it handed
// something over.
func laterAttempt(r result, settle time.Duration) bool {
	for i, a := range r.attempts {
		if i > 0 && slices.ContainsFunc(a.events, func(e event) bool {
			first, ok := r.first[e.host]
			return e.delivered() && ok && !a.start.Before(first.Add(settle))
		}) {
			return true
		}
	}
	return false
}

// settles is when laterAttempt may be true at the earliest; ok is false before
// the first contact.
func (r result) settles(settle time.Duration) (at time.Time, ok bool) {
	for _, first := range r.first {
		if !ok || first.Before(at) {
			at, ok = first, true
		}
	}
	return at.Add(settle), ok
}

// optOut: RFC 8689: with "TLS-Required: No" or REQUIRETLS the sender did for
// this mail what it may not do for others: nothing is known of those.
func (e *Engine) optOut(h *evidence.History, v *Verdict) bool {
	var no, require []evidence.ConnID
	for _, c := range h.Connections {
		for _, tx := range c.Transactions {
			if tx.TLSRequiredNo {
				no = append(no, c.ID)
			}
			if tx.RequireTLS {
				require = append(require, c.ID)
			}
		}
	}
	if len(no) > 0 {
		v.Findings = append(v.Findings, Finding{FindingOptedOut, "This mail opted out of TLS enforcement (TLS-Required: No), so it does not show what the sender does with other mail.", no})
	}
	if len(require) > 0 {
		v.Findings = append(v.Findings, Finding{FindingRequireTLS, "This mail demanded TLS (REQUIRETLS), so it does not show what the sender does with other mail.", require})
	}
	if len(no)+len(require) == 0 {
		return false
	}
	v.Policy, v.Conclusive, v.Candidates, v.Sender = Undetermined, false, e.names(e.all), e.parts(e.all)
	v.Hosts, v.Settles, v.Missing = nil, nil, []Missing{}
	return true
}

// unverifiable: while our own zone or policy cannot be verified, every sender
// that relies on them truthfully looks as if it did not.
func (e *Engine) unverifiable(h *evidence.History, t timing, as []attempt, v *Verdict) {
	if !slices.ContainsFunc(as, func(a attempt) bool { return a.degraded }) {
		return
	}
	why := unverifiable(h.States, t.margin).why(as)
	switch v.Policy {
	case None, May, Encrypt, Verify:
		v.Policy, v.Conclusive = Undetermined, false
	}
	v.Findings = append(v.Findings, Finding{ID: FindingUnverifiable, Text: "The test zone was not verifiable during the test (" + why + "), so that a sender that enforces DANE or MTA-STS could look as if it did not."})
}

// parts reports each part of the model on which all candidates agree.
func (e *Engine) parts(s set) Sender {
	part := func(of func(Policy) string) string {
		value := ""
		for i := range s.all() {
			switch v := of(e.policies[i]); value {
			case "", v:
				value = v
			default:
				return "unknown"
			}
		}
		if value == "" {
			return "unknown"
		}
		return value
	}
	yesNo := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	return Sender{
		TLS: part(func(p Policy) string {
			if p.DANE == DANERequired {
				return "unknown" // its own rule is never applied
			}
			return []string{"never", "offered", "required"}[p.TLS]
		}),
		Plaintext:            part(func(p Policy) string { return yesNo(p.deliversPlaintext(et, true)) }),
		PlaintextUnprotected: part(func(p Policy) string { return yesNo(p.deliversPlaintext(ut, true)) }),
		VerifiesCA:           part(func(p Policy) string { return yesNo(p.CA != CAIgnored) }),
		DANE:                 part(func(p Policy) string { return []string{"no", "yes", "required"}[p.DANE] }),
		MTASTS:               part(func(p Policy) string { return []string{"no", "yes", "lazy"}[p.STS] }),
		SNI:                  part(func(p Policy) string { return []string{"never", "authenticating", "always"}[p.SNI] }),
	}
}

// missing lists the faces that would split the candidates into different
// names, were they met next.
func (e *Engine) missing(s set) []Missing {
	names := e.names(s)
	if len(names) < 2 {
		return []Missing{}
	}
	var out []Missing
	for _, next := range []struct {
		server scenario.Server
		face   scenario.Face
		sni    scenario.Ternary
	}{
		{1, scenario.Plaintext(et, false), scenario.Unknown},
		{2, scenario.Default(et, scenario.SelfSigned), scenario.No},
		{2, scenario.Default(et, scenario.CADefault), scenario.No},
		{3, scenario.Named(scenario.MX03, scenario.SelfSigned), scenario.Yes},
		{4, scenario.Named(scenario.MX04, scenario.SelfSigned), scenario.Yes},
		{5, scenario.Named(scenario.MX05, scenario.CA), scenario.Yes},
		{6, scenario.Named(scenario.MX06, scenario.CA), scenario.Yes},
		{7, scenario.Plaintext(ut, false), scenario.Unknown},
		{7, scenario.Named(scenario.UT, scenario.SelfSigned), scenario.Yes},
	} {
		delivered, refused := deliveredTLS, refusedTLS
		if next.face.Certificate == scenario.NoCertificate {
			delivered, refused = deliveredPlaintext, refusedPlaintext
		}
		yes := e.names(s.and(e.mask(observation{face: next.face, outcome: delivered, sni: next.sni})))
		no := e.names(s.and(e.mask(observation{face: next.face, outcome: refused, sni: next.sni})))
		both := slices.Clone(yes)
		for _, n := range no {
			if !slices.Contains(both, n) {
				both = append(both, n)
			}
		}
		if len(both) > 1 && (!slices.Equal(yes, names) && len(yes) > 0 || !slices.Equal(no, names) && len(no) > 0) {
			out = append(out, Missing{Face: next.server, Certificate: next.face.Certificate, TellsApart: sorted(both)})
		}
	}
	if out == nil {
		out = []Missing{}
	}
	return out
}

func sorted(names []Name) []Name {
	out := make([]Name, 0, len(names))
	for _, n := range Names() {
		if slices.Contains(names, n) {
			out = append(out, n)
		}
	}
	return out
}

// explain says, for each policy that is no candidate, which fact excluded it.
func (e *Engine) explain(r result) []Elimination {
	var out []Elimination
	for i, p := range e.policies {
		if r.candidates.has(i) {
			continue
		}
		for _, f := range r.facts {
			if !e.mask(f.observation).has(i) {
				out = append(out, Elimination{Policy: p.String(), Name: p.Name(), By: f.sentence(), Connections: f.conns})
				break
			}
		}
	}
	return out
}

// findings reports what the candidates have in common beside the name.
func (e *Engine) findings(r result) []Finding {
	if r.candidates.empty() || r.mixed {
		return nil
	}
	all := func(has func(Policy) bool) bool {
		for i := range r.candidates.all() {
			if !has(e.policies[i]) {
				return false
			}
		}
		return true
	}
	shown := func(match func(observation) bool) []evidence.ConnID {
		out := []evidence.ConnID{}
		for _, f := range r.facts {
			if match(f.observation) {
				out = append(out, f.conns...)
			}
		}
		return out
	}
	var out []Finding
	add := func(id, text string, conns []evidence.ConnID) { out = append(out, Finding{id, text, conns}) }
	if all(func(p Policy) bool { return p.CA != CAIgnored }) {
		if conns := fellBack(r.attempts); len(conns) > 0 {
			add(FindingFallback, "After refusing a certificate, the sender hands the mail over in plaintext.", conns)
		} else if all(func(p Policy) bool { return p.Name() == May }) {
			add(FindingVerifiesUnused, "The sender verifies certificates, but sends in plaintext when STARTTLS is missing, so an attacker only has to hide it.",
				shown(func(o observation) bool { return o.outcome == refusedTLS || o.outcome == deliveredPlaintext }))
		}
	}
	if all(func(p Policy) bool { return p.DANE != DANEOff && p.STS != STSOff && p.Both == STSWins }) {
		add(FindingSTSOverDANE, "The sender honours DANE, but lets MTA-STS override it, which RFC 8461 §2 forbids.", shown(isMXDelivery))
	}
	if all(func(p Policy) bool { return p.DANE != DANEOff && p.STS != STSOff && p.Both == EitherSuffices }) {
		add(FindingEither, "Either a matching TLSA record or a public CA suffices for this sender: neither is enforced where the other holds.", shown(isMXDelivery))
	}
	if all(func(p Policy) bool { return p.STS == STSLazy }) {
		add(FindingLazy, "The first contact was unprotected: the sender fetches the MTA-STS policy afterwards and honours it from then on, which RFC 8461 allows.",
			shown(func(o observation) bool {
				return o.early && o.face.Domain == et && !isRefusal(o) && o.outcome != contacted
			}))
	}
	if all(func(p Policy) bool { return p.Name() == DANE && p.STS != STSOff }) {
		add(FindingAlsoSTS, "The sender also honours MTA-STS; DANE takes precedence, as it must.", shown(func(o observation) bool { return o.outcome == neverAtMX03 }))
	}
	return out
}

// fellBack returns the deliveries in plaintext, though STARTTLS was offered, by
// hosts that refused a certificate in the same attempt. Candidates cannot tell:
// any sender may do without TLS after its own handshake failed.
func fellBack(as []attempt) []evidence.ConnID {
	var out []evidence.ConnID
	for _, a := range as {
		for _, d := range a.events {
			if d.outcome == deliveredPlaintext && d.face.StartTLS && slices.ContainsFunc(a.events, func(r event) bool {
				return r.outcome == refusedTLS && r.host == d.host && !r.conn.Start.After(d.conn.Start)
			}) {
				out = append(out, d.conn.ID)
			}
		}
	}
	return out
}

func isMXDelivery(o observation) bool { return o.outcome == deliveredTLS && o.face.Domain == et }

func isRefusal(o observation) bool { return o.outcome == refusedTLS || o.outcome == refusedPlaintext }

// reasons puts the facts into sentences, what was delivered first.
func reasons(facts []fact) []Reason {
	out := []Reason{}
	index := make(map[string]int)
	for _, f := range facts {
		if f.outcome == contacted {
			continue // the SNI habit explains itself with what came of it
		}
		s := f.sentence()
		i, ok := index[s]
		if !ok {
			i = len(out)
			index[s] = i
			out = append(out, Reason{Text: s, Connections: []evidence.ConnID{}})
		}
		for _, c := range f.conns {
			if !slices.Contains(out[i].Connections, c) {
				out[i].Connections = append(out[i].Connections, c)
			}
		}
	}
	return out
}

// sentence says what was observed.
func (o observation) sentence() string {
	switch o.outcome {
	case neverAtUT:
		return "A mail that names ut was delivered to et again and again, and nothing came to ut."
	case neverAtMX03:
		return "mx03 was never contacted, although it was the most preferred host."
	case refusedPlaintext:
		return "Left " + o.where() + " without handing over mail, because STARTTLS was not offered."
	case deliveredPlaintext:
		return "Handed mail over in plaintext " + o.where() + "."
	case deliveredTLS:
		return "Handed mail over inside TLS " + o.where() + "."
	case refusedTLS:
		return "Left without handing over mail " + o.where() + "."
	}
	return fmt.Sprintf("Started TLS %s%s.", o.where(), map[scenario.Ternary]string{scenario.Yes: ", naming the host", scenario.No: ", without naming a host"}[o.sni])
}

func (o observation) where() string {
	f := o.face
	at := map[scenario.Domain]string{et: "at et", ut: "at ut", scenario.UnknownDomain: "at et or ut"}[f.Domain]
	if f.Certificate == scenario.NoCertificate {
		switch {
		case isRefusal(o):
			return at
		case f.StartTLS:
			return at + ", although STARTTLS was offered"
		}
		return at + ", where STARTTLS was withheld"
	}
	cert := map[scenario.Kind]string{
		scenario.SelfSigned: "a self-signed certificate", scenario.CA: "a certificate from a public CA",
		scenario.CADefault: "a certificate from a public CA that names every host",
	}[f.Certificate]
	if cert == "" {
		cert = "certificate " + string(f.Certificate)
	}
	if o.sni == scenario.Yes && f.Host != "" {
		at = "at " + string(f.Host)
	}
	switch {
	case f.Host == scenario.UT || f.Domain != et:
		return fmt.Sprintf("%s, which showed %s", at, cert)
	case f.TLSA == scenario.TLSAMatch:
		return fmt.Sprintf("%s, which showed %s that its TLSA records match", at, cert)
	}
	return fmt.Sprintf("%s, which showed %s that its TLSA records don't match", at, cert)
}
