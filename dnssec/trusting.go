package dnssec

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// TrustingOptions configure a [Trusting] resolver.
type TrustingOptions struct {
	// Servers are validating recursive resolvers, host:port, asked in this order.
	Servers []string
	// Exchange replaces the network, for tests and in-process servers.
	Exchange ExchangeFunc
	// Timeout bounds one exchange with one server; 10 s, since it may have to
	// try several servers itself.
	Timeout time.Duration
	// Pause is how long to wait before a failure counts as lasting; 6 s, since
	// resolvers remember failures for up to five (RFC 9520 §3.2).
	Pause time.Duration
}

// Trusting looks up names at a resolver that validates, and believes what it
// says: its AD bit is what makes an answer secure (RFC 4035 §3.2.3). Nothing
// protects that bit on the way, so the resolver must be on this machine, or the
// path to it as trustworthy: whoever can change a packet there decides what is
// secure. [Resolver] needs no such trust.
//
// Where the resolver fails, it is asked again with CD set, and hands out what
// it did not want to vouch for:
//
//	answer, AD ─────────────────────────────────────────► secure
//	answer, no AD ──────────────────────────────────────► insecure
//	SERVFAIL ─► answer with CD ─► the first named a DNSSEC fault,
//	        │                     or SERVFAIL again later ─► bogus
//	        └─► SERVFAIL with CD, or no answer ───────────► error
//
// A resolver that does not validate makes everything insecure; see [Trusting.Check].
// It is safe for concurrent use, and keeps nothing: the resolver has a cache.
type Trusting struct{ opts TrustingOptions }

// NewTrusting returns a resolver, or an error that names the option that is
// wrong.
func NewTrusting(opts TrustingOptions) (*Trusting, error) {
	if len(opts.Servers) == 0 {
		return nil, errors.New("dnssec: no servers: give at least one host:port of a validating resolver")
	}
	if opts.Exchange == nil {
		opts.Exchange = exchange
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 10 * time.Second
	}
	if opts.Pause <= 0 {
		opts.Pause = 6 * time.Second
	}
	return &Trusting{opts}, nil
}

// Check returns an error if the resolver does not say that the SOA record of
// the root, which is signed, is secure: then it does not validate, or could not
// be asked, and nothing that it calls insecure means anything.
func (t *Trusting) Check(ctx context.Context) error {
	a, err := t.Lookup(ctx, ".", dns.TypeSOA)
	switch {
	case err != nil:
		return err
	case a.Status != Secure:
		return fmt.Errorf("dnssec: %s does not validate: it does not vouch for the root zone (%s)", strings.Join(t.opts.Servers, ", "), a.Status)
	}
	return nil
}

