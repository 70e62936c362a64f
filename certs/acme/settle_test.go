package acme_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/certs/acme"
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
