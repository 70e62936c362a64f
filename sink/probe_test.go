package sink_test

import (
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink"
)

// probed is a director that knows one probe.
type probed struct {
	*fixedDirector
	known string
	phase evidence.Phase
}

func (d *probed) Probe(_ evidence.ConnID, hello string) (sink.Probe, bool) {
	return sink.Probe{Phase: d.phase, Certificate: func(string) scenario.Certificate {
		return scenario.Certificate{Owner: scenario.OwnerUT, Kind: scenario.CA}
	}}, hello == d.known
}

// A probe chooses its phase and certificate, hands over nothing, and leaves no
// record; a connection that was greeted as another cannot become one.
func TestProbe(t *testing.T) {
	d := &probed{known: "probe.example", phase: evidence.Secure}
	f := newFixture(t, evidence.Downgrade, func(o *sink.Options) {
		d.fixedDirector = o.Director.(*fixedDirector)
		o.Director = d
	})
	addr := f.listen(t)
	c := f.dial(t, addr)
	c.expect(220)
	c.cmd("EHLO probe.example", 250)
	c.cmd("STARTTLS", 220)
	if err := c.handshake(insecure(host(scenario.MX04))); err != nil {
		t.Fatal(err)
	}
	c.cmd("EHLO probe.example", 250)
	c.cmd("MAIL FROM:<>", 250)
	c.cmd("RCPT TO:<someone@elsewhere.example>", 550)
	c.cmd("RCPT TO:<en@et.sink.example>", 550)
	c.cmd("RCPT TO:<postmaster@sink.example>", 550)
	c.cmd("DATA", 502)
	c.cmd("QUIT", 221)

	c = f.dial(t, addr)
	c.expect(220)
	c.cmd("EHLO mta.sender.example", 250)
	c.cmd("EHLO probe.example", 250)
	c.cmd("STARTTLS", 454)
	c.cmd("QUIT", 221)
	if got := f.director.next(t); got.Phase != evidence.Downgrade || len(got.Helo) != 2 {
		t.Errorf("record %+v: want that of the second connection", got)
	}
	select {
	case got := <-f.director.finals:
		t.Errorf("the probe left the record %+v", got)
	default:
	}
}
