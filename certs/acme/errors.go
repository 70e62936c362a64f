package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	lib "github.com/mholt/acmez/v3/acme"
)

// kind says what follows from a failure.
type kind int

const (
	kindLocal      kind = iota // our own doing: back-off of this certificate
	kindRefused                // the CA won't issue this certificate: the same
	kindValidation             // the same, counts, and staging comes first again
	kindOutage                 // CA out of reach: back-off of all certificates
	kindAccount                // account not usable: the same, for longer
	kindAsked                  // the CA wants no requests for a time
	kindAskedNames             // the CA wants no orders of these names for a time
)

// failure is why there is no certificate, in words for the operator.
type failure struct {
	kind  kind
	text  string
	err   error
	until time.Time // kindAsked, kindAskedNames
	names []string  // kindValidation: those that failed
	retry time.Time // when Issue makes sense again; zero while not known
	all   bool      // for every certificate
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

// RetryAt and HoldAll are those of [Wait].
func (f *failure) RetryAt() time.Time { return f.retry }
func (f *failure) HoldAll() bool      { return f.all }

// stage is how far an order had come.
type stage string

const (
	atDirectory stage = "read directory"
	atAccount   stage = "account"
	atOrder     stage = "new order"
	atChallenge stage = "validation"
	atFinalize  stage = "finalize order"
	atDownload  stage = "download certificate"
)

const needEAB = "this CA wants an external account binding; set certificates.acme.eab_key_id and eab_key_file (or eab_key_env) to what it gave out"

// problemOf returns the problem document in err.
func problemOf(err error) (lib.Problem, bool) {
	if p, ok := errors.AsType[lib.Problem](err); ok {
		return p, true
	}
	if p, ok := errors.AsType[*lib.Problem](err); ok && p != nil {
		return *p, true
	}
	return lib.Problem{}, false
}

// explain turns an error of the library into a failure.
func (s *session) explain(at stage, err error) error {
	if _, done := errors.AsType[*failure](err); done {
		return err
	}
	f := &failure{err: err}
	problem, isProblem := problemOf(err)
	a := s.guard.stopped()
	switch {
	case a != nil:
		f.kind, f.until, f.text = askedKind(problem), a.until, a.Error()
		if isProblem {
			f.text = describe(problem)
		}
	case isProblem:
		s.explainProblem(f, at, problem)
	default:
		f.kind = kindOutage
		f.text = s.explainTransport(at, err)
	}
	f.text = fmt.Sprintf("%s: %s: %s", s.authority.host, at, f.text)
	return f
}

// askedKind tells the rate limits of some names from those of the account. The
// CA says so in words only.
func askedKind(p lib.Problem) kind {
	for _, words := range []string{"exact set of", "failed authorizations"} {
		if strings.Contains(p.Detail, words) {
			return kindAskedNames
		}
	}
	return kindAsked
}

// explainProblem fills in kind and text. RFC 8555 §6.7: the types.
func (s *session) explainProblem(f *failure, at stage, p lib.Problem) {
	detail := describe(p)
	fix := func(k kind, advice string) { f.kind, f.text = k, detail+"; "+advice }
	switch p.Type {
	case lib.ProblemTypeRateLimited:
		f.kind, f.text = askedKind(p), detail
		f.until = s.guard.now().Add(defaultAsk)
	case lib.ProblemTypeUserActionRequired:
		link := s.guard.termsLink()
		if p.Instance != "" {
			link = p.Instance
		}
		fix(kindAccount, fmt.Sprintf("open %s, agree, then reload the configuration (SIGHUP)", clean(link)))
	case lib.ProblemTypeExternalAccountRequired:
		fix(kindAccount, needEAB)
	case lib.ProblemTypeInvalidContact, lib.ProblemTypeUnsupportedContact:
		fix(kindAccount, fmt.Sprintf("correct certificates.acme.email (%q), or leave it empty", s.authority.opts.Email))
	case lib.ProblemTypeAccountDoesNotExist:
		fix(kindAccount, "the CA keeps forgetting the account; tell its operator")
	case lib.ProblemTypeRejectedIdentifier, lib.ProblemTypeUnsupportedIdentifier:
		fix(kindRefused, "this CA does not issue for that name; only a zone below a public domain works, and of some domains the CA must be asked")
	case lib.ProblemTypeCAA:
		fix(kindValidation, fmt.Sprintf("a CAA record at that name or above it forbids this CA; add `CAA 0 issue %q` there", clean(s.caaName())))
	case lib.ProblemTypeDNS:
		fix(kindValidation, "the CA can't look up the TXT record: is the zone delegated to this server, are ports 53 UDP and TCP open, and does the DS record at the parent match? `tlsink doctor` tells")
	case lib.ProblemTypeUnauthorized, lib.ProblemTypeIncorrectResponse:
		if at == atChallenge {
			fix(kindValidation, "the CA did not see the TXT record that is published: do all name servers of the zone serve the same? `tlsink doctor` tells")
			return
		}
		fix(kindRefused, "ask the CA why it refuses this account's order")
	case lib.ProblemTypeConnection, lib.ProblemTypeTLS:
		fix(kindValidation, "the CA can't reach the name servers of the zone; `tlsink doctor` tells")
	case lib.ProblemTypeServerInternal, lib.ProblemTypeBadNonce:
		f.kind, f.text = kindOutage, detail+"; this is the CA's fault, it is tried again"
	default:
		f.kind, f.text = kindRefused, detail
		if p.Status >= 500 {
			f.kind = kindOutage
		} else if at == atChallenge {
			f.kind = kindValidation
		}
	}
}

// describe says what a problem document says, and about which names.
func describe(p lib.Problem) string {
	name := strings.TrimPrefix(p.Type, lib.ProblemTypeNamespace)
	if name == "" {
		name = "no reason given"
	}
	parts := []string{name}
	if p.Detail != "" {
		parts[0] += ": " + p.Detail
	}
	for _, sub := range p.Subproblems[:min(3, len(p.Subproblems))] {
		parts = append(parts, fmt.Sprintf("%s (%s): %s", sub.Identifier.Value, strings.TrimPrefix(sub.Type, lib.ProblemTypeNamespace), sub.Detail))
	}
	return clean(strings.Join(parts, ", "))
}

// caaName is what a CAA record must name for this CA (RFC 8555 §7.1.1).
func (s *session) caaName() string {
	if m := s.directory.Meta; m != nil && len(m.CAAIdentities) > 0 {
		return m.CAAIdentities[0]
	}
	return "the name in the CA's documentation"
}

// explainTransport says why there was no answer, or none that can be understood.
func (s *session) explainTransport(at stage, err error) string {
	var (
		invalid    x509.CertificateInvalidError
		unknown    x509.UnknownAuthorityError
		hostname   x509.HostnameError
		noName     *net.DNSError
		elsewhere  *redirected
		networking *url.Error
	)
	directory := s.authority.directory
	cause := strings.TrimPrefix(err.Error(), "provisioning client: ")
	fix := func(cause, format string, args ...any) string {
		return clean(cause) + "; " + fmt.Sprintf(format, args...)
	}
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fix(invalid.Error(), "the clock of this host says %s: correct it if that is wrong, else the CA let its certificate expire",
			s.authority.opts.Now().UTC().Format(time.RFC3339))
	case errors.As(err, &unknown):
		return fix(unknown.Error(), "if %s is a CA of your own, put its root into certificates.acme.server_roots; else something on the way intercepts TLS", directory)
	case errors.As(err, &invalid):
		return fix(invalid.Error(), "check certificates.acme.server_roots")
	case errors.As(err, &hostname):
		return fix(hostname.Error(), "check the host in the directory URL %s", directory)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fix("the server does not speak TLS", "check host and port of the directory URL %s", directory)
	case errors.As(err, &noName):
		return fix(noName.Error(), "check the host in the directory URL %s, and the resolver of this host (/etc/resolv.conf)", directory)
	case errors.As(err, &elsewhere):
		return fix(elsewhere.Error(), "put the URL that is meant into certificates.acme")
	case errors.Is(err, errPlaintext), errors.Is(err, errEndless), errors.Is(err, errTooLarge):
		return fix(cause, "this is no CA to trust, check the directory URL %s", directory)
	case errors.Is(err, context.DeadlineExceeded):
		return fix(cause, "the CA did not answer or finish within %v, or a firewall keeps this host from reaching it", s.authority.opts.Timeout)
	case errors.As(err, &networking):
		return fix(cause, "the CA is down, or a firewall keeps this host from reaching it")
	case at == atDirectory:
		return fix(cause, "%s is no ACME directory, check the URL (Let's Encrypt: %s)", directory, LetsEncrypt)
	}
	return clean(cause)
}

// maxText is the longest text of others in an error, in octets: what to do must
// be seen behind it.
const maxText = 500

// clean makes text from the network fit for a log: printable and short.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, text)
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
