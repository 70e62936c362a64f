package dmarc

import (
	"context"
	"errors"
	"fmt"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
)

// What errors of [Discover] are about; test with errors.Is.
var (
	// ErrNoRecord: no policy, as nothing was published, or several records at
	// one name.
	ErrNoRecord = errors.New("no DMARC policy")
	// ErrInvalid: there is a record, but receivers will not apply it.
	ErrInvalid = errors.New("invalid DMARC record")
	// ErrTemporary: it could not be found out.
	ErrTemporary = errors.New("DNS lookup failed")
)

// Resolver looks up names; *dnssec.Resolver is one.
type Resolver interface {
	Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error)
}

// Discover finds the record that holds for a domain, and the domain that
// publishes it: itself, or its organizational domain (RFC 7489 §6.6.3). Use
// [Record.PolicyFor] with both. The status is that of the weakest answer that
// the result rests on.
//
// Errors are ErrNoRecord, ErrInvalid (with the text of the record, and from) or
// ErrTemporary. A bogus answer is temporary, as it is for a resolver that
// validates; the status then says bogus.
func Discover(ctx context.Context, r Resolver, domain string) (rec Record, from string, status dnssec.Status, err error) {
	domain = canonical(domain)
	if !isHostName(domain) || len("_dmarc.")+len(domain) > 253 {
		return Record{}, "", "", fmt.Errorf("%w: %s is not a domain name", ErrNoRecord, quote(domain))
	}
	names := []string{domain}
	if org := Organizational(domain); org != domain {
		names = append(names, org)
	}
	for _, from = range names {
		found, s, err := lookup(ctx, r, from)
		status = weakest(status, s)
		if err != nil {
			return Record{}, "", status, err
		}
		switch len(found) {
		case 0:
			continue
		case 1:
		default:
			// RFC 7489 §6.6.3 (5): several records are as good as none.
			return Record{}, "", status, fmt.Errorf("%w: _dmarc.%s has %d DMARC records, and receivers then ignore all: keep one", ErrNoRecord, from, len(found))
		}
		rec, err := parse(found[0])
		if err != nil {
			return rec, from, status, fmt.Errorf("%w at _dmarc.%s: %w", ErrInvalid, from, err)
		}
		return rec, from, status, nil
	}
	err = fmt.Errorf("%w: no record at _dmarc.%s", ErrNoRecord, names[0])
	if len(names) > 1 {
		err = fmt.Errorf("%w nor at _dmarc.%s", err, names[1])
	}
	return Record{}, "", status, err
}

// lookup returns the DMARC records at a domain.
func lookup(ctx context.Context, r Resolver, domain string) ([]string, dnssec.Status, error) {
	a, err := r.Lookup(ctx, "_dmarc."+domain, dns.TypeTXT)
	switch {
	case err != nil:
		return nil, dnssec.Error, fmt.Errorf("%w: TXT of _dmarc.%s: %w", ErrTemporary, domain, err)
	case a.Status == dnssec.Bogus || a.Status == dnssec.Error:
		return nil, a.Status, fmt.Errorf("%w: TXT of _dmarc.%s is %s: %s", ErrTemporary, domain, a.Status, a.Why)
	}
	var found []string
	for _, txt := range a.Texts() {
		if IsRecord(txt) {
			found = append(found, txt)
		}
	}
	return found, a.Status, nil
}

func weakest(a, b dnssec.Status) dnssec.Status {
	for _, s := range []dnssec.Status{dnssec.Bogus, dnssec.Error, dnssec.Insecure, dnssec.Secure} {
		if a == s || b == s {
			return s
		}
	}
	return b
}
