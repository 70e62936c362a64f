package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// stateText says how far the test is.
func stateText(in Input) string {
	found := in.Verdict.Policy != policyinfer.Undetermined
	switch in.State {
	case StateRunning:
		return phrase{
			"The test is still running; what follows is preliminary.",
			"Der Test läuft noch; was folgt, ist vorläufig.",
		}.in(in.Language)
	case StateConcluded:
		if !found {
			return phrase{
				"The test has ended without a verdict. The mail is accepted at one of the next attempts.",
				"Der Test ist ohne Ergebnis zu Ende. Die Testmail wird bei einem der nächsten Zustellversuche angenommen.",
			}.in(in.Language)
		}
		return phrase{
			"The test has reached its verdict. The mail is accepted at one of the next attempts.",
			"Das Ergebnis des Tests steht fest. Die Testmail wird bei einem der nächsten Zustellversuche angenommen.",
		}.in(in.Language)
	case StateAcked:
		return phrase{
			"The test is finished, and the mail was accepted.",
			"Der Test ist abgeschlossen, die Testmail wurde angenommen.",
		}.in(in.Language)
	case StateClosed:
		return phrase{
			"The test has ended before the mail could be accepted. What follows is what was known then.",
			"Der Test endete, bevor die Testmail angenommen werden konnte. Was folgt, ist der Stand zu diesem Zeitpunkt.",
		}.in(in.Language)
	}
	return ""
}

func startsOf(h evidence.History) map[evidence.ConnID]time.Time {
	starts := make(map[evidence.ConnID]time.Time, len(h.Connections))
	for i := range h.Connections {
		starts[h.Connections[i].ID] = h.Connections[i].Start
	}
	return starts
}

// citation names connections: how many, when, and the first of them.
func citation(ids []evidence.ConnID, starts map[evidence.ConnID]time.Time, l Language) string {
	if len(ids) == 0 {
		return ""
	}
	const shown = 6
	var first, last time.Time
	var names []string
	for i, id := range ids {
		if t, ok := starts[id]; ok {
			if first.IsZero() || t.Before(first) {
				first = t
			}
			if t.After(last) {
				last = t
			}
		}
		switch {
		case i < shown:
			names = append(names, "#"+clean(string(id), maxName))
		case i == shown:
			names = append(names, "…")
		}
	}
	s := connections.with(l, len(ids))
	switch {
	case first.IsZero():
	case len(ids) == 1:
		s += ", " + stamp(first)
	default:
		s += ", " + span(first, last)
	}
	return s + ": " + strings.Join(names, ", ")
}

// connections counts them.
var connections = plural{
	phrase{"%[1]d connection", "%[1]d Verbindung"},
	phrase{"%[1]d connections", "%[1]d Verbindungen"},
}

