package probe

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/tlsink/tlsink/inbound/check"
)

// look is one probe.
type look struct {
	p            *Prober
	addr         netip.AddrPort
	host, domain string
	names        []string

	out   Result
	known map[uint16]Version // by version on the wire
	// down says why no further connection is made: a server that stops answering
	// is left alone, and what was not tested yet stays untested.
	down    string
	partial string // why Chain is not all that was sent
}

// Probe looks at the server at addr. host is what MX records call it: it is sent
// as SNI, and the certificate has to be for it. names are further names that it
// is known by; a certificate for one of them gets a reason of its own. A
// transaction to postmaster@domain is begun and reset, to see whether it takes
// mail without TLS; nothing is ever sent. It does not fail: what could not be
// tested is untested, as is the rest once ctx ends.
func (p *Prober) Probe(ctx context.Context, addr netip.AddrPort, host string, names []string, domain string) Result {
	ctx, cancel := context.WithTimeoutCause(ctx, p.opts.Timeouts.Total, errTotal)
	defer cancel()
	x := p.look(addr, host, names)
	x.domain = domain
	if x.dialogue(ctx) {
		x.versions(ctx)
		x.out.ForwardSecrecy = x.forwardSecrecy(ctx)
		x.conclude()
	}
	x.judge()
	return x.out
}

// Certificate looks only at the certificate that the server at addr shows when
// it is asked for host; names are as for Probe. It takes one connection, or two
// if crypto/tls can't complete a handshake with it. Of the Result, Mandatory,
// Versions and ForwardSecrecy are not set.
func (p *Prober) Certificate(ctx context.Context, addr netip.AddrPort, host string, names []string) Result {
	ctx, cancel := context.WithTimeoutCause(ctx, p.opts.Timeouts.Total, errTotal)
	defer cancel()
	x := p.look(addr, host, names)
	if x.dialogue(ctx) {
		if len(x.known) == 0 && len(x.out.Chain) == 0 {
			_ = x.try(ctx, wireTLS12) // known tells
		}
		x.out.StartTLS = check.Skip("no handshake could be completed")
		for _, v := range x.known {
			if v.Accepted.OK() {
				x.out.StartTLS = check.Pass()
			}
		}
	}
	x.out.Mandatory, x.out.ForwardSecrecy = check.Result{}, check.Result{}
	x.judge()
	return x.out
}

func (p *Prober) look(addr netip.AddrPort, host string, names []string) *look {
	x := &look{p: p, addr: addr, host: strings.TrimSuffix(host, "."), names: names, known: map[uint16]Version{}}
	if !isHostName(x.host) {
		x.host = "" // no SNI, and nothing to compare the certificate with
	}
	return x
}

// connect opens a further connection and says hello. The dialogue may be there
// even if an error is, with what was said before it.
func (x *look) connect(ctx context.Context) (*dialog, func(), error) {
	if x.out.Connections > 0 {
		if err := x.p.pause(ctx); err != nil {
			return nil, nil, err
		}
	}
	if x.out.Connections == maxConnections {
		return nil, nil, errors.New("enough connections were made")
	}
	x.out.Connections++
	d, err := x.p.dial(ctx, x.addr.String())
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = d.conn.Close() })
	hangUp := func() {
		stop()
		_ = d.conn.Close()
	}
	return d, hangUp, d.open(x.p.opts.HELO)
}

// why says in plain words what err was.
func why(ctx context.Context, err error) string {
	if reply, ok := errors.AsType[errReply](err); ok {
		return reply.Error()
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
		if errors.Is(err, context.Canceled) {
			return "the test was broken off"
		}
	}
	if at, ok := errors.AsType[errAt](err); ok {
		return netReason(at.err) + " (" + at.step + ")"
	}
	return netReason(err)
}

// dialogue makes the first connection, and a second one if STARTTLS did not
// work on the first one after the look at plaintext. It reports whether
// STARTTLS was answered, so that there is more to see.
func (x *look) dialogue(ctx context.Context) bool {
	d, hangUp, err := x.connect(ctx)
	if hangUp != nil {
		defer hangUp()
	}
	if d != nil {
		x.out.Greeting = clean(d.greeting.text())
	}
	switch {
	case d == nil || !d.greeting.positive():
		x.out.Reached = check.Skip(why(ctx, err))
		x.untested("it could not be reached: " + x.out.Reached.Why)
		return false
	case err != nil:
		x.out.Reached = check.Pass()
		if _, ok := errors.AsType[errReply](err); ok {
			_ = d.quit()
		}
		x.untested(why(ctx, err))
		return false
	}
	x.out.Reached = check.Pass()
	if !d.esmtp && !d.refused.unknown() {
		x.untested(errReply{"EHLO", d.refused}.Error())
		_ = d.quit()
		return false
	}
	if !d.offers("STARTTLS") {
		x.out.StartTLS = notOffered(d)
		x.out.Mandatory = check.Result{Outcome: x.out.StartTLS.Outcome, Why: "it does not offer STARTTLS"}
		_ = d.quit()
		return false
	}
	var usable bool
	x.out.Mandatory, usable = x.mandatory(ctx, d)
	if usable {
		injected, err := d.startTLS()
		if err == nil {
			x.secured(ctx, d, injected)
			return true
		}
		if _, ok := errors.AsType[errReply](err); ok {
			_ = d.quit()
		}
	}
	hangUp()
	return x.again(ctx)
}

