package policyinfer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/tlsink/tlsink/evidence"
)

// The simulation: a sender of a known policy mails to et and ut; what the sink
// would record is given to inference after every attempt, and within some.
// Whatever the sender does, its true policy stays among the candidates, and no
// verdict gives it another name or another part.
func TestSimulatedSendersAreNeverMisjudged(t *testing.T) {
	t.Parallel()
	e := New()
	runs, table := simRuns(t), newSimTable()
	var failures atomic.Int32
	cells := runtime.GOMAXPROCS(0)
	t.Run("cells", func(t *testing.T) {
		for cell := range cells {
			t.Run(strconv.Itoa(cell), func(t *testing.T) {
				t.Parallel()
				for seed := cell; seed < runs && failures.Load() < simMaxFailures; seed += cells {
					if !simJudge(t, e, uint64(seed), table) {
						failures.Add(1)
					}
				}
			})
		}
	})
	table.log(t)
	for _, id := range []string{FindingFallback, FindingEither, FindingLazy, FindingUnlistedMX, FindingMixed} {
		if table.found[id] == 0 && runs >= 1500 && failures.Load() == 0 {
			t.Errorf("no sender showed %s: %v", id, table.found)
		}
	}
}

// simMaxFailures ends a simulation that fails.
const simMaxFailures = 5

// simJudge runs one sender. A verdict that is wrong is shrunk to a minimal
// history and kept.
func simJudge(t *testing.T, e *Engine, seed uint64, table *simTable) bool {
	t.Helper()
	infer := func(h evidence.History) Verdict { return e.Infer(h, Options{}) }
	r := newSimRun(seed, e.policies)
	ok := true
	var last evidence.History
	var verdict Verdict
	r.play(func(h evidence.History, x simExpect) bool {
		v := infer(h)
		last, verdict = h, v
		wrong := x.wrong(v)
		if len(wrong) == 0 {
			return true
		}
		ok = false
		x.About = fmt.Sprintf("seed %d, %s, %v", seed, r.kind, r.s.truth.now)
		small := simShrink(h, x, infer)
		t.Errorf("%s: %v\nverdict %s %v, findings %v\nkept in %s", x.About, wrong, v.Policy, v.Candidates, v.Findings, simKeep(t, simKept(fmt.Sprintf("seed-%d", seed)), small, x))
		return false
	})
	if simHasMail(last) {
		table.add(r, last, verdict)
	}
	return ok
}

func simRuns(t *testing.T) int {
	t.Helper()
	if v := os.Getenv("TLSINK_SIM"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("TLSINK_SIM=%q: want a number of runs", v)
		}
		return n
	}
	if raceEnabled {
		return 300
	}
	return 1500
}

// Absence of queries and fetches is never evidence: stripped of them, a
// history gives the same verdict or an undetermined one.
func TestQueriesAndFetchesOnlyAdd(t *testing.T) {
	e := New()
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		newSimRun(seed, e.policies).play(func(h evidence.History, _ simExpect) bool {
			with := h
			with.Queries = []evidence.Query{
				{Time: h.Until, Name: "_mta-sts.et." + simZone + ".", Type: "TXT"},
				{Time: h.Until, Name: "_25._tcp.mx04.et." + simZone + ".", Type: "TLSA", DO: true},
			}
			if rng.IntN(2) == 0 {
				with.Fetches = []evidence.PolicyFetch{{Time: h.Until, Host: "mta-sts.et." + simZone, Status: 200}}
			}
			a, b := e.Infer(with, Options{}), e.Infer(h, Options{})
			if b.Policy != a.Policy && b.Policy != Undetermined {
				t.Errorf("seed %d: %s with queries and fetches, %s without", seed, a.Policy, b.Policy)
			}
			return !t.Failed()
		})
	}
}
