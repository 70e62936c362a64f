package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"

	lib "github.com/mholt/acmez/v3/acme"
)

// accountState is our account at one CA.
type accountState struct {
	Key     []byte `json:"key,omitempty"` // PKCS #8
	URL     string `json:"url,omitempty"`
	Contact string `json:"contact,omitempty"`
	// Refused is what the CA said when it accepted the account no longer.
	Refused string `json:"refused,omitempty"`
}

func (s *accountState) signer() (crypto.Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(s.Key)
	if err != nil {
		return nil, fmt.Errorf("stored account key: %w; restore a backup", err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("stored account key: %T cannot sign; restore a backup", parsed)
	}
	return key, nil
}

// account returns our account, and registers it if there is none yet or the CA
// does not know it any more.
func (s *session) account(ctx context.Context, unknown bool) (lib.Account, error) {
	a := s.authority
	if err := a.registering.Acquire(ctx, 1); err != nil {
		return lib.Account{}, err
	}
	defer a.registering.Release(1)
	state, err := a.accountState(ctx)
	if err != nil {
		return lib.Account{}, err
	}
	if state.Refused != "" {
		return lib.Account{}, a.accountRefused(state.URL, state.Refused)
	}
	key, err := state.signer()
	if err != nil {
		return lib.Account{}, err
	}
	account := lib.Account{PrivateKey: key, Location: state.URL, Status: lib.StatusValid}
	if state.URL == "" || unknown {
		return s.register(ctx, key)
	}
	if contact := a.opts.Email; contact != "" && contact != state.Contact {
		s.updateContact(ctx, account)
	}
	return account, nil
}

// accountState loads the account. A key is stored before it is used, so that
// no crash makes us lose an account.
func (a *authority) accountState(ctx context.Context) (accountState, error) {
	state, err := load[accountState](a.docs, a.accountDoc())
	if err != nil || state.Key != nil {
		return state, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return state, fmt.Errorf("make account key: %w", err)
	}
	if state.Key, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return state, fmt.Errorf("make account key: %w", err)
	}
	return state, update(ctx, a.docs, a.accountDoc(), func(s *accountState) { *s = state })
}

// register creates the account; with a key that the CA knows it finds it again
// (RFC 8555 §7.3.1).
func (s *session) register(ctx context.Context, key crypto.Signer) (lib.Account, error) {
	a := s.authority
	request := lib.Account{PrivateKey: key, TermsOfServiceAgreed: a.opts.TermsAgreed}
	if a.opts.Email != "" {
		request.Contact = []string{"mailto:" + a.opts.Email}
	}
	switch {
	case a.eab.KeyID != "":
		if err := request.SetExternalAccountBinding(ctx, s.client, lib.EAB{KeyID: a.eab.KeyID, MACKey: a.eab.MACKey}); err != nil {
			return lib.Account{}, &failure{kind: kindAccount, err: err, text: "external account binding: " + clean(err.Error())}
		}
	case s.directory.Meta != nil && s.directory.Meta.ExternalAccountRequired:
		return lib.Account{}, &failure{kind: kindAccount, text: a.host + ": " + needEAB}
	}
	account, err := s.client.NewAccount(ctx, request)
	if problem, ok := problemOf(err); ok && problem.Type == lib.ProblemTypeUnauthorized {
		return lib.Account{}, a.refuse(ctx, "", problem.Detail)
	}
	if err != nil {
		return lib.Account{}, s.explain(atAccount, err)
	}
	if account.Status != lib.StatusValid && account.Status != "" {
		return lib.Account{}, a.refuse(ctx, account.Location, "its status is "+account.Status)
	}
	if account.Location == "" {
		return lib.Account{}, s.explain(atAccount, errors.New("the CA did not tell the URL of the account"))
	}
	err = note(ctx, a.docs, a.accountDoc(), func(st *accountState) {
		st.URL, st.Contact, st.Refused = account.Location, a.opts.Email, ""
	})
	if err != nil {
		a.opts.Logger.WarnContext(ctx, "ACME account registered but not saved", "account", account.Location, "err", err)
	}
	a.opts.Logger.InfoContext(ctx, "ACME account registered", "ca", a.host, "account", account.Location)
	account.PrivateKey = key
	return account, nil
}

// updateContact tells the CA about another address. It is not worth a failure.
func (s *session) updateContact(ctx context.Context, account lib.Account) {
	a := s.authority
	account.Status, account.Contact = "", []string{"mailto:" + a.opts.Email}
	level := slog.LevelInfo
	_, err := s.client.UpdateAccount(ctx, account)
	if err == nil {
		err = note(ctx, a.docs, a.accountDoc(), func(st *accountState) { st.Contact = a.opts.Email })
	}
	if err != nil {
		level = slog.LevelWarn
	}
	a.opts.Logger.Log(ctx, level, "ACME account contact updated", "ca", a.host, "err", err)
}

// unauthorized finds out what is wrong when the CA refuses an order that way:
// the account, or something else.
func (s *session) unauthorized(ctx context.Context, account lib.Account, refusal error) error {
	found, err := s.client.GetAccount(ctx, lib.Account{PrivateKey: account.PrivateKey})
	problem, ok := problemOf(err)
	switch {
	case err == nil && found.Status != lib.StatusValid && found.Status != "":
		return s.authority.refuse(ctx, account.Location, "its status is "+found.Status)
	case ok && problem.Type == lib.ProblemTypeUnauthorized:
		return s.authority.refuse(ctx, account.Location, problem.Detail)
	}
	return s.explain(atOrder, refusal)
}

// refuse remembers that the CA accepts the account no longer. It was taken from
// us on purpose, so no other one is registered before the operator wants it.
func (a *authority) refuse(ctx context.Context, url, why string) error {
	why = clean(why)
	err := note(ctx, a.docs, a.accountDoc(), func(s *accountState) { s.Refused = why })
	return errors.Join(a.accountRefused(url, why), err)
}

func (a *authority) accountRefused(url, why string) error {
	if url == "" {
		url = "of our key"
	}
	return &failure{kind: kindAccount, text: fmt.Sprintf(
		"%s: account %s is no longer accepted: %s; if that is not a mistake of the CA, reload the configuration (SIGHUP) to register a new account", a.host, clean(url), why)}
}

// forgetRefused makes the next order register a new account, if the CA had
// refused the old one.
func (a *authority) forgetRefused(ctx context.Context) error {
	return update(ctx, a.docs, a.accountDoc(), func(s *accountState) {
		if s.Refused != "" {
			*s = accountState{}
		}
	})
}
