package report

import (
	"strings"
	"testing"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/rating"
)

// People hear of mail that does not arrive before they hear of stars.
func TestAlarm(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(a *inbound.Analysis)
		want   bool
	}{
		{"sound", func(*inbound.Analysis) {}, false},
		{"bogus address", func(a *inbound.Analysis) { a.Hosts[0].A.Status = dnssec.Bogus }, true},
		{"bogus TLSA", func(a *inbound.Analysis) { a.Hosts[0].TLSA.Status = dnssec.Bogus }, true},
		{"TLSA does not match", func(a *inbound.Analysis) { a.Hosts[0].Servers[0].DANE = no }, true},
		{"TLSA not testable", func(a *inbound.Analysis) { a.Hosts[0].Servers[0].DANE = check.Skip("x") }, false},
		{"policy leaves a host out", func(a *inbound.Analysis) { a.Hosts[0].Listed = no }, true},
		{"policy that is only tested", func(a *inbound.Analysis) { a.MTASTS.Mode, a.Hosts[0].Listed = "testing", no }, false},
		{"policy, and a certificate that is not valid", func(a *inbound.Analysis) { a.Hosts[0].Servers[0].Certificate.Trusted = no }, true},
		{"no mail", func(a *inbound.Analysis) { a.Route, a.Hosts[0].A.Status = inbound.RouteNull, dnssec.Bogus }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := sound()
			c.change(&a)
			r := rating.Rate(a, rating.Outbound{})
			in := Input{Inbound: &a, Ratings: &r}
			v := inboundOf(in)
			if got := v.Alarm != ""; got != c.want {
				t.Errorf("alarm %q", v.Alarm)
			}
			if c.want && len(inboundAdvice(in)) == 0 {
				t.Error("an alarm without a step")
			}
			in.Language = German
			if got := strings.HasPrefix(inboundOf(in).Alarm, "Achtung"); got != c.want {
				t.Errorf("in German: %q", inboundOf(in).Alarm)
			}
		})
	}
}
