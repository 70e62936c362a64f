package desec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Bounds of what is read and how often is asked.
const (
	maxBody     = 16 << 20
	maxPages    = 400
	maxAttempts = 4
)

// ThrottledError says that deSEC wants no request before a time.
type ThrottledError struct{ Until time.Time }

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("deSEC's rate limit is used up until %s (it allows 300 changes of a domain a day, 100 an hour)", e.Until.UTC().Format(time.RFC3339))
}

func (p *Provider) url(zone string) string {
	return p.opts.API + "/domains/" + url.PathEscape(strings.TrimSuffix(zone, ".")) + "/rrsets/"
}

// list returns all RRsets, or those of one subname, page by page.
func (p *Provider) list(ctx context.Context, zone string, sub *string) ([]rrset, error) {
	q := url.Values{"cursor": {""}}
	if sub != nil {
		q.Set("subname", *sub)
	}
	next := p.url(zone) + "?" + q.Encode()
	var out []rrset
	for range maxPages {
		var page []rrset
		header, err := p.do(ctx, http.MethodGet, next, nil, &page)
		if err != nil {
			return nil, err
		}
		out = append(out, page...)
		if next, err = p.next(header); err != nil || next == "" {
			return out, err
		}
	}
	return nil, fmt.Errorf("deSEC returned more than %d pages", maxPages)
}

// next returns the address of the next page (RFC 8288); "" after the last one. The
// token goes nowhere but to the API.
func (p *Provider) next(header http.Header) (string, error) {
	for _, line := range header.Values("Link") {
		for link := range strings.SplitSeq(line, ",") {
			target, params, _ := strings.Cut(strings.TrimSpace(link), ">")
			if !strings.Contains(params, `rel="next"`) {
				continue
			}
			target = strings.TrimPrefix(target, "<")
			if !strings.HasPrefix(target, p.opts.API+"/domains/") {
				return "", fmt.Errorf("deSEC's next page %q is not below %s; check dns.desec.api", target, p.opts.API)
			}
			return target, nil
		}
	}
	return "", nil
}

// call sends a request whose body is a list of RRsets.
func (p *Provider) call(ctx context.Context, method, target string, in []rrset, out any) error {
	_, err := p.do(ctx, method, target, in, out)
	return err
}

// do sends a request, again if it came too fast, and reads the answer into out.
func (p *Provider) do(ctx context.Context, method, target string, in []rrset, out any) (http.Header, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
	}
	deadline := p.opts.Now().Add(p.opts.MaxWait)
	for range maxAttempts {
		if err := p.pause(ctx, deadline); err != nil {
			return nil, err
		}
		status, header, answer, err := p.send(ctx, method, target, body)
		if err != nil {
			return nil, err
		}
		switch {
		case status == http.StatusTooManyRequests:
			p.slowDown(header)
			continue
		case status < 200 || status > 299:
			return nil, failure(status, answer, in)
		}
		if err := json.Unmarshal(answer, out); err != nil {
			return nil, fmt.Errorf("answer of deSEC: %w", err)
		}
		return header, nil
	}
	return nil, p.throttled()
}

func (p *Provider) throttled() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &ThrottledError{p.until}
}

// slowDown notes until when no request may be sent.
func (p *Provider) slowDown(header http.Header) {
	wait := time.Second
	value := header.Get("Retry-After") // RFC 9110 §10.2.3
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
		wait = time.Duration(min(seconds, 7*24*3600)) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(p.opts.Now())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := p.opts.Now().Add(max(wait, time.Second)); until.After(p.until) {
		p.until = until
	}
}

// pause waits until the next request may be sent, or fails if that is too late.
func (p *Provider) pause(ctx context.Context, deadline time.Time) error {
	p.mu.Lock()
	until := p.until
	p.mu.Unlock()
	wait := until.Sub(p.opts.Now())
	if wait <= 0 {
		return ctx.Err()
	}
	if end, ok := ctx.Deadline(); until.After(deadline) || ok && time.Until(end) < wait {
		return &ThrottledError{until}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Provider) send(ctx context.Context, method, target string, body []byte) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("write request: %w", err)
	}
	req.Header.Set("Authorization", "Token "+p.opts.Token)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := p.opts.Client.Do(req)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("deSEC does not answer: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err == nil && len(answer) > maxBody {
		err = errors.New("it is too long")
	}
	if err != nil {
		return 0, nil, nil, fmt.Errorf("read deSEC's answer: %w", err)
	}
	return resp.StatusCode, resp.Header, answer, nil
}

// Domain is what deSEC says about a domain.
type Domain struct {
	Name       string `json:"name"`
	MinimumTTL int    `json:"minimum_ttl"` // seconds
	Keys       []struct {
		DS []string `json:"ds"`
	} `json:"keys"`
}

// Domain returns the properties of a domain, such as its smallest TTL and the DS
// records for the parent zone.
func (p *Provider) Domain(ctx context.Context, zone string) (Domain, error) {
	var d Domain
	zone = dns.CanonicalName(zone)
	target := strings.TrimSuffix(p.url(zone), "rrsets/")
	if _, err := p.do(ctx, http.MethodGet, target, nil, &d); err != nil {
		return Domain{}, fmt.Errorf("get domain %q: %w", zone, err)
	}
	return d, nil
}
