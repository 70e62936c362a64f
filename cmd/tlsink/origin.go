package main

import (
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/mailauth"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

// Whose behaviour a test shows, if not, or not only, that of its sender.

// forwarded says whose servers handed the mails of a test over, if all of them
// came that way.
func forwarded(h evidence.History) *report.Forwarded {
	var out *report.Forwarded
	for _, c := range h.Connections {
		helo := ""
		if n := len(c.Helo); n > 0 {
			helo = c.Helo[n-1]
		}
		for _, tx := range c.Transactions {
			if !tx.Data || tx.Message == nil {
				continue
			}
			f, ok := mailauth.ForwardingOf(tx, helo)
			one := report.Forwarded{Way: string(f.Way), By: f.By, Author: f.Author}
			switch {
			case !ok:
				return nil
			case out == nil:
				out = &one
			case one.Author != out.Author || one.Way != out.Way:
				return nil
			case one.By != out.By && one.Way != report.WayUnlisted:
				return nil // an unlisted host is one of several, perhaps
			}
		}
	}
	return out
}

// providerOf is what several tests show together.
func providerOf(p *history.Provider) *report.Provider {
	if p == nil {
		return nil
	}
	out := &report.Provider{Policy: policyinfer.Name(p.Policy), Tests: p.Tests, Connections: p.Connections}
	for _, c := range p.Candidates {
		out.Candidates = append(out.Candidates, policyinfer.Name(c))
	}
	return out
}
