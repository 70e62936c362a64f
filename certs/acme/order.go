package acme

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	lib "github.com/mholt/acmez/v3/acme"
	"golang.org/x/sync/semaphore"
)

const (
	userAgent   = "tlsink (+https://github.com/tlsink/tlsink)"
	pollTimeout = 5 * time.Minute // for one validation, or for the signature
)

// authority is one CA: the real one, or the staging one.
type authority struct {
	opts        *Options
	docs        *documents
	dns         *publisher
	directory   string
	host        string
	eab         EAB
	registering *semaphore.Weighted
}

func newAuthority(o *Options, d *documents, p *publisher, directory string, eab EAB) *authority {
	host := directory
	if u, err := url.Parse(directory); err == nil {
		host = u.Host
	}
	return &authority{opts: o, docs: d, dns: p, directory: directory, host: host, eab: eab, registering: semaphore.NewWeighted(1)}
}

func (a *authority) stateDoc() string   { return prefix(a.directory) + "ca" }
func (a *authority) accountDoc() string { return prefix(a.directory) + "account" }

func (a *authority) state() (caState, error) { return load[caState](a.docs, a.stateDoc()) }

// session is the dealings with a CA about one order. Its client is not shared,
// so that what the CA asks for in one does not get lost in another.
type session struct {
	authority *authority
	guard     *guard
	client    *lib.Client
	directory lib.Directory
}

// open reads the directory.
func (a *authority) open(ctx context.Context) (*session, error) {
	g := newGuard(a.opts.HTTPClient, a.opts.Now)
	s := &session{authority: a, guard: g, client: &lib.Client{
		Directory:    a.directory,
		HTTPClient:   &http.Client{Transport: g, Timeout: a.opts.HTTPClient.Timeout},
		UserAgent:    userAgent,
		PollInterval: a.opts.Poll,
		PollTimeout:  min(a.opts.Timeout, pollTimeout),
	}}
	var err error
	if s.directory, err = s.client.GetDirectory(ctx); err != nil {
		return nil, s.explain(atDirectory, err)
	}
	return s, nil
}

// product is what an order led to.
type product struct {
	chain  [][]byte // DER, leaf first, no root
	leaf   *x509.Certificate
	issued issued
}

// obtain orders a certificate for names, which are canonical and sorted.
// replaces is the RFC 9773 identifier of a predecessor, or empty.
func (a *authority) obtain(ctx context.Context, names []string, key crypto.Signer, replaces string) (*product, error) {
	s, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	account, err := s.account(ctx, false)
	if err != nil {
		return nil, err
	}
	account, order, err := s.newOrder(ctx, account, names, replaces)
	if err != nil {
		return nil, err
	}
	defer a.dns.looked(names)
	if order.Status == lib.StatusPending {
		order, err = s.authorize(ctx, account, order)
	} else {
		order, err = s.ready(ctx, account, order)
	}
	if err != nil {
		return nil, err
	}
	if order, err = s.finalize(ctx, account, order, names, key); err != nil {
		return nil, err
	}
	chains, err := s.client.GetCertificateChain(ctx, account, order.Certificate)
	if err != nil {
		return nil, s.explain(atDownload, err)
	}
	p, err := a.check(chains[0].ChainPEM, names, key.Public())
	if err != nil {
		return nil, &failure{kind: kindRefused, err: err, text: fmt.Sprintf("%s: the CA issued something else than was ordered: %v", a.host, err)}
	}
	if info := chains[0].RenewalInfo; info != nil && info.HasWindow() {
		p.issued.Window = a.usable(info, p.leaf)
	}
	return p, nil
}

// newOrder places an order. It registers again where the CA has lost the
// account, which is safe: the key is the same. And it orders without a
// predecessor where the CA does not want that one.
func (s *session) newOrder(ctx context.Context, account lib.Account, names []string, replaces string) (lib.Account, lib.Order, error) {
	request := lib.Order{Identifiers: make([]lib.Identifier, 0, len(names))}
	for _, name := range names {
		request.Identifiers = append(request.Identifiers, lib.Identifier{Type: "dns", Value: name})
	}
	if s.directory.RenewalInfo != "" {
		request.Replaces = replaces
	}
	registered := false
	for {
		order, err := s.client.NewOrder(ctx, account, request)
		problem, isProblem := problemOf(err)
		switch {
		case err == nil:
			return account, order, s.checkOrder(order, names)
		case isProblem && problem.Type == lib.ProblemTypeAccountDoesNotExist && !registered:
			registered = true
			s.authority.opts.Logger.WarnContext(ctx, "the CA does not know the ACME account any more, registering again", "ca", s.authority.host, "account", account.Location)
			if account, err = s.account(ctx, true); err != nil {
				return account, order, err
			}
		case isProblem && request.Replaces != "" && doubtsPredecessor(problem) && s.guard.stopped() == nil:
			s.authority.opts.Logger.InfoContext(ctx, "ordering without naming the certificate that is replaced", "ca", s.authority.host, "detail", clean(problem.Detail))
			request.Replaces = ""
		case isProblem && problem.Type == lib.ProblemTypeUnauthorized:
			return account, order, s.unauthorized(ctx, account, err)
		default:
			return account, order, s.explain(atOrder, err)
		}
	}
}

// doubtsPredecessor reports whether a refusal may be about "replaces". RFC 9773
// §5 has a type for one reason only; Boulder also says malformed, unauthorized
// or not found, Pebble serverInternal.
func doubtsPredecessor(p lib.Problem) bool {
	switch p.Type {
	case lib.ProblemTypeAlreadyReplaced, lib.ProblemTypeMalformed, lib.ProblemTypeUnauthorized, lib.ProblemTypeServerInternal:
		return true
	}
	return p.Status == http.StatusNotFound || p.Status == http.StatusConflict
}

// checkOrder makes sure that an order is the one that was placed.
func (s *session) checkOrder(order lib.Order, names []string) error {
	var got []string
	for _, id := range order.Identifiers {
		got = append(got, strings.ToLower(id.Value))
	}
	slices.Sort(got)
	if !slices.Equal(got, names) {
		return s.explain(atOrder, fmt.Errorf("the order is of %d other names", len(got)))
	}
	if order.Location == "" || order.Finalize == "" {
		return s.explain(atOrder, errors.New("the order has no URL"))
	}
	return nil
}

// badOrder explains an order that will never be a certificate.
func (s *session) badOrder(order lib.Order) error {
	if order.Error != nil {
		return s.explain(atFinalize, order.Error)
	}
	return &failure{kind: kindRefused, text: fmt.Sprintf("%s: the order is %q, and the CA gives no reason", s.authority.host, clean(order.Status))}
}

// finalize sends the CSR and waits for the certificate.
func (s *session) finalize(ctx context.Context, account lib.Account, order lib.Order, names []string, key crypto.Signer) (lib.Order, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	if err != nil {
		return order, fmt.Errorf("certificate request: %w", err)
	}
	order, err = s.client.FinalizeOrder(ctx, account, order, csr)
	switch {
	case err != nil && order.Status == lib.StatusInvalid:
		return order, s.badOrder(order)
	case err != nil:
		return order, s.explain(atFinalize, err)
	case order.Certificate == "":
		return order, s.explain(atFinalize, errors.New("the order is valid but names no certificate"))
	}
	return order, nil
}

// sleep waits for d.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
