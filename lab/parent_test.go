//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// parentAddr is that of the root's and the parent zone's name server.
const parentAddr = "192.0.2.10"

// parent is Knot DNS as the name server of the root and of example., both
// signed, as those above a real sink are.
type parent struct {
	node
	daemon  *daemon
	root    string // DS record of the root
	example string // the zone without the sink
}

const knotConf = `server:
    listen: %[1]s@53
    rundir: %[2]q
    user: root:root
log:
  - target: stderr
    any: info
database:
    storage: %[2]q
policy:
  - id: lab
    algorithm: ecdsap256sha256
    single-type-signing: on
    dnskey-ttl: 1
    zone-max-ttl: 1
template:
  - id: default
    storage: %[2]q
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    journal-content: all
    dnssec-signing: on
    dnssec-policy: lab
zone:
  - domain: .
    file: root.zone
  - domain: example.
    file: example.zone
  - domain: 2.0.192.in-addr.arpa.
    file: reverse.zone
    dnssec-signing: off
`

// apex is what each of its zones begins with.
const apex = `$TTL 1
@ SOA ns.nic.example. hostmaster.nic.example. 1 60 60 600 1
@ NS ns.nic.example.
`

func startParent(ctx context.Context, t *testing.T, senders []*sender) *parent {
	t.Helper()
	p := &parent{node: newNode(t, "parent", parentAddr)}
	const glue = "ns.nic.example. A " + parentAddr + "\n"
	p.example = apex + glue + "ns2.example. A " + secondaryAddr + "\n"
	for _, s := range senders {
		p.example += s.domain + ". NS ns.nic.example.\n" // insecure, and answered by the resolver
	}
	config := p.file(t, "knot.conf", fmt.Sprintf(knotConf, parentAddr, p.dir))
	root := apex + "example. NS ns.nic.example.\n2.0.192.in-addr.arpa. NS ns.nic.example.\n" + glue
	p.file(t, "root.zone", root)
	p.file(t, "example.zone", p.example)
	p.file(t, "reverse.zone", apex)
	p.daemon = p.start(t, nil, "knotd", "-c", config)
	keep(t, p.daemon.log)
	for _, of := range []string{"example.", "."} {
		await(ctx, t, "the key of "+of, func(ctx context.Context) error {
			_, err := p.ds(ctx, of)
			return err
		})
	}
	example, err := p.ds(ctx, "example.")
	if err != nil {
		t.Fatal(err)
	}
	p.file(t, "root.zone", root+example+"\n")
	p.reload(ctx, t, ".")
	if p.root, err = p.ds(ctx, "."); err != nil {
		t.Fatal(err)
	}
	return p
}

// ds returns the DS record for a zone's key.
func (p *parent) ds(ctx context.Context, of string) (string, error) {
	out, err := output(ctx, "", "keymgr", "-c", p.path("knot.conf"), of, "ds")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		rr, err := dns.NewRR(line)
		if ds, ok := rr.(*dns.DS); err == nil && ok && ds.DigestType == dns.SHA256 {
			ds.Hdr.Ttl = 1
			return ds.String(), nil
		}
	}
	return "", fmt.Errorf("no DS record of %s:\n%s", of, out)
}

// delegate publishes what tlsink asks for, as its operator would.
func (p *parent) delegate(ctx context.Context, t *testing.T, records ...string) {
	t.Helper()
	// Nobody waits an hour here for the DS record of before to be forgotten.
	short := strings.ReplaceAll(strings.Join(records, "\n"), "\t3600\t", "\t1\t")
	p.file(t, "example.zone", p.example+short+"\n")
	p.reload(ctx, t, "example.")
}

func (p *parent) reload(ctx context.Context, t testing.TB, of string) {
	t.Helper()
	await(ctx, t, "knotc", func(ctx context.Context) error {
		if !p.daemon.running() {
			b, _ := os.ReadFile(p.daemon.log)
			t.Fatalf("knotd ended:\n%s", b)
		}
		_, err := p.run(ctx, "", "knotc", "-s", p.path("knot.sock"), "zone-reload", of)
		return err
	})
}

// upstream is what the resolver needs to begin at this root. What it knows of
// the senders itself is in zones that are delegated without DS records.
func (p *parent) upstream(t *testing.T, senders []*sender) string {
	t.Helper()
	hints := p.file(t, "root.hints", ". 3600 NS ns.nic.example.\nns.nic.example. 3600 A "+parentAddr+"\n")
	out := fmt.Sprintf("server:\n\troot-hints: \"%s\"\n\ttrust-anchor: \"%s\"\n\tlocal-zone: 2.0.192.in-addr.arpa. typetransparent\n", hints, p.root)
	for _, s := range senders {
		out += fmt.Sprintf("\tlocal-zone: %s. typetransparent\n", s.domain)
	}
	return out
}
