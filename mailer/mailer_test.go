package mailer_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/mailer"
)

// queue is the real store, as the program wires it.
type queue struct {
	*history.Store
	mu       sync.Mutex
	failures map[string]error // by item ID: Update fails for sent items
	full     bool             // every Update fails
}

func (q *queue) Due(now time.Time, limit int) ([]mailer.Item, error) {
	list, err := q.Store.Due(now, limit)
	return items(list), err
}

func (q *queue) List(ctx context.Context) ([]mailer.Item, error) {
	list, err := q.Queue(ctx)
	return items(list), err
}

func (q *queue) Update(ctx context.Context, it mailer.Item) error {
	q.mu.Lock()
	err, full := q.failures[it.ID], q.full
	q.mu.Unlock()
	if full {
		return errors.New("disk full")
	}
	if err != nil && !it.Sent.IsZero() {
		return err
	}
	return q.Commit(ctx, history.Batch{Update: []history.QueueItem{history.QueueItem(it)}})
}

func items(list []history.QueueItem) []mailer.Item {
	var out []mailer.Item
	for _, q := range list {
		out = append(out, mailer.Item(q))
	}
	return out
}

// transport answers with what script says for each attempt; the last entry
// repeats.
type transport struct {
	mu     sync.Mutex
	script []mailer.Outcome
	block  bool // until the context ends
	sent   []attempt
}

type attempt struct {
	At      time.Time
	From    string
	To      string
	Message string
}

func (tr *transport) Send(ctx context.Context, from, to string, message []byte) mailer.Outcome {
	tr.mu.Lock()
	tr.sent = append(tr.sent, attempt{time.Now(), from, to, string(message)})
	n, block := len(tr.sent), tr.block
	tr.mu.Unlock()
	if block {
		<-ctx.Done()
		return mailer.Outcome{Detail: ctx.Err().Error()}
	}
	return tr.script[min(n, len(tr.script))-1]
}

func (tr *transport) attempts() []attempt {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return append([]attempt(nil), tr.sent...)
}

// noSigner leaves a mark instead of a signature.
type noSigner struct{}

func (noSigner) Sign(m []byte) ([]byte, error) { return append([]byte("Signed: yes\r\n"), m...), nil }

type bench struct {
	t         *testing.T
	q         *queue
	tr        *transport
	opt       mailer.Options
	renderErr error
	rendered  atomic.Int64
}

func newBench(t *testing.T, script ...mailer.Outcome) *bench {
	t.Helper()
	s, err := history.Open(history.Options{Path: filepath.Join(t.TempDir(), "tlsink.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	b := &bench{t: t, q: &queue{Store: s, failures: map[string]error{}}, tr: &transport{script: script}}
	b.opt = mailer.Options{
		Queue: b.q, Transport: b.tr, Signer: noSigner{}, From: "tlsink <report@sink.example>",
		Render: func(context.Context, mailer.Item) (mailer.Message, error) {
			b.rendered.Add(1)
			return mailer.Message{Subject: "Your test", Text: "dane"}, b.renderErr
		},
		Now: time.Now, Rand: rand.New(rand.NewPCG(1, 2)), Concurrency: 1,
	}
	return b
}

func (b *bench) enqueue(list ...history.QueueItem) {
	b.t.Helper()
	for i := range list {
		if list[i].Created.IsZero() {
			list[i].Created = time.Now()
		}
		list[i].Due = time.Now()
	}
	if err := b.q.Commit(b.t.Context(), history.Batch{Enqueue: list}); err != nil {
		b.t.Fatal(err)
	}
}

// run runs a mailer for d of the bubble's time, and stops it.
func (b *bench) run(d time.Duration) {
	b.t.Helper()
	m, err := mailer.New(b.opt)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	defer cancel()
	if err := m.Run(ctx); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) item(id string) history.QueueItem {
	b.t.Helper()
	it, err := b.q.QueueItem(id)
	if err != nil {
		b.t.Fatal(err)
	}
	return it
}

func refused() mailer.Outcome {
	return mailer.Outcome{Code: 451, Text: "4.7.1 greylisted"}
}

func delivered() mailer.Outcome { return mailer.Outcome{Delivered: true, Code: 250} }

func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, delivered())
		b.enqueue(history.QueueItem{ID: "T1", TestID: "T1", To: "a@sender.example"})
		b.run(time.Hour)
		sent := b.tr.attempts()
		if len(sent) != 1 {
			t.Fatalf("%d attempts, want 1", len(sent))
		}
		if sent[0].From != "" || sent[0].To != "a@sender.example" {
			t.Errorf("envelope %q to %q, want the null reverse-path", sent[0].From, sent[0].To)
		}
		for _, want := range []string{"Signed: yes\r\n", "From: \"tlsink\" <report@sink.example>\r\n", "To: <a@sender.example>\r\n", "Auto-Submitted: auto-replied\r\n", "Message-Id: <report.T1."} {
			if !strings.Contains(sent[0].Message, want) {
				t.Errorf("the message lacks %q:\n%s", want, sent[0].Message)
			}
		}
		it := b.item("T1")
		if it.Sent.IsZero() || it.GaveUp || it.LastError != "" || it.Attempts != 1 || string(it.Message) != sent[0].Message {
			t.Errorf("stored: %+v, want the message as sent", it)
		}
	})
}

