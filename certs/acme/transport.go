package acme

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits on what a CA may send. A directory has 1 KB, a chain some 10.
const (
	maxBody     = 256 << 10 // octets of one answer
	maxHeader   = 32 << 10
	maxRequests = 5000 // of one order: two for each of 100 names, and polling
	httpTimeout = time.Minute

	shortestPoll = time.Second
	longestPoll  = time.Minute
)

// newHTTPClient returns a client that trusts roots; nil means the system's.
func newHTTPClient(roots *x509.CertPool) *http.Client {
	return &http.Client{Timeout: httpTimeout, Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 20 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    20 * time.Second,
		ResponseHeaderTimeout:  40 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConnsPerHost:    atOnce, // of a CA without HTTP/2
		IdleConnTimeout:        30 * time.Second,
		ForceAttemptHTTP2:      true,
	}}
}

// guard stands between the ACME library and the network for one order. It
// limits what comes, sees the header fields that the library keeps to itself, and
// sends nothing more once the CA wants no more requests.
type guard struct {
	next http.RoundTripper
	now  func() time.Time

	mu    sync.Mutex
	left  int
	asked *asked
	later time.Duration // longest Retry-After of an answer since again
	terms string        // link to the terms of service, of an error
}

// asked is that the CA wants no requests before a time.
type asked struct {
	until  time.Time
	status int
}

func (a *asked) Error() string {
	return fmt.Sprintf("HTTP %d: the CA wants no requests before %s", a.status, a.until.UTC().Format(time.RFC3339))
}

// redirected is the error of an answer that sends us elsewhere.
type redirected struct{ to string }

func (r *redirected) Error() string { return fmt.Sprintf("redirects to %q", clean(r.to)) }

var (
	errTooLarge  = fmt.Errorf("answer has more than %d octets", maxBody)
	errEndless   = fmt.Errorf("no end after %d requests", maxRequests)
	errPlaintext = errors.New("the CA names a URL that is not https")
)

func newGuard(c *http.Client, now func() time.Time) *guard {
	next := c.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	return &guard{next: next, now: now, left: maxRequests}
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.allow(req); err != nil {
		return nil, err
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if to := resp.Header.Get("Location"); resp.StatusCode >= 300 && resp.StatusCode < 400 {
		resp.Body.Close()
		return nil, &redirected{to}
	}
	if resp.ContentLength > maxBody {
		resp.Body.Close()
		return nil, errTooLarge
	}
	resp.Body = &limited{resp.Body, maxBody}
	g.look(req, resp)
	return resp, nil
}

func (g *guard) allow(req *http.Request) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case req.URL.Scheme != "https": // RFC 8555 §6.1
		return errPlaintext
	case g.asked != nil:
		return g.asked
	case g.left == 0:
		return errEndless
	}
	g.left--
	return nil
}

// look notes and corrects header fields.
func (g *guard) look(req *http.Request, resp *http.Response) {
	g.mu.Lock()
	defer g.mu.Unlock()
	after := retryAfter(resp.Header.Get("Retry-After"), g.now())
	switch {
	// RFC 6585 §4; RFC 8555 §6.6; RFC 9110 §15.6.4.
	case resp.StatusCode == http.StatusTooManyRequests,
		resp.StatusCode == http.StatusServiceUnavailable && after > 0:
		if after <= 0 {
			after = defaultAsk
		}
		g.asked = &asked{until: g.now().Add(min(after, longestAsk)), status: resp.StatusCode}
	case req.Method == http.MethodPost && resp.StatusCode < 300:
		// It tells when to look at an order again. In the past it would make a
		// loop without pauses, of a year it would never end.
		resp.Header.Del("Retry-After")
		if after > 0 {
			after = max(shortestPoll, min(after, longestPoll))
			g.later = max(g.later, after)
			resp.Header.Set("Retry-After", strconv.Itoa(int(after.Seconds())))
		}
	}
	if resp.StatusCode >= 400 {
		if link := termsLink(resp.Header.Values("Link")); link != "" {
			g.terms = link
		}
	}
	// The library would follow "up" and "alternate" for other chains, without
	// end. The default chain is complete (RFC 8555 §7.4.2).
	resp.Header.Del("Link")
}

// stopped returns what the CA asked for, or nil.
func (g *guard) stopped() *asked {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked
}

// again returns how long the CA wants us to wait before we look again, as it said
// since the last call; 0 if it did not.
func (g *guard) again() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	later := g.later
	g.later = 0
	return later
}

func (g *guard) termsLink() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.terms
}

// retryAfter reads the field of that name (RFC 9110 §10.2.3); 0 if it is
// missing, in the past or nonsense.
func retryAfter(field string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(field); err == nil {
		return time.Duration(max(0, min(seconds, int(longestAsk/time.Second)))) * time.Second
	}
	if t, err := http.ParseTime(field); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}

// termsLink finds the link with relation "terms-of-service" (RFC 8555 §7.3.3).
func termsLink(fields []string) string {
	for _, field := range fields {
		for part := range strings.SplitSeq(field, ",") {
			target, params, _ := strings.Cut(strings.TrimSpace(part), ">")
			if url, ok := strings.CutPrefix(target, "<"); ok && strings.Contains(params, "terms-of-service") {
				return url
			}
		}
	}
	return ""
}

// limited is a body that fails instead of being endless.
type limited struct {
	io.ReadCloser
	left int
}

func (l *limited) Read(p []byte) (int, error) {
	if len(p) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.ReadCloser.Read(p)
	if n > l.left {
		return l.left, errTooLarge
	}
	l.left -= n
	return n, err
}
