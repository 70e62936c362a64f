package zones_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

// Each status of each key has its place in DNSKEY, CDS and CDNSKEY.
func TestCDS(t *testing.T) {
	w := newRollWorld(t)
	w.options.Keys.DSDigests = []uint8{dns.SHA256, dns.SHA384}
	w.restart()
	check := func(stage string, keys, signers int) {
		t.Helper()
		valid := 0
		for _, ds := range w.zone.ValidDS() {
			for _, served := range w.parent.served[0] {
				if served.Digest == ds.Digest {
					valid++
				}
			}
		}
		if served := len(w.parent.served[0]); valid != served {
			t.Errorf("%s: %d of %d DS records that the parent has are good", stage, valid, served)
		}
		cds := ask(t, w.zone, zoneName, dns.TypeCDS, true)
		cdnskey := ask(t, w.zone, zoneName, dns.TypeCDNSKEY, true)
		dnskey := ask(t, w.zone, zoneName, dns.TypeDNSKEY, true)
		for _, m := range []*dns.Msg{cds, cdnskey, dnskey} {
			verify(t, w.zone, m)
		}
		if len(cds.Answer) != 2+signers || len(cdnskey.Answer) != 1+signers || len(dnskey.Answer) != keys+signers {
			t.Errorf("%s: want %d keys and %d signers:\n%v\n%v\n%v", stage, keys, signers, cds.Answer, cdnskey.Answer, dnskey.Answer)
		}
		key := cdnskey.Answer[0].(*dns.CDNSKEY)
		for i, digest := range []uint8{dns.SHA256, dns.SHA384} {
			want := key.ToDS(digest)
			if got := cds.Answer[i].(*dns.CDS); got.Digest != want.Digest || got.KeyTag != want.KeyTag || got.DigestType != digest || got.Algorithm != want.Algorithm {
				t.Errorf("%s: CDS %v is not that of %v", stage, got, key)
			}
			if ds := w.zone.DS()[i]; ds.Digest != want.Digest {
				t.Errorf("%s: DS %v is not that of %v", stage, ds, key)
			}
		}
		if key.KeyTag() != w.zone.DNSKEY().KeyTag() || !slices.ContainsFunc(dnskey.Answer, func(rr dns.RR) bool {
			sig, ok := rr.(*dns.RRSIG)
			return ok && sig.KeyTag == key.KeyTag()
		}) {
			t.Errorf("%s: the key of the CDS does not sign:\n%v", stage, dnskey.Answer)
		}
		types := ask(t, w.zone, zoneName, dns.TypeNSEC, true).Answer[0].(*dns.NSEC).TypeBitMap
		if !slices.Contains(types, dns.TypeCDS) || !slices.Contains(types, dns.TypeCDNSKEY) {
			t.Errorf("%s: NSEC has types %v", stage, types)
		}
	}
	check("at first", 1, 1)
	old := w.zone.DNSKEY().KeyTag()
	w.start(zones.CSK)
	check("published", 2, 2)
	if w.zone.DNSKEY().KeyTag() != old {
		t.Error("the DS of a key that caches do not know belongs at the parent")
	}
	w.until(zones.PhaseHandOver, 0)
	check("hand-over", 2, 2)
	if w.zone.DNSKEY().KeyTag() == old {
		t.Error("the DS of the old key belongs at the parent for ever")
	}
	w.replaceDS()
	w.until("", 0)
	check("at last", 1, 1)
	w.complete(zones.ZSK, nil)
	check("split", 2, 1)
}

func TestKeyOptions(t *testing.T) {
	o := options()
	o.Keys.NoCDS = true
	z := newZone(t, o)
	for _, rrtype := range []uint16{dns.TypeCDS, dns.TypeCDNSKEY} {
		if m := ask(t, z, zoneName, rrtype, true); m.Rcode != 0 || len(m.Answer) != 0 {
			t.Errorf("published although it should not:\n%v", m)
		}
	}
	o.Keys = zones.KeyOptions{Split: true}
	z = newZone(t, o)
	if got := roles(z); got != "ksk active, zsk active" || len(z.DS()) != 1 || z.DS()[0].KeyTag != z.Keys()[0].Tag {
		t.Errorf("split zone: keys %s, DS %v", got, z.DS())
	}
	signatures(t, z)
	for _, digests := range [][]uint8{{dns.SHA1}, {dns.SHA256, dns.SHA256}} {
		o.Keys.DSDigests = digests
		if _, err := zones.New(o); err == nil || !strings.Contains(err.Error(), "DS digest") {
			t.Errorf("digests %v: %v", digests, err)
		}
	}
}

// A state of the first version goes on with its key; what is saved has the
// version that a program of the first version refuses.
func TestStateIsMigrated(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{
		"version": 1, "serial": 4711, "key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	path := filepath.Join(t.TempDir(), "zone.json")
	o.State = zones.FileState{Path: path}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	z := newZone(t, o)
	data, err := o.State.Load()
	if err != nil {
		t.Fatal(err)
	}
	if z.Serial() <= 4711 || roles(z) != "csk active" || len(data.Keys) != 1 || !data.Keys[0].Private.Equal(key) || data.Serial <= z.Serial() {
		t.Errorf("serial %d, keys %s; saved %+v", z.Serial(), roles(z), data)
	}
	var saved struct {
		Version int
		Key     string
	}
	if text, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &saved); err != nil || saved.Version != 2 || saved.Key != "" {
		t.Errorf("saved %+v, %v", saved, err)
	}
}

