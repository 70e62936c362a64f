package doctor

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/tlspolicy"
)

// withheld: a new client is not offered STARTTLS.
func (x *exam) withheld(ctx context.Context) {
	s, err := x.hello(ctx, scenario.Probe{Kind: scenario.SelfSigned})
	if err != nil {
		x.cannot(x.SMTP, unreachable(err))
		return
	}
	defer s.quit()
	switch {
	case s.offersTLS() && x.Token == "":
		x.cannot(x.SMTP, "STARTTLS is offered: this address was there before, so that its downgrade phase may be over. Run it where the service runs, or again after a day")
	case s.offersTLS():
		x.wrong(x.SMTP, "STARTTLS is offered in the downgrade phase", "")
	default:
		if code, _, _ := s.cmd(454, "STARTTLS"); code != 454 {
			x.wrong(x.SMTP, fmt.Sprintf("STARTTLS is answered %d in the downgrade phase; want 454", code), "")
			return
		}
		x.ok(x.SMTP, "STARTTLS is withheld from a new client")
	}
}

func unreachable(err error) string { return "no connection (see " + checkPorts + "): " + plain(err) }

// offered: STARTTLS is offered after the downgrade phase. Without a token, that
// has to be waited for.
func (x *exam) offered(ctx context.Context) {
	end := x.Now().Add(x.Downgrade + x.Timeout)
	for {
		s, err := x.hello(ctx, scenario.Probe{StartTLS: true, Kind: scenario.SelfSigned})
		if err != nil {
			x.cannot(x.SMTP, unreachable(err))
			return
		}
		offered := s.offersTLS()
		s.quit()
		left := end.Sub(x.Now())
		switch {
		case offered:
			x.ok(x.SMTP, "STARTTLS is offered after the downgrade phase")
			return
		case x.Token != "":
			x.wrong(x.SMTP, "STARTTLS is not offered after the downgrade phase", "")
			return
		case !x.Wait:
			x.cannot(x.SMTP, "the downgrade phase of this address lasts; wait for its end (--wait), or run it where the service runs")
			return
		case left <= 0:
			x.wrong(x.SMTP, fmt.Sprintf("STARTTLS is not offered %v after the first connection", x.Downgrade), "")
			return
		}
		if !x.sleep(ctx, min(left+time.Second, 10*time.Second), left) {
			x.cannot(x.SMTP, "interrupted")
			return
		}
	}
}

// sleep waits, and tells every second how long it still lasts.
func (x *exam) sleep(ctx context.Context, d, left time.Duration) bool {
	for ; d > 0; d, left = d-time.Second, left-time.Second {
		if x.Waiting != nil {
			x.Waiting(max(left, 0).Round(time.Second))
		}
		t := time.NewTimer(min(d, time.Second))
		select {
		case <-ctx.Done():
			t.Stop()
			return false
		case <-t.C:
		}
	}
	return true
}

// shownKey is one face, one kind of key.
type shownKey struct {
	id        scenario.Certificate
	algorithm string
}

// shown is what came of it.
type shown struct {
	chain []*x509.Certificate
	err   error
}

// show returns the chain of a face, from this run.
func (x *exam) show(ctx context.Context, id scenario.Certificate, algorithm string) shown {
	key := shownKey{id, algorithm}
	if s, ok := x.shown[key]; ok {
		return s
	}
	chain, err := x.present(ctx, sniOf(x.Zone, id), id.Kind, algorithm)
	x.shown[key] = shown{chain, err}
	return x.shown[key]
}

// sniOf is the name by which a client gets a certificate.
func sniOf(zone string, id scenario.Certificate) string {
	switch id.Owner {
	case scenario.OwnerDefault:
		return ""
	case scenario.OwnerService:
		return scenario.ServiceHost(zone)
	}
	return scenario.Names(zone, id.Slot).Host(scenario.Host(id.Owner))
}

// faceName names a face for people.
func faceName(zone string, id scenario.Certificate) string {
	name := sniOf(zone, id)
	if name == "" {
		name = "without SNI"
	}
	if id.Owner == scenario.OwnerDefault || id.Owner == scenario.OwnerUT {
		name += map[scenario.Kind]string{scenario.SelfSigned: " (self-signed)", scenario.CA: " (from the CA)"}[id.Kind]
	}
	return name
}

// faces are the certificates of port 25.
func (x *exam) faces() []scenario.Certificate {
	return slices.DeleteFunc(scenario.Certificates(), func(c scenario.Certificate) bool { return c.Owner == scenario.OwnerMTASTS })
}

