package dnssec_test

import (
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

	"github.com/tlsink/tlsink/dnssec"
)

// need skips the test unless TLSINK_LAB is set and the program is there.
func need(t *testing.T, program string) string {
	t.Helper()
	lab := os.Getenv("TLSINK_LAB")
	if lab == "" {
		t.Skipf("set TLSINK_LAB=1 to test against a real resolver (%s)", program)
	}
	for _, name := range []string{program, "/usr/sbin/" + program} {
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

// upstream serves a world over TCP, as a resolver that does not validate.
func upstream(t *testing.T, w *world) (port string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(rw dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		m, err := w.Exchange(context.Background(), q, "tcp", "")
		mu.Unlock()
		if err == nil {
			m.RecursionAvailable = true
			m.SetEdns0(4096, true)
			_ = rw.WriteMsg(m)
		}
	})}
	done := make(chan error, 1)
	go func() { done <- s.ActivateAndServe() }()
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// validator runs a real resolver that validates from the DS record of example.,
// and returns its address.
func validator(t *testing.T, name string, w *world) string {
	t.Helper()
	var program string
	dir, port, up := t.TempDir(), freePort(t), ""
	ds := w.zones["example."].key.ToDS(dns.SHA256)
	file := filepath.Join(dir, "conf")
	var config string
	var args []string
	switch name {
	case "unbound":
		program = need(t, "unbound")
		up = upstream(t, w)
		config = fmt.Sprintf(`server:
	interface: 127.0.0.1
	port: %s
	directory: %q
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	do-not-query-localhost: no
	tcp-upstream: yes
	ede: yes
	# By default it takes signatures for up to an hour after they have expired.
	val-sig-skew-min: 0
	val-sig-skew-max: 0
	trust-anchor: "%s"
forward-zone:
	name: "."
	forward-addr: 127.0.0.1@%s
`, port, dir, strings.ReplaceAll(ds.String(), "\t", " "), up)
		args = []string{"-d", "-c", file}
	case "named":
		program = need(t, "named")
		up = upstream(t, w)
		config = fmt.Sprintf(`options {
	directory %q;
	pid-file none;
	session-keyfile none;
	listen-on port %s { 127.0.0.1; };
	listen-on-v6 { none; };
	forward only;
	forwarders { 127.0.0.1 port %s; };
	dnssec-validation yes;
	empty-zones-enable no;
};
controls {};
server 127.0.0.1 { tcp-only yes; };
trust-anchors { example. static-ds %d %d %d "%s"; };
`, dir, port, up, ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest)
		args = []string{"-g", "-c", file}
	}
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var log strings.Builder
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("%s:\n%s", name, log.String())
		}
	})
	addr := net.JoinHostPort("127.0.0.1", port)
	patience, done := context.WithTimeout(t.Context(), 20*time.Second)
	defer done()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		m := new(dns.Msg).SetQuestion("example.", dns.TypeSOA)
		if _, err := dns.Exchange(m, addr); err == nil {
			return addr
		}
		select {
		case <-tick.C:
		case <-patience.Done():
			t.Fatalf("%s does not answer", name)
		}
	}
}

// Real resolvers that validate, and our own validation of the same zones, agree,
// name by name.
func TestRealResolvers(t *testing.T) {
	for _, name := range []string{"unbound", "named"} {
		t.Run(name, func(t *testing.T) {
			w := testWorldAt(t, time.Now())
			addr := validator(t, name, w)
			trusting, err := dnssec.NewTrusting(dnssec.TrustingOptions{Servers: []string{addr}})
			if err != nil {
				t.Fatal(err)
			}
			if err := trusting.Check(t.Context()); err == nil {
				t.Error("the root, which it has no anchor for, is said to be secure")
			}
			own := w.resolver(t, func(o *dnssec.Options) {
				o.Now = time.Now
				o.Exchange = nil
				o.Servers = []string{addr}
			})
			for _, c := range []struct {
				name  string
				qtype uint16
			}{
				{"example", dns.TypeMX},
				{"_25._tcp.mx.example", dns.TypeTLSA},
				{"mx.example", dns.TypeAAAA},
				{"gone.example", dns.TypeA},
				{"chain.example", dns.TypeA},
				{"alias.example", dns.TypeTXT},
				{"toplain.example", dns.TypeA},
				{"a.wild.example", dns.TypeTXT},
				{"www.from.example", dns.TypeA},
				{"www.signed.example", dns.TypeA},
				{"gone.signed.example", dns.TypeA},
				{"www.plain.example", dns.TypeA},
				{"gone.plain.example", dns.TypeA},
				{"www.sub.signed.example", dns.TypeA},
				{"www.odd.example", dns.TypeA},
				{"www.old.example", dns.TypeA},
				{"www.nokey.example", dns.TypeA},
				{"www.elsewhere", dns.TypeA},
			} {
				t.Run(c.name+" "+dns.TypeToString[c.qtype], func(t *testing.T) {
					want, err := own.Lookup(t.Context(), c.name, c.qtype)
					if err != nil {
						t.Fatalf("own validation: %v", err)
					}
					got, err := trusting.Lookup(t.Context(), c.name, c.qtype)
					if err != nil || got.Status != want.Status || got.Rcode != want.Rcode || len(got.RRs) != len(want.RRs) || got.CanonicalName != want.CanonicalName {
						t.Errorf("trusted %+v, %v\nown %+v", got, err, want)
					}
					t.Logf("%s: %s", got.Status, got.Why)
				})
			}
		})
	}
}
