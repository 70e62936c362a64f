package external_test

import (
	"errors"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libdns/libdns"

	"github.com/tlsink/tlsink/zones/external"
)

// raise is a provider with a smallest TTL of its own.
func raise(recs []libdns.Record) (out []libdns.Record, err error) {
	for _, r := range recs {
		rr := r.RR()
		rr.TTL = max(rr.TTL, time.Hour)
		out = append(out, rr)
	}
	return out, nil
}

// without is a provider that drops a type.
func without(rrtype string) func([]libdns.Record) ([]libdns.Record, error) {
	return func(recs []libdns.Record) ([]libdns.Record, error) {
		return slices.DeleteFunc(slices.Clone(recs), func(r libdns.Record) bool { return r.RR().Type == rrtype }), nil
	}
}

// A provider that can't do what is needed is refused, with the reason.
func TestProbe(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func([]libdns.Record) ([]libdns.Record, error)
		want  string
	}{
		{"all is well", nil, ""},
		{"drops TLSA", without("TLSA"), "provider drops TLSA"},
		{"drops AAAA", without("AAAA"), "provider drops AAAA"},
		{"raises the TTL", raise, "TTL of 3600 s instead of 60 s"},
		{"refuses TLSA", func(recs []libdns.Record) ([]libdns.Record, error) {
			for _, r := range recs {
				if r.RR().Type == "TLSA" {
					return nil, errors.New("invalid record type")
				}
			}
			return recs, nil
		}, "provider refuses TLSA, but takes A, AAAA, MX, TXT; "},
		{"refuses all", func([]libdns.Record) ([]libdns.Record, error) { return nil, errors.New("payment required") }, `zone "sink.example.": payment required`},
		{"one record a name", func(recs []libdns.Record) ([]libdns.Record, error) {
			seen := make(map[string]bool)
			return slices.DeleteFunc(slices.Clone(recs), func(r libdns.Record) bool {
				key := r.RR().Name + r.RR().Type
				defer func() { seen[key] = true }()
				return seen[key]
			}), nil
		}, "provider changes MX"},
		{"cuts texts", func(recs []libdns.Record) (out []libdns.Record, err error) {
			for _, r := range recs {
				if txt, ok := r.(libdns.TXT); ok {
					txt.Text = txt.Text[:min(255, len(txt.Text))]
					r = txt
				}
				out = append(out, r)
			}
			return out, nil
		}, "provider changes TXT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newCloud(t)
			before := len(cl.api.RRsets())
			cl.become(c.spoil)
			err := newPublisher(t, cl).Probe(t.Context())
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if after := cl.api.RRsets(); len(after) != before {
				t.Errorf("the probe left %v", after)
			}
		})
	}
}

// A provider that only adds has an RRset with the old records, too.
func TestProbeFindsAppenders(t *testing.T) {
	cl := newCloud(t)
	calls := 0
	var before []libdns.Record
	cl.become(func(recs []libdns.Record) ([]libdns.Record, error) {
		calls++
		before = append(before, recs...)
		return before, nil
	})
	if err := newPublisher(t, cl).Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "provider changes A") || calls != 2 {
		t.Errorf("error %v after %d calls", err, calls)
	}
}

// Who is not there is not asked for each type.
func TestProbeOfNobody(t *testing.T) {
	cl := newCloud(t)
	calls := 0
	cl.become(func([]libdns.Record) ([]libdns.Record, error) {
		calls++
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	})
	if err := newPublisher(t, cl).Probe(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) || calls != 1 {
		t.Errorf("error %v after %d calls", err, calls)
	}
}

// deSEC says itself what its smallest TTL is.
func TestProbeOfStrictDomain(t *testing.T) {
	cl := newCloud(t)
	cl.api.SetMinimumTTL(3600)
	err := newPublisher(t, cl).Probe(t.Context())
	if err == nil || !strings.Contains(err.Error(), "greater than or equal to 3600") || !strings.Contains(err.Error(), "lower minimum TTL") {
		t.Errorf("error %v", err)
	}
}

// Without IPv6 nothing of it is asked of the provider.
func TestProbeAsksForNoMore(t *testing.T) {
	cl := newCloud(t)
	cl.become(without("AAAA"))
	p := newPublisher(t, cl, func(o *external.Options) {
		o.Content = slices.DeleteFunc(o.Content, func(r libdns.Record) bool { return r.RR().Type == "AAAA" })
	})
	if err := p.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}
