package external_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"

	"github.com/tlsink/tlsink/zones"
	"github.com/tlsink/tlsink/zones/desec"
	"github.com/tlsink/tlsink/zones/desec/desectest"
	"github.com/tlsink/tlsink/zones/external"
	"github.com/tlsink/tlsink/zones/providertest"
)

const zone = "sink.example."

type handler struct{ http.Handler }

func (h handler) Do(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), r.Context().Err()
}

// cloud is a DNS provider that can be made to misbehave.
type cloud struct {
	external.Provider
	api *desectest.Server

	mu    sync.Mutex
	spoil func([]libdns.Record) ([]libdns.Record, error) // what becomes of records that are set
	reads error
	sets  int // calls that write
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	api := desectest.New(desectest.Options{Domain: "sink.example", Token: "t", MinimumTTL: 1})
	p, err := desec.New(desec.Options{API: "https://desec.example/api/v1", Token: "t", Client: handler{api}})
	if err != nil {
		t.Fatal(err)
	}
	return &cloud{Provider: p, api: api}
}

func (c *cloud) become(spoil func([]libdns.Record) ([]libdns.Record, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spoil = spoil
}

func (c *cloud) writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sets
}

func (c *cloud) SetRecords(ctx context.Context, z string, recs []libdns.Record) ([]libdns.Record, error) {
	c.mu.Lock()
	spoil := c.spoil
	c.sets++
	c.mu.Unlock()
	if spoil != nil {
		var err error
		if recs, err = spoil(recs); err != nil {
			return nil, err
		}
	}
	return c.Provider.SetRecords(ctx, z, recs)
}

func (c *cloud) DeleteRecords(ctx context.Context, z string, recs []libdns.Record) ([]libdns.Record, error) {
	c.mu.Lock()
	c.sets++
	c.mu.Unlock()
	return c.Provider.DeleteRecords(ctx, z, recs)
}

func (c *cloud) GetRecords(ctx context.Context, z string) ([]libdns.Record, error) {
	c.mu.Lock()
	err := c.reads
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return c.Provider.GetRecords(ctx, z)
}

// write is what others do.
func (c *cloud) write(t *testing.T, recs ...libdns.Record) {
	t.Helper()
	if _, err := c.Provider.SetRecords(t.Context(), zone, recs); err != nil {
		t.Fatal(err)
	}
}

func (c *cloud) has(t *testing.T, name, rrtype string) (out []string) {
	t.Helper()
	recs, err := c.Provider.GetRecords(t.Context(), zone)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range recs {
		if rr := rec.RR(); rr.Name == name && rr.Type == rrtype {
			out = append(out, rr.Data)
		}
	}
	slices.Sort(out)
	return out
}

func tlsaOf(b string) zones.TLSARecord {
	return zones.TLSARecord{Usage: 3, Selector: 1, MatchingType: 1, Data: []byte(strings.Repeat(b, 32))}
}

