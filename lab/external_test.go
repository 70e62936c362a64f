//go:build linux

package lab_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The zone is at a name server that somebody else runs: Knot, which signs it and
// takes updates (RFC 2136). tlsink serves no DNS.

// Names of the keys that may update the zone, and what they may update.
const (
	fullKey    = "lab-update."
	limitedKey = "lab-limited." // no TLSA records
)

const externalSettings = `zone = %[1]q
slots = 2 # the names of nine take the CA a minute for one certificate
data_dir = %[2]q

[dns]
provider = "rfc2136"
addresses = [%[3]q]
ttl = "1s"
resolvers = ["%[4]s:53"]
trust_anchors = %[5]q

[dns.rfc2136]
server = %[6]q
key_name = %[7]q
secret_file = %[8]q

[mail]
private = true

[certificates]
ca = "acme"
roots = %[9]q

[certificates.acme]
directory = %[10]q
agree_terms = true
server_roots = %[11]q

[timing]
self_check = "10s"
propagation = "2s"
`

const providerConf = `server:
    listen: %[1]s@53
    rundir: %[2]q
    user: root:root
log:
  - target: stderr
    any: info
database:
    storage: %[2]q
key:
  - id: lab-update.
    algorithm: hmac-sha256
    secret: %[3]s
  - id: lab-limited.
    algorithm: hmac-sha256
    secret: %[3]s
acl:
  - id: full
    key: lab-update.
    action: [update, transfer]
  - id: read
    key: lab-limited.
    action: transfer
  - id: limited
    key: lab-limited.
    action: update
    update-type: [A, AAAA, MX, TXT]
policy:
  - id: lab
    algorithm: ecdsap256sha256
    dnskey-ttl: 1
    zone-max-ttl: 1
zone:
  - domain: %[4]s.
    storage: %[2]q
    file: zone
    acl: [full, read, limited]
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    journal-content: all
    dnssec-signing: on
    dnssec-policy: lab
`

// dnsProvider is somebody else's name server.
type dnsProvider struct {
	node
	config string
	daemon *daemon
}

func newDNSProvider(t *testing.T) *dnsProvider {
	t.Helper()
	p := &dnsProvider{node: newNode(t, "provider", secondaryAddr)}
	p.file(t, "zone", "$TTL 1\n@ SOA ns2.example. hostmaster.example. 1 60 60 600 1\n@ NS ns2.example.\n")
	p.config = p.file(t, "knot.conf", fmt.Sprintf(providerConf, secondaryAddr, p.dir, transferSecret, zone))
	return p
}

func (p *dnsProvider) start(ctx context.Context, t *testing.T) {
	t.Helper()
	p.daemon = p.node.start(t, nil, "knotd", "-c", p.config)
	await(ctx, t, "Knot of the provider", func(ctx context.Context) error {
		m, err := p.ask(ctx, new(dns.Msg).SetQuestion(zone+".", dns.TypeDNSKEY), false)
		if err == nil && len(m.Answer) == 0 {
			err = fmt.Errorf("no keys: %v", m)
		}
		return err
	})
}

// ask sends a message, signed or not.
func (p *dnsProvider) ask(ctx context.Context, m *dns.Msg, signed bool) (*dns.Msg, error) {
	c := dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	if signed {
		c.TsigSecret = map[string]string{fullKey: transferSecret}
		m.SetTsig(fullKey, dns.HmacSHA256, 300, time.Now().Unix())
	}
	m, _, err := c.ExchangeContext(ctx, m, net.JoinHostPort(p.addr, "53"))
	return m, err
}

// add adds a record, as somebody else who may.
func (p *dnsProvider) add(ctx context.Context, t *testing.T, record string) {
	t.Helper()
	rr, err := dns.NewRR(record)
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg).SetUpdate(zone + ".")
	m.Insert([]dns.RR{rr})
	if m, err = p.ask(ctx, m, true); err != nil || m.Rcode != dns.RcodeSuccess {
		t.Fatalf("update: %v %v", m, err)
	}
}

func (i *internet) configureExternal(t *testing.T, key string) {
	t.Helper()
	s := i.sink
	secret := s.secret(t, "update-secret", transferSecret)
	s.configure(t, fmt.Sprintf(externalSettings, zone, s.path("data"), sinkAddr, resolverAddr, s.anchors, secondaryAddr+":53", key, secret, i.pebble.roots, acmeURL, i.pebble.server))
}

// say returns what a command of the sink prints.
func (s *tlsink) say(t *testing.T, args ...string) string {
	t.Helper()
	out := command(t, s.binary, append(args, "--config", s.config)...)
	t.Logf("tlsink %s:\n%s", strings.Join(args, " "), out)
	return out
}

