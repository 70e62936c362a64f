package records

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
)

// world is the DNS of a test: lines like "name TXT text", "name A 192.0.2.1";
// the word BOGUS, SECURE or ERROR before the type says what DNSSEC finds (else
// insecure). What is not there does not exist, and that is secure.
type world struct {
	answers map[string]dnssec.Answer // "name/TYPE"

	mu    sync.Mutex
	asked []string
}

func newWorld(t *testing.T, lines ...string) *world {
	t.Helper()
	w := &world{answers: map[string]dnssec.Answer{}}
	for _, line := range lines {
		name, rest, _ := strings.Cut(line, " ")
		kind, data, _ := strings.Cut(rest, " ")
		status := dnssec.Insecure
		if s := dnssec.Status(strings.ToLower(kind)); s == dnssec.Secure || s == dnssec.Bogus || s == dnssec.Error {
			status = s
			kind, data, _ = strings.Cut(data, " ")
		}
		key := name + "/" + kind
		a := w.answers[key]
		a.Status, a.Why = status, "because"
		switch {
		case status == dnssec.Bogus:
			a.Rcode = dns.RcodeServerFailure
		case kind == "TXT":
			a.RRs = append(a.RRs, &dns.TXT{Txt: split(data)})
		case data != "":
			rr, err := dns.NewRR(name + ". 60 IN " + kind + " " + data)
			if err != nil {
				t.Fatal(err)
			}
			a.RRs = append(a.RRs, rr)
		}
		w.answers[key] = a
	}
	return w
}

// split makes character-strings, as they come from the network.
func split(text string) []string {
	var out []string
	for len(text) > 200 {
		out, text = append(out, text[:200]), text[200:]
	}
	return append(out, strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\x1b", `\027`, "ü", `\195\188`).Replace(text))
}

func (w *world) Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, name+"/"+dns.TypeToString[qtype])
	if err := ctx.Err(); err != nil {
		return dnssec.Answer{Status: dnssec.Error}, err
	}
	a, ok := w.answers[name+"/"+dns.TypeToString[qtype]]
	switch {
	case !ok:
		return dnssec.Answer{Status: dnssec.Secure, Rcode: dns.RcodeNameError}, nil
	case a.Status == dnssec.Error:
		return dnssec.Answer{Status: dnssec.Error}, errors.New("i/o timeout")
	}
	return a, nil
}

// spfResolver is a world as the SPF library wants it.
type spfResolver struct{ w *world }

func (s spfResolver) lookup(ctx context.Context, name string, qtype uint16) ([]dns.RR, error) {
	a, err := s.w.Lookup(ctx, strings.ToLower(strings.TrimSuffix(name, ".")), qtype)
	switch {
	case a.Status == dnssec.Bogus:
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	case err != nil:
		return nil, &net.DNSError{Err: err.Error(), Name: name, IsTemporary: true}
	case len(a.RRs) == 0:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return a.RRs, nil
}

func (s spfResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	rrs, err := s.lookup(ctx, name, dns.TypeTXT)
	return dnssec.Answer{RRs: rrs}.Texts(), err
}

func (s spfResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	rrs, err := s.lookup(ctx, name, dns.TypeMX)
	var out []*net.MX
	for _, rr := range rrs {
		out = append(out, &net.MX{Host: rr.(*dns.MX).Mx, Pref: rr.(*dns.MX).Preference})
	}
	return out, err
}

func (s spfResolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	var out []net.IPAddr
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		rrs, err := s.lookup(ctx, host, qtype)
		if dnsErr, ok := errors.AsType[*net.DNSError](err); ok && dnsErr.IsTemporary {
			return nil, err
		}
		for _, rr := range rrs {
			ip, _ := address(rr)
			out = append(out, net.IPAddr{IP: ip.AsSlice()})
		}
	}
	if len(out) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return out, nil
}

func (s spfResolver) LookupAddr(context.Context, string) ([]string, error) {
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

// numbered returns a line for each number from 1 to n.
func numbered(n int, format string) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf(format, i+1))
	}
	return out
}
