package policyinfer

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// stranger makes a connection from a host of the sender that is none of its
// own, and hands nothing over: a health check, a scanner, another mail server
// behind the same address that verifies what we show. Only the address ties it
// to the sender, and it has a name of its own.
func (w *simWorld) stranger(host netip.Addr) {
	c := w.connection(host, w.phase() == evidence.Secure)
	c.Attribution, c.Helo = evidence.ByAddress, []string{"scanner.example"}
	c.Ending = []evidence.Ending{evidence.EndingQuit, evidence.EndingQuit, evidence.EndingFIN, evidence.EndingReset}[w.rng.IntN(4)]
	if c.StartTLSOffered && w.rng.IntN(4) != 0 {
		h := append(scenario.MXHosts(), scenario.UT)[w.rng.IntN(5)]
		sni := w.rng.IntN(3) != 0
		kind := scenario.HostKind(h)
		c.StartTLS = true
		if !sni {
			kind = []scenario.Kind{scenario.SelfSigned, scenario.CADefault}[w.rng.IntN(2)]
		}
		c.TLS = &evidence.TLS{ClientVersions: []string{"1.3"}, Stage: evidence.StageFinished, Complete: true, Certificate: string(kind)}
		if sni {
			name := scenario.Names(simZone, 0).Host(h)
			c.TLS.SNI, c.Destination = &name, string(h.Domain())
		}
		if w.rng.IntN(4) == 0 {
			alert := "bad certificate"
			c.TLS.Alert, c.Ending = &alert, evidence.EndingAlert
		}
	}
	w.record(c)
}

// Whoever else connects from the address of a sender, no verdict about the
// sender is wrong, and its true policy stays a candidate.
func TestStrangersAreNeverMistakenForTheSender(t *testing.T) {
	e := New()
	for seed := range simRuns(t) / 3 {
		rng := rand.New(rand.NewPCG(uint64(seed), 4))
		index := seed % len(e.policies)
		w, s := newSimWorld(rng), newSimSender(rng, e.policies[index])
		w.weak, s.sent = true, w.now
		often := rng.IntN(4)
		for range 2 + rng.IntN(12) {
			for range rng.IntN(1 + often) {
				w.stranger(s.hosts[rng.IntN(len(s.hosts))])
			}
			s.attempt(w)
			for range rng.IntN(1 + often) {
				w.stranger(s.hosts[rng.IntN(len(s.hosts))])
			}
			w.wait(s.retry + time.Duration(rng.IntN(60))*time.Second)
			w.h.Until = w.now
			checkSimulated(t, e, w.h, index, seed)
		}
		if t.Failed() {
			return
		}
	}
}
