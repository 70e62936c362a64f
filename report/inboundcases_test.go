package report_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/network"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/inbound/records"
	"github.com/tlsink/tlsink/rating"
	"github.com/tlsink/tlsink/report"
)

// looked is when the analyses were made.
var looked = time.Date(2026, 11, 21, 18, 45, 0, 0, time.UTC)

// receivingCases are reports with an analysis of the sender's domain, one of each
// class and of what is special.
func receivingCases(t *testing.T) map[string]report.Input {
	t.Helper()
	out := make(map[string]report.Input)
	for _, c := range []struct {
		name, history string
		analysis      inbound.Analysis
	}{
		{"receiving-green", "postfix-dane", green()},
		{"receiving-qualified", "exim-require-tls", qualified()},
		{"receiving-white", "postfix-may", white()},
		{"receiving-white-sts", "postfix-sts-may", whiteWithPolicy()},
		{"receiving-yellow", "postfix-encrypt", yellow()},
		{"receiving-red", "postfix-none", red()},
		{"receiving-grey", "postfix-verify", grey()},
		{"receiving-null", "postfix-dane-only", inbound.Analysis{
			Domain: "sender.lab.example", Started: looked, Ended: looked, Route: inbound.RouteNull, MX: rrset(dnssec.Secure, 1),
			SPF: records.SPF{Published: check.Pass(), Valid: check.Pass(), Strict: check.Pass(), Record: "v=spf1 -all", All: "-all"},
		}},
		{"receiving-none", "exim-debian", inbound.Analysis{
			Domain: "sender.lab.example", Started: looked, Ended: looked, Route: inbound.RouteNone, Why: "the domain does not exist",
		}},
		{"receiving-bogus", "postfix-dane-novalidation", bogus()},
		{"receiving-incomplete", "exim-dane-require", incomplete()},
		{"receiving-huge", "postfix-may-multi", huge()},
	} {
		in := recorded(t, c.history)
		in.State = report.StateAcked
		authenticate(&in.History)
		r := rating.Rate(c.analysis, rating.OutboundOf(in.History))
		in.Inbound, in.Ratings = &c.analysis, &r
		out[c.name] = in
	}
	missing := recorded(t, "exim-verify")
	missing.InboundMissing = report.NotAuthenticated
	out["receiving-not-authenticated"] = missing
	return out
}

// authenticate gives each mail of h the header facts that no recording has.
func authenticate(h *evidence.History) {
	for i := range h.Connections {
		c := &h.Connections[i]
		for j := range c.Transactions {
			t := &c.Transactions[j]
			t.Time = c.Start
			t.Message = &evidence.Message{
				SPF:   evidence.SPF{Result: evidence.AuthPass, Domain: "sender.lab.example", Mechanism: "mx"},
				DKIM:  []evidence.DKIM{{Domain: "sender.lab.example", Result: evidence.AuthPass}, {Domain: "esp.example", Result: evidence.AuthFail, Reason: "body hash did not verify"}},
				DMARC: evidence.DMARC{Result: evidence.AuthPass, Domain: "sender.lab.example", From: "sender.lab.example", Policy: "quarantine", AlignedSPF: true, AlignedDKIM: true},
				ARC:   true, Chain: evidence.ARCChain{Result: evidence.AuthPass, Sets: 1, Sealer: "relay.example"},
				Received: []evidence.Hop{
					{By: "pc.sender.lab.example", With: "local", Claim: evidence.ClaimLocal, Time: c.Start.Add(-3 * time.Second)},
					{From: "pc.sender.lab.example", By: "mail.sender.lab.example", With: "ESMTPSA", Claim: evidence.ClaimEncrypted, TLS: "TLSv1.3", Cipher: "TLS_AES_256_GCM_SHA384", Time: c.Start.Add(-2 * time.Second)},
					{From: "mail.sender.lab.example", By: "out.sender.lab.example", With: "LMTP", Claim: evidence.ClaimNone, Time: c.Start.Add(-time.Second)},
				},
			}
		}
	}
}

func rrset(s dnssec.Status, n int) inbound.RRset { return inbound.RRset{Status: s, Count: n} }

