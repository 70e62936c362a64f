package mailer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/mail"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Item is a report in the queue. Its fields are those of the stored form, in
// the same order, so that one converts to the other.
type Item struct {
	ID          string
	TestID      string
	To          string
	Network     string // of the client that caused the report, for limits
	Due         time.Time
	Created     time.Time
	Attempts    int
	LastError   string
	Message     []byte // as sent; empty until rendered
	GaveUp      bool
	Sent        time.Time
	LastAttempt time.Time
}

// Queue is the durable queue. Its methods may be called concurrently.
type Queue interface {
	// Due returns pending items whose time has come, with their messages.
	Due(now time.Time, limit int) ([]Item, error)
	// NextDue returns when the next pending item is due, if there is one.
	NextDue() (due time.Time, ok bool, err error)
	// List returns all items, also sent and given up; messages are not needed.
	List(ctx context.Context) ([]Item, error)
	// Update overwrites an item and returns when that is durable.
	Update(ctx context.Context, it Item) error
}

// Outcome is how one attempt of delivery ended.
type Outcome struct {
	Delivered bool
	Permanent bool   // not worth another attempt
	Code      int    // reply code of the other server; 0 without one
	Text      string // and its text
	Detail    string // what went wrong, for people, e.g. "no MX host matches your MTA-STS policy"
}

// Transport makes one attempt to deliver. It must return soon after ctx ends,
// and must be safe for concurrent use.
type Transport interface {
	Send(ctx context.Context, from, to string, message []byte) Outcome
}

// Signer signs a message, see [DKIM].
type Signer interface {
	Sign(message []byte) ([]byte, error)
}

// Options are the parts and settings of a Mailer.
type Options struct {
	Queue     Queue
	Transport Transport
	Signer    Signer

	// Render writes the report of an item. From and To are the mailer's own;
	// Date and MessageID may be left empty. An error counts as an attempt that
	// failed.
	Render func(ctx context.Context, it Item) (Message, error)

	// Trace, if given, makes the context of an attempt, e.g. with what belongs
	// into the log lines of other packages.
	Trace func(ctx context.Context, it Item) context.Context

	From   string // header From, e.g. "tlsink <report@sink.example>"
	Now    func() time.Time
	Rand   *rand.Rand // jitter; used under a lock
	Logger *slog.Logger

	Limits         Limits
	FirstRetry     time.Duration // after the first failure, then doubling; default 1 min
	MaxRetry       time.Duration // longest time between attempts; default 4 h
	GiveUp         time.Duration // age of an item after which it is given up; default 5 days
	AttemptTimeout time.Duration // default 15 min
	DrainTimeout   time.Duration // for attempts under way when Run is to end; default 10 s
	Concurrency    int           // attempts at once; default 8
}

const (
	defaultFirstRetry     = time.Minute
	defaultGiveUp         = 5 * 24 * time.Hour
	defaultAttemptTimeout = 15 * time.Minute
)

