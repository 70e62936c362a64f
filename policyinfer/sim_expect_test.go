package policyinfer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// simExpect is what a verdict about a history may say; undetermined and
// unknown it may always say. It is also the form of the truth beside a kept
// history.
type simExpect struct {
	About  string              `json:"about,omitempty"` // where the history is from
	Policy []Name              `json:"policy"`          // one of these
	Sender map[string][]string `json:"sender"`          // one of these for each part; none may be said of others
	// Candidates: one of these must be left, or nothing at all where a change
	// or different hosts may be the reason.
	Candidates []Name               `json:"candidates,omitempty"`
	Findings   []string             `json:"findings,omitempty"` // none but these
	Hosts      map[string]simExpect `json:"hosts,omitempty"`
	Until      time.Time            `json:"until,omitzero"`
}

// simTrueOf allows what is true of p.
func simTrueOf(p Policy) simExpect {
	x := simExpect{Policy: []Name{simName(p)}, Candidates: []Name{simName(p)}, Sender: make(map[string][]string), Findings: simFindings(p)}
	for part, value := range simParts(p) {
		x.Sender[part] = []string{value}
	}
	return x
}

// allow adds what y allows.
func (x *simExpect) allow(y simExpect) {
	for _, n := range y.Policy {
		x.Policy = simAppend(x.Policy, n)
	}
	for _, n := range y.Candidates {
		x.Candidates = simAppend(x.Candidates, n)
	}
	for _, id := range y.Findings {
		x.Findings = simAppend(x.Findings, id)
	}
	for part, values := range y.Sender {
		for _, v := range values {
			x.Sender[part] = simAppend(x.Sender[part], v)
		}
	}
	if len(y.Hosts) > len(x.Hosts) {
		x.Hosts = y.Hosts
	}
}

func simAppend[T comparable](to []T, v T) []T {
	if slices.Contains(to, v) {
		return to
	}
	return append(to, v)
}

// or allows what either of two allows.
func (x simExpect) or(y simExpect) simExpect {
	out := simExpect{Sender: make(map[string][]string)}
	out.allow(x)
	out.allow(y)
	return out
}

// wrong says what of v is wrong, each time in the same words; nil if nothing.
func (x simExpect) wrong(v Verdict) []string {
	out := x.wrongAbout(v.Policy, v.Candidates, v.Conclusive, v.Sender)
	for _, f := range v.Findings {
		if !slices.Contains(x.Findings, f.ID) {
			out = append(out, "finding "+f.ID)
		}
	}
	for host, n := range v.Hosts {
		truth, ok := x.Hosts[host]
		if !ok {
			out = append(out, "host "+host+" was never met")
			continue
		}
		for _, what := range truth.wrongAbout(n.Policy, n.Candidates, n.Conclusive, n.Sender) {
			out = append(out, "host "+host+": "+what)
		}
	}
	slices.Sort(out)
	return out
}

func (x simExpect) wrongAbout(policy Name, candidates []Name, conclusive bool, parts Sender) (out []string) {
	if policy != Undetermined && !slices.Contains(x.Policy, policy) {
		out = append(out, fmt.Sprintf("policy %s, in truth %v", policy, simSorted(x.Policy)))
	}
	if conclusive != (policy != Undetermined && policy != Mixed) {
		out = append(out, "conclusive does not fit the policy")
	}
	if len(x.Candidates) > 0 && !slices.ContainsFunc(candidates, func(n Name) bool { return slices.Contains(x.Candidates, n) }) {
		if len(candidates) > 0 || !slices.Contains(x.Findings, FindingContradictory) {
			out = append(out, fmt.Sprintf("candidates %v, in truth %v", candidates, simSorted(x.Candidates)))
		}
	}
	for part, value := range simSenderOf(parts) {
		if value != "unknown" && !slices.Contains(x.Sender[part], value) {
			out = append(out, fmt.Sprintf("part %s is %s, in truth %v", part, value, simSorted(x.Sender[part])))
		}
	}
	return out
}

func simSorted[T cmp.Ordered](s []T) []T { return slices.Sorted(slices.Values(s)) }

// simSenderOf returns parts by their names in JSON.
func simSenderOf(parts Sender) map[string]string {
	out := make(map[string]string)
	b, err := json.Marshal(parts)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		panic(err) // a struct of strings
	}
	return out
}