// certificates: those of the CA must be trusted, and those that are self-signed
// by nobody.
func (x *exam) certificates(ctx context.Context) {
	usual := x.check.effect
	defer func() { x.check.effect = usual }()
	for _, id := range x.faces() {
		x.check.effect = usual
		if id.Owner == scenario.OwnerService {
			x.check.effect = NoEffect // it is shown to nobody who is tested
		}
		x.certificate(ctx, id)
	}
	x.check.effect = usual
	x.sharedCertificates(ctx)
}

func (x *exam) certificate(ctx context.Context, id scenario.Certificate) {
	subject, now := faceName(x.Zone, id), x.Now()
	var until time.Time
	for _, algorithm := range algorithms() {
		s := x.show(ctx, id, algorithm)
		if _, ended := errors.AsType[handshakeError](s.err); ended {
			x.wrong(subject, algorithm+": no certificate is shown: "+notShown(s.err), "")
			return
		}
		if s.err != nil {
			x.cannot(subject, algorithm+": "+plain(s.err))
			return
		}
		if x.Token == "" && varies(id) && selfSigned(s.chain[0]) != (id.Kind == scenario.SelfSigned) {
			x.cannot(subject, "another certificate is shown now; only with a token it can be asked for")
			return
		}
		if why := x.judge(id, s.chain, now); why != "" {
			x.wrong(subject, algorithm+": "+why, "")
			return
		}
		if leaf := s.chain[0]; until.IsZero() || leaf.NotAfter.Before(until) {
			until = leaf.NotAfter
		}
	}
	what := "self-signed, trusted by nobody"
	if id.Kind == scenario.CA {
		what = "trusted, valid until " + until.UTC().Format(time.DateOnly)
	}
	x.ok(subject, "%s: %s", strings.Join(algorithms(), " and "), what)
}

// notShown says why a handshake ended. Our own listener ends it with this alert
// as long as it has no certificate for the name.
func notShown(err error) string {
	if strings.Contains(err.Error(), "remote error: tls: internal error") {
		return "it is not issued yet"
	}
	return err.Error()
}

// varies reports whether a client is shown a certificate of this kind at times.
func varies(id scenario.Certificate) bool {
	return id.Owner == scenario.OwnerDefault || id.Owner == scenario.OwnerUT
}

func selfSigned(c *x509.Certificate) bool {
	return c.CheckSignatureFrom(c) == nil || c.Issuer.String() == c.Subject.String()
}

