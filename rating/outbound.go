package rating

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/inbound/check"
)

// OutboundOf is what a test shows of the mails of its sender. A sending host
// that never met an offered STARTTLS is not counted: what it would have done is
// not known. Nor does a mail in plaintext tell anything that follows a handshake
// that came to nothing.
func OutboundOf(h evidence.History) Outbound {
	var out Outbound
	hosts := make(map[string]*sending)
	for _, c := range h.Connections {
		key := hostOf(c.Client)
		if hosts[key] == nil {
			hosts[key] = &sending{}
		}
		hosts[key].add(c)
		for _, t := range c.Transactions {
			if t.Message == nil || !t.Data {
				continue
			}
			out.SPF = over(out.SPF, spfResult(t.Message.SPF))
			out.DKIM = over(out.DKIM, dkimResult(t.Message.DKIM))
		}
	}
	for _, s := range hosts {
		// A host that never said MAIL may be a stranger's (a scan, a health check).
		if !s.mailed || !s.started && !s.plain {
			continue
		}
		out.Hosts++
		if !s.plain {
			out.Encrypted++
		}
	}
	return out
}

// fallback is how soon after a handshake that came to nothing a mail in
// plaintext is taken for its consequence.
const fallback = time.Minute

// sending is what one host did.
type sending struct {
	mailed  bool      // said MAIL, whatever it was offered
	started bool      // used STARTTLS where it was offered
	plain   bool      // said MAIL without TLS where it was offered
	gaveUp  time.Time // when it used STARTTLS last and handed nothing over
}

// add takes the connections in order of time.
func (s *sending) add(c evidence.Connection) {
	mailed := c.MailFrom != nil || len(c.Transactions) > 0
	s.mailed = s.mailed || mailed
	if !c.StartTLSOffered {
		return
	}
	s.started = s.started || c.StartTLS
	switch {
	case c.StartTLS && !mailed:
		s.gaveUp = c.Start
	case mailed && !c.StartTLS && !s.gaveUp.IsZero() && c.Start.Sub(s.gaveUp) <= fallback:
		// It would have encrypted, had our certificate been a good one, as those
		// of ordinary servers are.
	case mailed && !c.StartTLS:
		s.plain = true
	}
	for _, t := range c.Transactions {
		s.plain = s.plain || c.StartTLS && !t.TLS
	}
}

// hostOf is the client that an address belongs to: an IPv4 address, or an IPv6
// /64.
func hostOf(client string) string {
	at, err := netip.ParseAddrPort(client)
	if err != nil {
		return client
	}
	a := at.Addr().Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	return netip.PrefixFrom(a, 64).Masked().String()
}

// over joins the results of several mails: no if one failed, else yes if one
// could be tested.
func over(a, b check.Result) check.Result {
	switch {
	case a.Failed() || b.Outcome == "":
		return a
	case b.Failed() || a.Outcome == "" || b.OK():
		return b
	}
	return a
}

func spfResult(s evidence.SPF) check.Result {
	switch s.Result {
	case evidence.AuthPass:
		return check.Pass()
	case "":
		return check.Result{}
	case evidence.AuthTempError:
		return check.Skip("SPF of the mail could not be tested" + reason(s.Reason))
	}
	return check.Fail(fmt.Sprintf("SPF of the mail: %s%s", s.Result, reason(s.Reason)))
}

// dkimResult is yes if any signature is valid.
func dkimResult(list []evidence.DKIM) check.Result {
	out := check.Fail("the mail has no DKIM signature")
	for i, d := range list {
		var r check.Result
		switch d.Result {
		case evidence.AuthPass:
			return check.Pass()
		case evidence.AuthTempError:
			r = check.Skip(fmt.Sprintf("the DKIM signature of %s could not be tested%s", d.Domain, reason(d.Reason)))
		default:
			r = check.Fail(fmt.Sprintf("the DKIM signature of %s is not valid%s", d.Domain, reason(d.Reason)))
		}
		if i == 0 || r.Outcome == check.Untested {
			out = r
		}
	}
	return out
}
