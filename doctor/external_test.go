package doctor_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/doctor"
)

// elsewhere has the zone at a DNS provider.
func elsewhere(t *testing.T) *deployment {
	d := newDeployment(t)
	d.o.External, d.o.DS = true, nil
	d.o.Provider = func() error { return nil }
	d.o.Foreign = func() error { return nil }
	d.o.Delegation = "sink.example. 3600 IN NS ns.provider.example.\n"
	d.set("sink.example. 60 IN NS ns.provider.example.", "ns.provider.example. 60 IN A 192.0.2.7")
	d.parent.Ns, d.parent.Extra = []dns.RR{d.rr("sink.example. 60 IN NS ns.provider.example.")}, nil
	return d
}

func TestElsewhere(t *testing.T) {
	for _, f := range []struct {
		name   string
		broken func(d *deployment)
		want   []string // "status check" and a part of what is seen
	}{
		{"nothing", func(*deployment) {}, nil},
		{"our own port 53 is closed", func(d *deployment) {
			d.server = func(_, server string, _ *dns.Msg) error {
				if server == "192.0.2.25:53" {
					return errors.New("refused")
				}
				return nil
			}
		}, nil},
		{"not delegated", func(d *deployment) { d.parent.Ns = nil }, []string{"wrong delegation: the zone is not delegated"}},
		{"other name servers", func(d *deployment) {
			d.parent.Ns = []dns.RR{d.rr("sink.example. 60 IN NS ns.example.")}
		}, []string{"wrong delegation: name servers ns.example; the zone itself names ns.provider.example"}},
		{"no glue", func(d *deployment) {
			d.parent.Ns = []dns.RR{d.rr("sink.example. 60 IN NS ns1.sink.example.")}
		}, []string{"wrong delegation: no glue (address) for ns1.sink.example"}},
		{"lame", func(d *deployment) {
			d.server = func(_, _ string, m *dns.Msg) error { m.Answer, m.Authoritative = nil, false; return nil }
		}, []string{"wrong name-servers: lame"}},
		{"no DS record", func(d *deployment) { d.records["sink.example DS"] = nil }, []string{"wrong ds: there is no DS record"}},
		{"DS of another key", func(d *deployment) { d.status["sink.example DNSKEY"] = dnssec.Bogus }, []string{"wrong ds: do not lead to the keys"}},
		{"DS of another key that is known", func(d *deployment) {
			d.o.DS = []*dns.DS{d.rr("sink.example. 60 IN DS 1 13 2 " + strings.Repeat("cd", 32)).(*dns.DS)}
		}, []string{"wrong ds: for another key"}},
		{"provider lost", func(d *deployment) {
			d.o.Provider = func() error { return errors.New("no answer") }
		}, []string{"wrong provider: no answer"}},
		{"foreign records", func(d *deployment) {
			d.o.Foreign = func() error { return errors.New("removed _25._tcp.ut") }
		}, []string{"wrong foreign: removed _25._tcp.ut"}},
		{"without the service", func(d *deployment) { d.o.Provider, d.o.Foreign = nil, nil }, []string{"cannot provider: only the running", "cannot foreign: only the running"}},
	} {
		t.Run(f.name, func(t *testing.T) {
			d := elsewhere(t)
			f.broken(d)
			var got []string
			for _, r := range d.run(doctor.All) {
				if r.Status != doctor.OK && !strings.HasPrefix(r.Seen, "not tested before") {
					line := string(r.Status) + " " + r.Check + ": " + r.Seen
					if i := slices.IndexFunc(f.want, func(w string) bool {
						check, seen, _ := strings.Cut(w, ": ")
						return strings.HasPrefix(line, check+":") && strings.Contains(line, seen)
					}); i >= 0 {
						line = f.want[i]
					}
					got = append(got, line)
				}
			}
			if diff := cmp.Diff(f.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, broken, _ := doctor.Worst(elsewhereSpoilt(t)); broken == "" {
		t.Error("what somebody else changed spoils nothing")
	}
}

func elsewhereSpoilt(t *testing.T) []doctor.Result {
	d := elsewhere(t)
	d.o.Foreign = func() error { return errors.New("removed _25._tcp.ut") }
	return d.run(doctor.Faces)
}
