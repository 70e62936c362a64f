package main

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/deliver"
	"github.com/tlsink/tlsink/history"
)

// pool returns 40 addresses in three networks.
func pool(networks ...byte) (out []netip.Addr) {
	for i := range 40 {
		out = append(out, netip.AddrFrom4([4]byte{10, 0, networks[i%3], byte(10 + i)}))
	}
	return out
}

// provider is a mail service: 40 addresses, one EHLO name, and tenants, each
// with a domain of its own.
type provider struct {
	name    string
	alike   bool // all tenants have one policy
	tenants []*mta
}

func (w *world) provider(rng *rand.Rand, name string, ips []netip.Addr, tenants int, kinds ...kind) *provider {
	p := &provider{name: name, alike: len(kinds) == 1}
	for i := range tenants {
		k := kinds[i%len(kinds)]
		k.helo = "out." + name
		p.tenants = append(p.tenants, newMTA(w, k, retries()[rng.IntN(4)], rng.Uint64(), ips...))
	}
	return p
}

// A provider of 40 addresses in three networks hands mails of several users
// from host to host, for all of them with one policy, or with one for each. In
// between, others come from some of those addresses: a server under its own
// name, a server under the provider's name, and one that never sends a mail. No
// verdict is wrong, about a test or about the provider, and whoever asks gets
// one report.
func TestHoursOfProviders(t *testing.T) {
	simulated(t, func(w *world, seed uint64, lines *table) {
		rng := rand.New(rand.NewPCG(seed, 30))
		all := kinds(rng)
		some := func() kind { return all[rng.IntN(len(all))] }
		one, many := pool(1, 2, 3), pool(4, 5, 6)
		providers := []*provider{
			w.provider(rng, "one.example", one, 3, some()),
			w.provider(rng, "many.example", many, 3, vary(rng, policyNamed(deliver.Names()[rng.IntN(len(deliver.Names()))])), vary(rng, policyNamed("may")), some()),
			w.provider(rng, "dane.example", pool(7, 8, 9)[:3], 3, policyNamed("dane", func(k *kind) { k.policy.MaxMX = 3 })),
			w.provider(rng, "stranger.example", one[:2], 1, some()),
			w.provider(rng, "many.example", many[5:8], 1, some()), // under the provider's name
		}
		var senders []*mta
		for _, p := range providers {
			senders = append(senders, p.tenants...)
		}
		ctx, cancel := context.WithCancel(w.t.Context())
		var probes sync.WaitGroup
		for _, name := range []string{"out.one.example", "probe.example"} {
			probes.Go(func() { w.probe(ctx, name, one) })
		}
		together(senders, func(_ int, s *mta) {
			s.someTime(30 * time.Minute)
			s.deliver(w.t.Context(), s.write("user", toET, toUT), nil)
		})
		cancel()
		probes.Wait()
		time.Sleep(9 * time.Hour)
		var n struct{ tests, conclusive, undetermined, provider int }
		for _, p := range providers {
			for _, s := range p.tenants {
				lines.add("%-16s %-40s %s", p.name, s.label, w.outcomes(s, "user"))
				tests := w.tests(s.address("user"))
				w.reported(s.address("user"), len(tests))
				for _, r := range tests {
					n.tests++
					if r.verdict.Conclusive {
						n.conclusive++
					} else {
						n.undetermined++
					}
					if r.rec.Provider != nil {
						n.provider++
						w.judgeProvider(p, s, r.rec)
					}
				}
			}
		}
		lines.add("~ %d tests: %d conclusive, %d undetermined, %d with a verdict for the provider", n.tests, n.conclusive, n.undetermined, n.provider)
	})
}

// judgeProvider checks what is said about a provider.
func (w *world) judgeProvider(p *provider, s *mta, r history.TestRecord) {
	w.t.Helper()
	if !p.alike || r.Provider.Policy != string(s.want) || r.Provider.Tests < 2 {
		w.t.Errorf("%s, %s: WRONG verdict for the provider: %+v", p.name, s.label, r.Provider)
	}
	if reports := w.mailbox.reports(r.ReportTo); !slices.ContainsFunc(reports, func(m string) bool { return strings.Contains(textOf(w.t, m), "What your provider’s servers do") }) {
		w.t.Errorf("%s: no report shows what the provider does: %+v", s.label, r.Provider)
	}
}

// probe connects now and then without a mail: it looks, and quits.
func (w *world) probe(ctx context.Context, name string, ips []netip.Addr) {
	rng := rand.New(rand.NewPCG(uint64(len(name)), 31))
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(rng.Int64N(int64(20 * time.Minute)))):
		}
		s := w.talkAs(ips[rng.IntN(len(ips))], name)
		s.cmd(221, "QUIT")
		_ = s.conn.Close()
	}
}
