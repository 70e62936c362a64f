package console

import (
	"net/netip"
	"sync"
	"time"
)

// Waits after wrong passwords.
const (
	freeTries  = 3                // of one client, without a wait
	firstWait  = 2 * time.Second  // then twice as long each time
	longWait   = 15 * time.Minute // at most
	forgetAt   = time.Hour        // without another try, all is forgiven
	worldTries = 20               // of all clients in worldSpan, then they wait for each other
	worldSpan  = time.Minute
	worldWait  = 10 * time.Second // between two tries of strangers then
	maxClients = 10_000           // that are remembered
)

// whoTries is whom a try is counted for: a network, or a browser that was let in
// before. Strangers can not make the latter wait.
type whoTries struct {
	network netip.Prefix
	device  string
}

// tries counts wrong passwords.
type tries struct {
	now func() time.Time

	mu       sync.Mutex
	clients  map[whoTries]client
	world    []time.Time // the last worldTries tries of strangers
	password string      // that was tried
}

type client struct {
	wrong int
	last  time.Time
}

func newTries(now func() time.Time) *tries {
	return &tries{now: now, clients: make(map[whoTries]client)}
}

// begin counts a try, as if its password were wrong: several at the same time
// are several. It returns how long who has to wait if it may not try now.
func (t *tries) begin(who whoTries) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	c := t.clients[who]
	if now.Sub(c.last) >= forgetAt {
		c = client{}
	}
	if c.wrong >= freeTries {
		if wait = c.last.Add(waitAfter(c.wrong)).Sub(now); wait > 0 {
			return wait
		}
	}
	if who.device == "" {
		if wait = t.worldWait(now); wait > 0 {
			return wait
		}
		t.world = append(t.world, now)
		t.world = t.world[max(0, len(t.world)-worldTries):]
	}
	t.makeRoom(now)
	t.clients[who] = client{wrong: c.wrong + 1, last: now}
	return 0
}

func (t *tries) worldWait(now time.Time) time.Duration {
	if len(t.world) < worldTries || now.Sub(t.world[0]) >= worldSpan {
		return 0
	}
	return t.world[len(t.world)-1].Add(worldWait).Sub(now)
}

// waitAfter is how long a client waits after so many wrong passwords in a row.
func waitAfter(wrong int) time.Duration {
	if wrong-freeTries > 20 {
		return longWait
	}
	return min(longWait, firstWait<<(wrong-freeTries))
}

// right forgets the tries of who, whose password was right.
func (t *tries) right(who whoTries) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.clients, who)
	if who.device == "" && len(t.world) > 0 {
		t.world = t.world[:len(t.world)-1]
	}
}

// of forgets everything once the password file is another one: who can change
// it is not kept waiting by others.
func (t *tries) of(password string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.password != password {
		t.password = password
		clear(t.clients)
		t.world = nil
	}
}

// makeRoom forgets clients whose wait is over, and if that is not enough any
// other: memory is bounded, and what is left of the limits is that of all.
func (t *tries) makeRoom(now time.Time) {
	if len(t.clients) < maxClients {
		return
	}
	for who, c := range t.clients {
		if now.Sub(c.last) >= waitAfter(max(c.wrong, freeTries)) {
			delete(t.clients, who)
		}
	}
	for who := range t.clients {
		if len(t.clients) < maxClients {
			return
		}
		delete(t.clients, who)
	}
}
