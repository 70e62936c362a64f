package policyinfer_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

// The records of two senders in one are never taken for a third sender: what is
// said is true of one of them, or it says that they differ. (At one address and
// at the same time nobody can tell them apart.)
func TestMergedHistoriesAreNeverMisjudged(t *testing.T) {
	t.Parallel()
	engine, truths := policyinfer.New(), readTruth(t)
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(truths)), func(name string) bool { return !strings.HasPrefix(name, "histories/") })
	if testing.Short() || policyinfer.RaceEnabled {
		names = names[:5]
	}
	read := make(map[string]evidence.History)
	for _, name := range names {
		read[name] = readHistory(t, name)
	}
	for _, how := range []struct {
		name    string
		address string        // of the second sender
		later   time.Duration // by so much it comes later
	}{
		{"two hosts", "192.0.2.99", 0},
		{"one after the other", "192.0.2.10", time.Hour},
		{"two hosts, one after the other", "192.0.2.99", time.Hour},
	} {
		t.Run(how.name, func(t *testing.T) {
			for i, a := range names {
				for j, b := range names {
					if (i+j)%8 != 0 && !thorough() {
						continue
					}
					v := engine.Infer(merge(read[a], read[b], how.address, how.later), policyinfer.Options{})
					if problem := ofNeither(v, truths[a], truths[b]); problem != "" {
						text, _ := json.Marshal(v)
						t.Errorf("%s and %s: %s\n%.600s", a, b, problem, text)
					}
				}
			}
		})
	}
}

// thorough is for make sim, which has the time.
func thorough() bool { return os.Getenv("TLSINK_SIM") != "" }

// merge adds the connections of b to a, as if they had begun together.
func merge(a, b evidence.History, address string, later time.Duration) evidence.History {
	a, b = cloneHistory(a), cloneHistory(b)
	shift := a.Connections[0].Start.Sub(b.Connections[0].Start) + later
	for _, c := range b.Connections {
		c.ID = "b" + c.ID
		c.Start, c.End = c.Start.Add(shift), c.End.Add(shift)
		_, port, _ := strings.Cut(c.Client, ":")
		c.Client = address + ":" + port
		rename := func(list []string) {
			for i := range list {
				list[i] = strings.Replace(list[i], b.Test.Zone, a.Test.Zone, 1)
			}
		}
		rename(c.RcptTo)
		rename(c.Addressed)
		for _, tx := range c.Transactions {
			rename(tx.RcptTo)
			rename(tx.Addressed)
		}
		if c.TLS != nil && c.TLS.SNI != nil {
			sni := strings.Replace(*c.TLS.SNI, b.Test.Zone, a.Test.Zone, 1)
			c.TLS.SNI = &sni
		}
		a.Connections = append(a.Connections, c)
	}
	return a
}

// ofNeither says what v says that is true of neither sender.
func ofNeither(v policyinfer.Verdict, a, b truth) string {
	if v.Policy == policyinfer.Mixed || v.Policy == policyinfer.Undetermined {
		return ""
	}
	if p, q := contradicts(v, a), contradicts(v, b); p != "" && q != "" {
		return fmt.Sprintf("neither: %s; nor: %s", p, q)
	}
	return ""
}

// A connection that has the ending, the time or the destination of another
// contradicts the rest, or changes nothing; it never makes another sender of
// this one. (Who handed mail over where does: that is not swapped. And a first
// contact that looks unprotected is what a lazy MTA-STS sender makes.)
func TestSwappedFieldsAreNeverBelieved(t *testing.T) {
	engine, truths := policyinfer.New(), readTruth(t)
	runs := 15
	if testing.Short() || policyinfer.RaceEnabled {
		runs = 3
	}
	if thorough() {
		runs = 200
	}
	t.Parallel()
	for _, name := range slices.Sorted(maps.Keys(truths)) {
		t.Run(name, func(t *testing.T) {
			whole := readHistory(t, name)
			for seed := range runs {
				rng := rand.New(rand.NewPCG(uint64(seed), 6))
				h := cloneHistory(whole)
				what := swap(rng, h.Connections)
				v := engine.Infer(h, policyinfer.Options{})
				if problem := contradicts(v, truths[name]); problem != "" && v.Policy != policyinfer.Mixed && v.Sender.MTASTS != "lazy" {
					t.Errorf("seed %d, %s: %s", seed, what, problem)
				}
			}
		})
	}
}

func swap(rng *rand.Rand, cs []evidence.Connection) string {
	a, b := &cs[rng.IntN(len(cs))], &cs[rng.IntN(len(cs))]
	switch rng.IntN(3) {
	case 0:
		a.Ending, b.Ending = b.Ending, a.Ending
		return fmt.Sprintf("endings of %s and %s", a.ID, b.ID)
	case 1:
		a.Start, b.Start, a.End, b.End = b.Start, a.Start, b.End, a.End
		return fmt.Sprintf("times of %s and %s", a.ID, b.ID)
	}
	a.Client, b.Client, a.Destination, b.Destination = b.Client, a.Client, b.Destination, a.Destination
	return fmt.Sprintf("destinations of %s and %s", a.ID, b.ID)
}
