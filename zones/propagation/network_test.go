package propagation_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones/propagation"
)

const zone = "sink.example."

// nameServer is a name server of the network of a test.
type nameServer struct {
	zones    []string // for which it is authoritative
	lines    []string // records
	err      error
	rcode    int
	truncate bool // over UDP
	udpLost  bool
}

// network answers for the name servers of a test. It is safe for concurrent use.
type network struct {
	mu      sync.Mutex
	servers map[string]*nameServer // by address, host:port
	asked   []string               // address, network, name and type
}

func (n *network) at(addr string, change func(*nameServer)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n.servers[addr])
}

func (n *network) questions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.asked)
}

func (s *nameServer) records(name string, qtype uint16) (out []dns.RR) {
	for _, line := range s.lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			panic(err)
		}
		if strings.EqualFold(rr.Header().Name, name) && rr.Header().Rrtype == qtype {
			out = append(out, rr)
		}
	}
	return out
}

func (n *network) exchange(ctx context.Context, q *dns.Msg, netw, addr string) (*dns.Msg, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name, qtype := q.Question[0].Name, q.Question[0].Qtype
	n.asked = append(n.asked, fmt.Sprintf("%s %s %s %s", addr, netw, name, dns.TypeToString[qtype]))
	s := n.servers[addr]
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case s == nil, s.udpLost && netw == "udp":
		return nil, errors.New("i/o timeout")
	case s.err != nil:
		return nil, s.err
	case q.RecursionDesired:
		return nil, errors.New("recursion was asked for")
	}
	m := new(dns.Msg).SetReply(q)
	if m.Rcode = s.rcode; m.Rcode != 0 {
		return m, nil
	}
	if s.truncate && netw == "udp" {
		m.Truncated, m.Authoritative = true, true
		return m, nil
	}
	for _, z := range s.zones {
		m.Authoritative = m.Authoritative || dns.IsSubDomain(z, name)
	}
	m.Answer = s.records(name, qtype)
	if !m.Authoritative {
		m.Answer = nil
		m.Ns = s.records(zone, dns.TypeNS) // a referral
		for _, rr := range m.Ns {
			m.Extra = append(m.Extra, s.records(rr.(*dns.NS).Ns, dns.TypeA)...)
		}
	}
	return m, nil
}

// recursive is a resolver that knows these records.
func recursive(lines ...string) propagation.LookupFunc {
	s := &nameServer{lines: lines}
	return func(_ context.Context, name string, qtype uint16) ([]dns.RR, error) {
		return s.records(dns.Fqdn(name), qtype), nil
	}
}

// three returns a zone with three name servers, one of which only the parent names.
func three() (*network, propagation.Options) {
	own := func() *nameServer { return &nameServer{zones: []string{zone}} }
	n := &network{servers: map[string]*nameServer{
		"192.0.2.1:53": own(), "192.0.2.2:53": own(), "192.0.2.3:53": own(),
		"192.0.2.100:53": {zones: []string{"other."}, lines: []string{
			zone + " NS ns1.sink.example.", zone + " NS old.example.", "ns1.sink.example. A 192.0.2.1",
		}},
	}}
	return n, propagation.Options{
		Zone: zone, Exchange: n.exchange,
		Lookup: recursive(
			zone+" NS ns1.sink.example.", zone+" NS NS2.example.", "ns1.sink.example. A 192.0.2.1",
			"ns2.example. A 192.0.2.2", "old.example. A 192.0.2.3",
			"example. NS parent.example.", "parent.example. A 192.0.2.99", "parent.example. A 192.0.2.100",
		),
	}
}

func newServers(t *testing.T, o propagation.Options) *propagation.Servers {
	t.Helper()
	s, err := propagation.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// all lets every name server of the zone serve these records.
func (n *network) all(lines ...string) {
	for _, addr := range []string{"192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"} {
		n.at(addr, func(s *nameServer) { s.lines = lines })
	}
}

// provider is a libdns provider that keeps what it gets.
type provider struct {
	mu      sync.Mutex
	records []libdns.Record
	err     error
}

func (p *provider) SetRecords(_ context.Context, _ string, recs []libdns.Record) ([]libdns.Record, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, p.err
	}
	p.records = recs
	return recs, nil
}

func (p *provider) GetRecords(context.Context, string) ([]libdns.Record, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.records, nil
}
