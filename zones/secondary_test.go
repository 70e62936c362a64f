package zones_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/zones"
	"github.com/tlsink/tlsink/zones/internal/realdns"
)

// secondaryServers are name servers of others that can copy the zone.
func secondaryServers() []secondaryServer {
	return []secondaryServer{
		{"NSD", "nsd", []string{"-d", "-c"}, `server:
	ip-address: 127.0.0.1@$PORT
	username: ""
	chroot: ""
	zonesdir: "$DIR"
	database: ""
	pidfile: ""
	xfrdfile: "$DIR/xfrd.state"
	zonelistfile: "$DIR/zone.list"
	xfrdir: "$DIR"
	server-count: 1
	verbosity: 2
remote-control:
	control-enable: no
key:
	name: "$KEY"
	algorithm: $ALGORITHM
	secret: "$SECRET"
zone:
	name: "$ZONE"
	zonefile: "zone"
	request-xfr: 127.0.0.1@$PRIMARY $KEY
	allow-notify: 127.0.0.1 $KEY
`},
		// It checks every signature and proof of a copy before it takes it.
		{"Knot", "knotd", []string{"-c"}, `server:
  rundir: $DIR
  listen: 127.0.0.1@$PORT
log:
  - target: stderr
    any: info
database:
  storage: $DIR
  journal-db-max-size: 64M
  kasp-db-max-size: 16M
  timer-db-max-size: 8M
key:
  - id: $KEY
    algorithm: $ALGORITHM
    secret: $SECRET
remote:
  - id: primary
    address: 127.0.0.1@$PRIMARY
    key: $KEY
acl:
  - id: notify
    key: $KEY
    action: notify
zone:
  - domain: $ZONE
    storage: $DIR
    master: primary
    acl: notify
    dnssec-validation: on
    journal-content: none
`},
		{"BIND", "named", []string{"-g", "-c"}, `options {
	directory "$DIR";
	listen-on port $PORT { 127.0.0.1; };
	listen-on-v6 { none; };
	pid-file none;
	lock-file none;
	session-keyfile none;
	recursion no;
	dnssec-validation no;
	notify no;
};
controls { };
key "$KEY" { algorithm $ALGORITHM; secret "$SECRET"; };
zone "$ZONE" {
	type secondary;
	file "zone";
	primaries { 127.0.0.1 port $PRIMARY key "$KEY"; };
	allow-notify { key "$KEY"; };
};
`},
	}
}

type secondaryServer struct {
	name, program string
	args          []string // the path of the configuration follows
	config        string
}

// serverLog keeps what a server says.
type serverLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs the server at an address as a secondary of primary, until the test ends.
func (s secondaryServer) start(t *testing.T, own, primary string, key zones.TSIGKey) *serverLog {
	t.Helper()
	dir := t.TempDir()
	port := func(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
	config := strings.NewReplacer("$PORT", port(own), "$PRIMARY", port(primary), "$DIR", dir, "$ZONE", zoneName,
		"$KEY", key.Name, "$ALGORITHM", key.Algorithm, "$SECRET", secretOf(key)).Replace(s.config)
	path := filepath.Join(dir, "config")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(serverLog)
	cmd := exec.Command(realdns.Need(t, s.program), append(s.args, path)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt) //nolint:errcheck // it may have ended
		cmd.Wait()                       //nolint:errcheck // by a signal
		if t.Failed() {
			t.Logf("%s:\n%s", s.name, log)
		}
	})
	return log
}

