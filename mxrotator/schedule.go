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

// Need is what running tests need from a turn.
type Need struct {
	// Choices has one list for each test that can still learn something from
	// the order: the hosts it needs to be met, most wanted first.
	Choices [][]scenario.Host
}

// lists returns the choices that are not empty.
func (n Need) lists() [][]scenario.Host {
	return slices.DeleteFunc(slices.Clone(n.Choices), func(l []scenario.Host) bool { return len(l) == 0 })
}

// Next returns the order of a turn. It is pure: the same seed, turn and need
// give the same order.
//
// Without need, turns come in blocks of four, each a permutation of the hosts
// by the seed, in which each host leads once. With need, chance picks the test
// that gets what it wants. A test that is alone gets it always, and the same
// hosts lead as long as it wants the same: its sender shall find them whenever
// it comes, in an order that has been certain for a while.
func Next(seed, turn uint64, n Need) Order {
	block := random(seed, 1, turn/hosts)
	order := shuffled(block)
	if lists := n.lists(); len(lists) > 0 {
		return wanted(lists[random(seed, 2, turn).IntN(len(lists))], order)
	}
	first := order[turn%hosts]
	rest := shuffled(random(seed, 3, turn))
	return wanted([]scenario.Host{first}, rest)
}

// NextOf returns the order of a turn of a slot. Slot 0 turns as Next says. The
// others belong to one test at a time: they rest in an order that is certain for
// long, until their test needs another one, and change no more than it needs.
func NextOf(slot int, seed, turn uint64, n Need) Order {
	if slot == 0 {
		return Next(seed, turn, n)
	}
	lists := n.lists()
	if len(lists) == 0 {
		return Order(scenario.Resting())
	}
	return wanted(lists[random(seed+uint64(slot), 2, turn).IntN(len(lists))], scenario.Resting())
}

// wanted puts the hosts of list before the others.
func wanted(list, others []scenario.Host) Order {
	order := make([]scenario.Host, 0, hosts)
	for _, h := range append(slices.Clone(list), others...) {
		if slices.Contains(others, h) && !slices.Contains(order, h) {
			order = append(order, h)
		}
	}
	return Order(order)
}

func shuffled(r *rand.Rand) []scenario.Host {
	h := scenario.MXHosts()
	r.Shuffle(len(h), func(i, j int) { h[i], h[j] = h[j], h[i] })
	return h
}

// random returns a generator that depends on the seed, a purpose and a number.
func random(seed, purpose, n uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed^purpose<<62, n*0x9e3779b97f4a7c15+purpose))
}