// The time between attempts doubles up to four hours, with a tenth of jitter,
// until five days are over.
func TestRetrySchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, refused())
		b.enqueue(history.QueueItem{ID: "T1", To: "a@sender.example"})
		start := time.Now()
		b.run(7 * 24 * time.Hour)
		sent := b.tr.attempts()
		want := time.Minute
		for i := 1; i < len(sent)-1; i++ { // the last one is at the end
			gap := sent[i].At.Sub(sent[i-1].At)
			if gap < want*9/10 || gap > want*11/10+time.Second {
				t.Errorf("attempt %d after %v, want about %v", i+1, gap, want)
			}
			want = min(2*want, 4*time.Hour)
		}
		if last := sent[len(sent)-1].At.Sub(start); last < 5*24*time.Hour || last > 5*24*time.Hour+time.Second {
			t.Errorf("last attempt after %v, want 5 days", last)
		}
		it := b.item("T1")
		if !it.GaveUp || !strings.HasPrefix(it.LastError, "given up after ") || !strings.HasSuffix(it.LastError, "451 4.7.1 greylisted") {
			t.Errorf("at the end: gave up %v, %q", it.GaveUp, it.LastError)
		}
		if b.rendered.Load() != 1 {
			t.Errorf("rendered %d times, want once: every attempt sends the same message", b.rendered.Load())
		}
		for _, a := range sent[1:] {
			if a.Message != sent[0].Message {
				t.Fatal("attempts sent different messages")
			}
		}
	})
}

func TestFailures(t *testing.T) {
	cases := map[string]struct {
		script   []mailer.Outcome
		render   error
		to       string
		attempts int
		gaveUp   bool
		reason   string
	}{
		"policy forbids it": {
			script:   []mailer.Outcome{{Permanent: true, Detail: "could not be delivered because your MTA-STS policy names no MX host"}},
			attempts: 1, gaveUp: true, reason: "could not be delivered because your MTA-STS policy names no MX host",
		},
		"refused for good": {
			script:   []mailer.Outcome{{Permanent: true, Code: 550, Text: "5.1.1 no such\r\nuser\x1b[2J", Detail: "recipient refused"}},
			attempts: 1, gaveUp: true, reason: "recipient refused: 550 5.1.1 no such  user [2J",
		},
		"no words":            {script: []mailer.Outcome{{Permanent: true}}, attempts: 1, gaveUp: true, reason: "no reason given"},
		"second time lucky":   {script: []mailer.Outcome{refused(), delivered()}, attempts: 2},
		"cannot be rendered":  {render: errors.New("no such test"), attempts: 0, reason: "the report could not be written: no such test"},
		"address of no use":   {to: "ä@sender.example", attempts: 0, gaveUp: true, reason: `compose message: To "ä@sender.example": only ASCII addresses are supported`},
		"endless explanation": {script: []mailer.Outcome{{Permanent: true, Detail: strings.Repeat("x", 9999)}}, attempts: 1, gaveUp: true, reason: strings.Repeat("x", 497) + "…"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, c.script...)
				b.renderErr = c.render
				to := c.to
				if to == "" {
					to = "a@sender.example"
				}
				b.enqueue(history.QueueItem{ID: "T1", To: to})
				b.run(5 * time.Minute)
				it := b.item("T1")
				if n := len(b.tr.attempts()); n != c.attempts {
					t.Errorf("%d attempts, want %d", n, c.attempts)
				}
				if it.GaveUp != c.gaveUp || it.LastError != c.reason {
					t.Errorf("gave up %v with %q, want %v with %q", it.GaveUp, it.LastError, c.gaveUp, c.reason)
				}
			})
		})
	}
}

