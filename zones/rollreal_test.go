package zones_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
	"github.com/tlsink/tlsink/zones/internal/realdns"
)

// realRoll is a zone that is served on the loopback; programs of others play
// its parent, its validators, and look at its content.
type realRoll struct {
	t      *testing.T
	ahead  *clock // of the zone
	parent []*dns.DS
	zone   *zones.Zone
	addr   string
}

func newRealRoll(t *testing.T) *realRoll {
	t.Helper()
	for _, program := range []string{"unbound", "delv", "dnssec-verify", "named-checkzone", "dnssec-cds"} {
		realdns.Need(t, program)
	}
	r := &realRoll{t: t, ahead: &clock{now: time.Now()}}
	o := options()
	o.Now, o.State = r.ahead.Now, zones.FileState{Path: filepath.Join(t.TempDir(), "zone.json")}
	o.Keys = zones.KeyOptions{Propagation: time.Second, DSTTL: time.Second, DSDigests: []uint8{dns.SHA256, dns.SHA384}}
	r.zone = newZone(t, o)
	r.parent = r.zone.DS()
	addrs, _ := serve(t, r.zone, "127.0.0.1:0")
	r.addr = addrs[0]
	return r
}

// run runs a program and returns what it says.
func (r *realRoll) run(name string, args ...string) (string, error) {
	r.t.Helper()
	out, err := exec.CommandContext(r.t.Context(), realdns.Need(r.t, name), args...).CombinedOutput()
	return string(out), err
}

// file writes records to a zone file.
func (r *realRoll) file(rrs []dns.RR) string {
	r.t.Helper()
	var b strings.Builder
	for _, rr := range rrs {
		b.WriteString(rr.String() + "\n")
	}
	path := filepath.Join(r.t.TempDir(), "zone")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// look lets everybody check the zone as it is, from each of the DS records.
func (r *realRoll) look(stage string, split bool, anchors ...*dns.DS) {
	r.t.Helper()
	dump := r.file(zones.All(r.zone))
	verify := []string{"-o", zoneName, dump}
	if !split {
		verify = append([]string{"-z"}, verify...) // BIND does not expect a CSK otherwise
	} else {
		verify = append([]string{"-x"}, verify...)
	}
	if out, err := r.run("dnssec-verify", verify...); err != nil {
		r.t.Errorf("%s: dnssec-verify: %v\n%s", stage, err, out)
	}
	if out, err := r.run("named-checkzone", "-i", "local", zoneName, dump); err != nil {
		r.t.Errorf("%s: named-checkzone: %v\n%s", stage, err, out)
	}
	for _, ds := range anchors {
		r.unbound(stage, ds)
		r.delv(stage, ds)
	}
}

// asked are the questions to real validators.
func asked() []dns.Question {
	return []dns.Question{
		{Name: "", Qtype: dns.TypeDNSKEY},
		{Name: "", Qtype: dns.TypeCDS},
		{Name: "", Qtype: dns.TypeCDNSKEY},
		{Name: "et.", Qtype: dns.TypeMX},
		{Name: "_25._tcp.mx04.et.", Qtype: dns.TypeTLSA},
		{Name: "_25._tcp.ut.", Qtype: dns.TypeTLSA},
		{Name: "ut.", Qtype: dns.TypeAAAA},
	}
}

func (r *realRoll) unbound(stage string, anchor *dns.DS) {
	r.t.Helper()
	resolver := startUnbound(r.t, r.addr, anchor.String())
	for _, q := range asked() {
		if m := resolve(r.t, resolver, q.Name, q.Qtype); !m.AuthenticatedData {
			r.t.Errorf("%s: unbound, from DS %d: not secure:\n%v", stage, anchor.KeyTag, m)
		}
	}
}

func (r *realRoll) delv(stage string, anchor *dns.DS) {
	r.t.Helper()
	for _, q := range asked() {
		if out, ok := r.delvAsks(anchor, q); !ok {
			r.t.Errorf("%s: delv, from DS %d: %s%s not secure:\n%s", stage, anchor.KeyTag, q.Name, zoneName, out)
		}
	}
}

func (r *realRoll) delvAsks(anchor *dns.DS, q dns.Question) (string, bool) {
	r.t.Helper()
	host, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	path := filepath.Join(r.t.TempDir(), "anchors")
	text := fmt.Sprintf("trust-anchors { %q static-ds %d %d %d %q; };\n", zoneName, anchor.KeyTag, anchor.Algorithm, anchor.DigestType, anchor.Digest)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	out, err := r.run("delv", "@"+host, "-p", port, "-a", path, "+root="+zoneName, q.Name+zoneName, dns.TypeToString[q.Qtype])
	return out, err == nil && strings.Contains(out, "fully validated") && !strings.Contains(out, "unsigned answer")
}

// follow lets BIND's dnssec-cds act as the parent. It returns the DS set that
// it makes of the CDS records.
func (r *realRoll) follow() []*dns.DS {
	r.t.Helper()
	var child []dns.RR
	for _, rrtype := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY} {
		child = append(child, ask(r.t, r.zone, zoneName, rrtype, true).Answer...)
	}
	var present []dns.RR
	for _, ds := range r.parent {
		present = append(present, ds)
	}
	out, err := r.run("dnssec-cds", "-a", "SHA-256", "-a", "SHA-384", "-s", "-86400", "-d", r.file(present), "-f", r.file(child), strings.TrimSuffix(zoneName, "."))
	if err != nil {
		r.t.Fatalf("dnssec-cds: %v\n%s", err, out)
	}
	var set []*dns.DS
	parser := dns.NewZoneParser(strings.NewReader(out), ".", "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		set = append(set, rr.(*dns.DS))
	}
	if err := parser.Err(); err != nil || len(set) == 0 {
		r.t.Fatalf("dnssec-cds says: %v\n%s", err, out)
	}
	return set
}

