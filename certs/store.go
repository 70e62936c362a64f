package certs

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsink/tlsink/scenario"
)

// DefaultRollWait is the default of Options.RollWait.
const DefaultRollWait = 2 * time.Hour

// State keeps what a restart should not forget about renewals: chosen moments,
// failures, how many certificates were issued this week. Losing it is harmless
// but for the limits of the CA. Safe for concurrent use.
type State interface {
	Load(key string) ([]byte, error)                          // nil, nil if there is none
	Save(ctx context.Context, key string, value []byte) error // durable at return; nil deletes
}

// Options are the settings of a Store.
type Options struct {
	Dir    string // empty: everything stays in memory
	Zone   string // required
	Slots  int    // at least 1
	Issuer Issuer // of the certificates that are not self-signed; required

	// DeferIssue makes Open stop after the self-signed certificates. A public
	// CA validates over DNS, and DNS needs the TLSA data first: serve it, then
	// call Run.
	DeferIssue bool
	// PerWeek is how many certificates for new names are issued within seven
	// days; 0: as many as are missing. Renewals do not count: a CA that has such
	// a limit exempts them, and nothing may expire because of it.
	PerWeek int

	// Publish is called when the data of TLSA changed, by one goroutine, and
	// returns nil once every authoritative server has them. Default: they do at
	// once.
	Publish func(ctx context.Context) error
	// RollWait is how long after a change of TLSA data somebody may still see
	// what was there before: their TTL, the negative TTL, and the refresh of
	// secondaries that Publish does not ask. Default DefaultRollWait.
	RollWait time.Duration
	// RollWaitNow replaces RollWait where it depends on what name servers serve;
	// it must not block, and should not become shorter during a roll.
	RollWaitNow func() time.Duration
	State       State // default: in memory only

	KeyAlgorithms []KeyAlgorithm // in order of preference; default ECDSA, RSA
	RSABits       int            // default and minimum 2048
	// GenerateKey makes missing keys, concurrently; default GenerateKey with
	// RSABits.
	GenerateKey func(KeyAlgorithm) (crypto.Signer, error)

	Now    func() time.Time // default time.Now
	Rand   io.Reader        // serial numbers, moments of renewal; default crypto/rand
	Logger *slog.Logger     // default: discard
}

