package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tlsink/tlsink/live"
)

// Options configure a Client.
type Options struct {
	Server string         // e.g. https://sink.example; http:// only to loopback, or with Dial
	Roots  *x509.CertPool // nil: the system's

	// Dial replaces the network, e.g. by a Unix socket; nil: the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	UserAgent string
	Rand      *rand.Rand // jitter of pauses; nil: none

	Timeout    time.Duration // for an answer; default 30 s. A stream takes as long as it takes
	Silence    time.Duration // of a stream, after which it is given up; default 45 s
	FirstRetry time.Duration // pause after the first failure, then doubling; default 1 s
	MaxRetry   time.Duration // longest pause; default 1 min
}

// Limits of what is read, in octets.
const (
	maxAnswer = 1 << 20  // of a status or a problem
	maxReport = 64 << 20 // of a report or a history
	maxEvent  = 2 << 20  // of one event
)

// Client talks to one server. It is safe for concurrent use.
type Client struct {
	o    Options
	base *url.URL
	http *http.Client
}

// New checks the options.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.Server)
	switch {
	case err != nil || base.Host == "" || base.Opaque != "" || base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, fmt.Errorf("server %q: want https://host", o.Server)
	case strings.Trim(base.Path, "/") != "":
		return nil, fmt.Errorf("server %q: leave out the path %q", o.Server, base.Path)
	case base.Scheme == "https":
	case base.Scheme == "http" && (o.Dial != nil || isLoopback(base.Hostname())):
	default:
		return nil, fmt.Errorf("server %q: want https://, since links to tests are secrets", o.Server)
	}
	base.Path = ""
	setDefault(&o.Timeout, 30*time.Second)
	setDefault(&o.Silence, 45*time.Second)
	setDefault(&o.FirstRetry, time.Second)
	setDefault(&o.MaxRetry, time.Minute)
	if o.UserAgent == "" {
		o.UserAgent = "tlsink-client"
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: o.Dial, TLSClientConfig: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 15 * time.Second, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2: true,
	}
	if o.Dial != nil {
		transport.Proxy = nil
	}
	return &Client{o: o, base: base, http: &http.Client{
		Transport: transport,
		// A redirect would take the capability elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func setDefault(v *time.Duration, d time.Duration) {
	if *v <= 0 {
		*v = d
	}
}

// ParseLink takes the page of a test apart, e.g. https://sink.example/t/….
func ParseLink(link string) (server, capability string, err error) {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", "", errors.New("this is no link to a test: want https://host/t/…")
	}
	capability, ok := strings.CutPrefix(u.Path, "/t/")
	capability = strings.TrimSuffix(strings.TrimSuffix(capability, "/"), ".json")
	if !ok || capability == "" || strings.Contains(capability, "/") {
		return "", "", errors.New("this is no link to a test: want https://host/t/…")
	}
	return u.Scheme + "://" + u.Host, capability, nil
}

// Problem is an error that the server reported (RFC 9457).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field"`
	Value  string `json:"value"`
	Hint   string `json:"hint"`

	Retry time.Duration `json:"-"` // Retry-After; 0 without
}

// Error implements error, in one line without control characters.
func (p *Problem) Error() string {
	text := printable(p.Title)
	if text == "" {
		text = http.StatusText(p.Status)
	}
	text = fmt.Sprintf("the server says: %s (%d)", text, p.Status)
	if p.Field != "" {
		text += fmt.Sprintf(": %s %q", printable(p.Field), p.Value)
	}
	for _, more := range []string{p.Detail, p.Hint} {
		if more != "" {
			text += ": " + printable(more)
		}
	}
	return text
}

// IsNotFound reports whether err says that there is no such test.
func IsNotFound(err error) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && p.Status == http.StatusNotFound
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// Order is what a test is started with.
type Order struct {
	Language string `json:"language,omitempty"` // en or de
	Webhook  string `json:"webhook,omitempty"`
}

