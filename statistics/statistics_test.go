package statistics_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/statistics"
)

// memory is a State, and a Source of tests that are made up.
type memory struct {
	values map[string][]byte
	broken string // key whose writes fail

	tests   map[string]statistics.Test
	opened  map[string]time.Time
	mark    time.Time
	deleted map[string]bool
	asked   int
}

func newMemory() *memory {
	return &memory{values: make(map[string][]byte), tests: make(map[string]statistics.Test), opened: make(map[string]time.Time), deleted: make(map[string]bool)}
}

func (m *memory) Value(key string) ([]byte, bool, error) {
	v, ok := m.values[key]
	return slices.Clone(v), ok, nil
}

func (m *memory) SetValue(_ context.Context, key string, value []byte) error {
	if m.broken != "" && strings.HasPrefix(key, m.broken) {
		return errors.New("no space left")
	}
	if value == nil {
		delete(m.values, key)
		return nil
	}
	m.values[key] = slices.Clone(value)
	return nil
}

func (m *memory) Ended(_ context.Context, since time.Time) ([]statistics.Ended, time.Time, error) {
	var out []statistics.Ended
	for id, at := range m.opened {
		if !at.Before(since) && !m.deleted[id] {
			out = append(out, statistics.Ended{ID: id, Opened: at})
		}
	}
	return out, m.mark, nil
}

func (m *memory) Describe(_ context.Context, id string) (statistics.Test, bool, error) {
	m.asked++
	t, ok := m.tests[id]
	return t, ok && !m.deleted[id], nil
}

func (m *memory) add(n int, at time.Time, t statistics.Test) {
	for range n {
		id := fmt.Sprintf("t%05d", len(m.tests))
		m.tests[id], m.opened[id] = t, at
	}
}

func start() time.Time { return time.Date(2026, 11, 10, 12, 0, 0, 0, time.UTC) }

