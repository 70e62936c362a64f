package certs

import (
	"context"
	"crypto"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/scenario"
)

// Roll begins to replace the keys of hosts, and returns the hosts whose keys
// do; Run does the rest, see the package documentation. Both algorithms of a
// host roll together. Without hosts those that have matching TLSA records roll.
// A host is a name in the zone, with or without the zone, or "default" for the
// certificates that clients without SNI get. All slots share the keys of a host:
// whichever slot is named, they roll for all.
//
// If one of them cannot, nothing begins: an unknown host, a host that rolls
// already, or a disk that does not take the keys.
func (s *Store) Roll(ctx context.Context, hosts ...string) ([]string, error) {
	s.starting.Lock()
	defer s.starting.Unlock()
	ids, err := s.targets(hosts)
	if err != nil {
		return nil, fmt.Errorf("roll keys: %w", err)
	}
	keys, err := s.nextKeys(ctx, ids)
	if err == nil {
		err = s.begin(ids, keys)
	}
	if err != nil {
		for v := range keys {
			_ = s.vault.remove(v.keyFile()) // never published; the next roll replaces it
		}
		return nil, fmt.Errorf("roll keys: %w", err)
	}
	kick(s.renewKick)
	kick(s.rollKick)
	return s.hostsOf(ids), nil
}

// nextKeys makes and stores the next generation of keys.
func (s *Store) nextKeys(ctx context.Context, ids []scenario.Certificate) (map[version]crypto.Signer, error) {
	current := s.current.Load()
	var versions []version
	for _, id := range ids {
		if err := s.idle(current, id); err != nil {
			return nil, err
		}
		for _, alg := range s.opts.KeyAlgorithms {
			versions = append(versions, version{entry{id, alg}, current.ledger.of(id).Generation + 1})
		}
	}
	made := make([]crypto.Signer, len(versions))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, v := range versions {
		g.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if made[i], err = s.makeKey(v); err != nil {
				return err
			}
			return s.vault.writeKey(v.keyFile(), made[i])
		})
	}
	err := g.Wait()
	keys := make(map[version]crypto.Signer, len(versions))
	for i, v := range versions {
		keys[v] = made[i]
	}
	return keys, err
}

func (s *Store) idle(n *snapshot, id scenario.Certificate) error {
	if r := n.ledger.of(id).Roll; r != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return fmt.Errorf("the key of %s rolls since %s and is in phase %q; wait for its end, or cancel it",
			s.hostOf(id), r.Started.Format(time.DateTime), s.phase(id))
	}
	return nil
}

// begin writes down that ids roll, once their keys are on disk.
func (s *Store) begin(ids []scenario.Certificate, keys map[version]crypto.Signer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.current.Load()
	next := &snapshot{pairs: maps.Clone(old.pairs), ledger: old.ledger}
	if err := next.add(keys); err != nil {
		return err
	}
	for _, id := range ids {
		generation := old.ledger.of(id).Generation
		next.ledger = next.ledger.with(id, record{generation, &roll{phaseAnnounce, generation + 1, s.opts.Now()}})
	}
	if err := s.vault.writeLedger(next.ledger); err != nil {
		return err
	}
	s.current.Store(next)
	for _, id := range ids {
		s.rolls[id] = &progress{}
	}
	return nil
}

// CancelRoll takes back the rolls of hosts, without hosts all that it can, and
// returns the hosts. It fails for a host whose key does not roll, or whose new
// key is in use already: for that there is another Roll. If one of them cannot,
// none is cancelled.
func (s *Store) CancelRoll(hosts ...string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.current.Load()
	ids, err := s.cancellable(current, hosts)
	if err != nil {
		return nil, fmt.Errorf("cancel key roll: %w", err)
	}
	l := current.ledger
	for _, id := range ids {
		r := l.of(id)
		next := *r.Roll
		next.Phase = phaseCancel
		l = l.with(id, record{r.Generation, &next})
	}
	if err := s.vault.writeLedger(l); err != nil {
		return nil, fmt.Errorf("cancel key roll: %w", err)
	}
	s.change(func(n *snapshot) {
		for _, id := range ids {
			s.drop(n, id, l.of(id).Roll.Other)
			s.rolls[id] = &progress{}
		}
		n.ledger = l
	})
	kick(s.rollKick)
	return s.hostsOf(ids), nil
}

// cancellable returns the rolls that hosts mean.
func (s *Store) cancellable(n *snapshot, hosts []string) ([]scenario.Certificate, error) {
	if len(hosts) == 0 {
		return slices.DeleteFunc(scenario.Certificates(), func(id scenario.Certificate) bool {
			r := n.ledger.of(id).Roll
			return r == nil || r.Phase != phaseAnnounce
		}), nil
	}
	ids, err := s.targets(hosts)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		name := s.hostOf(id)
		switch r := n.ledger.of(id).Roll; {
		case r == nil:
			return nil, fmt.Errorf("the key of %s does not roll", name)
		case r.Phase == phaseCancel:
			return nil, fmt.Errorf("the roll of %s is cancelled already", name)
		case r.Phase != phaseAnnounce:
			return nil, fmt.Errorf("the new key of %s is in use already; let the roll end, then roll it again", name)
		}
	}
	return ids, nil
}

// drop forgets a generation of id in n. s.mu must be held.
func (s *Store) drop(n *snapshot, id scenario.Certificate, generation int) {
	for _, alg := range s.opts.KeyAlgorithms {
		v := version{entry{id, alg}, generation}
		delete(n.pairs, v)
		delete(s.plans, v)
	}
}

const defaultHost = "default"

// hostOf names an identity for people, as Roll takes it: by its host in slot 0.
func (s *Store) hostOf(id scenario.Certificate) string {
	switch id.Owner {
	case scenario.OwnerDefault:
		return defaultHost
	case scenario.OwnerService:
		return scenario.ServiceHost(s.opts.Zone)
	}
	return scenario.FaceName(s.opts.Zone, id)
}

func (s *Store) hostsOf(ids []scenario.Certificate) []string {
	var out []string
	for _, id := range ids {
		if h := s.hostOf(id); !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// isHost reports whether name is one by which people mean id.
func (s *Store) isHost(id scenario.Certificate, name string) bool {
	if id.Owner == scenario.OwnerDefault {
		return name == defaultHost
	}
	return slices.Contains(scenario.CertificateNames(s.opts.Zone, s.opts.Slots, id), name)
}

// targets returns the identities that hosts mean; without hosts those with
// matching TLSA records.
func (s *Store) targets(hosts []string) ([]scenario.Certificate, error) {
	all := scenario.Certificates()
	if len(hosts) == 0 {
		return slices.DeleteFunc(all, func(id scenario.Certificate) bool { return !published(id) }), nil
	}
	var out []scenario.Certificate
	for _, host := range hosts {
		name := scenario.Canonical(host)
		found := false
		for _, id := range all {
			if !s.isHost(id, name) && !s.isHost(id, name+"."+s.opts.Zone) {
				continue
			}
			found = true
			if !slices.Contains(out, id) {
				out = append(out, id)
			}
		}
		if !found {
			n := scenario.Names(s.opts.Zone, 0)
			return nil, fmt.Errorf("host %q is none of this sink (slots = %d); give e.g. %s, %s or %s",
				host, s.opts.Slots, n.Host(scenario.MX04), scenario.ServiceHost(s.opts.Zone), defaultHost)
		}
	}
	return out, nil
}
