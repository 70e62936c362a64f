package assess

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink"
)

// Assessor runs tests. See the package comment.
type Assessor struct {
	o      Options
	engine *policyinfer.Engine

	started time.Time

	mu      sync.Mutex
	clients map[netip.Prefix]*client
	conns   map[evidence.ConnID]*connection
	tests   map[string]*test // by id
	traits  traitIndex
	states  map[int][]evidence.State
	fault   Fault
	probes  []probeToken
	swept   time.Time                          // when silent clients were last forgotten
	steered map[int]map[string][]scenario.Host // what tests needed when Steer was last called, by slot
	wake    chan struct{}
}

// connection is one that is open.
type connection struct {
	client *client
	remote netip.AddrPort
	start  time.Time
	test   *test // that of its last message
	named  bool  // its SNI is a name of ours, of the slot
	slot   int
	// What it changed, in case it is a probe.
	fresh bool      // its client is new
	began bool      // it began another downgrade phase
	last  time.Time // of its client, before
}

var (
	_ sink.Director = (*Assessor)(nil)
	_ sink.Prober   = (*Assessor)(nil)
)

// New returns an Assessor that knows what the store knows.
func New(ctx context.Context, o Options) (*Assessor, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	a := &Assessor{
		o: o, engine: policyinfer.New(), started: o.Now(),
		clients: make(map[netip.Prefix]*client), conns: make(map[evidence.ConnID]*connection),
		tests: make(map[string]*test), traits: make(traitIndex), states: make(map[int][]evidence.State), wake: make(chan struct{}, 1),
	}
	if err := a.replay(ctx); err != nil {
		return nil, fmt.Errorf("replay history: %w", err)
	}
	return a, nil
}

// Accepted implements sink.Director.
func (a *Assessor) Accepted(id evidence.ConnID, local, remote netip.AddrPort) (sink.Treatment, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if why, blocked := a.o.Blocked(remote.Addr()); blocked {
		return sink.Treatment{}, errors.New(cmp.Or(why, "your address is blocked here"))
	}
	now := a.o.Now()
	key := evidence.ClientOf(remote.Addr())
	if a.clients[key] == nil && len(a.clients) >= a.o.Limits.Clients && !a.forgetOne() {
		return sink.Treatment{}, errTooManyClients
	}
	before := a.clients[key]
	c := a.client(key, now)
	conn := &connection{client: c, remote: remote, start: now, fresh: c != before, last: c.last, began: c.downgradeNext}
	if c.downgradeNext {
		c.downgradeNext = false
		c.withhold.begin(now)
	}
	to := a.destination(local)
	if !c.settled() { // else nothing more is to be learned: let the mail come
		c.withhold.accept(id, to, now)
	}
	c.open++
	c.last = now
	a.conns[id] = conn
	a.clientChanged(c)
	return sink.Treatment{Phase: a.phase(c, id, now), Destination: to}, nil
}

// destination is the test domain that has a local address to itself.
func (a *Assessor) destination(local netip.AddrPort) scenario.Domain {
	if d, ok := a.o.Own[local.Addr().Unmap()]; ok {
		return d
	}
	return scenario.UnknownDomain
}

// client returns the client of a key. A treatment that is over starts afresh.
func (a *Assessor) client(key netip.Prefix, now time.Time) *client {
	c := a.clients[key]
	if c != nil && !c.over(now, a.o.Timing.Forget) {
		return c
	}
	fresh := newClient(key, now, a.o.Downgrade.withholding(a.o.Timing))
	a.inherit(fresh, now)
	if c != nil {
		// Connections that are still open belong to the treatment they began in.
		for _, t := range c.tests {
			delete(t.clients, key)
		}
	}
	a.clients[key] = fresh
	return fresh
}

// errTooManyClients goes to the client behind 421.
var errTooManyClients = errors.New("too many clients, please try again later")

// forgetOne drops some client that nothing depends on.
func (a *Assessor) forgetOne() bool {
	for key, c := range a.clients {
		if c.open == 0 && len(c.tests) == 0 {
			delete(a.clients, key)
			return true
		}
	}
	return false
}

// forgetClients drops clients that were silent for too long, or whose tests have
// ended.
func (a *Assessor) forgetClients(now time.Time) {
	for key, c := range a.clients {
		unused := c.open == 0 && now.Sub(c.last) >= a.o.Timing.Attempt
		if unused && (c.finished(now) || len(c.tests) == 0 && c.over(now, a.o.Timing.Forget)) {
			delete(a.clients, key)
		}
	}
}

// phase returns the phase of a connection of c, and notes when a client that is
// being tested has entered its secure phase.
func (a *Assessor) phase(c *client, id evidence.ConnID, now time.Time) evidence.Phase {
	p := c.withhold.phase(id, now)
	if p == evidence.Secure {
		for _, t := range c.tests {
			if t.running() && t.rec.Secured.IsZero() {
				t.rec.Secured = now
				a.o.Changed(t.rec.Test.ID)
				a.o.Store.Submit(history.Batch{Tests: []history.TestRecord{t.rec}, TestStates: []history.TestState{{TestID: t.rec.Test.ID, State: evidence.State{Time: c.withhold.secureSince(), Phase: evidence.Secure}}}})
			}
		}
	}
	return p
}

