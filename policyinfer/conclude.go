package policyinfer

import (
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
	if settles, ok := r.settles(t.settle); ok && !v.Conclusive && e.mayBeEarly(r.candidates) {
		v.Settles = &settles
	}
	e.unverifiable(h, t, as, &v)
	if v.Policy == Undetermined && !r.candidates.empty() {
		v.Missing = e.missing(r.candidates)
	}
	if !e.optOut(h, &v) {
		switch {
		case !r.mixed && len(r.findings) == 0 && r.handedInPlaintext(ut):
			v.Sender.PlaintextUnprotected = "yes" // whatever rule it has for et
		case v.Sender.PlaintextUnprotected == "yes" && leftUTPerhaps(as):
			v.Sender.PlaintextUnprotected = Unknown
		}
		v.Sender.WithoutTLS = e.withoutTLS(h, t, r)
		v.Findings = append(v.Findings, e.findings(h, t, as, r, v.Conclusive)...)
	}
	for i := range v.Findings {
		if v.Findings[i].Connections == nil {
			v.Findings[i].Connections = []evidence.ConnID{}
		}
	}
	return v
}

// leftUTPerhaps reports whether a connection that may have been for ut was left
// because STARTTLS was not offered.
func leftUTPerhaps(as []attempt) bool {
	return slices.ContainsFunc(as, func(a attempt) bool {
		return slices.ContainsFunc(a.events, func(e event) bool { return e.outcome == refusedPlaintext && e.face.Domain != et })
	})
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

// mayBeEarly reports whether time alone tells candidates apart: an unprotected
// verdict comes later, and so does the end of what a lazy sender may do.
func (e *Engine) mayBeEarly(s set) bool {
	for i := range s.all() {
		if p := e.policies[i]; p.STS == STSLazy || !p.Name().Protected() {
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
				no = appendCited(no, c.ID)
			}
			if tx.RequireTLS {
				require = appendCited(require, c.ID)
			}
		}
	}
	if len(no) > 0 {
		v.Findings = append(v.Findings, Finding{
			ID: FindingOptedOut, Connections: no,
			Text: "This mail opted out of TLS enforcement (TLS-Required: No), so it does not show what the sender does with other mail.",
		})
	}
	if len(require) > 0 {
		v.Findings = append(v.Findings, Finding{
			ID: FindingRequireTLS, Connections: require,
			Text: "This mail demanded TLS (REQUIRETLS), so it does not show what the sender does with other mail.",
		})
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
	var conns []evidence.ConnID
	for _, a := range as {
		for _, c := range a.conns {
			if a.degraded {
				conns = appendCited(conns, c.ID)
			}
		}
	}
	v.Findings = append(v.Findings, Finding{ID: FindingUnverifiable, Connections: conns, Args: map[string]string{ArgWhy: why}, Text: "The test zone was not verifiable during the test (" + why + "), so that a sender that enforces DANE or MTA-STS could look as if it did not."})
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
				return Unknown
			}
		}
		if value == "" {
			return Unknown
		}
		return value
	}
	return Sender{
		TLS: part(func(p Policy) string {
			if p.DANE == DANERequired {
				return Unknown // its own rule is never applied
			}
			return []string{"never", "offered", "required"}[p.TLS]
		}),
		Plaintext:            part(func(p Policy) string { return yesNo(p.deliversPlaintext(et, true)) }),
		PlaintextUnprotected: part(func(p Policy) string { return yesNo(p.deliversPlaintext(ut, true)) }),
		VerifiesCA:           part(func(p Policy) string { return yesNo(p.CA != CAIgnored) }),
		DANE:                 part(func(p Policy) string { return []string{"no", "yes", "required"}[p.DANE] }),
		MTASTS:               part(func(p Policy) string { return []string{"no", "yes", "lazy"}[p.STS] }),
		SNI:                  part(func(p Policy) string { return []string{"never", "authenticating", "always"}[p.SNI] }),
		Both: part(func(p Policy) string {
			if p.DANE == DANEOff || p.STS == STSOff {
				return Unknown
			}
			return []string{"dane", "mta-sts", "both", "either"}[p.Both]
		}),
		UnlistedMX: part(func(p Policy) string {
			if p.STS == STSOff {
				return Unknown
			}
			return []string{"contacted", "skipped"}[p.Filter]
		}),
		WithoutTLS: part(func(p Policy) string {
			if p.deliversPlaintext(et, true) {
				return Unknown
			}
			return []string{"retry", "bounce"}[p.MissingTLS]
		}),
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// missing lists the faces that would split the candidates into different
// names, were they met next.
func (e *Engine) missing(s set) []Missing {
	names := e.names(s)
	if len(names) < 2 {
		return []Missing{}
	}
	out := []Missing{}
	var resort []Missing // to which only some of them come at all
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
		m := Missing{Face: next.server, Certificate: next.face.Certificate, TellsApart: sorted(both)}
		switch {
		case len(both) > 1 && (!slices.Equal(yes, names) && len(yes) > 0 || !slices.Equal(no, names) && len(no) > 0):
			out = append(out, m)
		case len(both) == 1 && next.sni == scenario.No:
			m.TellsApart = names
			resort = append(resort, m)
		}
	}
	if len(out) == 0 {
		out = append(out, resort...)
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