// missing says what would tell the remaining policies apart, and how to get it.
func missing(in Input) []string {
	v, l := in.Verdict, in.Language
	if v.Policy != policyinfer.Undetermined {
		return nil
	}
	var out []string
	for _, m := range v.Missing {
		s := phrase{
			"A contact with %[1]s would tell apart %[2]s.",
			"Ein Kontakt mit %[1]s würde unterscheiden: %[2]s.",
		}.with(l, faceText(m), nameList(m.TellsApart))
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if slices.ContainsFunc(v.Missing, func(m policyinfer.Missing) bool { return m.Face == 7 }) && !writtenToUT(in) {
		out = append(out, phrase{
			"Server 7 is met only by mail to ut: the test mail must be sent to both addresses.",
			"Server 7 begegnet nur, wer an ut schreibt: Die Testmail muss an beide Adressen gehen.",
		}.in(l))
	}
	unprotected := func(n policyinfer.Name) bool { return !n.Protected() }
	if v.Settles != nil && slices.ContainsFunc(v.Candidates, unprotected) && (in.State == StateRunning || in.State == StateConcluded) {
		out = append(out, phrase{
			"A verdict of none, may or encrypt is not given before %[1]s UTC and needs a later attempt, since MTA-STS allows the first contact to be unprotected.",
			"Das Ergebnis none, may oder encrypt gibt es nicht vor %[1]s UTC und erst nach einem späteren Zustellversuch, weil MTA-STS einen ungeschützten ersten Kontakt erlaubt.",
		}.with(l, stamp(*v.Settles)))
	}
	return out
}

// writtenToUT reports whether the test mail names ut: server 7 can be met.
func writtenToUT(in Input) bool {
	ours := func(address string) bool {
		t, ok := scenario.Find(in.Service, address[strings.LastIndexByte(address, '@')+1:])
		return ok && t.Role == scenario.RoleUT
	}
	return slices.ContainsFunc(in.History.Connections, func(c evidence.Connection) bool {
		return slices.ContainsFunc(c.Addressed, ours) || slices.ContainsFunc(c.RcptTo, ours)
	})
}

// faceText names one of the test's servers with what is special about it.
func faceText(m policyinfer.Missing) phrase {
	switch m.Face {
	case 1:
		return phrase{"server 1 (et without STARTTLS)", "Server 1 (et ohne STARTTLS)"}
	case 2:
		if m.Certificate == scenario.SelfSigned {
			return phrase{"server 2 (no SNI, self-signed certificate)", "Server 2 (ohne SNI, selbstsigniertes Zertifikat)"}
		}
		return phrase{"server 2 (no SNI, certificate of a public CA)", "Server 2 (ohne SNI, Zertifikat einer öffentlichen Zertifizierungsstelle)"}
	case 3:
		return phrase{"server 3 (mx03: nothing about it is valid)", "Server 3 (mx03: nichts daran ist gültig)"}
	case 4:
		return phrase{"server 4 (mx04: self-signed certificate, TLSA matches)", "Server 4 (mx04: selbstsigniertes Zertifikat, TLSA-Eintrag passt)"}
	case 5:
		return phrase{
			"server 5 (mx05: certificate of a public CA, TLSA does not match)",
			"Server 5 (mx05: Zertifikat einer öffentlichen Zertifizierungsstelle, TLSA-Eintrag passt nicht)",
		}
	case 6:
		return phrase{"server 6 (mx06: everything is valid)", "Server 6 (mx06: alles ist gültig)"}
	case 7:
		if m.Certificate == scenario.NoCertificate {
			return phrase{"server 7 (ut without STARTTLS)", "Server 7 (ut ohne STARTTLS)"}
		}
		return phrase{"server 7 (ut with a self-signed certificate)", "Server 7 (ut mit selbstsigniertem Zertifikat)"}
	}
	return phrase{"another server", "einem weiteren Server"}
}

// leftOut says which connections were not used, and why.
func leftOut(in Input) []string {
	var out []string
	if n := in.Test.LeftOut; n > 0 {
		out = append(out, plural{
			phrase{
				"%[1]d connection from an address of this sender was not used: it carried no mail, and at that time it could have belonged to another test.",
				"%[1]d Verbindung von einer Adresse dieses Absenders wurde nicht verwendet: Sie übertrug keine E-Mail und hätte zu diesem Zeitpunkt auch zu einem anderen Test gehören können.",
			},
			phrase{
				"%[1]d connections from addresses of this sender were not used: they carried no mail, and at that time they could have belonged to another test.",
				"%[1]d Verbindungen von Adressen dieses Absenders wurden nicht verwendet: Sie übertrugen keine E-Mail und hätten zu diesem Zeitpunkt auch zu einem anderen Test gehören können.",
			},
		}.with(in.Language, n))
	}
	if n := in.Verdict.LeftOut; n > 0 {
		out = append(out, plural{
			phrase{
				"%[1]d connection contradicts the mails of this sender and was not used: it probably belongs to another sender behind the same address.",
				"%[1]d Verbindung widerspricht den E-Mails dieses Absenders und wurde nicht verwendet: Sie gehört vermutlich zu einem anderen Absender hinter derselben Adresse.",
			},
			phrase{
				"%[1]d connections contradict the mails of this sender and were not used: they probably belong to another sender behind the same address.",
				"%[1]d Verbindungen widersprechen den E-Mails dieses Absenders und wurden nicht verwendet: Sie gehören vermutlich zu einem anderen Absender hinter derselben Adresse.",
			},
		}.with(in.Language, n))
	}
	return out
}

// dnsFacts counts the queries by type, and the policy fetches, of the test.
func dnsFacts(h evidence.History, l Language) []string {
	var out []string
	types := make(map[string]int)
	for _, q := range h.Queries {
		types[clean(q.Type, 10)] += max(q.Count, 1)
	}
	if len(types) > 0 {
		const shown = 8
		var parts []string
		for _, t := range slices.SortedFunc(maps.Keys(types), func(a, b string) int {
			return cmp.Or(cmp.Compare(types[b], types[a]), strings.Compare(a, b))
		}) {
			if len(parts) == shown {
				parts = append(parts, "…")
				break
			}
			parts = append(parts, fmt.Sprintf("%s %d", t, types[t]))
		}
		out = append(out, phrase{"DNS queries: %[1]s.", "DNS-Anfragen: %[1]s."}.with(l, strings.Join(parts, ", ")))
	}
	if n := len(h.Fetches); n > 0 {
		out = append(out, plural{
			phrase{
				"The MTA-STS policy was fetched once, at %[2]s UTC.",
				"Die MTA-STS-Richtlinie wurde einmal abgerufen: %[2]s UTC.",
			},
			phrase{
				"The MTA-STS policy was fetched %[1]d times, first at %[2]s UTC.",
				"Die MTA-STS-Richtlinie wurde %[1]d-mal abgerufen, zuerst %[2]s UTC.",
			},
		}.with(l, n, stamp(h.Fetches[0].Time)))
	}
	return out
}

// around lists queries without their resolver, which may be that of others.
func around(in Input) []string {
	var out []string
	for i, q := range in.Around {
		if i == aroundKeep {
			out = append(out, phrase{"… and %[1]d more queries", "… und %[1]d weitere Anfragen"}.with(in.Language, len(in.Around)-aroundKeep))
			break
		}
		out = append(out, phrase{"%[1]s query %[2]s %[3]s", "%[1]s Anfrage %[2]s %[3]s"}.with(in.Language, stamp(q.Time), clean(q.Name, maxName), clean(q.Type, maxName)))
	}
	return out
}
