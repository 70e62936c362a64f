package records

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/tlspolicy"
)

// Limits of one fetch.
const (
	maxAddresses   = 2 // of each family
	maxHeader      = 16 << 10
	connectTimeout = 10 * time.Second
)

// fetched is what a policy host gave us.
type fetched struct {
	https, policy check.Result
	parsed        tlspolicy.Policy
	body          string
}

// fetch gets the policy of a domain. Both results are untested if the host could
// not be reached.
func (r *Reader) fetch(ctx context.Context, domain string) fetched {
	host := tlspolicy.PolicyHost(domain)
	ips, failed := r.resolve(ctx, host)
	if failed.Outcome != "" {
		return fetched{policy: failed}
	}
	g := &guard{host: host, agent: r.opts.UserAgent}
	transport := &http.Transport{
		// The name was resolved by us, and its addresses were checked: the
		// connection goes to them whatever the name means by now.
		DialContext:            func(ctx context.Context, network, _ string) (net.Conn, error) { return r.dial(ctx, network, ips) },
		TLSClientConfig:        &tls.Config{RootCAs: r.opts.Roots, Time: r.opts.Now, MinVersion: tls.VersionTLS12},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
	defer transport.CloseIdleConnections()
	g.next = transport
	p, err := tlspolicy.Fetch(ctx, &http.Client{Transport: g}, domain)
	if err == nil {
		return fetched{https: check.Pass(), policy: check.Pass(), parsed: p, body: g.body.String()}
	}
	return g.judge(err)
}

// resolve finds the addresses that may be connected to, IPv4 first.
func (r *Reader) resolve(ctx context.Context, host string) ([]netip.Addr, check.Result) {
	var out []netip.Addr
	var missing check.Result // why an answer is missing
	forbidden := false
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		a, err := r.opts.Resolver.Lookup(ctx, host, qtype)
		missing = check.Worst(missing, answered(host, dns.TypeToString[qtype], a, err))
		n := 0
		for _, rr := range a.RRs {
			ip, ok := address(rr)
			switch {
			case !ok || n == maxAddresses:
			case !r.opts.Allowed(ip):
				forbidden = true
			default:
				out = append(out, ip)
				n++
			}
		}
	}
	switch {
	case len(out) > 0:
		return out, check.Result{}
	case missing.Outcome != "":
		return nil, missing
	case forbidden:
		return nil, check.Fail(clean(host+", the host of the policy, has no public address", maxWhy))
	}
	return nil, check.Fail(clean(host+", the host of the policy, has no address", maxWhy))
}

func address(rr dns.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *dns.A:
		ip, ok := netip.AddrFromSlice(rr.A)
		return ip.Unmap(), ok
	case *dns.AAAA:
		return netip.AddrFromSlice(rr.AAAA)
	}
	return netip.Addr{}, false
}

// errDial marks that nobody could be reached.
var errDial = errors.New("could not connect")

// dial tries the addresses in turn.
func (r *Reader) dial(ctx context.Context, network string, ips []netip.Addr) (net.Conn, error) {
	var last error
	for _, ip := range ips {
		try, cancel := context.WithTimeout(ctx, connectTimeout)
		conn, err := r.opts.Dial(try, network, netip.AddrPortFrom(ip, 443).String())
		cancel()
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, fmt.Errorf("%w: %w", errDial, last)
}

// guard is the transport of one request. It refuses what a policy host has no
// business to send, and remembers how far it came.
type guard struct {
	next     http.RoundTripper
	host     string
	agent    string
	verified atomic.Bool // the certificate was good
	body     bytes.Buffer
}

// errHTTP marks an answer over HTTPS that is no policy; errBusy one of a host
// that may give it another time.
var (
	errHTTP = errors.New("not a policy")
	errBusy = errors.New("no policy for now")
)

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { g.verified.Store(err == nil) },
	}))
	req.Header.Set("User-Agent", g.agent)
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	encoding := strings.ToLower(resp.Header.Get("Content-Encoding"))
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		// RFC 8461 §3.3: redirects must not be followed.
		err = fmt.Errorf("%w: a redirect (HTTP status %d), which senders do not follow", errHTTP, resp.StatusCode)
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout:
		err = fmt.Errorf("%w: HTTP status %d", errBusy, resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		err = fmt.Errorf("%w: HTTP status %d, want 200", errHTTP, resp.StatusCode)
	case encoding != "" && encoding != "identity":
		err = fmt.Errorf("%w: it is compressed (%s) without being asked for", errHTTP, quote(encoding))
	}
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	// The reader of the body stops after 64 KiB.
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(resp.Body, &g.body), resp.Body}
	return resp, nil
}

// judge says what an error of Fetch means.
func (g *guard) judge(err error) fetched {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without the address, which is known
	} else if inner := errors.Unwrap(err); inner != nil {
		err = inner // likewise
	}
	why := func(text string) string { return clean("https://"+g.host+": "+text, maxWhy) }
	text := strings.TrimPrefix(err.Error(), "net/http: HTTP/1.x transport connection broken: ")
	skip, fail := check.Skip(why(text)), check.Fail(why(text))
	switch {
	case g.verified.Load() && (isNetwork(err) || errors.Is(err, errBusy)):
		return fetched{https: check.Pass(), policy: skip}
	case g.verified.Load():
		return fetched{https: check.Pass(), policy: fail}
	case !errors.Is(err, errDial) && certificateProblem(err, g.host) != "":
		reason := certificateProblem(err, g.host)
		return fetched{https: check.Fail(why(reason)), policy: check.Fail(why(reason + ", so senders do not take the policy"))}
	case !isNetwork(err) && strings.Contains(err.Error(), "tls: "):
		// crypto/tls has no types for alerts and its own refusals.
		return fetched{https: fail, policy: fail}
	}
	return fetched{https: skip, policy: skip}
}

// isNetwork reports whether an error may be due to the way there.
func isNetwork(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && strings.HasSuffix(op.Op, "error") {
		return false // "local error" and "remote error" are alerts of TLS
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, errDial) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// certificateProblem says in words what is wrong with a certificate; empty if
// that is not what err is about.
func certificateProblem(err error, host string) string {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "the certificate is expired or not yet valid"
	}
	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		names := strings.Join(name.Certificate.DNSNames[:min(len(name.Certificate.DNSNames), 5)], ", ")
		return fmt.Sprintf("the certificate is not for %s but for %s", host, cmp.Or(names, "no name"))
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the certificate is not from a CA that is trusted"
	}
	if other, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the certificate is not valid: " + other.Err.Error()
	}
	return ""
}
