package records

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound/check"
)

// Limits of RFC 7208 §4.6.4, and our own for what a hostile record leads to.
const (
	maxSPFLookups = 10
	maxSPFVoids   = 2
	maxSPFNames   = 10  // MX records of one term mx
	maxSPFQueries = 40  // ours, per analysis
	maxSPFCounted = 100 // ours: lookups that are counted
)

// SPF reads the SPF record of a domain and everything that it includes. Lookups
// and Voids are those for a client that no term matches: the most that a
// receiver can need.
func (r *Reader) SPF(ctx context.Context, domain string) SPF {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	var out SPF
	txts, status, failed := r.texts(ctx, domain)
	out.DNSSEC = status
	if failed.Outcome != "" {
		out.Published = failed
		return out
	}
	record, problem := pickSPF(domain, txts, &out.Problems)
	if problem != "" {
		out.Published = check.Fail(problem)
		return out
	}
	out.Published = check.Pass()
	out.Record = clean(record, maxRecord)

	w := spfWalk{r: r, out: &out, sender: domain, answers: map[question]answer{}}
	all := w.record(ctx, spfPlace{domain: domain, path: []string{domain}, passes: true}, record)
	out.All = all.term
	out.Lookups, out.Voids = w.lookups, w.voids
	w.limits()
	out.Valid = check.Worst(w.fatal, w.untested)
	if out.Valid.Outcome == "" {
		out.Valid = check.Pass()
	}
	out.Strict = strict(all, w.wide)
	return out
}

// pickSPF finds the one SPF record; problem says why there is none.
func pickSPF(domain string, txts []string, problems *[]string) (record, problem string) {
	var found []string
	for _, txt := range txts {
		switch {
		case isSPF(txt):
			found = append(found, txt)
		case len(txt) >= 5 && strings.EqualFold(txt[:5], "v=spf"), strings.HasPrefix(strings.TrimLeft(txt, " \t\""), "v=spf1"):
			note(problems, "a TXT record of %s looks like SPF but does not begin with \"v=spf1 \": %s", domain, quote(txt))
		}
	}
	switch len(found) {
	case 0:
		return "", clean("no SPF record at "+domain, maxWhy)
	case 1:
		return found[0], ""
	}
	// RFC 7208 §4.5: more than one is a permanent error.
	return "", clean(fmt.Sprintf("%d SPF records at %s: receivers treat that as an error; merge them into one", len(found), domain), maxWhy)
}

// allTerm is how a record ends.
type allTerm struct {
	term  string       // like -all; empty: neither all nor redirect
	known check.Result // zero if it is known
}

// strict judges how a record ends, and terms that let everyone pass before that.
func strict(all allTerm, wide string) check.Result {
	switch {
	case wide != "":
		return check.Fail(wide)
	case all.known.Outcome != "":
		return all.known
	case all.term == "":
		return check.Fail("the record does not end in -all or ~all: it says nothing about other senders")
	case all.term == "-all" || all.term == "~all":
		return check.Pass()
	}
	return check.Fail("the record ends in " + all.term + ": it does not ask to reject other senders")
}

type question struct {
	name  string
	qtype uint16
}

type answer struct {
	dnssec.Answer
	failed check.Result
}

// spfWalk follows a record through include and redirect.
type spfWalk struct {
	r       *Reader
	out     *SPF
	sender  string
	answers map[question]answer

	lookups, voids int
	cut            bool // maxSPFQueries reached
	fatal          check.Result
	untested       check.Result
	wide           string // the first term that passes nearly everyone
}

// spfPlace is where the walk is.
type spfPlace struct {
	domain string
	path   []string // of domains, the first one's own
	passes bool     // what passes here makes the whole record pass
}

// fail notes a problem because of which receivers do not use the record at all.
func (w *spfWalk) fail(at spfPlace, format string, args ...any) {
	text := w.problem(at, format, args...)
	if w.fatal.Outcome == "" {
		w.fatal = check.Fail(text)
	}
}

// problem notes a problem, with the domain if it is not the record's own.
func (w *spfWalk) problem(at spfPlace, format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	if len(at.path) > 1 {
		text = "the record of " + at.domain + ": " + text
	}
	note(&w.out.Problems, "%s", text)
	return clean(text, maxWhy)
}

// record walks one record and returns how it ends.
func (w *spfWalk) record(ctx context.Context, at spfPlace, txt string) allTerm {
	rec := parseSPF(txt)
	for _, e := range rec.errors {
		w.fail(at, "%s", e)
	}
	for _, n := range rec.notes {
		w.problem(at, "%s", n)
	}
	last := slices.IndexFunc(rec.terms, func(t term) bool { return t.kind == kindAll })
	redirect := slices.IndexFunc(rec.terms, func(t term) bool { return t.kind == kindRedirect })
	for i, t := range rec.terms {
		if w.lookups >= maxSPFCounted {
			w.cut = true // records that include each other many times
			break
		}
		switch {
		case t.kind == kindRedirect || t.kind == kindExp || i == last:
		case last >= 0 && i > last: // RFC 7208 §5.1: these are never looked at
			w.problem(at, "%s is ignored: it comes after %s", quote(t.text), quote(rec.terms[last].text))
		default:
			w.mechanism(ctx, at, t)
		}
	}
	switch {
	case last >= 0:
		all := rec.terms[last]
		if redirect >= 0 {
			w.problem(at, "%s is ignored: the record has %s", quote(rec.terms[redirect].text), quote(all.text))
		}
		if all.qualifier == '+' {
			w.everyone(at, all)
		}
		return allTerm{term: string(all.qualifier) + kindAll}
	case redirect >= 0:
		return w.follow(ctx, at, rec.terms[redirect])
	}
	return allTerm{}
}

