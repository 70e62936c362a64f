package policyinfer_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

// maimed makes a history worse, as loss, doubt and bad clocks do. None of it
// adds anything that the sender did not do. Where connections are lost the
// history says so: without that, absence would be believed.
var maimed = []struct {
	name string
	do   func(*rand.Rand, *evidence.History)
}{
	{"connections lost", func(rng *rand.Rand, h *evidence.History) {
		share := rng.Float64()
		h.Connections = slices.DeleteFunc(h.Connections, func(evidence.Connection) bool { return rng.Float64() < share })
		h.Test.LeftOut++
	}},
	{"connections of one kind lost", func(rng *rand.Rand, h *evidence.History) {
		server, mail, share := rng.IntN(8), rng.IntN(2) == 0, rng.Float64()
		h.Connections = slices.DeleteFunc(h.Connections, func(c evidence.Connection) bool {
			return (c.Server == server || server == 0) && c.Data == mail && rng.Float64() < share
		})
		h.Test.LeftOut++
	}},
	{"a phase lost", func(rng *rand.Rand, h *evidence.History) {
		lost := []evidence.Phase{evidence.Downgrade, evidence.Secure}[rng.IntN(2)]
		h.Connections = slices.DeleteFunc(h.Connections, func(c evidence.Connection) bool { return c.Phase == lost })
		h.Test.LeftOut++
	}},
	{"transactions lost", func(rng *rand.Rand, h *evidence.History) {
		for i := range h.Connections {
			if rng.IntN(3) == 0 {
				h.Connections[i].Transactions = nil
			}
		}
	}},
	{"messages cut off", func(rng *rand.Rand, h *evidence.History) {
		for i := range h.Connections {
			for j := range h.Connections[i].Transactions {
				if rng.IntN(3) == 0 {
					h.Connections[i].Transactions[j].Data = false
				}
			}
		}
	}},
	{"endings lost", func(rng *rand.Rand, h *evidence.History) {
		for i := range h.Connections {
			if c := &h.Connections[i]; rng.IntN(3) == 0 {
				c.Ending = []evidence.Ending{evidence.EndingReset, evidence.EndingTimeout, evidence.EndingServer, evidence.EndingOpen, ""}[rng.IntN(5)]
				if c.TLS != nil {
					c.TLS.Alert = nil
				}
			}
		}
	}},
	{"destinations lost", func(rng *rand.Rand, h *evidence.History) {
		for i := range h.Connections {
			if rng.IntN(2) == 0 {
				h.Connections[i].Destination = "unknown"
			}
		}
	}},
	{"begun late", func(rng *rand.Rand, h *evidence.History) {
		h.Connections = h.Connections[rng.IntN(len(h.Connections)):]
	}},
	{"cut short", func(rng *rand.Rand, h *evidence.History) {
		h.Connections = h.Connections[:1+rng.IntN(len(h.Connections))]
		h.Until = h.Connections[len(h.Connections)-1].End.Add(time.Duration(rng.IntN(2000)) * time.Millisecond)
	}},
	{"tied by the address only", func(rng *rand.Rand, h *evidence.History) {
		for i := range h.Connections {
			if h.Connections[i].MailFrom == nil || rng.IntN(4) == 0 {
				h.Connections[i].Attribution = evidence.ByAddress
			}
		}
	}},
	{"out of order", func(rng *rand.Rand, h *evidence.History) {
		rng.Shuffle(len(h.Connections), func(i, j int) { h.Connections[i], h.Connections[j] = h.Connections[j], h.Connections[i] })
	}},
	{"another time", func(rng *rand.Rand, h *evidence.History) {
		by := time.Duration(rng.Int64N(int64(1000 * time.Hour)))
		for i := range h.Connections {
			c := &h.Connections[i]
			c.Start, c.End = c.Start.Add(by), c.End.Add(by)
		}
		for i := range h.States {
			h.States[i].Time = h.States[i].Time.Add(by)
		}
	}},
	{"states lost", func(rng *rand.Rand, h *evidence.History) {
		h.States = slices.DeleteFunc(h.States, func(evidence.State) bool { return rng.IntN(2) == 0 })
	}},
	{"default timing", func(_ *rand.Rand, h *evidence.History) { h.Test.Timing = nil }},
}

