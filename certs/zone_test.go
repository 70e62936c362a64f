package certs_test

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/tlspolicy"
	"github.com/tlsink/tlsink/zones"
)

// A sender with a validating, caching resolver asks our own name server and
// shakes hands with our keys, again and again while they roll.
func TestRollOnTheWire(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		wait time.Duration
		ok   bool
	}{
		{"after the TTL", 1500 * time.Millisecond, true},
		{"too early", time.Millisecond, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, z := wire(t, c.wait)
			look, server := resolverOf(t, z), serveTLS(t, s)
			before := keyIDs(s)
			var failed error
			poll := func() {
				for host := range matching() {
					if err := dane(t.Context(), look, server, host); err != nil && failed == nil {
						failed = fmt.Errorf("%s: %w", host, err)
					}
				}
			}
			poll()
			if failed != nil {
				t.Fatal(failed)
			}
			run(t, s)
			if _, err := s.Roll(t.Context()); err != nil {
				t.Fatal(err)
			}
			polls := 0
			for ; !idle(s); polls++ {
				if k := status(t, s, "mx06.et.sink.example", scenario.CA); k.RollError != "" {
					t.Fatal(k.RollError)
				}
				poll()
			}
			poll()
			if (failed == nil) != c.ok {
				t.Errorf("after %d polls: %v", polls, failed)
			}
			for host, id := range matching() {
				k := status(t, s, host, id.Kind)
				if k.KeyID == before[host+" "+string(id.Kind)+" ecdsa"] {
					t.Errorf("%s: the key did not change", host)
				}
			}
		})
	}
}

// wire returns a store that publishes in a zone with a TTL of one second.
func wire(t *testing.T, wait time.Duration) (*certs.Store, *zones.Zone) {
	t.Helper()
	var s *certs.Store
	var z *zones.Zone
	o := options(newTestCA(t))
	o.RollWait = wait
	o.Publish = func(ctx context.Context) error {
		var records []libdns.Record
		for host, list := range s.TLSA() {
			for _, r := range list {
				records = append(records, libdns.RR{
					Name: libdns.RelativeName("_25._tcp."+host+".", z.Name()), TTL: time.Second, Type: "TLSA",
					Data: fmt.Sprintf("%d %d %d %s", r.Usage, r.Selector, r.MatchingType, hex.EncodeToString(r.Data)),
				})
			}
		}
		_, err := z.SetRecords(ctx, z.Name(), records)
		return err
	}
	s = open(t, o)
	tlsa := make(map[string][]zones.TLSARecord)
	for host, list := range s.TLSA() {
		for _, r := range list {
			tlsa[host] = append(tlsa[host], zones.TLSARecord(r))
		}
	}
	z, err := zones.New(zones.Options{
		Zone: zone, Slots: 1, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, TLSA: tlsa, PolicyID: "1", TTL: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, z
}

// resolverOf serves z on loopback and returns a resolver that trusts it.
func resolverOf(t *testing.T, z *zones.Zone) *dnssec.Resolver {
	t.Helper()
	l, err := zones.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- z.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	var anchors []dns.RR
	for _, ds := range z.DS() {
		anchors = append(anchors, ds)
	}
	r, err := dnssec.New(dnssec.Options{TrustAnchors: anchors, Servers: []string{l.UDP[0].LocalAddr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// serveTLS shakes hands with the keys of s and returns the address.
func serveTLS(t *testing.T, s *certs.Store) string {
	t.Helper()
	config := &tls.Config{SessionTicketsDisabled: true, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		id, ok := matching()[h.ServerName]
		if !ok {
			id = scenario.Certificate{Owner: scenario.OwnerDefault, Kind: scenario.SelfSigned}
		}
		list, err := s.Certificates(id)
		if err != nil {
			return nil, err
		}
		return &list[0], nil
	}}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = conn.(*tls.Conn).HandshakeContext(t.Context()) // the client says what is wrong
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// dane does what a sender with DANE does at host, which is at address.
func dane(ctx context.Context, r *dnssec.Resolver, address, host string) error {
	answer, err := r.Lookup(ctx, "_25._tcp."+host, dns.TypeTLSA)
	if err != nil || answer.Status != dnssec.Secure {
		return fmt.Errorf("TLSA is %s: %s: %w", answer.Status, answer.Why, err)
	}
	var records []*dns.TLSA
	for _, rr := range answer.RRs {
		records = append(records, rr.(*dns.TLSA))
	}
	config := &tls.Config{
		ServerName: host, InsecureSkipVerify: true, // DANE-EE stands in for names and CAs
		VerifyConnection: func(state tls.ConnectionState) error {
			return tlspolicy.VerifyDANE(records, []string{host}, state.PeerCertificates, time.Now())
		},
	}
	conn, err := (&tls.Dialer{NetDialer: &net.Dialer{}, Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}
