package pace

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/policyinfer"
)

// took is what a verdict took. attempts counts those in which STARTTLS was
// offered.
type took struct {
	attempts int
	time     time.Duration
}

// What a verdict takes that did not come within eight hours.
const (
	neverAttempts = 1 << 20
	neverTime     = time.Duration(1 << 60)
)

// simulate runs one test to its verdict. part stops at "DANE is enforced", which
// for dane-only comes long before the rest.
func simulate(e *policyinfer.Engine, seed uint64, k kind, h habit, sch schedule, shared, part bool) (took, error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := newSink(rng, e, shared)
	from := newSender(rng, k, h, s)
	scan := time.Duration(rng.Int64N(int64(30 * time.Minute)))
	if sch.name == "Postfix" {
		scan %= 5 * time.Minute
	}
	start, age, attempts := s.now, time.Duration(0), 0
	for age < giveUp {
		s.wait(start.Add(age))
		from.attempt()
		if s.h.Connections[len(s.h.Connections)-1].StartTLSOffered {
			attempts++
		}
		v := s.judge()
		switch {
		case v.Conclusive && v.Policy != k.name:
			return took{}, fmt.Errorf("seed %d: %s is called %s", seed, k.name, v.Policy)
		case !slices.Contains(v.Candidates, k.name):
			return took{}, fmt.Errorf("seed %d: %s is no candidate: %v", seed, k.name, v.Candidates)
		case v.Conclusive, part && !slices.ContainsFunc(v.Candidates, func(n policyinfer.Name) bool { return n != policyinfer.DANE && n != policyinfer.DANEOnly }):
			return took{attempts, s.now.Sub(start)}, nil
		}
		age = max(sch.next(rng, scan, age), s.now.Sub(start)+time.Second)
	}
	return took{neverAttempts, neverTime}, nil
}

// cell is one combination and what its runs took, sorted.
type cell struct {
	kind
	habit
	schedule
	shared, part bool
	took         []took
	err          error
}

func (c *cell) run(e *policyinfer.Engine, runs int) {
	for seed := range uint64(runs) {
		one, err := simulate(e, seed, c.kind, c.habit, c.schedule, c.shared, c.part)
		if err != nil {
			c.err = fmt.Errorf("%s, SNI %s, %s MX, %s: %w", c.kind.name, c.sni, c.habit.name, c.schedule.name, err)
			return
		}
		c.took = append(c.took, one)
	}
}

// cells lists every combination; dane-only once more for its TLS part.
func cells() (out []*cell) {
	for _, shared := range []bool{false, true} {
		for _, k := range kinds() {
			for _, h := range habits() {
				for _, s := range schedules() {
					out = append(out, &cell{kind: k, habit: h, schedule: s, shared: shared})
					if k.daneOnly {
						out = append(out, &cell{kind: k, habit: h, schedule: s, shared: shared, part: true})
					}
				}
			}
		}
	}
	return out
}

func runAll(all []*cell, runs int) {
	e := policyinfer.New()
	work := make(chan *cell)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for c := range work {
				c.run(e, runs)
			}
		})
	}
	for _, c := range all {
		work <- c
	}
	close(work)
	wg.Wait()
}

// quantile of sorted values.
func quantile[T any](of []T, q float64) T { return of[min(int(q*float64(len(of))), len(of)-1)] }

// row is the cells of one policy, SNI habit and MX habit.
type row struct {
	label    string
	cells    []*cell
	attempts []int // of all schedules, sorted
}

func rows(all []*cell) (out []*row) {
	index := make(map[string]*row)
	for _, c := range all {
		name := string(c.kind.name)
		if c.part {
			name += " (TLS)"
		}
		label := fmt.Sprintf("%-17s%-15s%-15s", name, c.sni, c.habit.name)
		key := fmt.Sprint(label, c.shared)
		if index[key] == nil {
			index[key] = &row{label: label}
			out = append(out, index[key])
		}
		r := index[key]
		r.cells = append(r.cells, c)
		for _, t := range c.took {
			r.attempts = append(r.attempts, t.attempts)
		}
	}
	for _, r := range out {
		slices.Sort(r.attempts)
	}
	return out
}

func (r *row) String() string {
	show := func(n int) string {
		if n >= neverAttempts {
			return "-"
		}
		return strconv.Itoa(n)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%6s%6s ", r.label, show(quantile(r.attempts, 0.5)), show(quantile(r.attempts, 0.99)))
	for _, c := range r.cells {
		var minutes []time.Duration
		for _, t := range c.took {
			minutes = append(minutes, t.time)
		}
		slices.Sort(minutes)
		if m := quantile(minutes, 0.5); m >= neverTime {
			b.WriteString("       -")
		} else {
			fmt.Fprintf(&b, "%8.0f", m.Minutes())
		}
	}
	return b.String()
}

// BenchmarkPace prints how many attempts with STARTTLS, and how many minutes, a
// verdict takes.
func BenchmarkPace(b *testing.B) {
	runs := 30
	if v := os.Getenv("TLSINK_PACE"); v != "" {
		var err error
		if runs, err = strconv.Atoi(v); err != nil || runs < 1 {
			b.Fatalf("TLSINK_PACE=%q: want a number of runs", v)
		}
	}
	for b.Loop() {
		all := cells()
		runAll(all, runs)
		var out strings.Builder
		fmt.Fprintf(&out, "%d runs each; attempts with STARTTLS over all schedules, median minutes by schedule\n", runs)
		var shared *bool
		for _, r := range rows(all) {
			if one := r.cells[0].shared; shared == nil || *shared != one {
				shared = &one
				where := "A slot of its own"
				if one {
					where = "Slot 0: connections without MAIL are attributed by address"
				}
				fmt.Fprintf(&out, "\n%s\n%-17s%-15s%-15s%6s%6s ", where, "policy", "SNI", "MX", "median", "99 %")
				for _, s := range schedules() {
					fmt.Fprintf(&out, "%8s", s.name)
				}
				out.WriteByte('\n')
			}
			fmt.Fprintln(&out, r)
			for _, c := range r.cells {
				if c.err != nil {
					b.Error(c.err)
				}
			}
		}
		fmt.Fprintln(os.Stdout, out.String()) // a benchmark's log is cut
	}
}
