package report_test

import (
	"strings"
	"testing"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/rating"
	"github.com/tlsink/tlsink/report"
)

// What a colour alone would get wrong.
func TestReceivingInOneSentence(t *testing.T) {
	unusable, mismatch := green(), qualified()
	unusable.MTASTS = white().MTASTS
	for i := range unusable.Hosts {
		h, g := &unusable.Hosts[i], &mismatch.Hosts[i]
		g.Records, g.TLSA, g.DANE = h.Records, h.TLSA, check.Pass()
		h.Records, h.TLSA.Count = h.Records[1:], 1
		h.DANE = check.Fail("no TLSA record is usable: senders encrypt, and check no certificate (RFC 7672 §2.2)")
		for j := range h.Servers {
			h.Servers[j].DANE = check.Result{}
			g.Servers[j].DANE = check.Fail("the certificate matches none of 1 usable TLSA records")
		}
	}
	partly := green()
	partly.Hosts[0].Servers[1].Result = probe.Result{Reached: check.Skip("no route to it")}
	unlisted := whiteWithPolicy()
	unlisted.Hosts[1].Listed = check.Fail("the policy lists only mx1.sender.lab.example")
	unsigned := green()
	unsigned.MX, unsigned.MTASTS = rrset(dnssec.Insecure, 2), white().MTASTS
	for i := range unsigned.Hosts {
		unsigned.Hosts[i].DANE = check.Fail("the MX records are not secure")
	}
	bogusMX := inbound.Analysis{
		Domain: "sender.lab.example", Started: looked, Ended: looked, Route: inbound.RouteUnknown, Why: "the MX records are bogus: the signature has expired",
		MX: inbound.RRset{Status: dnssec.Bogus, Why: "the signature has expired"},
	}
	unknown := bogusMX
	unknown.MX = inbound.RRset{Status: dnssec.Error, Why: "no answer"}
	for _, c := range []struct {
		name         string
		analysis     inbound.Analysis
		class        rating.Class
		want, advice string
	}{
		{"TLSA records that nobody can use", unusable, rating.White, "is not complete. An attacker", "Publish TLSA records that can be used"},
		{"a policy that leaves a server out", unlisted, rating.White, "is not complete. An attacker", "Repair MTA-STS"},
		{"TLSA records, and MX records that are not signed", unsigned, rating.White, "Nothing tells senders to insist on it", "Sign with DNSSEC"},
		{"certificates that match no TLSA record", mismatch, rating.White, "senders that use DANE can't deliver", "Make TLSA records and certificates match"},
		{"one address that could not be tested", partly, rating.Green, "Addresses of servers that could not be tested, and do not count here: 1.", "qualified transport encryption"},
		{"MX records that are bogus", bogusMX, rating.Grey, "Many senders can't deliver mail to you", "delv sender.lab.example MX"},
		{"MX records that could not be looked up", unknown, rating.Grey, "could not be tested. That is no failure", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := recorded(t, "postfix-dane")
			in.State = report.StateAcked
			r := rating.Rate(c.analysis, rating.OutboundOf(in.History))
			in.Inbound, in.Ratings = &c.analysis, &r
			if r.Class != c.class {
				t.Errorf("class %s, want %s", r.Class, c.class)
			}
			text := strings.Join(strings.Fields(report.Text(in)), " ")
			if !strings.Contains(text, c.want) || !strings.Contains(text, c.advice) || strings.Contains(text, "For mail that you receive") != (c.advice != "") {
				t.Errorf("no %q, or no %q, in:\n%s", c.want, c.advice, report.Text(in))
			}
		})
	}
}

func TestTestMailInOneSentence(t *testing.T) {
	pass, everybody := evidence.SPF{Result: evidence.AuthPass, Domain: "sender.lab.example"}, evidence.SPF{Result: evidence.AuthPass, Domain: "sender.lab.example", Mechanism: "all"}
	later := []evidence.DKIM{{Domain: "sender.lab.example", Result: evidence.AuthTempError}}
	for _, c := range []struct {
		name string
		m    evidence.Message
		want string
	}{
		{"DMARC passes", evidence.Message{SPF: pass, DMARC: evidence.DMARC{Result: evidence.AuthPass, AlignedSPF: true}}, "can tell that this mail really comes from the domain"},
		{"DMARC passes because everybody may send", evidence.Message{SPF: everybody, DMARC: evidence.DMARC{Result: evidence.AuthPass, AlignedSPF: true, Reason: "only by an SPF record that allows everybody"}}, "proves nothing"},
		{"DKIM could not be checked, and there is no DMARC record", evidence.Message{DKIM: later, DMARC: evidence.DMARC{Result: evidence.AuthNone}}, "Whether receivers can tell that"},
		{"SPF passes, DKIM could not be checked", evidence.Message{SPF: pass, DKIM: later, DMARC: evidence.DMARC{Result: evidence.AuthNone}}, "can tell which domain sent this mail"},
		{"nothing passes", evidence.Message{SPF: evidence.SPF{Result: evidence.AuthFail}, DMARC: evidence.DMARC{Result: evidence.AuthNone}}, "neither SPF nor DKIM confirms it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := recorded(t, "postfix-dane")
			for i := range in.History.Connections {
				for j := range in.History.Connections[i].Transactions {
					in.History.Connections[i].Transactions[j].Message = &c.m
				}
			}
			if text := report.Text(in); !strings.Contains(strings.Join(strings.Fields(text), " "), c.want) {
				t.Errorf("no %q in:\n%s", c.want, text)
			}
		})
	}
}