// Started is a test that was started.
type Started struct {
	Capability string       `json:"capability"`
	Link       string       `json:"link"`
	Webhook    *Webhook     `json:"webhook"`
	Status     *live.Status `json:"status"`
}

// Webhook is the URL of a test, and the key of the signatures.
type Webhook struct {
	URL    string `json:"url"`
	Secret string `json:"secret"`
}

// Start starts a test.
func (c *Client) Start(ctx context.Context, o Order) (*Started, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode order: %w", err)
	}
	b, err := c.ask(ctx, http.MethodPost, "/tests", body, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("start a test: %w", err)
	}
	var out Started
	if err := json.Unmarshal(b, &out); err != nil || out.Capability == "" || out.Status == nil {
		return nil, errors.New("start a test: the answer is not that of a tlsink")
	}
	return &out, nil
}

// Status returns how a test stands. An empty language is the test's own.
func (c *Client) Status(ctx context.Context, capability, language string) (*live.Status, error) {
	b, err := c.ask(ctx, http.MethodGet, test(capability, "", language), nil, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("state of the test: %w", err)
	}
	return decodeStatus(b)
}

func decodeStatus(b []byte) (*live.Status, error) {
	var st live.Status
	if err := json.Unmarshal(b, &st); err != nil || st.State == "" {
		return nil, errors.New("state of the test: the answer is not that of a tlsink")
	}
	return &st, nil
}

// Cancel gives up a test that no mail has come to.
func (c *Client) Cancel(ctx context.Context, capability string) error {
	if _, err := c.ask(ctx, http.MethodDelete, test(capability, "", ""), nil, maxAnswer); err != nil {
		return fmt.Errorf("give up the test: %w", err)
	}
	return nil
}

// Report returns the report as JSON; docs/report-json.md describes it.
func (c *Client) Report(ctx context.Context, capability string) ([]byte, error) {
	return c.get(ctx, "report", test(capability, "/report", ""))
}

// History returns the redacted evidence as JSON Lines.
func (c *Client) History(ctx context.Context, capability string) ([]byte, error) {
	return c.get(ctx, "history", test(capability, "/history", ""))
}

// Compare returns what has changed between two tests, as JSON.
func (c *Client) Compare(ctx context.Context, one, other, language string) ([]byte, error) {
	return c.get(ctx, "comparison", test(one, "/compare/"+url.PathEscape(other), language))
}

func (c *Client) get(ctx context.Context, what, path string) ([]byte, error) {
	b, err := c.ask(ctx, http.MethodGet, path, nil, maxReport)
	if err != nil {
		return nil, fmt.Errorf("%s of the test: %w", what, err)
	}
	return b, nil
}

// test is the path of a test, below that of the API.
func test(capability, below, language string) string {
	path := "/tests/" + url.PathEscape(capability) + below
	if language != "" {
		path += "?language=" + url.QueryEscape(language)
	}
	return path
}

func (c *Client) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+"/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("no request can be made of this test") // the reason repeats the path
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// ask returns the body of a good answer of at most that many octets.
func (c *Client) ask(ctx context.Context, method, path string, body []byte, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Timeout, fmt.Errorf("no answer within %v", c.o.Timeout))
	defer cancel()
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failure(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return nil, problemOf(resp)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return nil, c.failure(ctx, err)
	case int64(len(b)) > most:
		return nil, fmt.Errorf("the answer is longer than %d octets", most)
	}
	return b, nil
}

// failure says why there is no answer, without the capability in the URL.
func (c *Client) failure(ctx context.Context, err error) error {
	if x, ok := errors.AsType[*url.Error](err); ok {
		err = x.Err
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("ask %s: %w", c.base.Host, err)
}

// problemOf reads an answer that is not a good one.
func problemOf(resp *http.Response) *Problem {
	p := &Problem{}
	if t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && t == "application/problem+json" {
		b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if err != nil || json.Unmarshal(b, p) != nil {
			p = &Problem{}
		}
	}
	p.Status = resp.StatusCode // whatever it claims
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		p.Retry = time.Duration(min(n, 3600)) * time.Second
	}
	return p
}
