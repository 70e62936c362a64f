package propagation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones/internal/records"
)

// Difference is what one server serves instead of what was wanted.
type Difference struct {
	Server Server
	Have   []string // record data in the form of libdns, sorted
	Err    error    // it did not say
}

// NotServedError says which servers do not serve what was wanted.
type NotServedError struct {
	Name    string
	Type    uint16
	Want    []string
	Servers []Difference
}

func (e *NotServedError) Error() string {
	var parts []string
	for _, d := range e.Servers {
		if d.Err != nil {
			parts = append(parts, fmt.Sprintf("%s: %v", d.Server, d.Err))
		} else {
			parts = append(parts, fmt.Sprintf("%s serves %s", d.Server, list(d.Have)))
		}
	}
	return fmt.Sprintf("%s %s: want %s at every name server, but %s",
		e.Name, dns.TypeToString[e.Type], list(e.Want), strings.Join(parts, "; "))
}

func list(lines []string) string {
	if len(lines) == 0 {
		return "no records"
	}
	return fmt.Sprintf("%q", lines)
}

// Check asks every server once. It returns nil if all of them serve exactly the
// given records: record data in the form of libdns, in any order, compared in
// canonical form; none means that there must be none. TTLs are not compared.
func (s *Servers) Check(ctx context.Context, fqdn string, qtype uint16, want []string) error {
	lines, err := canonical(qtype, want)
	if err != nil {
		return err
	}
	return s.check(ctx, fqdn, qtype, lines, slices.Equal)
}

// Wait asks until all servers serve exactly the given records, as Check has it, or
// ctx ends; then the error is also a *NotServedError with what was served last.
func (s *Servers) Wait(ctx context.Context, fqdn string, qtype uint16, want []string) error {
	return s.wait(ctx, fqdn, qtype, want, slices.Equal)
}

// WaitIncluding asks until all servers serve the given records, and perhaps others
// at that name and type, or ctx ends. It is for challenges, of which several may
// stand beside each other.
func (s *Servers) WaitIncluding(ctx context.Context, fqdn string, qtype uint16, want []string) error {
	return s.wait(ctx, fqdn, qtype, want, func(have, want []string) bool {
		return !slices.ContainsFunc(want, func(line string) bool { return !slices.Contains(have, line) })
	})
}

// canonical returns records in the form in which they are compared.
func canonical(qtype uint16, data []string) ([]string, error) {
	rrs := make([]dns.RR, len(data))
	for i, d := range data {
		var err error
		if rrs[i], err = records.Parse(qtype, d); err != nil {
			return nil, fmt.Errorf("%s %q: %w", dns.TypeToString[qtype], d, err)
		}
		rrs[i].Header().Rrtype = qtype
	}
	return slices.Compact(records.Lines(rrs)), nil
}

func (s *Servers) wait(ctx context.Context, fqdn string, qtype uint16, want []string, ok func(have, want []string) bool) error {
	lines, err := canonical(qtype, want)
	if err != nil {
		return err
	}
	interval := s.opts.Interval
	var last error
	for {
		err := s.check(ctx, fqdn, qtype, lines, ok)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			if last == nil {
				last = err
			}
			return fmt.Errorf("%w: %w", last, ctx.Err())
		}
		last = err
		timer := time.NewTimer(interval)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: %w", last, ctx.Err())
		}
		interval = min(interval*3/2, 10*s.opts.Interval)
	}
}

// check makes one round.
func (s *Servers) check(ctx context.Context, fqdn string, qtype uint16, want []string, ok func(have, want []string) bool) error {
	fqdn = dns.CanonicalName(fqdn)
	answers, err := s.ask(ctx, fqdn, qtype)
	if err != nil {
		return err
	}
	failed := &NotServedError{Name: fqdn, Type: qtype, Want: want}
	for _, a := range answers {
		have := records.Lines(a.rrs)
		if a.err != nil || !ok(have, want) {
			failed.Servers = append(failed.Servers, Difference{Server: a.server, Have: have, Err: a.err})
		}
	}
	if len(failed.Servers) > 0 {
		return failed
	}
	return nil
}
