package scenario_test

import (
	"testing"

	"github.com/tlsink/tlsink/scenario"
)

func TestProbeNames(t *testing.T) {
	for _, p := range []scenario.Probe{
		{Token: "abc234", StartTLS: true, Kind: scenario.CA},
		{Token: "abc234", Kind: scenario.SelfSigned},
	} {
		got, ok := scenario.FindProbe("Sink.Example.", p.Name("sink.example"))
		if !ok || got != p {
			t.Errorf("%s is read as %+v, %v", p.Name("sink.example"), got, ok)
		}
	}
	for _, name := range []string{
		"", "mta.sender.example", "offered.ca.abc.probe.other.example", "offered.ca.probe.sink.example", "offered.ca..probe.sink.example",
		"offered.ca-default.abc.probe.sink.example", "perhaps.ca.abc.probe.sink.example", "x.offered.ca.abc.probe.sink.example", "probe.sink.example",
	} {
		if p, ok := scenario.FindProbe("sink.example", name); ok {
			t.Errorf("%q is taken for the probe %+v", name, p)
		}
	}
}
