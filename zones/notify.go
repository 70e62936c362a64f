package zones

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/evidence"
)

// Times of NOTIFY. RFC 1996 §3.6 proposes a minute between repetitions and five of
// them; here a change is to be seen within seconds, and the zone changes again.
const (
	notifyTimeout = 3 * time.Second  // for the answer
	notifyGap     = time.Second      // between two that were answered
	notifyFirst   = 2 * time.Second  // before the first repetition, then doubled
	notifyLast    = 60 * time.Second // at most, as long as it takes
)

// SecondaryStatus is what is known of a secondary name server. What it serves is
// not: ask it for its SOA record.
type SecondaryStatus struct {
	Address       netip.AddrPort
	Notified      uint32    // serial of the last NOTIFY that it acknowledged
	NotifiedAt    time.Time // zero: none yet
	Transferred   uint32    // serial of the last copy that its address took as a whole
	TransferredAt time.Time // zero: none yet
	Problem       string    // why NOTIFY of the present serial is not acknowledged; "" if it is
}

// secondary is a name server that is told of changes.
type secondary struct {
	changed chan struct{} // holds a token after a change

	mu     sync.Mutex
	status SecondaryStatus
}

func newSecondary(address netip.AddrPort) *secondary {
	return &secondary{changed: make(chan struct{}, 1), status: SecondaryStatus{Address: address}}
}

// Secondaries returns what is known of each of Transfer.Secondaries.
func (z *Zone) Secondaries() []SecondaryStatus {
	out := make([]SecondaryStatus, 0, len(z.secondaries))
	for _, s := range z.secondaries {
		s.mu.Lock()
		out = append(out, s.status)
		s.mu.Unlock()
	}
	return out
}

func (z *Zone) isSecondary(from netip.Prefix) bool {
	for _, s := range z.secondaries {
		if evidence.ClientOf(s.status.Address.Addr()) == from {
			return true
		}
	}
	return false
}

// notifySecondaries is called after each change of the zone.
func (z *Zone) notifySecondaries() {
	for _, s := range z.secondaries {
		select {
		case s.changed <- struct{}{}:
		default: // it is yet to look at an earlier change
		}
	}
}

// transferDone notes a complete transfer.
func (z *Zone) transferDone(client netip.Addr, serial uint32) {
	z.opts.Log.Info("zone transferred", slog.String("client", client.String()), slog.Uint64("serial", uint64(serial)))
	for _, s := range z.secondaries {
		s.mu.Lock()
		if s.status.Address.Addr().WithZone("") == client {
			s.status.Transferred, s.status.TransferredAt = serial, z.opts.Now()
		}
		s.mu.Unlock()
	}
}

// keepNotified tells a secondary about the newest serial, and again until it
// acknowledges that, until ctx ends. After a start it does so once in any case.
//
//	changed ──► NOTIFY ──acknowledged──► wait for the next change
//	              ▲  └─────failed─────► wait 2 s, 4 s, … 60 s ─┐
//	              └────────────────────────────────────────────┘
func (z *Zone) keepNotified(ctx context.Context, s *secondary) {
	delay := notifyFirst
	for {
		serial := z.current.Load().serial()
		err := z.notify(ctx, s.status.Address, serial)
		if ctx.Err() != nil {
			return
		}
		z.noteNotify(s, serial, err)
		if err != nil {
			if !sleep(ctx, delay) {
				return
			}
			delay = min(2*delay, notifyLast)
			continue
		}
		delay = notifyFirst
		if !sleep(ctx, notifyGap) {
			return
		}
		for z.current.Load().serial() == serial {
			select {
			case <-ctx.Done():
				return
			case <-s.changed:
			}
		}
	}
}

// noteNotify keeps the outcome, and logs when it is another one.
func (z *Zone) noteNotify(s *secondary, serial uint32, err error) {
	s.mu.Lock()
	failed := s.status.Problem != ""
	if err != nil {
		s.status.Problem = err.Error()
	} else {
		s.status.Notified, s.status.NotifiedAt, s.status.Problem = serial, z.opts.Now(), ""
	}
	s.mu.Unlock()
	log := z.opts.Log.With(slog.String("secondary", s.status.Address.String()), slog.Uint64("serial", uint64(serial)))
	switch {
	case err != nil && !failed:
		log.Warn("secondary name server does not take NOTIFY", slog.Any("err", err))
	case err == nil && failed:
		log.Info("secondary name server takes NOTIFY again")
	}
}

// notify sends one NOTIFY and waits for its acknowledgement.
func (z *Zone) notify(ctx context.Context, to netip.AddrPort, serial uint32) error {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	m := new(dns.Msg).SetNotify(z.opts.Zone)
	m.Answer = z.current.Load().soa.rrs // RFC 1996 §3.7: a hint
	if soa, ok := m.Answer[0].(*dns.SOA); !ok || soa.Serial != serial {
		m.Answer = nil // changed just now
	}
	wire, err := m.Pack()
	if err != nil {
		return fmt.Errorf("pack NOTIFY: %w", err)
	}
	key := z.notifyKey
	session := &tsigSession{key: key, request: &dns.TSIG{Hdr: dns.RR_Header{Name: key.name}, Algorithm: key.algorithm}}
	if wire, err = session.sign(wire, z.opts.Now()); err != nil {
		return err
	}
	conn, err := z.opts.Transfer.Dial(ctx, "udp", to.String())
	if err != nil {
		return fmt.Errorf("NOTIFY: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // ends the read below
	defer stop()
	defer conn.Close() // of no more use
	if _, err := conn.Write(wire); err != nil {
		return fmt.Errorf("NOTIFY: %w", err)
	}
	buf := make([]byte, maxRequest)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("no answer to NOTIFY within %v", notifyTimeout)
			}
			return fmt.Errorf("NOTIFY: %w", err)
		}
		var reply dns.Msg
		if reply.Unpack(buf[:n]) != nil || reply.Id != m.Id || !reply.Response || reply.Opcode != dns.OpcodeNotify {
			continue // of somebody else
		}
		return z.acknowledged(&reply, buf[:n], hex.EncodeToString(session.mac))
	}
}

// acknowledged checks the answer to NOTIFY.
func (z *Zone) acknowledged(reply *dns.Msg, wire []byte, mac string) error {
	t := reply.IsTsig()
	if t != nil && t.Error != 0 {
		return fmt.Errorf("NOTIFY refused: TSIG %s: check that both sides have the same key, and the clocks", dns.RcodeToString[int(t.Error)])
	}
	if reply.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("NOTIFY refused: %s: allow it from this server at the secondary", dns.RcodeToString[reply.Rcode])
	}
	if t == nil {
		return errors.New("the answer to NOTIFY is not signed")
	}
	if err := dns.TsigVerifyWithProvider(wire, z.notifyKey, mac, false); err != nil && !errors.Is(err, dns.ErrTime) {
		return fmt.Errorf("the answer to NOTIFY: %w", err)
	}
	return nil
}

// sleep waits; false means that ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
