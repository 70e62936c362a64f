package records

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound/check"
)

// Limits of what is shown.
const (
	maxRecord   = 2048 // bytes of a record
	maxQuoted   = 80
	maxWhy      = 300
	maxProblems = 20
	maxReports  = 20
)

// Resolver looks up names; *dnssec.Resolver is one.
type Resolver interface {
	Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error)
}

// Options configure a [Reader]. Resolver is needed.
type Options struct {
	Resolver Resolver
	// Dial connects to the policy host, network "tcp", addr address:443. By
	// default a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Allowed says which addresses Dial may get; nil: none.
	Allowed func(netip.Addr) bool
	// Roots are trusted for the policy host; nil: those of the system.
	Roots     *x509.CertPool
	UserAgent string           // of the HTTPS request; "tlsink" by default
	Now       func() time.Time // for certificates; time.Now by default
	Timeout   time.Duration    // for each method; 30 s by default
}

// Reader reads records. It is safe for concurrent use.
type Reader struct{ opts Options }

// New returns a Reader.
func New(opts Options) *Reader {
	if opts.Dial == nil {
		opts.Dial = new(net.Dialer).DialContext
	}
	if opts.Allowed == nil {
		opts.Allowed = func(netip.Addr) bool { return false }
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "tlsink"
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 30 * time.Second
	}
	return &Reader{opts: opts}
}

// texts returns the TXT records of a name. The result is zero unless they could
// not be had.
func (r *Reader) texts(ctx context.Context, name string) ([]string, dnssec.Status, check.Result) {
	a, err := r.opts.Resolver.Lookup(ctx, name, dns.TypeTXT)
	return a.Texts(), a.Status, answered(name, "TXT", a, err)
}

// answered says why there is no answer; the zero Result if there is one.
func answered(name, kind string, a dnssec.Answer, err error) check.Result {
	switch {
	case err != nil:
		return check.Skip(clean(fmt.Sprintf("the %s records of %s could not be looked up: %v", kind, name, err), maxWhy))
	case a.Status == dnssec.Error:
		return check.Skip(clean(fmt.Sprintf("the %s records of %s could not be looked up: %s", kind, name, a.Why), maxWhy))
	case a.Status == dnssec.Bogus:
		return check.Fail(clean(fmt.Sprintf("DNSSEC: the answer for the %s records of %s is bogus, so validating resolvers refuse it: %s", kind, name, a.Why), maxWhy))
	}
	return check.Result{}
}

// note adds a problem once, up to a limit.
func note(to *[]string, format string, args ...any) {
	text := clean(fmt.Sprintf(format, args...), maxWhy)
	if len(*to) < maxProblems && !slices.Contains(*to, text) {
		*to = append(*to, text)
	}
}

// clean makes what a stranger wrote safe to show: printable ASCII on one line,
// not too long.
func clean(s string, limit int) string {
	var b strings.Builder
	for _, c := range s {
		if b.Len() >= limit {
			b.WriteString("…")
			break
		}
		if c >= ' ' && c <= '~' || c == '…' {
			b.WriteRune(c)
			continue
		}
		q := strconv.QuoteRuneToASCII(c)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.QuoteToASCII(s[:maxQuoted]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

// isName reports whether a name can be one of a host or of a record. The names
// of records may have underscores.
func isName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(c rune) bool {
			return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_'
		}) {
			return false
		}
	}
	return true
}