// server is one with nothing wrong.
func server(address string) inbound.Server {
	return inbound.Server{
		Address: netip.MustParseAddr(address), Network: network.Info{AS: 64500, Name: "EXAMPLE-NET Example Hosting", Country: "DE"},
		Result: probe.Result{
			Reached: check.Pass(), Greeting: "mail.sender.lab.example ESMTP", StartTLS: check.Pass(), Mandatory: check.Fail("it takes mail in plaintext: MAIL FROM:<> and RCPT TO:<postmaster@sender.lab.example> are accepted"),
			Versions: []probe.Version{
				{Version: probe.TLS13, Accepted: check.Pass(), Suite: "TLS_AES_256_GCM_SHA384"},
				{Version: probe.TLS12, Accepted: check.Pass(), Suite: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
				{Version: probe.TLS11, Accepted: check.Fail("it refuses with the alert protocol_version")},
				{Version: probe.TLS10, Accepted: check.Fail("it refuses with the alert protocol_version")},
			},
			ForwardSecrecy: check.Pass(), Connections: 5,
			Certificate: &probe.Certificate{
				Trusted: check.Pass(), Name: check.Pass(), Dates: check.Pass(), Subject: "CN=mx1.sender.lab.example", Names: []string{"mx1.sender.lab.example"},
				Issuer: "CN=R11,O=Let's Encrypt,C=US", Root: "ISRG Root X1", NotBefore: looked.AddDate(0, -1, 0), NotAfter: looked.AddDate(0, 2, 0),
				Key: "ECDSA P-256", Signature: "SHA256-RSA",
			},
		},
	}
}

func host(name string, preference uint16, servers ...inbound.Server) inbound.Host {
	return inbound.Host{
		Name: name, Preference: preference, A: rrset(dnssec.Insecure, 1), AAAA: rrset(dnssec.Insecure, 0), TLSA: rrset(dnssec.Insecure, 0),
		DANE: check.Fail("the MX records are not secure: lab.example is delegated without DS"), Servers: servers,
	}
}

// white has valid certificates and nothing that senders could insist on.
func white() inbound.Analysis {
	return inbound.Analysis{
		Domain: "sender.lab.example", Started: looked, Ended: looked.Add(41 * time.Second), Route: inbound.RouteMX,
		Zone: rrset(dnssec.Insecure, 1), MX: rrset(dnssec.Insecure, 2), TXT: rrset(dnssec.Insecure, 2),
		Hosts:  []inbound.Host{host("mx1.sender.lab.example", 10, server("192.0.2.25")), host("mx2.sender.lab.example", 20, server("198.51.100.25"))},
		MTASTS: records.MTASTS{Published: check.Fail("no MTA-STS record at _mta-sts.sender.lab.example")},
		TLSRPT: records.TLSRPT{Published: check.Fail("no TLS-RPT record at _smtp._tls.sender.lab.example")},
		SPF: records.SPF{
			Published: check.Pass(), Valid: check.Pass(), Strict: check.Pass(), DNSSEC: dnssec.Insecure, Record: "v=spf1 mx include:_spf.esp.example ~all", All: "~all", Lookups: 3,
		},
		DMARC: records.DMARC{
			Published: check.Pass(), Valid: check.Pass(), Enforced: check.Fail("the policy is none: mail that fails is delivered as usual"), DNSSEC: dnssec.Insecure,
			Record: "v=DMARC1; p=none; rua=mailto:dmarc@sender.lab.example", From: "sender.lab.example", Policy: "none", Percent: 100, Reports: []string{"mailto:dmarc@sender.lab.example"},
		},
	}
}

func whiteWithPolicy() inbound.Analysis {
	a := white()
	a.MTASTS = records.MTASTS{
		Published: check.Pass(), Policy: check.Pass(), HTTPS: check.Pass(), DNSSEC: dnssec.Insecure, ID: "20261101", Mode: "enforce", MaxAge: 7 * 24 * time.Hour,
		MX: []string{"*.sender.lab.example"},
	}
	a.TLSRPT = records.TLSRPT{Published: check.Pass(), Valid: check.Pass(), Record: "v=TLSRPTv1; rua=mailto:tls@sender.lab.example", Reports: []string{"mailto:tls@sender.lab.example"}}
	for i := range a.Hosts {
		a.Hosts[i].Listed = check.Pass()
	}
	return a
}

// green has everything.
func green() inbound.Analysis {
	a := whiteWithPolicy()
	a.Zone, a.MX, a.TXT = rrset(dnssec.Secure, 1), rrset(dnssec.Secure, 2), rrset(dnssec.Secure, 2)
	a.SPF.DNSSEC, a.DMARC.DNSSEC, a.MTASTS.DNSSEC = dnssec.Secure, dnssec.Secure, dnssec.Secure
	a.DMARC.Enforced, a.DMARC.Policy, a.DMARC.Record = check.Pass(), "reject", "v=DMARC1; p=reject"
	for i := range a.Hosts {
		h := &a.Hosts[i]
		h.A, h.AAAA, h.TLSA, h.DANE = rrset(dnssec.Secure, 1), rrset(dnssec.Secure, 1), rrset(dnssec.Secure, 2), check.Pass()
		h.Records = []inbound.TLSARecord{
			{Usage: 3, Selector: 1, MatchingType: 1, Data: "0b9fa5a59eed715c26c1020c711b4f6e…", Usable: true},
			{Usage: 1, Selector: 1, MatchingType: 1, Data: "55f6db74c524acca28b52c0bcfc28eec…", Why: "certificate usage 1 can't be used for SMTP (RFC 7672 §3.1.3)"},
		}
		h.Servers[0].DANE = check.Pass()
		v6 := h.Servers[0]
		v6.Address = netip.MustParseAddr(fmt.Sprintf("2001:db8::%d:25", i+1))
		h.Servers = append(h.Servers, v6)
	}
	return a
}

// qualified insists on encryption, with DNSSEC, without DANE.
func qualified() inbound.Analysis {
	a := green()
	for i := range a.Hosts {
		h := &a.Hosts[i]
		h.Records, h.TLSA, h.DANE = nil, rrset(dnssec.Secure, 0), check.Fail("it has no TLSA records")
		for j := range h.Servers {
			h.Servers[j].Mandatory, h.Servers[j].DANE = check.Pass(), check.Result{}
		}
	}
	return a
}

// yellow has one server with a certificate that nobody can check, and old TLS.
func yellow() inbound.Analysis {
	a := white()
	s := &a.Hosts[1].Servers[0]
	c := *s.Certificate
	c.Trusted, c.Name, c.Dates = check.Fail("it is self-signed"), check.Fail("it is for localhost.localdomain, not for mx2.sender.lab.example"), check.Fail("it has expired on 2025-11-21")
	c.Issuer, c.Root, c.NotAfter = "CN=localhost.localdomain", "", looked.AddDate(-1, 0, 0)
	s.Certificate, s.ForwardSecrecy = &c, check.Fail("it takes TLS_RSA_WITH_AES_128_CBC_SHA in TLS 1.2")
	for i := range s.Versions {
		s.Versions[i].Accepted = check.Pass()
	}
	a.SPF = records.SPF{
		Published: check.Pass(), Valid: check.Fail("the record needs 13 DNS lookups, at most 10 are allowed: receivers give up"), Strict: check.Fail("the record ends in ?all: it does not ask to reject other senders"), DNSSEC: dnssec.Insecure,
		Record: "v=spf1 include:a.example include:b.example include:c.example ?all", All: "?all", Lookups: 13, Voids: 1,
		Problems: []string{"the record needs 13 DNS lookups, at most 10 are allowed: receivers give up"},
	}
	a.DMARC = records.DMARC{Published: check.Fail("there is none")}
	return a
}

// red has a server without STARTTLS.
func red() inbound.Analysis {
	a := white()
	s := &a.Hosts[1].Servers[0]
	s.Result = probe.Result{Reached: check.Pass(), StartTLS: check.Fail("it does not offer STARTTLS"), Mandatory: check.Fail("it does not offer STARTTLS"), Connections: 1}
	return a
}

// grey could not be tested at all.
func grey() inbound.Analysis {
	a := white()
	for i := range a.Hosts {
		s := &a.Hosts[i].Servers[0]
		s.Result = probe.Result{Reached: check.Skip("connection timed out"), Connections: 1}
	}
	a.MX = inbound.RRset{Status: dnssec.Error, Why: "no answer"}
	return a
}

// bogus has signatures that do not verify.
func bogus() inbound.Analysis {
	a := green()
	a.Hosts[0].TLSA = inbound.RRset{Status: dnssec.Bogus, Count: 1, Why: "the signature has expired"}
	a.Hosts[0].DANE = check.Fail("its TLSA records are bogus: the signature has expired")
	a.Hosts[0].Records = nil
	for i := range a.Hosts[0].Servers {
		a.Hosts[0].Servers[i].DANE = check.Result{}
	}
	a.Hosts[1].Servers[0].DANE = check.Fail("the certificate matches none of 1 usable TLSA records: no certificate of the chain has the published data")
	return a
}

// incomplete is what limits and timeouts left of an analysis.
func incomplete() inbound.Analysis {
	a := green()
	a.LeftOut = []string{"4 more MX hosts were not looked at, only the 16 most preferred"}
	a.Hosts[1].Servers[1].Result = probe.Result{Reached: check.Skip("connection refused"), Connections: 0}
	a.Hosts[1].Servers[1].DANE = check.Result{}
	a.Hosts[1].Servers[0].Mandatory = check.Skip("in plaintext, its reply to RCPT is 451 4.7.1 Greylisted")
	a.Hosts[0].Canonical = "mail.hosting.example"
	a.Faults = []inbound.Fault{{ID: inbound.FaultAlias, Subject: "mx1.sender.lab.example", Text: "the MX host is an alias of mail.hosting.example, and RFC 2181 §10.3 forbids that: some senders refuse it"}}
	a.Hosts[1].Listed = check.Fail("the policy lists only mx1.sender.lab.example")
	a.SPF = records.SPF{Published: check.Skip("the TXT records of sender.lab.example could not be looked up: no answer")}
	return a
}

// huge has as many hosts and addresses as an analysis looks at, all different.
func huge() inbound.Analysis {
	a := white()
	a.Hosts = nil
	for i := range 16 {
		name := fmt.Sprintf("mx%02d.a-rather-long-name-of-a-mail-cluster.example", i)
		h := host(name, uint16(10*i), server(fmt.Sprintf("192.0.2.%d", i+1)), server(fmt.Sprintf("198.51.100.%d", i+1)))
		h.Servers[0].Certificate.Key = fmt.Sprintf("RSA %d", 2048+i)
		h.Servers[1].Network = network.Info{AS: uint32(64512 + i), Name: fmt.Sprintf("NET-%d of some provider with a long name", i), Country: "NL"}
		a.Hosts = append(a.Hosts, h)
	}
	return a
}
