package zones

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/tlsink/tlsink/internal/durable"
)

// StateData is what a zone must not forget.
type StateData struct {
	// Serial is an upper bound of every serial that was published (RFC 1982).
	Serial uint32
	// Seen is a time at which the zone ran; zero if not known.
	Seen time.Time
	Keys []Key
	Roll *RollData // nil if no key is being rolled
}

// RollData is how far a key roll is.
type RollData struct {
	Role   Role
	Phase  Phase
	Since  time.Time     // the phase
	Waited time.Duration // of the phase, while the zone was served
	// DSTTL is the longest TTL of DS records that was seen at the parent.
	DSTTL time.Duration
	// Confirmed says that the operator takes the DS record for replaced.
	Confirmed bool
	// Cancelled says that the roll goes back to the old key.
	Cancelled bool
}

// State keeps StateData over restarts. A Zone calls it from one goroutine at a
// time.
type State interface {
	// Load returns what was saved, or an error that is fs.ErrNotExist if
	// nothing was.
	Load() (StateData, error)
	// Save returns after the data would survive a crash.
	Save(StateData) error
}

// stateVersion is the version of the file's form. Version 1 had one key.
const stateVersion = 2

// maxStateFile bounds what is read, in octets.
const maxStateFile = 64 << 10

// FileState is a State in one file, readable by its owner only and replaced
// atomically.
type FileState struct {
	Path string
}

var _ State = FileState{}

type stateFile struct {
	Version int       `json:"version"`
	Serial  uint32    `json:"serial"`
	Seen    time.Time `json:"seen,omitzero"`
	Keys    []fileKey `json:"keys"`
	Roll    *fileRoll `json:"roll,omitempty"`

	Key string `json:"key,omitempty"` // version 1: the only key, PKCS #8, PEM
}

type fileKey struct {
	Role    Role      `json:"role"`
	Status  KeyStatus `json:"status"`
	Created time.Time `json:"created,omitzero"`
	Key     string    `json:"key"` // PKCS #8, PEM
}

type fileRoll struct {
	Role      Role      `json:"role"`
	Phase     Phase     `json:"phase"`
	Since     time.Time `json:"since"`
	Waited    int64     `json:"waited"` // seconds
	DSTTL     int64     `json:"ds_ttl"` // seconds
	Confirmed bool      `json:"confirmed,omitempty"`
	Cancelled bool      `json:"cancelled,omitempty"`
}

func unreadable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("load zone state: %w; give the folder and all that is in it to the user of the service", err)
	}
	return fmt.Errorf("load zone state: %w", err)
}

// Load reads the file.
func (f FileState) Load() (StateData, error) {
	info, err := os.Stat(f.Path)
	if err != nil {
		return StateData{}, unreadable(err)
	}
	if info.Size() > maxStateFile {
		return StateData{}, fmt.Errorf("load zone state %q: %d octets, too large", f.Path, info.Size())
	}
	b, err := os.ReadFile(f.Path)
	if err != nil {
		return StateData{}, unreadable(err)
	}
	data, err := parseState(b)
	if errors.Is(err, errNewer) {
		return StateData{}, fmt.Errorf("load zone state %q: %w", f.Path, err)
	}
	if err != nil {
		return StateData{}, fmt.Errorf("load zone state %q: %w; restore the file (without it the zone gets a new key and needs a new DS record)", f.Path, err)
	}
	return data, nil
}

// errNewer says that a program of a later version has saved the state.
var errNewer = errors.New("was written by a newer version of this program")

