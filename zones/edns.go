package zones

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
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
	own := &q.memory.opt
	own.Hdr = dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}
	own.SetUDPSize(maxUDP)
	if q.do {
		own.SetDo() // RFC 3225 §3: the bit is copied
	}
	q.memory.extra[0] = own
	q.reply.Extra, q.opt = q.memory.extra[:], optSize
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

// privateOption is an option code without meaning (RFC 6891 §9).
const privateOption = 65001

// withoutOptions returns a copy of a query in which the EDNS options that mean
// nothing here have a code that means nothing anywhere. The library reads all
// that it knows and refuses the whole message over one, e.g. an empty
// ZONEVERSION (RFC 9660), which is a request.
func withoutOptions(wire []byte) []byte {
	out := slices.Clone(wire)
	off := headerSize
	for range binary.BigEndian.Uint16(wire[4:]) {
		off = skipName(wire, off) + 4
	}
	records := int(binary.BigEndian.Uint16(wire[8:])) + int(binary.BigEndian.Uint16(wire[10:]))
	for range records {
		off = skipName(wire, off)
		if off+10 > len(wire) {
			return out
		}
		rrtype, size := binary.BigEndian.Uint16(wire[off:]), int(binary.BigEndian.Uint16(wire[off+8:]))
		off += 10
		if off+size > len(wire) {
			return out
		}
		if rrtype == dns.TypeOPT {
			renameOptions(out[off : off+size])
		}
		off += size
	}
	return out
}

func renameOptions(data []byte) {
	for len(data) >= 4 {
		if code := binary.BigEndian.Uint16(data); code != dns.EDNS0COOKIE && code != dns.EDNS0TCPKEEPALIVE {
			binary.BigEndian.PutUint16(data, privateOption)
		}
		data = data[min(len(data), 4+int(binary.BigEndian.Uint16(data[2:]))):]
	}
}

// skipName returns the offset behind a name, or behind the message.
func skipName(wire []byte, off int) int {
	for off < len(wire) {
		switch n := int(wire[off]); {
		case n == 0:
			return off + 1
		case n >= 0xc0:
			return off + 2
		default:
			off += n + 1
		}
	}
	return len(wire)
}