func TestLogNamesNoRecipient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const to = "a@sender.example"
		b := newBench(t, mailer.Outcome{Code: 451, Text: "<" + to + ">: try later"}, mailer.Outcome{Permanent: true, Code: 550, Text: "<" + to + "> is unknown"})
		var log bytes.Buffer
		b.opt.Logger = slog.New(slog.NewTextHandler(&log, nil))
		b.enqueue(history.QueueItem{ID: "T1", To: to})
		b.run(10 * time.Minute)
		if it := b.item("T1"); !it.GaveUp || !strings.Contains(it.LastError, to) {
			t.Errorf("gave up %v with %q, want the whole reply", it.GaveUp, it.LastError)
		}
		if s := log.String(); strings.Contains(s, to) || !strings.Contains(s, "is unknown") || !strings.Contains(s, "try later") {
			t.Errorf("log:\n%s", s)
		}
	})
}

func TestRestartResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, refused(), delivered())
		b.enqueue(history.QueueItem{ID: "T1", To: "a@sender.example"})
		b.run(10 * time.Second)
		if it := b.item("T1"); it.Attempts != 1 || !it.Sent.IsZero() {
			t.Fatalf("before the restart: %+v", it)
		}
		time.Sleep(time.Hour) // down
		b.run(time.Minute)
		if it := b.item("T1"); it.Attempts != 2 || it.Sent.IsZero() {
			t.Errorf("after the restart: attempts %d, sent %v", it.Attempts, it.Sent)
		}
		if b.rendered.Load() != 1 {
			t.Errorf("rendered again after the restart")
		}
	})
}

// The record of a delivery fails, as in a crash: the report is sent once more,
// the same message, and not for ever.
func TestCrashBetweenSendAndRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, delivered())
		b.q.failures["T1"] = errors.New("disk full")
		b.enqueue(history.QueueItem{ID: "T1", To: "a@sender.example"})
		b.run(10 * time.Second)
		if it := b.item("T1"); it.Attempts != 1 || !it.Sent.IsZero() || !it.Due.After(time.Now()) {
			t.Fatalf("after the crash: %+v, want a lease", it)
		}
		delete(b.q.failures, "T1")
		b.run(24 * time.Hour)
		sent := b.tr.attempts()
		if len(sent) != 2 || sent[0].Message != sent[1].Message {
			t.Errorf("%d deliveries, want the same message twice", len(sent))
		}
		if it := b.item("T1"); it.Sent.IsZero() {
			t.Errorf("lost: %+v", it)
		}
	})
}

// The disk is full when a report was sent, and for longer than its lease: it is
// not sent again.
func TestRecordComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, delivered())
		b.q.failures["T1"] = errors.New("disk full")
		b.enqueue(history.QueueItem{ID: "T1", To: "a@sender.example"})
		time.AfterFunc(5*time.Hour, func() {
			b.q.mu.Lock()
			defer b.q.mu.Unlock()
			delete(b.q.failures, "T1")
		})
		b.run(6 * time.Hour)
		if n := len(b.tr.attempts()); n != 1 {
			t.Errorf("sent %d times", n)
		}
		if it := b.item("T1"); it.Sent.IsZero() || it.Attempts != 1 {
			t.Errorf("not recorded: %+v", it)
		}
	})
}

