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

// A view is what every form of a report shows. All strings are neutralised.
type view struct {
	Title       string
	Facts       []fact // test, sender, time
	State       string
	Policy      string
	Level       level
	Grade       string
	Lay, Admin  string
	Unprotected string
	Parts       []fact // what is known of the sender
	Hosts       []fact
	Forwarded   string
	Provider    []string
	Findings    []item
	Reasons     []item
	Missing     []string
	LeftOut     []string
	DNS         []string
	History     []line
	Connections int
	Around      []string
	Advice      []string
	Link        string
	Delivery    string
	Privacy     string
	Engine      string
}

// A fact is a name with its value.
type fact struct{ Name, Value string }

// An item is a sentence and the connections that show it.
type item struct{ Text, Evidence string }

func newView(in Input) view {
	w := wordsOf(in.Verdict)
	v := view{
		Title:       "How " + senderDomain(in.Test.Sender) + " sends mail",
		State:       stateText(in),
		Policy:      clean(string(in.Verdict.Policy), maxName),
		Level:       w.level,
		Grade:       w.grade().in(in.Language),
		Lay:         w.lay,
		Admin:       fill(w.admin, in.Verdict, in.Service),
		Unprotected: unprotected(in.Verdict, in.Service),
		Parts:       partsOf(in.Verdict.Sender),
		Forwarded:   forwardedText(in),
		Provider:    providerText(in),
		Missing:     missing(in.Verdict, in.State),
		LeftOut:     leftOut(in),
		DNS:         dnsFacts(in.History),
		History:     lines(in.History, in.Service),
		Connections: len(in.History.Connections),
		Around:      around(in),
		Advice:      advice(in, w),
		Link:        safeLink(in.Link),
		Delivery:    redactText(in.Delivery, in.Service, maxText),
		Privacy: "Bodies of mails are not kept, and addresses are shortened in this report. It is sent to the sender of the test mail only; " +
			"whoever has the link can read the page. Everything is deleted after the retention period of this service.",
		Engine: clean(in.Engine, maxName),
	}
	v.Facts = []fact{
		{"Test", clean(in.Test.ID, maxName)},
		{"Sender", clean(redactAddress(in.Test.Sender, in.Service), maxName)},
		{"Started", stamp(in.Test.Started) + " UTC"},
		{"Report of", stamp(in.Generated) + " UTC"},
		{"Service", clean(in.Service, maxName)},
	}
	for i, host := range slices.Sorted(maps.Keys(in.Verdict.Hosts)) {
		if i == hostsKeep {
			v.Hosts = append(v.Hosts, fact{"…", fmt.Sprintf("%d more", len(in.Verdict.Hosts)-hostsKeep)})
			break
		}
		v.Hosts = append(v.Hosts, fact{clean(host, maxName), hostText(in.Verdict.Hosts[host])})
	}
	starts := startsOf(in.History)
	for _, f := range in.Verdict.Findings {
		v.Findings = append(v.Findings, item{redactText(f.Text, in.Service, maxText) + " (" + clean(f.ID, maxName) + ")", citation(f.Connections, starts)})
	}
	for _, r := range in.Verdict.Reasons {
		v.Reasons = append(v.Reasons, item{redactText(r.Text, in.Service, maxText), citation(r.Connections, starts)})
	}
	return v
}

func stateText(in Input) string {
	found := in.Verdict.Policy != policyinfer.Undetermined
	switch in.State {
	case StateRunning:
		return "The test is still running; what follows is preliminary."
	case StateConcluded:
		if !found {
			return "The test has ended without a verdict. The mail is accepted at one of the next attempts."
		}
		return "The test has reached its verdict. The mail is accepted at one of the next attempts."
	case StateAcked:
		return "The test is finished, and the mail was accepted."
	case StateClosed:
		return "The test has ended before the mail could be accepted. What follows is what was known then."
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
func citation(ids []evidence.ConnID, starts map[evidence.ConnID]time.Time) string {
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
	s := count(len(ids))
	switch {
	case first.IsZero():
	case len(ids) == 1:
		s += ", " + stamp(first)
	default:
		s += ", " + span(first, last)
	}
	return s + ": " + strings.Join(names, ", ")
}

// missing says what would tell the remaining policies apart, and how to get it.
func missing(v policyinfer.Verdict, state string) []string {
	if v.Policy != policyinfer.Undetermined {
		return nil
	}
	var out []string
	for _, m := range v.Missing {
		s := "A contact with " + faceText(m) + " would tell apart " + nameList(m.TellsApart) + "."
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if slices.ContainsFunc(v.Missing, func(m policyinfer.Missing) bool { return m.Face == 7 }) {
		out = append(out, "Server 7 is met only by mail to ut: the test mail must be sent to both addresses.")
	}
	unprotected := func(n policyinfer.Name) bool { return !n.Protected() }
	if v.Settles != nil && slices.ContainsFunc(v.Candidates, unprotected) && (state == StateRunning || state == StateConcluded) {
		out = append(out, "A verdict of none, may or encrypt is not given before "+stamp(*v.Settles)+
			" UTC and needs a later attempt, since MTA-STS allows the first contact to be unprotected.")
	}
	return out
}

func faceText(m policyinfer.Missing) string {
	server := fmt.Sprintf("server %d", m.Face)
	switch m.Face {
	case 1:
		return server + " (et without STARTTLS)"
	case 2:
		if m.Certificate == scenario.SelfSigned {
			return server + " (no SNI, self-signed certificate)"
		}
		return server + " (no SNI, certificate of a public CA)"
	case 3:
		return server + " (mx03: nothing about it is valid)"
	case 4:
		return server + " (mx04: self-signed certificate, TLSA matches)"
	case 5:
		return server + " (mx05: certificate of a public CA, TLSA does not match)"
	case 6:
		return server + " (mx06: everything is valid)"
	case 7:
		if m.Certificate == scenario.NoCertificate {
			return server + " (ut without STARTTLS)"
		}
		return server + " (ut with a self-signed certificate)"
	}
	return server
}

func leftOut(in Input) []string {
	var out []string
	if n := in.Test.LeftOut; n > 0 {
		out = append(out, fmt.Sprintf("%s from addresses of this sender were not used: they carried no mail, and at that time they could have belonged to another test.", count(n)))
	}
	if n := in.Verdict.LeftOut; n > 0 {
		out = append(out, fmt.Sprintf("%s contradict the mails of this sender and were not used: they probably belong to another sender behind the same address.", count(n)))
	}
	return out
}

func count(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
}

// dnsFacts counts the queries by type, and the policy fetches, of the test.
func dnsFacts(h evidence.History) []string {
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
		out = append(out, "DNS queries: "+strings.Join(parts, ", ")+".")
	}
	if n := len(h.Fetches); n > 0 {
		f := h.Fetches[0]
		out = append(out, fmt.Sprintf("The MTA-STS policy was fetched %s, first at %s UTC.", times(n), stamp(f.Time)))
	}
	return out
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// around lists queries without their resolver, which may be that of others.
func around(in Input) []string {
	var out []string
	for i, q := range in.Around {
		if i == aroundKeep {
			out = append(out, fmt.Sprintf("… and %d more queries", len(in.Around)-aroundKeep))
			break
		}
		out = append(out, fmt.Sprintf("%s query %s %s", stamp(q.Time), clean(q.Name, maxName), clean(q.Type, maxName)))
	}
	return out
}
