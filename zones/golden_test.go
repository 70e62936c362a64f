package zones_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"

	"github.com/tlsink/tlsink/scenario"
)

var update = flag.Bool("update", false, "write the golden files")

// Every slot has what slot 0 has, under its own names; only the MX order is
// another one. What is not of a slot is the same for any number of them.
func TestSlotsAreCopies(t *testing.T) {
	bySlot := func(slots int) map[int][]string {
		o := options()
		o.Slots, o.TLSA = slots, nil
		z := newZone(t, o)
		recs, err := z.GetRecords(t.Context(), zoneName)
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[int][]string)
		for _, r := range recs {
			rr := r.RR()
			owner := strings.TrimPrefix(rr.Name, "_smtp._tls.")
			target, ok := scenario.Find(zoneName, libdns.AbsoluteName(owner, zoneName))
			slot := target.Slot
			if !ok || target.Role == scenario.RoleApex || target.Role == scenario.RoleService || target.Role == scenario.RoleNS {
				slot = -1
			}
			data := rr.Data
			if target.Role == scenario.RoleET && rr.Type == "MX" {
				_, data, _ = strings.Cut(data, " ")
			}
			line := rr.Name + " " + rr.TTL.String() + " " + rr.Type + " " + data
			if slot > 0 {
				n := strconv.Itoa(slot)
				line = strings.ReplaceAll(strings.ReplaceAll(line, "et"+n, "et"), "ut"+n, "ut")
			}
			out[slot] = append(out[slot], line)
		}
		for _, lines := range out {
			slices.Sort(lines)
		}
		return out
	}
	one, nine := bySlot(1), bySlot(9)
	if len(nine) != 10 || len(one[0]) == 0 {
		t.Errorf("%d slots, and what belongs to none; want 9", len(nine)-1)
	}
	for slot, lines := range nine {
		want := one[slot]
		if slot > 0 {
			want = one[0]
		}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("slot %d (-want +got):\n%s", slot, diff)
		}
	}
}

// TestContent compares the records of a zone of two slots with a file.
// Run the test with -update to write it.
func TestContent(t *testing.T) {
	z := newZone(t, options())
	recs, err := z.GetRecords(t.Context(), zoneName)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range recs {
		rr := r.RR()
		b.WriteString(rr.Name + " " + rr.TTL.String() + " " + rr.Type + " " + rr.Data + "\n")
	}
	path := filepath.Join("testdata", "content.golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}
