package policyinfer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

// A file that was cut off anywhere, at a line or within one, is an error or
// gives no wrong verdict; nor do lines in any order.
func TestTruncatedAndReorderedFiles(t *testing.T) {
	t.Parallel()
	engine := policyinfer.New()
	truths := readTruth(t)
	for _, name := range slices.Sorted(maps.Keys(truths)) {
		want := truths[name]
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)+".jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			lines := bytes.SplitAfter(bytes.TrimSpace(b), []byte("\n"))
			rng := rand.New(rand.NewPCG(1, 7))
			for n := range lines {
				if n > 0 && (!bytes.Contains(lines[n-1], []byte(`"connection"`)) || rng.IntN(4) != 0) {
					continue // queries change nothing, and TestHistoriesInProgress tries all
				}
				short := bytes.Join(lines[:n], nil)
				h, err := evidence.ReadHistory(bytes.NewReader(short))
				if err != nil {
					if n > 0 {
						t.Fatalf("%d lines: %v", n, err)
					}
					continue
				}
				if problem := contradicts(engine.Infer(h, policyinfer.Options{}), want); problem != "" {
					t.Fatalf("%d lines: %s", n, problem)
				}
				cut := lines[n][:1+rng.IntN(len(lines[n])-2)]
				if _, err := evidence.ReadHistory(bytes.NewReader(append(slices.Clone(short), cut...))); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("line %d: ", n+1)) {
					t.Fatalf("%d lines and a part of one: error %v", n, err)
				}
			}
			rng.Shuffle(len(lines)-1, func(i, j int) { lines[1+i], lines[1+j] = lines[1+j], lines[1+i] })
			h, err := evidence.ReadHistory(bytes.NewReader(bytes.Join(lines, []byte("\n"))))
			if err != nil {
				t.Fatal(err)
			}
			if problem := contradicts(engine.Infer(h, policyinfer.Options{}), want); problem != "" {
				t.Fatalf("in another order: %s", problem)
			}
		})
	}
}

// Fields of other types, from other records, with odd values, or gone: an error
// that names the line, or a verdict that agrees with itself.
func TestHostileHistories(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "cases", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	engine, refused := policyinfer.New(), 0
	runs := 700
	if testing.Short() || policyinfer.RaceEnabled {
		runs = 200
	}
	if thorough() {
		runs = 20_000
	}
	for seed := range runs {
		rng := rand.New(rand.NewPCG(uint64(seed), 8))
		in := spoil(t, rng, files[seed%len(files)])
		h, err := evidence.ReadHistory(bytes.NewReader(in))
		if err != nil {
			if refused++; !strings.HasPrefix(err.Error(), "line ") && !strings.HasPrefix(err.Error(), "empty history") {
				t.Fatalf("seed %d: error without line: %v", seed, err)
			}
			engine.Infer(readAnything(in), policyinfer.Options{Explain: true}) // must come back
			continue
		}
		if problem := unsupported(engine.Infer(h, policyinfer.Options{}), h); problem != "" {
			t.Fatalf("seed %d: %s\n%s", seed, problem, in)
		}
	}
	if refused == 0 || refused == runs {
		t.Errorf("%d of %d were refused", refused, runs)
	}
}

// spoil changes a few fields of a history, anywhere in its records.
func spoil(t *testing.T, rng *rand.Rand, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var records []map[string]any
	for line := range bytes.Lines(b) {
		var r map[string]any
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	for range 1 + rng.IntN(3) {
		into := records[rng.IntN(len(records))]
		from := records[rng.IntN(len(records))]
		for { // into what is below, at times
			key := pick(rng, into)
			below, ok := into[key].(map[string]any)
			if list, isList := into[key].([]any); isList && len(list) > 0 {
				below, ok = list[rng.IntN(len(list))].(map[string]any)
			}
			if !ok || len(below) == 0 || rng.IntN(3) == 0 {
				change(rng, into, key, from)
				break
			}
			into = below
		}
	}
	var out bytes.Buffer
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(line, '\n'))
		if rng.IntN(200) == 0 {
			out.Write(append(line, '\n'))
		}
	}
	return out.Bytes()
}

func change(rng *rand.Rand, in map[string]any, key string, other map[string]any) {
	odd := []any{
		nil, true, false, -1, 1e300, 451, "", "x", "\x00\x1b[2J", strings.Repeat("y", 5000),
		[]any{},
		[]any{nil},
		map[string]any{},
		"2026-11-21T12:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "-1h", "quit", "open", "address", "ca", "finished", "ut", "mx03.et.sink.example",
	}
	switch rng.IntN(4) {
	case 0:
		delete(in, key)
	case 1:
		in[key] = copied(other[pick(rng, other)])
	case 2:
		if v, ok := other[key]; ok {
			in[key] = copied(v)
			return
		}
		fallthrough
	default:
		in[key] = odd[rng.IntN(len(odd))]
	}
}

func copied(v any) (out any) {
	b, err := json.Marshal(v)
	if err != nil || json.Unmarshal(b, &out) != nil {
		return nil
	}
	return out
}

func pick(rng *rand.Rand, m map[string]any) string {
	keys := slices.Sorted(maps.Keys(m))
	if len(keys) == 0 {
		return "x"
	}
	return keys[rng.IntN(len(keys))]
}
