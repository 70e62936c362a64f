package certs

import (
	"context"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

// MemoryDisk is a directory in memory that tests break.
type MemoryDisk struct {
	mu    sync.Mutex
	files map[string][]byte
	fault func(op, name string) (done bool, err error)
}

// OpenOn is Open on another disk.
func OpenOn(ctx context.Context, o Options, d *MemoryDisk) (*Store, error) { return open(ctx, o, d) }

// WithFix is what a real disk says about an error.
func WithFix(err error) error { return withFix(err) }

// RewriteLedger reads and writes a ledger.
func RewriteLedger(b []byte) ([]byte, error) {
	d := &MemoryDisk{}
	d.Set(ledgerFile, append([]byte{}, b...))
	l, err := vault{d}.readLedger()
	if err != nil {
		return nil, err
	}
	err = vault{d}.writeLedger(l)
	return d.Content()[ledgerFile], err
}

// Break has fault asked before each "write" and "remove": whether it is done,
// and what is returned. Nil repairs the disk.
func (d *MemoryDisk) Break(fault func(op, name string) (done bool, err error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

// Content returns a copy of all files.
func (d *MemoryDisk) Content() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.files)
}

// Names lists the files.
func (d *MemoryDisk) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.files))
}

// Set replaces a file; nil removes it.
func (d *MemoryDisk) Set(name string, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.put(name, b)
}

func (d *MemoryDisk) put(name string, b []byte) {
	if d.files == nil {
		d.files = make(map[string][]byte)
	}
	if d.files[name] = append([]byte{}, b...); b == nil {
		delete(d.files, name)
	}
}

func (d *MemoryDisk) read(name string) ([]byte, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.files[name]
	return slices.Clone(b), ok, nil
}

func (d *MemoryDisk) do(op, name string, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	done, err := true, error(nil)
	if d.fault != nil {
		done, err = d.fault(op, name)
	}
	if done {
		d.put(name, b)
	}
	return err
}

func (d *MemoryDisk) write(name string, b []byte, _ fs.FileMode) error { return d.do("write", name, b) }

func (d *MemoryDisk) remove(name string) error { return d.do("remove", name, nil) }

func (d *MemoryDisk) path(name string) string { return path.Join("disk", name) }

func (d *MemoryDisk) list(dir string) ([]string, error) {
	var out []string
	for _, name := range d.Names() {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok {
			out = append(out, rest)
		}
	}
	return out, nil
}
