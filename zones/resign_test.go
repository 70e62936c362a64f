package zones_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

// preferences returns the whole MX RRset of et in the given order.
func preferences(order ...string) []libdns.Record {
	var out []libdns.Record
	for i, h := range order {
		out = append(out, libdns.MX{Name: "et", Preference: uint16(10 * (i + 1)), Target: h + ".et." + zoneName})
	}
	return out
}

// signatures returns every signature of the zone by owner and type.
func signatures(t *testing.T, z *zones.Zone) map[string]string {
	t.Helper()
	out := make(map[string]string)
	name := zoneName
	for {
		nsec := ask(t, z, name, dns.TypeNSEC, true).Answer[0].(*dns.NSEC)
		for _, rrtype := range nsec.TypeBitMap {
			if rrtype == dns.TypeRRSIG {
				continue
			}
			m := exchange(t, z, new(dns.Msg).SetQuestion(name, rrtype).SetEdns0(1232, true), false)
			verify(t, z, m)
			out[name+dns.TypeToString[rrtype]] = m.Answer[len(m.Answer)-1].(*dns.RRSIG).Signature
		}
		if name = nsec.NextDomain; name == zoneName {
			return out
		}
	}
}

func TestRotationSignsOnlyMXAndSOA(t *testing.T) {
	z := newZone(t, options())
	before, made, serial := signatures(t, z), z.Counters().Signatures, z.Serial()
	if int(made) != len(before) {
		t.Errorf("%d signatures made for %d RRsets", made, len(before))
	}
	if _, err := z.SetRecords(t.Context(), zoneName, preferences("mx06", "mx03", "mx05", "mx04")); err != nil {
		t.Fatal(err)
	}
	if n := z.Counters().Signatures - made; n != 2 {
		t.Errorf("%d signatures made, want 2", n)
	}
	if z.Serial() != serial+1 {
		t.Errorf("serial %d after %d", z.Serial(), serial)
	}
	var changed []string
	after := signatures(t, z)
	for id := range maps.Keys(before) {
		if before[id] != after[id] {
			changed = append(changed, id)
		}
	}
	if len(changed) != 2 || len(after) != len(before) {
		t.Errorf("changed signatures: %v", changed)
	}
	m := ask(t, z, "et."+zoneName, dns.TypeMX, true)
	verify(t, z, m)
	if mx := m.Answer[0].(*dns.MX); mx.Mx != "mx06.et."+zoneName || mx.Preference != 10 {
		t.Errorf("first MX is %v", mx)
	}
}

