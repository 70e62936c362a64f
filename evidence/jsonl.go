package evidence

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"
)

// MaxLine is the longest line that a history may have, in octets.
const MaxLine = 1 << 20

// MaxRecords bounds the records of one history.
const MaxRecords = 1_000_000

// MaxOctets bounds a whole history.
const MaxOctets = 64 << 20

// The values of the type field.
const (
	typeTest       = "test"
	typeConnection = "connection"
	typeQuery      = "query"
	typeFetch      = "policy_fetch"
	typeState      = "state"
)

// MarshalJSON writes d as a Go duration.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads a Go duration such as "90s".
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("duration %s: want a string such as \"10m\"", b)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return err
	}
	if v < 0 {
		return fmt.Errorf("duration %q is negative", s)
	}
	*d = Duration(v)
	return nil
}

// ReadHistory reads a history in JSON Lines. Records may come in any order
// after the test; they are sorted by time. Errors name the line and the field.
// Unknown fields and types of records are ignored.
func ReadHistory(r io.Reader) (History, error) {
	in := reader{ids: make(map[ConnID]int)}
	sc := bufio.NewScanner(io.LimitReader(r, MaxOctets+1))
	sc.Buffer(make([]byte, 0, 64<<10), MaxLine)
	octets := 0
	for sc.Scan() {
		in.line++
		if octets += len(sc.Bytes()) + 1; octets > MaxOctets {
			return History{}, fmt.Errorf("line %d: more than %d octets in all", in.line, MaxOctets)
		}
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		if err := in.add(sc.Bytes()); err != nil {
			return History{}, fmt.Errorf("line %d: %w", in.line, err)
		}
	}
	if err := sc.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return History{}, fmt.Errorf("line %d: longer than %d octets", in.line+1, MaxLine)
		}
		return History{}, fmt.Errorf("line %d: %w", in.line+1, err)
	}
	if in.records == 0 {
		return History{}, errors.New("empty history: the first line must be the test")
	}
	in.h.sort()
	return in.h, nil
}

// reader is a history that is being read.
type reader struct {
	h             History
	line, records int
	ids           map[ConnID]int // to the line
}

func (in *reader) add(b []byte) error {
	if in.records++; in.records > MaxRecords {
		return fmt.Errorf("more than %d records", MaxRecords)
	}
	if !utf8.Valid(b) {
		return errors.New("not UTF-8")
	}
	var head struct {
		Type string `json:"type"`
	}
	if err := decode(b, &head); err != nil {
		return err
	}
	if (in.records == 1) != (head.Type == typeTest) {
		return fmt.Errorf("type: %q; the first line, and only it, must be the test", clip(head.Type))
	}
	switch head.Type {
	case typeTest:
		if err := decode(b, &in.h.Test); err != nil {
			return err
		}
		return in.h.Test.check()
	case typeConnection:
		return in.connection(b)
	case typeQuery:
		return appendRecord(&in.h.Queries, b, (*Query).check)
	case typeFetch:
		return appendRecord(&in.h.Fetches, b, (*PolicyFetch).check)
	case typeState:
		return appendRecord(&in.h.States, b, (*State).check)
	case "":
		return errors.New("type: missing")
	}
	return nil // record types of later versions
}

func (in *reader) connection(b []byte) error {
	if err := appendRecord(&in.h.Connections, b, (*Connection).check); err != nil {
		return err
	}
	id := in.h.Connections[len(in.h.Connections)-1].ID
	if before, ok := in.ids[id]; ok {
		return fmt.Errorf("connection %q: id: line %d has the same", id, before)
	}
	in.ids[id] = in.line
	return nil
}

func appendRecord[T any](to *[]T, b []byte, check func(*T) error) error {
	var v T
	if err := decode(b, &v); err != nil {
		return err
	}
	if err := check(&v); err != nil {
		return err
	}
	*to = append(*to, v)
	return nil
}

func (h *History) sort() {
	slices.SortStableFunc(h.Connections, func(a, b Connection) int { return a.Start.Compare(b.Start) })
	slices.SortStableFunc(h.Queries, func(a, b Query) int { return a.Time.Compare(b.Time) })
	slices.SortStableFunc(h.Fetches, func(a, b PolicyFetch) int { return a.Time.Compare(b.Time) })
	slices.SortStableFunc(h.States, func(a, b State) int { return a.Time.Compare(b.Time) })
}

// WriteHistory writes h in JSON Lines: the test, then everything in order of
// time (a connection by its start).
func WriteHistory(w io.Writer, h History) error {
	type record struct {
		time time.Time
		v    any
	}
	var all []record
	for _, v := range h.States {
		all = append(all, record{v.Time, struct {
			Type string `json:"type"`
			State
		}{typeState, v}})
	}
	for _, v := range h.Queries {
		all = append(all, record{v.Time, struct {
			Type string `json:"type"`
			Query
		}{typeQuery, v}})
	}
	for _, v := range h.Fetches {
		all = append(all, record{v.Time, struct {
			Type string `json:"type"`
			PolicyFetch
		}{typeFetch, v}})
	}
	for _, v := range h.Connections {
		all = append(all, record{v.Start, struct {
			Type string `json:"type"`
			Connection
		}{typeConnection, v.normal()}})
	}
	slices.SortStableFunc(all, func(a, b record) int { return a.time.Compare(b.time) })

	bw := bufio.NewWriter(w)
	enc := json.NewEncoder(bw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(struct {
		Type string `json:"type"`
		Test
	}{typeTest, h.Test}); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	for _, r := range all {
		if err := enc.Encode(r.v); err != nil {
			return fmt.Errorf("write history: %w", err)
		}
	}
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return nil
}

// normal replaces nil slices, which the format writes as empty lists.
func (c Connection) normal() Connection {
	fill := func(s *[]string) {
		if *s == nil {
			*s = []string{}
		}
	}
	c = c.Clone()
	fill(&c.Helo)
	fill(&c.RcptTo)
	fill(&c.Addressed)
	fill(&c.Replies)
	if c.Transactions == nil {
		c.Transactions = []Transaction{}
	}
	for i := range c.Transactions {
		fill(&c.Transactions[i].RcptTo)
		fill(&c.Transactions[i].Addressed)
	}
	if c.TLS != nil {
		fill(&c.TLS.ClientVersions)
	}
	return c
}
