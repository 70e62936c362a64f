package propagation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones/internal/records"
)

// LookupFunc looks up records through a recursive resolver. No records and no error
// means that there are none.
type LookupFunc func(ctx context.Context, name string, qtype uint16) ([]dns.RR, error)

// ExchangeFunc sends one query over network ("udp" or "tcp") to a server and returns
// its response.
type ExchangeFunc func(ctx context.Context, query *dns.Msg, network, server string) (*dns.Msg, error)

// Options say where the name servers are and how to ask them.
type Options struct {
	Zone string // required

	// Lookup finds the name servers: NS records and addresses. Not needed with Fixed.
	Lookup LookupFunc
	// Fixed are the addresses of all name servers, host:port, instead.
	Fixed []string
	Port  string // of name servers that are found; default 53

	// Exchange replaces the network, for tests.
	Exchange ExchangeFunc

	Timeout  time.Duration // of one query; default 3 s
	Interval time.Duration // before the second round of Wait; default 1 s. It grows to ten times that
	Refresh  time.Duration // for how long servers that were found are used; default 10 min
	Now      func() time.Time
	Logger   *slog.Logger // default: discard
}

// Server is an address of a name server.
type Server struct {
	Name string // "" if only the address is known
	Addr string // host:port
}

func (s Server) String() string {
	if s.Name == "" {
		return s.Addr
	}
	return s.Name + " (" + s.Addr + ")"
}

// Servers are the authoritative name servers of a zone. It is safe for concurrent
// use.
type Servers struct {
	opts Options

	mu    sync.Mutex
	found []Server
	at    time.Time
}

// New returns the servers of a zone; nothing is asked before the first call.
func New(o Options) (*Servers, error) {
	o.Zone = dns.CanonicalName(o.Zone)
	if err := records.CheckName(o.Zone); err != nil {
		return nil, fmt.Errorf("propagation: zone %q: %w", o.Zone, err)
	}
	if o.Lookup == nil && len(o.Fixed) == 0 {
		return nil, errors.New("propagation: neither addresses of the name servers nor a resolver that finds them")
	}
	for _, addr := range o.Fixed {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, fmt.Errorf("propagation: name server %q: want host:port: %w", addr, err)
		}
	}
	if o.Port == "" {
		o.Port = "53"
	}
	if o.Exchange == nil {
		o.Exchange = exchange
	}
	for d, v := range map[*time.Duration]time.Duration{&o.Timeout: 3 * time.Second, &o.Interval: time.Second, &o.Refresh: 10 * time.Minute} {
		if *d <= 0 {
			*d = v
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Servers{opts: o}, nil
}

// answer is what one server said.
type answer struct {
	server Server
	rrs    []dns.RR
	err    error
}

// ask sends a question to all servers at once.
func (s *Servers) ask(ctx context.Context, name string, qtype uint16) ([]answer, error) {
	servers, err := s.Servers(ctx)
	if err != nil {
		return nil, err
	}
	return s.each(ctx, servers, name, qtype), nil
}

// each sends a question to servers at once. Addresses that this host has no
// route to are left out if another address of the same name server answers.
func (s *Servers) each(ctx context.Context, servers []Server, name string, qtype uint16) []answer {
	answers := make([]answer, len(servers))
	var wg sync.WaitGroup
	for i, server := range servers {
		wg.Go(func() {
			rrs, err := s.one(ctx, server, name, qtype)
			answers[i] = answer{server, rrs, err}
		})
	}
	wg.Wait()
	answered := make(map[string]bool)
	for _, a := range answers {
		if a.err == nil && a.server.Name != "" {
			answered[a.server.Name] = true
		}
	}
	return slices.DeleteFunc(answers, func(a answer) bool {
		return noRoute(a.err) && answered[a.server.Name]
	})
}

// noRoute reports whether the reason is on this host, as for IPv6 on one without.
func noRoute(err error) bool {
	return slices.ContainsFunc([]error{syscall.ENETUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT},
		func(e error) bool { return errors.Is(err, e) })
}

// one asks one server: over UDP, over TCP if that was truncated or lost.
func (s *Servers) one(ctx context.Context, server Server, name string, qtype uint16) ([]dns.RR, error) {
	m, err := s.query(ctx, "udp", server, name, qtype)
	if ctx.Err() == nil && !noRoute(err) && (err != nil || m.Truncated) {
		m, err = s.query(ctx, "tcp", server, name, qtype)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return nil, fmt.Errorf("it answers %s", dns.RcodeToString[m.Rcode])
	case !m.Authoritative:
		return nil, errors.New("it is not authoritative for the zone")
	case m.Truncated:
		return nil, errors.New("its answer over TCP is truncated")
	}
	var out []dns.RR
	want := records.ID{Name: dns.CanonicalName(name), Type: qtype}
	for _, rr := range m.Answer {
		if records.IDOf(rr) == want {
			out = append(out, rr)
		}
	}
	return out, nil
}

func (s *Servers) query(ctx context.Context, network string, server Server, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype).SetEdns0(1232, false)
	q.RecursionDesired = false
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	m, err := s.opts.Exchange(ctx, q, network, server.Addr)
	if err != nil {
		return nil, err
	}
	if m.Id != q.Id || !m.Response || len(m.Question) != 1 || m.Question[0].Qtype != qtype ||
		dns.CanonicalName(m.Question[0].Name) != dns.CanonicalName(name) {
		return nil, errors.New("it answers something else")
	}
	return m, nil
}

// exchange is the ExchangeFunc for the network.
func exchange(ctx context.Context, query *dns.Msg, network, server string) (*dns.Msg, error) {
	c := dns.Client{Net: network, Timeout: 10 * time.Second} // the context ends earlier
	m, _, err := c.ExchangeContext(ctx, query, server)
	if err != nil {
		return nil, fmt.Errorf("no answer over %s: %w", network, err)
	}
	return m, nil
}

// Serial returns the SOA serial of each server. The error names those that did not
// say; the others are in the map.
func (s *Servers) Serial(ctx context.Context) (map[Server]uint32, error) {
	answers, err := s.ask(ctx, s.opts.Zone, dns.TypeSOA)
	if err != nil {
		return nil, err
	}
	out := make(map[Server]uint32, len(answers))
	var errs []error
	for _, a := range answers {
		if a.err == nil && len(a.rrs) == 1 {
			if soa, ok := a.rrs[0].(*dns.SOA); ok {
				out[a.server] = soa.Serial
				continue
			}
		}
		if a.err == nil {
			a.err = fmt.Errorf("it has %d SOA records", len(a.rrs))
		}
		errs = append(errs, fmt.Errorf("name server %s of %q: %w", a.server, s.opts.Zone, a.err))
	}
	return out, errors.Join(errs...)
}
