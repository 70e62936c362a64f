package statistics

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/policyinfer"
)

// Test is what is counted of a test.
type Test struct {
	Verdict    string // a name of package policyinfer
	Conclusive bool
	Engine     string // version of the inference
	// First: the sender's domain was authenticated, and none of this sender's
	// other tests of the month came before this one.
	First    bool
	Provider string // registrable domain of the MX hosts of the sender's domain; empty: not known
	Country  string // ISO 3166-1 alpha-2, of the network that the mail came from; empty: not known
	Own      bool   // the mail came, provably, from a host of Provider
	Inbound  Colour // of the sender's domain as a receiver; empty: not known
}

// Bounds of what is kept of one month.
const (
	maxProviders = 200
	maxCountries = 260 // there are 249
	maxEngines   = 8
	maxSeen      = 12_000 // hashes: a value is less than 1 MiB
)

// The names of what has none.
const (
	Unknown = "unknown"
	Other   = "other"
)

// cells are numbers by group and verdict.
type cells map[string]map[string]int

func (c cells) add(group, verdict string, most int) {
	if group == "" || !plain(group) {
		group = Unknown
	}
	if _, ok := c[group]; !ok && len(c) >= most {
		group = Other
	}
	if c[group] == nil {
		c[group] = make(map[string]int)
	}
	c[group][verdict]++
}

// plain reports whether a name, which a stranger may have chosen, is one of a
// domain or a country, and so safe wherever it is shown.
func plain(s string) bool {
	return len(s) <= 253 && s[0] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.'
	})
}

func (c cells) clone() cells {
	out := make(cells, len(c))
	for group, row := range c {
		out[group] = maps.Clone(row)
	}
	return out
}

// numbers are those of one month.
type numbers struct {
	Verdicts  map[string]int `json:"verdicts"`  // tests
	Providers cells          `json:"providers"` // senders
	Countries cells          `json:"countries"` // senders
	Outbound  cells          `json:"outbound"`  // senders of listed providers, conclusive verdicts
	Inbound   cells          `json:"inbound"`   // the same, by the colour of their domains
}

func (n numbers) clone() numbers {
	return numbers{maps.Clone(n.Verdicts), n.Providers.clone(), n.Countries.clone(), n.Outbound.clone(), n.Inbound.clone()}
}

func (n *numbers) init() {
	if n.Verdicts == nil {
		n.Verdicts = make(map[string]int)
	}
	for _, c := range []*cells{&n.Providers, &n.Countries, &n.Outbound, &n.Inbound} {
		if *c == nil {
			*c = make(cells)
		}
	}
}

// month is what is stored of one month.
type month struct {
	Now     numbers   `json:"now"`
	Public  numbers   `json:"public"` // Now, as it was at the beginning of Day
	Day     string    `json:"day"`
	Engines []string  `json:"engines,omitempty"` // versions of the inference, the first one first
	Seen    []counted `json:"seen,omitempty"`

	hashes map[string]bool // of Seen; nil: not made yet
}

// counted is a test that was, by its keyed hash.
type counted struct {
	Hash   string    `json:"h"`
	Opened time.Time `json:"t"` // to the hour
}

func (m *month) init() {
	m.Now.init()
	m.Public.init()
}

func (m *month) clone() *month {
	out := *m
	out.Now, out.Public = m.Now.clone(), m.Public.clone()
	out.Engines, out.Seen, out.hashes = slices.Clone(m.Engines), slices.Clone(m.Seen), nil
	out.init()
	return &out
}

// has reports whether a test was counted.
func (m *month) has(hash string) bool {
	if m.hashes == nil {
		m.hashes = make(map[string]bool)
		for _, c := range m.Seen {
			m.hashes[c.Hash] = true
		}
	}
	return m.hashes[hash]
}

// remember that a test was counted.
func (m *month) remember(hash string, opened time.Time) {
	m.Seen = append(m.Seen, counted{hash, opened.UTC().Truncate(time.Hour)})
	if m.hashes != nil {
		m.hashes[hash] = true
	}
}

// count adds a test. listed says which providers may be named.
func (m *month) count(t Test, listed map[string]bool) {
	verdict := known(t.Verdict)
	m.Now.Verdicts[verdict]++
	if t.Engine != "" && !slices.Contains(m.Engines, t.Engine) && len(m.Engines) < maxEngines {
		m.Engines = append(m.Engines, t.Engine)
	}
	if !t.First {
		return
	}
	m.Now.Providers.add(t.Provider, verdict, maxProviders)
	m.Now.Countries.add(t.Country, verdict, maxCountries)
	if !t.Own || !listed[t.Provider] {
		return
	}
	if t.Conclusive && verdict != string(policyinfer.Undetermined) {
		m.Now.Outbound.add(t.Provider, verdict, maxProviders)
	}
	if t.Inbound != "" {
		m.Now.Inbound.add(t.Provider, string(t.Inbound), maxProviders)
	}
}

// verdicts are the columns of all tables, the weakest first.
func verdicts() []string {
	var out []string
	for _, n := range policyinfer.Names() {
		out = append(out, string(n))
	}
	return append(out, string(policyinfer.Mixed), string(policyinfer.Undetermined))
}

func known(verdict string) string {
	if slices.Contains(verdicts(), verdict) {
		return verdict
	}
	return string(policyinfer.Undetermined)
}

// forget drops the hashes of tests that were opened before a time, and reports
// whether there were any.
func (m *month) forget(before time.Time) bool {
	n := len(m.Seen)
	m.Seen = slices.DeleteFunc(m.Seen, func(c counted) bool { return c.Opened.Add(time.Hour).Before(before) })
	return len(m.Seen) < n
}

// publish makes public what is known at the beginning of a day; it reports
// whether that was still to do.
func (m *month) publish(day string) bool {
	if m.Day == day {
		return false
	}
	m.Day, m.Public = day, m.Now.clone()
	return true
}

// hash of a test's id, which nobody can compute without the key.
func hash(key []byte, id string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:9])
}
