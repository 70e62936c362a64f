package assess

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/policyinfer"
)

// pool is a provider: 40 addresses in three networks, from any of which each
// attempt of a mail may come, and several tenants that test at the same time.
type pool struct {
	w       *world
	seed    uint64
	label   string
	tenants []*tenant
}

// tenant is a user of the provider, or a stranger: a sender, and when it sends.
type tenant struct {
	*sender
	every, next time.Duration
	begun       bool
	stranger    bool
}

func poolAddresses(n int) (out []string) {
	for i := range n {
		out = append(out, []string{"203.0.113.", "198.51.100.", "192.0.2."}[i%3]+strconv.Itoa(10+i))
	}
	return out
}

// poolSeeds is how many providers are simulated.
func poolSeeds() uint64 {
	if v, err := strconv.ParseUint(os.Getenv("TLSINK_SIM"), 10, 64); err == nil {
		return v
	}
	return 8
}

func newPool(w *world, seed uint64, alike bool) *pool {
	rng := rand.New(rand.NewPCG(seed, 21))
	p := &pool{w: w, seed: seed}
	names := policyinfer.Names()
	// Small pools show what large ones show, only sooner.
	ips := poolAddresses([]int{1, 2, 3, 6, 12, 40}[rng.IntN(6)])
	helo := []string{"mail-", "out.provider.example"}[rng.IntN(2)]
	policy, sni := names[rng.IntN(len(names))], rng.IntN(2) == 0
	oneDiffers := rng.IntN(2) == 0
	for i := range 1 + rng.IntN(4) {
		t := &tenant{sender: w.sender(fmt.Sprintf("user%d@tenant%d.example", i, i), policy)}
		if rng.IntN(3) == 0 {
			t.from = fmt.Sprintf("user%d@provider.example", i)
		}
		t.ips, t.helo, t.sni = ips, helo, sni
		t.perTry = 1 + rng.IntN(3)
		if !alike && (!oneDiffers || i == 0) {
			t.policy, t.sni = names[rng.IntN(len(names))], rng.IntN(2) == 0
		}
		t.every = []time.Duration{5, 7, 10, 15, 20, 30}[rng.IntN(6)] * time.Minute
		t.next = time.Duration(rng.IntN(40)) * time.Minute
		p.tenants = append(p.tenants, t)
	}
	if rng.IntN(4) == 0 { // queue runs: everything is tried at the same time
		for _, t := range p.tenants {
			t.every, t.next = p.tenants[0].every, p.tenants[0].next
		}
	}
	p.label = fmt.Sprintf("%d addresses, %s", len(ips), helo)
	if rng.IntN(2) == 0 {
		s := &tenant{sender: w.sender("else@stranger.example", names[rng.IntN(len(names))]), stranger: true}
		s.ips, s.helo = ips[:1+rng.IntN(len(ips))], []string{helo, "stranger.example"}[rng.IntN(2)]
		s.stops = []string{"", "QUIT", "DATA"}[rng.IntN(3)]
		s.perTry, s.sni = 1+rng.IntN(3), rng.IntN(2) == 0
		s.every, s.next = time.Duration(3+rng.IntN(20))*time.Minute, time.Duration(rng.IntN(60))*time.Minute
		p.tenants = append(p.tenants, s)
		p.label += fmt.Sprintf(", beside a stranger %s %q (EHLO %s)", s.policy, s.stops, s.helo)
	}
	for _, t := range p.tenants {
		p.label += fmt.Sprintf("; %s %s sni %v, %d MX every %v from %v", t.from, t.policy, t.sni, t.perTry, t.every, t.next)
	}
	return p
}

// run lets everybody send for some hours.
func (p *pool) run(length time.Duration) {
	for at := time.Duration(0); at < length; {
		next := length
		for _, t := range p.tenants {
			if t.begun && t.delivered() {
				continue
			}
			if at >= t.next {
				if !t.begun {
					t.mail() // written just now
					t.begun = true
				}
				t.attempt()
				t.next = at + t.every
			}
			next = min(next, t.next)
		}
		p.w.wait(next - at)
		at = next
	}
}

