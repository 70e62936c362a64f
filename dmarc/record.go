package dmarc

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Policy is what a domain asks receivers to do with mail that fails DMARC.
type Policy string

// The values of Policy (RFC 7489 §6.3).
const (
	None       Policy = "none" // only report
	Quarantine Policy = "quarantine"
	Reject     Policy = "reject"
)

// Limits of what is kept of a record.
const (
	maxRecord   = 16 << 10
	maxTags     = 100
	maxURIs     = 50
	maxProblems = 16
	maxQuoted   = 80
)

// Record is a DMARC policy record.
type Record struct {
	Text       string // as published
	Policy     Policy // p: for the domain that publishes it
	Subdomains Policy // sp: for the names below; p if there is none
	StrictDKIM bool   // adkim=s
	StrictSPF  bool   // aspf=s
	Percent    int    // pct: the share of mail that the policy is for, 0 to 100
	Aggregate  []URI  // rua, without those that are wrong
	Failure    []URI  // ruf, likewise

	// Problems are syntax errors that receivers are to pass over (RFC 7489
	// §6.3): they take the default instead. One sentence each.
	Problems []string
	// Notes are about what is right, but unwise or not understood everywhere.
	Notes []string
}

// PolicyFor returns the policy for a domain, when the record was published by
// the domain from: p for that domain itself, else sp.
func (r Record) PolicyFor(domain, from string) Policy {
	if canonical(domain) == canonical(from) {
		return r.Policy
	}
	return r.Subdomains
}

// IsRecord reports whether a TXT record says that it is a DMARC record: its
// first tag is v=DMARC1. Others are discarded (RFC 7489 §6.6.3, §7.1).
func IsRecord(txt string) bool {
	first, _, _ := strings.Cut(txt, ";")
	name, value, ok := strings.Cut(first, "=")
	// RFC 7489 §6.4: "v" in any case, DMARC1 as written; no space before it.
	return ok && strings.EqualFold(strings.TrimRight(name, " \t"), "v") && trim(value) == "DMARC1"
}

// Parse reads a policy record (RFC 7489 §6.3, §6.4). The error says why
// receivers will not apply it; it names the tag, its value and what is allowed.
// What is wrong with a record that they will apply is in Problems. Unknown tags
// are ignored.
func Parse(txt string) (Record, error) {
	r, err := parse(txt)
	if err != nil {
		return r, fmt.Errorf("DMARC record: %w", err)
	}
	return r, nil
}

func parse(txt string) (Record, error) {
	r := Record{Text: txt, Percent: 100}
	if len(txt) > maxRecord {
		r.Text = ""
		return r, fmt.Errorf("%d bytes, more than %d", len(txt), maxRecord)
	}
	if !IsRecord(txt) {
		return r, errors.New("does not begin with v=DMARC1;")
	}
	tags, err := r.split(txt)
	if err != nil {
		return r, err
	}
	r.optional(tags)
	return r, r.policies(tags)
}

type tag struct{ name, value string }

// split cuts a record into the tags after v.
func (r *Record) split(txt string) ([]tag, error) {
	fields := strings.Split(txt, ";")[1:]
	if len(fields) > maxTags {
		return nil, fmt.Errorf("more than %d tags", maxTags)
	}
	var tags []tag
	for i, f := range fields {
		if f = trim(f); f == "" {
			if i < len(fields)-1 {
				r.problem(`empty tag: two ";" in a row`)
			}
			continue
		}
		name, value, ok := strings.Cut(f, "=")
		name, value = strings.ToLower(trim(name)), trim(value)
		if !ok || !isTagName(name) {
			r.problem("%s is not tag=value", quote(f))
			continue
		}
		if !isTagValue(value) {
			r.problem("tag %s: %s has characters other than printable ASCII", name, quote(value))
			continue
		}
		// RFC 6376 §3.2: with a name that occurs twice, the whole list is invalid.
		if slices.ContainsFunc(tags, func(t tag) bool { return t.name == name }) || name == "v" {
			return nil, fmt.Errorf("tag %s occurs more than once: a tag may occur once", name)
		}
		tags = append(tags, tag{name, value})
	}
	if len(tags) > 1 && tags[0].name != "p" && slices.ContainsFunc(tags, func(t tag) bool { return t.name == "p" }) {
		// RFC 7489 §6.4 has p second; RFC 9989 has it anywhere.
		r.note("tag p is not next to v, where some receivers expect it")
	}
	return tags, nil
}

