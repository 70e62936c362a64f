package evidence

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// MaxLine is the longest line that a history may have, in octets.
const MaxLine = 1 << 20

// MaxRecords bounds the records of one history.
const MaxRecords = 1_000_000

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
// after the test; they are sorted by time. Errors name the line.
func ReadHistory(r io.Reader) (History, error) {
	var h History
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 64<<10), MaxLine)
	line, records := 0, 0
	for sc.Scan() {
		line++
		if len(sc.Bytes()) == 0 {
			continue
		}
		if records++; records > MaxRecords {
			return History{}, fmt.Errorf("line %d: more than %d records", line, MaxRecords)
		}
		if err := h.add(sc.Bytes(), records == 1); err != nil {
			return History{}, fmt.Errorf("line %d: %w", line, err)
		}
	}
	if err := sc.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return History{}, fmt.Errorf("line %d: longer than %d octets", line+1, MaxLine)
		}
		return History{}, fmt.Errorf("line %d: %w", line+1, err)
	}
	if records == 0 {
		return History{}, errors.New("empty history: the first line must be the test")
	}
	h.sort()
	return h, nil
}

func (h *History) add(b []byte, first bool) error {
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return err
	}
	if first != (head.Type == typeTest) {
		return fmt.Errorf("type %q: the first line, and only it, must be the test", head.Type)
	}
	switch head.Type {
	case typeTest:
		return json.Unmarshal(b, &h.Test)
	case typeConnection:
		return appendRecord(&h.Connections, b)
	case typeQuery:
		return appendRecord(&h.Queries, b)
	case typeFetch:
		return appendRecord(&h.Fetches, b)
	case typeState:
		return appendRecord(&h.States, b)
	}
	return nil // record types of later versions
}

func appendRecord[T any](to *[]T, b []byte) error {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
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
