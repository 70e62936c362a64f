package mxrotator_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/mxrotator"
	"github.com/tlsink/tlsink/scenario"
)

// needs are the kinds of demand that properties are checked under.
func needs() map[string]func(r *rand.Rand) mxrotator.Need {
	want := func(h ...scenario.Host) func(*rand.Rand) mxrotator.Need {
		return func(*rand.Rand) mxrotator.Need { return mxrotator.Need{Wanted: h} }
	}
	return map[string]func(r *rand.Rand) mxrotator.Need{
		"nothing":        want(),
		"mx04 and mx05":  want(scenario.MX04, scenario.MX05),
		"mx03":           want(scenario.MX03),
		"mx03 and mx06":  want(scenario.MX03, scenario.MX06),
		"everything":     want(scenario.MXHosts()...),
		"unknown host":   want("mx99", scenario.UT),
		"secure, always": func(*rand.Rand) mxrotator.Need { return mxrotator.Need{SecureStart: true} },
		"random": func(r *rand.Rand) mxrotator.Need {
			n := mxrotator.Need{SecureStart: r.IntN(3) == 0}
			for _, h := range scenario.MXHosts() {
				if r.IntN(2) == 0 {
					n.Wanted = append(n.Wanted, h)
				}
			}
			return n
		},
	}
}

// leaders returns who leads in each of n turns.
func leaders(seed uint64, n int, need func(*rand.Rand) mxrotator.Need) []scenario.Host {
	r := rand.New(rand.NewPCG(seed, 7))
	var p mxrotator.Position
	var out []scenario.Host
	for range n {
		var o mxrotator.Order
		o, p = mxrotator.Next(seed, p, need(r))
		out = append(out, o[0])
	}
	return out
}

func TestEveryHostLeadsInEveryBlock(t *testing.T) {
	for name, need := range needs() {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(50) {
				r := rand.New(rand.NewPCG(seed, 7))
				var p mxrotator.Position
				led := map[scenario.Host]int{}
				for range 400 {
					n := need(r)
					o, next := mxrotator.Next(seed, p, n)
					checkPermutation(t, o)
					led[o[0]]++
					if n.SecureStart && !p.Secure && o[0] != scenario.MX04 && o[0] != scenario.MX05 {
						t.Fatalf("seed %d, turn %d: a secure phase starts with %s", seed, p.Turn, o[0])
					}
					if next.Block != p.Block {
						checkBlock(t, led)
						led = map[scenario.Host]int{}
					}
					p = next
				}
			}
		})
	}
}

func checkPermutation(t *testing.T, o mxrotator.Order) {
	t.Helper()
	if !slices.Equal(slices.Sorted(slices.Values(o[:])), scenario.MXHosts()) {
		t.Fatalf("%v is no permutation of the MX hosts", o)
	}
}

// checkBlock: every host once, and at most one more of mx04 or mx05.
func checkBlock(t *testing.T, led map[scenario.Host]int) {
	t.Helper()
	turns := 0
	for _, h := range scenario.MXHosts() {
		turns += led[h]
		limit := 1
		if h == scenario.MX04 || h == scenario.MX05 {
			limit = 2
		}
		if led[h] < 1 || led[h] > limit {
			t.Fatalf("block with %v: %s leads %d times", led, h, led[h])
		}
	}
	if turns > 5 {
		t.Fatalf("block with %v has %d turns", led, turns)
	}
}

func TestWithoutSecureStartABlockHasFourTurns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for seed := range uint64(100) {
		all := leaders(seed, 40, func(*rand.Rand) mxrotator.Need {
			return mxrotator.Need{Wanted: scenario.MXHosts()[r.IntN(4):]}
		})
		for block := range slices.Chunk(all, 4) {
			if !slices.Equal(slices.Sorted(slices.Values(block)), scenario.MXHosts()) {
				t.Fatalf("seed %d: block %v", seed, block)
			}
		}
	}
}

func TestAllOrdersOccur(t *testing.T) {
	seen := map[mxrotator.Order]int{}
	var p mxrotator.Position
	const turns = 24 * 100
	for range turns {
		var o mxrotator.Order
		o, p = mxrotator.Next(3, p, mxrotator.Need{})
		seen[o]++
	}
	if len(seen) != 24 {
		t.Errorf("%d of 24 orders in %d turns", len(seen), turns)
	}
	for o, n := range seen {
		if n < 50 || n > 200 {
			t.Errorf("order %v came %d times in %d turns: not even", o, n, turns)
		}
	}
}

