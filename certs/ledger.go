package certs

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/tlsink/tlsink/scenario"
)

// ledgerFile says which generation of each key is in use, and how far rolls
// are. It is the one truth about that, and replaced as a whole: every step of a
// roll is one write of it.
const ledgerFile = "keys.json"

const ledgerVersion = 1

// phase is a stored step of a roll. What has to be waited for within one is not
// stored: a restart waits anew, since clocks can't be trusted across one.
type phase string

const (
	phaseAnnounce phase = "announce" // both keys in TLSA, the old one in use
	phaseSwitched phase = "switched" // both keys in TLSA, the new one in use
	phaseWithdraw phase = "withdraw" // the new key alone; the old one's files go once that is published
	phaseCancel   phase = "cancel"   // the old key alone; the new one's files go once that is published
)

// roll is a key change under way. It is never changed, only replaced.
type roll struct {
	Phase   phase     `json:"phase"`
	Other   int       `json:"other"` // the generation that is not in use
	Started time.Time `json:"started"`
}

// record is what the ledger says about one identity; both algorithms roll
// together.
type record struct {
	Generation int   `json:"generation"` // in use
	Roll       *roll `json:"roll,omitempty"`
}

// ledger holds a record for each identity that ever rolled, by identity name.
type ledger map[string]record

type ledgerJSON struct {
	Version int    `json:"version"`
	Keys    ledger `json:"keys"`
}

func identityName(id scenario.Certificate) string {
	return fmt.Sprintf("%d-%s-%s", id.Slot, id.Owner, id.Kind)
}

func (l ledger) of(id scenario.Certificate) record { return l[identityName(id)] }

// with returns a copy in which id has another record.
func (l ledger) with(id scenario.Certificate, r record) ledger {
	next := maps.Clone(l)
	if next == nil {
		next = make(ledger)
	}
	next[identityName(id)] = r
	return next
}

func (v vault) readLedger() (ledger, error) {
	b, ok, err := v.read(ledgerFile)
	if err != nil {
		return nil, fmt.Errorf("read key generations: %w", err)
	}
	if !ok {
		return ledger{}, nil
	}
	var stored ledgerJSON
	if err := json.Unmarshal(b, &stored); err != nil {
		return nil, fmt.Errorf("file %q: %w; restore it from the backup that the keys are from", v.path(ledgerFile), err)
	}
	if stored.Version != ledgerVersion {
		return nil, fmt.Errorf("file %q has version %d, want %d; run the version of tlsink that wrote it", v.path(ledgerFile), stored.Version, ledgerVersion)
	}
	for name, r := range stored.Keys {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("file %q, key %q: %w; restore it from the backup that the keys are from", v.path(ledgerFile), name, err)
		}
	}
	return stored.Keys, nil
}

func (r record) check() error {
	if r.Generation < 0 {
		return fmt.Errorf("generation %d is negative", r.Generation)
	}
	if r.Roll == nil {
		return nil
	}
	switch r.Roll.Phase {
	case phaseAnnounce, phaseSwitched, phaseWithdraw, phaseCancel:
	default:
		return fmt.Errorf("unknown phase %q", r.Roll.Phase)
	}
	if r.Roll.Other < 0 || r.Roll.Other == r.Generation {
		return fmt.Errorf("generation %d cannot take turns with %d", r.Generation, r.Roll.Other)
	}
	return nil
}

func (v vault) writeLedger(l ledger) error {
	b, err := json.MarshalIndent(ledgerJSON{Version: ledgerVersion, Keys: l}, "", "  ")
	if err != nil {
		return err
	}
	return v.write(ledgerFile, append(b, '\n'), 0o600)
}
