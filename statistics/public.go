package statistics

import (
	"cmp"
	"slices"
	"time"
)

// Least is the smallest number that is shown, and what all numbers are multiples
// of. With sums of what is shown, and of nothing else, no number that is hidden
// can be computed: it may always be anything from 0 to Least-1.
const Least = 5

// Windows of what is shown, in months, the running one included.
const (
	chartMonths = 24
	groupMonths = 12
	tableMonths = 6
)

// rounded is a number as it is shown; 0 is not shown.
func rounded(n int) int { return n / Least * Least }

// Row is a row of a table: what is shown of one group.
type Row struct {
	Group string         // a month, a domain, a country, [Other] or [Unknown]
	Cells map[string]int // by verdict
	Sum   int            // of Cells
}

func newRow(group string, exact map[string]int) Row {
	r := Row{Group: group, Cells: make(map[string]int)}
	for verdict, n := range exact {
		if n = rounded(n); n > 0 {
			r.Cells[verdict] = n
			r.Sum += n
		}
	}
	return r
}

// Public is what is shown. Tables without rows have nothing to show.
type Public struct {
	Since     string // the first month that was counted
	Day       string // as of the beginning of this day, UTC; empty: nothing is public yet
	Months    []Row  // ascending; tests
	Providers []Row  // the largest first; senders in the last 12 months
	Countries []Row  // the same
	Table     []Listed
	Engines   []Engine
}

// Engine says since when verdicts come from a version of the inference.
type Engine struct{ Version, Since string }

// Public returns what is shown now.
func (c *Collector) Public() Public {
	c.mu.RLock()
	defer c.mu.RUnlock()
	now := c.o.Now().UTC()
	var p Public
	if len(c.index.Months) > 0 {
		p.Since = c.index.Months[0]
	}
	engines := make(map[string]bool)
	for _, name := range c.index.Months {
		m := c.months[name]
		p.Day = max(p.Day, m.Day)
		if name >= monthBefore(now, chartMonths-1) {
			if r := newRow(name, m.Public.Verdicts); r.Sum > 0 {
				p.Months = append(p.Months, r)
			}
		}
		for _, v := range m.Engines {
			if len(m.Public.Verdicts) > 0 && !engines[v] {
				engines[v] = true
				p.Engines = append(p.Engines, Engine{v, name})
			}
		}
	}
	// Those of one month were counted in no order.
	slices.SortStableFunc(p.Engines, func(a, b Engine) int { return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Version, b.Version)) })
	since := monthBefore(now, groupMonths-1)
	p.Providers = c.groups(since, func(n numbers) cells { return n.Providers }, namedProvider)
	p.Countries = c.groups(since, func(n numbers) cells { return n.Countries }, func([]cells, string) bool { return true })
	p.Table = c.table(monthBefore(now, tableMonths-1))
	return p
}

// monthBefore returns the month n months before that of t.
func monthBefore(t time.Time, n int) string {
	return time.Date(t.Year(), t.Month()-time.Month(n), 1, 0, 0, 0, 0, time.UTC).Format("2006-01")
}

// namedProvider: the domain of a provider may be somebody's own, so that only
// one that several senders share is named.
func namedProvider(months []cells, group string) bool {
	return slices.ContainsFunc(months, func(c cells) bool { return sum(c[group]) >= Least })
}

func sum(row map[string]int) (n int) {
	for _, v := range row {
		n += v
	}
	return n
}

// groups adds up the months since one. Groups that may not be named are Other.
func (c *Collector) groups(since string, of func(numbers) cells, named func([]cells, string) bool) []Row {
	var months []cells
	total := make(cells)
	for name, m := range c.months {
		if name >= since {
			months = append(months, of(m.Public))
		}
	}
	for _, one := range months {
		for group, row := range one {
			if group != Unknown && !named(months, group) {
				group = Other
			}
			if total[group] == nil {
				total[group] = make(map[string]int)
			}
			for verdict, n := range row {
				total[group][verdict] += n
			}
		}
	}
	var out []Row
	for group, row := range total {
		if r := newRow(group, row); r.Sum > 0 {
			out = append(out, r)
		}
	}
	rank := func(r Row) int { // the last two are no groups
		return slices.Index([]string{Other, Unknown}, r.Group)
	}
	slices.SortFunc(out, func(a, b Row) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Sum, a.Sum), cmp.Compare(a.Group, b.Group))
	})
	return out
}
