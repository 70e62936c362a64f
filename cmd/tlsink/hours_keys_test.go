package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

// While the parent may have the DS record of either key, the old one is nothing
// that is wrong, neither for `tlsink doctor` nor for the self-check.
func TestHandOverIsNoFault(t *testing.T) {
	checkedHours(t, func(w *world) {
		s := w.service()
		old := s.zone.DS()[0].Digest
		if err := s.zone.StartRoll(w.t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		for range 48 {
			if s.zone.Roll().Phase == zones.PhaseHandOver {
				break
			}
			time.Sleep(5 * time.Minute)
		}
		if got := s.zone.Roll(); got.Phase != zones.PhaseHandOver || s.zone.DS()[0].Digest == old {
			t.Fatalf("no hand-over:\n%s", got)
		}
		o, err := s.doctorOptions(nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(o.DS) != 2 || !slices.ContainsFunc(o.DS, func(ds *dns.DS) bool { return ds.Digest == old }) {
			t.Errorf("DS records that the doctor takes for good: %v, want that of the old key among two", o.DS)
		}
		h, err := s.doctorHelp(w.t.Context())
		if err != nil || !strings.Contains(strings.Join(h.DS, "\n"), strings.ToUpper(old)) {
			t.Errorf("`tlsink doctor` is told %q, %v", h.DS, err)
		}
		if now := s.check.current(); now.failed() || now.at.IsZero() {
			t.Errorf("self-check in the hand-over: %+v", now)
		}
	})
}