// awaitProblem waits until the doctor finds something wrong.
func (s *tlsink) awaitProblem(ctx context.Context, t *testing.T, checks ...string) item {
	t.Helper()
	var found item
	await(ctx, t, fmt.Sprintf("the doctor to find fault with %q", checks), func(ctx context.Context) error {
		problems, err := s.doctor(ctx)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(problems, func(p item) bool { return slices.Contains(checks, p.Check) && p.Status == "wrong" })
		if at < 0 {
			return fmt.Errorf("%+v", problems)
		}
		found = problems[at]
		return nil
	})
	return found
}

// followOrders returns a function that waits until the world has seen several MX orders of et.
// It watches from now on, since how many turns a test sees depends on how soon its senders are done.
func followOrders(ctx context.Context, t *testing.T) (wait func()) {
	t.Helper()
	const several = 3
	seen := make(map[string]bool)
	var done sync.WaitGroup
	var err error
	done.Go(func() {
		err = until(ctx, "several MX orders", func(ctx context.Context) error {
			m, err := query(ctx, "et."+zone, dns.TypeMX)
			if err != nil {
				return err
			}
			var list []*dns.MX
			for _, rr := range m.Answer {
				if mx, ok := rr.(*dns.MX); ok {
					list = append(list, mx)
				}
			}
			slices.SortFunc(list, func(a, b *dns.MX) int { return cmp.Compare(a.Preference, b.Preference) })
			order := ""
			for _, mx := range list {
				order += strings.SplitN(mx.Mx, ".", 2)[0] + " "
			}
			if m.AuthenticatedData {
				seen[order] = true
			}
			if len(seen) < several {
				return fmt.Errorf("seen so far: %v", seen)
			}
			return nil
		})
	})
	return func() {
		done.Wait()
		if err != nil {
			t.Error(err)
		}
	}
}

func TestExternalDNS(t *testing.T) {
	needLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	i := startInternet(ctx, t, "may", "dane", "mta-sts")
	s, p := i.newSink(t), newDNSProvider(t)
	keep(t, p.path("knotd.log"))
	p.start(ctx, t)

	// A server that takes no TLSA records is refused.
	i.configureExternal(t, limitedKey)
	limit, end := context.WithTimeout(ctx, 30*time.Second)
	_, err := s.run(limit, "", s.binary, "serve", "--config", s.config)
	end()
	if err == nil || !strings.Contains(err.Error(), "provider refuses TLSA") {
		t.Errorf("with a provider that takes no TLSA records: %v", err)
	}
	t.Logf("refused: %v", err)

	// One that can't be reached may come back.
	p.daemon.end(t, os.Interrupt)
	i.configureExternal(t, fullKey)
	s.expected = []string{"self-check fails", "DNS provider not reached", "DNS provider not usable", "MX rotation failed", "external DNS not published", "TLSA", "not served by every name server"}
	t.Cleanup(func() { s.checkEnd(t) })
	s.start(ctx, t)
	t.Logf("provider not reached: %+v", s.awaitProblem(ctx, t, "provider"))
	s.say(t, "zone")
	s.say(t, "zone", "status")
	p.start(ctx, t)

	// The operator publishes what it prints.
	await(ctx, t, "the DS record", func(ctx context.Context) error {
		out, err := output(ctx, "", s.binary, "zone", "--config", s.config)
		if err == nil && !strings.Contains(out, "DS\t") {
			err = errors.New(out)
		}
		return err
	})
	i.parent.delegate(ctx, t, s.say(t, "zone"))
	s.healthy(ctx, t)
	s.say(t, "zone", "status")

	i.startSenders(ctx, t)
	s.say(t, "keys", "roll", "mx06.et")
	waitForOrders := followOrders(ctx, t)
	t.Run("senders", func(t *testing.T) { i.sendAndFollow(ctx, t) })
	s.say(t, "keys", "list")
	waitForOrders()
	await(ctx, t, "the roll", func(ctx context.Context) error {
		out, err := output(ctx, "", s.binary, "keys", "list", "--config", s.config)
		if err == nil && strings.Contains(out, "rolling") {
			err = errors.New(out)
		}
		return err
	})
	s.healthy(ctx, t)

	// Somebody else protects ut: what senders do there says nothing any more.
	p.add(ctx, t, "_25._tcp.ut."+zone+". 20 IN TLSA 3 1 1 "+strings.Repeat("ab", 32))
	t.Logf("TLSA at ut: %+v", s.awaitProblem(ctx, t, "ut", "foreign"))
	t.Logf("repaired: %+v", s.awaitProblem(ctx, t, "foreign"))
	s.healthy(ctx, t)
	if n, err := countLines(s.daemon.log, "external DNS repaired", "_25._tcp.ut"); err != nil || n != 1 {
		t.Errorf("%d repairs were logged (%v), want 1", n, err)
	}
	if n, err := countLines(s.daemon.log, "no verdicts and no reports", "_25._tcp.ut"); err != nil || n == 0 {
		t.Errorf("verdicts were not suspended (%v)", err)
	}
}
