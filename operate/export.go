package operate

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
)

// each calls f with all tests that a query selects, page by page, whatever its
// Limit and Cursor say.
func (o *Operator) each(ctx context.Context, q Query, f func(history.TestRecord) error) error {
	if err := q.check(); err != nil {
		return err
	}
	if q.ID != "" {
		r, err := o.o.Store.Test(testID(q.ID))
		if err != nil {
			return err
		}
		return f(r)
	}
	q.Limit, q.Cursor = mostRows, ""
	for {
		page, err := o.search(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page.Tests {
			if err := f(r); err != nil {
				return err
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return nil
		}
	}
}

// ExportHistories writes the histories of all tests that a query selects, in the
// interchange format, one after the other: each begins with the line of its test.
// Addresses are in full. It returns how many were written; the limit of the
// query does not count.
func (o *Operator) ExportHistories(ctx context.Context, w io.Writer, q Query) (int, error) {
	n := 0
	err := o.each(ctx, q, func(r history.TestRecord) error {
		_, in, err := o.o.Tests.View(ctx, r.Test.ID)
		switch {
		case errors.Is(err, history.ErrNotFound):
			return nil // deleted meanwhile
		case err != nil:
			return fmt.Errorf("test %q: %w", r.Test.ID, err)
		}
		n++
		return evidence.WriteHistory(w, in.History)
	})
	return n, err
}

// ExportCSV writes a table of all tests that a query selects (RFC 4180). No cell
// is a formula to a spreadsheet: one that could be has an apostrophe in front.
// It returns how many were written; the limit of the query does not count.
func (o *Operator) ExportCSV(ctx context.Context, w io.Writer, q Query) (int, error) {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write([]string{"test", "started", "last_seen", "ended", "sender", "clients", "state", "slot", "policy", "conclusive", "attempts", "report"}); err != nil {
		return 0, err
	}
	n := 0
	err := o.each(ctx, q, func(r history.TestRecord) error {
		row := o.row(r)
		cells := []string{
			row.ID, stamp(row.Started), stamp(row.LastSeen), stamp(row.Ended), row.Sender, strings.Join(row.Clients, " "), row.State,
			strconv.Itoa(row.Slot), row.Policy, strconv.FormatBool(row.Conclusive), strconv.Itoa(row.Attempts), row.Report,
		}
		for i := range cells {
			cells[i] = cell(cells[i])
		}
		n++
		return out.Write(cells)
	})
	out.Flush()
	return n, errors.Join(err, out.Error())
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// cell makes text fit for a spreadsheet: on one line, and no formula. Programs
// take =, +, -, @ and their full-width forms at the beginning of a cell for one,
// behind white space too.
func cell(s string) string {
	s = oneLine(s)
	if strings.ContainsAny(firstRune(strings.TrimSpace(s)), "=+-@|%＝＋－＠") {
		return "'" + s
	}
	return s
}

func firstRune(s string) string {
	for _, r := range s {
		return string(r)
	}
	return ""
}
