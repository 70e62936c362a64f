package arc

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxSets is the most ARC sets that a chain may have (RFC 8617 §4.2.1).
const MaxSets = 50

// The three fields of an ARC set, in lower case.
const (
	keyResults   = "arc-authentication-results"
	keySignature = "arc-message-signature"
	keySeal      = "arc-seal"
)

// maxReason is the longest reason, maxDomain the longest domain that is
// returned, in octets.
const (
	maxReason = 200
	maxDomain = 253
)

// Chain is the ARC chain of one message. Not safe for concurrent use.
type Chain struct {
	header []field
	sets   []set // in order of instance; as far as they could be read
	err    error // what is wrong with the structure
	body   *bodyHash
}

// set is an ARC set.
type set struct {
	results, signature, seal *field
	ams, as                  tags
}

// Read reads the chain from a header, with or without the empty line behind it.
// It never fails: what is wrong is the result of Validate. The header should be
// bounded by the caller; time grows with its size times MaxSets.
func Read(header []byte) *Chain {
	c := &Chain{header: fields(header)}
	c.sets, c.err = collect(c.header)
	if c.err == nil {
		c.err = c.structure()
	}
	if c.err == nil && len(c.sets) > 0 {
		c.body = &bodyHash{relaxed: c.newest().relaxedBody(), h: sha256.New()}
	}
	return c
}

// Write takes the next part of the body. It never fails.
func (c *Chain) Write(p []byte) (int, error) {
	if c.body == nil {
		return len(p), nil
	}
	return c.body.Write(p)
}

// Seal is what one ARC set says about itself. Nothing of it is validated.
type Seal struct {
	Instance int
	Domain   string // d= of the seal
	Signer   string // d= of the message signature
	Status   string // cv=: none, pass or fail
	Results  string // what the sealer found, as it wrote it, in one line
}

// Seals returns what the sets say, the oldest first.
func (c *Chain) Seals() []Seal {
	var out []Seal
	for i, s := range c.sets {
		one := Seal{Instance: i + 1, Domain: s.as.domain(), Signer: s.ams.domain(), Status: clip(s.as.squeeze("cv"), 20)}
		if s.results != nil {
			_, after, _ := strings.Cut(s.results.value(), ";")
			one.Results = clip(strings.Join(strings.FieldsFunc(after, wsp), " "), 1000)
		}
		out = append(out, one)
	}
	return out
}

func (c *Chain) newest() set { return c.sets[len(c.sets)-1] }

// collect sorts the ARC fields into sets.
func collect(header []field) ([]set, error) {
	var sets []set
	for i := range header {
		f := &header[i]
		if f.key != keyResults && f.key != keySignature && f.key != keySeal {
			continue
		}
		n, t, err := instance(f)
		if err != nil {
			return sets, fmt.Errorf("%s: %w", fieldName(f.key), err)
		}
		for len(sets) < n {
			sets = append(sets, set{})
		}
		s := &sets[n-1]
		to := &s.seal
		switch f.key {
		case keyResults:
			to = &s.results
		case keySignature:
			to, s.ams = &s.signature, t
		default:
			s.as = t
		}
		if *to != nil {
			return sets, fmt.Errorf("%s: two with i=%d", fieldName(f.key), n)
		}
		*to = f
	}
	return sets, nil
}

// instance returns the instance of an ARC field, and its tags if it has any.
func instance(f *field) (int, tags, error) {
	list := f.value()
	if f.key == keyResults {
		// RFC 8617 §4.1.1: the instance comes first; the rest is no tag-list.
		var ok bool
		if list, _, ok = strings.Cut(list, ";"); !ok {
			return 0, nil, errors.New("no instance")
		}
	}
	t, err := parseTags(list)
	if err != nil {
		return 0, nil, err
	}
	i := t["i"]
	n, err := strconv.Atoi(i)
	if err != nil || len(i) > 2 || n < 1 || n > MaxSets || i[0] == '+' {
		return 0, nil, fmt.Errorf("instance %q; want 1 to %d", clip(i, 10), MaxSets)
	}
	return n, t, nil
}

// structure checks everything that needs neither body nor keys (RFC 8617 §5.2,
// step 2).
func (c *Chain) structure() error {
	for i, s := range c.sets {
		n := i + 1
		for _, f := range []struct {
			key string
			is  *field
		}{{keyResults, s.results}, {keySignature, s.signature}, {keySeal, s.seal}} {
			if f.is == nil {
				return fmt.Errorf("%s: none with i=%d", fieldName(f.key), n)
			}
		}
		if err := s.as.checkSeal(n); err != nil {
			return fmt.Errorf("ARC-Seal %d: %w", n, err)
		}
	}
	if len(c.sets) == 0 {
		return nil
	}
	if err := c.newest().ams.checkSignature(); err != nil {
		return fmt.Errorf("ARC-Message-Signature %d: %w", len(c.sets), err)
	}
	return nil
}

func (t tags) checkSeal(n int) error {
	if err := t.need("a", "b", "cv", "d", "s"); err != nil {
		return err
	}
	// RFC 8617 §4.1.3: a seal has a signing scope of its own.
	if _, ok := t["h"]; ok {
		return errors.New("tag h= is not allowed")
	}
	want := "pass"
	if n == 1 {
		want = "none"
	}
	switch cv := strings.ToLower(t["cv"]); cv {
	case want:
		return nil
	case "fail":
		return errors.New("cv=fail: its sealer found the chain broken")
	default:
		return fmt.Errorf("cv=%s; want %s", clip(cv, 20), want)
	}
}

func (t tags) checkSignature() error {
	if err := t.need("a", "b", "bh", "d", "s", "h"); err != nil {
		return err
	}
	from := false
	for _, name := range t.list("h") {
		switch strings.ToLower(name) {
		case "":
			return errors.New("tag h= has an empty name")
		case keySeal:
			return errors.New("it covers ARC-Seal") // RFC 8617 §4.1.2
		case "from":
			from = true
		}
	}
	if !from {
		return errors.New("it does not cover From") // RFC 6376 §5.4
	}
	for _, c := range strings.SplitN(t.canonicalization(), "/", 2) {
		if c != "simple" && c != "relaxed" {
			return fmt.Errorf("unknown canonicalization %q", clip(c, 20))
		}
	}
	if _, ok := t["q"]; ok && !slices.Contains(t.list("q"), "dns/txt") {
		return errors.New("unknown query method")
	}
	return nil
}

// canonicalization returns c= in full (RFC 6376 §3.5: both default to simple).
func (t tags) canonicalization() string {
	c, ok := t["c"]
	switch {
	case !ok:
		return "simple/simple"
	case !strings.Contains(c, "/"):
		return c + "/simple"
	}
	return c
}

func (s set) relaxedBody() bool { return strings.HasSuffix(s.ams.canonicalization(), "/relaxed") }

func (s set) relaxedHeader() bool { return strings.HasPrefix(s.ams.canonicalization(), "relaxed/") }

// expired reports whether a signature has an x= that is over, or makes no sense.
func (t tags) expired(now time.Time) bool {
	x, ok := t["x"]
	if !ok {
		return false
	}
	seconds, err := strconv.ParseInt(x, 10, 64)
	return err != nil || now.After(time.Unix(seconds, 0))
}

func (t tags) domain() string { return clip(strings.ToLower(t.squeeze("d")), maxDomain) }

func fieldName(key string) string {
	return map[string]string{keyResults: "ARC-Authentication-Results", keySignature: "ARC-Message-Signature", keySeal: "ARC-Seal"}[key]
}

// clip returns s as valid UTF-8 without control and format characters, at most
// limit octets.
func clip(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
