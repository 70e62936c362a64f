package propagation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/zones/propagation"
)

func TestFindsAllServers(t *testing.T) {
	n, o := three()
	s := newServers(t, o)
	got, err := s.Servers(t.Context())
	want := []propagation.Server{
		{Name: "ns1.sink.example", Addr: "192.0.2.1:53"}, {Name: "ns2.example", Addr: "192.0.2.2:53"}, {Name: "old.example", Addr: "192.0.2.3:53"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("servers: %v (-want +got):\n%s", err, diff)
	}
	asked := n.questions()
	if _, err := s.Servers(t.Context()); err != nil || n.questions() != asked {
		t.Errorf("found again at once: %v, %d questions", err, n.questions()-asked)
	}
}

func TestFindFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		lookup propagation.LookupFunc
		want   string
	}{
		{"resolver", func(context.Context, string, uint16) ([]dns.RR, error) { return nil, errors.New("SERVFAIL") }, "its NS records: SERVFAIL"},
		{"no zone above", recursive(zone + " NS ns1.sink.example."), "no zone above"},
		{"parent is silent", recursive(zone+" NS ns1.sink.example.", "example. NS p.example.", "p.example. A 192.0.2.98"), "no server of the parent"},
		{"parent without address", recursive("example. NS p.example."), "none of its name servers has an address"},
	} {
		_, o := three()
		o.Lookup = c.lookup
		err := newServers(t, o).Check(t.Context(), "et."+zone, dns.TypeMX, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	// Not delegated, and unknown to itself.
	n, o := three()
	o.Lookup = recursive("example. NS p.example.", "p.example. A 192.0.2.100")
	n.at("192.0.2.100:53", func(s *nameServer) { s.lines = nil })
	if err := newServers(t, o).Check(t.Context(), zone, dns.TypeMX, nil); err == nil || !strings.Contains(err.Error(), "is it delegated?") {
		t.Errorf("error %v", err)
	}
}

// While name servers can't be found again, those of before are used.
func TestOldServersAreUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, o := three()
		works, lookup := true, o.Lookup
		o.Lookup = func(ctx context.Context, name string, qtype uint16) ([]dns.RR, error) {
			if !works {
				return nil, errors.New("resolver is down")
			}
			return lookup(ctx, name, qtype)
		}
		s := newServers(t, o)
		before, err := s.Servers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		works = false
		time.Sleep(time.Hour)
		after, err := s.Servers(t.Context())
		if err != nil || cmp.Diff(before, after) != "" {
			t.Errorf("%v, %v", after, err)
		}
	})
}

const (
	mx      = "et.sink.example. 60 IN MX 10 MX03.et.sink.example."
	mxOther = "et.sink.example. 60 IN MX 20 mx03.et.sink.example."
	mxMore  = "et.sink.example. 60 IN MX 30 mx04.et.sink.example."
)

func TestCheck(t *testing.T) {
	const second = "192.0.2.2:53"
	for _, c := range []struct {
		name   string
		change func(*nameServer)
		want   string // "" means that all is well
	}{
		{"alike", func(*nameServer) {}, ""},
		{"other data", func(s *nameServer) { s.lines = []string{mxOther} }, `ns2.example (192.0.2.2:53) serves ["20 mx03.et.sink.example."]`},
		{"more", func(s *nameServer) { s.lines = []string{mx, mxMore} }, `"30 mx04.et.sink.example."`},
		{"nothing", func(s *nameServer) { s.lines = nil }, "serves no records"},
		{"not authoritative", func(s *nameServer) { s.zones = nil }, "ns2.example (192.0.2.2:53): it is not authoritative"},
		{"refused", func(s *nameServer) { s.rcode = dns.RcodeRefused }, "it answers REFUSED"},
		{"silent", func(s *nameServer) { s.err = errors.New("i/o timeout") }, "i/o timeout"},
		{"unreachable from here", func(s *nameServer) { s.err = syscall.ENETUNREACH }, "unreachable"},
		{"truncated", func(s *nameServer) { s.truncate = true }, ""},
		{"lost", func(s *nameServer) { s.udpLost = true }, ""},
	} {
		n, o := three()
		n.all(mx)
		n.at(second, c.change)
		err := newServers(t, o).Check(t.Context(), "ET."+zone, dns.TypeMX, []string{"10 mx03.ET.sink.example."})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "":
			notServed, ok := errors.AsType[*propagation.NotServedError](err)
			if !ok || len(notServed.Servers) != 1 || notServed.Servers[0].Server.Addr != second || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
			}
		}
	}
}

