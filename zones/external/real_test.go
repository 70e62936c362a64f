package external_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/mxrotator"
	"github.com/tlsink/tlsink/zones/external"
	"github.com/tlsink/tlsink/zones/internal/realdns"
	"github.com/tlsink/tlsink/zones/propagation"
	"github.com/tlsink/tlsink/zones/rfc2136"
)

// world is a zone at real name servers: all of them serve and sign it.
type world struct {
	servers []string
	anchors []dns.RR
	*external.Publisher
	confirmed *propagation.Confirmed
	all       *propagation.Servers
	provider  *rfc2136.Provider
}

func newWorld(t *testing.T, primary *realdns.Server, others ...string) *world {
	t.Helper()
	w := &world{servers: append([]string{primary.Addr}, others...), anchors: primary.Anchors(t)}
	var err error
	w.provider, err = rfc2136.New(rfc2136.Options{Server: primary.Addr, KeyName: realdns.KeyName, Secret: realdns.Secret})
	if err != nil {
		t.Fatal(err)
	}
	w.all, err = propagation.New(propagation.Options{Zone: zone, Fixed: w.servers, Interval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	w.confirmed = propagation.Confirm(w.provider, w.all)
	w.Publisher = newPublisher(t, w.provider, func(o *external.Options) { o.Servers = w.all })
	return w
}

// secure checks that every server serves a record set, and that it validates.
func (w *world) secure(t *testing.T, name string, qtype uint16, want int) {
	t.Helper()
	for _, addr := range w.servers {
		r, err := dnssec.New(dnssec.Options{TrustAnchors: w.anchors, Servers: []string{addr}, CacheEntries: -1})
		if err != nil {
			t.Fatal(err)
		}
		a, err := r.Lookup(t.Context(), name+zone, qtype)
		if err != nil || a.Status != dnssec.Secure || len(a.RRs) != want {
			t.Errorf("%s: %s %s: %s %s, %d records, want %d: %v", addr, name, dns.TypeToString[qtype], a.Status, a.Why, len(a.RRs), want, err)
		}
	}
}

// sink runs what a sink does with its zone.
func (w *world) sink(t *testing.T) {
	t.Helper()
	if err := w.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, w.Publisher)
	for _, c := range []struct {
		name  string
		qtype uint16
		want  int
	}{
		{"et.", dns.TypeMX, 4},
		{"et1.", dns.TypeMX, 4},
		{"mx03.et.", dns.TypeA, 1},
		{"_25._tcp.mx04.et.", dns.TypeTLSA, 1},
		{"_mta-sts.et.", dns.TypeTXT, 1},
		{"ut.", dns.TypeMX, 1},
		{"mta-sts.et.", dns.TypeAAAA, 1},
		{"", dns.TypeMX, 1},
		{"_25._tcp.ut.", dns.TypeTLSA, 0},
		{"_mta-sts.ut.", dns.TypeTXT, 0},
		{"ut.", dns.TypeTLSA, 0},
		{"tlsink-probe.", dns.TypeA, 0},
	} {
		w.secure(t, c.name, c.qtype, c.want)
	}
	if r := publish(t, w.Publisher); !r.Empty() {
		t.Errorf("published again: %v", brief(r))
	}

	// The rotation is known once every name server serves it.
	rotator, err := mxrotator.New(mxrotator.Options{Zone: zone, Slots: 2, Provider: w.confirmed, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := rotator.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		for slot, et := range []string{"et", "et1"} {
			var want []string
			for h, pref := range rotator.Current(slot) {
				want = append(want, fmt.Sprintf("%d %s.%s.%s", pref, h, et, zone))
			}
			if err := w.all.Check(t.Context(), et+"."+zone, dns.TypeMX, want); err != nil {
				t.Error(err)
			}
		}
	}
	w.secure(t, "et.", dns.TypeMX, 4)

	// A roll: both records, then the new one.
	if err := w.Update(t.Context(), content(t, 2, "b")); err != nil {
		t.Fatal(err)
	}
	w.secure(t, "_25._tcp.mx04.et.", dns.TypeTLSA, 1)
	if err := w.all.Check(t.Context(), "_25._tcp.mx04.et."+zone, dns.TypeTLSA, []string{"3 1 1 " + strings.Repeat("62", 32)}); err != nil {
		t.Error(err)
	}

	// A challenge beside it, as ACME sets and removes it.
	challenge := libdns.TXT{Name: "_acme-challenge.mx05.et", TTL: time.Minute, Text: "token"}
	if _, err := w.provider.AppendRecords(t.Context(), zone, []libdns.Record{challenge}); err != nil {
		t.Fatal(err)
	}
	if err := w.all.WaitIncluding(t.Context(), challenge.Name+"."+zone, dns.TypeTXT, []string{"token"}); err != nil {
		t.Error(err)
	}
	// Damage is repaired, the challenge and the MX order are left alone.
	order := rotator.Current(0)
	if _, err := w.provider.SetRecords(t.Context(), zone, []libdns.Record{
		libdns.RR{Name: "_25._tcp.ut", Type: "TLSA", Data: "3 1 1 " + strings.Repeat("00", 32)},
		libdns.TXT{Name: "_mta-sts.et", Text: "v=STSv1; id=wrong;"},
	}); err != nil {
		t.Fatal(err)
	}
	if got := brief(publish(t, w.Publisher)); len(got) != 2 {
		t.Errorf("repaired %v", got)
	}
	w.secure(t, "_25._tcp.ut.", dns.TypeTLSA, 0)
	w.secure(t, "_acme-challenge.mx05.et.", dns.TypeTXT, 1)
	if err := w.all.Check(t.Context(), "_mta-sts.et."+zone, dns.TypeTXT, []string{"v=STSv1; id=1;"}); err != nil {
		t.Error(err)
	}
	if fmt.Sprint(order) != fmt.Sprint(rotator.Current(0)) {
		t.Errorf("MX order %v, before %v", rotator.Current(0), order)
	}
	serials, err := w.all.Serial(t.Context())
	if err != nil || len(serials) != len(w.servers) {
		t.Errorf("serials %v, %v", serials, err)
	}
}

func TestRealKnot(t *testing.T) { newWorld(t, realdns.Knot(t, realdns.Config{Zone: zone})).sink(t) }

func TestRealBIND(t *testing.T) { newWorld(t, realdns.BIND(t, realdns.Config{Zone: zone})).sink(t) }

func TestRealBINDInline(t *testing.T) {
	newWorld(t, realdns.BIND(t, realdns.Config{Zone: zone, Inline: true})).sink(t)
}

// With a secondary every change is one only when the secondary has it, too.
func TestRealSecondary(t *testing.T) {
	second := realdns.FreeAddr(t)
	primary := realdns.Knot(t, realdns.Config{Zone: zone, Notify: []string{second}})
	realdns.Knot(t, realdns.Config{Zone: zone, Addr: second, Primary: primary.Addr})
	newWorld(t, primary, second).sink(t)
}

// A secondary that hears of nothing is named.
func TestRealSecondaryLagsBehind(t *testing.T) {
	primary := realdns.Knot(t, realdns.Config{Zone: zone})
	second := realdns.Knot(t, realdns.Config{Zone: zone, Primary: primary.Addr})
	w := newWorld(t, primary, second.Addr)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := w.confirmed.SetRecords(ctx, zone, []libdns.Record{libdns.TXT{Name: "x", TTL: time.Minute, Text: "new"}})
	if err == nil || !strings.Contains(err.Error(), second.Addr+" serves no records") || strings.Contains(err.Error(), primary.Addr+" serves") {
		t.Errorf("error %v", err)
	}
	if _, err := w.confirmed.GetRecords(t.Context(), zone); err == nil {
		t.Error("read back what the secondary does not serve")
	}
}