// eventually waits for something that another program does.
func eventually(t *testing.T, what string, done func() bool) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; {
		if done() {
			return time.Since(begin)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// lookup asks a server; nil means that it does not answer.
func lookup(t *testing.T, addr, name string, qtype uint16) *dns.Msg {
	m, _, err := new(dns.Client).ExchangeContext(t.Context(), new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, true), addr)
	if err != nil {
		return nil
	}
	return m
}

// upToDate reports whether a server has the present version of the zone.
func upToDate(t *testing.T, addr string, z *zones.Zone) bool {
	m := lookup(t, addr, zoneName, dns.TypeSOA)
	if m == nil || len(m.Answer) == 0 || !m.Authoritative {
		return false
	}
	soa, ok := m.Answer[0].(*dns.SOA)
	return ok && soa.Serial == z.Serial()
}

func mxOrder(m *dns.Msg) string {
	if m == nil {
		return ""
	}
	order := make(map[uint16]string)
	for _, rr := range m.Answer {
		if mx, ok := rr.(*dns.MX); ok {
			order[mx.Preference] = strings.TrimSuffix(mx.Mx, ".et."+zoneName)
		}
	}
	return order[10] + order[20] + order[30] + order[40]
}

func TestRealSecondaries(t *testing.T) {
	for i, server := range secondaryServers() {
		t.Run(server.name, func(t *testing.T) {
			realdns.Need(t, server.program)
			key := testKey([]string{"hmac-sha256", "hmac-sha512", "hmac-sha384"}[i])
			own := realdns.FreeAddr(t)
			o := options()
			o.Now, o.Slots = time.Now, 20 // several messages
			o.Transfer = zones.Transfer{Keys: []zones.TSIGKey{key}, Secondaries: []netip.AddrPort{netip.MustParseAddrPort(own)}}
			z := newZone(t, o)
			addrs, _ := serve(t, z, "127.0.0.1:0")
			log := server.start(t, own, addrs[0], key)
			eventually(t, "the first copy", func() bool { return upToDate(t, own, z) })
			checkSecondary(t, z, own)

			order := []string{"mx03", "mx04", "mx05", "mx06"}
			for n := range 5 {
				order = append(order[1:], order[0])
				if _, err := z.SetRecords(t.Context(), zoneName, preferences(order...)); err != nil {
					t.Fatal(err)
				}
				took := eventually(t, "the new MX order", func() bool {
					return mxOrder(lookup(t, own, "et."+zoneName, dns.TypeMX)) == strings.Join(order, "")
				})
				t.Logf("change %d was served after %v", n, took.Round(time.Millisecond))
				if took > soaRefresh {
					t.Errorf("after %v: NOTIFY had no effect", took)
				}
			}
			checkSecondary(t, z, own)
			if n := strings.Count(log.String(), "DNSSEC, validation successful"); server.name == "Knot" && n < 6 {
				t.Errorf("Knot validated %d copies, want 6", n)
			}
			// Knot takes a key for a CSK only if there is no other one: with
			// validation it refuses the zone while a CSK is rolled.
			if server.name != "Knot" {
				if err := z.StartRoll(t.Context(), zones.CSK); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the version with two keys", func() bool { return upToDate(t, own, z) })
				checkSecondary(t, z, own)
			}
			eventually(t, "the status", func() bool {
				s := z.Secondaries()[0]
				return s.Notified == z.Serial() && s.Transferred == z.Serial() && s.Problem == "" && !s.TransferredAt.IsZero()
			})
		})
	}
}

// soaRefresh is when a secondary would look by itself.
const soaRefresh = time.Minute

// checkSecondary checks what a secondary serves: each answer by itself, by our
// own validating resolver, and by unbound.
func checkSecondary(t *testing.T, z *zones.Zone, addr string) {
	t.Helper()
	var anchors []dns.RR
	for _, ds := range z.DS() {
		anchors = append(anchors, ds)
	}
	resolver, err := dnssec.New(dnssec.Options{TrustAnchors: anchors, Servers: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	unbound := startUnbound(t, addr, z.DS()[0].String())
	for _, c := range []struct {
		name  string
		qtype uint16
		rcode int
		rrs   int
	}{
		{"", dns.TypeSOA, 0, 1},
		{"", dns.TypeDNSKEY, 0, len(z.Keys())},
		{"", dns.TypeDS, 0, 0},
		{"et.", dns.TypeMX, 0, 4},
		{"mx03.et.", dns.TypeA, 0, 1},
		{"mx03.et.", dns.TypeAAAA, 0, 0},
		{"_25._tcp.mx04.et.", dns.TypeTLSA, 0, 2},
		{"_mta-sts.et.", dns.TypeTXT, 0, 1},
		{"s1._domainkey.", dns.TypeTXT, 0, 1},
		{"_tcp.mx03.et.", dns.TypeA, 0, 0},
		{"ut.", dns.TypeTLSA, 0, 0},
		{"_25._tcp.ut.", dns.TypeTLSA, dns.RcodeNameError, 0},
		{"_mta-sts.ut.", dns.TypeTXT, dns.RcodeNameError, 0},
		{"a.b.c.nope.", dns.TypeA, dns.RcodeNameError, 0},
		{"*.et.", dns.TypeA, dns.RcodeNameError, 0},
		{"zzz.", dns.TypeA, dns.RcodeNameError, 0},
	} {
		what := fmt.Sprintf("%s%s %s", c.name, zoneName, dns.TypeToString[c.qtype])
		m := lookup(t, addr, c.name+zoneName, c.qtype)
		if m == nil || m.Rcode != c.rcode || !m.Authoritative {
			t.Errorf("%s: %v", what, m)
			continue
		}
		verify(t, z, m)
		if c.qtype == dns.TypeDS {
			continue // asked at the parent by resolvers
		}
		a, err := resolver.Lookup(t.Context(), c.name+zoneName, c.qtype)
		if err != nil || a.Status != dnssec.Secure || len(a.RRs) != c.rrs || a.Rcode != c.rcode {
			t.Errorf("%s: our resolver: %+v, %v", what, a, err)
		}
		if m := resolve(t, unbound, c.name, c.qtype); m.Rcode != c.rcode || !m.AuthenticatedData {
			t.Errorf("%s: unbound: %v", what, m)
		}
	}
}

// With another secret nothing is copied, and the operator can see why.
func TestRealSecondariesWithWrongKey(t *testing.T) {
	for _, server := range secondaryServers() {
		t.Run(server.name, func(t *testing.T) {
			realdns.Need(t, server.program)
			own := realdns.FreeAddr(t)
			o := transferOptions(netip.MustParseAddrPort(own))
			o.Now = time.Now
			z := newZone(t, o)
			addrs, _ := serve(t, z, "127.0.0.1:0")
			wrong := testKey("hmac-sha256")
			wrong.Secret = []byte("another secret of thirty-two oct")
			server.start(t, own, addrs[0], wrong)
			eventually(t, "a transfer that is refused", func() bool { return z.Counters().Refused > 0 })
			eventually(t, "NOTIFY that is refused", func() bool { return strings.Contains(z.Secondaries()[0].Problem, "BADSIG") })
			t.Log(z.Secondaries()[0].Problem)
			if upToDate(t, own, z) || z.Counters().Transfers != 0 {
				t.Error("the zone was copied")
			}
		})
	}
}
