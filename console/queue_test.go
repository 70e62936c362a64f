package console_test

import (
	"strings"
	"testing"

	"github.com/tlsink/tlsink/operate"
)

// TestEndedDeliveries: what was sent or given up is no longer in the queue, and
// nothing can be done about it.
func TestEndedDeliveries(t *testing.T) {
	t.Parallel()
	d := full(t)
	d.operator.deliveries = []operate.Delivery{
		{ID: "p", Test: "T1", Host: "pending.example", State: operate.ReportQueued},
		{ID: "s", Test: "T2", Host: "sent.example", State: operate.ReportSent},
		{ID: "g", Test: "T3", Host: "given-up.example", State: operate.ReportGivenUp},
	}
	in := d.in(t)
	for path, hosts := range map[string]string{
		"/console/queue": "pending.example", "/console/queue?all=1": "pending.example sent.example given-up.example",
	} {
		body := in.get(path).Body.String()
		for _, delivery := range d.operator.deliveries {
			if want := strings.Contains(" "+hosts+" ", " "+delivery.Host+" "); strings.Contains(body, delivery.Host) != want {
				t.Errorf("%s lists %s: %v, want %v", path, delivery.Host, !want, want)
			}
			for _, action := range []string{"retry", "drop"} {
				form := "/console/deliveries/" + delivery.ID + "/" + action
				if want := delivery.State == operate.ReportQueued; strings.Contains(body, form) != want {
					t.Errorf("%s offers %s: %v, want %v", path, form, !want, want)
				}
			}
		}
	}
}
