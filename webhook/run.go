package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// outcome is what came of an attempt.
type outcome struct {
	result Result
	why    string
	after  time.Duration // the other side asked to be left alone as long
}

// finished is the end of an attempt.
type finished struct {
	id, host string
	outcome  outcome
	took     time.Duration
}

// loop is the state of one Run; only its goroutine uses it.
type loop struct {
	*Sender
	client *http.Client
	busy   map[string]bool      // by host
	rest   map[string]time.Time // by host: until when nothing is sent there
	done   chan finished
}

// Run delivers until ctx ends, and then returns nil. What is under way then is
// cut off, and tried again after the next start. Run must not be called twice at
// once.
func (s *Sender) Run(ctx context.Context) error {
	transport := &http.Transport{
		DialContext: s.o.Dial, TLSClientConfig: &tls.Config{RootCAs: s.o.Roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10,
	}
	l := &loop{
		Sender: s, busy: make(map[string]bool), rest: make(map[string]time.Time), done: make(chan finished),
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	for {
		timer := time.NewTimer(l.start(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			for len(l.busy) > 0 {
				l.finish(ctx, <-l.done)
			}
			return nil
		case <-s.kick:
		case <-timer.C:
		case f := <-l.done:
			l.finish(ctx, f)
		}
		timer.Stop()
	}
}

// start begins what is due, one attempt at a time for each host, and returns how
// long to wait for more.
func (l *loop) start(ctx context.Context) time.Duration {
	l.mu.Lock()
	pending := slices.Clone(l.queue.Pending)
	l.mu.Unlock()
	slices.SortStableFunc(pending, func(a, b item) int { return a.Due.Compare(b.Due) })
	now := l.o.Now()
	for host, until := range l.rest {
		if !until.After(now) {
			delete(l.rest, host)
		}
	}
	wait := idle
	for _, it := range pending {
		host := hostOf(it.URL)
		if l.busy[host] {
			continue // its end comes first
		}
		due := it.Due
		if l.rest[host].After(due) {
			due = l.rest[host]
		}
		switch {
		case due.After(now):
			wait = min(wait, due.Sub(now))
		case len(l.busy) < l.o.Limits.Parallel:
			l.busy[host] = true
			go func() {
				began := l.o.Now()
				outcome := l.send(ctx, it)
				l.done <- finished{it.ID, host, outcome, l.o.Now().Sub(began)}
			}()
		}
	}
	return wait
}

// finish records the end of an attempt.
func (l *loop) finish(ctx context.Context, f finished) {
	delete(l.busy, f.host)
	l.rest[f.host] = l.o.Now().Add(l.o.Limits.Pause)
	if ctx.Err() != nil && f.outcome.result == PutOff {
		return // cut off by us
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.queue.Pending, func(it item) bool { return it.ID == f.id })
	if i < 0 {
		return // forgotten meanwhile
	}
	next := queue{Pending: slices.Clone(l.queue.Pending), Ended: l.queue.Ended}
	it := &next.Pending[i]
	now := l.o.Now()
	it.Attempts++
	it.LastError = f.outcome.why
	if f.outcome.result == PutOff {
		it.Due = now.Add(max(l.backOff(it.Attempts), f.outcome.after))
		if end := it.Created.Add(l.o.Limits.GiveUp); !now.Before(end) {
			f.outcome.result = GivenUp
		} else if it.Due.After(end) {
			it.Due = end // the last attempt
		}
	}
	l.o.Attempted(f.outcome.result, f.took)
	l.report(it, f)
	if f.outcome.result != PutOff {
		d := it.delivery()
		d.Due, d.Ended, d.Delivered = time.Time{}, now, f.outcome.result == Delivered
		next.Ended = remember(next.Ended, d)
		next.Pending = slices.Delete(next.Pending, i, i+1)
	}
	// What the disk does not take counts until the next start: then the message
	// is sent again, under the same identifier.
	l.queue = next
	if err := l.store(context.WithoutCancel(ctx), keyQueue, next); err != nil {
		l.o.Logger.Error("state of webhooks not stored", "err", err)
	}
}

func (l *loop) report(it *item, f finished) {
	log := l.o.Logger.With("test", it.Test, "webhook", it.ID, "host", f.host, "attempt", it.Attempts)
	switch f.outcome.result {
	case Delivered:
		log.Info("webhook delivered")
	case PutOff:
		log.Info("webhook put off", "due", it.Due, "reason", it.LastError)
	case GivenUp:
		log.Warn("webhook given up", "reason", it.LastError)
	}
}

// backOff is the time after the given attempt until the next: doubling, with a
// jitter of a tenth either way.
func (l *loop) backOff(attempt int) time.Duration {
	d := l.o.Limits.FirstRetry
	for i := 1; i < attempt && d < l.o.Limits.MaxRetry; i++ {
		d *= 2
	}
	d = min(d, l.o.Limits.MaxRetry)
	var b [1]byte
	if _, err := io.ReadFull(l.o.Rand, b[:]); err != nil {
		return d // without jitter, then
	}
	return d * time.Duration(900+int(b[0])*200/255) / 1000
}

// send sends a message once.
func (l *loop) send(ctx context.Context, it item) outcome {
	key, err := l.key(it)
	if errors.Is(err, errRemoved) {
		return outcome{result: GivenUp, why: err.Error()}
	}
	if err != nil {
		return outcome{result: PutOff, why: clean(err.Error())}
	}
	ctx, cancel := context.WithTimeout(ctx, l.o.Limits.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, it.URL, bytes.NewReader(it.Body))
	if err != nil {
		return outcome{result: GivenUp, why: "no request can be made of this URL"}
	}
	now := l.o.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "tlsink-webhook")
	req.Header.Set("webhook-id", it.ID)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("webhook-signature", sign(key, it.ID, now, it.Body))
	resp, err := l.client.Do(req)
	if err != nil {
		if x, ok := errors.AsType[*url.Error](err); ok {
			err = x.Err // without the URL, which may hold a secret
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return outcome{result: PutOff, why: fmt.Sprintf("no answer within %v", l.o.Limits.Timeout)}
		}
		return outcome{result: PutOff, why: clean(strings.ReplaceAll(err.Error(), it.URL, "(the URL)"))}
	}
	defer resp.Body.Close() // unread: it may have no end
	switch {
	case resp.StatusCode/100 == 2:
		return outcome{result: Delivered}
	case resp.StatusCode == http.StatusGone:
		return outcome{result: GivenUp, why: "status 410: it is not wanted any more"}
	case resp.StatusCode/100 == 3:
		return outcome{result: PutOff, why: fmt.Sprintf("status %d: redirects are not followed", resp.StatusCode)}
	}
	return outcome{PutOff, fmt.Sprintf("status %d", resp.StatusCode), min(retryAfter(resp.Header.Get("Retry-After"), now), l.o.Limits.MaxRetry)}
}

var errRemoved = errors.New("the operator has removed this URL")

// key returns what the message is signed with.
func (l *loop) key(it item) ([]byte, error) {
	if it.Secret != "" {
		return Key(it.Secret)
	}
	i := slices.IndexFunc(l.o.Targets, func(t Target) bool { return t.URL == it.URL })
	if i < 0 {
		return nil, errRemoved
	}
	secret, err := l.o.Targets[i].Secret()
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	return Key(secret)
}

// retryAfter reads the header field of that name (RFC 9110 §10.2.3).
func retryAfter(v string, now time.Time) time.Duration {
	const most = 1 << 20 // seconds; more would overflow
	if n, err := strconv.Atoi(v); err == nil && n >= 0 {
		return time.Duration(min(n, most)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// clean makes a reason, in which the words of a stranger may stand, fit for a
// log and a terminal.
func clean(s string) string {
	return cut(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s), maxReason)
}