// policies sets p and sp.
func (r *Record) policies(tags []tag) error {
	p, sp, wrong := Policy(""), Policy(""), error(nil)
	for _, t := range tags {
		var err error
		switch t.name {
		case "p":
			p, err = policy(t)
		case "sp":
			sp, err = policy(t)
		}
		if wrong == nil {
			wrong = err
		}
	}
	if p == "" && wrong == nil {
		wrong = errors.New("tag p is missing: want p=none, p=quarantine or p=reject")
	}
	if wrong != nil {
		// RFC 7489 §6.6.3 (6): as p=none if there is someone to report to.
		if len(r.Aggregate) == 0 {
			return wrong
		}
		p, sp = None, None
		r.problem("%s; receivers take it as p=none", wrong)
	}
	if sp == "" {
		sp = p
	}
	r.Policy, r.Subdomains = p, sp
	return nil
}

func policy(t tag) (Policy, error) {
	switch p := Policy(strings.ToLower(t.value)); p {
	case None, Quarantine, Reject:
		return p, nil
	}
	return "", fmt.Errorf("%s=%s: want none, quarantine or reject", t.name, quote(t.value))
}

// optional sets the tags that have a default.
func (r *Record) optional(tags []tag) {
	for _, t := range tags {
		switch t.name {
		case "adkim":
			r.StrictDKIM = r.alignment(t)
		case "aspf":
			r.StrictSPF = r.alignment(t)
		case "pct":
			n, err := strconv.ParseUint(t.value, 10, 8)
			if err != nil || n > 100 || len(t.value) > 3 {
				r.problem("pct=%s: want a number from 0 to 100", quote(t.value))
				continue
			}
			r.Percent = int(n)
		case "ri":
			if _, err := strconv.ParseUint(t.value, 10, 32); err != nil {
				r.problem("ri=%s: want a number of seconds", quote(t.value))
			}
		case "fo":
			r.list(t, "0, 1, d or s, separated by :", "0", "1", "d", "s")
		case "rf":
			r.list(t, "afrf", "afrf")
		case "rua":
			r.Aggregate = r.uris(t)
		case "ruf":
			r.Failure = r.uris(t)
		}
	}
}

func (r *Record) alignment(t tag) (strict bool) {
	switch strings.ToLower(t.value) {
	case "r", "s":
		return strings.EqualFold(t.value, "s")
	}
	r.problem("%s=%s: want r or s", t.name, quote(t.value))
	return false
}

// list checks a list of keywords.
func (r *Record) list(t tag, want string, allowed ...string) {
	for word := range strings.SplitSeq(strings.ToLower(t.value), ":") {
		if !slices.Contains(allowed, trim(word)) {
			r.problem("%s=%s: want %s", t.name, quote(t.value), want)
			return
		}
	}
}

func (r *Record) uris(t tag) []URI {
	var out []URI
	for text := range strings.SplitSeq(t.value, ",") {
		if len(out) == maxURIs {
			r.problem("tag %s: more than %d addresses; the rest is left out", t.name, maxURIs)
			break
		}
		uri, err := ParseURI(trim(text))
		if err != nil {
			r.problem("tag %s: %s", t.name, err)
			continue
		}
		if uri.Scheme != "mailto" {
			// RFC 7489 §6.3: other schemes are ignored by who does not know them.
			r.note("tag %s: %s: receivers send reports to mailto: addresses only", t.name, quote(uri.Text))
		}
		out = append(out, uri)
	}
	return out
}

func (r *Record) problem(format string, args ...any) { add(&r.Problems, format, args...) }
func (r *Record) note(format string, args ...any)    { add(&r.Notes, format, args...) }

func add(to *[]string, format string, args ...any) {
	if len(*to) < maxProblems {
		*to = append(*to, fmt.Sprintf(format, args...))
	}
}

// isTagName: ALPHA *(ALPHA / DIGIT / "_") (RFC 6376 §3.2)
func isTagName(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

func isTagValue(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c != '\t' && (c < ' ' || c > '~') })
}

func trim(s string) string { return strings.Trim(s, " \t") }

// quote shows what a stranger wrote: no control characters, not too long.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.QuoteToASCII(s[:maxQuoted]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
