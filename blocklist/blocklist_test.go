package blocklist_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/blocklist"
)

// disk keeps values in memory; fail is what the next writes return.
type disk struct {
	mu     sync.Mutex
	values map[string][]byte
	fail   error
}

func (d *disk) Load(key string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.values[key], nil
}

func (d *disk) Save(_ context.Context, key string, value []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail == nil {
		d.values[key] = value
	}
	return d.fail
}

// clock can be turned.
type clock struct{ now time.Time }

func (c *clock) read() time.Time { return c.now }

func open(tb testing.TB, d *disk, c *clock, never ...netip.Prefix) *blocklist.List {
	tb.Helper()
	l, err := blocklist.Open(blocklist.Options{State: d, Now: c.read, Rand: rand.Reader, Never: never})
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func world() (*disk, *clock) {
	return &disk{values: make(map[string][]byte)}, &clock{time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
}

func TestParse(t *testing.T) {
	t.Parallel()
	type want struct {
		kind  blocklist.Kind
		value string
		wide  bool
	}
	for in, w := range map[string]want{
		"192.0.2.1":               {blocklist.Network, "192.0.2.1/32", false},
		"192.0.2.77/24":           {blocklist.Network, "192.0.2.0/24", false},
		" 2001:DB8::1 ":           {blocklist.Network, "2001:db8::1/128", false},
		"fe80::1%eth0":            {blocklist.Network, "fe80::1/128", false},
		"::ffff:192.0.2.1":        {blocklist.Network, "192.0.2.1/32", false},
		"::ffff:192.0.2.0/120":    {blocklist.Network, "192.0.2.0/24", false},
		"10.0.0.0/8":              {blocklist.Network, "10.0.0.0/8", false},
		"0.0.0.0/0":               {blocklist.Network, "0.0.0.0/0", true},
		"::/0":                    {blocklist.Network, "::/0", true},
		"::ffff:0:0/96":           {blocklist.Network, "0.0.0.0/0", true},
		"64.0.0.0/2":              {blocklist.Network, "64.0.0.0/2", true},
		"2000::/3":                {blocklist.Network, "2000::/3", true},
		"Spam.Example.":           {blocklist.Domain, "spam.example", false},
		"@spam.example":           {blocklist.Domain, "spam.example", false},
		"bücher.example":          {blocklist.Domain, "xn--bcher-kva.example", false},
		"example":                 {blocklist.Domain, "example", true},
		"com":                     {blocklist.Domain, "com", true},
		"co.uk":                   {blocklist.Domain, "co.uk", true},
		"A.User+x@Bücher.example": {blocklist.Address, "a.user+x@xn--bcher-kva.example", false},
		`"a b"@spam.example`:      {blocklist.Address, "a b@spam.example", false},
	} {
		kind, value, wide, err := blocklist.Parse(in)
		if d := cmp.Diff(w, want{kind, value, wide}, cmp.AllowUnexported(want{})); d != "" || err != nil {
			t.Errorf("%q: %v (-want +got)\n%s", in, err, d)
		}
	}
	for _, in := range []string{
		"", " ", "@", "a@", "*", "*.example", "spam example", "192.0.2.0/33", "192.0.2", "1.2.3.4.5", "2001:db8::/129", "http://spam.example/", "a@b@c@",
		"spam.example\r\nX: y", "a@spam.example\x00", "-", "..", "a..b", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 200) + "example",
		"\x1b[2J.example", "<script>@spam.example", "a@[192.0.2.1]", strings.Repeat("x", 5000),
	} {
		if kind, value, _, err := blocklist.Parse(in); err == nil {
			t.Errorf("%q is %s %q", in, kind, value)
		}
	}
}

// A block that would do nothing is refused, not listed.
func TestOwnAddressesAreRefused(t *testing.T) {
	d, c := world()
	l := open(t, d, c, netip.MustParsePrefix("198.51.100.25/32"), netip.MustParsePrefix("127.0.0.0/8"))
	for what, ours := range map[string]bool{
		"198.51.100.25": true, "198.51.100.24/31": false, "127.0.0.0/8": true, "127.1.0.0/16": true, "192.0.2.1": false, "spam.example": false,
	} {
		_, err := l.Add(t.Context(), what, "", time.Time{}, false)
		bad, ok := errors.AsType[*blocklist.BadError](err)
		if ok != ours || ok && bad.Field != "what" || !ok && err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestBlocked(t *testing.T) {
	t.Parallel()
	d, c := world()
	l := open(t, d, c, netip.MustParsePrefix("198.51.100.25/32"), netip.MustParsePrefix("127.0.0.0/8"))
	for _, what := range []string{"192.0.2.0/24", "203.0.113.7", "2001:db8:1::/48", "198.51.100.0/24", "spam.example", "user@bad.example", "bücher.example"} {
		if _, err := l.Add(t.Context(), what, "why "+what, time.Time{}, false); err != nil {
			t.Fatal(err)
		}
	}
	for a, want := range map[string]bool{
		"192.0.2.1": true, "::ffff:192.0.2.200": true, "192.0.3.1": false, "203.0.113.7": true, "203.0.113.8": false, "2001:db8:1:2::3": true, "2001:db8:2::1": false,
		"198.51.100.24": true, "198.51.100.25": false, "127.0.0.1": false, "fe80::1%eth0": false,
	} {
		if why, got := l.Blocked(netip.MustParseAddr(a)); got != want || got != strings.HasPrefix(why, "why ") {
			t.Errorf("%s: %v %q, want %v", a, got, why, want)
		}
	}
	if _, got := l.Blocked(netip.Addr{}); got {
		t.Error("no address is blocked")
	}
	for a, want := range map[string]bool{
		"a@spam.example": true, "a@SPAM.example.": true, "a@mail.spam.example": true, "a@notspam.example": false, "a@spam.example.org": false,
		"User@Bad.example": true, "other@bad.example": false, "a@xn--bcher-kva.example": true, "a@Bücher.example": true,
		"": false, "@": false, "spam.example": false, "a@": false, `"x@spam.example"@good.example`: false, strings.Repeat("a", 400) + "@spam.example": false,
	} {
		if _, got := l.BlockedSender(a); got != want {
			t.Errorf("<%s>: %v, want %v", a, got, want)
		}
	}
}

// What was blocked is blocked after a restart, as long as it was to be.
func TestDurableUntilItEnds(t *testing.T) {
	t.Parallel()
	d, c := world()
	l := open(t, d, c)
	forEver, err := l.Add(t.Context(), "192.0.2.0/24", "scans \x1b[2J\nand more", time.Time{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if forEver.Reason != "scans  [2J and more" {
		t.Errorf("reason %q", forEver.Reason)
	}
	if _, err := l.Add(t.Context(), "192.0.2.7", "for an hour", c.now.Add(time.Hour), false); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Add(t.Context(), "spam.example", "for an hour", c.now.Add(time.Hour), false); err != nil {
		t.Fatal(err)
	}
	l = open(t, d, c)
	if n := len(l.Entries()); n != 3 {
		t.Errorf("%d entries after a restart", n)
	}
	if why, ok := l.Blocked(netip.MustParseAddr("192.0.2.7")); !ok || why == "" {
		t.Error("not blocked")
	}
	c.now = c.now.Add(time.Hour)
	if _, ok := l.BlockedSender("a@spam.example"); ok {
		t.Error("blocked beyond the end")
	}
	if why, ok := l.Blocked(netip.MustParseAddr("192.0.2.7")); !ok || why != forEver.Reason {
		t.Errorf("%v %q: the other entry has no end", ok, why)
	}
	if d := cmp.Diff([]blocklist.Entry{forEver}, l.Entries()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if _, err := l.Remove(t.Context(), forEver.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Remove(t.Context(), forEver.ID); !errors.Is(err, blocklist.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if l = open(t, d, c); len(l.Entries()) != 0 {
		t.Errorf("left: %v", l.Entries())
	}
}

func TestRefusedEntries(t *testing.T) {
	t.Parallel()
	d, c := world()
	l := open(t, d, c)
	for _, what := range []string{"0.0.0.0/0", "::/0", "::ffff:0:0/96", "com"} {
		if _, err := l.Add(t.Context(), what, "", time.Time{}, false); !errors.Is(err, blocklist.ErrWide) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := l.Add(t.Context(), what, "", time.Time{}, true); err != nil {
			t.Errorf("%s, although it is meant: %v", what, err)
		}
	}
	if n := len(l.Entries()); n != 3 { // two of them are the same
		t.Errorf("%d entries", n)
	}
	for _, e := range []struct {
		reason string
		until  time.Time
	}{{strings.Repeat("x", 121), time.Time{}}, {"", c.now}, {"", c.now.Add(-time.Hour)}} {
		if _, err := l.Add(t.Context(), "192.0.2.1", e.reason, e.until, false); err == nil {
			t.Errorf("%+v was taken", e)
		} else if _, ok := errors.AsType[*blocklist.BadError](err); !ok {
			t.Errorf("%v is no BadError", err)
		}
	}
	d.fail = errors.New("disk full")
	if _, err := l.Add(t.Context(), "192.0.2.1", "", time.Time{}, false); !errors.Is(err, d.fail) {
		t.Errorf("not stored, and no error: %v", err)
	}
	if _, err := l.Remove(t.Context(), l.Entries()[0].ID); !errors.Is(err, d.fail) || len(l.Entries()) != 3 {
		t.Errorf("not stored: %v, %d entries", err, len(l.Entries()))
	}
}

func TestFull(t *testing.T) {
	t.Parallel()
	d, c := world()
	var entries []blocklist.Entry
	for n := range 2999 {
		entries = append(entries, blocklist.Entry{
			ID: strconv.Itoa(n), Kind: blocklist.Network, Value: fmt.Sprintf("10.%d.%d.0/24", n/250, n%250), Reason: strings.Repeat("r", 120), Since: c.now,
		})
	}
	b, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	d.values["blocklist/entries"] = b
	l := open(t, d, c)
	for what, want := range map[string]error{"10.0.0.0/24": nil, "192.0.2.0/24": nil} { // one is changed, one is the last
		if _, err := l.Add(t.Context(), what, "another reason", time.Time{}, false); !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := l.Add(t.Context(), "203.0.113.0/24", "", time.Time{}, false); !errors.Is(err, blocklist.ErrFull) {
		t.Errorf("one too many: %v", err)
	}
}

func TestDamagedList(t *testing.T) {
	t.Parallel()
	d, c := world()
	d.values["blocklist/entries"] = []byte(`[{"id":"1","kind":"network","value":"nonsense"},{"id":"2","kind":"network","value":"10.0.0.1/8"},{"id":"3","kind":"??","value":"x"},{"id":"4","kind":"network","value":"10.0.0.0/8"}]`)
	if l := open(t, d, c); len(l.Entries()) != 1 {
		t.Errorf("%+v", l.Entries())
	}
	d.values["blocklist/entries"] = []byte(`{`)
	if _, err := blocklist.Open(blocklist.Options{State: d, Now: c.read, Rand: rand.Reader}); err == nil {
		t.Error("a damaged list was opened: nobody would be blocked")
	}
}

// Lookups go on while the list changes.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	d, c := world()
	l := open(t, d, c)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				e, err := l.Add(t.Context(), fmt.Sprintf("10.%d.%d.0/24", i, j), "x", time.Time{}, false)
				if err != nil {
					t.Error(err)
				}
				l.Blocked(netip.MustParseAddr("10.1.2.3"))
				l.BlockedSender("a@b.example")
				if j%2 == 0 {
					if _, err := l.Remove(t.Context(), e.ID); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if n := len(open(t, d, c).Entries()); n != 200 {
		t.Errorf("%d entries, want 200", n)
	}
}

// Whatever is read is canonical: it is read again as the same, blocks what it
// says, and is never wide without being told so.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "192.0.2.0/24", "::ffff:0:0/96", "2001:db8::/32", "spam.example", "@spam.example", "a@spam.example", `"a b"@x.example`, "bücher.example", "0.0.0.0/0", "com"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		kind, value, wide, err := blocklist.Parse(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(value, "\r\n\x00") || len(value) > 320 {
			t.Errorf("%q is %q", s, value)
		}
		d, c := world()
		l := open(t, d, c)
		if _, err := l.Add(t.Context(), s, "", time.Time{}, false); (err == nil) == wide {
			t.Errorf("%q: wide %v, added %v", s, wide, err)
		}
		if kind == blocklist.Network {
			p := netip.MustParsePrefix(value)
			if _, ok := l.Blocked(p.Addr()); ok == wide {
				t.Errorf("%q: wide %v, blocked %v", s, wide, ok)
			}
			if k, v, w, err := blocklist.Parse(value); err != nil || k != kind || v != value || w != wide {
				t.Errorf("%q is %q, which is %s %q %v %v", s, value, k, v, w, err)
			}
			return
		}
		if kind == blocklist.Domain {
			if k, v, _, err := blocklist.Parse(value); err != nil || k != kind || v != value {
				t.Errorf("%q is %q, which is %s %q %v", s, value, k, v, err)
			}
			value = "x@" + value
		}
		if _, ok := l.BlockedSender(value); ok == wide {
			t.Errorf("%q: wide %v, <%s> blocked %v", s, wide, value, ok)
		}
	})
}

func BenchmarkBlocked(b *testing.B) {
	d, c := world()
	l := open(b, d, c)
	for n := range 1000 {
		if _, err := l.Add(b.Context(), fmt.Sprintf("10.%d.%d.0/%d", n/250, n%250, 24+n%9), "", time.Time{}, false); err != nil {
			b.Fatal(err)
		}
	}
	a := netip.MustParseAddr("192.0.2.1")
	for b.Loop() {
		l.Blocked(a)
	}
}
