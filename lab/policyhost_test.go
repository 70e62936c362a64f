//go:build linux

package lab_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// policyHost serves the MTA-STS policies of all domains, which differ by name,
// and what is no policy.
type policyHost struct {
	pki      *pki
	mu       sync.Mutex
	policies map[string]stsPolicy // by domain
	certs    map[string]*tls.Certificate
	asked    map[string]int // by domain
}

// stsPolicy is a policy and what is wrong with its host.
type stsPolicy struct {
	text  string
	class string // of the certificate; certGood by default
	fault string
}

// The faults of policy hosts.
const (
	faultNotFound = "404"
	faultRedirect = "redirect" // to the right policy of another domain
	faultPlain    = "no TLS"
	faultSilent   = "no reply"
	faultBig      = "10 MB"
	faultBomb     = "gzip bomb"
	faultRefused  = "connection refused" // in DNS
	faultTimeout  = "timeout"            // in DNS
	faultNoName   = "no such name"       // in DNS
	faultEndless  = "endless"            // header after header
	faultLoopback = "loopback"           // in DNS
)

func enforce(mx ...string) stsPolicy { return stsPolicy{text: policyText("enforce", mx...)} }

func policyText(mode string, mx ...string) string {
	text := "version: STSv1\r\nmode: " + mode + "\r\nmax_age: 1209600\r\n"
	for _, m := range mx {
		text += "mx: " + m + "\r\n"
	}
	return text
}

// address is what the policy host's name leads to; empty if to nothing.
func (s stsPolicy) address() string {
	switch s.fault {
	case faultRefused:
		return closedAddr
	case faultTimeout:
		return deadAddr
	case faultNoName:
		return ""
	case faultLoopback:
		return "127.0.0.1"
	}
	return policyAddr
}

func startPolicyHost(t testing.TB, p *pki, policies map[string]stsPolicy) *policyHost {
	t.Helper()
	h := &policyHost{pki: p, policies: policies, certs: make(map[string]*tls.Certificate), asked: make(map[string]int)}
	for domain, policy := range policies {
		class := policy.class
		if class == "" {
			class = certGood
		}
		id := p.identity(t, class, "mta-sts."+domain, false)
		cert := &tls.Certificate{PrivateKey: id.key}
		for _, c := range id.chain {
			cert.Certificate = append(cert.Certificate, c.Raw)
		}
		h.certs["mta-sts."+domain] = cert
	}
	l, err := net.Listen("tcp", net.JoinHostPort(policyAddr, "443"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	config := &tls.Config{GetCertificate: h.certificate, NextProtos: []string{"http/1.1"}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(tls.NewListener(l, config)); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("policy host: %v", err)
		}
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return h
}

func (h *policyHost) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	cert := h.certs[hello.ServerName]
	if cert == nil {
		return nil, fmt.Errorf("no certificate for %q", hello.ServerName)
	}
	domain := strings.TrimPrefix(hello.ServerName, "mta-sts.")
	if h.policies[domain].fault == faultPlain {
		fmt.Fprint(hello.Conn, "HTTP/1.1 400 Bad Request\r\n\r\nThis is no TLS.\r\n")
		return nil, errors.New("no TLS")
	}
	return cert, nil
}

func (h *policyHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	domain := strings.TrimPrefix(r.Host, "mta-sts.")
	h.mu.Lock()
	h.asked[domain]++
	policy := h.policies[domain]
	h.mu.Unlock()
	if r.URL.Path != "/.well-known/mta-sts.txt" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	switch policy.fault {
	case faultNotFound:
		http.NotFound(w, r)
	case faultRedirect:
		http.Redirect(w, r, "https://mta-sts.both.example/.well-known/mta-sts.txt", http.StatusFound)
	case faultSilent:
		panic(http.ErrAbortHandler)
	case faultBig:
		fmt.Fprint(w, policy.text)
		for range 10 << 10 {
			if _, err := w.Write(bytes.Repeat([]byte("x: "+strings.Repeat("y", 1019)+"\r\n"), 1)); err != nil {
				return
			}
		}
	case faultBomb:
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, policy.text)
		block := make([]byte, 1<<20)
		for range 200 {
			if _, err := z.Write(block); err != nil {
				return
			}
		}
		z.Close()
	case faultEndless:
		trickle(r.Context(), w, policy.text)
	default:
		fmt.Fprint(w, policy.text)
	}
}

// trickle sends a line of a policy again and again until the client leaves.
func trickle(ctx context.Context, w http.ResponseWriter, text string) {
	fmt.Fprint(w, text)
	for ctx.Err() == nil {
		if _, err := fmt.Fprint(w, "mx: mail.example\r\n"); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
	}
}

// count is how often a domain's policy was asked for.
func (h *policyHost) count(domain string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[domain]
}
