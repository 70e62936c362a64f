package mxrotator

import (
	"math/rand/v2"
	"slices"

	"github.com/tlsink/tlsink/scenario"
)

// hosts is the number of MX hosts.
const hosts = 4

// Order lists the MX hosts of et, most preferred first.
type Order [hosts]scenario.Host

// Preferences returns the MX preference of each host: 10, 20, 30, 40. Never 0:
// some providers lose it.
func (o Order) Preferences() map[string]int {
	out := make(map[string]int, hosts)
	for i, h := range o {
		out[string(h)] = 10 * (i + 1)
	}
	return out
}

// Position says where the schedule stands. The zero Position is its start.
type Position struct {
	Turn  uint64 // turns so far
	Block uint64 // complete blocks so far
	Led   []scenario.Host
	// Led are the hosts that were most preferred in this block; fewer than four.

	Secure bool // this block has put mx04 or mx05 first for a secure phase
}

// Need is what running tests need from the next turn.
type Need struct {
	// Wanted are hosts that should lead soon.
	Wanted []scenario.Host
	// SecureStart: a client enters its secure phase, and mx04 or mx05 should
	// lead: they tell most policies apart.
	SecureStart bool
}

// Next returns the order of the next turn, and the position after it. It is
// pure: the same seed, position and need give the same order.
//
// In a block each host leads exactly once, in an order that the seed gives.
// Need only chooses among the hosts that have not led yet:
//
//   - The first SecureStart of a block lets mx04 or mx05 lead. If both have led
//     already, the block gets a fifth turn for it. Later ones in the same block
//     change nothing: a busy sink, where each turn is a secure start for
//     somebody, must still be random.
//   - In every other block, chosen by the seed, Wanted hosts lead first. Not in
//     every block: if wanted hosts always came early, a sender that retries
//     every 20 minutes, late in each block, would never meet them.
//
// The hosts behind the first are shuffled for each turn; those that are wanted
// come before the others, for senders that try more than one host.
func Next(seed uint64, p Position, n Need) (Order, Position) {
	block := random(seed, 1, p.Block)
	favour := block.IntN(2) == 0
	left := shuffled(block)
	left = slices.DeleteFunc(left, func(h scenario.Host) bool { return slices.Contains(p.Led, h) })

	turn := random(seed, 2, p.Turn)
	next := Position{Turn: p.Turn + 1, Block: p.Block, Led: slices.Clone(p.Led), Secure: p.Secure}
	var first scenario.Host
	switch {
	case len(left) == 0: // a Position that Next did not make: start a new block
		return Next(seed, Position{Turn: p.Turn, Block: p.Block + 1}, n)
	case n.SecureStart && !p.Secure:
		next.Secure = true
		first = firstOf(left, decisive())
		if first == "" {
			first = decisive()[turn.IntN(2)]
		} else {
			next.Led = append(next.Led, first)
		}
	default:
		if favour {
			first = firstOf(left, n.Wanted)
		}
		if first == "" {
			first = left[0]
		}
		next.Led = append(next.Led, first)
	}
	if len(next.Led) == hosts {
		next.Block, next.Led, next.Secure = p.Block+1, nil, false
	}
	return complete(first, turn, n), next
}

// complete puts the other hosts behind first.
func complete(first scenario.Host, turn *rand.Rand, n Need) Order {
	rest := slices.DeleteFunc(shuffled(turn), func(h scenario.Host) bool { return h == first })
	rank := func(h scenario.Host) int {
		if slices.Contains(n.Wanted, h) || (n.SecureStart && slices.Contains(decisive(), h)) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(rest, func(a, b scenario.Host) int { return rank(a) - rank(b) })
	return Order(append([]scenario.Host{first}, rest...))
}

// decisive are the hosts that tell DANE from PKIX verification.
func decisive() []scenario.Host { return []scenario.Host{scenario.MX04, scenario.MX05} }

// firstOf returns the first host of list that is also in among, or none.
func firstOf(list, among []scenario.Host) scenario.Host {
	for _, h := range list {
		if slices.Contains(among, h) {
			return h
		}
	}
	return ""
}

func shuffled(r *rand.Rand) []scenario.Host {
	h := scenario.MXHosts()
	r.Shuffle(len(h), func(i, j int) { h[i], h[j] = h[j], h[i] })
	return h
}

// random returns a generator that depends on the seed, a purpose and a number.
func random(seed, purpose, n uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed^purpose<<63, n*0x9e3779b97f4a7c15+purpose))
}
