package console

import "time"

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

// Bounds of the package.
const (
	SessionCookie = sessionCookie
	DeviceCookie  = deviceCookie
	FreeTries     = freeTries
	WorldTries    = worldTries
	WorldWait     = worldWait
	MaxSessions   = maxSessions
	MaxClients    = maxClients
	DeviceAge     = deviceAge
)

// WaitAfter is waitAfter.
func WaitAfter(wrong int) time.Duration { return waitAfter(wrong) }
