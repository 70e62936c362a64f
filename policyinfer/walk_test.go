package policyinfer

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// A walk is written as MX hosts in the order of contact: + delivered, - refused
// by QUIT, . ended without a reason, ? ended before its host was known.
func TestWalkProvesWhoseRefusalItWas(t *testing.T) {
	for _, tt := range []struct {
		name, order, walk, proven string
	}{
		{"refused, then delivered at the next", "5463", "5- 4+", "5"},
		{"between two deliveries", "4563", "4+ 5- 6+", "5"},
		{"two refused before a delivery", "5463", "5- 4- 6+", "54"},
		{"nothing follows", "4563", "4+ 5-", ""},
		{"refused, then delivered at the same host", "5463", "5- 5+ 4+", ""},
		{"the walk does not begin at the first host", "6543", "5- 4+", ""},
		{"a gap", "5643", "5- 4+", ""},
		{"against the order", "4563", "5- 4+", ""},
		{"mx03 may be skipped", "3546", "5- 4+", "5"},
		{"mx03 may be skipped in between", "5346", "5- 4+", "5"},
		{"nothing is proven about mx03", "3546", "3- 5- 4+", "5"},
		{"one met twice", "5463", "5- 5- 4+", ""},
		{"one that may have been cut off", "5463", "5. 4+", ""},
		{"one whose host is not known", "5463", "5- ? 4+", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
			h := walkHistory(start, tt.order, tt.walk)
			h.States[0].Time = start.Add(-time.Hour)
			if got := provenIn(&h); got != tt.proven {
				t.Errorf("proven %q, want %q", got, tt.proven)
			}
			h.States[0].Time = start.Add(-time.Minute)
			if got := provenIn(&h); got != "" {
				t.Errorf("with an order that resolvers may not know yet: proven %q", got)
			}
			h.States = nil
			if got := provenIn(&h); got != "" {
				t.Errorf("without any order: proven %q", got)
			}
		})
	}
}

func walkHistory(start time.Time, order, walk string) evidence.History {
	mx := make(map[string]int)
	for i, digit := range order {
		mx["mx0"+string(digit)] = 10 * (i + 1)
	}
	h := evidence.History{Test: evidence.Test{Zone: simZone}, States: []evidence.State{{MX: mx}}}
	w := &simWorld{rng: rand.New(rand.NewPCG(1, 1)), now: start, clients: make(map[netip.Prefix]*simClient), weak: true}
	from := netip.AddrFrom4([4]byte{192, 0, 2, 10})
	for one := range strings.FieldsSeq(walk) {
		c := w.connection(from)
		c.EHLO, c.StartTLSOffered, c.Helo = true, true, []string{"mta.sender.example"}
		if one == "?" {
			c.Ending = evidence.EndingReset
			w.record(c)
			continue
		}
		host := scenario.Host("mx0" + one[:1])
		name := scenario.Names(simZone, 0).Host(host)
		c.StartTLS, c.Destination = true, string(scenario.ET)
		c.TLS = &evidence.TLS{SNI: &name, ClientVersions: []string{"1.3"}, Stage: evidence.StageFinished, Complete: true, Certificate: string(scenario.HostKind(host))}
		switch one[1] {
		case '+':
			to := []string{"en@" + scenario.Names(simZone, 0).ET}
			c.Transactions = []evidence.Transaction{{RcptTo: to, Data: true, TLS: true, Addressed: to}}
		case '-':
			c.Ending = evidence.EndingQuit
		case '.':
			c.Ending = evidence.EndingReset
		}
		w.record(c)
	}
	h.Connections = w.h.Connections
	return h
}

func provenIn(h *evidence.History) string {
	t := timingOf(nil)
	l := &ledger{test: h.Test, t: t, attempts: attempts(h, t)}
	l.met = deliveriesByHost(l.attempts)
	own := l.ownerships(h.States)
	out := ""
	for i := range h.Connections {
		if c := &h.Connections[i]; own[c] == proven {
			out += strings.TrimPrefix((*c.TLS.SNI)[:4], "mx0")
		}
	}
	return out
}
