package acme_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/certs/acme"
	"github.com/tlsink/tlsink/scenario"
)

// The resolver of the CA may remember that there was no record.
func TestSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ttl = time.Minute
		b := newBench(t, func(o *acme.Options) { o.Settle = ttl })
		for _, c := range []struct {
			name  string
			order string
			pause time.Duration
			wait  bool
		}{
			{"the first one", mx05, 0, false},
			{"a neighbour", mx06, 0, false},
			{"the same name", mx06, 0, true},
			{"one above", "et.sink.example", 0, true},
			{"the zone itself", "sink.example", 0, true},
			{"one below", "mx04.et.sink.example", 0, false},
			{"the same name, later", "sink.example", ttl, false},
		} {
			time.Sleep(c.pause)
			began := time.Now()
			b.must(ecdsaKey(t), c.order)
			if took := time.Since(began); (took > ttl/2) != c.wait {
				t.Errorf("%s: %v", c.name, took)
			}
		}
	})
}

// However many names: their challenges come and go in one change of DNS each.
// Some providers allow 300 a day.
func TestOneChangeForAllNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		names := scenario.CertificateNames(zone, 9, scenario.Certificate{Owner: scenario.OwnerDefault, Kind: scenario.CA})
		leaf := b.must(ecdsaKey(t), names...)
		if len(leaf.DNSNames) != 54 || b.dns.appended != 54 || b.dns.changes != 2 || len(b.dns.left()) > 0 {
			t.Errorf("%d names, %d records in %d changes, %v left", len(leaf.DNSNames), b.dns.appended, b.dns.changes, b.dns.left())
		}
	})
}
