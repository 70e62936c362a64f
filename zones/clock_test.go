package zones_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

// covers returns the first signature that does not hold at a time.
func covers(z *zones.Zone, at time.Time) error {
	for _, rr := range zones.All(z) {
		if sig, ok := rr.(*dns.RRSIG); ok && !sig.ValidityPeriod(at) {
			return fmt.Errorf("at %v: %v", at, sig)
		}
	}
	return nil
}

// A clock that is years off is found out, does not make the zone bogus for
// those whose clock is right, and is forgotten once it is right again.
func TestClockInDoubt(t *testing.T) {
	right := newClock().Now()
	for _, c := range []struct {
		name  string
		wrong time.Time
		want  string // part of the problem; empty: none
		holds bool   // for clocks that are right
	}{
		{"right", right, "", true},
		{"set back a little", right.Add(-5 * time.Minute), "", true},
		{"set back an hour", right.Add(-time.Hour), "has seen 2026-03-01 12:00", true},
		{"set back a month", right.AddDate(0, -1, 0), "has seen 2026-03-01 12:00", true},
		{"no battery", time.Unix(0, 0), "1970-01-01 00:00, which is long past", true},
		{"after a year off", right.AddDate(1, 0, 0), "", false},
		{"years forward", right.AddDate(10, 0, 0), "ran last at 2026-03-01 12:00", true},
		{"further than signatures reach", right.AddDate(75, 0, 0), "ran last at", true},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restarted: %v", c.name, restart), func(t *testing.T) {
				clk := newClock()
				o := options()
				var log bytes.Buffer
				o.Now, o.State, o.Log = clk.Now, new(memoryState), slog.New(slog.NewTextHandler(&log, nil))
				z := newZone(t, o)
				clk.Advance(c.wrong.Sub(right))
				if restart {
					z = newZone(t, o)
				}
				for range 3 {
					if err := z.Refresh(); err != nil {
						t.Fatal(err)
					}
				}
				err := z.ClockProblem()
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("problem: %v, want %q", err, c.want)
				}
				if n := strings.Count(log.String(), "in doubt"); n > 1 || (n == 1) != (c.want != "") {
					t.Errorf("%d lines about it:\n%s", n, &log)
				}
				if err := covers(z, right); c.holds && err != nil {
					t.Errorf("does not hold at the right time: %v", err)
				}
				clk.Advance(right.Sub(c.wrong) + time.Minute)
				if err := z.Refresh(); err != nil {
					t.Fatal(err)
				}
				if c.wrong.After(right.AddDate(0, 6, 0)) && c.want == "" {
					return // that year was believed
				}
				if err := z.ClockProblem(); err != nil {
					t.Errorf("after it was set right: %v", err)
				}
				if err := covers(z, clk.Now()); err != nil {
					t.Errorf("after it was set right: %v", err)
				}
				if covers(z, clk.Now().Add(zones.DefaultValidity)) == nil {
					t.Error("after it was set right signatures hold for too long")
				}
			})
		}
	}
}

// A clock that is set back again and again, a little each time, is in doubt.
func TestClockCreepsBack(t *testing.T) {
	clk := newClock()
	o := options()
	o.Now = clk.Now
	z := newZone(t, o)
	for range 3 {
		clk.Advance(-4 * time.Minute)
		if err := z.Refresh(); err != nil {
			t.Fatal(err)
		}
	}
	if z.ClockProblem() == nil {
		t.Error("not noticed")
	}
}

// A clock that stays as it is is believed after a day, but for one that says a
// time that has passed for certain.
func TestClockIsBelieved(t *testing.T) {
	for _, c := range []struct {
		name string
		step time.Duration
		want bool
	}{{"month back", -30 * 24 * time.Hour, true}, {"ten years forward", 87600 * time.Hour, true}, {"1990", -36 * 8766 * time.Hour, false}} {
		t.Run(c.name, func(t *testing.T) {
			clk := newClock()
			o := options()
			state := new(memoryState)
			o.Now, o.State = clk.Now, state
			newZone(t, o)
			clk.Advance(c.step)
			z := newZone(t, o)
			for hour := range 26 {
				if err := z.ClockProblem(); (hour < 23 || !c.want) && err == nil {
					t.Fatalf("believed after %d h", hour)
				}
				clk.Advance(time.Hour)
				if err := z.Refresh(); err != nil {
					t.Fatal(err)
				}
			}
			if err := z.ClockProblem(); (err == nil) != c.want {
				t.Errorf("problem: %v", err)
			}
			if err := covers(z, clk.Now()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Over months every signature of the zone holds for longer than caches keep
// it, and signatures are renewed a few at a time.
func TestMonths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Now, o.Keys.Interval = time.Now, 10*time.Minute
		z := newZone(t, o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- z.Run(ctx) }()
		total, most := z.Counters().Signatures, uint64(0)
		for hour := range 120 * 24 {
			before := z.Counters().Signatures
			time.Sleep(time.Hour)
			synctest.Wait()
			for _, at := range []time.Duration{-150 * time.Minute, 0, 24 * time.Hour} {
				if err := covers(z, time.Now().Add(at)); err != nil {
					t.Fatal(err)
				}
			}
			if made := z.Counters().Signatures - before; hour > 14*24 {
				most = max(most, made)
			}
			if hour%240 == 0 {
				signatures(t, z)
				if _, err := z.SetRecords(ctx, zoneName, []libdns.Record{libdns.TXT{Name: "x", Text: fmt.Sprint(hour)}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if most > total/4 {
			t.Errorf("%d of %d signatures renewed within an hour", most, total)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// What could wait does, if there is a lot of it.
func TestRenewalIsBounded(t *testing.T) {
	clk := newClock()
	o := options()
	o.Now, o.Slots = clk.Now, 20
	z := newZone(t, o)
	total := z.Counters().Signatures
	clk.Advance(85 * time.Hour)
	for left := int(total) - 1; left > 0; left -= 256 { // without SOA
		before := z.Counters().Signatures
		if err := z.Refresh(); err != nil {
			t.Fatal(err)
		}
		if made, want := int(z.Counters().Signatures-before), 1+min(left, 256); made != want {
			t.Errorf("%d signatures made while %d are due, want %d", made, left, want)
		}
	}
	before := z.Counters().Signatures
	clk.Advance(50 * time.Hour)
	if err := z.Refresh(); err != nil || z.Counters().Signatures != before {
		t.Errorf("renewed again: %v", err)
	}
	clk.Advance(80 * time.Hour)
	if err := z.Refresh(); err != nil {
		t.Fatal(err)
	}
	if err := covers(z, clk.Now().Add(72*time.Hour)); err != nil {
		t.Errorf("put off although it was urgent: %v", err)
	}
}
