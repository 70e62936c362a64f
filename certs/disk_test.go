package certs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/scenario"
)

// full is the fault of a disk without space.
func full(op, name string) (bool, error) {
	if op == "remove" {
		return true, nil
	}
	return false, fmt.Errorf("write %q: %w", name, certs.WithFix(syscall.ENOSPC))
}

func TestRenewalOnAFullDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, d := newTestCA(t), &certs.MemoryDisk{}
		o := options(ca)
		s := openOn(t, o, d)
		stop := run(t, s)
		after(time.Minute)
		files := d.Content()
		d.Break(full)
		for range 100 {
			after(day)
			mustHold(t, s, 1)
		}
		if diff := cmp.Diff(files, d.Content()); diff != "" {
			t.Errorf("files changed (-want +got):\n%s", diff)
		}
		calls := len(ca.log())
		if calls != 12 {
			t.Errorf("%d certificates issued, want each twice", calls)
		}
		k := status(t, s, "mx06.et.sink.example", scenario.CA)
		for _, want := range []string{"certificates/0-mx06-ca-ecdsa.pem", "no space left", "free some space"} {
			if !k.Issued || !strings.Contains(k.LastError, want) {
				t.Errorf("status %+v, want an error with %q", k, want)
			}
		}
		d.Break(nil)
		after(10 * time.Minute)
		if k := status(t, s, "mx06.et.sink.example", scenario.CA); k.LastError != "" {
			t.Errorf("error %q, although there is space again", k.LastError)
		}
		stop()
		s = openOn(t, o, d)
		mustHold(t, s, 1)
		if got := len(ca.log()); got != calls {
			t.Errorf("%d certificates issued again", got-calls)
		}
	})
}

func TestRollOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d := newInternet(t), &certs.MemoryDisk{}
		s := openOn(t, w.rolling(newTestCA(t)), d)
		w.serve(s)
		run(t, s)
		after(time.Hour)
		before := keyIDs(s)
		d.Break(full)
		if _, err := s.Roll(t.Context(), "mx06.et"); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "keys/0-mx06-ca-ecdsa.1.pem") {
			t.Errorf("roll: %v", err)
		}
		if !idle(s) || cmp.Diff(before, keyIDs(s)) != "" {
			t.Error("a roll began on a full disk")
		}
		d.Break(nil)
		if _, err := s.Roll(t.Context(), "mx06.et"); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		d.Break(full)
		if _, err := s.CancelRoll("mx06.et"); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("cancel: %v", err)
		}
		after(time.Hour)
		if k := status(t, s, "mx06.et.sink.example", scenario.CA); k.KeyID != before["mx06.et.sink.example ca ecdsa"] || !strings.Contains(k.RollError, "keys.json") {
			t.Errorf("status %+v", k)
		}
		d.Break(nil)
		after(2 * time.Hour)
		if k := status(t, s, "mx06.et.sink.example", scenario.CA); k.KeyID == before["mx06.et.sink.example ca ecdsa"] || k.Roll != certs.NoRoll {
			t.Errorf("status %+v", k)
		}
		w.must(t)
	})
}

// A service with an old copy, or on a disk that became read-only, starts.
func TestOpenOnReadOnlyDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, d := newTestCA(t), &certs.MemoryDisk{}
		openOn(t, options(ca), d)
		d.Break(func(string, string) (bool, error) { return false, certs.WithFix(syscall.EROFS) })
		after(80 * day)
		s := openOn(t, options(ca), d)
		mustHold(t, s, 1)
		run(t, s)
		after(80 * day)
		mustHold(t, s, 1)
	})
}

func TestReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	clk, dir := newClock(), t.TempDir()
	ca := newCA(t, "", clk)
	open(t, fast(dir, ca, clk))
	for _, sub := range []string{"keys", "certificates", "."} {
		if err := os.Chmod(filepath.Join(dir, sub), 0o500); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, sub), 0o700) })
	}
	clk.Add(70 * 24 * time.Hour)
	s := open(t, fast(dir, ca, clk))
	err := s.Renew(t.Context())
	if want := "write permission"; err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), filepath.Join(dir, "certificates")) {
		t.Errorf("error %v, want one with %q and the directory", err, want)
	}
	if leaf := get(t, s, scenario.Certificate{Owner: scenario.OwnerMX06, Kind: scenario.CA})[0].Leaf; leaf.NotBefore.Before(clk.Now().Add(-2 * time.Hour)) {
		t.Error("the renewed certificate is not used")
	}
	if _, err := s.Roll(t.Context(), "mx06.et"); err == nil || !strings.Contains(err.Error(), "write permission") {
		t.Errorf("roll: %v", err)
	}
}

// At the first start the zone is not delegated, so the CA cannot validate.
func TestFirstStartWithoutDelegation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newTestCA(t)
		ca.set(func([]string) error { return errors.New("NXDOMAIN") })
		o := options(ca)
		o.DeferIssue = true
		s := open(t, o)
		run(t, s)
		after(3 * day)
		if len(s.TLSA()) != 5 {
			t.Errorf("TLSA %v", s.TLSA())
		}
		for _, id := range scenario.Certificates() {
			_, err := s.Certificates(id)
			if (err != nil) != (id.Kind == scenario.CA) {
				t.Errorf("%v: error %v", id, err)
			}
		}
		if n := len(ca.log()); n > 6*26 {
			t.Errorf("%d attempts in three days", n)
		}
		k := status(t, s, "mx06.et.sink.example", scenario.CA)
		if k.Issued || k.LastError != "NXDOMAIN" || time.Until(k.Next) > 5*time.Hour {
			t.Errorf("status %+v", k)
		}
		ca.set(nil)
		if err := s.Renew(t.Context()); err != nil { // at once, for the impatient
			t.Error(err)
		}
		mustHold(t, s, 1)
	})
}
