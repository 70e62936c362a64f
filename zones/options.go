package zones

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/zones/internal/records"
)

// Defaults and limits of Options.
const (
	MaxTTL           = 60 * time.Second
	DefaultValidity  = 7 * 24 * time.Hour
	DefaultQueryRing = 10_000
	MaxSlots         = 1000

	minValidity = 24 * time.Hour
)

// TLSARecord is the data of a TLSA record (RFC 6698 §2.1).
type TLSARecord struct {
	Usage, Selector, MatchingType uint8
	Data                          []byte // certificate association data
}

// DKIM is a public key record (RFC 6376 §3.6.1).
type DKIM struct {
	Selector string
	Record   string // e.g. "v=DKIM1; k=ed25519; p=…"
}

// Options describe a zone and its server.
type Options struct {
	Zone  string // the zone's name, with or without trailing dot
	Slots int    // number of slots, slot 0 included; 0 means 1

	// Addresses are those of the apex, mx, ns1 and mta-sts.et. At least one.
	Addresses []netip.Addr
	// MXAddresses are those of mx03 to mx06. Default: the first IPv4 address
	// of Addresses, or the first one. Four hosts with A and AAAA are more
	// addresses than Postfix tries (five).
	MXAddresses []netip.Addr
	// UTAddresses are those of ut. Default: MXAddresses. Others, of the same
	// families, so that a sender is seen under one address at et and ut, tell at
	// accept what a connection is for.
	UTAddresses []netip.Addr

	// TLSA holds the records published at _25._tcp of each host, by host name.
	// ut must not be among them.
	TLSA map[string][]TLSARecord
	// PolicyID is the id of the MTA-STS policy: 1 to 32 letters and digits.
	PolicyID string
	// Preferences are the initial MX preferences of slot 0; default: 10, 20, 30,
	// 40. The others begin at scenario.Resting.
	Preferences map[scenario.Host]uint16
	DKIM        []DKIM   // of the report domain, which is the apex
	NameServers []string // further name servers besides ns1

	TTL      time.Duration // of all records, whole seconds, at most MaxTTL, which is the default
	Validity time.Duration // of signatures; default DefaultValidity, at least 24 h

	// State keeps keys and serial. Without one both are made anew, and the DS
	// record changes, whenever the program starts.
	State State
	Keys  KeyOptions

	QueryRing int              // merged queries kept; default DefaultQueryRing
	Now       func() time.Time // default time.Now
	Log       *slog.Logger     // default: discard
	Limits    Limits
	RateLimit RateLimit
	Transfer  Transfer // default: no secondary name servers
}

// Limits protect the server. Zero fields mean the default.
type Limits struct {
	UDPWorkers     int           // concurrent readers of each UDP socket; default 4
	TCPConns       int           // connections at a time; default 256
	TCPPerClient   int           // connections of one IPv4 address or IPv6 /64; default 16
	TCPQueries     int           // queries of one connection; default 256
	TCPIdle        time.Duration // wait for the next whole query; default 10 s
	TCPWrite       time.Duration // for one answer; default 5 s
	RecordsPerName int           // members of one RRset set through libdns; default 64
}

func (l *Limits) setDefaults() {
	setDefault(&l.UDPWorkers, 4)
	setDefault(&l.TCPConns, 256)
	setDefault(&l.TCPPerClient, 16)
	setDefault(&l.TCPQueries, 256)
	setDefault(&l.TCPIdle, 10*time.Second)
	setDefault(&l.TCPWrite, 5*time.Second)
	setDefault(&l.RecordsPerName, 64)
}

func setDefault[T ~int | ~int64](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// withDefaults returns a checked copy with every default filled in.
func (o Options) withDefaults() (Options, error) {
	o.Zone = dns.CanonicalName(o.Zone)
	if err := checkHostname(o.Zone); err != nil {
		return o, fmt.Errorf("zone %q: %w", o.Zone, err)
	}
	if o.Slots == 0 {
		o.Slots = 1
	}
	if o.Slots < 0 || o.Slots > MaxSlots {
		return o, fmt.Errorf("slots %d: want 1 to %d", o.Slots, MaxSlots)
	}
	if err := o.checkAddresses(); err != nil {
		return o, err
	}
	if !regexp.MustCompile(`^[A-Za-z0-9]{1,32}$`).MatchString(o.PolicyID) { // RFC 8461 §3.1
		return o, fmt.Errorf("MTA-STS policy id %q: want 1 to 32 letters and digits", o.PolicyID)
	}
	if o.TTL == 0 {
		o.TTL = MaxTTL
	}
	if o.TTL < time.Second || o.TTL > MaxTTL || o.TTL%time.Second != 0 {
		return o, fmt.Errorf("ttl %v: want whole seconds from 1s to %v", o.TTL, MaxTTL)
	}
	if o.Validity == 0 {
		o.Validity = DefaultValidity
	}
	if o.Validity < minValidity {
		return o, fmt.Errorf("signature validity %v: want at least %v", o.Validity, minValidity)
	}
	if err := o.checkPreferences(); err != nil {
		return o, err
	}
	if err := o.Keys.setDefaults(); err != nil {
		return o, err
	}
	setDefault(&o.QueryRing, DefaultQueryRing)
	o.Limits.setDefaults()
	o.RateLimit.setDefaults()
	transfer, err := o.Transfer.withDefaults()
	if err != nil {
		return o, fmt.Errorf("transfer: %w", err)
	}
	o.Transfer = transfer
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func (o *Options) checkAddresses() error {
	if len(o.Addresses) == 0 {
		return errors.New("addresses: at least one address of the sink is needed")
	}
	if len(o.MXAddresses) == 0 {
		first := o.Addresses[0]
		if i := slices.IndexFunc(o.Addresses, func(a netip.Addr) bool { return a.Unmap().Is4() }); i >= 0 {
			first = o.Addresses[i]
		}
		o.MXAddresses = []netip.Addr{first}
	}
	if len(o.UTAddresses) == 0 {
		o.UTAddresses = o.MXAddresses
	}
	for _, list := range []*[]netip.Addr{&o.Addresses, &o.MXAddresses, &o.UTAddresses} {
		clean := make([]netip.Addr, 0, len(*list))
		for _, a := range *list {
			a = a.Unmap().WithZone("")
			if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
				return fmt.Errorf("address %q: want a unicast address that senders can reach", a)
			}
			if !slices.Contains(clean, a) {
				clean = append(clean, a)
			}
		}
		*list = clean
	}
	return nil
}

func (o *Options) checkPreferences() error {
	if o.Preferences == nil {
		o.Preferences = make(map[scenario.Host]uint16)
		for i, h := range scenario.MXHosts() {
			o.Preferences[h] = uint16(10 * (i + 1))
		}
	}
	for _, h := range scenario.MXHosts() {
		if _, ok := o.Preferences[h]; !ok {
			return fmt.Errorf("preferences: %s is missing", h)
		}
	}
	if len(o.Preferences) != len(scenario.MXHosts()) {
		return fmt.Errorf("preferences: want exactly %v", scenario.MXHosts())
	}
	return nil
}

// checkHostname checks a canonical, fully qualified owner name: letters, digits,
// hyphen and underscore. Wildcards are refused, see the package documentation.
func checkHostname(fqdn string) error { return records.CheckName(fqdn) }
