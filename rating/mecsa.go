package rating

import (
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
)

// The IDs of MECSA's mechanisms.
const (
	mechDANE        = "dane"
	mechDKIM        = "dkim"
	mechDMARC       = "dmarc"
	mechDMARCPolicy = "dmarc_policy"
	mechDNSSEC      = "dnssec"
	mechMTASTS      = "mta-sts"
	mechSPF         = "spf"
	mechSPFPolicy   = "spf_policy"
	mechStartTLS    = "starttls"
	mechX509        = "x509"
)

// threshold is the share of tests, in percent, that must succeed.
const threshold = 80

// tally counts the tests of one mechanism. What could not be tested is not
// counted.
type tally struct{ succeeded, tested int }

func (t *tally) add(results ...check.Result) {
	for _, r := range results {
		switch r.Outcome {
		case check.Yes:
			t.succeeded++
			t.tested++
		case check.No:
			t.tested++
		}
	}
}

// mechanism closes a count. It is partial if nothing was tested, or if a
// direction is missing.
func (t tally) mechanism(id string, missing bool) Mechanism {
	return Mechanism{
		ID: id, Succeeded: t.succeeded, Tested: t.tested, Partial: missing,
		Supported: t.tested > 0 && 100*t.succeeded >= threshold*t.tested,
	}
}

// mechanisms counts all of them, sorted by ID.
func mechanisms(a inbound.Analysis, out Outbound) []Mechanism {
	mail := takesMail(a)
	var starttls, x509, dane, mtasts tally
	for _, h := range a.Hosts {
		if len(reachedServers(h)) == 0 {
			continue // "Hosts that could not be reached are left out of the count."
		}
		starttls.add(hostStartTLS(h))
		x509.add(hostCertificate(h)...)
		dane.add(hostDANE(h))
		mtasts.add(hostMTASTS(a, h))
	}
	receiving := starttls.tested
	starttls.succeeded += out.Encrypted
	starttls.tested += out.Hosts

	record := check.Worst(asked(a.SPF.Published), a.SPF.Valid)
	var spf, spfPolicy, dkim, dmarc, dmarcPolicy tally
	spf.add(record, out.SPF)
	spfPolicy.add(check.Worst(asked(a.SPF.Published), asked(a.SPF.Strict)))
	dkim.add(out.DKIM)
	dmarc.add(check.Worst(asked(a.DMARC.Published), a.DMARC.Valid))
	dmarcPolicy.add(check.Worst(asked(a.DMARC.Published), asked(a.DMARC.Enforced)))
	dnssecTests := countDNSSEC(a)

	return []Mechanism{
		dane.mechanism(mechDANE, mail && dane.tested == 0),
		dkim.mechanism(mechDKIM, dkim.tested == 0),
		dmarc.mechanism(mechDMARC, dmarc.tested == 0),
		dmarcPolicy.mechanism(mechDMARCPolicy, dmarcPolicy.tested == 0),
		dnssecTests.mechanism(mechDNSSEC, dnssecTests.tested == 0),
		mtasts.mechanism(mechMTASTS, mail && mtasts.tested == 0),
		spf.mechanism(mechSPF, spf.tested < 2),
		spfPolicy.mechanism(mechSPFPolicy, spfPolicy.tested == 0),
		starttls.mechanism(mechStartTLS, out.Hosts == 0 || mail && receiving == 0),
		x509.mechanism(mechX509, mail && x509.tested == 0),
	}
}

// together is the answer for all servers of a host: no if one fails, else yes
// if one could be tested.
func together(h inbound.Host, ask func(inbound.Server) check.Result) check.Result {
	var out check.Result
	for _, s := range reachedServers(h) {
		switch r := ask(s); {
		case r.Failed():
			return r
		case r.OK():
			out = r
		}
	}
	return out
}

func hostStartTLS(h inbound.Host) check.Result {
	return together(h, func(s inbound.Server) check.Result { return s.StartTLS })
}

// hostCertificate are the tests of a host's certificates.
func hostCertificate(h inbound.Host) []check.Result {
	part := func(of func(inbound.Server) check.Result) check.Result {
		return together(h, func(s inbound.Server) check.Result {
			switch {
			case s.StartTLS.Failed():
				return s.StartTLS // no STARTTLS, no certificate
			case s.Certificate == nil:
				return check.Result{}
			}
			return of(s)
		})
	}
	return []check.Result{
		part(func(s inbound.Server) check.Result { return s.Certificate.Trusted }),
		part(func(s inbound.Server) check.Result { return s.Certificate.Name }),
		part(func(s inbound.Server) check.Result { return s.Certificate.Dates }),
	}
}

// hostDANE is tested "independently of the results on the DNSSEC test" (report
// of 2018, §3): the TLSA records must be secure, the MX records need not be.
func hostDANE(h inbound.Host) check.Result {
	records := tlsaPresent(h)
	if records.OK() {
		records = tlsaUsable(h)
	}
	if !records.OK() {
		return records
	}
	return together(h, func(s inbound.Server) check.Result {
		if s.StartTLS.Failed() {
			return s.StartTLS
		}
		return s.DANE
	})
}

func hostMTASTS(a inbound.Analysis, h inbound.Host) check.Result {
	p := a.MTASTS
	policy := check.Worst(asked(p.Published), p.HTTPS, p.Policy)
	if !policy.OK() {
		return policy
	}
	return check.Worst(asked(p.Policy), enforced(p.Mode), asked(h.Listed))
}

func countDNSSEC(a inbound.Analysis) tally {
	var t tally
	t.add(secure(a.Zone, "zone"), secure(a.MX, "MX records"), secure(a.TXT, "TXT records"))
	for _, h := range a.Hosts {
		if h.TLSA.Count > 0 || h.TLSA.Status == dnssec.Bogus {
			t.add(secure(h.TLSA, "TLSA records"))
		}
	}
	return t
}