// judge says what is wrong with a chain; "" if it is what it has to be.
func (x *exam) judge(id scenario.Certificate, chain []*x509.Certificate, now time.Time) string {
	names := scenario.CertificateNames(x.Zone, x.Slots, id)
	err := tlspolicy.VerifyPKIX(names[:1], chain, x.Roots, now)
	if id.Kind == scenario.SelfSigned {
		if err == nil {
			return "the certificate is trusted (issuer " + clip(chain[0].Issuer.String()) + "), but must not be"
		}
		return ""
	}
	for _, name := range names[1:] { // the chain is the same for all
		err = cmp.Or(err, chain[0].VerifyHostname(name))
	}
	if other, ok := errors.AsType[x509.HostnameError](err); ok && len(other.Certificate.DNSNames) > 1 {
		return fmt.Sprintf("it is the certificate of %s and %d more names, not of %s", other.Certificate.DNSNames[0], len(other.Certificate.DNSNames)-1, other.Host)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// sharedCertificates: what the hosts of the other slots show is what those of
// slot 0 do, which has been judged for all names. One connection to each tells.
func (x *exam) sharedCertificates(ctx context.Context) {
	for slot := 1; slot < x.Slots; slot++ {
		n, good := scenario.Names(x.Zone, slot), true
		for i, h := range append(scenario.MXHosts(), scenario.UT) {
			chain, err := x.present(ctx, n.Host(h), scenario.HostKind(h), algorithms()[(slot+i)%2])
			_, ended := errors.AsType[handshakeError](err)
			switch {
			case ended:
				x.wrong(n.Host(h), "no certificate is shown: "+notShown(err), "")
			case err != nil:
				x.cannot(n.Host(h), plain(err))
				return // each of the others would take as long
			case !x.isShown(scenario.Owner(h), chain[0]):
				x.wrong(n.Host(h), "another certificate is shown than in slot 0", "")
			default:
				continue
			}
			good = false
		}
		if good {
			x.ok(n.ET+", "+n.UT, "the certificates of slot 0 are shown")
		}
	}
}

// isShown reports whether slot 0 shows a certificate for a face, too, or could
// not be asked.
func (x *exam) isShown(owner scenario.Owner, leaf *x509.Certificate) bool {
	for key, s := range x.shown {
		if key.id.Owner == owner && (s.err != nil || s.chain[0].Equal(leaf)) {
			return true
		}
	}
	return false
}

// tlsa: who must match does, who must not does not; and nobody who sends no SNI
// is shown a certificate that matches.
func (x *exam) tlsa(ctx context.Context) {
	usual := x.check.effect
	var questions []question
	for slot := range x.Slots {
		for _, h := range scenario.MXHosts() {
			questions = append(questions, question{scenario.Names(x.Zone, slot).TLSA(h), dns.TypeTLSA})
		}
	}
	ahead(ctx, x.Own, questions)
	for slot := range x.Slots {
		n := scenario.Names(x.Zone, slot)
		for _, h := range scenario.MXHosts() {
			match := scenario.Named(h, scenario.HostKind(h)).TLSA == scenario.TLSAMatch
			x.tlsaOf(ctx, n.Host(h), match, scenario.Certificate{Owner: scenario.Owner(h), Kind: scenario.HostKind(h)},
				scenario.Certificate{Owner: scenario.OwnerDefault, Kind: scenario.SelfSigned}, scenario.Certificate{Owner: scenario.OwnerDefault, Kind: scenario.CA})
		}
	}
	x.check.effect = NoEffect // it is shown to nobody who is tested
	x.tlsaOf(ctx, scenario.ServiceHost(x.Zone), true, scenario.Certificate{Owner: scenario.OwnerService, Kind: scenario.CA})
	x.check.effect = usual
}

func (x *exam) tlsaOf(ctx context.Context, host string, match bool, own scenario.Certificate, others ...scenario.Certificate) {
	owner := "_25._tcp." + host
	if x.Own == nil {
		x.cannot(host, "neither our name server nor a resolver can be asked here")
		return
	}
	a, err := x.Own.Lookup(ctx, owner, dns.TypeTLSA)
	if err != nil {
		x.cannot(host, plain(err))
		return
	}
	var records []*dns.TLSA
	for _, rr := range a.RRs {
		if r, ok := rr.(*dns.TLSA); ok {
			records = append(records, r)
		}
	}
	if demand, _ := tlspolicy.Require(records); demand != tlspolicy.Authenticate {
		x.wrong(host, fmt.Sprintf("%s has no usable TLSA record (%d in all)", owner, len(records)), "")
		return
	}
	compared := 0
	for i, id := range append([]scenario.Certificate{own}, others...) {
		for _, algorithm := range algorithms() {
			s := x.show(ctx, id, algorithm)
			if s.err != nil {
				continue // see certificates
			}
			compared++
			err := tlspolicy.VerifyDANE(records, []string{host}, s.chain, x.Now())
			switch must := match && i == 0; {
			case must && err != nil:
				x.wrong(host, algorithm+": "+err.Error(), "")
				return
			case !must && err == nil:
				x.wrong(host, algorithm+": the certificate "+faceName(x.Zone, id)+" matches the TLSA records, but must not", "")
				return
			}
		}
	}
	switch {
	case compared < len(algorithms())*(1+len(others)):
		x.cannot(host, "no certificate to compare (see "+checkCertificate+")")
	case match:
		x.ok(host, "both certificates match the TLSA records")
	default:
		x.ok(host, "neither certificate matches the TLSA records, as it must be")
	}
}

// relay tries to hand over a mail for a domain that cannot exist (RFC 2606 §2),
// up to the recipient.
func (x *exam) relay(ctx context.Context) {
	s, err := x.hello(ctx, scenario.Probe{StartTLS: true, Kind: scenario.SelfSigned})
	if err != nil {
		x.cannot(x.SMTP, unreachable(err))
		return
	}
	defer s.quit()
	if code, message, err := s.cmd(250, "MAIL FROM:<>"); err != nil {
		x.cannot(x.SMTP, fmt.Sprintf("MAIL is answered %d %s", code, clip(message)))
		return
	}
	code, message, _ := s.cmd(550, "RCPT TO:<nobody@relay-test.invalid>")
	switch code / 100 {
	case 5:
		x.ok(x.SMTP, "a recipient elsewhere is refused: %d", code)
	case 2:
		x.wrong(x.SMTP, fmt.Sprintf("a recipient elsewhere is accepted: %d %s", code, message), "")
	default:
		x.cannot(x.SMTP, fmt.Sprintf("a recipient elsewhere is answered %d %s", code, clip(message)))
	}
}
