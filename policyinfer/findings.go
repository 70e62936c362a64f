package policyinfer

import (
	"net/netip"
	"slices"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// findings reports what people should know beside the name. A finding needs
// either every candidate to have it in common, or connections that show it
// whoever the sender is. as are all attempts, r.attempts those of the verdict.
func (e *Engine) findings(h *evidence.History, t timing, as []attempt, r result, conclusive bool) []Finding {
	out := e.modelFindings(h, t, r)
	out = append(out, tlsFindings(as)...)
	if f, ok := goodRefused(h, t, r); ok {
		out = append(out, f)
	}
	if r.mixed || r.candidates.empty() {
		return out
	}
	if f, ok := e.bouncedAtOnce(h, t, r); ok {
		out = append(out, f)
	}
	if conclusive {
		out = append(out, e.unusedLookups(h, t, r)...)
	}
	return out
}

// every reports whether all candidates are so.
func (e *Engine) every(r result, is func(Policy) bool) bool {
	for i := range r.candidates.all() {
		if !is(e.policies[i]) {
			return false
		}
	}
	return !r.candidates.empty()
}

// shown returns the connections of the facts that match.
func (r result) shown(match func(observation) bool) []evidence.ConnID {
	out := []evidence.ConnID{}
	for _, f := range r.facts {
		if match(f.observation) {
			out = appendCited(out, f.conns...)
		}
	}
	return out
}

func appendCited(to []evidence.ConnID, ids ...evidence.ConnID) []evidence.ConnID {
	for _, id := range ids {
		if len(to) < maxCited && !slices.Contains(to, id) {
			to = append(to, id)
		}
	}
	return to
}

// shownAlone reports whether all candidates are so, and one host of the sender
// shows it by itself: what only several show together may be true of none.
func (e *Engine) shownAlone(h *evidence.History, t timing, r result, is func(Policy) bool) bool {
	if !e.every(r, is) {
		return false
	}
	hosts, order := byHost(r.attempts)
	return len(order) < 2 || !tooManyHosts(h, len(order)) && slices.ContainsFunc(order, func(addr netip.Addr) bool {
		return e.every(e.run(h, t, hosts[addr], true), is)
	})
}

// modelFindings reports what the candidates have in common beside the name.
func (e *Engine) modelFindings(h *evidence.History, t timing, r result) []Finding {
	if r.mixed {
		return nil
	}
	var out []Finding
	for _, f := range []struct {
		id, text string
		is       func(Policy) bool
		match    func(observation) bool
	}{
		{
			FindingVerifiesNoSNI, "The sender checks certificates, but does not say which server it wants to reach (no SNI). A server with several names may show it the wrong certificate, and honest mail is refused.",
			func(p Policy) bool { return p.CA != CAIgnored && p.SNI == SNINever },
			func(o observation) bool { return isTLS(o) && o.sni == scenario.No },
		},
		{
			FindingEither, "Either a matching TLSA record or a certificate from a public CA suffices for this sender: an attacker needs to break only one of the two.",
			func(p Policy) bool { return p.DANE != DANEOff && p.STS != STSOff && p.Both == EitherSuffices }, isMXDelivery,
		},
		{
			FindingLazy, "The first contact was unprotected: the sender fetches the MTA-STS policy afterwards and honours it from then on, which RFC 8461 allows.",
			func(p Policy) bool { return p.STS == STSLazy },
			func(o observation) bool {
				return o.early && o.face.Domain == et && !isRefusal(o) && o.outcome != contacted
			},
		},
		{
			FindingUnlistedMX, "The sender connects to a mail server that the MTA-STS policy does not list, and leaves only after it has seen the certificate. No mail is handed over there, but the server learns that there is some.",
			func(p Policy) bool { return p.STS != STSOff && p.Filter == FilterLate },
			func(o observation) bool { return isTLS(o) && o.face.Host == scenario.MX03 },
		},
		{
			FindingAlsoSTS, "The sender also honours MTA-STS; DANE takes precedence, as it must.",
			func(p Policy) bool { return p.Name() == DANE && p.STS != STSOff },
			func(o observation) bool { return o.outcome == neverAtMX03 },
		},
	} {
		if e.shownAlone(h, t, r, f.is) {
			out = append(out, Finding{ID: f.id, Text: f.text, Connections: r.shown(f.match)})
		}
	}
	return append(e.plaintextFindings(h, t, r), out...)
}

// plaintextFindings: a check of certificates, or TLS at all, that an attacker
// gets around by making it fail or by hiding STARTTLS.
func (e *Engine) plaintextFindings(h *evidence.History, t timing, r result) []Finding {
	verifies := e.shownAlone(h, t, r, func(p Policy) bool { return p.CA != CAIgnored })
	conns := fellBack(r.attempts, verifies)
	switch {
	case len(conns) > 0 && verifies:
		return []Finding{{
			ID: FindingFallback, Text: "After refusing a certificate, the sender hands the mail over in plaintext.",
			Connections: conns, Args: map[string]string{ArgAfter: AfterRefusal},
		}}
	case len(conns) > 0:
		return []Finding{{
			ID: FindingFallback, Text: "After TLS failed, the sender hands the mail over in plaintext. An attacker only has to disturb the handshake.",
			Connections: conns, Args: map[string]string{ArgAfter: AfterFailure},
		}}
	case e.shownAlone(h, t, r, func(p Policy) bool { return p.CA != CAIgnored && p.Name() == May }):
		return []Finding{{
			ID: FindingVerifiesUnused, Text: "The sender verifies certificates, but sends in plaintext when STARTTLS is missing, so an attacker only has to hide it.",
			Connections: r.shown(func(o observation) bool { return o.outcome == refusedTLS || o.outcome == deliveredPlaintext }),
		}}
	}
	return nil
}

// fellBack returns the deliveries in plaintext, though STARTTLS was offered, by
// hosts whose TLS had failed in the same attempt. Candidates cannot tell: any
// sender may do without TLS after its own handshake failed. verifies: it is
// known to refuse certificates, so that a refusal that only the address ties
// to it may count, and once is enough. Else two attempts rule out that a
// setting was changed, or a policy fetched, between two connections.
func fellBack(as []attempt, verifies bool) []evidence.ConnID {
	var out []evidence.ConnID
	attempts := 0
	for _, a := range as {
		before, failures := len(out), a.failures(verifies)
		for _, d := range a.events {
			if d.outcome == deliveredPlaintext && d.face.StartTLS && slices.ContainsFunc(failures, func(f failure) bool { return f.before(d) }) {
				out = appendCited(out, d.conn.ID)
			}
		}
		if len(out) > before {
			attempts++
		}
	}
	if !verifies && attempts < 2 {
		return nil
	}
	return out
}

// failure is a connection on which TLS failed, and not by our doing.
type failure struct {
	conn    *evidence.Connection
	host    netip.Addr
	refused bool // our certificate, which the sender is known to look at
}

func (a *attempt) failures(verifies bool) (out []failure) {
	for c, events := range a.byConnection() {
		if c.TLS == nil {
			continue
		}
		refused := verifies && slices.ContainsFunc(events, func(e event) bool { return e.outcome == refusedTLS })
		byUs := (c.Ending == evidence.EndingServer || c.Ending == evidence.EndingOpen) && !nothingInCommon(c.TLS)
		if refused || !weak(c) && !c.TLS.Complete && !byUs {
			out = append(out, failure{c, hostOf(c), refused})
		}
	}
	return out
}

// before reports whether f came before plaintext was used in d, by the same host
// for the same domain. A sender that uses TLS only where DANE or MTA-STS asks
// for it may fail at et and go on to ut.
func (f failure) before(d event) bool {
	if f.conn == d.conn || f.host != d.host || f.conn.Start.After(d.conn.Start) {
		return false
	}
	return f.refused || !f.conn.End.After(d.conn.Start) && d.face.Domain != scenario.UnknownDomain && f.conn.Destination == string(d.face.Domain)
}

// goodRefused reports refusals of a server about which everything is valid,
// where nothing was delivered: they have a reason that we don't know.
func goodRefused(h *evidence.History, t timing, r result) (Finding, bool) {
	good := func(e event) bool {
		return e.outcome == refusedTLS && !e.weak && e.sni == scenario.Yes && isGood(e.face)
	}
	if !slices.ContainsFunc(r.attempts, func(a attempt) bool { return slices.ContainsFunc(a.events, good) }) {
		return Finding{}, false
	}
	l := read(h, t, r.attempts, false)
	tallies, order := l.tally()
	bad := l.badGoodFaces(tallies)
	out := Finding{ID: FindingGoodRefused, Text: "The sender refused a server whose certificate is valid in every respect. What it disliked can't be seen from here, so its refusals of other servers prove nothing either."}
	for _, p := range order {
		n := tallies[p]
		if g, ok := goodFaceFor(p); ok && !p.weak && p.sni == scenario.Yes && isGood(p.face) && bad[g][p.host] && n.explicit+n.silent >= 2 {
			out.Connections = appendCited(out.Connections, n.conns...)
		}
	}
	return out, len(out.Connections) > 0
}

func isTLS(o observation) bool {
	return o.outcome == contacted || o.outcome == deliveredTLS || o.outcome == refusedTLS
}

func isMXDelivery(o observation) bool { return o.outcome == deliveredTLS && o.face.Domain == et }

func isRefusal(o observation) bool { return o.outcome == refusedTLS || o.outcome == refusedPlaintext }

// weak reports whether only the client address ties c to the sender.
func weak(c *evidence.Connection) bool {
	return tiedByAddress(c) && len(c.Transactions) == 0
}
