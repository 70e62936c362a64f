package zones

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// KeyOptions say how keys are published and rolled. The zero value is good.
type KeyOptions struct {
	// Split gives a new zone a KSK and a ZSK instead of one CSK. One that exists
	// is split by rolling its ZSK. Secondaries that validate what they copy may
	// want it: Knot takes two CSKs, as in a roll, for keys that sign no content.
	Split bool
	// DSDigests are the digests of DS and CDS records: dns.SHA256, which is the
	// default, dns.SHA384, or both.
	DSDigests []uint8
	// NoCDS leaves out the CDS and CDNSKEY records, by which a parent that looks
	// at them follows a key roll by itself.
	NoCDS bool

	// ParentDS asks for the zone's DS records: one RRset for each server of the
	// parent zone, with the TTLs that these servers give (those of a cache are
	// shorter). An error or an empty answer means that nothing is known. nil: the
	// parent can't be asked, [Zone.ConfirmDS] has to be called.
	ParentDS func(ctx context.Context) ([][]*dns.DS, error)
	// ValidDS asks a validating resolver for the same RRset, perhaps from its
	// cache; what does not validate, and what is insecure, is an error. The answers
	// that ParentDS gets can be forged on their way: a roll goes on only if this one
	// agrees. nil: there is none to ask.
	ValidDS func(ctx context.Context) ([]*dns.DS, error)
	// Synced returns nil once every name server of the zone serves serial or a
	// later one. nil: there is none to ask.
	Synced func(ctx context.Context, serial uint32) error
	// Propagation is added to every TTL that a roll waits for: what secondaries
	// take, and resolvers that keep short TTLs longer than they should. Default
	// 1 h.
	Propagation time.Duration
	// DSTTL is how long the old DS is taken to be cached, at least: a longer TTL
	// that ParentDS sees counts. Default 24 h.
	DSTTL time.Duration
	// Interval between two looks of Run at clock, signatures and roll. Default
	// 1 min.
	Interval time.Duration
}

func (o *KeyOptions) setDefaults() error {
	if len(o.DSDigests) == 0 {
		o.DSDigests = []uint8{dns.SHA256}
	}
	for i, d := range o.DSDigests {
		if d != dns.SHA256 && d != dns.SHA384 || slices.Contains(o.DSDigests[:i], d) {
			return fmt.Errorf("DS digest %d: want %d (SHA-256) or %d (SHA-384), each once", d, dns.SHA256, dns.SHA384)
		}
	}
	setDefault(&o.Propagation, time.Hour)
	setDefault(&o.DSTTL, 24*time.Hour)
	setDefault(&o.Interval, time.Minute)
	return nil
}
