package zones

import (
	"encoding/hex"
	"time"

	"github.com/miekg/dns"
)

// cookieState is what a query's DNS cookie says.
type cookieState uint8

const (
	cookieNone   cookieState = iota
	cookieClient             // the client has none of ours yet
	cookieServer             // the client is at the address that it shows
)

// edns reads the OPT record and adds ours (RFC 6891 §6). Flags and options that
// are not known are ignored (§6.1.2, §6.1.4).
func (q *query) edns() int {
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
	if q.udp {
		q.limit = min(max(int(opt.UDPSize()), dns.MinMsgSize), maxUDP)
	}
	own := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	own.SetUDPSize(maxUDP)
	if q.do {
		own.SetDo() // RFC 3225 §3: the bit is copied
	}
	q.reply.Extra, q.opt = []dns.RR{own}, optSize
	if opt.Version() != 0 {
		return dns.RcodeBadVers // RFC 6891 §6.1.3
	}
	return q.options(opt, own)
}

// options answers the options that are known.
func (q *query) options(asked, own *dns.OPT) int {
	keepalive := false
	for _, o := range asked.Option {
		switch o := o.(type) {
		case *dns.EDNS0_COOKIE:
			if q.cookie != cookieNone {
				continue // RFC 7873 §5.2: the first one counts
			}
			in, err := hex.DecodeString(o.Cookie)
			if err != nil {
				return dns.RcodeFormatError
			}
			out, known, ok := q.zone.cookies.answer(in, q.client, q.now)
			if !ok {
				return dns.RcodeFormatError
			}
			if q.cookie = cookieClient; known {
				q.cookie = cookieServer
			}
			own.Option = append(own.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex.EncodeToString(out[:])})
			q.opt += cookieOption
		case *dns.EDNS0_TCP_KEEPALIVE:
			// RFC 7828 §3.3.2: how long a connection may be idle; not over UDP.
			if !q.udp && !keepalive {
				keepalive = true
				idle := min(q.zone.opts.Limits.TCPIdle/(100*time.Millisecond), 0xffff)
				own.Option = append(own.Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE, Timeout: uint16(idle)})
				q.opt += 6
			}
		}
	}
	return dns.RcodeSuccess
}
