package providertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"
)

// remove deletes records and checks what the provider says that it deleted.
func (b bench) remove(t *testing.T, want []libdns.Record, recs ...libdns.Record) {
	t.Helper()
	got, err := b.p.DeleteRecords(t.Context(), b.zone, recs)
	if err != nil {
		t.Fatalf("DeleteRecords: %v", err)
	}
	if diff := cmp.Diff(Lines(want), Lines(got)); diff != "" {
		t.Errorf("returned by DeleteRecords (-want +got):\n%s", diff)
	}
}

// deletes: exactly what is meant. An empty type, TTL or data means any.
func (b bench) deletes(t *testing.T) {
	one, two, three := b.txt("del", "one"), b.txt("del", "two"), b.txt("del", "three")
	mx := libdns.MX{Name: "del." + b.base, TTL: b.ttl, Preference: 1, Target: b.host(1)}
	b.set(t, one, two, three, mx)
	b.remove(t, []libdns.Record{one}, one, b.txt("del", "not there"))
	b.remove(t, nil, b.txt("x", "two"), libdns.TXT{Name: "del." + b.base, TTL: b.ttl + time.Second, Text: "two"})
	b.holds(t, two, three, mx)
	b.remove(t, []libdns.Record{two}, libdns.TXT{Name: "del." + b.base, Text: "two"})
	b.set(t, two, three)
	b.remove(t, []libdns.Record{two, three}, libdns.RR{Name: "del." + b.base, Type: "TXT"})
	b.holds(t, mx)
	b.set(t, two)
	b.remove(t, []libdns.Record{two, mx}, libdns.RR{Name: "del." + b.base})
	b.holds(t)
}

func (b bench) idempotence(t *testing.T) {
	for range 3 {
		b.set(t, b.prefs(10, 20)...)
	}
	b.holds(t, b.prefs(10, 20)...)
	doubled := append(b.prefs(10, 20), b.prefs(10)...)
	if _, err := b.p.SetRecords(t.Context(), b.zone, doubled); err != nil {
		t.Errorf("the same record twice in a call: %v", err)
	}
	b.holds(t, b.prefs(10, 20)...)
	b.remove(t, b.prefs(10), b.prefs(10)...)
	b.remove(t, nil, b.prefs(10)...)
	b.holds(t, b.prefs(10, 20)[1])
}

// names: case has no meaning, and absolute names are names.
func (b bench) names(t *testing.T) {
	mixed := libdns.TXT{Name: "MiXed." + strings.ToUpper(b.base), TTL: b.ttl, Text: "Text Keeps Its Case"}
	b.set(t, mixed)
	want := b.txt("mixed", "Text Keeps Its Case")
	b.holds(t, want)
	if got := b.inside(t); len(got) != 1 || got[0].RR().Name != "mixed."+b.base {
		t.Errorf("read back %v, want it in lower case", got)
	}
	b.set(t, want)
	b.holds(t, want)
	absolute := libdns.TXT{Name: "mixed." + b.base + "." + b.zone, TTL: b.ttl, Text: "absolute"}
	if _, err := b.p.SetRecords(t.Context(), strings.ToUpper(b.zone), []libdns.Record{absolute}); err != nil {
		t.Fatal(err)
	}
	b.holds(t, b.txt("mixed", "absolute"))
	b.remove(t, []libdns.Record{b.txt("mixed", "absolute")}, libdns.TXT{Name: "MIXED." + b.base, TTL: b.ttl, Text: "absolute"})

	if _, err := b.p.SetRecords(t.Context(), b.zone, []libdns.Record{libdns.TXT{Name: "x.other.example.", TTL: b.ttl, Text: "x"}}); err == nil {
		t.Error("a name outside of the zone was taken")
	}
	if _, err := b.p.SetRecords(t.Context(), b.zone, []libdns.Record{libdns.TXT{TTL: b.ttl, Text: "x"}}); err == nil {
		t.Error("an empty name was taken")
	}
}

// apex: the zone itself is "@", and comes back as "@". Nothing is set there, for
// that would replace what others wrote.
func (b bench) apex(t *testing.T) {
	count := func() (n int) {
		for _, rec := range b.all(t) {
			if rr := rec.RR(); rr.Name == "@" && rr.Type == "TXT" && rr.Data == "conformance" {
				n++
			}
		}
		return n
	}
	rec := libdns.TXT{Name: "@", TTL: b.ttl, Text: "conformance"}
	added, err := b.p.AppendRecords(t.Context(), b.zone, []libdns.Record{rec})
	if err != nil || len(added) != 1 || added[0].RR().Name != "@" || count() != 1 {
		t.Errorf("appended %v, %v; there are %d", added, err, count())
	}
	rec.TTL = 0 // that of what was there
	if gone, err := b.p.DeleteRecords(t.Context(), b.zone, []libdns.Record{rec}); err != nil || len(gone) != 1 || count() != 0 {
		t.Errorf("deleted %v, %v; there are %d", gone, err, count())
	}
}

// ttls: what is returned and read back is what is served.
func (b bench) ttls(t *testing.T) {
	shorter := libdns.TXT{Name: "ttl." + b.base, TTL: b.ttl / 2 / time.Second * time.Second, Text: "x"}
	if shorter.TTL < time.Second {
		shorter.TTL = time.Second
	}
	b.set(t, b.txt("ttl", "x"))
	b.set(t, shorter)
	b.holds(t, shorter)
	unset := libdns.TXT{Name: "ttl." + b.base, Text: "x"}
	got, err := b.p.SetRecords(t.Context(), b.zone, []libdns.Record{unset})
	if err != nil || len(got) != 1 || got[0].RR().TTL <= 0 {
		t.Fatalf("no TTL: %v, %v; want the one it got", got, err)
	}
	b.holds(t, got...)
}