// Answers given while the zone changes are of one version, old or new.
func TestAnswersDuringRotation(t *testing.T) {
	z := newZone(t, options())
	orders := [][]libdns.Record{preferences("mx06", "mx05", "mx04", "mx03"), preferences("mx03", "mx04", "mx05", "mx06")}
	done := make(chan error, 1)
	go func() {
		for i := range 60 {
			if _, err := z.SetRecords(context.Background(), zoneName, orders[i%2]); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		verify(t, z, ask(t, z, "et."+zoneName, dns.TypeMX, true))
		verify(t, z, ask(t, z, "_mta-sts.ut."+zoneName, dns.TypeTXT, true))
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

func TestSignaturesAreRefreshed(t *testing.T) {
	const none, few, all = 0, 1, 2
	for _, c := range []struct {
		name string
		step time.Duration
		want int
	}{
		{"young", 62 * time.Hour, none},
		{"some past half of their validity", 70 * time.Hour, few},
		{"past half of their validity", 85 * time.Hour, all},
		{"expired", 1000 * time.Hour, all},
		{"clock set back a little", -time.Second / 2, none},
		{"clock set back", -time.Hour, all},
	} {
		t.Run(c.name, func(t *testing.T) {
			clk := newClock()
			o := options()
			o.Now = clk.Now
			z := newZone(t, o)
			total, serial := z.Counters().Signatures, z.Serial()
			clk.Advance(c.step)
			if err := z.Refresh(); err != nil {
				t.Fatal(err)
			}
			made := z.Counters().Signatures - total
			got := few
			switch made {
			case 0:
				got = none
			case total:
				got = all
			}
			if got != c.want || (c.want != none) != (z.Serial() == serial+1) {
				t.Errorf("%d of %d signatures renewed, serial %d after %d", made, total, z.Serial(), serial)
			}
			sig := ask(t, z, zoneName, dns.TypeSOA, true).Answer[1].(*dns.RRSIG)
			if now := clk.Now(); !sig.ValidityPeriod(now) || !sig.ValidityPeriod(now.Add(-150*time.Minute)) {
				t.Errorf("not valid at %v: %v", now, sig)
			}
		})
	}
}

func TestRunRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Now = time.Now
		z := newZone(t, o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- z.Run(ctx) }()
		for range 30 {
			time.Sleep(24 * time.Hour)
			synctest.Wait()
			sig := ask(t, z, "et."+zoneName, dns.TypeMX, true).Answer[4].(*dns.RRSIG)
			if !sig.ValidityPeriod(time.Now()) || !sig.ValidityPeriod(time.Now().Add(72*time.Hour)) {
				t.Fatalf("at %v the signature has less than three days left: %v", time.Now(), sig)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRestartKeepsKeyAndRaisesSerial(t *testing.T) {
	clk := newClock()
	o := options()
	o.Now = clk.Now
	o.State = zones.FileState{Path: filepath.Join(t.TempDir(), "zone.json")}
	var last uint32
	var key string
	for round := range 4 {
		z := newZone(t, o)
		if round > 0 && (int32(z.Serial()-last) <= 0 || z.DNSKEY().PublicKey != key) {
			t.Errorf("round %d: serial %d after %d, key %s after %s", round, z.Serial(), last, z.DNSKEY().PublicKey, key)
		}
		for i := range 300 { // more than one reservation
			if _, err := z.SetRecords(t.Context(), zoneName, []libdns.Record{libdns.TXT{Name: "x", Text: fmt.Sprint(i)}}); err != nil {
				t.Fatal(err)
			}
			if z.Serial() == last {
				t.Fatalf("serial %d twice", last)
			}
			last = z.Serial()
		}
		key = z.DNSKEY().PublicKey
		clk.Advance(-240 * time.Hour)
	}
}

// memoryState is a State that can fail.
type memoryState struct {
	mu   sync.Mutex
	data *zones.StateData
	fail error
}

func (s *memoryState) Load() (zones.StateData, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data == nil {
		return zones.StateData{}, fs.ErrNotExist
	}
	return *s.data, nil
}

func (s *memoryState) Save(d zones.StateData) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.data = &d
	return nil
}

// A zone whose state was lost goes on above the serials that it once had.
func TestFirstSerialIsTheTime(t *testing.T) {
	if got, now := newZone(t, options()).Serial(), newClock().Now().Unix(); got != uint32(now)+1 {
		t.Errorf("first serial %d at %d", got, now)
	}
}

func TestSerialWrapsAround(t *testing.T) {
	o := options()
	state := new(memoryState)
	o.State = state
	clk := &clock{now: time.Unix(math.MaxUint32-1000, 0)} // serials are never below the time
	o.Now = clk.Now
	newZone(t, o)
	state.data.Serial = math.MaxUint32 - 2
	z := newZone(t, o)
	for i := range 5 {
		before := z.Serial()
		if _, err := z.SetRecords(t.Context(), zoneName, []libdns.Record{libdns.TXT{Name: "x", Text: fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
		if int32(z.Serial()-before) <= 0 { // RFC 1982 §3.2
			t.Errorf("serial %d after %d", z.Serial(), before)
		}
	}
	if z.Serial() > 10 {
		t.Errorf("serial %d did not wrap around", z.Serial())
	}
}

// A serial that is not granted by the state is not published.
func TestFailedSaveLeavesTheZone(t *testing.T) {
	o := options()
	state := new(memoryState)
	o.State = state
	z := newZone(t, o)
	state.fail = errors.New("disk full")
	var failed error
	for i := range 1000 {
		before := z.Serial()
		_, failed = z.SetRecords(t.Context(), zoneName, []libdns.Record{libdns.TXT{Name: "x", Text: fmt.Sprint(i)}})
		if failed == nil {
			continue
		}
		want := fmt.Sprintf("%q", fmt.Sprint(i-1))
		got := ask(t, z, "x."+zoneName, dns.TypeTXT, false).Answer[0].String()
		if z.Serial() != before || !strings.HasSuffix(got, want) {
			t.Errorf("serial %d after %d, record %s, want %s", z.Serial(), before, got, want)
		}
		break
	}
	if !errors.Is(failed, state.fail) {
		t.Errorf("error %v, want %v", failed, state.fail)
	}
}

// With a disk that stays full the signatures are renewed before they end, and
// the next start goes on above the serials that were never saved.
func TestSignaturesOutliveAFullDisk(t *testing.T) {
	clk := newClock()
	o := options()
	state := new(memoryState)
	o.Now, o.State = clk.Now, state
	z := newZone(t, o)
	state.fail = errors.New("disk full")
	for range 90 * 24 {
		clk.Advance(time.Hour)
		err := z.Refresh()
		if err != nil && !errors.Is(err, state.fail) {
			t.Fatal(err)
		}
		if err := covers(z, clk.Now().Add(24*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	last := z.Serial()
	if int32(last-state.data.Serial) <= 0 {
		t.Fatalf("serial %d was granted up to %d: not what was to be tested", last, state.data.Serial)
	}
	state.fail = nil
	if z = newZone(t, o); int32(z.Serial()-last) <= 0 {
		t.Errorf("serial %d after %d", z.Serial(), last)
	}
}

func TestFileState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone.json")
	f := zones.FileState{Path: path}
	if _, err := f.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("load of a missing file: %v", err)
	}
	o := options()
	o.State = f
	newZone(t, o)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	first, err := f.Load()
	if err != nil {
		t.Fatal(err)
	}
	second := first
	second.Serial++
	if err := f.Save(second); err != nil {
		t.Fatal(err)
	}
	got, err := f.Load()
	if err != nil || got.Serial != second.Serial || !got.Keys[0].Private.Equal(first.Keys[0].Private) {
		t.Errorf("read back %v, %v", got.Serial, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left over: %v %v", entries, err)
	}
	if err := (zones.FileState{Path: filepath.Join(path, "x", "y")}).Save(first); err == nil {
		t.Error("saved to a path that can't exist")
	}
	if _, err := zones.New(func() zones.Options { o.State = zones.FileState{Path: t.TempDir()}; return o }()); err == nil {
		t.Error("a directory was taken for the state")
	}
}

func TestDamagedFileState(t *testing.T) {
	key := func(pemText string) string {
		b, err := json.Marshal(map[string]any{"version": 1, "serial": 1, "key": pemText})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "JSON"},
		{"newer version", `{"version":9}`, "version 9 was written by a newer version"},
		{"no version", `{}`, "version 0"},
		{"no keys", `{"version":2}`, "0 active keys"},
		{"no key", key(""), "PEM"},
		{"odd key", key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "PKCS #8"},
		{"huge", strings.Repeat(" ", 1<<20), "too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "zone.json")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			o := options()
			o.State = zones.FileState{Path: path}
			if _, err := zones.New(o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
