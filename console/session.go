package console

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// A name with this prefix is accepted by browsers only if the cookie is
	// Secure, has Path=/ and no Domain (RFC 6265bis §4.1.3.2).
	sessionCookie = "__Host-tlsink-console"
	deviceCookie  = "__Host-tlsink-device"

	tokenOctets = 32 // of session, token of forms, and device
	maxSessions = 100

	deviceAge = 90 * 24 * time.Hour
)

// session is one browser that gave the password.
type session struct {
	id       string // public: names it in the log and in lists
	token    string // of its forms
	created  time.Time
	used     time.Time
	client   netip.Addr
	password [sha256.Size]byte // of the password file at login
}

// sessions are those that are open. Only the hash of what the browser has is
// kept.
type sessions struct {
	now       func() time.Time
	random    io.Reader
	idle, max time.Duration

	mu   sync.Mutex
	open map[[sha256.Size]byte]*session
}

func newSessions(o Options) *sessions {
	return &sessions{now: o.Now, random: o.Rand, idle: o.Limits.Idle, max: o.Limits.Session, open: make(map[[sha256.Size]byte]*session)}
}

func randomToken(random io.Reader) (string, error) {
	b := make([]byte, tokenOctets)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", fmt.Errorf("random token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// begin opens a session. Where there are too many, the one that was not used
// for the longest time ends.
func (s *sessions) begin(client netip.Addr, password string) (secret string, out session, err error) {
	secret, err1 := randomToken(s.random)
	token, err2 := randomToken(s.random)
	if err := errors.Join(err1, err2); err != nil {
		return "", session{}, err
	}
	now := s.now()
	key := sha256.Sum256([]byte(secret))
	n := &session{id: hex.EncodeToString(key[:4]), token: token, created: now, used: now, client: client, password: sha256.Sum256([]byte(password))}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	for len(s.open) >= maxSessions {
		s.endOldest()
	}
	s.open[key] = n
	return secret, *n, nil
}

func (s *sessions) endOldest() {
	var oldest [sha256.Size]byte
	var used time.Time
	for key, o := range s.open {
		if used.IsZero() || o.used.Before(used) {
			oldest, used = key, o.used
		}
	}
	delete(s.open, oldest)
}

func (s *sessions) expire(now time.Time) {
	for key, o := range s.open {
		if s.over(o, now) {
			delete(s.open, key)
		}
	}
}

func (s *sessions) over(o *session, now time.Time) bool {
	return now.Sub(o.used) >= s.idle || now.Sub(o.created) >= s.max
}

// use returns the session of the secret, and counts as its use. password is
// that of now: sessions end with theirs.
func (s *sessions) use(secret, password string) (session, bool) {
	key := sha256.Sum256([]byte(secret))
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.open[key]
	if !ok {
		return session{}, false
	}
	if s.over(o, now) || o.password != sha256.Sum256([]byte(password)) {
		delete(s.open, key)
		return session{}, false
	}
	o.used = now
	return *o, true
}

func (s *sessions) end(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256([]byte(secret)))
}

func (s *sessions) endAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.open)
}

// list returns the open sessions, the one used last first.
func (s *sessions) list() []session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(s.now())
	out := make([]session, 0, len(s.open))
	for _, o := range s.open {
		out = append(out, *o)
	}
	slices.SortFunc(out, func(a, b session) int { return b.used.Compare(a.used) })
	return out
}

// tokenFits compares the token of a form with that of its session.
func (s session) tokenFits(token string) bool {
	return subtle.ConstantTimeCompare([]byte(s.token), []byte(token)) == 1
}

// cookie returns a cookie that goes back to this host alone, over HTTPS alone,
// and not with what other sites start. age 0 lasts as long as the browser runs,
// a negative one deletes.
func cookie(name, value string, age time.Duration) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(age.Seconds()), Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

// newDevice returns what a browser keeps that gave the password: its name and
// until when, signed with a key that ends with the password.
func newDevice(random io.Reader, password string, until time.Time) (string, error) {
	name, err := randomToken(random)
	if err != nil {
		return "", err
	}
	text := name + "." + strconv.FormatInt(until.Unix(), 10)
	return text + "." + signDevice(text, password), nil
}

// knownDevice returns the name of a device, or "".
func knownDevice(value, password string, now time.Time) string {
	i := strings.LastIndexByte(value, '.')
	if i < 0 || password == "" {
		return ""
	}
	text := value[:i]
	if !hmac.Equal([]byte(value[i+1:]), []byte(signDevice(text, password))) {
		return ""
	}
	name, until, _ := strings.Cut(text, ".")
	if n, err := strconv.ParseInt(until, 10, 64); err != nil || now.Unix() >= n {
		return ""
	}
	return name
}

func signDevice(text, password string) string {
	// The PHC string is as secret as a key: salt and hash are in it.
	mac := hmac.New(sha256.New, []byte("tlsink console device\x00"+password))
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
