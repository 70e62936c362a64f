package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/doctor"
)

// soaOf knows the SOA minimum of some zones, in seconds; -1 fails.
type soaOf map[string]int

func (s soaOf) Lookup(_ context.Context, name string, qtype uint16) (dnssec.Answer, error) {
	minimum, ok := s[name]
	switch {
	case qtype != dns.TypeSOA || !ok:
		return dnssec.Answer{}, nil
	case minimum < 0:
		return dnssec.Answer{}, errors.New("no answer")
	}
	return dnssec.Answer{RRs: []dns.RR{&dns.SOA{Minttl: uint32(minimum)}}}, nil
}

// How long resolvers keep that there is no DS record is said by the zone above.
func TestAbsenceOfTheDS(t *testing.T) {
	for name, c := range map[string]struct {
		zone string
		soas soaOf
		want time.Duration
	}{
		"next above":  {"sink.example.org", soaOf{"sink.example.org.": 1, "example.org.": 600, "org.": 900}, 10 * time.Minute},
		"two above":   {"sink.mail.example.org", soaOf{"example.org.": 600}, 10 * time.Minute},
		"the root":    {"sink", soaOf{".": 3600}, time.Hour},
		"too long":    {"sink.example", soaOf{"example.": 86400}, longestAbsence},
		"no answer":   {"sink.example", soaOf{"example.": -1, ".": 60}, longestAbsence},
		"nobody says": {"sink.example", soaOf{}, longestAbsence},
	} {
		if got := absence(t.Context(), c.soas, c.zone); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// After the world did not see the zone signed, verdicts without protection wait
// until no cache has that any more.
func TestCachesOfTheDS(t *testing.T) {
	now := time.Now()
	p := passes{Unsigned: now.Add(time.Hour)}
	for at, want := range map[time.Duration]bool{0: true, 59 * time.Minute: true, time.Hour: false, 2 * time.Hour: false, -48 * time.Hour: false} {
		if got := p.cached(now.Add(at)) != ""; got != want {
			t.Errorf("after %v: %v, want %v", at, got, want)
		}
	}
	check := newSelfCheck(&service{log: slog.New(slog.DiscardHandler)})
	check.good.Unsigned = now.Add(time.Hour)
	if check.waits() == "" {
		t.Error("tlsink doctor does not say that verdicts wait")
	}
	check.outside = []doctor.Result{{Check: "ds", Status: doctor.Wrong}}
	if check.waits() != "" {
		t.Error("tlsink doctor speaks of caches while there is no DS record")
	}
	if (&passes{}).cached(now) != "" {
		t.Error("a zone that was always signed is not")
	}
	for _, c := range []struct {
		result doctor.Result
		want   bool
	}{
		{doctor.Result{Check: "ds", Status: doctor.Wrong}, true},
		{doctor.Result{Check: "chain", Status: doctor.Wrong}, true},
		{doctor.Result{Check: "chain", Status: doctor.Cannot}, false},
		{doctor.Result{Check: "ds", Status: doctor.OK}, false},
		{doctor.Result{Check: "policy", Status: doctor.Wrong}, false},
	} {
		if got := unsigned([]doctor.Result{c.result}); got != c.want {
			t.Errorf("%+v: %v", c.result, got)
		}
	}
}

func TestUnsigned(t *testing.T) {
	for name, c := range map[string]struct {
		ds, chain doctor.Status
		want      bool
	}{
		"secure":                   {doctor.OK, doctor.OK, false},
		"no DS":                    {doctor.Wrong, doctor.Wrong, true},
		"no DS, rest not tested":   {doctor.Wrong, doctor.Cannot, true},
		"bogus":                    {doctor.OK, doctor.Wrong, true},
		"anchored below":           {doctor.Wrong, doctor.OK, false},
		"resolver does not answer": {doctor.Cannot, doctor.Cannot, false},
	} {
		if got := unsigned([]doctor.Result{{Check: "ds", Status: c.ds}, {Check: "chain", Status: c.chain}}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
