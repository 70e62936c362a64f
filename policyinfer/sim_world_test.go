package policyinfer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

const simZone = "sink.example"

// simWorld is the sink's side of a simulation: what it presents, and what it
// records.
type simWorld struct {
	rng       *rand.Rand
	now       time.Time
	downgrade time.Duration
	rotation  time.Duration
	mx        map[scenario.Host]int
	nextMX    time.Time
	broken    string // why our zone does not verify
	fixed     time.Time
	fault     evidence.State // Broken and BrokenSince
	clients   map[netip.Prefix]*simClient
	together  bool // all clients have one phase
	h         evidence.History
	ids       int
	weak      bool    // connections without MAIL are attributed by address only
	equal     float64 // how often preferences are equal
	doubt     float64 // how often one without MAIL could be of several tests, and is left out
	others    bool    // a mail came to another slot
	crowded   bool    // a test in another slot has the same client: what names no slot is left out
}

// simClient is how the sink treats one client address.
type simClient struct {
	first   time.Time
	def, ut simAlternate
}

// simAlternate is a certificate that varies: self-signed until refused, then
// from the CA until something was delivered, then once more.
type simAlternate struct{ ca bool }

func (a *simAlternate) kind(ca scenario.Kind) scenario.Kind {
	if a.ca {
		return ca
	}
	return scenario.SelfSigned
}

// learn is what the sink does when a connection is over.
func (a *simAlternate) learn(kind scenario.Kind, delivered bool) {
	if kind != scenario.SelfSigned && delivered {
		a.ca = false
	}
	if kind == scenario.SelfSigned && !delivered {
		a.ca = true
	}
}

func newSimWorld(rng *rand.Rand) *simWorld {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	w := &simWorld{
		rng: rng, now: start, downgrade: 3 * time.Minute, rotation: 5 * time.Minute,
		clients: make(map[netip.Prefix]*simClient), together: rng.IntN(2) == 0, weak: rng.IntN(2) == 0,
		equal: []float64{0, 0, 0.3, 1}[rng.IntN(4)], doubt: []float64{0, 0, 0, 0, 0.2}[rng.IntN(5)],
	}
	if rng.IntN(4) == 0 {
		w.downgrade = time.Duration(rng.IntN(90)) * time.Minute
	}
	w.h.Test = evidence.Test{ID: "sim", Zone: simZone, Started: start, Sender: "user@sender.example"}
	w.rotate()
	return w
}

// client returns the treatment of an address; the first connection starts it.
func (w *simWorld) client(host netip.Addr) *simClient {
	key := evidence.ClientOf(host)
	if w.together {
		key = netip.Prefix{}
	}
	c := w.clients[key]
	if c == nil {
		c = &simClient{first: w.now}
		w.clients[key] = c
	}
	return c
}

func (w *simWorld) phase(host netip.Addr) evidence.Phase {
	if w.now.Sub(w.client(host).first) < w.downgrade {
		return evidence.Downgrade
	}
	return evidence.Secure
}

// secure ends the downgrade phase of everyone, as a mail sent again does.
func (w *simWorld) secure() { w.downgrade = 0 }

// rotate changes the MX order, at times to one with equal preferences.
func (w *simWorld) rotate() {
	hosts := scenario.MXHosts()
	w.rng.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	w.mx = make(map[scenario.Host]int)
	preference := 0
	for i, h := range hosts {
		if i == 0 || w.rng.Float64() >= w.equal {
			preference += 10
		}
		w.mx[h] = preference
	}
	w.nextMX = w.now.Add(w.rotation)
	w.state()
}

func (w *simWorld) state() {
	mx := make(map[string]int)
	for h, preference := range w.mx {
		mx[string(h)] = preference
	}
	phase := evidence.Secure
	if w.now.Sub(w.h.Test.Started) < w.downgrade {
		phase = evidence.Downgrade
	}
	w.h.States = append(w.h.States, evidence.State{Time: w.now, Phase: phase, MX: mx, Unverifiable: w.broken, Broken: w.fault.Broken, BrokenSince: w.fault.BrokenSince})
}

// breaks makes our own zone unverifiable for a while, or repairs it.
func (w *simWorld) breaks(why string) {
	if w.broken != why {
		w.broken, w.fixed = why, w.now
		w.state()
	}
}

// doubtful reports whether a sender may still see that our zone is broken.
func (w *simWorld) doubtful() bool {
	return w.broken != "" || !w.fixed.IsZero() && w.now.Sub(w.fixed) < 90*time.Second
}

// order is what a resolver gives now: by preference, equal ones shuffled.
func (w *simWorld) order() []scenario.Host {
	hosts := scenario.MXHosts()
	w.rng.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	slices.SortStableFunc(hosts, func(a, b scenario.Host) int { return w.mx[a] - w.mx[b] })
	return hosts
}

