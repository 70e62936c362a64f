package mailer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits bound the reports of one day (RFC 3834 §2). A zero field means its
// default.
type Limits struct {
	Address int // to one address; default 30
	Domain  int // to one domain; default 200
	Network int // caused by clients of one network; default 200
	Total   int // default 5000
}

func (l *Limits) setDefaults() {
	setDefault(&l.Address, 30)
	setDefault(&l.Domain, 200)
	setDefault(&l.Network, 200)
	setDefault(&l.Total, 5000)
}

const day = 24 * time.Hour

// limiter counts the reports of the last day, by when they were queued. It
// holds at most Limits.Total of them.
type limiter struct {
	mu     sync.Mutex
	counts []counted // in order of restore and add
}

type counted struct {
	at                           time.Time
	id, address, domain, network string
}

// restore counts what was tried before a restart.
func (l *limiter) restore(now time.Time, items []Item) {
	for _, it := range items {
		if it.Attempts > 0 && now.Sub(it.Created) < day {
			l.add(it)
		}
	}
}

// add counts a report, once: while the queue can't be written, its first attempt
// begins again and again.
func (l *limiter) add(it Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.ContainsFunc(l.counts, func(c counted) bool { return c.id == it.ID }) {
		return
	}
	address := strings.ToLower(it.To)
	l.counts = append(l.counts, counted{it.Created, it.ID, address, domainOf(address), it.Network})
}

// over returns the limit that it would exceed, in words, or nothing.
func (l *limiter) over(now time.Time, it Item, limits Limits) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts = slices.DeleteFunc(l.counts, func(c counted) bool { return now.Sub(c.at) >= day })
	address := strings.ToLower(it.To)
	domain := domainOf(address)
	var sameAddress, sameDomain, sameNetwork int
	for _, c := range l.counts {
		if c.id == it.ID {
			return "" // it was counted before, and not over
		}
		if c.address == address {
			sameAddress++
		}
		if c.domain == domain {
			sameDomain++
		}
		if it.Network != "" && c.network == it.Network {
			sameNetwork++
		}
	}
	limit := func(n int, what string) string {
		return fmt.Sprintf("limit of %d reports a day %s reached", n, what)
	}
	switch {
	case sameAddress >= limits.Address:
		return limit(limits.Address, "to this address")
	case sameDomain >= limits.Domain:
		return limit(limits.Domain, "to this domain")
	case sameNetwork >= limits.Network:
		return limit(limits.Network, "for mail from this network")
	case len(l.counts) >= limits.Total:
		return limit(limits.Total, "in all")
	}
	return ""
}

// Use is how much of a limit is used.
type Use struct {
	What  string // address, domain, network or total
	Who   string // which; empty: total
	Count int    // reports of the last day
	Limit int
	Until time.Time // the oldest of them leaves the count
}

// Uses returns how much of the limits is used, by each address, domain and
// network that got a report within a day: those nearest to their limit first.
func (m *Mailer) Uses() []Use {
	now, limits := m.opt.Now(), m.settings.Load().Limits
	type key struct{ what, who string }
	uses := make(map[key]*Use)
	count := func(what, who string, limit int, at time.Time) {
		u := uses[key{what, who}]
		if u == nil {
			u = &Use{What: what, Who: who, Limit: limit, Until: at.Add(day)}
			uses[key{what, who}] = u
		}
		u.Count++
		if end := at.Add(day); end.Before(u.Until) {
			u.Until = end
		}
	}
	m.limits.mu.Lock()
	for _, c := range m.limits.counts {
		if now.Sub(c.at) >= day {
			continue
		}
		count("address", c.address, limits.Address, c.at)
		count("domain", c.domain, limits.Domain, c.at)
		if c.network != "" {
			count("network", c.network, limits.Network, c.at)
		}
		count("total", "", limits.Total, c.at)
	}
	m.limits.mu.Unlock()
	out := make([]Use, 0, len(uses))
	for _, u := range uses {
		out = append(out, *u)
	}
	slices.SortFunc(out, func(a, b Use) int {
		return cmp.Or(cmp.Compare(b.Count*a.Limit, a.Count*b.Limit), cmp.Compare(a.What, b.What), cmp.Compare(a.Who, b.Who))
	})
	return out
}

func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }
