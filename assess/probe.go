package assess

import (
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink"
)

// Probes look at our own faces as a sender would, and must not be taken for one:
// they say a token in EHLO that only this service gives away, choose their phase
// themselves, hand over nothing, and are no evidence.

// probeLife is how long a token is valid at least. It is given away for half of
// that time, so that there are few, however many ask.
const probeLife = 10 * time.Minute

// probeToken is one that was given away.
type probeToken struct {
	token string
	until time.Time
}

// ProbeToken returns a token for probes (scenario.Probe) of the next ten
// minutes. Others may have the same one.
func (a *Assessor) ProbeToken() (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.o.Now()
	a.probes = slices.DeleteFunc(a.probes, func(t probeToken) bool { return !now.Before(t.until) })
	if n := len(a.probes); n > 0 && a.probes[n-1].until.Sub(now) > probeLife {
		return a.probes[n-1].token, nil
	}
	b := make([]byte, 16)
	if _, err := io.ReadFull(a.o.Rand, b); err != nil {
		return "", fmt.Errorf("token of a probe: %w", err)
	}
	token := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
	a.probes = append(a.probes, probeToken{token, now.Add(probeLife + probeLife/2)})
	return token, nil
}

// Probe implements sink.Prober.
func (a *Assessor) Probe(id evidence.ConnID, hello string) (sink.Probe, bool) {
	p, ok := scenario.FindProbe(a.o.Zone, hello)
	if !ok {
		return sink.Probe{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	conn, now, known := a.conns[id], a.o.Now(), 0
	for _, t := range a.probes {
		if now.Before(t.until) {
			known |= subtle.ConstantTimeCompare([]byte(t.token), []byte(p.Token))
		}
	}
	if known == 0 || conn == nil {
		return sink.Probe{}, false
	}
	a.dismiss(id, conn)
	phase := evidence.Downgrade
	if p.StartTLS {
		phase = evidence.Secure
	}
	return sink.Probe{Phase: phase, Certificate: func(sni string) scenario.Certificate {
		return a.certificate(sni, func(int, scenario.Owner) scenario.Kind { return p.Kind })
	}}, true
}

// dismiss makes a connection one that never came.
func (a *Assessor) dismiss(id evidence.ConnID, conn *connection) {
	delete(a.conns, id)
	c := conn.client
	c.open--
	c.withhold.dismiss(id, conn.start)
	if c.last.Equal(conn.start) {
		c.last = conn.last
	}
	switch {
	case c.open > 0: // somebody else came in between: its treatment has begun
	case conn.fresh && len(c.tests) == 0 && len(c.loose) == 0 && a.clients[c.key] == c:
		delete(a.clients, c.key)
	case conn.began:
		c.downgradeNext = true
	}
}
