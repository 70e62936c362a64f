package acme

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/mail"
	"net/url"
	"strings"
	"time"

	"github.com/libdns/libdns"

	"github.com/tlsink/tlsink/scenario"
)

// The directories of Let's Encrypt.
const (
	LetsEncrypt        = "https://acme-v02.api.letsencrypt.org/directory"
	LetsEncryptStaging = "https://acme-staging-v02.api.letsencrypt.org/directory"
)

// MaxNames is how many names a public CA puts into one certificate at most.
const MaxNames = 100

// DefaultTimeout bounds one order, propagation included.
const DefaultTimeout = 10 * time.Minute

// State keeps what must survive a restart; it holds the account key, which is a
// secret. Load returns nil, nil if there is no value. Save returns when the value
// is durable. Safe for concurrent use.
type State interface {
	Load(key string) ([]byte, error)
	Save(ctx context.Context, key string, value []byte) error
}

// Provider publishes TXT records in the zone. Appending must leave other records
// of the same name alone, and deleting must remove exactly the record given.
type Provider interface {
	libdns.RecordAppender
	libdns.RecordDeleter
}

// EAB is an External Account Binding (RFC 8555 §7.3.4): what ties the ACME
// account to one that the operator has with the CA.
type EAB struct {
	KeyID  string
	MACKey string // base64url, or base64
}

// Options are the settings of an Issuer.
type Options struct {
	// Directory is the URL of the CA that issues; default LetsEncrypt.
	Directory string
	// Staging is the URL of a CA at which a set-up is tried first; empty: none.
	// Nothing it issues is ever returned.
	Staging string

	Email       string // contact of the account; optional
	TermsAgreed bool   // must be true: no CA issues without
	EAB         EAB    // of Directory; most CAs need none

	Provider Provider // required
	Zone     string   // required: the zone at Provider that holds all names
	// Setup names the DNS provider, e.g. "rfc2136 192.0.2.53:53". When it or the
	// CA changes, the set-up is tried at Staging again, and back-off is forgotten.
	Setup string
	// Propagated waits until every name server of the zone serves txt at fqdn. It
	// is called for several records at a time. nil: they do at once.
	Propagated func(ctx context.Context, fqdn, txt string) error

	// Settle is how long resolvers remember what is in the zone, and what is not:
	// the longest TTL and negative TTL. An order for a name that the CA has just
	// looked at, for itself or for one below it, waits for that.
	Settle time.Duration

	State State // required

	// Roots are those that the server of the ACME API is verified with; nil:
	// those of the system. Not used with HTTPClient.
	Roots      *x509.CertPool
	HTTPClient *http.Client  // default: one with tight limits
	Timeout    time.Duration // of one order; default DefaultTimeout
	Poll       time.Duration // between looks at an order, where the CA names none; default 1 s

	Now    func() time.Time // default time.Now
	Rand   io.Reader        // jitter; default crypto/rand. Keys never come from it
	Logger *slog.Logger     // default: discard
}

// withDefaults returns a checked copy with every default filled in.
func (o Options) withDefaults() (Options, error) {
	if o.Directory == "" {
		o.Directory = LetsEncrypt
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.HTTPClient == nil {
		o.HTTPClient = newHTTPClient(o.Roots)
	}
	client := *o.HTTPClient
	client.Timeout = cmp.Or(client.Timeout, httpTimeout)
	o.HTTPClient = &client
	o.Zone = scenario.Canonical(o.Zone)
	switch {
	case o.Zone == "":
		return o, errors.New("zone is empty; give the DNS zone of the sink")
	case o.Provider == nil:
		return o, errors.New("no DNS provider for the challenges")
	case o.State == nil:
		return o, errors.New("no state: the account would be lost with every restart")
	case !o.TermsAgreed:
		return o, fmt.Errorf("certificates.acme.agree_terms is false; read the terms of service of the CA (of Let's Encrypt: https://letsencrypt.org/repository/; of others: \"termsOfService\" in %s) and set it to true", o.Directory)
	}
	if err := o.checkDirectories(); err != nil {
		return o, err
	}
	if o.Email != "" {
		if a, err := mail.ParseAddress(o.Email); err != nil || a.Address != o.Email || strings.ContainsAny(o.Email, ",?") {
			return o, fmt.Errorf("certificates.acme.email %q: want one plain address, or nothing", o.Email)
		}
	}
	return o, o.checkEAB()
}

func (o *Options) checkDirectories() error {
	for _, f := range []struct{ name, value string }{
		{"directory", o.Directory},
		{"staging", o.Staging},
	} {
		if f.value == "" {
			continue
		}
		// RFC 8555 §6.1: HTTPS only.
		if u, err := url.Parse(f.value); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return fmt.Errorf("certificates.acme.%s %q: want the https:// URL of an ACME directory, e.g. %s", f.name, f.value, LetsEncrypt)
		}
	}
	if o.Directory == o.Staging {
		return fmt.Errorf("certificates.acme.staging %q is also the directory; give another one, or \"\" to do without", o.Staging)
	}
	if u, err := url.Parse(o.Directory); err == nil && strings.HasPrefix(u.Hostname(), "acme-staging") {
		return fmt.Errorf("certificates.acme.directory %q is a staging CA: no sender trusts its certificates, so that every verdict would be wrong; set it as certificates.acme.staging", o.Directory)
	}
	return nil
}

// checkEAB brings the MAC key into the form that the library wants.
func (o *Options) checkEAB() error {
	if (o.EAB.KeyID == "") != (o.EAB.MACKey == "") {
		return errors.New("certificates.acme.eab_key_id and certificates.acme.eab_key_file (or eab_key_env) belong together; give both or none")
	}
	key := strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(strings.TrimSpace(o.EAB.MACKey))
	if b, err := base64.RawURLEncoding.DecodeString(key); err != nil || (key != "" && len(b) < 16) {
		return errors.New("certificates.acme.eab_key_file (or eab_key_env): not the base64url key that the CA gave out; copy it again")
	}
	o.EAB.MACKey = key
	return nil
}

// fingerprint changes when a set-up has to be tried anew.
func (o *Options) fingerprint() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{o.Directory, o.Staging, o.Zone, o.Setup, o.EAB.KeyID}, "\n")))
	return hex.EncodeToString(sum[:8])
}