func (w *simWorld) wait(d time.Duration) {
	end := w.now.Add(d)
	for w.nextMX.Before(end) {
		w.now = later(w.now, w.nextMX)
		w.rotate()
	}
	w.now = end
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// present decides what is shown, as the sink's director does.
func (w *simWorld) present(client netip.Addr, h scenario.Host, sni bool) (scenario.Kind, *simAlternate) {
	c := w.client(client)
	switch {
	case !sni:
		return c.def.kind(scenario.CADefault), &c.def
	case h == scenario.UT:
		return c.ut.kind(scenario.CA), &c.ut
	}
	return scenario.HostKind(h), nil
}

func (w *simWorld) connection(host netip.Addr) *evidence.Connection {
	w.ids++
	w.now = w.now.Add(time.Duration(5+w.rng.IntN(500)) * time.Millisecond)
	return &evidence.Connection{
		ID: evidence.ConnID(strconv.Itoa(w.ids)), Start: w.now, Client: netip.AddrPortFrom(host, uint16(20000+w.ids)).String(),
		Local: "192.0.2.25:25", Phase: w.phase(host), Destination: string(scenario.UnknownDomain), Status: evidence.StatusNone,
		Replies: []string{"220"},
	}
}

// record puts c into the history. It reports false if c is left out, since it
// could be of several tests.
func (w *simWorld) record(c *evidence.Connection) bool {
	w.now = w.now.Add(time.Duration(1+w.rng.IntN(200)) * time.Millisecond)
	c.End = w.now
	named := c.TLS != nil && c.TLS.SNI != nil
	if t, _ := scenario.Find(simZone, simSNI(c)); named && t.Slot != w.h.Test.Slot {
		w.others = w.others || len(c.Transactions) > 0
		return false // of another test
	}
	exact := w.h.Test.Slot > 0 && named && c.Attribution == ""
	if len(c.Transactions) == 0 && !exact && (w.rng.Float64() < w.doubt || w.crowded) {
		w.h.Test.LeftOut++
		return false
	}
	switch {
	case len(c.Transactions) > 0:
	case exact:
		c.Attribution = evidence.BySlot
	case w.weak:
		c.Attribution = evidence.ByAddress
	}
	w.label(c)
	w.h.Connections = append(w.h.Connections, *c)
	return true
}

// label fills what people see of c: server, destination and status.
func (w *simWorld) label(c *evidence.Connection) {
	var sni scenario.Host
	if c.TLS != nil && c.TLS.SNI != nil {
		t, _ := scenario.Find(simZone, *c.TLS.SNI)
		sni = t.Host
		c.Status = evidence.StatusSNISeen
	}
	rcpt := scenario.UnknownDomain
	for _, tx := range c.Transactions {
		c.Status = evidence.StatusMail
		for _, r := range tx.RcptTo {
			rcpt = simDomainOf(r)
		}
	}
	switch {
	case rcpt != scenario.UnknownDomain:
		c.Destination = string(rcpt)
	case sni != "":
		c.Destination = string(sni.Domain())
	}
	if c.TLS != nil && c.TLS.Complete && c.Status != evidence.StatusMail {
		c.Status = evidence.StatusTLSStarted
	}
	c.Server = int(scenario.ServerOf(c.TLS != nil, sni, rcpt))
}

func simSNI(c *evidence.Connection) string {
	if c.TLS == nil || c.TLS.SNI == nil {
		return ""
	}
	return *c.TLS.SNI
}

func simDomainOf(rcpt string) scenario.Domain {
	t, _ := scenario.Find(simZone, strings.TrimPrefix(rcpt, "en@"))
	switch t.Role {
	case scenario.RoleET:
		return scenario.ET
	case scenario.RoleUT:
		return scenario.Unprotected
	}
	return scenario.UnknownDomain
}

// lease gives the test a slot of its own: connections without MAIL that name it
// are its sender's.
func (w *simWorld) lease() { w.h.Test.Slot, w.weak = 3, true }

// crowd is what happens when a test in another slot has a mail from the same
// client: nothing that names no slot is attributed any more.
func (w *simWorld) crowd() {
	w.crowded = true
	w.h.Connections = slices.DeleteFunc(w.h.Connections, func(c evidence.Connection) bool {
		if c.Attribution != evidence.ByAddress || len(c.Transactions) > 0 {
			return false
		}
		w.h.Test.LeftOut++
		return true
	})
}

// snapshot is the history as inference gets it now: perhaps with the last
// connections missing, because they have not come yet, and in any order.
func (w *simWorld) snapshot(n int) evidence.History {
	h := w.h
	h.Until = w.now
	h.Connections = slices.Clone(w.h.Connections)
	if n < len(h.Connections) {
		slices.SortStableFunc(h.Connections, func(a, b evidence.Connection) int { return a.Start.Compare(b.Start) })
		h.Connections = h.Connections[:n]
		h.Until = h.Connections[n-1].End.Add(time.Millisecond)
		if w.rng.IntN(2) == 0 {
			h.Connections[n-1].Ending = evidence.EndingOpen // the record of one that still runs
		}
		h.Connections = slices.DeleteFunc(h.Connections, func(c evidence.Connection) bool { return c.Start.After(h.Until) })
		h.States = slices.DeleteFunc(slices.Clone(h.States), func(s evidence.State) bool { return s.Time.After(h.Until) })
	}
	if w.rng.IntN(3) == 0 {
		w.rng.Shuffle(len(h.Connections), func(i, j int) { h.Connections[i], h.Connections[j] = h.Connections[j], h.Connections[i] })
	}
	return h
}

// simAddress is where a host of a provider is.
func simAddress(rng *rand.Rand, i int) netip.Addr {
	switch rng.IntN(5) {
	case 0:
		return netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + i)})
	case 1:
		return netip.AddrFrom4([4]byte{203, 0, 113, byte(10 + i)})
	case 2:
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::25", i))
	case 3:
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:ffff::%x", 10+i)) // one /64
	}
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(30 + i)})
}