// Lookup asks for one RRset and follows aliases. The error is not nil only if
// the status is Error: no usable response, a name that is none, or ctx.
func (t *Trusting) Lookup(ctx context.Context, name string, qtype uint16) (Answer, error) {
	q, err := newQuestion(name, qtype)
	failed := Answer{Status: Error, CanonicalName: q.name}
	if err != nil {
		return failed, err
	}
	var errs []error
	for i := range rounds * len(t.opts.Servers) {
		a, err := t.judge(ctx, q, t.opts.Servers[i%len(t.opts.Servers)])
		if err == nil {
			return a, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	err = errors.Join(errs...)
	failed.Why = err.Error()
	return failed, fmt.Errorf("dnssec: look up %s %s: %w", q.name, typeName(qtype), err)
}

// judge asks one server as often as it takes to know the status.
func (t *Trusting) judge(ctx context.Context, q question, server string) (Answer, error) {
	m, err := t.ask(ctx, q, server, false)
	if err != nil {
		return Answer{}, err
	}
	if answers(m) {
		return vouched(q, m)
	}
	refused := fmt.Errorf("server %s: response code %s%s", server, dns.RcodeToString[m.Rcode], extended(m))
	if m.Rcode != dns.RcodeServerFailure || blamed(m) == notDNSSEC {
		return Answer{}, refused
	}
	unchecked, err := t.ask(ctx, q, server, true)
	if err != nil || !answers(unchecked) {
		return Answer{}, refused
	}
	if blamed(m) == onDNSSEC {
		return refusedAnswer(q, m), nil
	}
	// It may have failed for a moment only: data is bogus if checking it fails
	// when it can be fetched.
	if err := t.wait(ctx); err != nil {
		return Answer{}, err
	}
	again, err := t.ask(ctx, q, server, false)
	switch {
	case err != nil:
		return Answer{}, err
	case answers(again):
		return vouched(q, again)
	case again.Rcode != dns.RcodeServerFailure || blamed(again) == notDNSSEC:
		return Answer{}, refused
	}
	return refusedAnswer(q, again), nil
}

// refusedAnswer is the answer that a resolver gives only unchecked.
func refusedAnswer(q question, m *dns.Msg) Answer {
	why := "the resolver refuses it, and hands it out unchecked" + extended(m)
	return Answer{Status: Bogus, Rcode: dns.RcodeServerFailure, CanonicalName: q.name, Why: why}
}

func (t *Trusting) wait(ctx context.Context) error {
	timer := time.NewTimer(t.opts.Pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func answers(m *dns.Msg) bool { return m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError }

// ask puts a question to one server, again over TCP if the answer is cut off.
func (t *Trusting) ask(ctx context.Context, q question, server string, unchecked bool) (*dns.Msg, error) {
	for _, network := range []string{"udp", "tcp"} {
		query := newQuery(q)
		query.AuthenticatedData = true // RFC 6840 §5.7: we understand AD
		query.CheckingDisabled = unchecked
		m, err := t.exchange(ctx, query, network, server)
		if err == nil {
			err = belongs(m, query, q)
		}
		if err != nil {
			return nil, fmt.Errorf("server %s: %w", server, err)
		}
		if !m.Truncated {
			return m, nil
		}
	}
	return nil, fmt.Errorf("server %s: response over TCP is truncated", server)
}

func (t *Trusting) exchange(ctx context.Context, query *dns.Msg, network, server string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, t.opts.Timeout)
	defer cancel()
	return t.opts.Exchange(ctx, query, network, server)
}

// vouched reads an answer that the resolver has checked, or could not check
// because there is nothing to check it with.
func vouched(q question, m *dns.Msg) (Answer, error) {
	a := Answer{Status: Insecure, Rcode: m.Rcode, Why: "the resolver does not vouch for it"}
	if m.AuthenticatedData {
		a.Status, a.Why = Secure, ""
	}
	name, seen := q.name, map[string]bool{}
	for {
		seen[name] = true
		if a.RRs = pick(m.Answer, name, q.qtype); len(a.RRs) > 0 || q.qtype == dns.TypeCNAME {
			break
		}
		next := ""
		if rrs := pick(m.Answer, name, dns.TypeCNAME); len(rrs) == 1 {
			next = dns.CanonicalName(rrs[0].(*dns.CNAME).Target)
		} else {
			_, next = dname(m.Answer, name) // the CNAME record of it may be left out
		}
		if next == "" {
			break
		}
		if seen[next] || len(seen) > maxAliases {
			return Answer{}, fmt.Errorf("alias chain at %s is a loop or longer than %d", next, maxAliases)
		}
		name = next
	}
	a.CanonicalName = name
	return a, nil
}

// extended returns the reasons that a response gives (RFC 8914), as a text to
// append.
func extended(m *dns.Msg) string {
	var b strings.Builder
	for _, e := range reasons(m) {
		fmt.Fprintf(&b, "; %d", e.InfoCode)
		if name := dns.ExtendedErrorCodeToString[e.InfoCode]; name != "" {
			fmt.Fprintf(&b, " %s", name)
		}
		if e.ExtraText != "" {
			fmt.Fprintf(&b, " (%s)", printable(e.ExtraText))
		}
	}
	return b.String()
}

const (
	maxReasons    = 4
	maxReasonText = 200
)

func reasons(m *dns.Msg) []*dns.EDNS0_EDE {
	var out []*dns.EDNS0_EDE
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok && len(out) < maxReasons {
				out = append(out, e)
			}
		}
	}
	return out
}

// blame is what a failure is put down to.
type blame int

const (
	onNothing blame = iota // or on what may be either, as the network is by BIND
	onDNSSEC
	notDNSSEC
)

// blamed returns what the extended errors of a response say (RFC 8914 §4).
func blamed(m *dns.Msg) blame {
	out := onNothing
	for _, e := range reasons(m) {
		switch e.InfoCode {
		case dns.ExtendedErrorCodeDNSBogus, dns.ExtendedErrorCodeSignatureExpired,
			dns.ExtendedErrorCodeSignatureNotYetValid, dns.ExtendedErrorCodeDNSKEYMissing,
			dns.ExtendedErrorCodeRRSIGsMissing, dns.ExtendedErrorCodeNoZoneKeyBitSet,
			dns.ExtendedErrorCodeNSECMissing, dns.ExtendedErrorCodeSignatureExpiredBeforeValid:
			return onDNSSEC
		case dns.ExtendedErrorCodeNotReady, dns.ExtendedErrorCodeBlocked, dns.ExtendedErrorCodeCensored,
			dns.ExtendedErrorCodeFiltered, dns.ExtendedErrorCodeProhibited, dns.ExtendedErrorCodeNotAuthoritative,
			dns.ExtendedErrorCodeNotSupported, dns.ExtendedErrorCodeInvalidData:
			out = notDNSSEC
		}
	}
	return out
}

// printable keeps what can be shown of a text from a stranger.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s[:min(len(s), maxReasonText)])
	return strings.TrimSpace(s)
}