// However long the disk is full, a report that waits for it counts as one.
func TestFullDiskIsNoLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, delivered())
		b.q.full = true
		b.opt.Limits.Address = 3
		b.enqueue(history.QueueItem{ID: "T1", To: "a@sender.example"})
		time.AfterFunc(5*time.Hour, func() {
			b.q.mu.Lock()
			defer b.q.mu.Unlock()
			b.q.full = false
		})
		b.run(6 * time.Hour)
		if it := b.item("T1"); it.Sent.IsZero() || it.GaveUp || len(b.tr.attempts()) != 1 {
			t.Errorf("%d deliveries, %+v", len(b.tr.attempts()), it)
		}
	})
}

// A transport that hangs is cut off, and when the program ends, soon.
func TestAttemptIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.tr.block = true
		b.enqueue(history.QueueItem{ID: "T1", To: "a@sender.example"})
		start := time.Now()
		b.run(5 * time.Minute)
		if d := time.Since(start); d != 5*time.Minute+10*time.Second {
			t.Errorf("Run ended after %v, want its time and 10 s to drain", d)
		}
		if it := b.item("T1"); it.Attempts != 1 || it.GaveUp || it.LastError != "context canceled" {
			t.Errorf("cut off at the end: %+v", it)
		}
		b.run(17 * time.Minute)
		if it := b.item("T1"); it.Attempts != 2 || it.LastError != "context deadline exceeded" {
			t.Errorf("cut off by its timeout: attempts %d, %q", it.Attempts, it.LastError)
		}
	})
}

func TestKick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, delivered())
		m, err := mailer.New(b.opt)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		synctest.Wait()
		b.enqueue(history.QueueItem{ID: "T1", To: "a@sender.example"})
		start := time.Now()
		m.Kick()
		m.Kick() // never blocks
		synctest.Wait()
		for b.item("T1").Sent.IsZero() {
			time.Sleep(time.Millisecond)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("sent after %v, want at once", d)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestLimits(t *testing.T) {
	item := func(id, to, network string) history.QueueItem {
		return history.QueueItem{ID: id, To: to, Network: network}
	}
	cases := map[string]struct {
		limits mailer.Limits
		items  []history.QueueItem
		want   map[string]string // reasons by ID
	}{
		"address": {
			mailer.Limits{Address: 1},
			[]history.QueueItem{item("1", "a@x.example", ""), item("2", "A@X.example", ""), item("3", "b@x.example", "")},
			map[string]string{"2": "not sent: limit of 1 reports a day to this address reached"},
		},
		"domain": {
			mailer.Limits{Domain: 2},
			[]history.QueueItem{item("1", "a@x.example", ""), item("2", "b@x.example", ""), item("3", "c@x.example", ""), item("4", "c@y.example", "")},
			map[string]string{"3": "not sent: limit of 2 reports a day to this domain reached"},
		},
		"network": {
			mailer.Limits{Network: 1},
			[]history.QueueItem{item("1", "a@x.example", "192.0.2.0/24"), item("2", "b@y.example", "192.0.2.0/24"), item("3", "c@z.example", ""), item("4", "d@z.example", "")},
			map[string]string{"2": "not sent: limit of 1 reports a day for mail from this network reached"},
		},
		"total": {
			mailer.Limits{Total: 2},
			[]history.QueueItem{item("1", "a@x.example", ""), item("2", "b@y.example", ""), item("3", "c@z.example", "")},
			map[string]string{"3": "not sent: limit of 2 reports a day in all reached"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, delivered())
				b.opt.Limits = c.limits
				for i, it := range c.items { // also across restarts
					b.enqueue(it)
					b.run(time.Duration(i+1) * time.Second)
				}
				got := map[string]string{}
				for _, it := range c.items {
					if stored := b.item(it.ID); stored.GaveUp {
						got[it.ID] = stored.LastError
					}
				}
				if d := cmp.Diff(c.want, got); d != "" {
					t.Errorf("not sent: (-want +got)\n%s", d)
				}
				if n := len(b.tr.attempts()); n != len(c.items)-len(c.want) {
					t.Errorf("%d sent, want %d", n, len(c.items)-len(c.want))
				}
				time.Sleep(24 * time.Hour)
				again := c.items[0]
				again.ID = "next day"
				b.enqueue(again)
				b.run(time.Minute)
				if b.item("next day").Sent.IsZero() {
					t.Error("the limit holds for more than a day")
				}
			})
		})
	}
}