// clock is the time of a test.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func open(t *testing.T, m *memory, c *clock, providers ...statistics.Provider) *statistics.Collector {
	t.Helper()
	s, err := statistics.New(t.Context(), statistics.Options{
		Zone: "sink.example", State: m, Source: m, Providers: providers, Rand: strings.NewReader(strings.Repeat("k", 32)), Now: c.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sweep(t *testing.T, s *statistics.Collector) {
	t.Helper()
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// published returns what is shown on the next day.
func published(t *testing.T, s *statistics.Collector, c *clock) statistics.Public {
	t.Helper()
	c.now = c.now.AddDate(0, 0, 1)
	sweep(t, s)
	return s.Public()
}

func dane(provider, country string) statistics.Test {
	return statistics.Test{Verdict: "dane", Conclusive: true, Engine: "3", First: true, Provider: provider, Country: country}
}

func TestCounts(t *testing.T) {
	m, c := newMemory(), &clock{start()}
	m.add(11, start(), dane("mail.example", "DE"))
	m.add(5, start(), statistics.Test{Verdict: "may", Engine: "4"})
	m.add(4, start(), statistics.Test{Verdict: "none"})
	m.add(1, start(), statistics.Test{Verdict: "<b>"})
	s := open(t, m, c)
	sweep(t, s)
	if p := s.Public(); len(p.Months) != 0 || p.Since != "2026-11" {
		t.Errorf("public on the same day: %+v", p)
	}
	got := published(t, s, c)
	want := statistics.Public{
		Since: "2026-11", Day: "2026-11-11",
		Months:    []statistics.Row{{Group: "2026-11", Cells: map[string]int{"dane": 10, "may": 5}, Sum: 15}},
		Providers: []statistics.Row{{Group: "mail.example", Cells: map[string]int{"dane": 10}, Sum: 10}},
		Countries: []statistics.Row{{Group: "DE", Cells: map[string]int{"dane": 10}, Sum: 10}},
		Engines:   []statistics.Engine{{Version: "3", Since: "2026-11"}, {Version: "4", Since: "2026-11"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("public (-want +got):\n%s", d)
	}
}

// However often the process dies, and wherever the disk fails, each test counts
// once.
func TestCountsOnce(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 6))
		m, c := newMemory(), &clock{start()}
		s := open(t, m, c)
		want := make(map[string]int)
		for range 40 {
			if rng.IntN(2) == 0 {
				n, at := 5*rng.IntN(3), c.now.Add(-time.Duration(rng.IntN(20*24))*time.Hour)
				if at.Before(m.mark) {
					at = m.mark
				}
				m.add(n, at, dane("mail.example", "DE"))
				if n > 0 {
					want[at.Format("2006-01")] += n
				}
			}
			m.broken = []string{"", "", "statistics/index", "statistics/20", "statistics/2026-10"}[rng.IntN(5)]
			_ = s.Sweep(t.Context())
			if rng.IntN(3) == 0 {
				s = open(t, m, c)
			}
			if m.broken == "" && rng.IntN(4) == 0 {
				// Everything so far is counted: the mark may move.
				sweep(t, s)
				if m.mark = c.now; m.mark.Before(start()) {
					m.mark = start()
				}
			}
			c.now = c.now.Add(7 * time.Hour)
		}
		m.broken = ""
		sweep(t, s)
		got := make(map[string]int)
		for _, r := range published(t, open(t, m, c), c).Months {
			got[r.Group] = r.Sum
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, d)
		}
	}
}

// Nothing is left of a test once it will not be named again, and deleting it
// does not change the numbers.
func TestForgets(t *testing.T) {
	m, c := newMemory(), &clock{start()}
	m.add(5, start(), dane("mail.example", "DE"))
	s := open(t, m, c)
	sweep(t, s)
	if v := string(m.values["statistics/2026-11"]); !strings.Contains(v, `"seen"`) || strings.Contains(v, "t00000") {
		t.Fatalf("remembers %s", v)
	}
	m.mark, c.now = start().Add(48*time.Hour), c.now.Add(72*time.Hour)
	for id := range m.tests {
		m.deleted[id] = true
	}
	sweep(t, s)
	sweep(t, s)
	if v := string(m.values["statistics/2026-11"]); strings.Contains(v, `"seen"`) {
		t.Errorf("still remembers %s", v)
	}
	if p := published(t, open(t, m, c), c); len(p.Months) != 1 || p.Months[0].Sum != 5 {
		t.Errorf("after the tests were deleted: %+v", p.Months)
	}
}

// More tests than a value has room for are counted all the same, each once.
func TestManyTests(t *testing.T) {
	m, c := newMemory(), &clock{start()}
	for i := range 15 {
		m.add(1000, start().Add(time.Duration(i)*2*time.Hour), dane("mail.example", "DE"))
	}
	m.mark = start().Add(40 * time.Hour)
	s := open(t, m, c)
	for range 45 {
		sweep(t, s)
		if n := len(m.values["statistics/2026-11"]); n >= 1<<20 {
			t.Fatalf("a value of %d octets", n)
		}
	}
	if p := published(t, s, c); len(p.Months) != 1 || p.Months[0].Sum != 15_000 {
		t.Errorf("months: %+v", p.Months)
	}
}

// A sweep counts a batch, the next one the rest; what was counted is not asked
// for again.
func TestBatches(t *testing.T) {
	m, c := newMemory(), &clock{start()}
	m.add(1200, start(), dane("mail.example", "DE"))
	m.mark = start().Add(time.Hour)
	s := open(t, m, c)
	for range 4 {
		sweep(t, s)
	}
	if m.asked != 1200 {
		t.Errorf("described %d tests, want 1200", m.asked)
	}
	if p := published(t, s, c); len(p.Months) != 1 || p.Months[0].Sum != 1200 {
		t.Errorf("months: %+v", p.Months)
	}
}

// A domain that only few share may be somebody's own.
func TestProvidersAreNamedOnlyIfShared(t *testing.T) {
	m, c := newMemory(), &clock{start().AddDate(0, -3, 0)}
	for month := range 4 { // one person, once a month and more
		m.add(4, start().AddDate(0, month-3, 0), dane("person.example", "AT"))
	}
	m.add(5, start(), dane("mail.example", "DE"))
	c.now = start()
	s := open(t, m, c)
	sweep(t, s)
	got := published(t, s, c).Providers
	want := []statistics.Row{
		{Group: "mail.example", Cells: map[string]int{"dane": 5}, Sum: 5},
		{Group: statistics.Other, Cells: map[string]int{"dane": 15}, Sum: 15},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("providers (-want +got):\n%s", d)
	}
}

// Whatever is shown would be the same if every hidden number were 0: nobody can
// compute that one of them is not. And a number that is shown does not tell more
// than its multiple of five.
func TestHiddenNumbersCannotBeComputed(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	providers := []string{"a.example", "b.example", "c.example", "d.example"}
	for round := range 50 {
		exact := make(map[[2]string]int)
		for _, p := range providers {
			for _, v := range []string{"dane", "may", "none"} {
				exact[[2]string{p, v}] = rng.IntN(14)
			}
		}
		show := func(numbers map[[2]string]int) statistics.Public {
			m, c := newMemory(), &clock{start()}
			for k, n := range numbers {
				m.add(n, start(), statistics.Test{Verdict: k[1], Conclusive: true, First: true, Provider: k[0], Country: "DE"})
			}
			s := open(t, m, c)
			sweep(t, s)
			return published(t, s, c)
		}
		p := show(exact)
		for _, table := range [][]statistics.Row{p.Months, p.Providers, p.Countries} {
			for _, r := range table {
				sum := 0
				for v, n := range r.Cells {
					if n < statistics.Least || n%statistics.Least != 0 {
						t.Fatalf("round %d: %s %s shows %d", round, r.Group, v, n)
					}
					sum += n
				}
				if sum != r.Sum {
					t.Fatalf("round %d: the sum of %s is %d, that of its cells %d", round, r.Group, r.Sum, sum)
				}
			}
		}
		hidden := maps.Clone(exact)
		for k, n := range hidden {
			hidden[k] = n / statistics.Least * statistics.Least
		}
		if d := cmp.Diff(named(p.Providers), named(show(hidden).Providers)); d != "" {
			t.Fatalf("round %d: what is hidden shows (-as it is, +without what is hidden):\n%s", round, d)
		}
	}
}

// named leaves out the row of all others, which adds up what is not named.
func named(rows []statistics.Row) map[string]map[string]int {
	out := make(map[string]map[string]int)
	for _, r := range rows {
		if r.Group != statistics.Other {
			out[r.Group] = r.Cells
		}
	}
	return out
}

// Strangers choose the domain of their MX hosts.
func TestBounded(t *testing.T) {
	m, c := newMemory(), &clock{start()}
	for i := range 5000 {
		m.add(1, start(), dane(fmt.Sprintf("p%d.example", i), fmt.Sprintf("X%d", i)))
	}
	s := open(t, m, c)
	for range 11 {
		sweep(t, s)
	}
	m.mark = start().Add(48 * time.Hour)
	for range 3 {
		c.now = c.now.AddDate(0, 0, 1)
		sweep(t, s)
	}
	if n := len(m.values["statistics/2026-11"]); n > 64<<10 {
		t.Errorf("one month takes %d octets", n)
	}
	p := s.Public()
	if len(p.Providers) != 1 || p.Providers[0].Group != statistics.Other || p.Providers[0].Sum != 5000 {
		t.Errorf("providers: %+v", p.Providers)
	}
	if p.Months[0].Sum != 5000 {
		t.Errorf("months: %+v", p.Months)
	}
}