// A name server is asked at every address that this host can reach.
func TestNoIPv6(t *testing.T) {
	n, o := three()
	n.all(mx)
	lookup := o.Lookup
	v6 := recursive("ns2.example. AAAA 2001:db8::2")
	o.Lookup = func(ctx context.Context, name string, qtype uint16) ([]dns.RR, error) {
		if qtype == dns.TypeAAAA {
			return v6(ctx, name, qtype)
		}
		return lookup(ctx, name, qtype)
	}
	n.servers["[2001:db8::2]:53"] = &nameServer{err: fmt.Errorf("dial: %w", syscall.ENETUNREACH)}
	if err := newServers(t, o).Check(t.Context(), "et."+zone, dns.TypeMX, []string{"10 mx03.et.sink.example."}); err != nil {
		t.Errorf("without IPv6: %v", err)
	}
	n.servers["[2001:db8::2]:53"] = &nameServer{zones: []string{zone}, lines: []string{mxOther}}
	if err := newServers(t, o).Check(t.Context(), "et."+zone, dns.TypeMX, []string{"10 mx03.et.sink.example."}); err == nil || !strings.Contains(err.Error(), "2001:db8::2") {
		t.Errorf("other data over IPv6: %v", err)
	}
}

func TestCanonicalForms(t *testing.T) {
	for _, c := range []struct {
		line, data string
		qtype      uint16
	}{
		{`et.sink.example. TXT "v=STSv1; " "id=1;"`, "v=STSv1; id=1;", dns.TypeTXT},
		{`et.sink.example. TXT "a\"\\\195\188"`, `a"\ü`, dns.TypeTXT},
		{"et.sink.example. TLSA 3 1 1 ABCD EF", "3 1 1 abcdef", dns.TypeTLSA},
		{"et.sink.example. AAAA 2001:0db8:0::1", "2001:db8::1", dns.TypeAAAA},
	} {
		n, o := three()
		n.all(c.line)
		s := newServers(t, o)
		if err := s.Check(t.Context(), "et."+zone, c.qtype, []string{c.data, c.data}); err != nil {
			t.Errorf("%s: %v", c.line, err)
		}
	}
	_, o := three()
	if err := newServers(t, o).Wait(t.Context(), "et."+zone, dns.TypeMX, []string{"x"}); err == nil {
		t.Error("wanted data that is none, and got it")
	}
}

// Wait ends when the last server serves it, or with the context.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, o := three()
		s := newServers(t, o)
		n.all(mxOther)
		for i, addr := range []string{"192.0.2.3:53", "192.0.2.1:53", "192.0.2.2:53"} {
			time.AfterFunc(time.Duration(i+1)*10*time.Second, func() { n.at(addr, func(s *nameServer) { s.lines = []string{mx} }) })
		}
		start := time.Now()
		if err := s.Wait(t.Context(), "et."+zone, dns.TypeMX, []string{"10 mx03.et.sink.example."}); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited < 30*time.Second || waited > 40*time.Second {
			t.Errorf("waited %s", waited)
		}
		if asked := n.questions(); asked > 3*16 {
			t.Errorf("%d questions in 30 s", asked)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n.at("192.0.2.3:53", func(s *nameServer) { s.lines = []string{mxMore} })
		err := s.Wait(ctx, "et."+zone, dns.TypeMX, []string{"10 mx03.et.sink.example."})
		notServed, ok := errors.AsType[*propagation.NotServedError](err)
		if !ok || !errors.Is(err, context.DeadlineExceeded) || len(notServed.Servers) != 1 || !strings.Contains(err.Error(), "old.example (192.0.2.3:53) serves") {
			t.Errorf("error %v", err)
		}
	})
}

