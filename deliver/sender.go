package deliver

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/tlspolicy"
)

// Resolver looks up names; *dnssec.Resolver is one.
type Resolver interface {
	Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error)
}

// Timeouts bound the steps of a session. Zero values mean the minima of RFC
// 5321 §4.5.3.2.
type Timeouts struct {
	Dial      time.Duration // 1 minute
	Greeting  time.Duration // 5 minutes; EHLO too
	Handshake time.Duration // 1 minute; STARTTLS too
	Command   time.Duration // 5 minutes: MAIL and RCPT
	DataStart time.Duration // 2 minutes: from DATA to 354
	DataBlock time.Duration // 3 minutes: each block of 64 KiB
	DataEnd   time.Duration // 10 minutes: from the final dot to the reply
}

// Options configure a [Sender]. Resolver and LocalName are needed, HTTPClient
// if the policy honours MTA-STS.
type Options struct {
	Resolver   Resolver
	HTTPClient *http.Client   // fetches MTA-STS policies; verifies certificates
	Roots      *x509.CertPool // the public CAs; nil: those of the system
	// Dial connects to an address, host:25; nil: the network.
	Dial      func(ctx context.Context, network, address string) (net.Conn, error)
	LocalName string     // said in EHLO
	LocalAddr netip.Addr // connections come from here, and go to its family only; may be zero
	Now       func() time.Time
	Rand      *rand.Rand // for hosts of equal preference
	Timeouts  Timeouts
	// STSRetry is the pause after a failed policy fetch; 5 minutes by default.
	STSRetry time.Duration
	Logger   *slog.Logger
}

// Sender is one sending mail server. It is safe for concurrent use.
type Sender struct {
	policy     Policy
	opts       Options
	sts        *tlspolicy.Cache
	background sync.WaitGroup

	mu       sync.Mutex
	fetching map[string]bool // domains with a background fetch under way
}

// New returns a sender with an empty memory, or an error that names the option
// that is missing.
func New(policy Policy, opts Options) (*Sender, error) {
	switch {
	case opts.Resolver == nil:
		return nil, errors.New("deliver: no resolver")
	case opts.LocalName == "":
		return nil, errors.New("deliver: no local name for EHLO")
	case policy.STS != STSOff && opts.HTTPClient == nil:
		return nil, errors.New("deliver: a policy that honours MTA-STS needs an HTTP client")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Rand == nil {
		opts.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Dial == nil {
		d := &net.Dialer{}
		if opts.LocalAddr.IsValid() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(opts.LocalAddr, 0))
		}
		opts.Dial = d.DialContext
	}
	opts.Timeouts.setDefaults()
	s := &Sender{policy: policy, opts: opts, fetching: make(map[string]bool)}
	s.sts = tlspolicy.NewCache(tlspolicy.CacheOptions{Records: s.stsRecords, Client: opts.HTTPClient, Now: opts.Now, Retry: opts.STSRetry})
	return s, nil
}

func (t *Timeouts) setDefaults() {
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Dial, time.Minute},
		{&t.Greeting, 5 * time.Minute},
		{&t.Handshake, time.Minute},
		{&t.Command, 5 * time.Minute},
		{&t.DataStart, 2 * time.Minute},
		{&t.DataBlock, 3 * time.Minute},
		{&t.DataEnd, 10 * time.Minute},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
}

// Wait returns when no background fetch is under way any more. It is for when
// no Attempt is running.
func (s *Sender) Wait() { s.background.Wait() }

// Envelope is one message for recipients of one domain.
type Envelope struct {
	From    string // empty: the null reverse-path
	To      []string
	Message []byte
	// RequireTLS is REQUIRETLS (RFC 8689 §4): deliver only over verified TLS,
	// to a server that takes the promise over.
	RequireTLS bool
	// TLSOptional is the header field "TLS-Required: No" (RFC 8689 §5):
	// delivery comes before security.
	TLSOptional bool
}

// Outcome says how a try at one host ended.
type Outcome string

// The values of Outcome.
const (
	Delivered   Outcome = "delivered"
	Rejected    Outcome = "rejected"     // by a reply
	Skipped     Outcome = "skipped"      // not contacted
	Unreachable Outcome = "unreachable"  // no connection
	MissingTLS  Outcome = "missing-tls"  // required TLS was not offered
	Refused     Outcome = "refused"      // the certificate
	FailedTLS   Outcome = "failed-tls"   // the handshake, for another reason
	Broken      Outcome = "broken"       // the connection, or the protocol
	NoExtension Outcome = "no-extension" // REQUIRETLS is not supported
)

// Verification says how a certificate was verified.
type Verification string

// The values of Verification.
const (
	Unverified        Verification = ""
	VerifiedCA        Verification = "ca"
	VerifiedDANE      Verification = "dane"
	VerifiedDANEAndCA Verification = "dane+ca"
)

