package pace

import (
	"strings"
	"testing"

	"github.com/tlsink/tlsink/policyinfer"
)

// goal is the median of attempts with STARTTLS that a verdict may take; the
// 99th percentile may be twice that.
func goal(c *cell) int {
	fewest := 1 // attempts of a sender that tries one MX, in the best order
	switch {
	case c.kind.name == policyinfer.DANEMTASTS:
		fewest = 3 // mx04 and mx05 refused, mx06 delivered
	case c.kind.name.Protected() && c.kind.name != policyinfer.Verify:
		fewest = 2 // one of mx04 and mx05 refused, the other delivered
	}
	switch {
	case c.kind.name == policyinfer.DANEOnly && !c.part:
		return 4 // silence needs three attempts and half an hour
	case c.tries == 1:
		return fewest + 1
	case fewest > 1:
		return 1
	}
	return 2
}

// missed lists what does not reach its goal, and why.
func missed(c *cell) string {
	one := c.tries == 1
	switch {
	case c.kind.name == policyinfer.Encrypt && c.sni == "always" && one:
		return "mx04 and mx05 come first, and for this sender mx03 would tell more: one attempt above"
	case c.kind.name == policyinfer.DANEOnly && one && !c.part:
		return "met STARTTLS withheld only once, so its copy for ut may have bounced: undetermined"
	case c.kind.name == policyinfer.DANEOnly && one:
		return "nothing of its own stands beside a refusal: undetermined, also in a slot, which people may try by hand"
	case c.kind.name == policyinfer.DANEMTASTS && one:
		return "each refusal has to be seen twice: one attempt above"
	case c.kind.name == policyinfer.DANE && one && !c.shared:
		return "a refusal has to be seen twice, and mx04, which a slot rests with, comes first: two attempts above"
	}
	return ""
}

func TestGoals(t *testing.T) {
	var all []*cell
	for _, c := range cells() {
		if !c.unordered {
			all = append(all, c)
		}
	}
	runAll(all, 6)
	for _, r := range rows(all) {
		c := r.cells[0]
		where := map[bool]string{false: "own slot", true: "slot 0"}[c.shared]
		for _, c := range r.cells {
			if c.err != nil {
				t.Error(c.err)
			}
		}
		median, late := quantile(r.attempts, 0.5), quantile(r.attempts, 0.99)
		reached := median <= goal(c) && late <= 2*max(median, goal(c))
		switch why := missed(c); {
		case !reached && why == "":
			t.Errorf("%s: %s: median %d, 99th percentile %d attempts; goal %d", where, strings.TrimSpace(r.label), median, late, goal(c))
		case reached && why != "":
			t.Errorf("%s: %s: reaches its goal of %d: say so", where, strings.TrimSpace(r.label), goal(c))
		}
	}
}
