package zones

import (
	"context"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Sizes of UDP messages, in octets.
const (
	maxUDP     = 1232 // never more, to stay clear of fragmentation
	optSize    = 11   // of our OPT record without options
	headerSize = 12
)

// Answer answers one query from memory. It returns nil for what must not be
// answered at all: responses. With udp the answer fits the client's buffer, at
// most 1232 octets, and is cut short with TC otherwise. The answer shares its
// records with the zone: it must not be modified. msg is not modified. TSIG is
// not looked at, and the rate is not limited.
func (z *Zone) Answer(_ context.Context, msg *dns.Msg, client netip.AddrPort, udp bool) *dns.Msg {
	if msg.Response {
		z.counters.dropped.Add(1)
		return nil
	}
	q := z.newQuery(msg, client, udp)
	q.answer()
	return q.reply
}

// newQuery prepares the reply to a message.
func (z *Zone) newQuery(msg *dns.Msg, client netip.AddrPort, udp bool) *query {
	q := &query{zone: z, msg: msg, client: client.Addr().Unmap().WithZone(""), udp: udp, limit: dns.MaxMsgSize, now: z.opts.Now()}
	if udp {
		q.limit = dns.MinMsgSize
	}
	q.reply = &q.memory.reply
	*q.reply = dns.Msg{
		// RFC 4035 §3.1.6: an authoritative answer has neither AD nor CD set.
		MsgHdr:   dns.MsgHdr{Id: msg.Id, Response: true, Opcode: msg.Opcode, RecursionDesired: msg.RecursionDesired},
		Compress: true,
		Question: msg.Question, // as asked, in its case
	}
	return q
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
	case dns.RcodeRefused, dns.RcodeNotAuth:
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
	now    time.Time
	udp    bool
	limit  int // octets of the reply
	do     bool
	size   int // octets of answer and authority without compression
	opt    int // octets of our OPT record

	auth   *tsigSession // nil: no TSIG
	cookie cookieState
	copied *snapshot // what is to be transferred instead of the reply

	// What the rate limiter takes for alike.
	kind      responseKind
	alike     nameKey
	alikeType uint16

	memory struct { // of the reply: one allocation for all of them
		reply dns.Msg
		opt   dns.OPT
		extra [1]dns.RR
	}
}

// answer fills the reply in, and counts it.
func (q *query) answer() {
	q.zone.countTransport(q.udp)
	q.fill()
	q.zone.count(q.reply)
}

func (q *query) fill() {
	m := q.msg
	q.reply.Rcode = headerRcode(m.Opcode, len(m.Question), len(m.Answer), len(m.Ns))
	if q.reply.Rcode != dns.RcodeSuccess {
		q.reply.Question = nil // of an unknown form, or too many
	}
	if rcode := q.edns(); rcode != dns.RcodeSuccess && q.reply.Rcode == dns.RcodeSuccess {
		q.reply.Rcode = rcode
	}
	if q.auth != nil && q.auth.rcode != 0 {
		q.reply.Rcode = dns.RcodeNotAuth // RFC 8945 §5.2
	}
	switch {
	case q.reply.Rcode != dns.RcodeSuccess:
		return
	case len(m.Question) == 0:
		// RFC 7873 §5.4: a query for a server cookie and nothing else.
		if q.cookie == cookieNone {
			q.reply.Rcode = dns.RcodeFormatError
		}
		return
	}
	q.question(m.Question[0])
}

// question answers a question that is well-formed as such.
func (q *query) question(question dns.Question) {
	key, err := keyOf(question.Name)
	if err != nil || len(q.msg.Ns) > 0 && question.Qtype != dns.TypeIXFR {
		q.reply.Rcode = dns.RcodeFormatError
		return
	}
	switch question.Qtype {
	case dns.TypeAXFR, dns.TypeIXFR:
		q.transfer(key, question)
		return
	case dns.TypeNone, dns.TypeOPT, dns.TypeTKEY, dns.TypeTSIG, dns.TypeNXNAME:
		// RFC 6895 §3.1: these are no types of data; RFC 9824 §3.5 of NXNAME.
		q.reply.Rcode = dns.RcodeFormatError
		return
	}
	if !inClass(question.Qclass) || !key.within(q.zone.apex) {
		q.reply.Rcode = dns.RcodeRefused
		return
	}
	q.lookup(key, question)
	// RFC 1035 §6.2: what is asked of all classes is never known for certain.
	q.reply.Authoritative = question.Qclass == dns.ClassINET
	q.truncate()
}

func inClass(class uint16) bool { return class == dns.ClassINET || class == dns.ClassANY }

// headerRcode says what is wrong with a request by its header alone.
func headerRcode(opcode, questions, answers, authorities int) int {
	if opcode != dns.OpcodeQuery {
		return dns.RcodeNotImplemented
	}
	// RFC 9619: never two questions; RFC 7873 §5.4: none to get a cookie;
	// RFC 1995 §3: IXFR brings a SOA record.
	if questions > 1 || answers != 0 || authorities > 1 {
		return dns.RcodeFormatError
	}
	return dns.RcodeSuccess
}

// lookup fills answer and authority for a name of the zone.
func (q *query) lookup(key nameKey, question dns.Question) {
	snap := q.zone.current.Load()
	ring, name := q.zone.known, ""
	n := snap.nodes[key]
	switch {
	case n == nil:
		ring = q.zone.unknown
		q.reply.Rcode = dns.RcodeNameError
		q.kind = kindNoName // of any name: a flood asks for each one once
		q.negative(snap, snap.denial(key)...)
	case n.find(question.Qtype) != nil:
		set := n.find(question.Qtype)
		rrs, size := set.with(q.do)
		if question.Qtype == dns.TypeRRSIG {
			rrs, size = set.signed[len(set.rrs):], set.signedSize-set.size
		}
		q.reply.Answer, q.size = rrs, size
		q.kind, q.alike, q.alikeType = kindAnswer, key, question.Qtype
		name = n.name
	default:
		// RFC 4035 §3.1.3.1: the NSEC at the name shows the missing type; an
		// empty non-terminal has none, the one before it spans it.
		q.negative(snap, snap.covering(key))
		q.kind, q.alike = kindNoData, key
		name = n.name
	}
	if name == "" {
		name = dns.CanonicalName(question.Name)
	}
	ring.add(q.now, q.client, name, question.Qtype, q.do, q.reply.Rcode)
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
	limit := q.limit
	if q.auth != nil {
		limit -= q.auth.reserve()
	}
	// Only near the limit is the real size, which costs, worth knowing.
	if headerSize+len(q.msg.Question[0].Name)+6+q.size+q.opt <= limit {
		return
	}
	if q.reply.Len() <= limit {
		return
	}
	q.cut()
}

// cut leaves the question and TC: the client comes back over TCP.
func (q *query) cut() {
	q.reply.Truncated = true
	q.reply.Answer, q.reply.Ns = nil, nil
}
