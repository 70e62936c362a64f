package mxrotator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/libdns/libdns"

	"github.com/tlsink/tlsink/scenario"
)

// set writes the whole MX RRset of some slots in one call: a partial RRset would
// be an order that nobody chose.
func (r *Rotator) set(ctx context.Context, slots []int, orders map[int]Order) error {
	var records []libdns.Record
	for _, n := range slots {
		names := scenario.Names(r.opts.Zone, n)
		for i, h := range orders[n] {
			records = append(records, libdns.MX{
				Name:       libdns.RelativeName(names.ET, r.opts.Zone),
				TTL:        r.opts.TTL,
				Preference: uint16(10 * (i + 1)),
				Target:     names.Host(h) + ".",
			})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	if _, err := r.opts.Provider.SetRecords(ctx, r.opts.Zone+".", records); err != nil {
		return fmt.Errorf("set records: %w", err)
	}
	return nil
}

// readBack returns the preferences of all slots. One that has not each of the
// four hosts exactly once, or that the provider is not sure of, is wrong.
func (r *Rotator) readBack(ctx context.Context) reading {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	out := reading{orders: make(map[int]map[string]int), wrong: make(map[int]error)}
	records, err := r.opts.Provider.GetRecords(ctx, r.opts.Zone+".")
	if err != nil {
		err = fmt.Errorf("read records back: %w", err)
		unsure, some := errors.AsType[interface {
			error
			Unconfirmed() []string
		}](err)
		if !some {
			out.err = err
			return out
		}
		for _, name := range unsure.Unconfirmed() {
			if owner, ok := scenario.Find(r.opts.Zone, name); ok && owner.Role == scenario.RoleET {
				out.wrong[owner.Slot] = err
			}
		}
	}
	for n := range r.opts.Slots {
		out.orders[n] = make(map[string]int, hosts)
	}
	for _, record := range records {
		rr := record.RR()
		owner, ok := scenario.Find(r.opts.Zone, r.absolute(rr.Name))
		if !strings.EqualFold(rr.Type, "MX") || !ok || owner.Role != scenario.RoleET || owner.Slot >= r.opts.Slots || out.wrong[owner.Slot] != nil {
			continue
		}
		if err := r.collect(out.orders[owner.Slot], owner.Slot, rr); err != nil {
			out.wrong[owner.Slot] = err
		}
	}
	for n, preferences := range out.orders {
		if out.wrong[n] == nil && len(preferences) != hosts {
			out.wrong[n] = fmt.Errorf("there are MX records for %d hosts instead of %d", len(preferences), hosts)
		}
		if out.wrong[n] != nil {
			delete(out.orders, n)
		}
	}
	return out
}

// collect adds an MX record to the preferences of its slot.
func (r *Rotator) collect(preferences map[string]int, slot int, rr libdns.RR) error {
	parsed, err := rr.Parse()
	if err != nil {
		return fmt.Errorf("MX record %q: %w", rr.Data, err)
	}
	mx, ok := parsed.(libdns.MX)
	if !ok {
		return fmt.Errorf("MX record %q: parsed as %T", rr.Data, parsed)
	}
	target, ok := scenario.Find(r.opts.Zone, r.absolute(mx.Target))
	if !ok || target.Role != scenario.RoleMX || target.Slot != slot {
		return fmt.Errorf("MX record of %s points to %q, which is not of that slot", rr.Name, mx.Target)
	}
	label := string(target.Host)
	if _, dup := preferences[label]; dup {
		return fmt.Errorf("two MX records of %s point to %s", rr.Name, label)
	}
	preferences[label] = int(mx.Preference)
	return nil
}

// absolute returns a name of the zone, which providers give relative or
// absolute, with or without a trailing dot.
func (r *Rotator) absolute(name string) string {
	c := scenario.Canonical(name)
	if strings.HasSuffix(name, ".") || c == r.opts.Zone || strings.HasSuffix(c, "."+r.opts.Zone) {
		return c
	}
	return scenario.Canonical(libdns.AbsoluteName(c, r.opts.Zone))
}
