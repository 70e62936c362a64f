package mxrotator_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tlsink/tlsink/mxrotator"
	"github.com/tlsink/tlsink/scenario"
)

const (
	mx03 = scenario.MX03
	mx04 = scenario.MX04
	mx05 = scenario.MX05
	mx06 = scenario.MX06
)

func choices(lists ...[]scenario.Host) mxrotator.Need { return mxrotator.Need{Choices: lists} }

func checkPermutation(t *testing.T, o mxrotator.Order) {
	t.Helper()
	if !slices.Equal(slices.Sorted(slices.Values(o[:])), scenario.MXHosts()) {
		t.Fatalf("%v is no permutation of the MX hosts", o)
	}
}

func TestEveryOrderIsAPermutation(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	any := append(scenario.MXHosts(), scenario.UT, "mx99", "")
	for turn := range uint64(5000) {
		var n mxrotator.Need
		for range r.IntN(4) {
			list := make([]scenario.Host, r.IntN(6))
			for i := range list {
				list[i] = any[r.IntN(len(any))]
			}
			n.Choices = append(n.Choices, list)
		}
		checkPermutation(t, mxrotator.Next(r.Uint64(), turn, n))
	}
}

func TestWithoutNeedEveryHostLeadsOnceInABlock(t *testing.T) {
	for seed := range uint64(100) {
		for block := range slices.Chunk(leads(seed, 40), 4) {
			if !slices.Equal(slices.Sorted(slices.Values(block)), scenario.MXHosts()) {
				t.Fatalf("seed %d: block %v", seed, block)
			}
		}
	}
}

// leads returns who leads in each of n turns without need.
func leads(seed uint64, n int) (out []scenario.Host) {
	for turn := range n {
		out = append(out, mxrotator.Next(seed, uint64(turn), mxrotator.Need{})[0])
	}
	return out
}

func TestAllOrdersOccur(t *testing.T) {
	seen := map[mxrotator.Order]int{}
	const turns = 24 * 100
	for turn := range uint64(turns) {
		seen[mxrotator.Next(3, turn, mxrotator.Need{})]++
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

// A sender that comes every so many turns and tries only the first host meets
// each host within a number of attempts that does not depend on luck alone.
func TestWithoutNeedNoSenderIsLockedOut(t *testing.T) {
	for _, every := range []int{1, 2, 3, 4, 5, 6, 8, 12} {
		for seed := range uint64(40) {
			all := leads(seed, 120*every)
			for offset := range every {
				met := map[scenario.Host]bool{}
				for i := offset; i < len(all); i += every {
					met[all[i]] = true
				}
				if len(met) != 4 {
					t.Errorf("every %d turns, offset %d, seed %d: met only %v in 120 attempts", every, offset, seed, met)
				}
			}
		}
	}
	// The reason for permuting: a cyclic rotation never brings both mx04 and
	// mx05 to a sender that comes every second turn, as with 10 minutes.
	cyclic := scenario.MXHosts()
	for offset := range 2 {
		if cyclic[offset] == mx04 && cyclic[offset+2] == mx05 {
			t.Error("the cyclic rotation works after all")
		}
	}
}

// A test that is alone finds what it wants in every turn, in an order that does
// not change for as long as it wants the same.
func TestATestThatIsAloneGetsWhatItWants(t *testing.T) {
	for seed := range uint64(50) {
		for block := range uint64(5) {
			first := mxrotator.Next(seed, 4*block, choices([]scenario.Host{mx05, mx03}))
			if first[0] != mx05 || first[1] != mx03 {
				t.Fatalf("seed %d: order %v, want mx05 and mx03 first", seed, first)
			}
			for turn := 4*block + 1; turn < 4*block+4; turn++ {
				if o := mxrotator.Next(seed, turn, choices(nil, []scenario.Host{mx05, mx03})); o != first {
					t.Fatalf("seed %d, turn %d: order %v after %v", seed, turn, o, first)
				}
			}
		}
	}
	want := mxrotator.Order{mx04, mx05, mx06, mx03}
	for turn := range uint64(20) {
		if o := mxrotator.Next(7, turn, choices(want[:])); o != want {
			t.Fatalf("turn %d: order %v, want %v", turn, o, want)
		}
	}
}

// Several tests take turns, whatever rhythm their senders have.
func TestTestsShareTheTurns(t *testing.T) {
	need := choices([]scenario.Host{mx03}, []scenario.Host{mx04, mx05}, []scenario.Host{mx06})
	for _, every := range []uint64{1, 2, 3, 4, 6, 12} {
		led := map[scenario.Host]int{}
		const attempts = 600
		for i := range uint64(attempts) {
			led[mxrotator.Next(5, i*every, need)[0]]++
		}
		for _, h := range []scenario.Host{mx03, mx04, mx06} {
			if led[h] < attempts/5 {
				t.Errorf("every %d turns: %s led %d of %d times, want about a third: %v", every, h, led[h], attempts, led)
			}
		}
	}
}

func TestNextIsPure(t *testing.T) {
	list := []scenario.Host{mx06, mx05}
	need := choices(list[:1])
	a, b := mxrotator.Next(9, 6, need), mxrotator.Next(9, 6, need)
	if a != b {
		t.Errorf("two results: %v, %v", a, b)
	}
	if list[1] != mx05 || len(need.Choices) != 1 {
		t.Error("Next wrote into the need that it was given")
	}
}
