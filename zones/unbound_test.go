package zones_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

// findUnbound returns the path of unbound, or skips the test. With
// TLSINK_LAB=require in the environment it fails instead.
func findUnbound(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"unbound", "/usr/sbin/unbound", "/usr/local/sbin/unbound"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("TLSINK_LAB") == "require" {
		t.Fatal("unbound is not installed, and TLSINK_LAB=require")
	}
	t.Skip("unbound is not installed: the zone is not checked by a real validator (Debian: apt install unbound)")
	return ""
}

// startUnbound runs a validating resolver that finds the zone at authority and
// trusts the given DS record. It returns the resolver's address.
func startUnbound(t *testing.T, authority, ds string) string {
	t.Helper()
	binary := findUnbound(t)
	host, port, err := net.SplitHostPort(authority)
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	for range 5 { // the free port may be taken before unbound opens it
		own := freePort(t)
		dir := t.TempDir()
		config := fmt.Sprintf(`server:
	interface: 127.0.0.1
	port: %d
	directory: %q
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	do-ip6: no
	num-threads: 1
	verbosity: 1
	val-log-level: 2
	do-not-query-localhost: no
	use-caps-for-id: yes
	cache-max-ttl: 0
	cache-max-negative-ttl: 0
	module-config: "validator iterator"
	trust-anchor: "%s"
remote-control:
	control-enable: no
stub-zone:
	name: %q
	stub-addr: %s@%s
`, own, dir, ds, zoneName, host, port)
		path := filepath.Join(dir, "unbound.conf")
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if failed = runUnbound(t, binary, path); failed == nil {
			return fmt.Sprintf("127.0.0.1:%d", own)
		}
	}
	t.Fatal(failed)
	return ""
}

// runUnbound starts unbound in the foreground and returns once it serves.
func runUnbound(t *testing.T, binary, config string) error {
	cmd := exec.Command(binary, "-d", "-c", config)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines, read := make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(read)
		defer close(lines)
		for sc := bufio.NewScanner(stderr); sc.Scan(); {
			select {
			case lines <- sc.Text():
			default: // nobody needs more of them
			}
		}
	}()
	var log []string
	end := func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		<-read
		cmd.Wait() //nolint:errcheck // killed
		for line := range lines {
			log = append(log, line)
		}
	}
	for line := range lines {
		log = append(log, line)
		if strings.Contains(line, "start of service") {
			t.Cleanup(func() {
				end()
				if t.Failed() {
					t.Logf("unbound:\n%s", strings.Join(log, "\n"))
				}
			})
			return nil
		}
	}
	end()
	return errors.New("unbound did not start: " + strings.Join(log, "\n"))
}

// freePort returns a port that is free for UDP and TCP.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := zones.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.TCP[0].Addr().(*net.TCPAddr).Port
}

func resolve(t *testing.T, resolver, name string, qtype uint16) *dns.Msg {
	t.Helper()
	c := dns.Client{Timeout: 20 * time.Second}
	m, _, err := c.ExchangeContext(t.Context(), new(dns.Msg).SetQuestion(name+zoneName, qtype).SetEdns0(1232, true), resolver)
	if err != nil {
		t.Fatalf("%s%s: %v", name, zoneName, err)
	}
	return m
}

// A real validating resolver takes every kind of answer for secure: before and
// after a rotation, and after a restart.
func TestUnboundValidates(t *testing.T) {
	findUnbound(t)
	o := options()
	o.Now, o.TTL = time.Now, time.Second
	o.State = zones.FileState{Path: filepath.Join(t.TempDir(), "zone.json")}
	z := newZone(t, o)
	addrs, stop := serve(t, z, "127.0.0.1:0")
	resolver := startUnbound(t, addrs[0], z.DS()[0].String())

	check := func(stage string) {
		for _, c := range []struct {
			name    string
			qtype   uint16
			rcode   int
			answers int
		}{
			{"", dns.TypeSOA, 0, 2},
			{"", dns.TypeDNSKEY, 0, 2},
			{"et.", dns.TypeMX, 0, 5},
			{"mx03.et.", dns.TypeA, 0, 2},
			{"_25._tcp.mx04.et.", dns.TypeTLSA, 0, 3},
			{"_mta-sts.et.", dns.TypeTXT, 0, 2},
			{"s1._domainkey.", dns.TypeTXT, 0, 2},
			{"ut.", dns.TypeMX, 0, 2},
			{"ut.", dns.TypeAAAA, 0, 0},
			{"ut.", dns.TypeTLSA, 0, 0},
			{"mx03.et.", dns.TypeAAAA, 0, 0},
			{"_tcp.mx03.et.", dns.TypeTLSA, 0, 0},
			{"_domainkey.", dns.TypeTXT, 0, 0},
			{"_25._tcp.ut.", dns.TypeTLSA, dns.RcodeNameError, 0},
			{"_mta-sts.ut.", dns.TypeTXT, dns.RcodeNameError, 0},
			{"mta-sts.ut.", dns.TypeA, dns.RcodeNameError, 0},
			{"zzz.", dns.TypeA, dns.RcodeNameError, 0},
			{"_26._tcp.mx03.et.", dns.TypeA, dns.RcodeNameError, 0},
			{"a.b.c.nope.", dns.TypeA, dns.RcodeNameError, 0},
		} {
			m := resolve(t, resolver, c.name, c.qtype)
			if m.Rcode != c.rcode || !m.AuthenticatedData || len(m.Answer) != c.answers {
				t.Errorf("%s: %s%s %s: want %s with AD and %d records, got\n%v",
					stage, c.name, zoneName, dns.TypeToString[c.qtype], dns.RcodeToString[c.rcode], c.answers, m)
			}
		}
	}
	firstMX := func(stage, want string) {
		for _, rr := range resolve(t, resolver, "et.", dns.TypeMX).Answer {
			if mx, ok := rr.(*dns.MX); ok && (mx.Preference == 10) != (mx.Mx == want+".et."+zoneName) {
				t.Errorf("%s: %v, want %s first", stage, mx, want)
			}
		}
	}
	check("start")
	firstMX("start", "mx03")
	if _, err := z.SetRecords(t.Context(), zoneName, preferences("mx05", "mx06", "mx03", "mx04")); err != nil {
		t.Fatal(err)
	}
	check("rotated")
	firstMX("rotated", "mx05")

	stop()
	serve(t, newZone(t, o), addrs[0])
	check("restarted")
	firstMX("restarted", "mx03")
}

// The check above can fail: with the DS of another key nothing is secure.
func TestUnboundRefusesAnotherKey(t *testing.T) {
	findUnbound(t)
	o := options()
	o.Now = time.Now
	z := newZone(t, o)
	addrs, _ := serve(t, z, "127.0.0.1:0")
	resolver := startUnbound(t, addrs[0], newZone(t, o).DS()[0].String())
	if m := resolve(t, resolver, "et.", dns.TypeMX); m.Rcode != dns.RcodeServerFailure || m.AuthenticatedData {
		t.Errorf("want SERVFAIL, got\n%v", m)
	}
}
