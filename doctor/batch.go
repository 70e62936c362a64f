package doctor

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/dnssec"
)

// A sink of nine slots has nine times the names of one. Every check looks at all
// of them, so that a fault is noticed wherever it is, but not with nine times the
// work or the time:
//
//   - What slots share is looked at once, on slot 0: the certificates of each kind
//     and key, which must hold for the names of all slots.
//   - What each slot has of its own is looked at in every slot: its records, its
//     policy, and what each of its hosts shows, with one connection, which must be
//     the certificate of slot 0.
//   - The lookups of a check are made several at a time. Connections are not: the
//     sink limits those of a client, and one that asks for STARTTLS is a matter of
//     milliseconds.
const parallelLookups = 8

// question is one lookup.
type question struct {
	name  string
	qtype uint16
}

// answer is what came of it.
type answer struct {
	dnssec.Answer
	err error
}

// batch is a resolver that can be asked ahead. Safe for concurrent use.
type batch struct {
	Resolver
	mu  sync.Mutex
	got map[question]answer
}

// batched returns r as a batch; nil stays nil.
func batched(r Resolver) Resolver {
	if r == nil {
		return nil
	}
	return &batch{Resolver: r}
}

// Lookup implements Resolver. What was asked ahead is answered once from that.
func (b *batch) Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error) {
	q := question{name, qtype}
	b.mu.Lock()
	a, ok := b.got[q]
	delete(b.got, q)
	b.mu.Unlock()
	if ok {
		return a.Answer, a.err
	}
	return b.Resolver.Lookup(ctx, name, qtype)
}

// ahead asks r what a check is about to ask one by one.
func ahead(ctx context.Context, r Resolver, questions []question) {
	b, ok := r.(*batch)
	if !ok {
		return
	}
	got := make(map[question]answer, len(questions))
	var g errgroup.Group
	g.SetLimit(parallelLookups)
	for _, q := range questions {
		g.Go(func() error {
			a, err := b.Resolver.Lookup(ctx, q.name, q.qtype)
			b.mu.Lock()
			defer b.mu.Unlock()
			got[q] = answer{a, err}
			return nil
		})
	}
	_ = g.Wait() // errors are among the answers
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = got // nothing is left of an earlier check
}
