//go:build linux

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// stub is an upstream of nothing but the sink's zone, validated from its own DS
// record.
func stub(ds string) string {
	return fmt.Sprintf("server:\n\tlocal-zone: \".\" static\n\tlocal-zone: \"%[1]s.\" transparent\n\ttrust-anchor: \"%[2]s\"\nstub-zone:\n\tname: %[1]q\n\tstub-addr: %[3]s\n", zone, ds, sinkAddr)
}

// startUnbound starts the resolver of the whole lab. It validates, asks where
// upstream says, and knows the domains of the senders.
func startUnbound(ctx context.Context, t *testing.T, upstream string, list []*sender) {
	t.Helper()
	n := newNode(t, "dns", resolverAddr)
	var data strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&data, "\tlocal-data: '"+format+"'\n", args...) }
	add("%s 60 PTR mx.%s.", reverse(t, sinkAddr), zone)
	for _, p := range list {
		add("%s. 60 MX 10 %s.", p.domain, p.places[0].host)
		spf := "v=spf1"
		for _, at := range p.places {
			spf += " ip4:" + at.node.addr
			add("%s. 60 A %s", at.host, at.node.addr)
			add("%s 60 PTR %s.", reverse(t, at.node.addr), at.host)
		}
		add("%s. 60 TXT \"%s -all\"", p.domain, spf)
	}
	var access string
	for _, network := range networks() {
		access += "access-control: " + network + " allow\n\t"
	}
	config := n.file(t, "unbound.conf", fmt.Sprintf(`server:
	interface: %s
	%saccess-control: 127.0.0.0/8 allow
	directory: %q
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	do-ip6: no
	num-threads: 1
	val-log-level: 2
	module-config: "validator iterator"
	cache-max-ttl: 1
	cache-max-negative-ttl: 1
	infra-host-ttl: 1
%sremote-control:
	control-enable: no
%s`, n.addr, access, n.dir, &data, upstream))
	d := n.start(t, nil, "unbound", "-d", "-c", config)
	await(ctx, t, "unbound", func(ctx context.Context) error {
		if !d.running() {
			b, _ := os.ReadFile(d.log)
			t.Fatalf("unbound ended:\n%s", b)
		}
		m, err := query(ctx, list[0].domain, dns.TypeMX)
		if err == nil && len(m.Answer) == 0 {
			err = errors.New("no MX for " + list[0].domain)
		}
		return err
	})
}

func reverse(t *testing.T, addr string) string {
	t.Helper()
	name, err := dns.ReverseAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// query asks the lab's resolver.
func query(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	c := dns.Client{Timeout: 5 * time.Second}
	m, _, err := c.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype).SetEdns0(1232, true), net.JoinHostPort(resolverAddr, "53"))
	return m, err
}

// lookupTXT asks for text records that must be authentic.
func lookupTXT(ctx context.Context, name string) ([]string, error) {
	m, err := query(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	if !m.AuthenticatedData {
		return nil, fmt.Errorf("%s TXT is not authentic: %v", name, m)
	}
	var out []string
	for _, rr := range m.Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			out = append(out, strings.Join(txt.Txt, ""))
		}
	}
	return out, nil
}
