package zones

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/evidence"
)

// maxRequest is the longest message that is read, in octets. A query has some
// three hundred.
const maxRequest = 4096

// acceptPause is the pause after a failed accept or read, e.g. for lack of
// file descriptors.
const acceptPause = 50 * time.Millisecond

// Listeners are the sockets that a zone is served on.
type Listeners struct {
	UDP []*net.UDPConn
	TCP []net.Listener
}

// Listen opens a UDP and a TCP socket at each address (host:port). With port 0
// both get the same free port.
func Listen(ctx context.Context, addresses ...string) (*Listeners, error) {
	l := new(Listeners)
	for _, address := range addresses {
		if err := l.open(ctx, address); err != nil {
			return nil, errors.Join(fmt.Errorf("listen for DNS at %q: %w", address, err), l.Close())
		}
	}
	return l, nil
}

// open tries a few times: a free TCP port may be taken for UDP.
func (l *Listeners) open(ctx context.Context, address string) error {
	var config net.ListenConfig
	var last error
	for range 8 {
		tcp, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return err
		}
		bound, err := net.ResolveUDPAddr("udp", tcp.Addr().String())
		if err != nil {
			return errors.Join(err, tcp.Close())
		}
		udp, err := net.ListenUDP("udp", bound)
		if err == nil {
			l.TCP, l.UDP = append(l.TCP, tcp), append(l.UDP, udp)
			return nil
		}
		last = errors.Join(err, tcp.Close())
	}
	return last
}

// Close closes every socket.
func (l *Listeners) Close() error {
	var errs []error
	for _, c := range l.UDP {
		errs = append(errs, ignoreClosed(c.Close()))
	}
	for _, c := range l.TCP {
		errs = append(errs, ignoreClosed(c.Close()))
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Serve answers queries on l until ctx ends; then it closes the sockets and
// every connection, and returns nil. It may be called again with new sockets.
func (z *Zone) Serve(ctx context.Context, l *Listeners) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		<-ctx.Done()
		return l.Close()
	})
	for _, conn := range l.UDP {
		if err := wantDestination(conn); err != nil {
			group.Go(func() error { return fmt.Errorf("serve DNS at %s: %w", conn.LocalAddr(), err) })
			continue
		}
		for range z.opts.Limits.UDPWorkers {
			group.Go(func() error { return z.serveUDP(ctx, conn) })
		}
	}
	tcp := &tcpServer{zone: z, clients: make(map[netip.Prefix]int), conns: make(map[net.Conn]struct{})}
	for _, listener := range l.TCP {
		group.Go(func() error { return tcp.serve(ctx, listener) })
	}
	for _, secondary := range z.secondaries {
		group.Go(func() error {
			z.keepNotified(ctx, secondary)
			return nil
		})
	}
	err := group.Wait()
	tcp.closeAll()
	return err
}

// wantDestination asks for the destination of each packet, so that the answer
// leaves from the address that was asked. One of both fails on a socket of a
// single family.
func wantDestination(conn *net.UDPConn) error {
	err6 := ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
	err4 := ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
	if err6 != nil && err4 != nil {
		return err4
	}
	return nil
}

// serveUDP is one worker: the number of workers bounds memory under a flood,
// the rest waits in the kernel or is dropped there.
func (z *Zone) serveUDP(ctx context.Context, conn *net.UDPConn) error {
	in, out := make([]byte, maxRequest), make([]byte, 0, maxRequest)
	for {
		n, session, err := dns.ReadFromSessionUDP(conn, in)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			if !sleep(ctx, acceptPause) {
				return nil
			}
			continue
		}
		client, ok := session.RemoteAddr().(*net.UDPAddr)
		if !ok {
			continue
		}
		reply, _ := z.respond(in[:n], out[:cap(out)], client.AddrPort(), true)
		if reply == nil {
			continue
		}
		if _, err := dns.WriteToSessionUDP(conn, reply, session); err != nil {
			z.counters.dropped.Add(1) // like a loss on the way
		}
	}
}

