package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/scenario"
)

// Status is the outcome of a check.
type Status string

// The values of Status.
const (
	OK     Status = "ok"
	Wrong  Status = "wrong"
	Cannot Status = "cannot" // could not be tested
)

// Effect says what a result that is not OK does to verdicts.
type Effect string

// The values of Effect.
const (
	NoEffect Effect = ""
	// Unverifiable: senders that enforce DANE or MTA-STS truthfully look as if
	// they did not.
	Unverifiable Effect = "unverifiable"
	// Broken: a bad server looks good, or a good one bad. Whatever is seen says
	// nothing. Only what is wrong has this effect, not what could not be tested.
	Broken Effect = "broken"
)

// Result is what one check found out about one thing.
type Result struct {
	Check   string `json:"check"`
	Subject string `json:"subject"`
	Status  Status `json:"status"`
	Seen    string `json:"seen"`
	Fix     string `json:"fix,omitempty"`
	Effect  Effect `json:"effect,omitempty"`
}

// Scope selects checks.
type Scope int

// The values of Scope.
const (
	Outside Scope = 1 << iota // what the world sees
	Faces                     // the sink's own listeners and zone
	All     = Outside | Faces
)

// Resolver validates. *dnssec.Resolver is one.
type Resolver interface {
	Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error)
}

// Options say what the sink should be, and how to look at it. Zone, Addresses
// and Roots are required. Where a way to look is missing, what needs it could not
// be tested.
type Options struct {
	Zone        string
	Slots       int          // default 1
	Addresses   []netip.Addr // of the apex, mx and the name server
	MXAddresses []netip.Addr // of mx03 to mx06; default as in package zones
	UTAddresses []netip.Addr // of ut; default MXAddresses
	NameServers []string     // besides ns1; the parent zone must name all

	DS         []*dns.DS // of our keys, if known; any of them is good at the parent
	Delegation string    // the records for the parent zone, for the fix
	// External: another server has the zone, its name servers and its keys.
	External bool
	// Provider says why that server does not have our records, Foreign what
	// somebody else changed there; nil: not known.
	Provider, Foreign func() error

	DKIMSelector string       // of reports
	DKIM         string       // its TXT record, if known
	Sender       netip.Addr   // address that reports come from; default the first of Addresses
	Smarthost    bool         // reports leave through another server
	CAs          []string     // what a CAA record must name; empty: any
	Host         []netip.Addr // addresses of this machine

	World    Resolver            // recursive, from the root's trust anchors
	Own      Resolver            // our own server, from our own DS; default World
	Exchange dnssec.ExchangeFunc // with one server; default the network
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	Roots    *x509.CertPool // that certificates of the CA must lead to
	// At is where a port of an address is; default that.
	At func(a netip.Addr, port uint16) string
	// SMTP and HTTPS are host:port of the faces; default the ports of the first
	// of MXAddresses and Addresses.
	SMTP, HTTPS string

	Token string // of scenario.Probe; without it the downgrade phase has to be waited out
	Wait  bool   // it is
	// Downgrade is how long STARTTLS is withheld from a new client.
	Downgrade time.Duration
	// Waiting is told each second how long the wait will still be.
	Waiting func(left time.Duration)

	Now func() time.Time // default time.Now
	// Clock says what else is known to be wrong with the clock.
	Clock func() error
	// Date is the URL of an HTTPS server of the operator's choice, e.g. the ACME
	// directory, whose Date header is compared with the clock.
	Date string
	// Timeout bounds one exchange or connection; default 10 s.
	Timeout time.Duration
	// Again is the time until name servers with different serials are asked once
	// more; default 5 s.
	Again time.Duration
}

