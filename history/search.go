package history

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Searches read what they look for in the order of an index by time, in short
// transactions, and stop after a number of records. Most records are passed
// over by a look at their octets: decoding one takes many times longer.

const (
	searchChunk = 1000    // keys that one transaction looks at
	mostRead    = 100_000 // default of MostRead
)

// ErrCursor is in the error of a search that was to go on at a place that no
// search ever told.
var ErrCursor = errors.New("unknown place in a list: start again")

// TestSearch selects tests. The zero value selects all.
type TestSearch struct {
	Sender   string       // exactly but for case
	Domains  []string     // of the sender, in lower case; also subdomains; one of them
	Network  netip.Prefix // one of the clients lies in it
	Policy   string       // of the stored verdict; tests without one pass
	States   []string     // one of them
	Slot     *int
	From, To time.Time             // opened at or after From and before To; zero: no bound
	Match    func(TestRecord) bool // the rest; called without a lock; nil: all

	Cursor   string // TestPage.Next of the page before
	Limit    int    // default 50
	MostRead int    // after so many tests the search stops; default 100,000
}

// TestPage is a part of what was searched, the last opened first.
type TestPage struct {
	Tests []TestRecord
	Next  string // where the search goes on; empty at its end
	Cut   bool   // MostRead was reached before Limit
}

// SearchTests returns a page of tests.
func (s *Store) SearchTests(ctx context.Context, q TestSearch) (TestPage, error) {
	setDefault(&q.Limit, 50)
	setDefault(&q.MostRead, mostRead)
	at, err := cursor(q.Cursor)
	if err != nil {
		return TestPage{}, err
	}
	if len(q.States) > 0 && !slices.ContainsFunc(q.States, func(st string) bool { return !(TestRecord{State: st}).Open() }) {
		return s.searchOpen(q, at)
	}
	pass := q.glance()
	page := TestPage{Tests: []TestRecord{}}
	for left := q.MostRead; ; {
		if err := ctx.Err(); err != nil {
			return page, err
		}
		c, err := s.chunkOfTests(q, at, pass, min(searchChunk, left), q.Limit+1-len(page.Tests))
		if err != nil {
			return page, err
		}
		for _, r := range c.found {
			if q.Match != nil && !q.Match(r) {
				continue
			}
			if len(page.Tests) == q.Limit {
				page.Next = cursorOf(page.last())
				return page, nil
			}
			page.Tests = append(page.Tests, r)
		}
		if !c.more {
			return page, nil
		}
		at, left = c.last, left-c.read
		if left <= 0 {
			page.Next, page.Cut = cursorOf(at), len(page.Tests) < q.Limit
			return page, nil
		}
	}
}

// last is the key of the last test of a page.
func (p TestPage) last() []byte {
	r := p.Tests[len(p.Tests)-1]
	return timeKey(r.Opened, r.Test.ID)
}

// testChunk is what one transaction of a search found.
type testChunk struct {
	found []TestRecord
	read  int
	last  []byte // key that was read
	more  bool
}

// chunkOfTests looks at no more than read tests before a key, and finds no more
// than most.
func (s *Store) chunkOfTests(q TestSearch, at []byte, pass func([]byte) bool, read, most int) (out testChunk, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		c := bucket(tx, bucketTestsTime).Cursor()
		for k := back(c, at, q.To); k != nil && !timeOf(k).Before(q.From); k, _ = c.Prev() {
			if out.more = out.read == read || len(out.found) == most; out.more {
				return nil
			}
			out.read++
			out.last = append(out.last[:0], k...)
			v := bucket(tx, bucketTests).Get(k[8:])
			if v == nil || !pass(v) {
				continue
			}
			if r, ok := s.test(tx, k[8:]); ok && r.Opened.Equal(timeOf(k)) && q.selects(r) {
				out.found = append(out.found, r)
			}
		}
		return nil
	})
	return out, err
}

// searchOpen reads the index of open tests, of which there are never many.
func (s *Store) searchOpen(q TestSearch, at []byte) (TestPage, error) {
	var all []TestRecord
	if err := s.view(func(tx *bolt.Tx) error {
		all = s.openTests(tx, TestFilter{Since: q.From, Limit: mostRead})
		return nil
	}); err != nil {
		return TestPage{}, err
	}
	page := TestPage{Tests: []TestRecord{}}
	for _, r := range all {
		key := timeKey(r.Opened, r.Test.ID)
		if at != nil && bytes.Compare(key, at) >= 0 || !q.To.IsZero() && !r.Opened.Before(q.To) || !q.selects(r) || q.Match != nil && !q.Match(r) {
			continue
		}
		if len(page.Tests) == q.Limit {
			page.Next = cursorOf(page.last())
			break
		}
		page.Tests = append(page.Tests, r)
	}
	return page, nil
}

// paging is what all searches ask for: where they go on, and when they stop.
type paging struct {
	cursor          string
	limit, mostRead int // 0: the default
}