func (o *Options) check() error {
	switch {
	case o.Queue == nil:
		return errors.New("mailer: option Queue is missing")
	case o.Transport == nil:
		return errors.New("mailer: option Transport is missing")
	case o.Signer == nil:
		return errors.New("mailer: option Signer is missing")
	case o.Render == nil:
		return errors.New("mailer: option Render is missing")
	case o.Now == nil:
		return errors.New("mailer: option Now is missing")
	case o.Rand == nil:
		return errors.New("mailer: option Rand is missing")
	}
	if _, err := mail.ParseAddress(o.From); err != nil {
		return fmt.Errorf("mailer: option From %q: want an address such as report@sink.example: %w", o.From, err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Limits.setDefaults()
	setDefault(&o.FirstRetry, defaultFirstRetry)
	setDefault(&o.MaxRetry, 4*time.Hour)
	setDefault(&o.GiveUp, defaultGiveUp)
	setDefault(&o.AttemptTimeout, defaultAttemptTimeout)
	setDefault(&o.DrainTimeout, 10*time.Second)
	setDefault(&o.Concurrency, 8)
	return nil
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// These bound how often the loop looks at the queue.
const (
	shortWait  = time.Second // at least, between two looks
	storePause = time.Minute // after the queue failed
	idleWait   = time.Hour   // without anything pending; Kick ends it
)

// Mailer is the worker of the queue.
type Mailer struct {
	opt      Options
	settings atomic.Pointer[Settings]
	kick     chan struct{}
	limits   limiter

	randMu sync.Mutex // guards opt.Rand
}

// New checks the options.
func New(opt Options) (*Mailer, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	m := &Mailer{opt: opt, kick: make(chan struct{}, 1)}
	m.settings.Store(&Settings{opt.Transport, opt.Limits, opt.FirstRetry, opt.GiveUp, opt.AttemptTimeout})
	return m, nil
}

// Settings are the Options that can change while Run runs. They mean the same
// here, with the same defaults.
type Settings struct {
	Transport      Transport // nil: as it is
	Limits         Limits
	FirstRetry     time.Duration
	GiveUp         time.Duration
	AttemptTimeout time.Duration
}

// Change replaces the settings for attempts that begin from now on.
func (m *Mailer) Change(s Settings) {
	if s.Transport == nil {
		s.Transport = m.settings.Load().Transport
	}
	s.Limits.setDefaults()
	setDefault(&s.FirstRetry, defaultFirstRetry)
	setDefault(&s.GiveUp, defaultGiveUp)
	setDefault(&s.AttemptTimeout, defaultAttemptTimeout)
	m.settings.Store(&s)
}

// Kick tells that an item was queued. It does not block.
func (m *Mailer) Kick() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends, and then returns nil once attempts under way
// have ended, or were cut off after DrainTimeout. It returns an error only if
// the queue cannot be read at the start. Run must not be called twice at once.
func (m *Mailer) Run(ctx context.Context) error {
	l := &loop{Mailer: m, inFlight: make(map[string]bool), unrecorded: make(map[string]Item), done: make(chan finished)}
	items, err := m.opt.Queue.List(ctx)
	if err != nil {
		return fmt.Errorf("read the queue of reports: %w", err)
	}
	l.limits.restore(m.opt.Now(), items)

	work, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	for {
		timer := time.NewTimer(l.startDue(work))
		select {
		case <-ctx.Done():
			timer.Stop()
			l.drain(cutOff)
			return nil
		case <-m.kick:
		case <-timer.C:
		case f := <-l.done:
			l.finish(f)
		}
		timer.Stop()
	}
}

// loop is the state of one Run; only its goroutine uses it.
type loop struct {
	*Mailer
	inFlight   map[string]bool
	unrecorded map[string]Item // by ID, after an attempt that the queue did not take
	done       chan finished
	pauseUntil time.Time
}

// finished is the end of an attempt; err is a failure of the queue.
type finished struct {
	after Item
	made  bool // the attempt, so that after is what came of it
	err   error
}

func (l *loop) finish(f finished) {
	delete(l.inFlight, f.after.ID)
	delete(l.unrecorded, f.after.ID)
	if f.err == nil {
		return
	}
	if f.made {
		l.unrecorded[f.after.ID] = f.after
	}
	l.queueFailed(f.err)
}

func (l *loop) queueFailed(err error) {
	l.pauseUntil = l.opt.Now().Add(storePause)
	l.opt.Logger.Error("queue of reports failed", "err", err)
}

// drain waits for attempts under way, and cuts them off after a while.
func (l *loop) drain(cutOff context.CancelFunc) {
	timer := time.AfterFunc(l.opt.DrainTimeout, cutOff)
	defer timer.Stop()
	for len(l.inFlight) > 0 {
		l.finish(<-l.done)
	}
}

// startDue starts what is due, and returns how long to wait for more.
func (l *loop) startDue(ctx context.Context) time.Duration {
	now := l.opt.Now()
	if wait := l.pauseUntil.Sub(now); wait > 0 {
		return wait
	}
	free := l.opt.Concurrency - len(l.inFlight)
	if free == 0 {
		return idleWait // the end of an attempt comes first
	}
	items, err := l.opt.Queue.Due(now, l.opt.Concurrency)
	if err != nil {
		l.queueFailed(fmt.Errorf("read what is due: %w", err))
		return storePause
	}
	for _, it := range items {
		if l.inFlight[it.ID] || len(l.inFlight) == l.opt.Concurrency {
			continue
		}
		if err := l.start(ctx, it); err != nil {
			l.queueFailed(err)
			return storePause
		}
	}
	next, ok, err := l.opt.Queue.NextDue()
	switch {
	case err != nil:
		l.queueFailed(fmt.Errorf("read when the next report is due: %w", err))
		return storePause
	case !ok:
		return idleWait
	}
	return max(next.Sub(now), shortWait)
}

// start begins an attempt, unless this is the first one and over a limit.
func (l *loop) start(ctx context.Context, it Item) error {
	if after, ok := l.unrecorded[it.ID]; ok {
		// The lease is over while the queue, e.g. on a full disk, still does not
		// know that the report was sent.
		l.inFlight[it.ID] = true
		go func() { l.done <- finished{after, true, l.record(context.WithoutCancel(ctx), after)} }()
		return nil
	}
	if it.Attempts == 0 {
		if reason := l.limits.over(l.opt.Now(), it, l.settings.Load().Limits); reason != "" {
			it.GaveUp, it.LastError = true, "not sent: "+reason
			if err := l.opt.Queue.Update(ctx, it); err != nil {
				return fmt.Errorf("record report %q: %w", it.ID, err)
			}
			l.opt.Logger.Warn("report not sent", "report", it.ID, "test", it.TestID, "reason", reason)
			return nil
		}
		l.limits.add(it)
	}
	l.inFlight[it.ID] = true
	go func() {
		made, err := l.attempt(ctx, &it)
		l.done <- finished{it, made, err}
	}()
	return nil
}

// attempt makes one attempt, and leaves in it what came of that. It returns an
// error only if the queue failed; made says that this was afterwards.
func (m *Mailer) attempt(ctx context.Context, it *Item) (made bool, err error) {
	record := context.WithoutCancel(ctx) // what happened is recorded also when time is up
	settings := m.settings.Load()
	ctx, cancel := context.WithTimeout(ctx, settings.AttemptTimeout)
	defer cancel()
	if m.opt.Trace != nil {
		ctx = m.opt.Trace(ctx, *it)
	}

	it.Attempts++
	it.LastAttempt = m.opt.Now()
	outcome, failed := m.prepare(ctx, it)
	if failed == nil {
		// The lease outlasts the attempt: nobody takes the item meanwhile, and
		// after a crash it is tried again.
		it.Due = it.LastAttempt.Add(settings.AttemptTimeout + m.backOff(it.Attempts))
		if err := m.opt.Queue.Update(record, *it); err != nil {
			return false, fmt.Errorf("lease report %q: %w", it.ID, err)
		}
		// RFC 3834 §3.3, RFC 5321 §4.5.5: the null reverse-path.
		outcome = settings.Transport.Send(ctx, "", it.To, it.Message)
	}
	m.conclude(it, outcome)
	return true, m.record(record, *it)
}

func (m *Mailer) record(ctx context.Context, it Item) error {
	if err := m.opt.Queue.Update(ctx, it); err != nil {
		return fmt.Errorf("record the attempt of report %q: %w", it.ID, err)
	}
	return nil
}

// prepare renders the message if that was not done before. With an error comes
// the outcome to record.
func (m *Mailer) prepare(ctx context.Context, it *Item) (Outcome, error) {
	if len(it.Message) > 0 {
		return Outcome{}, nil
	}
	msg, err := m.opt.Render(ctx, *it)
	if err != nil {
		return Outcome{Detail: "the report could not be written: " + err.Error()}, err
	}
	msg.From, msg.To = m.opt.From, it.To
	if msg.Date.IsZero() {
		msg.Date = m.opt.Now()
	}
	if msg.MessageID == "" {
		msg.MessageID = messageID(*it, msg.From)
	}
	raw, err := Compose(msg)
	if err != nil {
		return Outcome{Permanent: true, Detail: err.Error()}, err
	}
	if raw, err = m.opt.Signer.Sign(raw); err != nil {
		return Outcome{Detail: "the report could not be signed: " + err.Error()}, err
	}
	it.Message = raw
	return Outcome{}, nil
}

// messageID is the same for every rendering of an item.
func messageID(it Item, from string) string {
	domain := "localhost"
	if a, err := mail.ParseAddress(from); err == nil {
		domain = a.Address[strings.LastIndexByte(a.Address, '@')+1:]
	}
	id := strings.Map(func(r rune) rune {
		if isAtext(r) {
			return r
		}
		return '-'
	}, it.ID)
	return fmt.Sprintf("report.%s.%d@%s", id, it.Created.UnixMilli(), domain)
}

// conclude records an outcome in the item.
func (m *Mailer) conclude(it *Item, o Outcome) {
	now := m.opt.Now()
	log := m.opt.Logger.With("report", it.ID, "test", it.TestID, "attempt", it.Attempts)
	if o.Delivered {
		it.Sent, it.LastError = now, ""
		log.Info("report delivered")
		return
	}
	it.LastError = o.reason()
	said := it.withoutAddress(it.LastError)
	giveUp := m.settings.Load().GiveUp
	age, end := now.Sub(it.Created), it.Created.Add(giveUp)
	switch {
	case o.Permanent:
		it.GaveUp = true
		log.Warn("report refused", "reason", said)
	case age >= giveUp:
		it.GaveUp = true
		it.LastError = fmt.Sprintf("given up after %d attempts: %s", it.Attempts, it.LastError)
		log.Warn("report given up", "reason", said)
	default:
		it.Due = now.Add(m.backOff(it.Attempts))
		if it.Due.After(end) {
			it.Due = end // the last attempt
		}
		log.Info("report put off", "due", it.Due, "reason", said)
	}
}

// withoutAddress makes a reason fit for the log: servers like to repeat the
// recipient.
func (it *Item) withoutAddress(reason string) string {
	if it.To == "" {
		return reason
	}
	return strings.ReplaceAll(reason, it.To, "(the recipient)")
}

// maxReason bounds what is kept of a failure, in octets.
const maxReason = 500

// reason says why an attempt failed. Replies come from strangers.
func (o Outcome) reason() string {
	reason := o.Detail
	if o.Code != 0 {
		if reason != "" {
			reason += ": "
		}
		reason += fmt.Sprintf("%d %s", o.Code, o.Text)
	}
	if reason == "" {
		reason = "no reason given"
	}
	return clip(oneLine(reason), maxReason)
}

// backOff is the time after the given attempt until the next: doubling, with a
// jitter of a tenth either way.
func (m *Mailer) backOff(attempt int) time.Duration {
	d := m.settings.Load().FirstRetry
	for i := 1; i < attempt && d < m.opt.MaxRetry; i++ {
		d *= 2
	}
	d = min(d, m.opt.MaxRetry)
	m.randMu.Lock()
	defer m.randMu.Unlock()
	return time.Duration(float64(d) * (0.9 + 0.2*m.opt.Rand.Float64()))
}
