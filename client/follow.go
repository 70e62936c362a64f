package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
)

// Trouble is told of a stream that broke, before the pause until the next try.
type Trouble func(err error, pause time.Duration)

// Follow returns what becomes of a test, beginning with how it stands, until it
// is over. Each status is whole: what the stream leaves out is filled in. It
// comes back after failures, as long as ctx lives; an error ends it, and is one
// that no other try can mend. trouble may be nil.
func (c *Client) Follow(ctx context.Context, capability, language string, trouble Trouble) iter.Seq2[*live.Status, error] {
	return func(yield func(*live.Status, error) bool) {
		f := &follower{Client: c, path: test(capability, "/events", language)}
		for failures := 0; ; {
			got, stopped, err := f.stream(ctx, yield)
			if stopped || f.now != nil && f.now.State.Over() {
				return
			}
			if ctx.Err() != nil {
				yield(nil, context.Cause(ctx))
				return
			}
			if p, ok := errors.AsType[*Problem](err); ok && p.lasting() || f.now == nil && untrusted(err) {
				yield(nil, fmt.Errorf("follow the test: %w", err))
				return
			}
			if failures++; got {
				failures = 1
			}
			pause := f.pause(failures, err)
			if trouble != nil {
				trouble(err, pause)
			}
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
		}
	}
}

// untrusted reports whether nobody vouches for the server: other roots may help,
// another try does not.
func untrusted(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// lasting reports whether the same request will fail again.
func (p *Problem) lasting() bool {
	switch p.Status {
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return p.Status < 500
}

// pause is the time until the next try: doubling, with a jitter of a fifth
// either way, and no shorter than the server asks for.
func (c *Client) pause(failures int, err error) time.Duration {
	d := c.o.FirstRetry
	for i := 1; i < failures && d < c.o.MaxRetry; i++ {
		d *= 2
	}
	d = min(d, c.o.MaxRetry)
	if c.o.Rand != nil {
		d = time.Duration(float64(d) * (0.8 + 0.4*c.o.Rand.Float64()))
	}
	if p, ok := errors.AsType[*Problem](err); ok {
		d = max(d, p.Retry)
	}
	return d
}

// follower is one Follow.
type follower struct {
	*Client
	path string
	last string       // identifier of the last event
	now  *live.Status // whole
}

// errEnded says that a stream ended while the test goes on.
var errEnded = errors.New("the stream ended")

// stream reads one stream to its end. got says that something came on it,
// stopped that nothing more is wanted.
func (f *follower) stream(ctx context.Context, yield func(*live.Status, error) bool) (got, stopped bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := f.request(ctx, http.MethodGet, f.path, nil)
	if err != nil {
		return false, false, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if f.last != "" {
		req.Header.Set("Last-Event-ID", f.last)
	}
	silence := time.AfterFunc(f.o.Silence, func() { cancel(fmt.Errorf("nothing came for %v", f.o.Silence)) })
	defer silence.Stop()
	resp, err := f.http.Do(req)
	if err != nil {
		return false, false, f.failure(ctx, err)
	}
	defer resp.Body.Close()
	switch t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); {
	case resp.StatusCode == http.StatusNoContent:
		return false, false, errEnded // only if we have its end, and then we are not here
	case resp.StatusCode != http.StatusOK:
		return false, false, problemOf(resp)
	case t != "text/event-stream":
		return false, false, errors.New("the answer is no event stream")
	}
	events := newEventReader(resp.Body, func() { silence.Reset(f.o.Silence) })
	for {
		e, err := events.next()
		if err != nil {
			if !errors.Is(err, errTooLong) {
				err = f.failure(ctx, err)
			}
			return got, false, err
		}
		news, err := f.apply(e)
		if err != nil {
			return got, false, err
		}
		got = true
		if !news {
			continue
		}
		if !yield(f.now, nil) || f.now.State.Over() {
			return true, true, nil
		}
	}
}

// apply takes an event in. An event of another kind is none.
func (f *follower) apply(e event) (news bool, err error) {
	if e.name != "snapshot" && e.name != "status" {
		return false, nil
	}
	st, err := decodeStatus([]byte(e.data))
	if err != nil {
		return false, err
	}
	if e.name == "status" {
		if f.now == nil {
			f.last = ""
			return false, errors.New("the stream begins in the middle")
		}
		st.Connections = merge(f.now.Connections, st.Connections)
	}
	f.now = st
	if e.id != "" {
		f.last = e.id
	}
	return true, nil
}

// merge puts new and changed connections into those that are known.
func merge(known, fresh []live.Connection) []live.Connection {
	at := make(map[evidence.ConnID]int, len(known))
	out := slices.Clone(known)
	for i, c := range out {
		at[c.ID] = i
	}
	for _, c := range fresh {
		if i, ok := at[c.ID]; ok {
			out[i] = c
			continue
		}
		at[c.ID] = len(out)
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b live.Connection) int { return a.Number - b.Number })
	return out[max(0, len(out)-live.MaxConnections):]
}

// event is one of a stream.
type event struct{ id, name, data string }

// eventReader reads an event stream (HTML standard, §9.2.6).
type eventReader struct {
	r     *bufio.Reader
	alive func() // called for every line
	id    string
}

func newEventReader(r io.Reader, alive func()) *eventReader {
	return &eventReader{r: bufio.NewReader(r), alive: alive}
}

var errTooLong = fmt.Errorf("an event is longer than %d octets", maxEvent)

// next returns the next event that has data. One that the end cuts off is lost.
func (r *eventReader) next() (event, error) {
	var e event
	var data []string
	size := 0
	for {
		line, err := r.line(maxEvent - size)
		if err != nil {
			return event{}, err
		}
		r.alive()
		size += len(line) + 1
		if line == "" {
			if data == nil {
				e, size = event{}, 0
				continue
			}
			e.data, e.id = strings.Join(data, "\n"), r.id
			return e, nil
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			e.name = value
		case "data":
			data = append(data, value)
		case "id":
			if !strings.Contains(value, "\x00") && len(value) <= maxID {
				r.id = value
			}
		}
	}
}

const maxID = 100 // octets of an identifier

// line returns a line of at most that many octets, without its end.
func (r *eventReader) line(most int) (string, error) {
	var b []byte
	for {
		part, err := r.r.ReadSlice('\n')
		if len(b)+len(part) > most {
			return "", errTooLong
		}
		b = append(b, part...)
		switch {
		case err == nil:
			return string(bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))), nil
		case errors.Is(err, io.EOF):
			return "", errEnded
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		}
	}
}
