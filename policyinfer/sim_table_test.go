package policyinfer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// simTable counts how runs ended, by true policy, and why those that ended
// undetermined did.
type simTable struct {
	mu    sync.Mutex
	names map[Name]*simRow
	kinds map[simKind]*simRow
	slots map[simKind]*simRow // of those in a slot of their own
	found map[string]int      // findings
}

type simRow struct {
	runs, conclusive, mixed int
	third                   int // a name that no policy of this sender has, but one that explains all it did
	open                    int // undetermined
	unknowable              int // of these: several names fit all that the sender did
	why                     map[string]int
}

func newSimTable() *simTable {
	return &simTable{names: make(map[Name]*simRow), kinds: make(map[simKind]*simRow), slots: make(map[simKind]*simRow), found: make(map[string]int)}
}

func (t *simTable) add(r *simRun, h evidence.History, v Verdict) {
	fits := make(map[Name]bool)
	for _, p := range r.s.truth.all().policies() {
		fits[simName(p)] = true
	}
	why := simWhy(h, v)
	t.mu.Lock()
	defer t.mu.Unlock()
	count := func(row *simRow) {
		row.runs++
		switch {
		case v.Conclusive:
			row.conclusive++
			if !r.s.truth.has(v.Policy) {
				row.third++
			}
		case v.Policy == Mixed:
			row.mixed++
		default:
			row.open++
			row.why[why]++
			if len(fits) != 1 {
				row.unknowable++
			}
		}
	}
	if r.s.slot > 0 {
		count(simRowOf(t.slots, r.kind))
	} else {
		count(simRowOf(t.kinds, r.kind))
	}
	for _, f := range v.Findings {
		t.found[f.ID]++
	}
	if r.kind == simAlone || r.kind == simStrange || r.kind == simNamesake {
		count(simRowOf(t.names, simName(r.s.truth.now)))
	}
}

func simRowOf[K comparable](rows map[K]*simRow, key K) *simRow {
	if rows[key] == nil {
		rows[key] = &simRow{why: make(map[string]int)}
	}
	return rows[key]
}

// simWhy says why v is undetermined, the strongest reason first.
func simWhy(h evidence.History, v Verdict) string {
	has := func(ids ...string) bool {
		return slices.ContainsFunc(v.Findings, func(f Finding) bool { return slices.Contains(ids, f.ID) })
	}
	switch {
	case has(FindingOptedOut, FindingRequireTLS):
		return "the mail opted out"
	case !simDeliveredToET(h):
		return "nothing was handed over at et"
	case has(FindingUnverifiable):
		return "our zone did not verify"
	case has(FindingAmbiguous):
		return "attribution is ambiguous"
	case has(FindingContradictory):
		return "contradictory"
	case has(FindingChanged):
		return "changed, and too little since"
	case len(v.Candidates) == 1 && v.Settles != nil:
		return "needs a later attempt (settle)"
	case simMessages(h) > 1:
		return "sent again, and too little since"
	}
	return simNotMet(h, v)
}

// simNotMet says which faces that would tell were never met, or not often
// enough.
func simNotMet(h evidence.History, v Verdict) string {
	met := make(map[string]bool)
	for _, c := range h.Connections {
		if c.TLS != nil {
			met[fmt.Sprint(c.Server, c.TLS.Certificate)] = true
		} else if !c.StartTLSOffered {
			met[fmt.Sprint(c.Server)] = true
		}
	}
	var never []string
	for _, m := range v.Missing {
		if !met[fmt.Sprint(int(m.Face), string(m.Certificate))] {
			never = append(never, strings.TrimSpace(fmt.Sprintf("%d %s", m.Face, m.Certificate)))
		}
	}
	if len(v.Missing) == 0 {
		return "no face would tell " + fmt.Sprint(v.Candidates)
	}
	if len(never) == 0 {
		return "met all that tell, but refused too seldom to count"
	}
	return "never met " + strings.Join(never, " or ")
}

func simDeliveredToET(h evidence.History) bool {
	for _, c := range h.Connections {
		for _, tx := range c.Transactions {
			if tx.Data && len(tx.RcptTo) > 0 && simDomainOf(tx.RcptTo[0]) == scenario.ET {
				return true
			}
		}
	}
	return false
}

func simMessages(h evidence.History) int {
	ids := make(map[string]bool)
	for _, c := range h.Connections {
		for _, tx := range c.Transactions {
			if tx.MessageID != "" {
				ids[strings.Trim(tx.MessageID, "<abexmplndsr.@>")] = true
			}
		}
	}
	return len(ids)
}

// log prints the table. Reasons of less than one in a hundred are summed up.
func (t *simTable) log(tb testing.TB) {
	tb.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%-20s %7s %11s %13s   of these: several names fit all it did\n", "", "runs", "conclusive", "undetermined")
	line := func(name string, r *simRow) {
		fmt.Fprintf(&b, "%-20s %7d %10.1f%% %12.1f%% %12.1f%%", name, r.runs, percent(r.conclusive, r.runs), percent(r.open, r.runs), percent(r.unknowable, r.open))
		if r.mixed > 0 {
			fmt.Fprintf(&b, "   mixed %.1f%%", percent(r.mixed, r.runs))
		}
		if r.third > 0 {
			fmt.Fprintf(&b, "   explained by a third policy %.2f%%", percent(r.third, r.runs))
		}
		b.WriteByte('\n')
	}
	for k := range simKindCount {
		if r := t.kinds[k]; r != nil {
			line(k.String(), r)
		}
		if r := t.slots[k]; r != nil {
			line("  in its own slot", r)
		}
	}
	for _, n := range Names() {
		r := t.names[n]
		if r == nil {
			continue
		}
		b.WriteByte('\n')
		line(string(n), r)
		rest := 0
		for _, why := range slices.SortedFunc(maps.Keys(r.why), func(a, b string) int { return cmp.Or(r.why[b]-r.why[a], cmp.Compare(a, b)) }) {
			if r.why[why]*100 < r.runs {
				rest += r.why[why]
				continue
			}
			fmt.Fprintf(&b, "  %6.1f%%  %s\n", percent(r.why[why], r.runs), why)
		}
		fmt.Fprintf(&b, "  %6.1f%%  others\n", percent(rest, r.runs))
	}
	b.WriteString("\nfindings:")
	for _, id := range slices.Sorted(maps.Keys(t.found)) {
		fmt.Fprintf(&b, " %s %d,", id, t.found[id])
	}
	tb.Log("\n" + strings.TrimSuffix(b.String(), ","))
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }
