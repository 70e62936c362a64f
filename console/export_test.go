package console

import (
	"io"
	"net/http"
	"net/netip"
	"time"
)

// CheapHash is HashPassword at a cost that tests can afford.
func CheapHash(password string) string {
	p := params{memory: 8, time: 1, threads: 1}
	salt := []byte("salt of a test..")
	return phc{p, salt, p.hash(password, salt, hashOctets)}.String()
}

// ParsePHC is parsePHC, and what it read as string again.
func ParsePHC(s string) (string, error) {
	h, err := parsePHC(s)
	return h.String(), err
}

// Matches reports whether a PHC string is that of a password.
func Matches(s, password string) bool {
	h, err := parsePHC(s)
	return err == nil && h.matches(password)
}

// NewBusy is New while a password is checked that takes until release is called.
func NewBusy(o Options) (h http.Handler, release func(), err error) {
	c, err := newConsole(o)
	if err != nil {
		return nil, nil, err
	}
	c.hashing <- struct{}{}
	return c.guard(c.routes()), func() { <-c.hashing }, nil
}

// Tries are the tries of clients.
type Tries struct{ t *tries }

// NewTries returns Tries.
func NewTries(now func() time.Time) Tries { return Tries{newTries(now)} }

// Begin is begin, of a device if it is named, else of a network.
func (t Tries) Begin(network netip.Prefix, device string) time.Duration {
	if device != "" {
		network = netip.Prefix{}
	}
	return t.t.begin(whoTries{network, device})
}

// Len is how many clients are remembered.
func (t Tries) Len() int { return len(t.t.clients) }

// Bounds of the package.
const (
	SessionCookie = sessionCookie
	DeviceCookie  = deviceCookie
	FreeTries     = freeTries
	WorldTries    = worldTries
	WorldWait     = worldWait
	MaxSessions   = maxSessions
	MaxClients    = maxClients
	MaxWaiting    = maxWaiting
	DeviceAge     = deviceAge
)

// WaitAfter is waitAfter.
func WaitAfter(wrong int) time.Duration { return waitAfter(wrong) }

// KnownDevice is knownDevice.
func KnownDevice(value, password string, now time.Time) string {
	return knownDevice(value, password, now)
}

// NewDevice is newDevice.
func NewDevice(random io.Reader, password string, until time.Time) (string, error) {
	return newDevice(random, password, until)
}