func parseState(b []byte) (StateData, error) {
	var file stateFile
	if err := json.Unmarshal(b, &file); err != nil {
		return StateData{}, err
	}
	switch {
	case file.Version == 1:
		file.Keys = []fileKey{{Role: CSK, Status: KeyActive, Key: file.Key}}
	case file.Version > stateVersion:
		return StateData{}, fmt.Errorf("version %d %w, this one reads up to %d: use the newer one, or a backup of before", file.Version, errNewer, stateVersion)
	case file.Version != stateVersion:
		return StateData{}, fmt.Errorf("version %d, want %d", file.Version, stateVersion)
	}
	data := StateData{Serial: file.Serial, Seen: file.Seen}
	for i, k := range file.Keys {
		private, err := parseKey(k.Key)
		if err != nil {
			return StateData{}, fmt.Errorf("key %d: %w", i+1, err)
		}
		data.Keys = append(data.Keys, Key{k.Role, k.Status, k.Created, private})
	}
	if r := file.Roll; r != nil {
		data.Roll = &RollData{
			r.Role, r.Phase, r.Since,
			time.Duration(max(0, min(r.Waited, maxWaited))) * time.Second,
			time.Duration(max(0, min(r.DSTTL, maxDSTTL))) * time.Second,
			r.Confirmed, r.Cancelled,
		}
	}
	return data, data.check()
}

// maxWaited bounds a stored wait, in seconds: ten years.
const maxWaited = 10 * 365 * 86400

// maxDSTTL bounds the TTL that the parent's records may make us wait for, in
// seconds: a week is what resolvers keep at most (RFC 8767 §4).
const maxDSTTL = 7 * 86400

func parseKey(text string) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("not in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("not in PKCS #8")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("is %T, want ECDSA", parsed)
	}
	return key, nil
}

// check refuses what no version of this program has saved.
func (d StateData) check() error {
	rolling := 0
	for i, k := range d.Keys {
		if k.Role != CSK && k.Role != KSK && k.Role != ZSK {
			return fmt.Errorf("key %d: role %q", i+1, k.Role)
		}
		switch k.Status {
		case KeyActive:
		case KeyPublished, KeyRetiring:
			rolling++
		default:
			return fmt.Errorf("key %d: status %q", i+1, k.Status)
		}
	}
	if d.Roll == nil {
		if rolling > 0 {
			return fmt.Errorf("%d keys of a key roll, but no roll", rolling)
		}
		return nil
	}
	switch d.Roll.Phase {
	case PhasePublish, PhaseHandOver, PhaseRetire:
		return nil
	}
	return fmt.Errorf("phase %q of a key roll", d.Roll.Phase)
}

// reserve makes sure that serial is granted, and reports whether it was not.
func (d *StateData) reserve(serial uint32) bool {
	if int32(d.Serial-serial) >= 0 {
		return false
	}
	d.Serial = serial + serialReserve
	return true
}

// clone returns a copy whose keys and roll can be changed.
func (d StateData) clone() StateData {
	d.Keys = slices.Clone(d.Keys)
	if d.Roll != nil {
		roll := *d.Roll
		d.Roll = &roll
	}
	return d
}

// Save replaces the file.
func (f FileState) Save(data StateData) error {
	file := stateFile{Version: stateVersion, Serial: data.Serial, Seen: data.Seen}
	for _, k := range data.Keys {
		der, err := x509.MarshalPKCS8PrivateKey(k.Private)
		if err != nil {
			return fmt.Errorf("save zone state: %w", err)
		}
		file.Keys = append(file.Keys, fileKey{
			k.Role, k.Status, k.Created,
			string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		})
	}
	if r := data.Roll; r != nil {
		file.Roll = &fileRoll{r.Role, r.Phase, r.Since, int64(r.Waited.Seconds()), int64(r.DSTTL.Seconds()), r.Confirmed, r.Cancelled}
	}
	b, err := json.MarshalIndent(file, "", "\t")
	if err != nil {
		return fmt.Errorf("save zone state: %w", err)
	}
	if err := durable.Replace(f.Path, append(b, '\n'), 0o600); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("save zone state %q: %w; free some space on that file system", f.Path, err)
		}
		return fmt.Errorf("save zone state %q: %w", f.Path, err)
	}
	return nil
}
