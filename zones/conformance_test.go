package zones_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"
)

// provider is what the sink needs of a DNS provider.
type provider interface {
	libdns.RecordGetter
	libdns.RecordAppender
	libdns.RecordSetter
	libdns.RecordDeleter
}

// conformance checks that a provider does what the sink relies on. It works
// below the name "conformance" of zone, with TTL, and leaves that empty.
func conformance(t *testing.T, p provider, zone string, ttl time.Duration) {
	const base = "conformance"
	ctx := t.Context()
	host := func(i int) string { return fmt.Sprintf("mx%02d.%s.%s", i, base, zone) }
	mx := func(prefs ...uint16) (out []libdns.Record) {
		for i, pref := range prefs {
			out = append(out, libdns.MX{Name: base, TTL: ttl, Preference: pref, Target: host(i)})
		}
		return out
	}
	set := func(t *testing.T, recs ...libdns.Record) {
		t.Helper()
		got, err := p.SetRecords(ctx, zone, recs)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(lines(recs), lines(got)); diff != "" {
			t.Errorf("returned by SetRecords (-want +got):\n%s", diff)
		}
	}
	holds := func(t *testing.T, recs ...libdns.Record) {
		t.Helper()
		if diff := cmp.Diff(lines(recs), lines(below(t, p, zone, base))); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
	}
	remove := func(t *testing.T) {
		t.Helper()
		for _, rec := range below(t, p, zone, base) {
			if _, err := p.DeleteRecords(context.WithoutCancel(ctx), zone, []libdns.Record{rec}); err != nil {
				t.Error(err)
			}
		}
		holds(t)
	}

	t.Run("MX replaced as a whole", func(t *testing.T) {
		defer remove(t)
		set(t, mx(10, 20, 30, 40)...)
		set(t, mx(40, 10, 20, 30)...)
		holds(t, mx(40, 10, 20, 30)...)
		set(t, mx(0, 10)...)
		holds(t, mx(0, 10)...)
		for _, rec := range below(t, p, zone, base) {
			if _, ok := rec.(libdns.MX); !ok {
				t.Errorf("%T, want libdns.MX", rec)
			}
		}
	})
	t.Run("other types and names are left alone", func(t *testing.T) {
		defer remove(t)
		text := libdns.TXT{Name: base, TTL: ttl, Text: "stays"}
		other := libdns.MX{Name: "a." + base, TTL: ttl, Preference: 5, Target: host(5)}
		set(t, text, other)
		set(t, mx(10, 20)...)
		holds(t, append(mx(10, 20), text, other)...)
	})
	t.Run("TLSA", func(t *testing.T) {
		defer remove(t)
		tlsa := func(b string) libdns.RR {
			return libdns.RR{Name: "_25._tcp." + base, TTL: ttl, Type: "TLSA", Data: "3 1 1 " + strings.Repeat(b, 32)}
		}
		set(t, tlsa("a1"), tlsa("b2"))
		holds(t, tlsa("a1"), tlsa("b2"))
		set(t, tlsa("c3"))
		holds(t, tlsa("c3"))
		bad := tlsa("c3")
		bad.Data = "3 1 1 nothex"
		if _, err := p.SetRecords(ctx, zone, []libdns.Record{bad}); err == nil {
			t.Error("TLSA data that is not hex was taken")
		}
		holds(t, tlsa("c3"))
	})
	t.Run("TXT as ACME sets it", func(t *testing.T) {
		defer remove(t)
		txt := func(s string) libdns.Record {
			return libdns.TXT{Name: "_acme-challenge." + base, TTL: ttl, Text: s}
		}
		for _, s := range []string{"one", "two", `with "quotes" and \ backslash`, strings.Repeat("long", 100)} {
			got, err := p.AppendRecords(ctx, zone, []libdns.Record{txt(s)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(lines([]libdns.Record{txt(s)}), lines(got)); diff != "" {
				t.Errorf("returned by AppendRecords (-want +got):\n%s", diff)
			}
		}
		gone, err := p.DeleteRecords(ctx, zone, []libdns.Record{txt("one"), txt("not there"), txt(strings.Repeat("long", 100))})
		if err != nil || len(gone) != 2 {
			t.Errorf("deleted %v, %v; want two records", gone, err)
		}
		holds(t, txt("two"), txt(`with "quotes" and \ backslash`))
		if gone, err := p.DeleteRecords(ctx, zone, []libdns.Record{libdns.RR{Name: "_acme-challenge." + base, Type: "TXT"}}); err != nil || len(gone) != 2 {
			t.Errorf("deleted by type: %v, %v", gone, err)
		}
	})
	t.Run("idempotent", func(t *testing.T) {
		defer remove(t)
		for range 3 {
			set(t, mx(10, 20)...)
		}
		holds(t, mx(10, 20)...)
		if _, err := p.DeleteRecords(ctx, zone, mx(10)); err != nil {
			t.Error(err)
		}
		if gone, err := p.DeleteRecords(ctx, zone, mx(10)); err != nil || len(gone) != 0 {
			t.Errorf("deleted again: %v, %v", gone, err)
		}
		holds(t, mx(10, 20)[1])
	})
	t.Run("parallel calls", func(t *testing.T) {
		defer remove(t)
		var wg sync.WaitGroup
		var want []libdns.Record
		for i := range 8 {
			rec := libdns.TXT{Name: fmt.Sprintf("p%d.%s", i, base), TTL: ttl, Text: "x"}
			shared := libdns.TXT{Name: "shared." + base, TTL: ttl, Text: fmt.Sprint(i)}
			want = append(want, rec, shared)
			wg.Go(func() {
				if _, err := p.SetRecords(ctx, zone, []libdns.Record{rec}); err != nil {
					t.Error(err)
				}
				if _, err := p.AppendRecords(ctx, zone, []libdns.Record{shared}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		holds(t, want...)
	})
	t.Run("canceled", func(t *testing.T) {
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := p.SetRecords(canceled, zone, mx(10)); err == nil {
			t.Error("SetRecords worked with a canceled context")
		}
		if _, err := p.GetRecords(canceled, zone); err == nil {
			t.Error("GetRecords worked with a canceled context")
		}
		holds(t)
	})
}

// below returns the records at and below a name.
func below(t *testing.T, p provider, zone, name string) []libdns.Record {
	t.Helper()
	recs, err := p.GetRecords(context.WithoutCancel(t.Context()), zone)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(recs, func(r libdns.Record) bool {
		n := r.RR().Name
		return n != name && !strings.HasSuffix(n, "."+name)
	})
}

// lines writes records in an order that does not depend on theirs.
func lines(recs []libdns.Record) []string {
	out := []string{}
	for _, r := range recs {
		rr := r.RR()
		if rr.Type == "TLSA" {
			rr.Data = strings.ToLower(rr.Data)
		}
		out = append(out, fmt.Sprintf("%s %v %s %s", rr.Name, rr.TTL, rr.Type, rr.Data))
	}
	slices.Sort(out)
	return out
}

func TestProviderConformance(t *testing.T) {
	z := newZone(t, options())
	before := lines(below(t, z, zoneName, "et"))
	conformance(t, z, zoneName, 30*time.Second)
	if diff := cmp.Diff(before, lines(below(t, z, zoneName, "et"))); diff != "" {
		t.Errorf("other records changed:\n%s", diff)
	}
	signatures(t, z) // all of them verify
}
