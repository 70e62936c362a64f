package zones

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// serialReserve is how many serials one Save pays for.
const serialReserve = 256

// Zone is the signed zone with its server. It is safe for concurrent use.
type Zone struct {
	opts   Options
	ttl    uint32
	apex   nameKey
	signer *signer

	current atomic.Pointer[snapshot]

	mu       sync.Mutex // writers; guards the rest
	content  content    // without SOA
	serial   uint32     // last published
	reserved uint32     // bound in State: serials up to it may be published

	known, unknown *queryRing // queries for names that exist, and that do not
	counters       counters
}

// New builds, signs and publishes the zone. It fails if an option is wrong or
// the state can be neither read nor written.
func New(o Options) (*Zone, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("zone options: %w", err)
	}
	records, err := initialContent(o)
	if err != nil {
		return nil, fmt.Errorf("zone options: %w", err)
	}
	apex, err := keyOf(o.Zone)
	if err != nil {
		return nil, fmt.Errorf("zone options: %w", err)
	}
	z := &Zone{
		opts: o, ttl: uint32(o.TTL.Seconds()), apex: apex,
		known: newQueryRing(o.QueryRing), unknown: newQueryRing(max(1, o.QueryRing/8)),
	}
	if err := z.load(); err != nil {
		return nil, err
	}
	records[setID{apex, dns.TypeDNSKEY}] = []dns.RR{z.signer.dnskey}
	z.mu.Lock()
	defer z.mu.Unlock()
	if err := z.publish(records); err != nil {
		return nil, fmt.Errorf("sign zone %q: %w", o.Zone, err)
	}
	return z, nil
}

// load takes key and serial from the state, or begins both.
func (z *Zone) load() error {
	data, err := StateData{}, fs.ErrNotExist
	if z.opts.State != nil {
		data, err = z.opts.State.Load()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if data.Key, err = newKey(); err != nil {
			return err
		}
		// The time as first serial: larger than those of a state that was lost.
		data.Serial = uint32(z.opts.Now().Unix())
	case err != nil:
		return err
	}
	if z.signer, err = newSigner(z.opts, data.Key); err != nil {
		return err
	}
	z.serial, z.reserved = data.Serial, data.Serial
	return nil
}

// publish signs records and makes them the zone, under a new serial. On error
// the zone stays as it was. z.mu must be held.
func (z *Zone) publish(records content) error {
	serial, err := z.nextSerial()
	if err != nil {
		return err
	}
	full := maps.Clone(records)
	full[setID{z.apex, dns.TypeSOA}] = []dns.RR{soaRR(z.opts.Zone, z.ttl, serial)}
	snap, made, err := z.signer.snapshot(full, z.current.Load())
	if err != nil {
		return err
	}
	z.content, z.serial = records, serial
	z.current.Store(snap)
	z.counters.signatures.Add(uint64(made))
	z.opts.Log.Debug("zone published", slog.Uint64("serial", uint64(serial)), slog.Int("signatures", made))
	return nil
}

// nextSerial returns the serial after the last one. Before it leaves the range
// that the state grants, the state is extended: a restart begins behind all.
func (z *Zone) nextSerial() (uint32, error) {
	next := z.serial + 1 // RFC 1982 §3.1: wraps around
	if int32(z.reserved-next) >= 0 {
		return next, nil
	}
	bound := next + serialReserve
	if z.opts.State != nil {
		if err := z.opts.State.Save(StateData{Serial: bound, Key: z.signer.key}); err != nil {
			return 0, err
		}
	}
	z.reserved = bound
	return next, nil
}

// Refresh renews the signatures that have used up half of their validity. It
// does nothing while there are none.
func (z *Zone) Refresh() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.current.Load().fresh(z.signer) {
		return nil
	}
	if err := z.publish(z.content); err != nil {
		return fmt.Errorf("refresh signatures of %q: %w", z.opts.Zone, err)
	}
	return nil
}

// Run keeps the signatures fresh until ctx ends. A failure is logged and tried
// again: half of the validity is left for that.
func (z *Zone) Run(ctx context.Context) error {
	interval := min(time.Hour, z.opts.Validity/24)
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := z.Refresh(); err != nil {
			z.opts.Log.Error("zone not refreshed", slog.Any("err", err))
		}
		timer.Reset(interval)
	}
}

// Serial returns the serial of the published zone.
func (z *Zone) Serial() uint32 {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.serial
}

// Name returns the name of the zone, in lower case, with a trailing dot.
func (z *Zone) Name() string { return z.opts.Zone }