func (o *Options) defaults() error {
	o.Zone = scenario.Canonical(o.Zone)
	if o.Zone == "" || len(o.Addresses) == 0 || o.Roots == nil {
		return errors.New("doctor: Zone, Addresses and Roots are required")
	}
	if len(o.MXAddresses) == 0 {
		i := max(0, slices.IndexFunc(o.Addresses, netip.Addr.Is4))
		o.MXAddresses = o.Addresses[i : i+1]
	}
	if len(o.UTAddresses) == 0 {
		o.UTAddresses = o.MXAddresses
	}
	if !o.Sender.IsValid() {
		o.Sender = o.Addresses[0]
	}
	if o.Own == nil {
		o.Own = o.World
	}
	if o.Exchange == nil {
		o.Exchange = exchange
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.At == nil {
		o.At = func(a netip.Addr, port uint16) string { return net.JoinHostPort(a.String(), strconv.Itoa(int(port))) }
	}
	if o.SMTP == "" {
		o.SMTP = o.At(o.MXAddresses[0], 25)
	}
	if o.HTTPS == "" {
		o.HTTPS = o.At(o.Addresses[0], 443)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Slots = max(1, o.Slots)
	for d, initial := range map[*time.Duration]time.Duration{&o.Downgrade: 3 * time.Minute, &o.Timeout: 10 * time.Second, &o.Again: 5 * time.Second} {
		if *d <= 0 {
			*d = initial
		}
	}
	return nil
}

// Doctor checks one sink. It may be used again, but not at the same time.
type Doctor struct{ o Options }

// New returns a Doctor, or an error that names the option that is wrong.
func New(o Options) (*Doctor, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	return &Doctor{o}, nil
}

// Run does the checks of a scope in order. each, if given, is told of the
// results of every check as soon as it is done.
func (d *Doctor) Run(ctx context.Context, scope Scope, each func([]Result)) []Result {
	x := &exam{Options: d.o, scope: scope, worst: make(map[string]Status), shown: make(map[shownKey]shown)}
	x.Own, x.World = batched(d.o.Own), batched(d.o.World)
	for _, c := range checks() {
		if c.scope&scope == 0 || ctx.Err() != nil {
			continue
		}
		x.check = c
		before := len(x.results)
		if first := x.blocked(c); first != "" {
			x.cannot(x.Zone, notBefore+first+" is ok")
		} else {
			c.run(x, ctx)
		}
		if each != nil && len(x.results) > before {
			each(x.results[before:])
		}
	}
	return x.results
}

// notBefore begins what is said of a check that another one keeps from telling
// anything.
const notBefore = "not tested before "

// exam is one run.
type exam struct {
	Options
	scope Scope
	check check
	// elsewhere are the name servers that the parent names, if External.
	elsewhere []string
	results   []Result
	worst     map[string]Status // of each check that ran
	shown     map[shownKey]shown
}

// blocked names the check that c needs and that is not ok.
func (x *exam) blocked(c check) string {
	for _, need := range c.needs {
		if s := x.worst[need]; s == Wrong || s == Cannot && slices.Contains(c.strictly, need) {
			return need
		}
	}
	return ""
}

func (x *exam) add(r Result) {
	r.Check = x.check.id
	if was := x.worst[r.Check]; was == "" || r.Status == Wrong || r.Status == Cannot && was == OK {
		x.worst[r.Check] = r.Status
	}
	x.results = append(x.results, r)
}

func (x *exam) ok(subject, format string, args ...any) {
	x.add(Result{Subject: subject, Status: OK, Seen: fmt.Sprintf(format, args...)})
}

// wrong reports a fault with the usual fix, unless another is given.
func (x *exam) wrong(subject, seen, fix string) {
	if fix == "" {
		fix = x.check.fix
	}
	x.add(Result{Subject: subject, Status: Wrong, Seen: seen, Fix: fix, Effect: x.check.effect})
}

func (x *exam) cannot(subject, why string) {
	x.add(Result{Subject: subject, Status: Cannot, Seen: why, Effect: x.check.effect})
}

// Worst says what the results do to verdicts: why our own zone or policy cannot
// be verified, which server is broken, and whether that could be found out at
// all.
func Worst(results []Result) (unverifiable, broken string, decided bool) {
	decided = true
	for _, r := range results {
		switch {
		case r.Status == OK:
		case r.Effect == Unverifiable && unverifiable == "":
			unverifiable = cause(results, r)
		case r.Effect == Broken && r.Status == Cannot:
			decided = false
		case r.Effect == Broken && broken == "":
			broken = cause(results, r)
		}
	}
	return unverifiable, broken, decided
}

// cause is what is wrong: of what was not tested, that which it waits for.
func cause(results []Result, r Result) string {
	if waits, ok := strings.CutPrefix(r.Seen, notBefore); ok {
		id, _, _ := strings.Cut(waits, " is ok")
		if i := slices.IndexFunc(results, func(o Result) bool { return o.Check == id && o.Status == Wrong }); i >= 0 {
			r = results[i]
		}
	}
	return r.Subject + ": " + r.Seen
}

// Healthy reports whether nothing is wrong.
func Healthy(results []Result) bool {
	return !slices.ContainsFunc(results, func(r Result) bool { return r.Status == Wrong })
}
