package acme

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// saveTimeout bounds a Save, which is done even if the caller gave up.
const saveTimeout = 10 * time.Second

// pause is a time before which something is not tried again.
type pause struct {
	Until    time.Time `json:"until,omitzero"`
	Reason   string    `json:"reason,omitempty"`
	Failures int       `json:"failures,omitempty"` // in a row
}

// caState is about one directory as a whole.
type caState struct {
	// Asked is what the CA itself asked for with Retry-After.
	Asked pause `json:"asked,omitzero"`
	// Trouble is our back-off while the CA, or our account there, does not work.
	Trouble pause `json:"trouble,omitzero"`
	// Failed holds by name when validations failed, within the last hour.
	Failed map[string][]time.Time `json:"failed,omitempty"`
	// Issuers are digests of the keys that signed what was issued here. Kept
	// for the staging CA, to be refused from the other one.
	Issuers []string `json:"issuers,omitempty"`
	// Proven is the fingerprint of the set-up that passed staging.
	Proven string `json:"proven,omitempty"`
	// Retry is when the operator last asked for back-off to be forgotten.
	Retry time.Time `json:"retry,omitzero"`
}

// certState is about the certificates of one set of names and key algorithm.
type certState struct {
	Backoff pause     `json:"backoff,omitzero"`
	At      time.Time `json:"at,omitzero"`       // of the last failure
	Setup   string    `json:"setup,omitempty"`   // fingerprint at the last failure
	Suspect bool      `json:"suspect,omitempty"` // last validation failed: staging first
	Asked   pause     `json:"asked,omitzero"`    // by the CA, for these names alone
	// Issued are the latest certificates, newest last.
	Issued []issued `json:"issued,omitempty"`
}

// issued is one certificate that the CA issued to us.
type issued struct {
	Digest   string    `json:"digest"` // SHA-256 of the certificate, hex
	ID       string    `json:"id"`     // RFC 9773 §4.1
	NotAfter time.Time `json:"not_after"`
	Window   window    `json:"window,omitzero"`
}

// window is the last known answer of the CA about renewal.
type window struct {
	Start time.Time `json:"start,omitzero"`
	End   time.Time `json:"end,omitzero"`
	Check time.Time `json:"check,omitzero"` // when to ask again
}

// maxIssued is how many certificates of one set are remembered: while a key is
// rolled, there are two.
const maxIssued = 4

// documents reads and writes the state, one JSON document per key.
type documents struct {
	state State
	mu    sync.Mutex
	// unsaved holds what could not be written, e.g. to a full disk, so that the
	// program does not forget it while it runs.
	unsaved map[string][]byte
}

// load returns the document at key, or a zero one.
func load[T any](d *documents, key string) (T, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, _, err := loadLocked[T](d, key)
	return v, err
}

func loadLocked[T any](d *documents, key string) (v T, b []byte, err error) {
	b, ok := d.unsaved[key]
	if !ok {
		if b, err = d.state.Load(key); err != nil {
			return v, nil, fmt.Errorf("load state %q: %w", key, err)
		}
	}
	if len(b) == 0 {
		return v, nil, nil
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, nil, fmt.Errorf("stored state %q: %w; restore a backup", key, err)
	}
	return v, b, nil
}

// update changes the document at key. It is saved even if ctx has ended. If
// saving fails nothing is changed.
func update[T any](ctx context.Context, d *documents, key string, change func(*T)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := updateLocked(ctx, d, key, change)
	return err
}

// note changes the document at key, and if it can't be saved, in memory. It is
// for what has happened already.
func note[T any](ctx context.Context, d *documents, key string, change func(*T)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, err := updateLocked(ctx, d, key, change)
	if err != nil && b != nil {
		d.unsaved[key] = b
	}
	return err
}

func updateLocked[T any](ctx context.Context, d *documents, key string, change func(*T)) ([]byte, error) {
	v, old, err := loadLocked[T](d, key)
	if err != nil {
		return nil, err
	}
	change(&v)
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("save state %q: %w", key, err)
	}
	if _, pending := d.unsaved[key]; !pending && bytes.Equal(b, old) {
		return b, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	if err := d.state.Save(ctx, key, b); err != nil {
		return b, fmt.Errorf("save state %q: %w", key, err)
	}
	delete(d.unsaved, key)
	return b, nil
}

// prefix is where the documents of one directory are.
func prefix(directory string) string {
	sum := sha256.Sum256([]byte(directory))
	host := directory
	if u, err := url.Parse(directory); err == nil {
		host = u.Hostname()
	}
	return "acme/" + host + "-" + hex.EncodeToString(sum[:4]) + "/"
}

// certKey is the key of the certificates of names, which are canonical, and
// algorithm.
func certKey(directory string, names []string, algorithm string) string {
	sorted := slices.Sorted(slices.Values(names))
	sum := sha256.Sum256([]byte(strings.Join(sorted, "\n") + "\n\n" + algorithm))
	return prefix(directory) + "certificate/" + hex.EncodeToString(sum[:16])
}
