package rfc2136_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones/rfc2136"
)

const (
	zone    = "sink.example."
	keyName = "tlsink.key."
	secret  = "c2VjcmV0IG9mIHRoZSB0ZXN0IGtleSwgMzIgYnl0ZXM="
)

// server is a small primary name server that takes updates.
type server struct {
	mu      sync.Mutex
	records []dns.RR
	updates int
	lag     int                                                   // questions that are answered from what was before an update
	stale   []dns.RR                                              // that
	late    int                                                   // of them, how many are left
	minimum uint32                                                // smallest TTL that it stores
	next    func(w dns.ResponseWriter, q *dns.Msg) (handled bool) // nil: behave
	addr    string
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	for _, line := range []string{"@ 60 NS ns1", "ns1 60 A 192.0.2.53", "@ 60 TXT \"stays\"", "cname 60 CNAME www.other.example."} {
		s.records = append(s.records, record(t, line))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	started := make(chan struct{})
	srv := &dns.Server{
		Listener: listener, Handler: s, TsigSecret: map[string]string{keyName: secret},
		MsgAcceptFunc:     func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept },
		NotifyStartedFunc: func() { close(started) },
	}
	done := make(chan error, 1)
	go func() { done <- srv.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		if err := srv.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func record(t *testing.T, line string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR("$ORIGIN " + zone + "\n" + line)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// behave sets what the server does instead of what it should.
func (s *server) behave(f func(w dns.ResponseWriter, q *dns.Msg) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = f
}

func sign(q, m *dns.Msg) *dns.Msg {
	if t := q.IsTsig(); t != nil {
		m.SetTsig(t.Hdr.Name, t.Algorithm, 300, time.Now().Unix())
	}
	return m
}

func (s *server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil && s.next(w, q) {
		return
	}
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	if tsig := q.IsTsig(); tsig == nil || w.TsigStatus() != nil {
		m.Rcode = dns.RcodeNotAuth
		if tsig != nil {
			code := uint16(dns.RcodeBadSig)
			if errors.Is(w.TsigStatus(), dns.ErrSecret) {
				code = dns.RcodeBadKey
			}
			sign(q, m).IsTsig().Error = code
		}
		_ = w.WriteMsg(m)
		return
	}
	switch {
	case !strings.EqualFold(q.Question[0].Name, zone) && !dns.IsSubDomain(zone, q.Question[0].Name),
		(q.Opcode == dns.OpcodeUpdate || q.Question[0].Qtype == dns.TypeAXFR) && dns.CanonicalName(q.Question[0].Name) != zone:
		m.Rcode = dns.RcodeNotAuth
	case q.Opcode == dns.OpcodeUpdate:
		m.Rcode = s.update(q.Ns)
	case q.Question[0].Qtype == dns.TypeAXFR:
		s.transfer(w, q)
		return
	default:
		s.answer(q, m)
	}
	_ = w.WriteMsg(sign(q, m))
}

func (s *server) answer(q, m *dns.Msg) {
	name, found := dns.CanonicalName(q.Question[0].Name), false
	for _, rr := range s.visible() {
		if dns.CanonicalName(rr.Header().Name) != name {
			continue
		}
		found = true
		if t := rr.Header().Rrtype; t == q.Question[0].Qtype || t == dns.TypeCNAME {
			m.Answer = append(m.Answer, rr)
		}
	}
	if !found {
		m.Rcode = dns.RcodeNameError
	}
}

// visible returns what is served, which may lag behind what was taken.
func (s *server) visible() []dns.RR {
	if s.late > 0 {
		s.late--
		return s.stale
	}
	return s.records
}

// transfer sends the zone in several messages.
func (s *server) transfer(w dns.ResponseWriter, q *dns.Msg) {
	soa, _ := dns.NewRR(zone + " 60 IN SOA ns1." + zone + " hostmaster." + zone + " 1 60 30 86400 60")
	sig, _ := dns.NewRR(zone + " 60 IN DNSKEY 257 3 13 AAAA")
	all := slices.Concat([]dns.RR{soa, sig}, s.visible(), []dns.RR{soa})
	ch := make(chan *dns.Envelope)
	go func() {
		defer close(ch)
		for part := range slices.Chunk(all, 3) {
			ch <- &dns.Envelope{RR: part}
		}
	}()
	_ = new(dns.Transfer).Out(w, q, ch)
	for range ch { // the writer may have stopped early
	}
}

// update applies the update section (RFC 2136 §3.4.2).
func (s *server) update(section []dns.RR) int {
	s.updates++
	s.stale, s.late = s.records, s.lag
	next := slices.Clone(s.records)
	for _, rr := range section {
		h := rr.Header()
		same := func(o dns.RR) bool { return strings.EqualFold(o.Header().Name, h.Name) }
		switch h.Class {
		case dns.ClassANY:
			next = slices.DeleteFunc(next, func(o dns.RR) bool { return same(o) && o.Header().Rrtype == h.Rrtype })
		case dns.ClassNONE:
			next = slices.DeleteFunc(next, func(o dns.RR) bool {
				c := dns.Copy(rr)
				c.Header().Class = dns.ClassINET
				return dns.IsDuplicate(o, c)
			})
		case dns.ClassINET:
			if slices.ContainsFunc(next, func(o dns.RR) bool { return same(o) && o.Header().Rrtype == dns.TypeCNAME }) {
				continue // §3.4.2.2: silently
			}
			next = slices.DeleteFunc(next, func(o dns.RR) bool { return dns.IsDuplicate(o, rr) })
			h.Ttl = max(h.Ttl, s.minimum)
			next = append(next, rr)
		default:
			return dns.RcodeFormatError
		}
	}
	s.records = next
	return dns.RcodeSuccess
}

func newProvider(t *testing.T, addr string, change ...func(*rfc2136.Options)) *rfc2136.Provider {
	t.Helper()
	o := rfc2136.Options{Server: addr, KeyName: "TLSINK.key", Secret: secret, TTL: 30 * time.Second, Settle: 100 * time.Millisecond}
	for _, c := range change {
		c(&o)
	}
	p, err := rfc2136.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pipe dials a server of one connection that does what handle says.
func pipe(handle func(net.Conn)) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go handle(there)
		return here, nil
	}
}
