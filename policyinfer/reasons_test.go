package policyinfer

import (
	"fmt"
	"slices"
	"testing"
)

// What a reason says in English, and what its id and arguments say for other
// languages, is the same: one changes when the other does.
func TestReasonsSayTheSame(t *testing.T) {
	all := append(observations(), observation{outcome: neverAtUT}, observation{outcome: neverAtMX03})
	sentences, said := make(map[string]string), make(map[string]string)
	seen := make(map[string]bool)
	for _, o := range all {
		id, args := o.said()
		seen[id] = true
		if !slices.Contains(ReasonIDs(), id) {
			t.Errorf("reason %q is not listed", id)
		}
		sentence, key := o.sentence(), fmt.Sprint(id, args)
		if other, ok := sentences[key]; ok && other != sentence {
			t.Errorf("%s is both %q and %q", key, sentence, other)
		}
		if other, ok := said[sentence]; ok && other != key {
			t.Errorf("%q is both %s and %s", sentence, other, key)
		}
		sentences[key], said[sentence] = sentence, key
	}
	for _, id := range ReasonIDs() {
		if !seen[id] {
			t.Errorf("no observation gives the reason %q", id)
		}
	}
}
