package deliver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tlsink/tlsink/tlspolicy"
)

// attempt is the state of one Attempt.
type attempt struct {
	s     *Sender
	env   Envelope
	route route
	sts   stsPolicy

	used     map[string]bool // addresses that were connected to
	sessions int             // that got as far as MAIL
	tries    []Try
	refused  []RecipientReply
	over     bool
}

// host tries the addresses of one MX host until one takes a decision.
func (a *attempt) host(ctx context.Context, host string) {
	l, err := a.s.locate(ctx, host)
	if err != nil {
		a.tries = append(a.tries, Try{MX: host, Outcome: Skipped, Err: err})
		return
	}
	d, err := a.s.demands(ctx, a.env, a.route, a.sts, host, l)
	if err != nil {
		byDANE := errors.Is(err, errTLSA) || errors.Is(err, errNoTLSA)
		a.tries = append(a.tries, Try{MX: host, DANE: byDANE, STS: d.sts, Outcome: Skipped, Err: err})
		return
	}
	for _, address := range l.addresses {
		if a.s.policy.CollapseSameAddress && a.used[address] {
			continue
		}
		a.used[address] = true
		a.address(ctx, address, d)
		if a.over || ctx.Err() != nil {
			return
		}
	}
}

// address tries one address, and once more with lower demands if the policy
// falls back.
func (a *attempt) address(ctx context.Context, address string, d demands) {
	t := a.connect(ctx, address, d)
	p := a.s.policy
	switch {
	case t.Outcome == Refused && d.ca == CAPlaintextAfterFailure,
		t.Outcome == FailedTLS && !d.mustTLS && p.PlaintextAfterHandshakeFailure:
		d.useTLS, d.mustTLS, d.ca = false, false, CAIgnored
		a.connect(ctx, address, d)
	case t.Outcome == Refused && d.ca == CAUnverifiedAfterFailure:
		d.ca = CAIgnored
		a.connect(ctx, address, d)
	}
}

// connect makes one connection and records how it went.
func (a *attempt) connect(ctx context.Context, address string, d demands) Try {
	x := &session{s: a.s, d: d, env: a.env, try: Try{MX: d.host, Address: address, DANE: d.dane != tlspolicy.NoDANE, STS: d.sts}}
	x.run(ctx)
	t := x.try
	a.tries = append(a.tries, t)
	if t.Mail {
		a.sessions++
	}
	switch {
	case t.Outcome == Delivered:
		a.over, a.refused = true, x.refused
	case t.Outcome == Rejected && t.Mail && t.Code >= 500:
		a.over = true // RFC 5321 §4.2.1: a permanent reply to the transaction is final
	case t.Mail && a.s.policy.MaxMX > 0 && a.sessions >= a.s.policy.MaxMX:
		a.over = true
	}
	return t
}

// text is the reply without its code.
func (t Try) text() string {
	return strings.TrimPrefix(t.Reply, strconv.Itoa(t.Code)+" ")
}

// result concludes from the tries.
func (a *attempt) result(ctx context.Context) Result {
	r := a.conclude(ctx)
	r.Tries, r.Refused = a.tries, a.refused
	return r
}

func (a *attempt) conclude(ctx context.Context) Result {
	if len(a.tries) == 0 {
		return temporary(451, "4.4.0 not tried: %v", context.Cause(ctx))
	}
	missing, unsupported := 0, 0
	for _, t := range a.tries {
		switch t.Outcome {
		case MissingTLS:
			missing++
		case NoExtension:
			unsupported++
		}
	}
	last := a.tries[len(a.tries)-1]
	switch {
	case last.Outcome == Delivered:
		return Result{Delivered: true, Code: last.Code, Text: last.text()}
	case last.Outcome == Rejected && last.Mail:
		return Result{Temporary: last.Code < 500, Code: last.Code, Text: last.text()}
	case unsupported == len(a.tries):
		return permanent(550, "5.7.30 REQUIRETLS is needed, and no host supports it") // RFC 8689 §4.2.1
	case missing == len(a.tries) && a.s.policy.OnMissingTLS == BounceMissingTLS:
		return permanent(550, "5.7.10 TLS is required, but was not offered")
	}
	switch last.Outcome {
	case MissingTLS:
		return temporary(450, "4.7.4 TLS is required, but was not offered by host %s", last.MX)
	case NoExtension:
		return temporary(450, "4.7.30 REQUIRETLS is needed, and host %s does not support it", last.MX)
	case Refused:
		return temporary(450, "4.7.5 server certificate of %s not trusted: %v", last.MX, last.Err)
	case FailedTLS:
		return temporary(450, "4.7.5 cannot start TLS with %s: %v", last.MX, last.Err)
	case Skipped:
		if !last.DANE && !last.STS {
			return temporary(451, "4.4.3 host %s not used: %v", last.MX, last.Err)
		}
		return temporary(450, "4.7.5 host %s not used: %v", last.MX, last.Err)
	case Rejected:
		return temporary(450, "4.4.0 host %s refused to talk: %s", last.MX, last.Reply)
	}
	return temporary(451, "4.4.2 host %s: %v", last.MX, last.Err)
}

// verify judges the certificate that a host presented.
func (d demands) verify(s *Sender, cs tls.ConnectionState) (Verification, error) {
	now, chain := s.opts.Now(), cs.PeerCertificates
	ca := func() error {
		// RFC 8461 §4.2, and the own rule: the name is that of the MX host,
		// whether or not it was sent as SNI.
		return tlspolicy.VerifyPKIX([]string{d.host}, chain, s.opts.Roots, now)
	}
	sts := func() error {
		if !d.listed {
			return errUnlisted
		}
		return ca()
	}
	dane := func() (Verification, error) {
		if d.dane == tlspolicy.EncryptOnly {
			return Unverified, nil
		}
		return VerifiedDANE, tlspolicy.VerifyDANE(d.records, d.names, chain, now)
	}
	switch {
	case d.dane != tlspolicy.NoDANE && d.sts && d.both == EitherSuffices:
		how, daneErr := dane()
		if daneErr == nil {
			return how, nil
		}
		if err := sts(); err != nil {
			return Unverified, errors.Join(daneErr, err)
		}
		return VerifiedCA, nil
	case d.dane != tlspolicy.NoDANE && d.sts:
		_, err := dane()
		return VerifiedDANEAndCA, errors.Join(err, sts())
	case d.dane != tlspolicy.NoDANE:
		return dane()
	case d.sts:
		return VerifiedCA, sts()
	case d.ca != CAIgnored:
		return VerifiedCA, ca()
	}
	return Unverified, nil
}

// refusal marks an error of ours among those of a handshake.
type refusal struct{ err error }

func (r refusal) Error() string { return fmt.Sprintf("certificate refused: %v", r.err) }
func (r refusal) Unwrap() error { return r.err }
