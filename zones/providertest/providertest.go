package providertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"
)

// Provider is what the sink needs of a DNS provider.
type Provider interface {
	libdns.RecordGetter
	libdns.RecordAppender
	libdns.RecordSetter
	libdns.RecordDeleter
}

// Options say how to test a provider.
type Options struct {
	TTL  time.Duration // of the records; default 30 s
	Base string        // name in the zone below which the test works; default "conformance"
	// Parallel is the number of concurrent calls; default 8.
	Parallel int
}

// Run tests a provider on a zone that it serves, with a final dot. It works below
// Options.Base, and with one TXT record at the apex, and leaves the zone as it was.
func Run(t *testing.T, p Provider, zone string, o Options) {
	t.Helper()
	if o.TTL == 0 {
		o.TTL = 30 * time.Second
	}
	if o.Base == "" {
		o.Base = "conformance"
	}
	if o.Parallel == 0 {
		o.Parallel = 8
	}
	b := bench{p: p, zone: zone, base: o.Base, ttl: o.TTL, parallel: o.Parallel}
	before := b.outside(t)
	for _, c := range []struct {
		name string
		test func(bench, *testing.T)
	}{
		{"MX", bench.mx},
		{"addresses", bench.addresses},
		{"TLSA", bench.tlsa},
		{"TXT", bench.texts},
		{"many RRsets in one call", bench.many},
		{"append", bench.appends},
		{"delete", bench.deletes},
		{"idempotence", bench.idempotence},
		{"names", bench.names},
		{"apex", bench.apex},
		{"TTL", bench.ttls},
		{"failed calls", bench.failures},
		{"parallel calls, RRsets of their own", bench.parallelApart},
		{"parallel calls, the same RRset", bench.parallelSame},
		{"canceled", bench.canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer b.clean(t)
			c.test(b, t)
			if diff := cmp.Diff(before, b.outside(t)); diff != "" {
				t.Errorf("other records of the zone changed (-before +after):\n%s", diff)
			}
		})
	}
}

// bench is a provider under test.
type bench struct {
	p          Provider
	zone, base string
	ttl        time.Duration
	parallel   int
}

// host is not in the zone: BIND refuses MX records of hosts that have no address
// there.
func (b bench) host(i int) string { return fmt.Sprintf("mx%02d.hosts.example.", i) }

// prefs returns MX records with these preferences.
func (b bench) prefs(prefs ...uint16) (out []libdns.Record) {
	for i, pref := range prefs {
		out = append(out, libdns.MX{Name: b.base, TTL: b.ttl, Preference: pref, Target: b.host(i)})
	}
	return out
}

func (b bench) txt(label, text string) libdns.Record {
	return libdns.TXT{Name: label + "." + b.base, TTL: b.ttl, Text: text}
}

// set sets records and checks what the provider says that it set.
func (b bench) set(t *testing.T, recs ...libdns.Record) {
	t.Helper()
	got, err := b.p.SetRecords(t.Context(), b.zone, recs)
	if err != nil {
		t.Fatalf("SetRecords: %v", err)
	}
	if diff := cmp.Diff(Lines(recs), Lines(got)); diff != "" {
		t.Errorf("returned by SetRecords (-want +got):\n%s", diff)
	}
}

// holds checks all that there is at and below the base.
func (b bench) holds(t *testing.T, want ...libdns.Record) {
	t.Helper()
	if diff := cmp.Diff(Lines(want), Lines(b.inside(t))); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func (b bench) within(r libdns.Record) bool {
	n := r.RR().Name
	return n == b.base || strings.HasSuffix(n, "."+b.base)
}

func (b bench) all(t *testing.T) []libdns.Record {
	t.Helper()
	recs, err := b.p.GetRecords(context.WithoutCancel(t.Context()), b.zone)
	if err != nil {
		t.Fatalf("GetRecords: %v", err)
	}
	return recs
}

func (b bench) inside(t *testing.T) []libdns.Record {
	t.Helper()
	return slices.DeleteFunc(b.all(t), func(r libdns.Record) bool { return !b.within(r) })
}

func (b bench) outside(t *testing.T) []string {
	t.Helper()
	return Lines(slices.DeleteFunc(b.all(t), b.within))
}

// clean deletes what the test left.
func (b bench) clean(t *testing.T) {
	t.Helper()
	if left := b.inside(t); len(left) > 0 {
		if _, err := b.p.DeleteRecords(context.WithoutCancel(t.Context()), b.zone, left); err != nil {
			t.Fatalf("DeleteRecords: %v", err)
		}
	}
	b.holds(t)
}

// Lines writes records in an order that does not depend on theirs, and with
// names and hex in lower case.
func Lines(recs []libdns.Record) []string {
	out := []string{}
	for _, r := range recs {
		rr := r.RR()
		if rr.Type != "TXT" {
			rr.Data = strings.ToLower(rr.Data)
		}
		out = append(out, fmt.Sprintf("%s %v %s %s", strings.ToLower(rr.Name), rr.TTL, rr.Type, rr.Data))
	}
	slices.Sort(out)
	return out
}
