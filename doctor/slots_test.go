package doctor_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/doctor"
	"github.com/tlsink/tlsink/scenario"
)

// nine is a deployment of nine slots.
func nine(t *testing.T) *deployment {
	t.Helper()
	d := newDeployment(t)
	d.o.Slots = 9
	for slot := 1; slot < 9; slot++ {
		d.publishSlot(slot)
	}
	return d
}

// A fault of a single slot is noticed at every check, and named.
func TestFaultOfASlot(t *testing.T) {
	n := scenario.Names(zone, 5)
	at := func(owner scenario.Owner, kind scenario.Kind) scenario.Certificate {
		return scenario.Certificate{Slot: 5, Owner: owner, Kind: kind}
	}
	for _, c := range []struct {
		name    string
		broken  func(d *deployment)
		want    []string
		subject string
	}{
		{"nothing", func(*deployment) {}, nil, ""},
		{"TLSA at ut5", func(d *deployment) { d.set("_25._tcp.ut5.sink.example. 60 IN TLSA 3 1 1 " + strings.Repeat("00", 32)) }, []string{"wrong ut"}, n.UT},
		{"mx05.et5 matches", func(d *deployment) {
			certificates, _ := store()
			pair, err := certificates.Certificates(at(scenario.OwnerMX05, scenario.CA))
			if err != nil {
				d.t.Fatal(err)
			}
			sum := sha256.Sum256(pair[1].Leaf.RawSubjectPublicKeyInfo)
			d.set(n.TLSA("mx05") + ". 60 IN TLSA 3 1 1 " + hex.EncodeToString(sum[:]))
		}, []string{"wrong tlsa"}, n.Host("mx05")},
		{"mx04.et5 does not match", func(d *deployment) { d.records[n.TLSA("mx04")+" TLSA"] = d.records[n.TLSA("mx03")+" TLSA"] }, []string{"wrong tlsa"}, n.Host("mx04")},
		{"mx06.et5 without TLSA", func(d *deployment) { delete(d.records, n.TLSA("mx06")+" TLSA") }, []string{"wrong chain", "wrong zone"}, ""},
		{"mx06.et5 shows that of mx04", func(d *deployment) {
			d.swap[at(scenario.OwnerMX06, scenario.CA)] = certificate(scenario.OwnerMX04, scenario.SelfSigned)
		}, []string{"wrong certificates"}, n.Host("mx06")},
		{"mx03.et5 shows none", func(d *deployment) { d.ended[at(scenario.OwnerMX03, scenario.SelfSigned)] = true }, []string{"wrong certificates"}, n.Host("mx03")},
		{"ut5 shows that of mx06", func(d *deployment) {
			d.swap[at(scenario.OwnerUT, scenario.CA)] = certificate(scenario.OwnerMX06, scenario.CA)
		}, []string{"wrong certificates"}, n.UT},
		{"no policy record of et5", func(d *deployment) { delete(d.records, n.STSRecord()+" TXT") }, []string{"wrong policy"}, n.ET},
		{"mx03.et5 is elsewhere", func(d *deployment) {
			d.records[n.Host("mx03")+" A"] = []dns.RR{d.rr(n.Host("mx03") + ". 60 IN A 192.0.2.99")}
		}, []string{"wrong addresses"}, n.Host("mx03")},
		{"slots that are not in the certificates", func(d *deployment) {
			d.o.Slots = 10
			d.publishSlot(9)
			d.records[scenario.Names(zone, 9).TLSA("mx03")+" TLSA"] = d.records[n.TLSA("mx03")+" TLSA"]
			for _, h := range scenario.MXHosts() {
				d.records[scenario.Names(zone, 9).TLSA(h)+" TLSA"] = d.records[n.TLSA(h)+" TLSA"]
			}
		}, []string{"wrong certificates", "wrong policy"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := nine(t)
			c.broken(d)
			var got []string
			for _, r := range d.run(doctor.All) {
				if r.Status == doctor.OK || strings.HasPrefix(r.Seen, "not tested before") {
					continue
				}
				got = append(got, string(r.Status)+" "+r.Check)
				if c.subject != "" && r.Subject != c.subject {
					t.Errorf("subject %q, want %q: %s", r.Subject, c.subject, r.Line())
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.want, slices.Compact(got)); diff != "" {
				t.Errorf("not ok (-want +got):\n%s", diff)
			}
		})
	}
}

// A policy host that hangs is waited for once, not for each slot.
func TestSlotsDoNotMultiplyTimeouts(t *testing.T) {
	d := nine(t)
	d.o.HTTPS = "192.0.2.26:443"
	d.dial[d.o.HTTPS] = timeout{}
	var got []string
	for _, r := range d.run(doctor.Faces) {
		if r.Check == "policy" {
			got = append(got, string(r.Status)+" "+r.Subject)
		}
	}
	if diff := cmp.Diff([]string{"wrong et.sink.example", "cannot the other slots"}, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

// counted counts lookups.
type counted struct {
	*deployment
	mu    sync.Mutex
	times map[string]int
}

func (c *counted) Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error) {
	c.mu.Lock()
	c.times[name+" "+dns.TypeToString[qtype]]++
	c.mu.Unlock()
	return c.deployment.Lookup(ctx, name, qtype)
}

// Nine slots cost one connection for each host more, and no name is asked for
// more often than in one slot.
func TestCostOfSlots(t *testing.T) {
	cost := func(d *deployment) (connections int, most int) {
		var n atomic.Int64
		d.o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			n.Add(1)
			return d.connect(ctx, network, address)
		}
		c := &counted{deployment: d, times: make(map[string]int)}
		d.o.World, d.o.Own = nil, c
		d.run(doctor.Faces)
		for _, k := range c.times {
			most = max(most, k)
		}
		return int(n.Load()), most
	}
	one, askedOne := cost(newDeployment(t))
	many, askedMany := cost(nine(t))
	if hosts := len(scenario.MXHosts()) + 2; many != one+8*hosts { // ut, and the policy's
		t.Errorf("%d connections for one slot, %d for nine", one, many)
	}
	if askedMany > askedOne {
		t.Errorf("a name is looked up %d times in nine slots, %d times in one", askedMany, askedOne)
	}
}

// BenchmarkFaces is the self-check of our own listeners.
func BenchmarkFaces(b *testing.B) {
	for name, make := range map[string]func(*testing.T) *deployment{"1 slot": newDeployment, "9 slots": nine} {
		b.Run(name, func(b *testing.B) {
			x, err := doctor.New(make(new(testing.T)).o)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				x.Run(b.Context(), doctor.Faces, nil)
			}
		})
	}
}