// A challenge may stand beside another one.
func TestWaitIncluding(t *testing.T) {
	n, o := three()
	s := newServers(t, o)
	n.all("_acme-challenge.sink.example. TXT one", "_acme-challenge.sink.example. TXT two")
	if err := s.WaitIncluding(t.Context(), "_acme-challenge."+zone, dns.TypeTXT, []string{"two"}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.WaitIncluding(ctx, "_acme-challenge."+zone, dns.TypeTXT, []string{"three"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestSerial(t *testing.T) {
	n, o := three()
	soa := "sink.example. SOA ns1.sink.example. h.sink.example. %d 1 1 1 1"
	n.all(fmt.Sprintf(soa, 7))
	n.at("192.0.2.2:53", func(s *nameServer) { s.lines = []string{fmt.Sprintf(soa, 6)} })
	n.at("192.0.2.3:53", func(s *nameServer) { s.lines = nil })
	got, err := newServers(t, o).Serial(t.Context())
	want := map[propagation.Server]uint32{{Name: "ns1.sink.example", Addr: "192.0.2.1:53"}: 7, {Name: "ns2.example", Addr: "192.0.2.2:53"}: 6}
	if diff := cmp.Diff(want, got); diff != "" || err == nil || !strings.Contains(err.Error(), "192.0.2.3") {
		t.Errorf("error %v, serials (-want +got):\n%s", err, diff)
	}
}

// What one name server does not serve is not set, and is not read back.
func TestConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, o := three()
		p := &provider{}
		c := propagation.Confirm(p, newServers(t, o))
		n.all(mx)
		rec := []libdns.Record{libdns.MX{Name: "et", TTL: time.Minute, Preference: 10, Target: "mx03.et.sink.example."}}
		next := []libdns.Record{libdns.MX{Name: "et", TTL: time.Minute, Preference: 20, Target: "mx03.et.sink.example."}}
		set := func(recs []libdns.Record) error {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, err := c.SetRecords(ctx, zone, recs)
			return err
		}
		get := func() error { _, err := c.GetRecords(t.Context(), zone); return err }
		if err := errors.Join(set(rec), get()); err != nil {
			t.Fatal(err)
		}

		n.at("192.0.2.1:53", func(s *nameServer) { s.lines = []string{mxOther} })
		if err := set(next); err == nil || !strings.Contains(err.Error(), "ns2.example") {
			t.Errorf("set at one of three: %v", err)
		}
		if err := get(); err == nil || !strings.Contains(err.Error(), "not served by every name server") {
			t.Errorf("read back while two serve the old order: %v", err)
		}
		recs, err := c.GetRecords(t.Context(), zone)
		if unconfirmed, ok := errors.AsType[*propagation.UnconfirmedError](err); !ok || len(recs) != 1 || !slices.Equal(unconfirmed.Unconfirmed(), []string{"et.sink.example."}) {
			t.Errorf("%d records, error %v that does not name the RRset", len(recs), err)
		}
		n.all(mxOther)
		if err := get(); err != nil {
			t.Errorf("once all serve it: %v", err)
		}
		// Refused by the provider: the old order stays known.
		p.err = errors.New("quota exceeded")
		if err := set(rec); err == nil || get() != nil {
			t.Errorf("set %v, get %v", err, get())
		}
		// Somebody else changed it, here and there.
		p.records = rec
		if err := get(); err == nil {
			t.Error("an order that no name server serves was read back")
		}
	})
}

// resolver answers every question with the same.
type resolver struct {
	answer dnssec.Answer
	err    error
}

func (r resolver) Lookup(context.Context, string, uint16) (dnssec.Answer, error) {
	return r.answer, r.err
}

func TestThrough(t *testing.T) {
	rrs := []dns.RR{&dns.NS{Ns: "ns1.example."}}
	for _, c := range []struct {
		name string
		r    resolver
		want string
	}{
		{"secure", resolver{dnssec.Answer{RRs: rrs, Status: dnssec.Secure}, nil}, ""},
		{"insecure", resolver{dnssec.Answer{RRs: rrs, Status: dnssec.Insecure}, nil}, ""},
		{"bogus", resolver{dnssec.Answer{Status: dnssec.Bogus, Why: "expired"}, nil}, "bogus: expired"},
		{"error", resolver{dnssec.Answer{Status: dnssec.Error}, errors.New("no server")}, "no server"},
	} {
		got, err := propagation.Through(c.r)(t.Context(), zone, dns.TypeNS)
		if c.want == "" && (err != nil || len(got) != 1) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]propagation.Options{
		"zone":    {Fixed: []string{"192.0.2.1:53"}},
		"neither": {Zone: zone},
		"port":    {Zone: zone, Fixed: []string{"192.0.2.1"}},
	} {
		if _, err := propagation.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestParentDS(t *testing.T) {
	const (
		parent = "192.0.2.100:53"
		ds     = "sink.example. 3600 IN DS 1 13 2 00"
	)
	for _, c := range []struct {
		name   string
		change func(*nameServer)
		want   []string // of the one server
		err    string
	}{
		{"one", func(s *nameServer) { s.lines = append(s.lines, ds) }, []string{"3600"}, ""},
		{"none", func(*nameServer) {}, nil, ""},
		{"silent", func(s *nameServer) { s.err = errors.New("i/o timeout") }, nil, "i/o timeout"},
		{"no authority", func(s *nameServer) { s.zones = nil }, nil, "not authoritative"},
	} {
		n, o := three()
		o.Lookup = recursive("example. NS parent.example.", "parent.example. A 192.0.2.100")
		n.at(parent, func(s *nameServer) { s.zones = []string{"example."} })
		n.at(parent, c.change)
		got, err := newServers(t, o).ParentDS(t.Context())
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "parent zone") {
				t.Errorf("%s: error %v, want one with %q", c.name, err, c.err)
			}
			continue
		}
		var ttls []string
		for _, set := range got {
			for _, rr := range set {
				ttls = append(ttls, strconv.Itoa(int(rr.Hdr.Ttl)))
			}
		}
		if err != nil || len(got) != 1 || !slices.Equal(ttls, c.want) {
			t.Errorf("%s: %v (%v), want DS records of one server with TTLs %v", c.name, got, err, c.want)
		}
	}
}

// The largest TTLs of any server count, and a server that does not say is one that
// may have a larger one.
func TestTTL(t *testing.T) {
	n, o := three()
	const soa, mx = zone + " 3600 IN SOA ns. host. 1 1 1 1 60", "et." + zone + " 30 IN MX 10 mx03.et.sink.example."
	n.all(soa, mx)
	n.at("192.0.2.2:53", func(s *nameServer) {
		s.lines = []string{strings.Replace(soa, " 60", " 300", 1), strings.Replace(mx, " 30 ", " 45 ", 1)}
	})
	s := newServers(t, o)
	positive, negative, err := s.TTL(t.Context(), "et."+zone, dns.TypeMX)
	if err != nil || positive != 45*time.Second || negative != 5*time.Minute {
		t.Errorf("%v and %v, %v", positive, negative, err)
	}
	if positive, _, err := s.TTL(t.Context(), "ut."+zone, dns.TypeMX); err != nil || positive != 0 {
		t.Errorf("of no records: %v, %v", positive, err)
	}
	n.at("192.0.2.3:53", func(s *nameServer) { s.err = errors.New("lost") })
	if _, _, err := s.TTL(t.Context(), "et."+zone, dns.TypeMX); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("with a server that is silent: %v", err)
	}
}
