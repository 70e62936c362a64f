package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/tlspolicy"
)

// Agent is the User-Agent of our own fetches of the policy, which are no
// evidence about a sender.
const Agent = "tlsink-self-check"

// policy reads the record and fetches the policy, as a sender would.
func (x *exam) policy(ctx context.Context) {
	var questions []question
	for slot := range x.Slots {
		questions = append(questions, question{scenario.Names(x.Zone, slot).STSRecord(), dns.TypeTXT})
	}
	ahead(ctx, x.Own, questions)
	for slot := range x.Slots {
		n := scenario.Names(x.Zone, slot)
		id, err := x.policyOf(ctx, n)
		if _, dialled := errors.AsType[*url.Error](err); dialled && x.worst[checkPorts] == Wrong {
			x.cannot(n.ET, notBefore+checkPorts+" is ok")
			continue
		}
		if err != nil {
			x.badPolicy(n, err)
			if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() && slot+1 < x.Slots {
				x.cannot("the other slots", "not asked, since "+n.Policy+" did not answer in time")
				return
			}
			continue
		}
		x.ok(n.ET, "record id %s; mode enforce, mx04 to mx06", id)
	}
}

// badPolicy names the certificate if it is what keeps senders from the policy.
func (x *exam) badPolicy(n scenario.SlotNames, err error) {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch why := notShown(err); {
	case why != err.Error():
		x.wrong(n.ET, "own policy: the certificate of "+n.Policy+" is not there: "+why, notIssued)
	case untrusted:
		x.wrong(n.ET, "own policy: "+err.Error(), notIssued)
	default:
		x.wrong(n.ET, "own policy: "+plain(err), "")
	}
}

func (x *exam) policyOf(ctx context.Context, n scenario.SlotNames) (id string, err error) {
	if x.Own == nil {
		return "", errors.New("neither our name server nor a resolver can be asked here")
	}
	a, err := x.Own.Lookup(ctx, n.STSRecord(), dns.TypeTXT)
	if err != nil {
		return "", err
	}
	if a.Status == dnssec.Bogus {
		return "", fmt.Errorf("%s TXT is bogus: resolvers refuse it: %s", n.STSRecord(), a.Why)
	}
	var txts []string
	for _, rr := range a.RRs {
		if t, ok := rr.(*dns.TXT); ok {
			txts = append(txts, strings.Join(t.Txt, ""))
		}
	}
	record, err := tlspolicy.FindRecord(txts)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: agent{&http.Transport{
		TLSHandshakeTimeout: x.Timeout, ResponseHeaderTimeout: x.Timeout, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: x.Roots, MinVersion: tls.VersionTLS12, Time: x.Now},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return x.Dial(ctx, network, x.HTTPS)
		},
	}}}
	ctx, cancel := context.WithTimeout(ctx, 3*x.Timeout)
	defer cancel()
	p, err := tlspolicy.Fetch(ctx, client, n.ET)
	if err != nil {
		return "", err
	}
	if p.Mode != tlspolicy.ModeEnforce {
		return "", fmt.Errorf("its mode is %s; want enforce", p.Mode)
	}
	for _, h := range scenario.MXHosts() {
		if listed := p.Matches(n.Host(h)); listed != (h != scenario.MX03) {
			return "", fmt.Errorf("%s is listed: %v", n.Host(h), listed)
		}
	}
	if p.MaxAge < time.Hour {
		return "", fmt.Errorf("its max_age is %v; want at least an hour", p.MaxAge)
	}
	return record.ID, nil
}

// agent adds our User-Agent.
type agent struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (a agent) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", Agent)
	return a.RoundTripper.RoundTrip(r)
}
