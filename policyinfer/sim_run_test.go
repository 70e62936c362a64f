package policyinfer

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// simKind is a kind of sender.
type simKind int

const (
	simAlone    simKind = iota // one policy, on one host or many
	simStrange                 // others connect from the same addresses
	simNamesake                // another user's server does, under the same name
	simResent                  // a setting was changed, and the mail sent again
	simChanged                 // a setting was changed while the mail was on its way
	simMixed                   // hosts differ
	simKindCount
)

func (k simKind) String() string {
	return []string{"one policy", "with strangers", "with a namesake", "changed, sent again", "changed on its way", "hosts differ"}[k]
}

// simRun is one random sender and its history.
type simRun struct {
	seed     uint64
	rng      *rand.Rand
	w        *simWorld
	s        *simSender
	all      []Policy
	kind     simKind
	attempts int
	changeAt int
	next     Policy
	trouble  bool // our zone breaks at times
	often    int  // strangers
	other    *simSender
}

func newSimRun(seed uint64, all []Policy) *simRun {
	rng := rand.New(rand.NewPCG(seed, 1))
	r := &simRun{seed: seed, rng: rng, all: all, attempts: 2 + rng.IntN(14), often: 1 + rng.IntN(4), trouble: rng.IntN(16) == 0}
	r.kind = []simKind{simAlone, simAlone, simAlone, simAlone, simAlone, simStrange, simNamesake, simResent, simResent, simChanged, simMixed}[rng.IntN(11)]
	hosts := []int{1, 1, 1, 2, 2, 3 + rng.IntN(38)}[rng.IntN(6)]
	if r.kind == simMixed {
		hosts = max(hosts, 2)
	}
	if hosts > 2 {
		r.attempts += rng.IntN(10)
	}
	p := all[seed%uint64(len(all))]
	if rng.IntN(2) == 0 { // names have very different numbers of policies
		p = simPolicyNamed(rng, all, Names()[rng.IntN(len(Names()))])
	}
	r.w, r.s = newSimWorld(rng), newSimSender(rng, p, all, hosts)
	t := r.s.truth
	t.kind, t.optOut = r.kind, r.s.optNo || r.s.optTLS
	r.trouble = r.trouble && (r.kind == simAlone || r.kind == simStrange)
	t.trouble, t.accidents = r.trouble, r.s.accident || r.s.fallBack
	switch r.kind {
	case simStrange:
		r.w.weak = true
	case simNamesake:
		r.namesake()
	case simResent, simChanged:
		r.changeAt, r.next = 1+rng.IntN(r.attempts-1), all[rng.IntN(len(all))]
	case simMixed:
		other := all[rng.IntN(len(all))]
		for i, h := range r.s.hosts {
			if i%2 == 1 {
				h.p = other
			}
		}
	}
	for _, h := range r.s.hosts {
		t.hosts[h.addr] = h.p
	}
	if rand.New(rand.NewPCG(seed, 9)).IntN(3) == 0 {
		r.w.lease()
		r.s.slot = r.w.h.Test.Slot
	}
	r.s.writes(rng, r.w, false)
	return r
}

func simPolicyNamed(rng *rand.Rand, all []Policy, n Name) Policy {
	for {
		if p := all[rng.IntN(len(all))]; simName(p) == n {
			return p
		}
	}
}

// play runs the sender, and calls check with every history that inference
// gets and what may be said about it, until check reports false.
func (r *simRun) play(check func(evidence.History, simExpect) bool) {
	for i := range r.attempts {
		r.change(i)
		if r.trouble && r.rng.IntN(3) == 0 {
			r.w.breaks([]string{"", "signature expired"}[r.rng.IntN(2)])
		}
		seen, within := len(r.w.h.Connections), r.rng.IntN(3) == 0
		var before simExpect
		if within {
			before = r.s.truth.expect(r.w.h)
		}
		r.strangers()
		r.s.run(r.w)
		r.strangers()
		if r.other != nil && r.otherIsKnown() {
			if r.s.slot == 0 {
				return // from now on nothing without mail is attributed to either
			}
			r.w.crowd()
		}
		if n := len(r.w.h.Connections); n > seen && within {
			h := r.w.snapshot(seen + 1 + r.rng.IntN(n-seen))
			x := r.s.truth.expect(h)
			if simHasMail(h) && !check(h, x.or(before)) {
				return
			}
		}
		r.again()
		r.w.wait(r.s.retry + time.Duration(r.rng.IntN(60))*time.Second)
		h := r.w.snapshot(len(r.w.h.Connections))
		if simHasMail(h) && !check(h, r.s.truth.expect(h)) {
			return
		}
	}
}

// change is what the admin does before attempt i.
func (r *simRun) change(i int) {
	if r.changeAt == 0 || i != r.changeAt {
		return
	}
	r.s.becomes(r.next)
	r.s.truth.changes(r.next, r.s.mails)
	if r.kind == simResent {
		r.s.writes(r.rng, r.w, r.rng.IntN(2) == 0)
		if r.rng.IntN(2) == 0 {
			r.w.secure()
		}
	}
}

// again is what a user does whose mail bounced, or who is impatient.
func (r *simRun) again() {
	switch {
	case r.s.bounced && r.rng.IntN(2) == 0:
		r.s.bounced = false
		r.s.writes(r.rng, r.w, r.rng.IntN(2) == 0)
	case r.rng.IntN(150) == 0:
		r.s.writes(r.rng, r.w, true)
	default:
		return
	}
	if r.rng.IntN(2) == 0 {
		r.w.secure()
	}
}

// namesake is a second user behind the same addresses and names, whose server
// asks the same resolver but has another policy, and whose mail is refused
// everywhere so far: nobody knows of it.
func (r *simRun) namesake() {
	r.other = newSimSender(r.rng, r.all[r.rng.IntN(len(r.all))], r.all, 0)
	r.w.weak, r.s.stale, r.s.lossy = true, 0, 0
	o := r.other
	o.stale, o.maxMX, o.maxMail, o.toBoth, o.flaky = 0, 1, 1, false, 0
	for _, h := range r.s.hosts {
		o.hosts = append(o.hosts, &simHost{addr: h.addr, helo: h.helo, p: o.truth.now, failed: make(map[scenario.Host]bool)})
	}
	o.writes(r.rng, r.w, false)
}

// otherIsKnown lets the other user's server run its queue, too, and reports
// whether its mail came: that is a test of its own.
func (r *simRun) otherIsKnown() bool {
	n := len(r.w.h.Connections)
	r.other.run(r.w)
	known := r.w.others || simHasMail(evidence.History{Connections: r.w.h.Connections[n:]})
	if known {
		left := slices.DeleteFunc(slices.Clone(r.w.h.Connections[n:]), func(c evidence.Connection) bool { return len(c.Transactions) > 0 })
		if r.w.h.Connections = r.w.h.Connections[:n]; r.s.slot > 0 {
			r.w.h.Connections = append(r.w.h.Connections, left...)
		}
	}
	return known
}

func (r *simRun) strangers() {
	if r.kind != simStrange {
		return
	}
	for range r.rng.IntN(1 + r.often) {
		r.w.stranger(r.s.hosts[r.rng.IntN(len(r.s.hosts))].addr)
	}
}

// simHasMail: a test begins with the first MAIL.
func simHasMail(h evidence.History) bool {
	for _, c := range h.Connections {
		if len(c.Transactions) > 0 {
			return true
		}
	}
	return false
}