// meets reports whether a sender that tries the most preferred host only, once
// in every so many turns, meets both mx04 and mx05.
func meets(leads []scenario.Host, every, offset int) bool {
	met := map[scenario.Host]bool{}
	for i := offset; i < len(leads); i += every {
		met[leads[i]] = true
	}
	return met[scenario.MX04] && met[scenario.MX05]
}

// Intervals of 5 to 60 minutes, in turns of five minutes.
func intervals() map[string]int {
	return map[string]int{"5 min": 1, "10 min": 2, "15 min": 3, "20 min": 4, "25 min": 5, "30 min": 6, "40 min": 8, "60 min": 12}
}

// The reason for permuting: a cyclic rotation locks these senders out for ever.
func TestCyclicRotationFails(t *testing.T) {
	cyclic := make([]scenario.Host, 10_000)
	for i := range cyclic {
		cyclic[i] = scenario.MXHosts()[i%4]
	}
	for _, name := range []string{"10 min", "20 min", "30 min", "60 min"} {
		for offset := range 4 {
			if meets(cyclic, intervals()[name], offset) {
				t.Errorf("retry every %s, offset %d: the cyclic rotation works after all", name, offset)
			}
		}
	}
}

// No interval, offset, seed or demand locks a sender out, and with ordinary
// demand few wait for more than a dozen attempts.
func TestNoSenderIsLockedOut(t *testing.T) {
	for name, need := range needs() {
		for interval, every := range intervals() {
			late, all := 0, 0
			for seed := range uint64(40) {
				leads := leaders(seed, 120*every, need)
				for offset := range every {
					if !meets(leads, every, offset) {
						t.Errorf("need %s, retry every %s, offset %d, seed %d: not both of mx04 and mx05 in 120 attempts", name, interval, offset, seed)
					}
					all++
					if !meets(leads[:12*every], every, offset) {
						late++
					}
				}
			}
			if late*2 > all {
				t.Errorf("need %s, retry every %s: %d of %d senders have not met mx04 and mx05 after 12 attempts", name, interval, late, all)
			}
		}
	}
}

// What is wanted comes early more often than late, and second if not first.
func TestWantedComesEarlier(t *testing.T) {
	positions := [4]int{}
	for seed := range uint64(500) {
		leads := leaders(seed, 4, func(*rand.Rand) mxrotator.Need {
			return mxrotator.Need{Wanted: []scenario.Host{scenario.MX03}}
		})
		positions[slices.Index(leads, scenario.MX03)]++
	}
	if positions[0] < 250 {
		t.Errorf("a wanted host led at positions %v of a block", positions)
	}
	var p mxrotator.Position
	for range 100 {
		var o mxrotator.Order
		o, p = mxrotator.Next(1, p, mxrotator.Need{Wanted: []scenario.Host{scenario.MX06}})
		if o[0] != scenario.MX06 && o[1] != scenario.MX06 {
			t.Fatalf("order %v: the wanted host is neither first nor second", o)
		}
	}
}

func TestNextIsPure(t *testing.T) {
	led := []scenario.Host{scenario.MX05, scenario.MX03}
	p := mxrotator.Position{Turn: 6, Block: 1, Led: led[:1]}
	need := mxrotator.Need{Wanted: []scenario.Host{scenario.MX06}}
	o1, p1 := mxrotator.Next(9, p, need)
	o2, p2 := mxrotator.Next(9, p, need)
	if o1 != o2 || !cmp.Equal(p1, p2) {
		t.Errorf("two results: %v %+v, %v %+v", o1, p1, o2, p2)
	}
	if led[1] != scenario.MX03 {
		t.Error("Next wrote into the position that it was given")
	}
}

func TestNextSurvivesAFullBlock(t *testing.T) {
	o, p := mxrotator.Next(1, mxrotator.Position{Led: scenario.MXHosts()}, mxrotator.Need{})
	checkPermutation(t, o)
	if p.Block != 1 || len(p.Led) != 1 {
		t.Errorf("position %+v", p)
	}
}