// respond answers a message in wire form, into buf if it is large enough; nil
// means no answer. What is to be transferred is returned instead of an answer.
func (z *Zone) respond(wire, buf []byte, client netip.AddrPort, udp bool) ([]byte, *query) {
	if len(wire) < headerSize || wire[2]&0x80 != 0 { // no header, or QR: a response
		z.counters.dropped.Add(1)
		return nil, nil
	}
	var msg dns.Msg
	if !parse(wire, &msg) {
		return z.malformed(wire, buf, client, udp), nil
	}
	q := z.newQuery(&msg, client, udp)
	var rcode int
	if q.auth, rcode = z.authenticate(wire, &msg, q.now); rcode != dns.RcodeSuccess {
		return z.malformed(wire, buf, client, udp), nil
	}
	q.answer()
	if q.copied != nil {
		return nil, q
	}
	if !z.allow(q) {
		return nil, nil
	}
	out, err := q.pack(wire, buf)
	if err != nil {
		z.opts.Log.Error("DNS answer not packed", slog.Any("err", err))
		return bare(wire, buf, dns.RcodeServerFailure), nil
	}
	return out, nil
}

// parse reads a message. False means that it is malformed; that of an unknown
// opcode never is, it may have any form.
func parse(wire []byte, msg *dns.Msg) bool {
	count := func(i int) int { return int(binary.BigEndian.Uint16(wire[i:])) }
	// The header first: what is wrong there is not worth parsing.
	opcode := int(wire[2] >> 3 & 0xf)
	if opcode == dns.OpcodeQuery && (headerRcode(opcode, count(4), count(6), count(8)) != dns.RcodeSuccess || count(10) > 2) { // OPT and TSIG
		return false
	}
	if opcode != dns.OpcodeQuery {
		if max(count(4), count(6), count(8), count(10)) > 2 || msg.Unpack(wire) != nil {
			*msg = dns.Msg{MsgHdr: dns.MsgHdr{Id: binary.BigEndian.Uint16(wire), Opcode: opcode, RecursionDesired: wire[2]&1 != 0}}
		}
		return true
	}
	if msg.Unpack(wire) != nil && msg.Unpack(withoutOptions(wire)) != nil {
		return false
	}
	// The library takes a message that ends early for one with less in it.
	if len(msg.Question) != count(4) || len(msg.Ns) != count(8) || len(msg.Extra) != count(10) {
		return false
	}
	if len(msg.Question) == 1 {
		if nameEnd(wire) == 0 {
			return false
		}
		// Like the zone's own names, so that those are compressed to it.
		msg.Question[0].Name = dns.CanonicalName(msg.Question[0].Name)
	}
	return true
}

// nameEnd returns the offset behind the name of the first question, or 0 if
// that is compressed: there is nothing before it to point to.
func nameEnd(wire []byte) int {
	for off := headerSize; off < len(wire); off += int(wire[off]) + 1 {
		switch {
		case wire[off] == 0:
			return off + 1
		case wire[off]&0xc0 != 0:
			return 0
		}
	}
	return 0
}

// pack returns the reply to wire in wire form.
func (q *query) pack(wire, buf []byte) ([]byte, error) {
	out, err := q.reply.PackBuffer(buf)
	if err != nil {
		return nil, err
	}
	if len(q.reply.Question) == 1 {
		// The name in the case that it was asked in. Owner names are pointers to
		// it: they are in that case, too.
		end := nameEnd(wire)
		copy(out[headerSize:end], wire[headerSize:end])
	}
	if q.auth != nil {
		return q.auth.sign(out, q.now)
	}
	return out, nil
}

// malformed answers what can't be read with a header and nothing else.
func (z *Zone) malformed(wire, buf []byte, client netip.AddrPort, udp bool) []byte {
	z.countTransport(udp)
	z.counters.malformed.Add(1)
	if udp && !z.allow(z.newQuery(new(dns.Msg), client, udp)) {
		return nil
	}
	return bare(wire, buf, dns.RcodeFormatError)
}