// Try is one host of an attempt: a connection, or why there was none.
type Try struct {
	MX       string
	Address  string // host:25
	DANE     bool   // TLSA records were in force, or the lack of them decided
	STS      bool   // an MTA-STS policy was in force
	TLS      bool   // a handshake ended well
	SNI      string
	Version  uint16 // as in crypto/tls
	Cipher   uint16
	Verified Verification
	Mail     bool // MAIL was sent
	Outcome  Outcome
	Code     int    // of Reply, or 0
	Reply    string // the server's with its code, if that decided
	Err      error
}

// RecipientReply is the refusal of one recipient.
type RecipientReply struct {
	To, Reply string
}

// Result is how an attempt ended.
type Result struct {
	Delivered bool
	Temporary bool   // not delivered, worth another attempt
	Code      int    // SMTP reply code, the server's or our own
	Text      string // of the reply, without the code
	Tries     []Try
	// Refused are recipients that the server refused although it took the
	// message for others.
	Refused []RecipientReply
}

func temporary(code int, format string, args ...any) Result {
	return Result{Temporary: true, Code: code, Text: fmt.Sprintf(format, args...)}
}

func permanent(code int, format string, args ...any) Result {
	return Result{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Attempt tries once to deliver. It returns when the message is delivered, has
// failed, or no host is left; ctx ends it early, with a temporary result.
func (s *Sender) Attempt(ctx context.Context, env Envelope) Result {
	domain, err := env.domain()
	if err != nil {
		return permanent(550, "5.1.3 %v", err)
	}
	var sts stsPolicy
	if !env.TLSOptional {
		sts = s.stsFor(ctx, domain)
	}
	route, failed := s.route(ctx, domain)
	if failed != nil {
		return *failed
	}
	a := &attempt{s: s, env: env, route: route, sts: sts, used: make(map[string]bool)}
	for _, host := range route.hosts {
		if a.over || ctx.Err() != nil {
			break
		}
		a.host(ctx, host)
	}
	r := a.result(ctx)
	s.opts.Logger.InfoContext(ctx, "delivery attempt ended", "domain", domain, "delivered", r.Delivered, "temporary", r.Temporary, "code", r.Code, "tries", len(r.Tries))
	return r
}

func (e Envelope) domain() (string, error) {
	if len(e.To) == 0 {
		return "", errors.New("no recipient")
	}
	domain := ""
	for _, address := range append([]string{e.From}, e.To...) {
		// No SMTPUTF8 here, and nothing that could end the path in a command.
		for _, c := range []byte(address) {
			if c <= ' ' || c > '~' || c == '<' || c == '>' {
				return "", fmt.Errorf("address %q holds a character that is not supported", address)
			}
		}
	}
	for _, to := range e.To {
		at := strings.LastIndexByte(to, '@')
		d := strings.ToLower(strings.TrimSuffix(to[at+1:], "."))
		if _, ok := dns.IsDomainName(d); at < 1 || d == "" || !ok {
			return "", fmt.Errorf("recipient %q is not local-part@domain", to)
		}
		if domain != "" && d != domain {
			return "", fmt.Errorf("recipients of two domains, %s and %s", domain, d)
		}
		domain = d
	}
	return domain, nil
}

// stsPolicy is the MTA-STS policy in force for a domain; only mode enforce
// changes what a sender does.
type stsPolicy struct {
	inForce bool
	policy  tlspolicy.Policy
}

func (s *Sender) stsFor(ctx context.Context, domain string) stsPolicy {
	var p tlspolicy.Policy
	var ok bool
	switch s.policy.STS {
	case STSEnforce:
		var err error
		if p, ok, err = s.sts.Refresh(ctx, domain); err != nil && !errors.Is(err, tlspolicy.ErrNoRecord) {
			s.opts.Logger.WarnContext(ctx, "mta-sts policy not renewed", "domain", domain, "err", err)
		}
	case STSLazy:
		p, ok = s.sts.Cached(domain)
		s.fetchInBackground(ctx, domain)
	}
	return stsPolicy{ok && p.Mode == tlspolicy.ModeEnforce, p}
}

// fetchInBackground renews the policy for the attempts after this one.
func (s *Sender) fetchInBackground(ctx context.Context, domain string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetching[domain] {
		return
	}
	s.fetching[domain] = true
	ctx = context.WithoutCancel(ctx) // it outlives the attempt; every step of it has a timeout
	s.background.Go(func() {
		if _, _, err := s.sts.Refresh(ctx, domain); err != nil && !errors.Is(err, tlspolicy.ErrNoRecord) {
			s.opts.Logger.WarnContext(ctx, "mta-sts policy not renewed", "domain", domain, "err", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.fetching, domain)
	})
}

// stsRecords looks up the TXT records that announce a policy.
func (s *Sender) stsRecords(ctx context.Context, domain string) ([]string, error) {
	a, err := s.opts.Resolver.Lookup(ctx, "_mta-sts."+domain, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	if a.Status == dnssec.Bogus {
		return nil, fmt.Errorf("_mta-sts.%s: bogus: %s", domain, a.Why)
	}
	return a.Texts(), nil
}