// everyone notes a term that passes nearly every client.
func (w *spfWalk) everyone(at spfPlace, t term) {
	if !at.passes || t.qualifier != '+' {
		return
	}
	text := w.problem(at, "%s lets nearly everyone send mail as %s", quote(t.text), w.sender)
	if w.wide == "" {
		w.wide = text
	}
}

func (w *spfWalk) mechanism(ctx context.Context, at spfPlace, t term) {
	switch t.kind {
	case kindIP4, kindIP6:
		if t.wide() {
			w.everyone(at, t)
		}
		return
	case kindInclude:
		w.follow(ctx, at, t)
		return
	case kindPTR:
		// RFC 7208 §5.5: it should not be published.
		w.problem(at, "%s should not be used: it is slow and unreliable, and receivers may skip it", quote(t.text))
	}
	w.lookups++
	name, known := at.domain, true
	if t.spec != "" {
		name, known = expand(t.spec, at.domain, w.sender)
	}
	if !known || t.kind == kindPTR {
		return
	}
	if !isName(name) {
		w.problem(at, "%s never matches: %s is not a domain name", quote(t.text), quote(name))
		return
	}
	// An exists whose name is the same for all clients passes all of them.
	if w.finds(ctx, at, t, name) && (t.wide() || t.kind == kindExists) {
		w.everyone(at, t)
	}
}

// finds looks whether a term a, mx or exists finds anything.
func (w *spfWalk) finds(ctx context.Context, at spfPlace, t term, name string) bool {
	kinds := []uint16{dns.TypeA, dns.TypeAAAA}
	switch t.kind {
	case kindMX:
		kinds = []uint16{dns.TypeMX}
	case kindExists:
		kinds = kinds[:1] // RFC 7208 §5.7: an A lookup, for IPv6 as well
	}
	for _, qtype := range kinds {
		a, ok := w.lookup(ctx, at, t, question{name, qtype})
		if !ok {
			return false
		}
		if t.kind == kindMX && len(a.RRs) > maxSPFNames {
			w.fail(at, "%s: %s has %d MX records, at most %d are allowed", quote(t.text), name, len(a.RRs), maxSPFNames)
		}
		if len(a.RRs) > 0 {
			return true
		}
	}
	// A host that has addresses of one family only is not counted, though it
	// is a void lookup for clients of the other one.
	w.voids++
	w.problem(at, "%s finds nothing: %s has no %s records", quote(t.text), name, typeNames(kinds))
	return false
}

func typeNames(kinds []uint16) string {
	var out []string
	for _, k := range kinds {
		out = append(out, dns.TypeToString[k])
	}
	return strings.Join(out, " or ")
}

// follow walks the record that include or redirect names.
func (w *spfWalk) follow(ctx context.Context, at spfPlace, t term) allTerm {
	w.lookups++
	name, known := expand(t.spec, at.domain, w.sender)
	if !known {
		return allTerm{known: check.Skip("where the record redirects to depends on the mail")}
	}
	failed := allTerm{known: check.Fail(clean(t.text+" leads to no usable record", maxWhy))}
	if !isName(name) {
		w.fail(at, "%s: %s is not a domain name", quote(t.text), quote(name))
		return failed
	}
	if slices.Contains(at.path, name) {
		w.fail(at, "%s is a loop: %s", quote(t.text), strings.Join(append(slices.Clone(at.path), name), ", "))
		return failed
	}
	a, ok := w.lookup(ctx, at, t, question{name, dns.TypeTXT})
	if !ok {
		return allTerm{known: a.failed}
	}
	if len(a.RRs) == 0 {
		w.voids++
	}
	next := spfPlace{
		domain: name, path: append(slices.Clone(at.path), name),
		passes: at.passes && (t.kind == kindRedirect || t.qualifier == '+'),
	}
	record, problem := pickSPF(name, a.Texts(), &w.out.Problems)
	if problem != "" {
		w.fail(at, "%s: %s", quote(t.text), problem)
		return failed
	}
	return w.record(ctx, next, record)
}

// lookup asks once for each question. ok is false if there is no answer; that is
// noted already.
func (w *spfWalk) lookup(ctx context.Context, at spfPlace, t term, q question) (answer, bool) {
	a, known := w.answers[q]
	if !known {
		if len(w.answers) >= maxSPFQueries {
			w.cut = true
			return answer{failed: check.Skip(fmt.Sprintf("more than %d queries would be needed", maxSPFQueries))}, false
		}
		found, err := w.r.opts.Resolver.Lookup(ctx, q.name, q.qtype)
		a = answer{found, answered(q.name, dns.TypeToString[q.qtype], found, err)}
		w.answers[q] = a
	}
	switch {
	case a.failed.Failed():
		w.fail(at, "%s: %s", quote(t.text), a.failed.Why)
	case a.failed.Outcome == check.Untested && w.untested.Outcome == "":
		w.untested = a.failed
	}
	return a, a.failed.Outcome == ""
}

// limits judges the counts at the end.
func (w *spfWalk) limits() {
	at := spfPlace{}
	if w.lookups > maxSPFLookups {
		least := ""
		if w.cut {
			least = "at least "
		}
		w.fail(at, "the record needs %s%d DNS lookups, at most %d are allowed: receivers give up", least, w.lookups, maxSPFLookups)
	}
	if w.voids > maxSPFVoids {
		w.fail(at, "%d terms find nothing in DNS, at most %d are allowed: receivers give up", w.voids, maxSPFVoids)
	}
}

// wide reports whether a term covers more than any real network.
func (t term) wide() bool {
	return t.bits4 >= 0 && t.bits4 < 8 || t.bits6 >= 0 && t.bits6 < 16
}