// Everything about a roll comes back as it was saved.
func TestFileStateKeepsRoll(t *testing.T) {
	w := newRollWorld(t)
	w.start("")
	w.until(zones.PhaseHandOver, 30)
	w.cancel()
	f := zones.FileState{Path: filepath.Join(t.TempDir(), "zone.json")}
	want, err := w.state.Load()
	if err != nil {
		t.Fatal(err)
	}
	want.Roll.Waited, want.Roll.DSTTL, want.Roll.Confirmed = time.Hour, dsTTL, true
	if err := f.Save(want); err != nil {
		t.Fatal(err)
	}
	got, err := f.Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b *ecdsa.PrivateKey) bool { return a.Equal(b) })); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if !got.Roll.Cancelled || len(got.Keys) != 2 {
		t.Errorf("not what was to be tested: %+v", got)
	}
}

func TestStateIsChecked(t *testing.T) {
	w := newRollWorld(t)
	w.start("")
	good, err := w.state.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		edit func(*zones.StateData)
		want string
	}{
		{"role", func(d *zones.StateData) { d.Keys[0].Role = "x" }, `key 1: role "x"`},
		{"status", func(d *zones.StateData) { d.Keys[1].Status = "x" }, `key 2: status "x"`},
		{"phase", func(d *zones.StateData) { d.Roll = &zones.RollData{Phase: "x"} }, `phase "x"`},
		{"no roll", func(d *zones.StateData) { d.Roll = nil }, "no roll"},
		{"two active keys", func(d *zones.StateData) { d.Keys[1].Status = zones.KeyActive }, "2 active keys"},
		{"only a ZSK", func(d *zones.StateData) { d.Keys[0].Role = zones.ZSK }, "0 active keys for the parent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := good
			data.Keys = slices.Clone(good.Keys)
			c.edit(&data)
			o := options()
			o.State = zones.FileState{Path: filepath.Join(t.TempDir(), "zone.json")}
			if err := o.State.Save(data); err != nil {
				t.Fatal(err)
			}
			if _, err := zones.New(o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// A step that can't be saved is not taken.
func TestRollNeedsItsState(t *testing.T) {
	w := newRollWorld(t)
	full := errors.New("disk full")
	w.state.fail = full
	err := w.zone.StartRoll(t.Context(), "")
	if refreshed := w.zone.Refresh(); refreshed != nil {
		t.Error(refreshed)
	}
	if !errors.Is(err, full) || w.zone.Roll().Phase != "" || roles(w.zone) != "csk active" {
		t.Errorf("%v: %s", err, w.zone.Roll())
	}
	w.state.fail = nil
	w.start("")
	w.state.fail = full
	w.clk.Advance(time.Hour)
	if err := w.zone.Advance(t.Context()); !errors.Is(err, full) || w.zone.Roll().Phase != zones.PhasePublish || roles(w.zone) != "csk active, csk published" {
		t.Errorf("%v: %s", err, w.zone.Roll())
	}
	w.state.fail = nil
	if err := w.zone.Advance(t.Context()); err != nil || roles(w.zone) != "csk retiring, csk active" {
		t.Errorf("%v: %s", err, w.zone.Roll())
	}
}

// serialState refuses to save what changes only the serial.
type serialState struct{ memoryState }

func (s *serialState) Save(d zones.StateData) error {
	if before, err := s.Load(); err == nil && phaseOf(before) == phaseOf(d) {
		return errors.New("not for the serial")
	}
	return s.memoryState.Save(d)
}

// A step that was saved is published, even with the last serial that was granted.
func TestRollReservesItsSerial(t *testing.T) {
	state := new(serialState)
	o := options()
	o.State = state
	z := newZone(t, o)
	for i := 0; ; i++ {
		if _, err := z.SetRecords(t.Context(), zoneName, []libdns.Record{libdns.TXT{Name: "x", Text: fmt.Sprint(i)}}); err != nil {
			break
		}
	}
	if err := z.StartRoll(t.Context(), ""); err != nil {
		t.Error(err)
	}
	if got := roles(z); got != "csk active, csk published" {
		t.Error(got)
	}
}

// A key is not withdrawn while the parent can't be asked.
func TestRollNeedsItsParent(t *testing.T) {
	w := newRollWorld(t)
	w.start("")
	w.until(zones.PhaseHandOver, 0)
	w.replaceDS()
	w.until(zones.PhaseRetire, 0)
	w.parent.fail = errors.New("no route")
	w.clk.Advance(time.Hour)
	if err := w.zone.Advance(t.Context()); !errors.Is(err, w.parent.fail) || w.zone.Roll().Phase != zones.PhaseRetire {
		t.Errorf("%v\n%s", err, w.zone.Roll())
	}
	w.parent.fail = nil
	w.parent.set(nil, 1)
	err := w.zone.Advance(t.Context())
	if s := w.zone.Roll(); err == nil || s.Phase != zones.PhaseHandOver || !strings.Contains(s.Problem, "1 of 2 servers of the parent have no DS record") {
		t.Errorf("%v\n%s", err, s)
	}
}

// What the servers of the parent say can be forged on its way: no roll goes on
// before a validating resolver says so, too, nor ends while it says otherwise.
func TestRollNeedsWhatValidates(t *testing.T) {
	w := newRollWorld(t)
	var valid []*dns.DS
	var fail error
	w.options.Keys.ValidDS = func(context.Context) ([]*dns.DS, error) { return valid, fail }
	w.restart()
	w.start("")
	w.until(zones.PhaseHandOver, 0)
	before := slices.Clone(w.zone.Roll().OldDS)
	after := w.zone.Roll().DS
	w.parent.set(after, 0, 1)
	advance := func(phase zones.Phase, problem string) {
		t.Helper()
		w.clk.Advance(time.Second)
		err := w.zone.Advance(t.Context())
		if s := w.zone.Roll(); s.Phase != phase || (err == nil) != (problem == "") || !strings.Contains(s.Problem, problem) {
			t.Errorf("%v, want the phase %q and %q:\n%s", err, phase, problem, s)
		}
	}
	const cached = "a validating resolver still sees others"
	for _, valid = range [][]*dns.DS{before, nil, append(before, after...)} {
		advance(zones.PhaseHandOver, cached)
		if err := w.zone.ConfirmDS(t.Context()); err == nil || !strings.Contains(err.Error(), cached) {
			t.Errorf("confirmed although the resolver has %v: %v", valid, err)
		}
	}
	valid, fail = after, errors.New("bogus")
	advance(zones.PhaseHandOver, "validate the DS records of sink.example.: bogus")
	fail = nil
	advance(zones.PhaseRetire, "")
	advance(zones.PhaseRetire, "")
	valid = before // another cache, perhaps
	advance(zones.PhaseRetire, cached)
	w.clk.Advance(48 * time.Hour)
	advance(zones.PhaseRetire, cached)
	valid = after
	advance("", "")
}

// Run takes a roll from its start to the operator and to its end. The time
// that the zone was not served does not count.
func TestRunRolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Now, o.State = time.Now, zones.FileState{Path: filepath.Join(t.TempDir(), "zone.json")}
		var served [][]*dns.DS
		o.Keys.ParentDS = func(context.Context) ([][]*dns.DS, error) { return served, nil }
		z := newZone(t, o)
		served = [][]*dns.DS{z.DS()}
		run := func(d time.Duration, while func()) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- z.Run(ctx) }()
			while()
			time.Sleep(d)
			synctest.Wait()
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		phase := func(want zones.Phase) {
			t.Helper()
			if s := z.Roll(); s.Phase != want {
				t.Errorf("want the phase %q:\n%s", want, s)
			}
		}
		run(2*time.Minute, func() {
			if err := z.StartRoll(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
		})
		phase(zones.PhasePublish)
		time.Sleep(48 * time.Hour)
		z = newZone(t, o)
		run(5*time.Minute, func() {})
		phase(zones.PhasePublish)
		run(72*time.Hour, func() {})
		phase(zones.PhaseHandOver)
		served = [][]*dns.DS{z.Roll().DS}
		run(20*time.Hour, func() {})
		phase(zones.PhaseRetire)
		z = newZone(t, o)
		run(3*time.Hour, func() {})
		phase(zones.PhaseRetire)
		run(5*time.Hour, func() {}) // what was waited before the restart counts, but for the last hour
		phase("")
		if got := roles(z); got != "csk active" {
			t.Error(got)
		}
	})
}

// crashState saves and crashes whenever a roll takes a step.
type crashState struct{ memoryState }

var errCrash = errors.New("crashed")

func (s *crashState) Save(d zones.StateData) error {
	before, err := s.Load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.memoryState.Save(d); err != nil {
		return err
	}
	if len(before.Keys) > 0 && phaseOf(before) != phaseOf(d) {
		return errCrash
	}
	return nil
}

func phaseOf(d zones.StateData) zones.Phase {
	if d.Roll == nil {
		return ""
	}
	return d.Roll.Phase
}

// A crash between saving a step and publishing it does no harm.
func TestRollSurvivesCrashes(t *testing.T) {
	w := newRollWorld(t)
	w.options.State = new(crashState)
	w.restart()
	w.parent.set(w.zone.DS(), 0, 1)
	if err := w.zone.StartRoll(t.Context(), ""); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	w.restart()
	w.crashes = 1
	w.until(zones.PhaseHandOver, 100)
	w.replaceDS()
	w.until("", 200)
	w.check()
	if w.crashes != 4 || roles(w.zone) != "csk active" {
		t.Errorf("%d crashes, keys %s", w.crashes, roles(w.zone))
	}
}