// What changes while the mailer runs is in force for the next attempt.
func TestChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, refused())
		m, err := mailer.New(b.opt)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = m.Run(ctx) })
		b.enqueue(history.QueueItem{ID: "1", To: "a@x.example"})
		m.Kick()
		time.Sleep(10 * time.Second)
		better := &transport{script: []mailer.Outcome{delivered()}}
		m.Change(mailer.Settings{Transport: better, Limits: mailer.Limits{Address: 1}})
		time.Sleep(5 * time.Minute)
		b.enqueue(history.QueueItem{ID: "2", To: "a@x.example"})
		m.Change(mailer.Settings{Limits: mailer.Limits{Address: 1}}) // the transport stays
		m.Kick()
		time.Sleep(time.Minute)
		cancel()
		wg.Wait()
		if n := len(better.attempts()); n != 1 || b.item("1").Sent.IsZero() {
			t.Errorf("%d attempts through the new transport, sent %v", n, b.item("1").Sent)
		}
		if it := b.item("2"); !it.GaveUp || !strings.Contains(it.LastError, "limit of 1 reports a day") {
			t.Errorf("the new limit does not hold: %+v", it)
		}
	})
}

// Retries of one report count once.
func TestRetriesAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, refused(), refused(), delivered())
		b.opt.Limits = mailer.Limits{Address: 1}
		b.enqueue(history.QueueItem{ID: "T1", To: "a@sender.example"})
		b.run(time.Hour)
		if it := b.item("T1"); it.Sent.IsZero() || it.Attempts != 3 {
			t.Errorf("%d attempts, %q", it.Attempts, it.LastError)
		}
	})
}

// One destination that hangs does not hold up the others.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.tr.block = true
		b.opt.Concurrency = 3
		for _, id := range []string{"1", "2", "3", "4"} {
			b.enqueue(history.QueueItem{ID: id, To: id + "@sender.example"})
		}
		b.run(time.Minute)
		if n := len(b.tr.attempts()); n != 3 {
			t.Errorf("%d attempts at once, want 3", n)
		}
	})
}

// brokenQueue cannot be read.
type brokenQueue struct {
	mailer.Queue
	reads int
}

func (q *brokenQueue) List(context.Context) ([]mailer.Item, error) { return nil, nil }

func (q *brokenQueue) Due(time.Time, int) ([]mailer.Item, error) {
	q.reads++
	return nil, errors.New("disk gone")
}

func TestBrokenQueueIsNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		q := &brokenQueue{}
		b.opt.Queue = q
		b.run(10*time.Minute - time.Second)
		if q.reads != 10 {
			t.Errorf("%d reads in ten minutes, want one a minute", q.reads)
		}
	})
}

func TestNewChecksOptions(t *testing.T) {
	good := newBench(t).opt
	for name, c := range map[string]struct {
		spoil func(*mailer.Options)
		want  string
	}{
		"queue":     {func(o *mailer.Options) { o.Queue = nil }, "Queue"},
		"transport": {func(o *mailer.Options) { o.Transport = nil }, "Transport"},
		"signer":    {func(o *mailer.Options) { o.Signer = nil }, "Signer"},
		"render":    {func(o *mailer.Options) { o.Render = nil }, "Render"},
		"clock":     {func(o *mailer.Options) { o.Now = nil }, "Now"},
		"rand":      {func(o *mailer.Options) { o.Rand = nil }, "Rand"},
		"from":      {func(o *mailer.Options) { o.From = "nobody" }, `From "nobody"`},
	} {
		opt := good
		c.spoil(&opt)
		if _, err := mailer.New(opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
	if _, err := mailer.New(good); err != nil {
		t.Errorf("good options: %v", err)
	}
}
