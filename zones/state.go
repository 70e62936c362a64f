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
	"path/filepath"
)

// StateData is what a zone must not forget.
type StateData struct {
	// Serial is an upper bound of every serial that was published (RFC 1982).
	Serial uint32
	// Key is the zone's private key, ECDSA P-256.
	Key *ecdsa.PrivateKey
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

// stateVersion is the version of the file's form.
const stateVersion = 1

// maxStateFile bounds what is read, in octets.
const maxStateFile = 64 << 10

// FileState is a State in one file, readable by its owner only and replaced
// atomically.
type FileState struct {
	Path string
}

var _ State = FileState{}

type stateFile struct {
	Version int    `json:"version"`
	Serial  uint32 `json:"serial"`
	Key     string `json:"key"` // PKCS #8, PEM
}

// Load reads the file.
func (f FileState) Load() (StateData, error) {
	info, err := os.Stat(f.Path)
	if err != nil {
		return StateData{}, fmt.Errorf("load zone state: %w", err)
	}
	if info.Size() > maxStateFile {
		return StateData{}, fmt.Errorf("load zone state %q: %d octets, too large", f.Path, info.Size())
	}
	b, err := os.ReadFile(f.Path)
	if err != nil {
		return StateData{}, fmt.Errorf("load zone state: %w", err)
	}
	data, err := parseState(b)
	if err != nil {
		return StateData{}, fmt.Errorf("load zone state %q: %w; restore the file (without it the zone gets a new key and needs a new DS record)", f.Path, err)
	}
	return data, nil
}

func parseState(b []byte) (StateData, error) {
	var file stateFile
	if err := json.Unmarshal(b, &file); err != nil {
		return StateData{}, err
	}
	if file.Version != stateVersion {
		return StateData{}, fmt.Errorf("version %d, want %d", file.Version, stateVersion)
	}
	block, _ := pem.Decode([]byte(file.Key))
	if block == nil {
		return StateData{}, errors.New("key is not in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return StateData{}, errors.New("key is not in PKCS #8")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return StateData{}, fmt.Errorf("key is %T, want ECDSA", parsed)
	}
	return StateData{Serial: file.Serial, Key: key}, nil
}

// Save replaces the file.
func (f FileState) Save(data StateData) error {
	der, err := x509.MarshalPKCS8PrivateKey(data.Key)
	if err != nil {
		return fmt.Errorf("save zone state: %w", err)
	}
	b, err := json.MarshalIndent(stateFile{
		Version: stateVersion,
		Serial:  data.Serial,
		Key:     string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}, "", "\t")
	if err != nil {
		return fmt.Errorf("save zone state: %w", err)
	}
	if err := replaceFile(f.Path, append(b, '\n')); err != nil {
		return fmt.Errorf("save zone state %q: %w", f.Path, err)
	}
	return nil
}

// replaceFile writes b to a new file and renames it to path. Both the file and
// the directory are synced: after a crash path is the old or the new file.
func replaceFile(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreNotExist(os.Remove(tmp.Name())))
		}
	}()
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
