package assess

import (
	"fmt"
	"testing"

	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/scenario"
)

// The order follows at once where few tests run and what they need has changed;
// at its turn it follows the needs of all.
func TestSteer(t *testing.T) {
	a := &Assessor{tests: make(map[string]*test)}
	for _, c := range []struct {
		tests int
		want  bool
	}{{0, false}, {1, true}, {1, false}, {2, true}, {5, false}, {2, true}, {2, false}, {0, false}, {1, true}} {
		clear(a.tests)
		for i := range c.tests {
			a.tests[fmt.Sprint(i)] = &test{
				rec:    history.TestRecord{State: history.StateConcluded},
				copies: map[copyKey]bool{{messageID: "<1@x>", domain: scenario.ET}: false},
			}
		}
		if got := a.Steer(); len(got) > 0 != c.want {
			t.Errorf("%d tests: %v, want %v", c.tests, got, c.want)
		}
		if got := len(a.Needs()[0]); got != c.tests {
			t.Errorf("%d tests: %d have needs", c.tests, got)
		}
	}
}