// Whatever of a recorded history is lost, its verdict is never a wrong one.
func TestMaimedHistoriesAreNeverMisjudged(t *testing.T) {
	engine := policyinfer.New()
	runs := 8
	if testing.Short() || policyinfer.RaceEnabled {
		runs = 2
	}
	if thorough() {
		runs = 100
	}
	t.Parallel()
	truths := readTruth(t)
	for _, name := range slices.Sorted(maps.Keys(truths)) {
		want := truths[name]
		t.Run(name, func(t *testing.T) {
			whole := readHistory(t, name)
			for seed := range runs * len(maimed) {
				rng := rand.New(rand.NewPCG(uint64(seed), 3))
				h := cloneHistory(whole)
				first := maimed[seed%len(maimed)]
				first.do(rng, &h)
				what := first.name
				for range rng.IntN(3) {
					if next := maimed[rng.IntN(len(maimed))]; len(h.Connections) > 0 {
						next.do(rng, &h)
						what += ", " + next.name
					}
				}
				v := engine.Infer(h, policyinfer.Options{})
				if problem := contradicts(v, want); problem != "" {
					b, _ := json.Marshal(v)
					t.Fatalf("seed %d, %s: %s\n%s", seed, what, problem, b)
				}
			}
		})
	}
}

// After each connection of a recorded history, the verdict so far is right or
// undetermined, and the true name is still a candidate.
func TestHistoriesInProgress(t *testing.T) {
	t.Parallel()
	engine := policyinfer.New()
	for name, want := range readTruth(t) {
		t.Run(name, func(t *testing.T) {
			whole := readHistory(t, name)
			for n := 1; n <= len(whole.Connections); n++ {
				for _, weak := range []bool{false, true} {
					h := cloneHistory(whole)
					h.Connections = h.Connections[:n]
					h.Until = h.Connections[n-1].End.Add(time.Millisecond)
					if weak {
						for i := range h.Connections {
							h.Connections[i].Attribution = evidence.ByAddress
						}
					}
					if problem := contradicts(engine.Infer(h, policyinfer.Options{}), want); problem != "" {
						t.Fatalf("after %d connections, by address %v: %s", n, weak, problem)
					}
				}
			}
		})
	}
}

func cloneHistory(h evidence.History) evidence.History {
	h.Connections = slices.Clone(h.Connections)
	for i := range h.Connections {
		h.Connections[i] = h.Connections[i].Clone()
	}
	h.States = slices.Clone(h.States)
	return h
}

// contradicts says in what v differs from the truth; "" if in nothing.
func contradicts(v policyinfer.Verdict, want truth) string {
	acceptable := func(n policyinfer.Name) bool { return slices.Contains(want.Policy, string(n)) }
	if v.Policy != policyinfer.Undetermined && !acceptable(v.Policy) {
		return fmt.Sprintf("policy %s, in truth %v", v.Policy, want.Policy)
	}
	if len(v.Candidates) > 0 && !slices.ContainsFunc(v.Candidates, acceptable) {
		return fmt.Sprintf("candidates %v, in truth %v", v.Candidates, want.Policy)
	}
	b, _ := json.Marshal(v.Sender)
	var got map[string]string
	if err := json.Unmarshal(b, &got); err != nil {
		return err.Error()
	}
	for part, w := range want.Sender {
		if list, ok := w.([]any); !ok && got[part] != "unknown" && got[part] != w || ok && got[part] != "unknown" && !slices.Contains(list, any(got[part])) {
			return fmt.Sprintf("part %s is %s, in truth %v", part, got[part], w)
		}
	}
	return ""
}