// bare is an answer without records.
func bare(wire, buf []byte, rcode int) []byte {
	out := append(buf[:0], wire[:2]...)                      // ID
	out = append(out, 0x80|wire[2]&0x79, byte(rcode)&0xf)    // QR; opcode and RD as asked; neither RA, AD nor CD
	return append(out, make([]byte, headerSize-len(out))...) // no records
}

// allow applies the rate limit to a reply over UDP. False means that it is not
// sent; it may be cut short instead.
func (z *Zone) allow(q *query) bool {
	signed := q.auth != nil && q.auth.rcode == 0
	if z.limiter == nil || !q.udp || signed || q.cookie == cookieServer || q.client.IsLoopback() {
		return true
	}
	switch z.limiter.check(q.client, q.kind, q.alike, q.alikeType, q.now) {
	case rateDrop:
		z.counters.limited.Add(1)
		return false
	case rateSlip:
		z.counters.slipped.Add(1)
		if q.kind != kindError { // those are short, and TCP gives no other answer
			q.cut()
		}
	}
	return true
}

// tcpServer counts and closes the TCP connections of all listeners.
type tcpServer struct {
	zone *Zone
	wg   sync.WaitGroup

	mu      sync.Mutex
	clients map[netip.Prefix]int
	conns   map[net.Conn]struct{}
}

func (s *tcpServer) serve(ctx context.Context, l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) || !sleep(ctx, acceptPause) {
				return nil
			}
			continue
		}
		client, err := netip.ParseAddrPort(conn.RemoteAddr().String())
		if err != nil || !s.admit(conn, evidence.ClientOf(client.Addr())) {
			s.zone.counters.dropped.Add(1)
			s.close(conn)
			continue
		}
		s.wg.Go(func() {
			defer s.release(conn, evidence.ClientOf(client.Addr()))
			s.serveConn(ctx, conn, client)
		})
	}
}

func (s *tcpServer) admit(conn net.Conn, from netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	limits := s.zone.opts.Limits
	full := len(s.conns) >= limits.TCPConns && !s.zone.isSecondary(from) // a flood keeps no secondary out
	if full || s.clients[from] >= limits.TCPPerClient {
		return false
	}
	s.conns[conn] = struct{}{}
	s.clients[from]++
	return true
}

func (s *tcpServer) release(conn net.Conn, from netip.Prefix) {
	s.mu.Lock()
	delete(s.conns, conn)
	if s.clients[from]--; s.clients[from] == 0 {
		delete(s.clients, from)
	}
	s.mu.Unlock()
	s.close(conn)
}

// close closes a connection that is of no more use; an error changes nothing.
func (s *tcpServer) close(conn net.Conn) {
	if err := ignoreClosed(conn.Close()); err != nil {
		s.zone.opts.Log.Debug("DNS connection not closed in order", slog.Any("err", err))
	}
}

// closeAll closes what is open and waits for the end of all connections.
func (s *tcpServer) closeAll() {
	s.mu.Lock()
	for conn := range s.conns {
		s.close(conn)
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// serveConn answers the queries of one connection in order (RFC 7766).
func (s *tcpServer) serveConn(ctx context.Context, conn net.Conn, client netip.AddrPort) {
	limits := s.zone.opts.Limits
	framed := &dns.Conn{Conn: conn}
	in, out := make([]byte, maxRequest), make([]byte, maxRequest)
	for range limits.TCPQueries {
		if conn.SetReadDeadline(time.Now().Add(limits.TCPIdle)) != nil {
			return
		}
		n, err := framed.Read(in)
		if err != nil {
			return
		}
		reply, transfer := s.zone.respond(in[:n], out, client, false)
		if transfer != nil {
			if !s.zone.send(ctx, framed, transfer) {
				return
			}
			continue
		}
		if reply == nil || conn.SetWriteDeadline(time.Now().Add(limits.TCPWrite)) != nil {
			return
		}
		if _, err := framed.Write(reply); err != nil {
			return
		}
	}
}
