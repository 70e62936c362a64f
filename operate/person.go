package operate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/history"
)

// DeleteTest deletes a test with its evidence and its report, and returns the
// number of records.
func (o *Operator) DeleteTest(ctx context.Context, who Actor, id string) (int, error) {
	id = testID(id)
	n, err := o.o.Tests.Delete(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("test %q: %w", id, err)
	}
	_, parts, problem := o.forgetParts(ctx, "", []string{id})
	r := AuditRecord{Actor: who, Action: "test deleted", Object: id, Count: n + parts}
	if problem != nil {
		r.Error = problem.Error()
	}
	return n + parts, errors.Join(problem, o.done(ctx, r))
}

// mostTests bounds the tests of one person.
const mostTests = 100_000

// testsOf are the ids of tests that a person started.
func (o *Operator) testsOf(ctx context.Context, address string, most int) (ids []string, more bool, err error) {
	s := history.TestSearch{Sender: address, Limit: min(most, mostRows)}
	for {
		page, err := o.o.Store.SearchTests(ctx, s)
		if err != nil {
			return ids, false, err
		}
		for _, r := range page.Tests {
			if len(ids) == most {
				return ids, true, nil
			}
			ids = append(ids, r.Test.ID)
		}
		if s.Cursor = page.Next; s.Cursor == "" {
			return ids, false, nil
		}
	}
}

func checkPerson(address string) error {
	if at := strings.LastIndexByte(address, '@'); at < 1 || at == len(address)-1 || len(address) > 320 {
		return &InvalidError{"address", clip(address), "want local-part@domain"}
	}
	return nil
}

// PersonPreview says what ForgetPerson would delete.
func (o *Operator) PersonPreview(ctx context.Context, address string) (Preview, error) {
	if err := checkPerson(address); err != nil {
		return Preview{}, err
	}
	const most = 100
	ids, more, err := o.testsOf(ctx, address, most)
	p := Preview{Tests: append([]string{}, ids...), More: more}
	if err != nil {
		return p, err
	}
	s := history.ReportSearch{To: address, Limit: mostRows}
	for {
		page, err := o.o.Store.Reports(ctx, s)
		if err != nil {
			return p, err
		}
		p.Reports += len(page.Reports)
		if s.Cursor = page.Next; s.Cursor == "" {
			break
		}
	}
	box, err := o.o.Store.Mailbox(ctx)
	for _, m := range box {
		if strings.EqualFold(m.From, address) {
			p.Mailbox++
		}
	}
	return p, err
}

// ForgetPerson deletes everything of a mail address: tests it started, running
// ones included, with their connections; its mail on other connections; its
// reports, mail to postmaster, and what other parts of the service keep of it.
// If a part fails, the rest is deleted all the same, and the error says which.
// An entry of the block list stays: it is the operator's.
func (o *Operator) ForgetPerson(ctx context.Context, who Actor, address string) (Forgotten, error) {
	if err := checkPerson(address); err != nil {
		return Forgotten{}, err
	}
	tests, _, err := o.testsOf(ctx, address, mostTests) // before they are gone
	if err != nil {
		return Forgotten{}, err
	}
	n, failed := o.o.Tests.Forget(ctx, address)
	if failed != nil {
		failed = fmt.Errorf("history: %w", failed)
	}
	parts, more, err := o.forgetParts(ctx, address, tests)
	failed = errors.Join(failed, err)
	out := Forgotten{Records: n + more, Parts: parts}
	out.Parts["history"] = n
	r := AuditRecord{Actor: who, Action: "person forgotten", Object: "person " + o.subject(address), Count: out.Records}
	if failed != nil {
		// What failed may name the person.
		r.Error = strings.ReplaceAll(failed.Error(), address, "(the address)")
	}
	return out, errors.Join(failed, o.done(ctx, r))
}

// forgetParts lets the other parts of the service delete what they have.
func (o *Operator) forgetParts(ctx context.Context, address string, tests []string) (parts map[string]int, n int, failed error) {
	parts = make(map[string]int)
	for _, name := range slices.Sorted(maps.Keys(o.o.Forgetter)) {
		m, err := o.o.Forgetter[name].ForgetPerson(ctx, address, tests)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", name, err))
		}
		parts[name] = m
		n += m
	}
	return parts, n, failed
}

// Retention says what is kept.
func (o *Operator) Retention() (Retention, error) {
	r := Retention{Days: o.o.Days()}
	var err error
	if r.OldestTest, r.OldestConnection, err = o.o.Store.Oldest(); err != nil {
		return r, err
	}
	r.Stats, err = o.o.Store.Stats()
	return r, err
}

// Purge deletes tests whose last activity was before a time, and connections of
// no test; zero: what is older than is kept anyway. It returns the number of
// tests and connections.
func (o *Operator) Purge(ctx context.Context, who Actor, before time.Time) (int, error) {
	now := o.o.Now()
	if before.IsZero() {
		before = now.AddDate(0, 0, -o.o.Days())
	}
	if before.After(now) {
		return 0, &InvalidError{"before", before.UTC().Format(time.RFC3339), "lies in the future"}
	}
	n, err := o.o.Store.Purge(ctx, before)
	if err != nil && n == 0 {
		return 0, err
	}
	r := AuditRecord{Actor: who, Action: "old evidence deleted", Count: n, Detail: "before " + before.UTC().Format(time.RFC3339)}
	if err != nil {
		r.Error = err.Error()
	}
	return n, errors.Join(err, o.done(ctx, r))
}
