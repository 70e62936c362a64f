// Package realdns runs name servers of others for tests: Knot and BIND, which sign
// the zone themselves and take updates from one key.
package realdns

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The key that may update and transfer the zone.
const (
	KeyName = "tlsink.key."
	Secret  = "c2VjcmV0IG9mIHRoZSB0ZXN0IGtleSwgMzIgYnl0ZXM="
)

// startup bounds how long a server may take until it serves the signed zone.
const startup = 30 * time.Second

// Config says what a server serves.
type Config struct {
	Zone    string   // with a final dot
	Records string   // lines of the zone file, besides SOA and NS
	Addr    string   // 127.0.0.1:port; default: a free one
	Notify  []string // secondaries that hear of changes
	Primary string   // if not empty, the server is a secondary of it
	KeyName string   // default KeyName
	Inline  bool     // BIND signs a copy of the zone that is updated
}

// Server is a running name server.
type Server struct {
	Addr string
	Zone string
}

// Need skips the test unless TLSINK_LAB is set and the program is there. With
// TLSINK_LAB=require a program that is missing fails the test.
func Need(t *testing.T, program string) string {
	t.Helper()
	lab := os.Getenv("TLSINK_LAB")
	if lab == "" {
		t.Skipf("set TLSINK_LAB=1 to test against a real name server (%s)", program)
	}
	for _, name := range []string{program, "/usr/sbin/" + program, "/usr/local/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if lab == "require" {
		t.Fatalf("%s is not installed, and TLSINK_LAB=require", program)
	}
	t.Skipf("%s is not installed", program)
	return ""
}

// FreeAddr returns an address of this host that is free for UDP and TCP.
func FreeAddr(t *testing.T) string {
	t.Helper()
	for range 20 {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		u, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", addr)
		_ = l.Close()
		if err == nil {
			_ = u.Close()
			return addr
		}
	}
	t.Fatal("no port is free for UDP and TCP")
	return ""
}

func (c *Config) fill(t *testing.T) (host, port string) {
	t.Helper()
	if c.Addr == "" {
		c.Addr = FreeAddr(t)
	}
	if c.KeyName == "" {
		c.KeyName = KeyName
	}
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

func (c *Config) zoneFile() string {
	return fmt.Sprintf("$ORIGIN %s\n$TTL 60\n@ SOA ns1 hostmaster 1 60 30 86400 60\n@ NS ns1\nns1 A 127.0.0.1\n%s\n", c.Zone, c.Records)
}

// Knot starts knotd, which signs the zone unless it is a secondary.
func Knot(t *testing.T, c Config) *Server {
	t.Helper()
	binary := Need(t, "knotd")
	host, port := c.fill(t)
	dir := t.TempDir()
	var b strings.Builder
	fmt.Fprintf(&b, "server:\n  rundir: %s\n  listen: %s@%s\nlog:\n  - target: stderr\n    any: info\n", dir, host, port)
	fmt.Fprintf(&b, "database:\n  storage: %s\n  journal-db-max-size: 64M\n  kasp-db-max-size: 16M\n  timer-db-max-size: 8M\n", dir)
	fmt.Fprintf(&b, "key:\n  - id: %s\n    algorithm: hmac-sha256\n    secret: %s\n", c.KeyName, Secret)
	var others []string
	for i, addr := range append([]string{c.Primary}, c.Notify...) {
		if addr == "" {
			continue
		}
		if len(others) == 0 {
			b.WriteString("remote:\n")
		}
		id := fmt.Sprintf("remote%d", i)
		fmt.Fprintf(&b, "  - id: %s\n    address: %s\n    key: %s\n", id, strings.Replace(addr, ":", "@", 1), c.KeyName)
		others = append(others, id)
	}
	fmt.Fprintf(&b, "acl:\n  - id: all\n    key: %s\n    action: [transfer, update, notify]\n", c.KeyName)
	b.WriteString("policy:\n  - id: csk\n    single-type-signing: on\n    algorithm: ecdsap256sha256\n")
	fmt.Fprintf(&b, "zone:\n  - domain: %s\n    storage: %s\n    file: zone\n    acl: all\n    zonefile-sync: -1\n    journal-content: all\n", c.Zone, dir)
	if c.Primary != "" {
		fmt.Fprintf(&b, "    master: %s\n", others[0])
	} else {
		b.WriteString("    dnssec-signing: on\n    dnssec-policy: csk\n    zonefile-load: difference-no-serial\n")
		write(t, dir, "zone", c.zoneFile())
		if len(others) > 0 {
			fmt.Fprintf(&b, "    notify: [%s]\n", strings.Join(others, ", "))
		}
	}
	config := write(t, dir, "knot.conf", b.String())
	return run(t, c, exec.CommandContext(context.WithoutCancel(t.Context()), binary, "-c", config))
}

// BIND starts named, which signs the zone, or a copy of it.
func BIND(t *testing.T, c Config) *Server {
	t.Helper()
	binary := Need(t, "named")
	host, port := c.fill(t)
	dir := t.TempDir()
	write(t, dir, "zone", c.zoneFile())
	inline := "no"
	if c.Inline {
		inline = "yes"
	}
	config := write(t, dir, "named.conf", fmt.Sprintf(`options {
	directory %q;
	listen-on port %s { %s; };
	listen-on-v6 { none; };
	pid-file none;
	lock-file none;
	session-keyfile none;
	recursion no;
	dnssec-validation no;
	notify no;
};
controls { };
key %q { algorithm hmac-sha256; secret %q; };
zone %q {
	type primary;
	file "zone";
	dnssec-policy default;
	inline-signing %s;
	update-policy { grant %s zonesub ANY; };
	allow-transfer { key %q; };
};
`, dir, port, host, c.KeyName, Secret, c.Zone, inline, c.KeyName, c.KeyName))
	return run(t, c, exec.CommandContext(context.WithoutCancel(t.Context()), binary, "-g", "-c", config))
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// output keeps what a server says.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// run starts a server and returns once it serves the signed zone.
func run(t *testing.T, c Config, cmd *exec.Cmd) *Server {
	t.Helper()
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed in the end
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
		if t.Failed() {
			t.Logf("%s:\n%s", cmd.Path, out.String())
		}
	})
	s := &Server{Addr: c.Addr, Zone: c.Zone}
	ctx, cancel := context.WithTimeout(t.Context(), startup)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !s.signed(ctx) {
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("%s ended:\n%s", cmd.Path, out.String())
		case <-ctx.Done():
			t.Fatalf("%s does not serve a signed zone:\n%s", cmd.Path, out.String())
		}
	}
	return s
}

// signed reports whether the keys are published and sign the zone.
func (s *Server) signed(ctx context.Context) bool {
	for _, qtype := range []uint16{dns.TypeDNSKEY, dns.TypeSOA} {
		m, err := s.ask(ctx, s.Zone, qtype)
		if err != nil || len(m.Answer) < 2 {
			return false
		}
	}
	return true
}

func (s *Server) ask(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	c := dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	m, _, err := c.ExchangeContext(ctx, new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, true), s.Addr)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", s.Addr, err)
	}
	return m, nil
}

// Anchors returns the keys of the zone, as trust anchors.
func (s *Server) Anchors(t *testing.T) []dns.RR {
	t.Helper()
	m, err := s.ask(t.Context(), s.Zone, dns.TypeDNSKEY)
	if err != nil {
		t.Fatal(err)
	}
	var out []dns.RR
	for _, rr := range m.Answer {
		if key, ok := rr.(*dns.DNSKEY); ok && key.Flags&dns.SEP != 0 {
			out = append(out, key)
		}
	}
	return out
}
