package policyinfer

import (
	"net/netip"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// stranger makes a connection from a host of the sender that is none of its
// own, and hands nothing over: a health check, a scanner, another mail server
// behind the same address that verifies what we show. Only the address ties it
// to the sender, and it has a name of its own.
func (w *simWorld) stranger(host netip.Addr) {
	c := w.connection(host)
	c.EHLO, c.StartTLSOffered = true, c.Phase == evidence.Secure
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
			slot := 0 // everybody's; a scanner may try others, too
			if w.h.Test.Slot > 0 && w.rng.IntN(3) == 0 {
				slot = w.h.Test.Slot
			}
			name := scenario.Names(simZone, slot).Host(h)
			c.TLS.SNI, c.Destination = &name, string(h.Domain())
		}
		if w.rng.IntN(4) == 0 {
			alert := "bad certificate"
			c.TLS.Alert, c.Ending = &alert, evidence.EndingAlert
		}
	}
	w.record(c)
}
