package rfc2136

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones/internal/records"
)

// Bounds of a transfer.
const (
	maxRecords = 500_000
	maxOctets  = 64 << 20
)

// fudge is how far the clocks may be apart, in seconds (RFC 8945 §10).
const fudge = 300

// update sends an UPDATE.
func (p *Provider) update(ctx context.Context, m *dns.Msg) error {
	m.Compress = true
	if m.Len() > dns.MaxMsgSize-512 { // what remains is for the signature
		return fmt.Errorf("%d records do not fit one UPDATE message: change fewer at a time", len(m.Ns))
	}
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.send(m); err != nil {
		return err
	}
	reply, err := s.receive()
	if err != nil {
		if _, said := errors.AsType[*Error](err); !said {
			err = fmt.Errorf("%w (the update may have been applied)", err)
		}
		return err
	}
	return p.check("UPDATE", reply)
}

// query asks for one RRset.
func (s *session) query(zone string, id records.ID) ([]dns.RR, error) {
	q := new(dns.Msg).SetQuestion(id.Name, id.Type)
	q.RecursionDesired = false
	if err := s.send(q); err != nil {
		return nil, err
	}
	reply, err := s.receive()
	if err != nil {
		return nil, err
	}
	if reply.Rcode == dns.RcodeNameError && reply.Authoritative {
		return nil, nil
	}
	if err := s.p.check("query for "+id.String(), reply); err != nil {
		return nil, err
	}
	if !reply.Authoritative {
		return nil, &Error{
			Op: "query for " + id.String(), Server: s.p.opts.Server, Rcode: reply.Rcode,
			Hint: fmt.Sprintf("the server is not authoritative there: check that it serves zone %q, and that no further zone is cut out of it", zone),
		}
	}
	var out []dns.RR
	for _, rr := range reply.Answer {
		if records.IDOf(rr) == id {
			out = append(out, rr)
		}
	}
	return out, nil
}

// transfer returns all records of a zone but SOA and those of DNSSEC.
func (p *Provider) transfer(ctx context.Context, zone string) ([]dns.RR, error) {
	s, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := s.send(new(dns.Msg).SetAxfr(zone)); err != nil {
		return nil, err
	}
	var out []dns.RR
	soa := 0
	for soa < 2 { // RFC 5936 §2.2: it begins and ends with the SOA
		reply, err := s.receive()
		if err != nil {
			return nil, err
		}
		if err := p.check("transfer (AXFR)", reply); err != nil {
			return nil, err
		}
		if len(reply.Answer) == 0 || s.octets > maxOctets || len(out) > maxRecords {
			return nil, fmt.Errorf("%s: transfer of %q is empty or too large (%d records, %d octets)", p.opts.Server, zone, len(out), s.octets)
		}
		for _, rr := range reply.Answer {
			h := rr.Header()
			switch {
			case soa == 0 && h.Rrtype != dns.TypeSOA, soa == 2:
				return nil, fmt.Errorf("%s: transfer of %q does not begin and end with the SOA record", p.opts.Server, zone)
			case h.Rrtype == dns.TypeSOA:
				soa++
			case h.Class == dns.ClassINET && !ofTheServer(h.Rrtype):
				out = append(out, rr)
			}
		}
	}
	return out, nil
}

// ofTheServer reports whether records of a type are made by the server itself.
func ofTheServer(rrtype uint16) bool {
	switch rrtype {
	case dns.TypeDNSKEY, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeZONEMD:
		return true
	case 65534: // how far BIND has got with signing
		return true
	}
	return false
}

// session is a connection on which every message is signed.
type session struct {
	p    *Provider
	conn *dns.Conn
	stop func() bool
	end  context.CancelFunc

	id     uint16
	opcode int
	mac    string // of the last message
	first  bool   // the next reply is the first one
	octets int
}

func (p *Provider) open(ctx context.Context) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	conn, err := p.opts.Dial(ctx, "tcp", p.opts.Server)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("name server %s does not take TCP connections: %w", p.opts.Server, err)
	}
	// An end of the context interrupts reads and writes.
	stop := context.AfterFunc(ctx, func() { expire(conn) })
	return &session{p: p, conn: &dns.Conn{Conn: conn}, stop: stop, end: cancel}, nil
}

func expire(conn net.Conn) {
	_ = conn.SetDeadline(time.Unix(1, 0)) // a closed one needs none
}

func (s *session) close() {
	s.stop()
	s.end()
	_ = s.conn.Close() // nothing is left to be sent
}

func (s *session) send(m *dns.Msg) error {
	m.SetTsig(s.p.key, s.p.algo, fudge, s.p.opts.Now().Unix())
	wire, mac, err := dns.TsigGenerate(m, s.p.opts.Secret, "", false)
	if err != nil {
		return fmt.Errorf("sign with key %q: %w", s.p.key, err)
	}
	s.id, s.opcode, s.mac, s.first = m.Id, m.Opcode, mac, true
	if _, err := s.conn.Write(wire); err != nil {
		return fmt.Errorf("send to %s: %w", s.p.opts.Server, err)
	}
	return nil
}

// receive returns the next reply. A reply that is not signed with the key is an
// error; it is looked at only for what the server says is wrong.
func (s *session) receive() (*dns.Msg, error) {
	wire, err := s.conn.ReadMsgHeader(nil)
	if err != nil {
		return nil, fmt.Errorf("no reply from %s: %w", s.p.opts.Server, err)
	}
	s.octets += len(wire)
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		return nil, fmt.Errorf("reply from %s: %w", s.p.opts.Server, err)
	}
	if m.Id != s.id || !m.Response || m.Opcode != s.opcode {
		return nil, fmt.Errorf("reply from %s is not one to what was asked", s.p.opts.Server)
	}
	tsig := m.IsTsig()
	if tsig == nil {
		return nil, s.p.unsigned(m)
	}
	if tsig.Error != dns.RcodeSuccess {
		return nil, s.p.tsigError(m, tsig)
	}
	if dns.CanonicalName(tsig.Hdr.Name) != s.p.key || dns.CanonicalName(tsig.Algorithm) != s.p.algo {
		return nil, fmt.Errorf("reply from %s is signed with another key, %q", s.p.opts.Server, tsig.Hdr.Name)
	}
	if m.Rcode == dns.RcodeNotAuth { // the dns package verifies none of these
		return nil, s.p.check("request", m)
	}
	// RFC 8945 §5.3.1: all but the first message of a transfer sign only the timers.
	if err := dns.TsigVerify(wire, s.p.opts.Secret, s.mac, !s.first); err != nil {
		return nil, fmt.Errorf("reply from %s: signature of key %q: %w", s.p.opts.Server, s.p.key, err)
	}
	s.mac, s.first = tsig.MAC, false
	return m, nil
}
