package console

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Lengths of a password: at least so many characters, at most so many octets.
const (
	MinPassword = 12
	MaxPassword = 1024
)

// params are the costs of argon2id (RFC 9106 §3.1).
type params struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
}

// defaultParams are the second choice of RFC 9106 §4, for hosts that do
// other things, too.
var defaultParams = params{memory: 64 << 10, time: 3, threads: 4}

const (
	saltOctets = 16
	hashOctets = 32

	maxPHC     = 1024
	maxMemory  = 1 << 20 // KiB
	maxTime    = 64
	maxThreads = 64
)

// A phc is a hashed password in the string format of the Password Hashing
// Competition: $argon2id$v=19$m=65536,t=3,p=4$salt$hash.
type phc struct {
	params
	salt, hash []byte
}

var phcPattern = regexp.MustCompile(`^\$argon2id\$v=19\$m=(\d{1,8}),t=(\d{1,4}),p=(\d{1,3})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$`)

// HashPassword returns the password as PHC string. Salt is taken from random.
func HashPassword(password string, random io.Reader) (string, error) {
	salt := make([]byte, saltOctets)
	if _, err := io.ReadFull(random, salt); err != nil {
		return "", fmt.Errorf("salt of the password: %w", err)
	}
	return phc{defaultParams, salt, defaultParams.hash(password, salt, hashOctets)}.String(), nil
}

func (p params) hash(password string, salt []byte, octets uint32) []byte {
	return argon2.IDKey([]byte(password), salt, p.time, p.memory, p.threads, octets)
}

// String returns h in PHC string format.
func (h phc) String() string {
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads, b.EncodeToString(h.salt), b.EncodeToString(h.hash))
}

// parsePHC reads a PHC string. Its costs are bounded: a mistake in the file
// must not take the host's memory. Errors never repeat the string.
func parsePHC(s string) (phc, error) {
	m := phcPattern.FindStringSubmatch(s)
	if m == nil {
		return phc{}, errors.New("this is no argon2id hash in PHC format: make one with `tlsink console password`")
	}
	var costs [3]uint64
	for i, field := range []struct {
		name     string
		from, to uint64
	}{{"m (KiB)", 8, maxMemory}, {"t", 1, maxTime}, {"p", 1, maxThreads}} {
		n, err := strconv.ParseUint(m[i+1], 10, 32)
		if err != nil || n < field.from || n > field.to {
			return phc{}, fmt.Errorf("%s=%s of the argon2id hash is not between %d and %d", field.name, m[i+1], field.from, field.to)
		}
		costs[i] = n
	}
	if costs[0] < 8*costs[2] { // RFC 9106 §3.1
		return phc{}, fmt.Errorf("m=%d of the argon2id hash is less than 8 KiB for each of p=%d", costs[0], costs[2])
	}
	h := phc{params: params{memory: uint32(costs[0]), time: uint32(costs[1]), threads: uint8(costs[2])}}
	var errSalt, errHash error
	h.salt, errSalt = base64.RawStdEncoding.Strict().DecodeString(m[4])
	h.hash, errHash = base64.RawStdEncoding.Strict().DecodeString(m[5])
	if err := errors.Join(errSalt, errHash); err != nil {
		return phc{}, errors.New("salt or hash of the argon2id hash is no base64")
	}
	return h, nil
}

// matches reports whether password is the one of h, in a time that depends on
// h alone.
func (h phc) matches(password string) bool {
	got := h.params.hash(password, h.salt, uint32(len(h.hash)))
	return subtle.ConstantTimeCompare(got, h.hash) == 1
}

// errNoPassword says that nobody has set a password: the console is off.
var errNoPassword = errors.New("no password is set: run `tlsink console password` on this host")

// readPassword reads the file with the PHC string.
func readPassword(file string) (phc, string, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return phc{}, "", errNoPassword
	}
	if err != nil {
		return phc{}, "", fmt.Errorf("console.password_file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return phc{}, "", fmt.Errorf("console.password_file: %w", err)
	case !info.Mode().IsRegular():
		return phc{}, "", fmt.Errorf("console.password_file: %s is no file", file)
	case info.Mode().Perm()&0o007 != 0:
		return phc{}, "", fmt.Errorf("console.password_file: %s is open to everyone (mode %04o): chmod 0600 %s", file, info.Mode().Perm(), file)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPHC+1))
	if err != nil {
		return phc{}, "", fmt.Errorf("console.password_file: %w", err)
	}
	text := strings.TrimSpace(string(b))
	if len(b) > maxPHC {
		text = ""
	}
	h, err := parsePHC(text)
	if err != nil {
		return phc{}, "", fmt.Errorf("console.password_file: %s: %w", file, err)
	}
	return h, text, nil
}