// again tries STARTTLS on a fresh connection: some servers refuse it, or hang
// up, after a transaction in plaintext.
func (x *look) again(ctx context.Context) bool {
	d, hangUp, err := x.startTLS(ctx)
	if hangUp != nil {
		defer hangUp()
	}
	if err == nil {
		x.secured(ctx, d.dialog, d.injected)
		return true
	}
	reply, refused := errors.AsType[errReply](err)
	if refused && reply.to == "STARTTLS" && reply.unknown() {
		x.out.StartTLS = check.Fail(reply.Error())
		return false
	}
	x.untested(why(ctx, err))
	return false
}

// ready is a connection on which a handshake can begin.
type ready struct {
	*dialog
	injected bool
}

// startTLS makes a further connection, up to a handshake. If that fails, no
// more connections are made.
func (x *look) startTLS(ctx context.Context) (ready, func(), error) {
	d, hangUp, err := x.connect(ctx)
	var injected bool
	if err == nil {
		if !d.offers("STARTTLS") {
			err = errors.New("STARTTLS is offered only at times")
		} else {
			injected, err = d.startTLS()
		}
	}
	if err == nil {
		return ready{d, injected}, hangUp, nil
	}
	x.down = why(ctx, err)
	if ctx.Err() == nil {
		x.down = "it stopped answering: " + x.down
	}
	if hangUp != nil {
		if _, ok := errors.AsType[errReply](err); ok {
			_ = d.quit()
		}
		hangUp()
	}
	return ready{}, nil, err
}

// notOffered says why there is no STARTTLS. A firewall that overwrites the offer
// may be at that end, or at ours.
func notOffered(d *dialog) check.Result {
	if !d.esmtp {
		return check.Fail("it does not take EHLO (" + d.refused.String() + "), so there is no STARTTLS")
	}
	for _, k := range d.keywords {
		if len(k) >= 8 && strings.Trim(k, "XA") == "" {
			return check.Skip("a firewall, there or here, seems to have overwritten the offer of STARTTLS (" + clean(k) + ")")
		}
	}
	return check.Fail("it does not offer STARTTLS")
}

// secured begins the handshake after STARTTLS.
func (x *look) secured(ctx context.Context, d *dialog, injected bool) {
	if injected {
		// RFC 3207 §6: a client that goes on with it can be injected into.
		x.note("It sends plaintext behind its reply to STARTTLS; senders must ignore it.")
	}
	x.handshake(ctx, d)
}

func (x *look) note(text string) {
	if !slices.Contains(x.out.Notes, text) {
		x.out.Notes = append(x.out.Notes, text)
	}
}

// untested marks what has no answer yet.
func (x *look) untested(reason string) {
	for _, r := range []*check.Result{&x.out.StartTLS, &x.out.Mandatory, &x.out.ForwardSecrecy} {
		if r.Outcome == "" {
			*r = check.Skip(reason)
		}
	}
}

// conclude sums up what the versions say about STARTTLS: a server with which no
// handshake is possible does not have it, whatever it offers.
func (x *look) conclude() {
	none := check.Fail("it answers 220, but takes no version of TLS: ")
	for _, v := range x.out.Versions {
		switch {
		case v.Accepted.OK():
			x.out.StartTLS = check.Pass()
			return
		case v.Accepted.Outcome == check.Untested && none.Failed():
			none = check.Skip("it answers 220, but no handshake could be completed: " + v.Accepted.Why)
		}
	}
	if none.Failed() && len(x.out.Versions) > 0 {
		none.Why += x.out.Versions[0].Accepted.Why
	}
	x.out.StartTLS = none
}

const maxRSA = 8192 // bits, as in crypto/tls

// keep takes over the certificates that a server sent, up to the first one that
// is malformed.
func (x *look) keep(raw [][]byte) {
	if len(x.out.Chain) > 0 || len(raw) == 0 {
		return
	}
	x.partial = ""
	for i, der := range raw {
		if i == maxCerts {
			x.partial = fmt.Sprintf("It sends more than %d certificates; the rest was not looked at.", maxCerts)
			return
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			x.partial = "A certificate that it sends is malformed: " + clean(err.Error()) + "."
			return
		}
		// Verifying with a key of half a million bits takes minutes.
		if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSA {
			x.partial = fmt.Sprintf("A certificate that it sends has a key of more than %d bits.", maxRSA)
			return
		}
		x.out.Chain = append(x.out.Chain, cert)
	}
}

// judge says what is to be said of the certificates.
func (x *look) judge() {
	if x.partial != "" {
		x.note(x.partial)
	}
	if len(x.out.Chain) == 0 {
		if x.out.StartTLS.OK() && x.partial == "" {
			x.note("Its certificate could not be seen.")
		}
		return
	}
	c := judge(x.out.Chain, reference{host: x.host, others: x.names, roots: x.p.opts.Roots, now: x.p.opts.Now()})
	if x.partial != "" && c.Trusted.Failed() {
		c.Trusted = check.Skip("not all certificates that it sends could be read; of the others: " + c.Trusted.Why)
	}
	x.out.Certificate = c
}

// limited is a connection of which only so many octets are read.
type limited struct {
	net.Conn
	left int
}

var errLimit = errors.New("it sends more than is read")

func (l *limited) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLimit
	}
	n, err := l.Conn.Read(b[:min(len(b), l.left)])
	l.left -= n
	return n, err
}
