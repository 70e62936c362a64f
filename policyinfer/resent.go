package policyinfer

import (
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// sinceResent takes back what only both of two mails show together. An admin
// changes a setting and sends again; where that contradicts nothing, the
// evidence before and after it would add up to a third policy that the sender
// never had. So everything must follow from what came since.
func (e *Engine) sinceResent(h *evidence.History, t timing, as []attempt, r result) result {
	i := lastResend(h.Test, as)
	if i <= 0 || len(r.findings) > 0 || r.candidates.empty() {
		return r
	}
	return e.conclude(h, t, as[i:])
}

// lastResend returns the attempt in which a further mail came for a domain that
// had got another one before; 0 if there was none. A mail is for the domains
// that it names, whether or not they have got their copy.
func lastResend(test evidence.Test, as []attempt) int {
	last := 0
	mails := make(map[scenario.Domain]map[string]bool)
	for i, a := range as {
		for _, c := range a.conns {
			for _, tx := range c.Transactions {
				if !tx.Data {
					continue
				}
				for _, d := range []scenario.Domain{et, ut} {
					if !names(test, tx.RcptTo, d) && !names(test, tx.Addressed, d) {
						continue
					}
					if mails[d] == nil {
						mails[d] = make(map[string]bool)
					}
					if len(mails[d]) > 0 && !mails[d][tx.MessageID] {
						last = i
					}
					mails[d][tx.MessageID] = true
				}
			}
		}
	}
	return last
}
