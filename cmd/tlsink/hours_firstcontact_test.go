package main

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/deliver"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

func etIP() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 27}) }
func utIP() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 26}) }

// ownAddresses are the configurations in which a first contact is known.
func ownAddresses() map[string]func(*config.Config) {
	return map[string]func(*config.Config){
		"ut apart": func(c *config.Config) {
			c.Downgrade.Mode, c.DNS.UTAddresses = string(assess.FirstContact), []netip.Addr{utIP()}
		},
		"et and ut apart": func(c *config.Config) {
			c.Downgrade.Mode, c.DNS.UTAddresses = string(assess.FirstContact), []netip.Addr{utIP()}
			c.DNS.MXAddresses = []netip.Addr{etIP()}
		},
	}
}

// firstContact runs one bubble for each seed in each of them.
func firstContact(t *testing.T, run func(w *world, seed uint64, lines *table)) {
	t.Helper()
	for name, setup := range ownAddresses() {
		every(t, name+", ", setup, run)
	}
}

// Senders of every policy and habit, those that bounce among them.
func TestHoursOfFirstContact(t *testing.T) {
	firstContact(t, func(w *world, seed uint64, lines *table) {
		rng := rand.New(rand.NewPCG(seed, 21))
		var senders []*mta
		// Its copy for ut bounces while et's goes on: that is not dane-only.
		strict := policyNamed("dane", func(k *kind) {
			k.label, k.policy.TLS, k.policy.OnMissingTLS = "dane, else required, bounces", deliver.TLSRequired, deliver.BounceMissingTLS
		})
		for i, k := range append(kinds(rng), strict) {
			if rng.IntN(3) == 0 {
				k.policy.OnMissingTLS = deliver.BounceMissingTLS
				k.label += ", bounces"
			}
			senders = append(senders, newMTA(w, k, retries()[rng.IntN(5)], rng.Uint64(), clientIP(i+1)))
		}
		trips := w.all(senders, toET, toUT)
		for i, s := range senders {
			lines.add("%-50s %s, %d bounced: %s", s.label, trips[i], len(trips[i].bounced), w.outcomes(s, "user"))
			for _, r := range w.tests(s.address("user")) {
				w.withheldOnce(r)
			}
		}
	})
}

// withheldOnce checks what each connection of a test was shown: STARTTLS was
// withheld from the first one to each domain, and again only after one that told
// nothing; and what it was for is known from its address.
func (w *world) withheldOnce(r row) {
	w.t.Helper()
	h, err := w.service().store.History(r.rec.Test.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	slices.SortFunc(h.Connections, func(a, b evidence.Connection) int { return a.Start.Compare(b.Start) })
	met := make(map[string]int)
	for _, c := range h.Connections {
		place := netip.MustParseAddrPort(c.Local).Addr().String()
		if c.Phase == evidence.Downgrade {
			met[place]++
		}
		if (c.Phase == evidence.Downgrade) == c.StartTLSOffered && c.EHLO && len(c.Helo) > 0 {
			w.t.Errorf("connection %s: phase %s, STARTTLS offered: %v", c.ID, c.Phase, c.StartTLSOffered)
		}
		want := map[netip.Addr]scenario.Domain{utIP(): scenario.Unprotected, etIP(): scenario.ET}[netip.MustParseAddr(place)]
		if want != "" && c.Destination != string(want) {
			w.t.Errorf("connection %s to %s: destination %s", c.ID, place, c.Destination)
		}
	}
	for place, n := range met {
		if n > 2 {
			w.t.Errorf("test %s: STARTTLS was withheld %d times at %s: %s", r.rec.Test.ID, n, place, w.dump(r.rec.Test.ID))
		}
	}
}

// The service restarts while tests run: a first contact stays one.
func TestHoursOfFirstContactWithRestarts(t *testing.T) {
	firstContact(t, func(w *world, seed uint64, lines *table) {
		rng := rand.New(rand.NewPCG(seed, 22))
		senders := w.everyKind(rng, 4, nil)
		done := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Duration(rng.Int64N(int64(20 * time.Minute)))):
				}
				w.halt()
				w.start()
			}
		}()
		trips := w.all(senders, toET, toUT)
		close(done)
		<-ended
		for i, s := range senders {
			lines.add("%-50s %s: %s", s.label, trips[i], w.outcomes(s, "user"))
			for _, r := range w.tests(s.address("user")) {
				w.withheldOnce(r)
			}
		}
	})
}