func content(t *testing.T, slots int, tlsa string) []libdns.Record {
	t.Helper()
	recs, err := zones.Content(zones.Options{
		Zone: zone, Slots: slots, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		PolicyID: "1", TLSA: map[string][]zones.TLSARecord{"mx04.et." + zone: {tlsaOf(tlsa)}, "mx." + zone: {tlsaOf(tlsa)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

func newPublisher(t *testing.T, c external.Provider, change ...func(*external.Options)) *external.Publisher {
	t.Helper()
	o := external.Options{Zone: "Sink.Example", Slots: 2, Provider: c, Content: content(t, 2, "a")}
	for _, f := range change {
		f(&o)
	}
	p, err := external.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func publish(t *testing.T, p *external.Publisher) external.Report {
	t.Helper()
	report, err := p.Publish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// brief writes a report shortly.
func brief(r external.Report) []string {
	out := slices.Clone(r.Wrong)
	for _, c := range r.Changed {
		what := "set"
		if len(c.Want) == 0 {
			what = "removed"
		}
		out = append(out, what+" "+c.Name+" "+c.Type)
	}
	slices.Sort(out)
	return out
}

func TestPublish(t *testing.T) {
	c := newCloud(t)
	p := newPublisher(t, c)
	publish(t, p)
	recs, err := c.Provider.GetRecords(t.Context(), zone)
	if err != nil {
		t.Fatal(err)
	}
	recs = slices.DeleteFunc(recs, func(r libdns.Record) bool { return r.RR().Type == "NS" })
	if diff := cmp.Diff(providertest.Lines(content(t, 2, "a")), providertest.Lines(recs)); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	writes := c.writes()
	if r := publish(t, p); !r.Empty() || c.writes() != writes {
		t.Errorf("published again: %v, %d calls", brief(r), c.writes()-writes)
	}
}

// Addresses come before the MX records that point to them.
func TestAddressesFirst(t *testing.T) {
	c := newCloud(t)
	var types []string
	c.become(func(recs []libdns.Record) ([]libdns.Record, error) {
		for _, r := range recs {
			types = append(types, r.RR().Type)
		}
		return recs, nil
	})
	publish(t, newPublisher(t, c, func(o *external.Options) { o.Slots, o.Content = 50, content(t, 50, "a") }))
	last := slices.Index(types, "TXT")
	if i := slices.Index(types, "MX"); i < last {
		last = i
	}
	if slices.Contains(types[last:], "A") || c.writes() < 2 {
		t.Errorf("addresses after others, or all in one call (%d)", c.writes())
	}
}

// What is ours is repaired; what is not is left alone.
func TestDrift(t *testing.T) {
	text := func(name, s string) libdns.Record { return libdns.TXT{Name: name, TTL: time.Minute, Text: s} }
	tlsa := func(name string) libdns.Record {
		return libdns.RR{Name: name, TTL: time.Minute, Type: "TLSA", Data: "3 1 1 " + strings.Repeat("ee", 32)}
	}
	addr := func(name, a string, ttl time.Duration) libdns.Record {
		return libdns.Address{Name: name, TTL: ttl, IP: netip.MustParseAddr(a)}
	}
	order := []libdns.Record{}
	for i, h := range []string{"mx06", "mx05", "mx04", "mx03"} {
		order = append(order, libdns.MX{Name: "et", TTL: 30 * time.Second, Preference: uint16(i + 1), Target: h + ".et." + zone})
	}
	for _, c := range []struct {
		name  string
		drift []libdns.Record
		want  []string
		left  bool // what was written is still there
	}{
		{"challenge", []libdns.Record{text("_acme-challenge.mx05.et", "token")}, nil, true},
		{"names of others", []libdns.Record{text("www", "x"), addr("db", "192.0.2.9", time.Hour), tlsa("_443._tcp.www")}, nil, true},
		{"rotated order", order, nil, true},
		{"text beside ours at the zone", []libdns.Record{text("@", "v=spf1 mx -all"), text("@", "site-verification=1")}, nil, true},
		{"changed data", []libdns.Record{tlsa("_25._tcp.mx04.et")}, []string{"set _25._tcp.mx04.et.sink.example. TLSA"}, false},
		{"added data", []libdns.Record{addr("mx03.et", "192.0.2.1", time.Minute), addr("mx03.et", "192.0.2.9", time.Minute)}, []string{"set mx03.et.sink.example. A"}, false},
		{"longer TTL", []libdns.Record{addr("mx03.et", "192.0.2.1", time.Hour)}, []string{"set mx03.et.sink.example. A"}, false},
		{"shorter TTL", []libdns.Record{addr("mx03.et", "192.0.2.1", time.Second)}, nil, true},
		{"second SPF record", []libdns.Record{text("@", "v=spf1 mx -all"), text("@", "v=spf1 +all")}, []string{"set sink.example. TXT"}, false},
		{"slot that is not used", []libdns.Record{addr("mx03.et7", "192.0.2.1", time.Minute), text("_smtp._tls.et7", "x"), text("_mta-sts.et7", "x"), tlsa("_25._tcp.mx03.et7")}, []string{
			"removed _25._tcp.mx03.et7.sink.example. TLSA", "removed _mta-sts.et7.sink.example. TXT",
			"removed _smtp._tls.et7.sink.example. TXT", "removed mx03.et7.sink.example. A",
		}, false},
		{"address that is not ours any more", []libdns.Record{addr("mx03.et", "2001:db8::9", time.Minute)}, []string{"removed mx03.et.sink.example. AAAA"}, false},
		{"ut with DANE", []libdns.Record{tlsa("_25._tcp.ut"), tlsa("_25._tcp.ut1"), tlsa("_443._tcp.x.ut")}, []string{
			"removed _25._tcp.ut.sink.example. TLSA", "removed _25._tcp.ut1.sink.example. TLSA", "removed _443._tcp.x.ut.sink.example. TLSA",
		}, false},
		{"ut with MTA-STS", []libdns.Record{text("_mta-sts.ut", "v=STSv1; id=1;"), addr("mta-sts.ut", "192.0.2.1", time.Minute)}, []string{
			"removed _mta-sts.ut.sink.example. TXT", "removed mta-sts.ut.sink.example. A",
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newCloud(t)
			p := newPublisher(t, cl)
			publish(t, p)
			cl.write(t, c.drift...)
			before := cl.has(t, c.drift[0].RR().Name, c.drift[0].RR().Type)
			if diff := cmp.Diff(c.want, brief(publish(t, p))); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
			if r := publish(t, p); !r.Empty() {
				t.Errorf("not repaired: %v", brief(r))
			}
			after := cl.has(t, c.drift[0].RR().Name, c.drift[0].RR().Type)
			if c.left && cmp.Diff(before, after) != "" {
				t.Errorf("what was left alone was changed: %v, %v", before, after)
			}
		})
	}
}

// A challenge that is set while a round runs, or between two, survives.
func TestForeignTextAtTheZoneSurvivesRepairs(t *testing.T) {
	c := newCloud(t)
	p := newPublisher(t, c)
	c.write(t, libdns.TXT{Name: "@", TTL: time.Hour, Text: "site-verification=1"})
	publish(t, p)
	if diff := cmp.Diff([]string{"site-verification=1", "v=spf1 mx -all"}, c.has(t, "@", "TXT")); diff != "" {
		t.Errorf("TXT at the zone (-want +got):\n%s", diff)
	}
}

// extra is a provider whose zone has records that can't be set through it.
type extra struct {
	external.Provider
	records []libdns.Record
}

func (e extra) GetRecords(ctx context.Context, z string) ([]libdns.Record, error) {
	recs, err := e.Provider.GetRecords(ctx, z)
	return append(recs, e.records...), err
}

func TestWrongBeyondRepair(t *testing.T) {
	for want, rec := range map[string]libdns.Record{
		"_mta-sts.ut.sink.example. is an alias (CNAME) of x.example.":     libdns.CNAME{Name: "_mta-sts.ut", Target: "x.example."},
		"mx03.et.sink.example. is an alias (CNAME)":                       libdns.CNAME{Name: "mx03.et", Target: "x.example."},
		"*.ut.sink.example. TXT: this wildcard":                           libdns.TXT{Name: "*.ut", Text: "x"},
		"et.sink.example. NS takes names of the sink out of the zone":     libdns.NS{Name: "et", Target: "ns.example."},
		"et1.sink.example. DNAME takes names of the sink out of the zone": libdns.RR{Name: "et1", Type: "DNAME", Data: "x.example."},
	} {
		c := newCloud(t)
		p := newPublisher(t, extra{c, []libdns.Record{rec, libdns.CNAME{Name: "www", Target: "x.example."}, libdns.TXT{Name: "*", Text: "x"}}})
		publish(t, p)
		if r := publish(t, p); len(r.Wrong) != 1 || !strings.Contains(r.Wrong[0], want) || len(r.Changed) != 0 {
			t.Errorf("report %v, want one with %q", brief(r), want)
		}
	}
}

// Once the rotator is at work its order is repaired by a turn, not behind its back.
func TestMXOrderIsTheRotators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		turns := 0
		var reports []external.Report
		p := newPublisher(t, c, func(o *external.Options) {
			o.Interval = time.Minute
			o.Rotate = func(context.Context) error { turns++; return nil }
			o.OnReport = func(r external.Report) { reports = append(reports, r) }
		})
		publish(t, p)
		reports = nil // all was new
		if turns != 0 || len(c.has(t, "et", "MX")) != 4 {
			t.Errorf("%d turns, MX %v before the rotator began", turns, c.has(t, "et", "MX"))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(90 * time.Second)
		c.write(t, libdns.MX{Name: "et1", TTL: time.Minute, Preference: 10, Target: "mx03.et1." + zone})
		c.write(t, libdns.TXT{Name: "_mta-sts.ut", TTL: time.Minute, Text: "v=STSv1; id=1;"})
		time.Sleep(time.Minute)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if turns != 1 || len(reports) != 1 || len(c.has(t, "et1", "MX")) != 1 {
			t.Errorf("%d turns, reports %v, MX %v", turns, reports, c.has(t, "et1", "MX"))
		}
		if got := brief(reports[0]); len(got) != 2 || !strings.Contains(got[0], "et1.sink.example.: the MX records were") || got[1] != "removed _mta-sts.ut.sink.example. TXT" {
			t.Errorf("report %v", got)
		}
		if what, cached := reports[0].Spoils(); !strings.Contains(what, "removed _mta-sts.ut.sink.example.") || cached != time.Minute || reports[0].Since.IsZero() {
			t.Errorf("spoils %q for %v since %v", what, cached, reports[0].Since)
		}
	})
}

// What the operator or we ourselves change is no foul play.
func TestSpoils(t *testing.T) {
	other := libdns.RR{Name: "_25._tcp.mx04.et", TTL: 30 * time.Second, Type: "TLSA", Data: "3 1 1 " + strings.Repeat("ee", 32)}
	for name, change := range map[string]struct {
		records []libdns.Record
		want    string
	}{
		"nothing":                 {},
		"of the zone itself":      {[]libdns.Record{libdns.TXT{Name: "@", TTL: time.Minute, Text: "v=spf1 -all"}}, ""},
		"beside the sink":         {[]libdns.Record{libdns.TXT{Name: "www", TTL: time.Minute, Text: "x"}}, ""},
		"a TLSA record of a host": {[]libdns.Record{other}, "changed _25._tcp.mx04.et.sink.example. TLSA"},
		"a TLSA record of ut":     {[]libdns.Record{libdns.RR{Name: "_25._tcp.ut", TTL: time.Minute, Type: "TLSA", Data: other.Data}}, "removed _25._tcp.ut.sink.example. TLSA"},
		"a slot that is not used": {[]libdns.Record{libdns.Address{Name: "ut7", TTL: time.Minute, IP: netip.MustParseAddr("192.0.2.7")}}, "removed ut7.sink.example. A"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			p := newPublisher(t, c)
			if what, _ := publish(t, p).Spoils(); what != "" {
				t.Errorf("the first time: %s", what)
			}
			c.write(t, change.records...)
			if what, _ := publish(t, p).Spoils(); !strings.HasPrefix(what, change.want) || (what == "") != (change.want == "") {
				t.Errorf("spoils %q, want %q", what, change.want)
			}
		})
	}
}

// servers stands for the name servers.
type servers struct {
	mu    sync.Mutex
	asked []string
	err   error
}

func (s *servers) Wait(_ context.Context, fqdn string, qtype uint16, want []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, fmt.Sprint(fqdn, qtype, len(want)))
	return s.err
}

// A TLSA roll is over when every name server has it, and fails until then.
func TestUpdate(t *testing.T) {
	c, s := newCloud(t), &servers{}
	p := newPublisher(t, c, func(o *external.Options) { o.Servers = s })
	publish(t, p)
	s.asked = nil
	if err := p.Update(t.Context(), content(t, 2, "b")); err != nil {
		t.Fatal(err)
	}
	slices.Sort(s.asked)
	want := []string{"_25._tcp.mx.sink.example.52 1", "_25._tcp.mx04.et.sink.example.52 1"}
	if diff := cmp.Diff(want, slices.Compact(s.asked)); diff != "" {
		t.Errorf("confirmed (-want +got):\n%s", diff)
	}
	if got := c.has(t, "_25._tcp.mx04.et", "TLSA"); len(got) != 1 || got[0] != "3 1 1 "+strings.Repeat("62", 32) {
		t.Errorf("TLSA %v", got)
	}
	s.err = errors.New("ns2 serves the old record")
	if err := p.Update(t.Context(), content(t, 2, "c")); err == nil || !strings.Contains(err.Error(), "ns2") {
		t.Errorf("error %v", err)
	}
	// The same again: nothing is left to be published, but ns2 still is behind.
	if err := p.Update(t.Context(), content(t, 2, "c")); err == nil {
		t.Error("no error while a name server serves the old record")
	}
	c.become(func([]libdns.Record) ([]libdns.Record, error) { return nil, errors.New("quota exceeded") })
	s.err = nil
	if err := p.Update(t.Context(), content(t, 2, "d")); err == nil || !strings.Contains(err.Error(), "quota") {
		t.Errorf("error %v", err)
	}
	c.become(nil)
	if r := publish(t, p); len(r.Changed) != 2 {
		t.Errorf("the next round published %v", brief(r))
	}
	if err := p.Update(t.Context(), []libdns.Record{libdns.RR{Name: "_25._tcp.ut", TTL: time.Minute, Type: "TLSA", Data: "3 1 1 00"}}); err == nil {
		t.Error("TLSA at ut was taken")
	}
}

func TestPublishFails(t *testing.T) {
	c := newCloud(t)
	p := newPublisher(t, c)
	c.reads = errors.New("no route to host")
	if _, err := p.Publish(t.Context()); err == nil || !strings.Contains(err.Error(), "no route") {
		t.Errorf("error %v", err)
	}
	c.reads = nil
	c.become(raise)
	if _, err := p.Publish(t.Context()); err == nil || !strings.Contains(err.Error(), "a TTL of 3600 s instead of 60 s") {
		t.Errorf("error %v", err)
	}
}

func TestOptions(t *testing.T) {
	for want, change := range map[string]func(*external.Options){
		"zone":             func(o *external.Options) { o.Zone = "" },
		"slots 0":          func(o *external.Options) { o.Slots = 0 },
		"no provider":      func(o *external.Options) { o.Provider = nil },
		"content is empty": func(o *external.Options) { o.Content = nil },
		"TTL of 3600 s":    func(o *external.Options) { o.Content = []libdns.Record{libdns.TXT{Name: "x", TTL: time.Hour}} },
		"neither TLSA nor MTA-STS": func(o *external.Options) {
			o.Content = []libdns.Record{libdns.TXT{Name: "_mta-sts.ut", TTL: time.Minute, Text: "x"}}
		},
	} {
		o := external.Options{Zone: zone, Slots: 1, Provider: newCloud(t), Content: content(t, 1, "a")}
		change(&o)
		if _, err := external.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
