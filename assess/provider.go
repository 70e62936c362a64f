package assess

import (
	"net/netip"
	"slices"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
)

// Where several tests run at once behind the same addresses, what carries no
// mail can't be given to one of them, and a test may end without verdict for
// that reason. Together they may still show what the servers behind those
// addresses do. That is said beside the verdict, and never becomes one: mails of
// different users may be treated in different ways.
//
// The tests are those that share a client address with this one, directly or by
// way of others: what they left out may be of any of them, whatever the domain
// of their MAIL FROM is. To name a policy,
//
//   - each of the tests alone must show it, and all of them together as one
//     sender must show it without contradiction;
//   - a connection without MAIL counts for a test if it came from the same
//     client in the seconds around a mail of that test, and no mail of another
//     test was near.
//
// For each of the tests, its hosts are taken for one: refusals by several count
// as if they came from one. A sender whose hosts fetch MTA-STS policies each for
// itself would look unprotected that way, so only protected policies are named.
// All together they must show it host by host: two hosts that differ could look
// like a third policy. And a policy that shows only in what carries no mail
// (encrypt, verify) is never named: that one of the tenants left without STARTTLS
// says nothing about the others.

// maxGroup bounds the tests that are read together. All have to be: the one left
// out might be the one that differs.
const maxGroup = 30

// provider concludes what t and the tests behind the same addresses show
// together; nil if that is nothing.
func (a *Assessor) provider(t *test) *history.Provider {
	group := a.group(t)
	if len(group) < 2 || len(group) > maxGroup {
		return nil
	}
	shared := a.shared(t, group)
	union := evidence.History{Test: t.rec.Test, Until: a.o.Now()}
	union.Test.LeftOut = max(1, union.Test.LeftOut)
	var name policyinfer.Name
	for _, g := range group {
		h := evidence.History{Test: g.rec.Test, States: a.states[g.rec.Test.Slot], Until: a.o.Now()}
		h.Test.LeftOut = max(1, h.Test.LeftOut) // absence says nothing
		for _, c := range slices.Concat(g.own, shared[g]) {
			h.Connections = append(h.Connections, asOneHost(c))
			union.Connections = append(union.Connections, oneMail(c, t.rec.Test.Sender))
		}
		v := a.engine.Infer(h, policyinfer.Options{})
		if !straight(v) || name != "" && v.Policy != name || !g.agrees(v.Policy) {
			return nil
		}
		name = v.Policy
	}
	union.States = a.states[t.rec.Test.Slot]
	v := a.engine.Infer(union, policyinfer.Options{})
	if !straight(v) || v.Policy != name {
		return nil
	}
	p := &history.Provider{Policy: string(v.Policy), Tests: len(group), Connections: len(union.Connections)}
	for _, c := range v.Candidates {
		p.Candidates = append(p.Candidates, string(c))
	}
	return p
}

// straight reports whether a verdict names a protected policy, and no
// contradiction had to be explained for that.
func straight(v policyinfer.Verdict) bool {
	return v.Conclusive && v.Policy.Protected() && !v.Contradicted() && !suffered(v)
}

// agrees reports whether the test has no verdict of its own, or this one.
func (t *test) agrees(name policyinfer.Name) bool {
	return t.verdict == nil || !t.verdict.Conclusive || t.verdict.Policy == name
}

// group returns t and the tests of its slot that share a client with it, directly
// or by way of others; one more than maxGroup if those are too many.
func (a *Assessor) group(t *test) []*test {
	group := append([]*test{t}, a.reach(t, maxGroup, trait.client)...)
	return slices.DeleteFunc(group, func(o *test) bool { return o.rec.Test.Slot != t.rec.Test.Slot })
}

// shared gives connections without mail to the tests of a group, each to the
// only one that had a mail from the same client in the same seconds.
func (a *Assessor) shared(t *test, group []*test) map[*test][]evidence.Connection {
	others := slices.DeleteFunc(a.kin(t), func(o *test) bool { return slices.Contains(group, o) })
	out := make(map[*test][]evidence.Connection)
	seen := make(map[*client]bool)
	for _, g := range group {
		for key, c := range g.clients {
			if seen[c] {
				continue
			}
			seen[c] = true
			for _, conn := range c.loose {
				owner := a.nearest(key, conn, group)
				if owner == nil || !owner.mayOwn(&conn, a.o.Timing.DateSkew) || a.anyMayOwn(&conn, owner, others) {
					continue
				}
				conn.Attribution = evidence.ByAddress
				out[owner] = append(out[owner], conn)
			}
		}
	}
	return out
}

// nearest returns the only test of a group with a mail from a client in the
// attempt of a connection; nil if there is none, or several.
func (a *Assessor) nearest(key netip.Prefix, conn evidence.Connection, group []*test) (owner *test) {
	gap := a.o.Timing.Attempt
	for _, g := range group {
		near := slices.ContainsFunc(g.own, func(c evidence.Connection) bool {
			return !c.Start.After(conn.End.Add(gap)) && !conn.Start.After(c.End.Add(gap)) && clientOf(c) == key.String()
		})
		switch {
		case near && owner != nil:
			return nil
		case near:
			owner = g
		}
	}
	return owner
}

// asOneHost returns a connection as if it came from the only host of a sender.
func asOneHost(c evidence.Connection) evidence.Connection {
	c.Client = netip.AddrPortFrom(netip.IPv6Unspecified(), 1).String()
	return c
}

// oneMail returns a connection as if all mails were one of one sender: of
// several mails, policyinfer would believe that a setting may have changed
// between them.
func oneMail(c evidence.Connection, sender string) evidence.Connection {
	c = c.Clone()
	for i := range c.Transactions {
		c.Transactions[i].MessageID, c.Transactions[i].MailFrom = "<all>", sender
	}
	return c
}
