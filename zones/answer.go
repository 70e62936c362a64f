package zones

import (
	"context"
	"net/netip"

	"github.com/miekg/dns"
)

// Sizes of UDP messages, in octets.
const (
	maxUDP     = 1232 // never more, to stay clear of fragmentation
	optSize    = 11   // of our OPT record
	headerSize = 12
)

// Answer answers one query from memory. It returns nil for what must not be
// answered at all: responses. With udp the answer fits the client's buffer, at
// most 1232 octets, and is cut short with TC otherwise. The answer shares its
// records with the zone: it must not be modified. msg is not modified.
func (z *Zone) Answer(_ context.Context, msg *dns.Msg, client netip.AddrPort, udp bool) *dns.Msg {
	if msg.Response {
		z.counters.dropped.Add(1)
		return nil
	}
	z.countTransport(udp)
	q := query{zone: z, msg: msg, client: client.Addr().Unmap().WithZone(""), limit: dns.MaxMsgSize}
	if udp {
		q.limit = dns.MinMsgSize
	}
	q.reply = &dns.Msg{
		// RFC 4035 §3.1.6: an authoritative answer has neither AD nor CD set.
		MsgHdr:   dns.MsgHdr{Id: msg.Id, Response: true, Opcode: msg.Opcode, RecursionDesired: msg.RecursionDesired},
		Compress: true,
		Question: msg.Question, // as asked, in its case
	}
	q.answer(udp)
	z.count(q.reply)
	return q.reply
}

func (z *Zone) countTransport(udp bool) {
	if udp {
		z.counters.udp.Add(1)
	} else {
		z.counters.tcp.Add(1)
	}
}

func (z *Zone) count(reply *dns.Msg) {
	switch reply.Rcode {
	case dns.RcodeNameError:
		z.counters.nxdomain.Add(1)
	case dns.RcodeRefused:
		z.counters.refused.Add(1)
	case dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers:
		z.counters.malformed.Add(1)
	}
	if reply.Truncated {
		z.counters.truncated.Add(1)
	}
}

// query is one query on its way.
type query struct {
	zone   *Zone
	msg    *dns.Msg
	reply  *dns.Msg
	client netip.Addr
	limit  int // octets of the reply
	do     bool
	size   int // octets of answer and authority without compression
}

func (q *query) answer(udp bool) {
	if rcode := headerRcode(q.msg.Opcode, len(q.msg.Question), len(q.msg.Answer), len(q.msg.Ns)); rcode != dns.RcodeSuccess {
		q.reply.Rcode = rcode
		q.reply.Question = nil
		return
	}
	if rcode := q.edns(udp); rcode != dns.RcodeSuccess {
		q.reply.Rcode = rcode
		return
	}
	question := q.msg.Question[0]
	switch question.Qtype {
	case dns.TypeAXFR, dns.TypeIXFR:
		q.reply.Rcode = dns.RcodeRefused
		return
	case dns.TypeOPT, dns.TypeNone:
		q.reply.Rcode = dns.RcodeFormatError
		return
	}
	key, err := keyOf(question.Name)
	if err != nil {
		q.reply.Rcode = dns.RcodeFormatError
		return
	}
	if question.Qclass != dns.ClassINET || !key.within(q.zone.apex) {
		q.reply.Rcode = dns.RcodeRefused
		return
	}
	q.lookup(key, question)
	q.truncate()
}

// headerRcode says what is wrong with a request by its header alone.
func headerRcode(opcode, questions, answers, authorities int) int {
	if opcode != dns.OpcodeQuery {
		return dns.RcodeNotImplemented
	}
	if questions != 1 || answers != 0 || authorities != 0 {
		return dns.RcodeFormatError
	}
	return dns.RcodeSuccess
}

// edns reads the OPT record and adds ours (RFC 6891 §6).
func (q *query) edns(udp bool) int {
	var opt *dns.OPT
	for _, rr := range q.msg.Extra {
		o, ok := rr.(*dns.OPT)
		if !ok {
			continue
		}
		// RFC 6891 §6.1.1: more than one, or a name other than the root, is an error.
		if opt != nil || o.Hdr.Name != "." {
			return dns.RcodeFormatError
		}
		opt = o
	}
	if opt == nil {
		return dns.RcodeSuccess
	}
	q.do = opt.Do()
	if udp {
		q.limit = min(max(int(opt.UDPSize()), dns.MinMsgSize), maxUDP)
	}
	own := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	own.SetUDPSize(maxUDP)
	if q.do {
		own.SetDo() // RFC 3225 §3: the bit is copied
	}
	q.reply.Extra = []dns.RR{own}
	if opt.Version() != 0 {
		return dns.RcodeBadVers // RFC 6891 §6.1.3
	}
	return dns.RcodeSuccess
}

// lookup fills answer and authority for a name of the zone.
func (q *query) lookup(key nameKey, question dns.Question) {
	snap := q.zone.current.Load()
	q.reply.Authoritative = true
	ring, name := q.zone.known, ""
	n := snap.nodes[key]
	switch {
	case n == nil:
		ring = q.zone.unknown
		q.reply.Rcode = dns.RcodeNameError
		q.negative(snap, snap.denial(key)...)
	case n.find(question.Qtype) != nil:
		set := n.find(question.Qtype)
		rrs, size := set.with(q.do)
		if question.Qtype == dns.TypeRRSIG {
			rrs, size = set.signed[len(set.rrs):], set.signedSize-set.size
		}
		q.reply.Answer, q.size = rrs, size
		name = n.name
	default:
		// RFC 4035 §3.1.3.1: the NSEC at the name shows the missing type; an
		// empty non-terminal has none, the one before it spans it.
		q.negative(snap, snap.covering(key))
		name = n.name
	}
	if name == "" {
		name = dns.CanonicalName(question.Name)
	}
	ring.add(q.zone.opts.Now(), q.client, name, question.Qtype, q.do, q.reply.Rcode)
}

// find returns the RRset that answers qtype, or nil.
func (n *node) find(qtype uint16) *rrset {
	switch qtype {
	case dns.TypeNSEC:
		return n.nsec
	case dns.TypeANY, dns.TypeRRSIG:
		// RFC 8482 §4.1: one RRset is enough; that of the lowest type, so that
		// it is always the same.
		var out *rrset
		for _, set := range n.sets {
			if out == nil || set.sig.TypeCovered < out.sig.TypeCovered {
				out = set
			}
		}
		return out
	}
	return n.sets[qtype]
}

// negative puts the SOA and, for a validating client, proofs into the
// authority section (RFC 2308 §3, RFC 4035 §3.1.3).
func (q *query) negative(snap *snapshot, proofs ...*rrset) {
	soa, size := snap.soa.with(q.do)
	q.reply.Ns, q.size = soa, size
	if !q.do {
		return
	}
	for _, p := range proofs {
		q.reply.Ns = append(q.reply.Ns, p.signed...) // soa has no spare capacity: this copies
		q.size += p.signedSize
	}
}

// truncate cuts a reply that is too large for the client. All records go:
// half an RRset is of no use (RFC 2181 §9).
func (q *query) truncate() {
	// Only near the limit is the real size, which costs, worth knowing.
	if headerSize+len(q.msg.Question[0].Name)+6+q.size+optSize <= q.limit {
		return
	}
	if q.reply.Len() <= q.limit {
		return
	}
	q.reply.Truncated = true
	q.reply.Answer, q.reply.Ns = nil, nil
}
