package network

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Limits of a table; that of the whole internet has some 700,000 lines and 60 MB.
const (
	maxTable = 512 << 20
	maxLines = 8_000_000
	maxLine  = 4 << 10
	maxName  = 100
)

// Table knows the networks of addresses from a file. It is safe for concurrent
// use.
type Table struct {
	v4    []span[uint32]
	v6    []span[[16]byte]
	infos []Info
}

// span is a range of addresses, both ends in it. Without pointers, as there are
// many.
type span[K any] struct {
	first, last K
	info        uint32 // index
}

// Load reads a table in the format of iptoasn.com's ip2asn-combined.tsv: first
// address, last address, AS number, country code, description, separated by
// tabs; plain or compressed with gzip. Ranges that nobody announces (AS 0) are
// left out. Errors name the line.
func Load(r io.Reader) (*Table, error) {
	t, err := load(r, maxTable, maxLines)
	if err != nil {
		return nil, fmt.Errorf("table of networks: %w", err)
	}
	return t, nil
}

func load(r io.Reader, size int64, lines int) (*Table, error) {
	buffered := bufio.NewReader(r)
	r = buffered
	if magic, _ := buffered.Peek(2); string(magic) == "\x1f\x8b" {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, err
		}
		r = z // its Close would only return an error that Read has returned
	}
	limited := &io.LimitedReader{R: r, N: size + 1}
	scanner := bufio.NewScanner(limited)
	scanner.Buffer(make([]byte, maxLine), maxLine)
	t, known, n := &Table{}, map[Info]uint32{}, 0
	for scanner.Scan() {
		if n++; n > lines {
			return nil, fmt.Errorf("more than %d lines", lines)
		}
		if err := t.add(scanner.Text(), known); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if limited.N <= 0 {
			return nil, fmt.Errorf("more than %d bytes", size)
		}
	}
	if err := scanner.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d: longer than %d bytes", n+1, maxLine)
	} else if err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	if len(t.v4)+len(t.v6) == 0 {
		return nil, errors.New("no ranges")
	}
	return t, t.sort()
}

// add reads one line.
func (t *Table) add(line string, known map[Info]uint32) error {
	line = strings.TrimSuffix(line, "\r")
	if line == "" {
		return nil
	}
	f := strings.SplitN(line, "\t", 5)
	if len(f) != 5 {
		return fmt.Errorf("%d fields, want 5 with tabs between them", len(f))
	}
	first, err := netip.ParseAddr(f[0])
	if err != nil || first.Zone() != "" {
		return fmt.Errorf("first address %q: want an IP address", clip(f[0]))
	}
	last, err := netip.ParseAddr(f[1])
	if err != nil || last.Zone() != "" {
		return fmt.Errorf("last address %q: want an IP address", clip(f[1]))
	}
	if first.Is4() != last.Is4() || last.Less(first) {
		return fmt.Errorf("range from %s to %s: want two addresses of one family, the lower first", first, last)
	}
	as, err := strconv.ParseUint(f[2], 10, 32)
	if err != nil {
		return fmt.Errorf("AS number %q: want a number below 2^32", clip(f[2]))
	}
	code, ok := country(f[3])
	if !ok {
		return fmt.Errorf("country code %q: want two letters, or None", clip(f[3]))
	}
	if as == 0 {
		return nil
	}
	info := Info{AS: uint32(as), Name: printable(f[4]), Country: code}
	index, ok := known[info]
	if !ok {
		index = uint32(len(t.infos))
		info.Name, info.Country = strings.Clone(info.Name), strings.Clone(info.Country)
		t.infos = append(t.infos, info)
		known[info] = index
	}
	if first.Is4() {
		t.v4 = append(t.v4, span[uint32]{number(first), number(last), index})
	} else {
		t.v6 = append(t.v6, span[[16]byte]{first.As16(), last.As16(), index})
	}
	return nil
}

// sort makes the table ready for lookups.
func (t *Table) sort() error {
	if k, ok := overlap(t.v4, cmp.Compare[uint32]); ok {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], k)
		return fmt.Errorf("the range that begins at %s overlaps with the one before it", netip.AddrFrom4(b))
	}
	if k, ok := overlap(t.v6, compare16); ok {
		return fmt.Errorf("the range that begins at %s overlaps with the one before it", netip.AddrFrom16(k))
	}
	t.v4, t.v6, t.infos = slices.Clip(t.v4), slices.Clip(t.v6), slices.Clip(t.infos)
	return nil
}

// overlap sorts ranges and returns the first that begins within another one.
func overlap[K any](spans []span[K], compare func(a, b K) int) (first K, ok bool) {
	slices.SortFunc(spans, func(a, b span[K]) int { return compare(a.first, b.first) })
	for i := 1; i < len(spans); i++ {
		if compare(spans[i-1].last, spans[i].first) >= 0 {
			return spans[i].first, true
		}
	}
	return first, false
}

// Network implements [Lookup]. It never fails.
func (t *Table) Network(_ context.Context, ip netip.Addr) (Info, error) {
	index, ok := uint32(0), false
	switch ip = ip.Unmap(); {
	case ip.Is4():
		index, ok = find(t.v4, number(ip), cmp.Compare[uint32])
	case ip.Is6():
		index, ok = find(t.v6, ip.As16(), compare16)
	}
	if !ok {
		return Info{}, nil
	}
	return t.infos[index], nil
}

func find[K any](spans []span[K], key K, compare func(a, b K) int) (info uint32, ok bool) {
	i, found := slices.BinarySearchFunc(spans, key, func(s span[K], key K) int { return compare(s.first, key) })
	if !found {
		i-- // the range that begins before it
	}
	if i < 0 || compare(spans[i].last, key) < 0 {
		return 0, false
	}
	return spans[i].info, true
}

func number(ip netip.Addr) uint32 {
	b := ip.As4()
	return binary.BigEndian.Uint32(b[:])
}

func compare16(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) }

// Len returns the number of ranges.
func (t *Table) Len() int { return len(t.v4) + len(t.v6) }

// country reads an ISO 3166-1 alpha-2 code; empty if it is not known.
func country(s string) (string, bool) {
	switch s = strings.ToUpper(strings.TrimSpace(s)); s {
	case "", "-", "NONE", "UNKNOWN", "ZZ":
		return "", true
	}
	if len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' {
		return "", false
	}
	return s, true
}

// printable makes a name that a stranger chose safe to show.
func printable(s string) string {
	s = strings.Map(func(c rune) rune {
		if strconv.IsPrint(c) && c != '\uFFFD' {
			return c
		}
		return -1
	}, strings.TrimSpace(s))
	if r := []rune(s); len(r) > maxName {
		s = string(r[:maxName]) + "…"
	}
	return s
}

func clip(s string) string { return s[:min(len(s), maxName)] }
