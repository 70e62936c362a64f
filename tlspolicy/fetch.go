package tlspolicy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// RFC 8461 §3.3: a fetch is to end within a minute.
const fetchTimeout = time.Minute

// PolicyHost returns the name of the HTTPS host of a domain's policy.
func PolicyHost(domain string) string { return "mta-sts." + domain }

// Fetch gets and parses the policy of a domain. client must verify
// certificates; its redirect rule is not used. Errors name the rule of RFC
// 8461 §3.3 that the policy host breaks.
func Fetch(ctx context.Context, client *http.Client, domain string) (Policy, error) {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	if !isPattern(domain) || strings.HasPrefix(domain, "*") {
		return Policy{}, fmt.Errorf("fetch MTA-STS policy: %q is not a domain name", domain)
	}
	p, err := fetch(ctx, client, PolicyHost(domain))
	if err != nil {
		return Policy{}, fmt.Errorf("fetch MTA-STS policy of %s: %w", domain, err)
	}
	return p, nil
}

func fetch(ctx context.Context, client *http.Client, host string) (Policy, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/.well-known/mta-sts.txt", http.NoBody)
	if err != nil {
		return Policy{}, err
	}
	c := *client
	// RFC 8461 §3.3: HTTP 3xx redirects MUST NOT be followed.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Do(req)
	if err != nil {
		return Policy{}, err
	}
	defer resp.Body.Close()
	// The certificate must be valid for the policy host, whatever the client
	// was configured to put up with.
	if resp.TLS == nil || len(resp.TLS.VerifiedChains) == 0 {
		return Policy{}, errors.New("the certificate was not verified")
	}
	if err := resp.TLS.VerifiedChains[0][0].VerifyHostname(host); err != nil {
		return Policy{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return Policy{}, fmt.Errorf("HTTP status %d, want 200", resp.StatusCode)
	}
	if t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || t != "text/plain" {
		return Policy{}, fmt.Errorf("media type %q, want text/plain", resp.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPolicySize+1))
	if err != nil {
		return Policy{}, fmt.Errorf("read: %w", err)
	}
	return ParsePolicy(body)
}