func (r *realRoll) advance(want zones.Phase) {
	r.t.Helper()
	r.ahead.Advance(10 * time.Minute)
	if err := r.zone.Advance(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	if s := r.zone.Roll(); s.Phase != want {
		r.t.Fatalf("want the phase %q:\n%s", want, s)
	}
}

// roll takes a roll to its end.
func (r *realRoll) roll(role zones.Role, split bool) {
	r.t.Helper()
	old := r.parent
	if err := r.zone.StartRoll(r.t.Context(), role); err != nil {
		r.t.Fatal(err)
	}
	r.look("published", split, old...)
	if got := r.follow(); got[0].KeyTag != old[0].KeyTag {
		r.t.Errorf("a parent would follow to key %d while it is published", got[0].KeyTag)
	}
	if role != zones.ZSK {
		r.advance(zones.PhaseHandOver)
		r.parent = r.follow()
		if len(r.parent) != len(old) || r.parent[0].KeyTag == old[0].KeyTag {
			r.t.Errorf("the parent makes %v of %v", r.parent, old)
		}
		r.look("hand-over", split, append(r.parent, old...)...)
		if err := r.zone.ConfirmDS(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	} else {
		r.advance(zones.PhaseRetire)
	}
	r.look("retire", split, append(r.parent, old...)...)
	r.advance("")
	r.look("end", split || role == zones.ZSK, r.parent...)
	if got := r.follow(); got[0].KeyTag != r.parent[0].KeyTag {
		r.t.Errorf("a parent would follow to key %d when all is done", got[0].KeyTag)
	}
}

// Real validators take the zone for secure in every phase of a roll, from the
// DS records that can be cached then, and a real parent follows its CDS.
func TestRealRolls(t *testing.T) {
	for _, c := range []struct {
		name string
		roll func(*realRoll)
	}{
		{"CSK", func(r *realRoll) { r.roll(zones.CSK, false) }},
		{"split, ZSK and KSK", func(r *realRoll) {
			r.roll(zones.ZSK, false)
			r.roll(zones.ZSK, true)
			r.roll(zones.KSK, true)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRealRoll(t)
			old := r.parent[0]
			c.roll(r)
			// All of this can fail: by what is no more, nothing validates.
			if r.parent[0].KeyTag == old.KeyTag {
				t.Fatalf("key %d was to be replaced", old.KeyTag)
			}
			if m := resolve(t, startUnbound(t, r.addr, old.String()), "et.", dns.TypeMX); m.Rcode != dns.RcodeServerFailure {
				t.Errorf("unbound takes the zone for secure by the DS of a key that is gone:\n%v", m)
			}
			if out, ok := r.delvAsks(old, dns.Question{Name: "et.", Qtype: dns.TypeMX}); ok {
				t.Errorf("delv takes the zone for secure by the DS of a key that is gone:\n%s", out)
			}
			damaged := zones.All(r.zone)
			if out, err := r.run("dnssec-verify", "-z", "-o", zoneName, r.file(damaged[:len(damaged)-1])); err == nil {
				t.Errorf("dnssec-verify does not miss a signature:\n%s", out)
			}
		})
	}
}
