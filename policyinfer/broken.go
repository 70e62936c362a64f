package policyinfer

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/tlsink/tlsink/evidence"
)

// beside takes the attempts out of h in which one of our own servers was not
// what it has to be. ok is false if there are none.
func beside(h *evidence.History, t timing) (kept evidence.History, fault Finding, ok bool) {
	ws := broken(h.States, t.margin)
	if len(ws) == 0 {
		return *h, Finding{}, false
	}
	as := attempts(h, t)
	kept = *h
	kept.Connections = nil
	for _, a := range as {
		for _, c := range a.conns {
			if ws.overlap(a.start, a.end) {
				fault.Connections = append(fault.Connections, c.ID)
			} else {
				kept.Connections = append(kept.Connections, *c)
			}
		}
	}
	n := len(fault.Connections)
	if n == 0 {
		return *h, Finding{}, false
	}
	// What was taken out may have been the contact whose absence would count.
	kept.Test.LeftOut += n
	fault.ID, fault.Connections = FindingBroken, appendCited(nil, fault.Connections...)
	why := ws.why(as)
	fault.Args = map[string]string{ArgWhy: why, ArgConnections: strconv.Itoa(n)}
	fault.Text = fmt.Sprintf("The test's own servers had a fault during the test (%s): %d connections of that time were not used.", why, n)
	return kept, fault, true
}

// withoutFault concludes from what was seen while our own servers were what
// they have to be. Less evidence can also be misread where the rest would have
// said that it is somebody else's, so what all of it shows must have the same
// name, and the same parts: a fault of ours makes a verdict undetermined, and
// never another one. That a mail opted out is its own word, whatever it met.
func (e *Engine) withoutFault(h, kept *evidence.History, t timing, o Options, fault Finding) Verdict {
	all, v := e.infer(h, t, o), e.infer(kept, t, o)
	// Some senders remember where TLS failed, which was our doing.
	v.Findings = slices.DeleteFunc(v.Findings, func(f Finding) bool { return f.ID == FindingFallback })
	if alone := (Verdict{}); e.optOut(h, &alone) {
		v.Findings = []Finding{}
		e.optOut(h, &v)
	}
	v.Sender = v.Sender.agreed(all.Sender)
	if v.Policy != all.Policy {
		v.Policy, v.Conclusive, v.Hosts = Undetermined, false, nil
		v.Candidates = sorted(slices.Concat(all.Candidates, v.Candidates))
	}
	v.Findings = append(v.Findings, fault)
	return v
}

// agreed returns the parts on which s and o agree.
func (s Sender) agreed(o Sender) Sender {
	theirs := o.parts()
	for i, part := range s.parts() {
		if *part != *theirs[i] {
			*part = Unknown
		}
	}
	return s
}

func (s *Sender) parts() []*string {
	return []*string{
		&s.TLS, &s.Plaintext, &s.PlaintextUnprotected, &s.VerifiesCA, &s.DANE, &s.MTASTS, &s.Both, &s.SNI, &s.UnlistedMX, &s.WithoutTLS,
	}
}
