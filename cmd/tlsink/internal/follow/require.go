package follow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
)

// requirement is what a verdict has to be: one of some policies. The names of
// policies have no total order, so none is "at least" another; what counts is
// which attacks they stop.
type requirement struct {
	text     string // as it was given
	policies []policyinfer.Name
}

// fulfilling lists the policies that do what a word promises. One word stands
// for several where the others give the same guarantee:
//
//   - dane: mail to a domain with DANE goes to a server whose certificate matches
//     its TLSA records. dane-only and dane+mta-sts promise that, too, and refuse
//     more besides.
//   - mta-sts: mail to a domain with MTA-STS goes to a listed server with a valid
//     certificate. dane+mta-sts wants both; dane, which lets DANE decide alone,
//     does not promise that.
//   - protected: an active attacker gets no mail to a domain that publishes both.
func fulfilling(word string) []policyinfer.Name {
	switch name := policyinfer.Name(word); {
	case name == policyinfer.DANE:
		return []policyinfer.Name{policyinfer.DANE, policyinfer.DANEOnly, policyinfer.DANEMTASTS}
	case name == policyinfer.MTASTS:
		return []policyinfer.Name{policyinfer.MTASTS, policyinfer.DANEMTASTS}
	case word == "protected":
		return slices.DeleteFunc(policyinfer.Names(), func(n policyinfer.Name) bool { return !n.Protected() })
	case slices.Contains(policyinfer.Names(), name):
		return []policyinfer.Name{name}
	}
	return nil
}

// parseRequirement reads words that are separated by commas; any of them will
// do.
func parseRequirement(text string) (requirement, error) {
	r := requirement{text: text}
	for word := range strings.SplitSeq(text, ",") {
		policies := fulfilling(strings.TrimSpace(word))
		if policies == nil {
			var words []string
			for _, n := range policyinfer.Names() {
				words = append(words, string(n))
			}
			return r, fmt.Errorf("--require %q: there is no policy %q: use protected, %s", text, strings.TrimSpace(word), strings.Join(words, ", "))
		}
		r.policies = append(r.policies, policies...)
	}
	return r, nil
}

// judgement is what a verdict says about a requirement.
type judgement int

const (
	answerOpen judgement = iota // it cannot be told
	answerYes
	answerNo
)

// judge holds a verdict against r. Only a conclusive one answers: the policies
// that still fit an open one rest on the sender's hosts being alike. Where the
// hosts are known to differ, each has to fulfil it.
func (r requirement) judge(v *live.Verdict, hosts []policyinfer.HostVerdict) judgement {
	if v == nil || !v.Conclusive {
		return answerOpen
	}
	if policyinfer.Name(v.Policy) != policyinfer.Mixed {
		return r.of(policyinfer.Name(v.Policy), true)
	}
	all := answerYes
	for _, h := range hosts {
		switch r.of(h.Policy, h.Conclusive) {
		case answerNo:
			return answerNo
		case answerOpen:
			all = answerOpen
		}
	}
	if len(hosts) == 0 {
		return answerOpen
	}
	return all
}

func (r requirement) of(name policyinfer.Name, conclusive bool) judgement {
	switch {
	case !conclusive || name == policyinfer.Undetermined:
		return answerOpen
	case slices.Contains(r.policies, name):
		return answerYes
	}
	return answerNo
}

// verdictText says what came of a test.
func verdictText(st *live.Status) string {
	switch v := st.Verdict; {
	case st.State == live.Expired:
		return "No mail came to the test addresses."
	case v == nil:
		return "There is no verdict yet. " + st.Text
	case !v.Conclusive && len(v.Candidates) > 0:
		return fmt.Sprintf("There is no conclusive verdict: what was seen fits %s. %s", strings.Join(v.Candidates, ", "), v.Summary)
	default:
		return fmt.Sprintf("The verdict is %s (%s). %s", v.Policy, v.Grade, v.Summary)
	}
}
