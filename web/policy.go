package web

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/tlspolicy"
)

// policyPath is where a policy is (RFC 8461 §3.3).
const policyPath = "/.well-known/mta-sts.txt"

// policyMaxAge is a day, so that senders remember the policy for the time of a
// test and forget it soon after.
const policyMaxAge = 24 * time.Hour

// policyOf returns the policy of a slot: it lists the hosts that package
// scenario says are in it.
func policyOf(zone string, slot int) tlspolicy.Policy {
	p := tlspolicy.Policy{Mode: tlspolicy.ModeEnforce, MaxAge: policyMaxAge}
	names := scenario.Names(zone, slot)
	for _, h := range scenario.MXHosts() {
		if scenario.Named(h, scenario.HostKind(h)).InPolicy == scenario.Yes {
			p.MX = append(p.MX, names.Host(h))
		}
	}
	return p
}

// policyHost answers for mta-sts.et of a slot. RFC 8461 §3.3: over HTTPS only,
// and redirects must not be followed, so none is ever sent.
func (s *Server) policyHost(w http.ResponseWriter, r *http.Request, slot int) {
	if r.TLS == nil || r.URL.Path != policyPath {
		s.fail(w, r, http.StatusNotFound)
		return
	}
	status := http.StatusOK
	var err error
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		status = http.StatusMethodNotAllowed
		w.Header().Set("Allow", "GET, HEAD")
		s.fail(w, r, status)
	} else {
		text := policyOf(s.o.Zone, slot).String()
		// RFC 8461 §3.2: the media type is text/plain.
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		_, err = io.WriteString(w, text)
	}
	if flushErr := http.NewResponseController(w).Flush(); err == nil && !errors.Is(flushErr, http.ErrNotSupported) {
		err = flushErr
	}
	if err != nil {
		status = 0 // the client did not get it
	}
	// The time is that of the end: what the sender did before, it did without
	// this policy.
	s.o.Fetched(evidence.PolicyFetch{
		Time: s.o.Now(), Client: clientAddress(r.RemoteAddr), Host: scenario.Names(s.o.Zone, slot).Policy,
		UserAgent: printable(r.UserAgent(), s.o.Limits.MaxUserAgentBytes), Status: status,
	})
}

// clientAddress cuts the port from a remote address.
func clientAddress(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return ""
	}
	return ap.Addr().Unmap().String()
}

// printable returns at most max octets of s, without what is not visible.
func printable(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s[:min(len(s), max)])
	return s
}