// page walks over the places of a list that follow a cursor: eight octets, then an
// ID. take says which of them are on the page. What was read last is next, if there
// may be more.
func (s *Store) page(ctx context.Context, p paging, places func(tx *bolt.Tx, at []byte) iter.Seq[[]byte], take func(tx *bolt.Tx, id []byte) bool) (next string, cut bool, err error) {
	setDefault(&p.limit, 50)
	setDefault(&p.mostRead, mostRead)
	at, err := cursor(p.cursor)
	if err != nil {
		return "", false, err
	}
	for left, found := p.mostRead, 0; ; {
		if err := ctx.Err(); err != nil {
			return "", false, err
		}
		before, more := left, false
		err := s.view(func(tx *bolt.Tx) error {
			for k := range places(tx, at) {
				if more = left == 0 || before-left == searchChunk || found == p.limit; more {
					return nil
				}
				left--
				at = append(at[:0:0], k...)
				if take(tx, at[8:]) {
					found++
				}
			}
			return nil
		})
		switch {
		case err != nil || !more:
			return "", false, err
		case found == p.limit || left == 0:
			return cursorOf(at), found < p.limit, nil
		}
	}
}

// back moves c before a key, or before a time, or to the end.
func back(c *bolt.Cursor, at []byte, to time.Time) (k []byte) {
	if at == nil && !to.IsZero() {
		at = appendTime(nil, to)
	}
	if at != nil {
		if k, _ = c.Seek(at); k != nil {
			k, _ = c.Prev()
			return k
		}
	}
	k, _ = c.Last()
	return k
}

func cursorOf(key []byte) string { return base64.RawURLEncoding.EncodeToString(key) }

// cursor reads what cursorOf wrote; nil if there is nothing.
func cursor(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) <= 8 || len(b) > 8+maxID {
		return nil, ErrCursor
	}
	return b, nil
}

// selects reports whether a test is one that is searched.
func (q TestSearch) selects(r TestRecord) bool {
	switch {
	case q.Sender != "" && !strings.EqualFold(r.Test.Sender, q.Sender):
	case len(q.Domains) > 0 && !slices.ContainsFunc(q.Domains, func(d string) bool { return inDomain(r.Test.Sender, d) }):
	case q.Network.IsValid() && !r.from(q.Network):
	case len(q.States) > 0 && !slices.Contains(q.States, r.State):
	case q.Slot != nil && *q.Slot != r.Test.Slot:
	default:
		return true
	}
	return false
}

// inDomain reports whether a mail address belongs to a domain.
func inDomain(address, domain string) bool {
	of := strings.ToLower(strings.TrimSuffix(address[strings.LastIndexByte(address, '@')+1:], "."))
	return of == domain || strings.HasSuffix(of, "."+domain)
}

// from reports whether a client of the test lies in a network.
func (r TestRecord) from(p netip.Prefix) bool {
	return slices.ContainsFunc(r.Test.SenderIPs, func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err == nil && p.Contains(a)
	}) || slices.ContainsFunc(r.Clients, func(s string) bool {
		c, err := netip.ParsePrefix(s)
		return err == nil && c.Bits() >= p.Bits() && p.Contains(c.Addr())
	})
}

// glance returns a test of a stored value that passes every value that may be
// selected: text that is searched must be in it somewhere.
func (q TestSearch) glance() func(value []byte) bool {
	var sender, states [][]byte
	if plain(q.Sender) {
		sender = append(sender, bytes.ToLower([]byte(q.Sender)))
	} else if len(q.Domains) > 0 && !slices.ContainsFunc(q.Domains, func(d string) bool { return !plain(d) }) {
		for _, d := range q.Domains {
			sender = append(sender, []byte(d))
		}
	}
	for _, st := range q.States {
		states = append(states, []byte(`"state":"`+st+`"`))
	}
	network, policy := []byte(beginning(q.Network)), []byte(`"policy":"`+q.Policy+`"`)
	var lower []byte
	return func(value []byte) bool {
		if q.Policy != "" && !bytes.Contains(value, policy) && bytes.Contains(value, []byte(`"verdict":{`)) {
			return false
		}
		if !bytes.Contains(value, network) || !containsOne(value, states) {
			return false
		}
		if len(sender) == 0 {
			return true
		}
		// The sender stands at the beginning.
		if i := bytes.Index(value, []byte(`"capability":`)); i >= 0 {
			value = value[:i]
		}
		lower = appendLower(lower[:0], value)
		return containsOne(lower, sender)
	}
}

// containsOne reports whether one of the texts is in value, or there are none.
func containsOne(value []byte, texts [][]byte) bool {
	return len(texts) == 0 || slices.ContainsFunc(texts, func(t []byte) bool { return bytes.Contains(value, t) })
}

// plain reports whether text looks the same in JSON.
func plain(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f || r == '"' || r == '\\' })
}

func appendLower(to, from []byte) []byte {
	for _, c := range from {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		to = append(to, c)
	}
	return to
}

// beginning is how every address of a network begins in JSON, as far as that
// can be said.
func beginning(p netip.Prefix) string {
	if !p.IsValid() || p.Addr().Zone() != "" {
		return ""
	}
	text, parts := p.Masked().Addr().String(), p.Bits()/8
	if p.Addr().Is6() {
		// Zeros are written in several ways, but for the first group.
		first, _, _ := strings.Cut(text, ":")
		if first == "" || parts < 2 {
			return ""
		}
		return `"` + first + ":"
	}
	if parts == 0 {
		return ""
	}
	out := `"` + strings.Join(strings.Split(text, ".")[:parts], ".")
	if parts < 4 {
		out += "."
	}
	return out
}