// Hosts of a provider that differ are not called by one name, whatever they look
// like together.
func TestProviderWhoseHostsDiffer(t *testing.T) {
	t.Parallel()
	for seed := range poolSeeds() {
		synctest.Test(t, func(t *testing.T) {
			w := newTimedWorld(t, seed, Timing{Close: 3 * time.Hour})
			defer w.stop()
			p := newPool(w, seed, true)
			rng := rand.New(rand.NewPCG(seed, 22))
			policies := []policyinfer.Name{policyinfer.DANE, policyinfer.MTASTS, policyinfer.DANEMTASTS, policyinfer.Encrypt}
			rng.Shuffle(len(policies), func(i, j int) { policies[i], policies[j] = policies[j], policies[i] })
			byIP := make(map[string]policyinfer.Name)
			for i, ip := range poolAddresses(6) {
				byIP[ip] = policies[i%2]
			}
			for _, x := range p.tenants {
				x.ips, x.byIP, x.sni = poolAddresses(6), byIP, true
			}
			p.run(4 * time.Hour)
			for _, x := range p.tenants {
				for _, r := range w.tests(x.from) {
					if r.Provider != nil {
						t.Errorf("seed %d: hosts with %v are called %s", seed, policies[:2], r.Provider.Policy)
					}
				}
			}
		})
	}
}

// poolCount is what a number of simulated providers gave.
type poolCount struct{ tests, conclusive, undetermined, provider, wrong int }

// Senders behind the same addresses, with one policy or several, and a stranger
// between them: what is said is true.
func TestProvidersNeverGetAWrongVerdict(t *testing.T) {
	t.Parallel()
	for _, alike := range []bool{true, false} {
		t.Run(fmt.Sprintf("alike=%v", alike), func(t *testing.T) {
			var n poolCount
			for seed := range poolSeeds() {
				synctest.Test(t, func(t *testing.T) {
					w := newTimedWorld(t, seed, Timing{Close: 3 * time.Hour})
					defer w.stop()
					p := newPool(w, seed, alike)
					p.run(4 * time.Hour)
					p.check(&n)
				})
			}
			t.Logf("%d tests: %d conclusive, %d undetermined, %d with a verdict for the provider; %d wrong", n.tests, n.conclusive, n.undetermined, n.provider, n.wrong)
			if n.conclusive == 0 {
				t.Error("nothing was ever told")
			}
		})
	}
}

// alike reports whether all that test here have one policy.
func (p *pool) alike() bool {
	return !slices.ContainsFunc(p.tenants, func(t *tenant) bool {
		return (!t.stranger || t.stops == "") && t.policy != p.tenants[0].policy
	})
}

func (p *pool) check(n *poolCount) {
	for _, s := range p.tenants {
		for _, r := range p.w.tests(s.from) {
			v, err := p.w.a.View(r.Test.ID)
			if err != nil {
				p.w.t.Fatal(err)
			}
			n.tests++
			if r.Provider != nil {
				n.provider++
				if !p.alike() || r.Provider.Policy != string(s.policy) || v.Verdict.Conclusive {
					n.wrong++
					p.w.t.Errorf("seed %d: the servers of %s are called %s\n%s", p.seed, s.from, r.Provider.Policy, p.label)
				}
			}
			switch {
			case v.Verdict.Policy == s.policy:
				n.conclusive++
			case v.Verdict.Policy != policyinfer.Undetermined:
				n.wrong++
				p.w.t.Errorf("seed %d: %s is called %s\n%s\nreasons %v", p.seed, s.from, v.Verdict.Policy, p.label, v.Verdict.Reasons)
			case !slices.Contains(v.Verdict.Candidates, s.policy):
				n.wrong++
				p.w.t.Errorf("seed %d: %s is one of %v\n%s\nreasons %v", p.seed, s.from, v.Verdict.Candidates, p.label, v.Verdict.Reasons)
			default:
				n.undetermined++
			}
		}
	}
}