func (o *Options) defaults() error {
	o.Zone = scenario.Canonical(o.Zone)
	if o.Zone == "" {
		return errors.New("zone is empty; give the DNS zone of the sink")
	}
	if o.Slots < 1 {
		return fmt.Errorf("slots %d: want at least 1", o.Slots)
	}
	if o.Issuer == nil {
		return errors.New("no issuer")
	}
	if len(o.KeyAlgorithms) == 0 {
		o.KeyAlgorithms = []KeyAlgorithm{ECDSA, RSA}
	}
	if o.RSABits == 0 {
		o.RSABits = MinRSABits
	}
	if o.RSABits < MinRSABits {
		return fmt.Errorf("RSA keys of %d bits: want at least %d", o.RSABits, MinRSABits)
	}
	if o.GenerateKey == nil {
		bits := o.RSABits
		o.GenerateKey = func(alg KeyAlgorithm) (crypto.Signer, error) { return GenerateKey(alg, bits) }
	}
	if o.PerWeek < 0 || o.RollWait < 0 {
		return fmt.Errorf("certificates per week %d, roll wait %v: want no negative number", o.PerWeek, o.RollWait)
	}
	if o.RollWait == 0 {
		o.RollWait = DefaultRollWait
	}
	if o.RollWaitNow == nil {
		wait := o.RollWait
		o.RollWaitNow = func() time.Duration { return wait }
	}
	if o.Publish == nil {
		o.Publish = func(context.Context) error { return nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	o.Rand = &lockedReader{r: o.Rand}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if limited, ok := o.Issuer.(NameLimiter); ok {
		return CheckSlots(o.Zone, o.Slots, limited.MaxNames())
	}
	return nil
}

// CheckSlots reports whether a CA that allows so many names in one certificate
// (0: any number) can serve a sink with so many slots.
func CheckSlots(zone string, slots, maxNames int) error {
	if maxNames <= 0 {
		return nil
	}
	each := len(scenario.CertificateNames(zone, 1, scenario.Certificate{Owner: scenario.OwnerDefault, Kind: scenario.CA}))
	if slots*each <= maxNames {
		return nil
	}
	return fmt.Errorf("slots is %d: the default certificate names every host of every slot, %d here, and the CA puts at most %d into one; want at most %d slots, or the local CA",
		slots, slots*each, maxNames, maxNames/each)
}

// lockedReader lets goroutines share a source of randomness.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

// Store holds the keys and certificates of a sink. All methods are safe for
// concurrent use; readers never wait for a renewal or a roll.
type Store struct {
	opts    Options
	vault   vault
	self    SelfSigned
	entries []entry
	seed    []byte

	current atomic.Pointer[snapshot]

	issuing  sync.Mutex // the issuer is called for one certificate after the other
	starting sync.Mutex // one Roll after the other makes its keys

	mu      sync.Mutex // guards replacing current, and what follows
	plans   map[version]plan
	hold    hold
	issued  []time.Time // of new names, within the last week
	rolls   map[scenario.Certificate]*progress
	publish retry

	renewKick, rollKick chan struct{}
}

// Open loads the keys in Dir, makes the missing ones, loads the certificates
// and issues those that are missing, expired or of other names. It fails if a
// file cannot be used, or if a certificate cannot be issued and there is no
// valid one; an Issuer that fails to renew in time is logged. With DeferIssue
// the Issuer is not asked. A roll that was under way goes on in Run.
func Open(ctx context.Context, o Options) (*Store, error) { return open(ctx, o, files{o.Dir}) }

func open(ctx context.Context, o Options, d disk) (*Store, error) {
	if err := o.defaults(); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	s := &Store{
		opts: o, vault: vault{d}, self: SelfSigned{Now: o.Now, Rand: o.Rand},
		rolls: make(map[scenario.Certificate]*progress), plans: make(map[version]plan),
		renewKick: make(chan struct{}, 1), rollKick: make(chan struct{}, 1),
	}
	for _, id := range scenario.Certificates() {
		for _, alg := range o.KeyAlgorithms {
			s.entries = append(s.entries, entry{id, alg})
		}
	}
	for _, step := range []func(context.Context) error{s.loadSeed, s.loadKeys, s.loadChains} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
	}
	s.loadPlans(ctx)
	s.tellLeftovers(ctx)
	if err := s.renew(ctx, !o.DeferIssue); err != nil {
		for _, e := range s.entries {
			if (e.id.Kind == scenario.SelfSigned || !o.DeferIssue) && !s.valid(s.current.Load().inUse(e)) {
				return nil, err
			}
		}
		o.Logger.WarnContext(ctx, "certificates not renewed, old ones are still valid", "err", err)
	}
	return s, nil
}

// Certificates returns the certificates of one identity in order of
// preference: ECDSA first, then RSA. It fails for identities that the sink
// does not have, while one is not issued yet, and when one does not hold any
// more (expired, of other names, or of another CA than Options.Issuer): what a
// face must present, it presents or nothing. Only the service keeps what it has,
// because nothing is concluded from it. While the certificate for another number
// of slots is being issued, the one that is there serves the slots it names.
//
// Whatever the slot of id, this is where it becomes what all slots share.
func (s *Store) Certificates(id scenario.Certificate) ([]tls.Certificate, error) {
	current, shared := s.current.Load(), id.Shared()
	out := make([]tls.Certificate, 0, len(s.opts.KeyAlgorithms))
	for _, alg := range s.opts.KeyAlgorithms {
		v := current.inUse(entry{shared, alg})
		p, known := current.pairs[v]
		switch {
		case !known || id.Slot < 0 || id.Slot >= s.opts.Slots:
			return nil, fmt.Errorf("no certificate %s in a sink with %d slots", entry{id, alg}, s.opts.Slots)
		case p.cert.Leaf == nil, !p.fit && id.Owner != scenario.OwnerService && !s.covers(p, id):
			return nil, fmt.Errorf("certificate %s is not issued yet", v.entry)
		case id.Owner != scenario.OwnerService && !holds(p.cert.Leaf, s.opts.Now()):
			return nil, fmt.Errorf("certificate %s holds from %s to %s only, and is not renewed yet",
				v.entry, p.cert.Leaf.NotBefore.Format(time.DateTime), p.cert.Leaf.NotAfter.Format(time.DateTime))
		}
		out = append(out, p.cert)
	}
	return out, nil
}

// covers reports whether p names the face of id in its slot, and no other face.
func (s *Store) covers(p pair, id scenario.Certificate) bool {
	return p.partly && slices.Contains(p.cert.Leaf.DNSNames, scenario.FaceName(s.opts.Zone, id))
}
