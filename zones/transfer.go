package zones

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// Times of the SOA record. NOTIFY tells secondaries of a change; these are for
// when it is lost.
const (
	soaRefresh = time.Minute
	soaRetry   = 30 * time.Second
)

// transferMessage is the size from which a message of a transfer is full, in octets.
const transferMessage = 16 << 10

// Transfer lets secondary name servers copy the zone (RFC 5936) and tells them
// when it has changed (RFC 1996). Without keys there is none of that.
type Transfer struct {
	// Keys authenticate whoever copies the zone; the first one signs what is
	// sent to secondaries.
	Keys []TSIGKey
	// Secondaries are sent NOTIFY whenever the zone changes.
	Secondaries []netip.AddrPort
	// Allow are the networks that the zone may be copied from, with a key.
	// Default: the addresses of Secondaries; any, if there are none.
	Allow []netip.Prefix

	Transfers int           // at a time; default 4
	Time      time.Duration // for one of them; default 1 min
	// Dial opens the connection that NOTIFY is sent on. Default: that of net.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// withDefaults returns a checked copy with every default filled in.
func (t Transfer) withDefaults() (Transfer, error) {
	if len(t.Keys) == 0 && len(t.Secondaries)+len(t.Allow) > 0 {
		return t, errors.New("secondary name servers need a TSIG key, and there is none")
	}
	t.Secondaries, t.Allow = slices.Clone(t.Secondaries), slices.Clone(t.Allow)
	for i, s := range t.Secondaries {
		a := s.Addr().Unmap()
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || s.Port() == 0 {
			return t, fmt.Errorf("secondary %q: want the address and port of a name server", s)
		}
		t.Secondaries[i] = netip.AddrPortFrom(a, s.Port())
		if slices.Contains(t.Secondaries[:i], t.Secondaries[i]) {
			return t, fmt.Errorf("secondary %q is listed twice", s)
		}
	}
	for _, p := range t.Allow {
		if !p.IsValid() {
			return t, fmt.Errorf("transfer to %q: want an address prefix", p)
		}
	}
	if len(t.Allow) == 0 {
		for _, s := range t.Secondaries {
			a := s.Addr().WithZone("")
			t.Allow = append(t.Allow, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	setDefault(&t.Transfers, 4)
	setDefault(&t.Time, time.Minute)
	if t.Dial == nil {
		t.Dial = new(net.Dialer).DialContext
	}
	return t, nil
}

// allows reports whether the zone may be copied from an address, given a key.
func (t *Transfer) allows(a netip.Addr) bool {
	return len(t.Allow) == 0 || slices.ContainsFunc(t.Allow, func(p netip.Prefix) bool { return p.Contains(a) })
}

// soaExpire is how long a secondary serves a copy that it can't renew. Signatures
// are renewed before they have a quarter of their validity left (see
// signer.condition), looked at every twenty-fourth: what a secondary has
// expires before them.
func soaExpire(validity time.Duration) time.Duration { return validity / 6 }

// transfer answers AXFR and IXFR.
func (q *query) transfer(key nameKey, question dns.Question) {
	t := &q.zone.opts.Transfer
	reply := q.reply
	switch {
	case q.auth == nil, !t.allows(q.client), !inClass(question.Qclass):
		reply.Rcode = dns.RcodeRefused
		return
	case key != q.zone.apex:
		reply.Rcode = dns.RcodeNotAuth // RFC 5936 §2.2.1
		return
	case question.Qtype == dns.TypeAXFR && q.udp:
		reply.Rcode = dns.RcodeRefused // RFC 5936 §4.2: there is no AXFR over UDP
		return
	}
	snap := q.zone.current.Load()
	reply.Authoritative = true
	if question.Qtype == dns.TypeIXFR {
		have, ok := clientSerial(q.msg)
		if !ok {
			reply.Rcode = dns.RcodeFormatError
			return
		}
		// RFC 1995 §2: the SOA alone if the client has that already (RFC 1982
		// §3.2), and over UDP. Else the whole zone: no differences are kept.
		if q.udp || int32(have-snap.serial()) >= 0 {
			reply.Answer, _ = snap.soa.with(false)
			return
		}
	}
	select {
	case q.zone.transfers <- struct{}{}:
		q.copied = snap
	default:
		reply.Rcode = dns.RcodeServerFailure // it tries again
	}
}

// clientSerial returns the serial that IXFR brings (RFC 1995 §3).
func clientSerial(m *dns.Msg) (uint32, bool) {
	if len(m.Ns) != 1 {
		return 0, false
	}
	soa, ok := m.Ns[0].(*dns.SOA)
	if !ok {
		return 0, false
	}
	return soa.Serial, true
}

func (s *snapshot) serial() uint32 {
	if soa, ok := s.soa.rrs[0].(*dns.SOA); ok {
		return soa.Serial
	}
	return 0
}

// send sends the copy that q asked for. False means that the connection is of
// no more use.
func (z *Zone) send(ctx context.Context, conn *dns.Conn, q *query) bool {
	defer func() { <-z.transfers }()
	ctx, cancel := context.WithTimeout(ctx, z.opts.Transfer.Time)
	defer cancel()
	if err := z.stream(ctx, conn, q); err != nil {
		z.opts.Log.Warn("zone transfer failed", slog.String("client", q.client.String()), slog.Any("err", err))
		return false
	}
	z.counters.transfers.Add(1)
	z.transferDone(q.client, q.copied.serial())
	return true
}

// stream writes the messages of a transfer.
func (z *Zone) stream(ctx context.Context, conn *dns.Conn, q *query) error {
	m, size := q.reply, 0
	buf := make([]byte, dns.MaxMsgSize)
	flush := func() error {
		wire, err := m.PackBuffer(buf)
		if err != nil {
			return fmt.Errorf("pack: %w", err)
		}
		if wire, err = q.auth.sign(wire, z.opts.Now()); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := conn.SetWriteDeadline(time.Now().Add(z.opts.Limits.TCPWrite)); err != nil {
			return err
		}
		if _, err := conn.Write(wire); err != nil {
			return err
		}
		// RFC 5936 §2.2.1, §2.2.5: question and OPT are in the first message.
		m.Question, m.Extra, m.Answer, size = nil, nil, m.Answer[:0], 0
		return nil
	}
	// RFC 5936 §2.2: the SOA first and last, everything else once.
	for _, rr := range append(q.copied.all(), q.copied.soa.rrs...) {
		m.Answer = append(m.Answer, rr)
		if size += dns.Len(rr); size < transferMessage {
			continue
		}
		if err := flush(); err != nil {
			return err
		}
	}
	if len(m.Answer) == 0 {
		return nil
	}
	return flush()
}