// failures: a call that fails leaves the zone as it was, whatever else was in it.
func (b bench) failures(t *testing.T) {
	first := append(b.prefs(10, 20), b.txt("x", "stays"))
	b.set(t, first...)
	before := Lines(b.all(t))
	name := "_25._tcp." + b.base
	for what, bad := range map[string]libdns.Record{
		"TLSA that is not hex": libdns.RR{Name: name, TTL: b.ttl, Type: "TLSA", Data: "3 1 1 nothex"},
		"TLSA without data":    libdns.RR{Name: name, TTL: b.ttl, Type: "TLSA"},
		"MX without a host":    libdns.RR{Name: name, TTL: b.ttl, Type: "MX", Data: "10"},
		"A with IPv6":          libdns.RR{Name: name, TTL: b.ttl, Type: "A", Data: "2001:db8::1"},
		"unknown type":         libdns.RR{Name: name, TTL: b.ttl, Type: "NOPE", Data: "x"},
		"the server's type":    libdns.RR{Name: "@", TTL: b.ttl, Type: "DNSKEY", Data: "257 3 13 AAAA"},
		"two records in one":   libdns.RR{Name: name, TTL: b.ttl, Type: "MX", Data: "10 a.\nx 0 IN A 192.0.2.1"},
		"nil":                  nil,
	} {
		recs := []libdns.Record{b.txt("x", "changed"), bad, b.txt("y", "new")}
		if _, err := b.p.SetRecords(t.Context(), b.zone, recs); err == nil {
			t.Errorf("SetRecords took %s", what)
		}
		if _, err := b.p.AppendRecords(t.Context(), b.zone, recs); err == nil {
			t.Errorf("AppendRecords took %s", what)
		}
	}
	if _, err := b.p.DeleteRecords(t.Context(), b.zone, []libdns.Record{b.txt("x", "stays"), nil}); err == nil {
		t.Error("DeleteRecords took nil")
	}
	for what, call := range b.calls(t.Context(), "unknown.example.") {
		if call() == nil {
			t.Errorf("%s worked on an unknown zone", what)
		}
	}
	if diff := cmp.Diff(before, Lines(b.all(t))); diff != "" {
		t.Errorf("the zone after calls that failed (-before +after):\n%s", diff)
	}
}

// calls returns one call of each method.
func (b bench) calls(ctx context.Context, zone string) map[string]func() error {
	rec := []libdns.Record{b.txt("x", "called")}
	with := func(f func(context.Context, string, []libdns.Record) ([]libdns.Record, error)) func() error {
		return func() error { _, err := f(ctx, zone, rec); return err }
	}
	return map[string]func() error{
		"GetRecords":    func() error { _, err := b.p.GetRecords(ctx, zone); return err },
		"AppendRecords": with(b.p.AppendRecords), "SetRecords": with(b.p.SetRecords), "DeleteRecords": with(b.p.DeleteRecords),
	}
}

// parallelApart: calls on RRsets of their own do not disturb each other.
func (b bench) parallelApart(t *testing.T) {
	var wg sync.WaitGroup
	var want []libdns.Record
	for i := range b.parallel {
		label := fmt.Sprintf("p%d", i)
		want = append(want, b.txt(label, "last"), b.txt(label, "appended"))
		wg.Go(func() {
			_, err1 := b.p.SetRecords(t.Context(), b.zone, []libdns.Record{b.txt(label, "first"), b.txt("d"+label, "x")})
			_, err2 := b.p.SetRecords(t.Context(), b.zone, []libdns.Record{b.txt(label, "last")})
			_, err3 := b.p.AppendRecords(t.Context(), b.zone, []libdns.Record{b.txt(label, "appended")})
			_, err4 := b.p.DeleteRecords(t.Context(), b.zone, []libdns.Record{b.txt("d"+label, "x")})
			if err := errors.Join(err1, err2, err3, err4); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b.holds(t, want...)
}

// parallelSame: no appended record is lost, each is deleted once, and of sets one
// wins as a whole.
func (b bench) parallelSame(t *testing.T) {
	var wg sync.WaitGroup
	var want []libdns.Record
	for i := range b.parallel {
		keep, temp := b.txt("shared", fmt.Sprint("keep", i)), b.txt("shared", fmt.Sprint("temp", i))
		want = append(want, keep)
		wg.Go(func() {
			_, err1 := b.p.AppendRecords(t.Context(), b.zone, []libdns.Record{keep, temp})
			gone, err2 := b.p.DeleteRecords(t.Context(), b.zone, []libdns.Record{temp})
			if err := errors.Join(err1, err2); err != nil || len(gone) != 1 {
				t.Errorf("deleted %v, %v", gone, err)
			}
			if _, err := b.p.SetRecords(t.Context(), b.zone, b.prefs(uint16(i), uint16(i+100), uint16(i+200))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var mx []libdns.Record
	for _, rec := range b.inside(t) {
		if r, ok := rec.(libdns.MX); ok {
			mx = append(mx, r)
			if len(mx) == 1 {
				want = append(want, b.prefs(r.Preference%100, r.Preference%100+100, r.Preference%100+200)...)
			}
		}
	}
	if len(mx) != 3 {
		t.Errorf("MX records of several calls: %v", mx)
	}
	b.holds(t, want...)
}

func (b bench) canceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, call := range b.calls(ctx, b.zone) {
		if call() == nil {
			t.Errorf("%s worked with a canceled context", what)
		}
	}
	b.holds(t)
}