// Phase implements sink.Director.
func (a *Assessor) Phase(id evidence.ConnID) evidence.Phase {
	a.mu.Lock()
	defer a.mu.Unlock()
	if conn := a.conns[id]; conn != nil {
		return a.phase(conn.client, id, a.o.Now())
	}
	return evidence.Secure
}

// ClientHello implements sink.Director. With a known host name it is that
// host's certificate. Without one it is the default certificate, and that and
// the one of ut vary with what the client did before.
func (a *Assessor) ClientHello(id evidence.ConnID, sni string) scenario.Certificate {
	a.mu.Lock()
	defer a.mu.Unlock()
	if target, ok := scenario.Find(a.o.Zone, sni); ok && a.conns[id] != nil {
		a.conns[id].named, a.conns[id].slot = true, target.Slot
	}
	return a.certificate(sni, func(slot int, owner scenario.Owner) scenario.Kind { return a.varying(id, slot, owner) })
}

// certificate is what a client with some SNI is shown, given the kind of those
// certificates that vary.
func (a *Assessor) certificate(sni string, varying func(slot int, owner scenario.Owner) scenario.Kind) scenario.Certificate {
	target, ok := scenario.Find(a.o.Zone, sni)
	if ok && target.Slot >= a.o.Slots {
		ok = false
	}
	switch {
	case ok && target.Role == scenario.RoleMX:
		return scenario.Certificate{Slot: target.Slot, Owner: scenario.Owner(target.Host), Kind: scenario.HostKind(target.Host)}
	case ok && (target.Role == scenario.RoleService || target.Role == scenario.RoleApex):
		return scenario.Certificate{Owner: scenario.OwnerService, Kind: scenario.CA}
	case ok && target.Role == scenario.RoleUT:
		return scenario.Certificate{Slot: target.Slot, Owner: scenario.OwnerUT, Kind: varying(target.Slot, scenario.OwnerUT)}
	}
	return scenario.Certificate{Owner: scenario.OwnerDefault, Kind: varying(0, scenario.OwnerDefault)}
}

func (a *Assessor) varying(id evidence.ConnID, slot int, owner scenario.Owner) scenario.Kind {
	conn := a.conns[id]
	if conn == nil {
		return scenario.SelfSigned
	}
	if conn.client.settled() {
		return scenario.CA // nothing more is to be learned: let the mail come
	}
	return conn.client.alternate(slot, owner).kind()
}

// Closed implements sink.Director. Only now is it read, from the record, what
// a handshake says about the client.
func (a *Assessor) Closed(final evidence.Connection) {
	a.mu.Lock()
	defer a.mu.Unlock()
	conn := a.conns[final.ID]
	if conn == nil {
		return
	}
	delete(a.conns, final.ID)
	now := a.o.Now()
	c := conn.client
	c.open--
	c.last = now
	a.learn(c, final)
	batch := history.Batch{Connections: []evidence.Connection{final}}
	t := conn.test
	if t == nil && final.MailFrom != nil {
		t = a.testOfSender(c, final)
	}
	if t != nil {
		a.put(t, final)
		batch.Attach = []history.Attachment{{Connection: final.ID, Test: t.rec.Test.ID, Attribution: evidence.ByMail}}
	} else if !final.Data {
		a.keep(c, final)
	}
	a.o.Store.Submit(batch)
	a.usedSlot(c, final)
	for _, t := range c.tests {
		a.touch(t, now)
		a.o.Changed(t.rec.Test.ID)
	}
	if t != nil {
		a.o.Changed(t.rec.Test.ID)
	}
}

// learn lets what came of a connection change how the next ones are treated.
func (a *Assessor) learn(c *client, final evidence.Connection) {
	c.learn(a.o.Zone, final)
	if local, err := netip.ParseAddrPort(final.Local); err == nil {
		c.withhold.seen(a.destination(local), final)
	}
}

// keep remembers a connection that a test may still adopt. A client that no
// test came from keeps few.
func (a *Assessor) keep(c *client, conn evidence.Connection) {
	most := a.o.Limits.Loose
	if len(c.tests) > 0 {
		most = a.o.Limits.Connections
	}
	if len(c.loose) < most {
		c.loose = append(c.loose, conn)
	} else {
		c.dropped++
	}
}

// testOfSender finds the running test that a connection with MAIL, but without
// a message, belongs to.
func (a *Assessor) testOfSender(c *client, conn evidence.Connection) *test {
	slot, domains := domainsOf(a.o.Zone, conn.RcptTo)
	known := len(domains) > 0
	if !known {
		slot, known = slotNamed(a.o.Zone, &conn) // one sender may have tests in several slots
	}
	i := slices.IndexFunc(c.tests, func(t *test) bool {
		return t.rec.Open() && t.sentBy(*conn.MailFrom) && (!known || t.rec.Test.Slot == slot)
	})
	if i < 0 {
		return nil
	}
	return c.tests[i]
}

// touch notes that evidence came: the verdict is looked at again once the
// attempt is over.
func (a *Assessor) touch(t *test, now time.Time) {
	t.dirty = true
	t.due = now.Add(a.o.Timing.Attempt + time.Millisecond)
	a.wakeUp()
}

func (a *Assessor) wakeUp() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}
