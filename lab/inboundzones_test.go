//go:build linux

package lab_test

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// The zones of the domains that receive: a signed root, and below it
//
//	example           signed (NSEC), DS
//	nsec3.example     signed (NSEC3), DS
//	insecure.example  not signed, no DS
//	wrongds.example   signed, but by another key than its DS record names
//	expired.example   signed until yesterday
//	_tcp.tlsabogus…   as wrongds.example, for the TLSA records of one host
//	dead.example      signed, by a name server that does not answer
const (
	deadAddr   = "192.0.2.250" // routed to where it is dropped
	closedAddr = "192.0.2.129" // nothing listens there
	policyAddr = "192.0.2.1"   // where MTA-STS policies are
	bogusTLSA  = "tlsabogus.postfix.example."
)

const inboundKnotConf = `server:
    listen: %[1]s@53
    rundir: %[2]q
    user: root:root
log:
  - target: stderr
    any: info
database:
    storage: %[2]q
policy:
  - id: nsec
    algorithm: ecdsap256sha256
    single-type-signing: on
    dnskey-ttl: 1
    zone-max-ttl: 1
  - id: nsec3
    algorithm: ecdsap256sha256
    single-type-signing: on
    dnskey-ttl: 1
    zone-max-ttl: 1
    nsec3: on
template:
  - id: default
    storage: %[2]q
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    journal-content: all
    dnssec-signing: on
    dnssec-policy: nsec
zone:
`

// inboundZone is one zone, which Knot signs by a policy, or not.
type inboundZone struct {
	name, policy string
	ds           func(real string) string // what the parent says; nil: no DS record
}

func realDS(ds string) string { return ds }

// otherDS is that of a key that the zone does not have.
func otherDS(ds string) string {
	f := strings.Fields(ds)
	f[len(f)-1] = strings.Repeat("ab", sha256.Size)
	return strings.Join(f, " ")
}

// startInboundZones serves the zones, and returns the server and the trust anchor.
func startInboundZones(ctx context.Context, t testing.TB, records map[string]string) *parent {
	t.Helper()
	p := &parent{node: newNode(t, "parent", parentAddr)}
	zones := []inboundZone{
		{name: "nsec3.example.", policy: "nsec3", ds: realDS},
		{name: "insecure.example."},
		{name: "wrongds.example.", policy: "nsec", ds: otherDS},
		{name: "expired.example.", ds: realDS},
		{name: "_tcp." + bogusTLSA, policy: "nsec", ds: otherDS},
	}
	config := fmt.Sprintf(inboundKnotConf, parentAddr, p.dir)
	const glue = "ns.nic.example. A " + parentAddr + "\n"
	root := apex + "example. NS ns.nic.example.\n" + glue
	example := apex + glue + "dead.example. NS ns.dead.example.\nns.dead.example. A " + deadAddr + "\n" + records["example."]
	for _, z := range zones {
		example += z.name + " NS ns.nic.example.\n"
	}
	expired := p.signExpired(t, "expired.example.", apex+records["expired.example."])
	files := map[string]string{".": root, "example.": example}
	for _, z := range append(zones, inboundZone{name: ".", policy: "nsec"}, inboundZone{name: "example.", policy: "nsec"}) {
		config += fmt.Sprintf("  - domain: %s\n    file: %q\n", z.name, zoneFile(z.name))
		if z.policy == "" {
			config += "    dnssec-signing: off\n"
		} else {
			config += "    dnssec-policy: " + z.policy + "\n"
		}
		if _, ok := files[z.name]; !ok {
			files[z.name] = apex + records[z.name]
		}
	}
	files["expired.example."] = expired.zone
	for name, text := range files {
		p.file(t, zoneFile(name), text)
	}
	p.daemon = p.start(t, nil, "knotd", "-c", p.file(t, "knot.conf", config))
	keep(t, p.daemon.log)
	for _, z := range zones {
		switch {
		case z.policy == "" && z.ds != nil:
			example += expired.ds + "\n"
		case z.ds != nil:
			example += z.ds(p.awaitDS(ctx, t, z.name)) + "\n"
		}
	}
	p.file(t, zoneFile("example."), example)
	p.reload(ctx, t, "example.")
	p.file(t, zoneFile("."), root+p.awaitDS(ctx, t, "example.")+"\n")
	p.reload(ctx, t, ".")
	p.root = p.awaitDS(ctx, t, ".")
	p.example = example
	return p
}

func zoneFile(name string) string { return "zone-" + strings.Trim(name, ".") + ".zone" }

func (p *parent) awaitDS(ctx context.Context, t testing.TB, of string) (ds string) {
	t.Helper()
	await(ctx, t, "the key of "+of, func(ctx context.Context) (err error) {
		ds, err = p.ds(ctx, of)
		return err
	})
	return ds
}

type signedZone struct{ zone, ds string }

// signExpired signs a zone with BIND's tools as somebody did who then forgot it.
func (p *parent) signExpired(t testing.TB, name, text string) signedZone {
	t.Helper()
	dir := p.path("expired")
	command(t, "mkdir", dir)
	key := strings.TrimSpace(command(t, "dnssec-keygen", "-q", "-K", dir, "-a", "ECDSAP256SHA256", "-f", "KSK", name))
	dnskey := command(t, "cat", filepath.Join(dir, key+".key"))
	plain := p.file(t, "expired/plain", text+dnskey)
	command(t, "dnssec-signzone", "-z", "-P", "-q", "-K", dir, "-d", dir, "-S", "-s", "20250101000000", "-e", "20250201000000", "-o", name, "-f", filepath.Join(dir, "signed"), plain)
	return signedZone{
		zone: command(t, "cat", filepath.Join(dir, "signed")),
		ds:   strings.TrimSpace(command(t, "dnssec-dsfromkey", "-2", "-T", "1", filepath.Join(dir, key+".key"))),
	}
}

// startInboundResolver starts a validating resolver below the lab's root.
func startInboundResolver(ctx context.Context, t testing.TB, p *parent) {
	t.Helper()
	n := newNode(t, "dns", resolverAddr)
	hints := p.file(t, "root.hints", ". 3600 NS ns.nic.example.\nns.nic.example. 3600 A "+parentAddr+"\n")
	config := n.file(t, "unbound.conf", fmt.Sprintf(`server:
	interface: %s
	access-control: 0.0.0.0/0 allow
	directory: %q
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	do-ip6: no
	num-threads: 1
	val-log-level: 2
	module-config: "validator iterator"
	root-hints: %q
	trust-anchor: "%s"
remote-control:
	control-enable: no
`, n.addr, n.dir, hints, p.root))
	d := n.start(t, nil, "unbound", "-d", "-c", config)
	keep(t, d.log)
	await(ctx, t, "unbound", func(ctx context.Context) error {
		if !d.running() {
			t.Fatal("unbound ended")
		}
		m, err := query(ctx, "modern.postfix.example", dns.TypeA)
		if err == nil && (len(m.Answer) == 0 || !m.AuthenticatedData) {
			err = fmt.Errorf("no authentic answer: %v", m)
		}
		return err
	})
}

// tlsa is the data of a TLSA record for a certificate (RFC 6698 §2.1).
func tlsa(usage, selector, matching uint8, c *x509.Certificate) string {
	data := c.Raw
	if selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return fmt.Sprintf("TLSA %d %d %d %s", usage, selector, matching, hex.EncodeToString(data))
}

// hostRecords are those of the receivers: addresses and TLSA records. Strict ones
// have IPv6, too.
func (p *pki) hostRecords(rx []*receiver) string {
	wrong := "TLSA 3 1 1 " + strings.Repeat("ab", sha256.Size)
	var out strings.Builder
	for _, r := range rx {
		leaf := r.identity.chain[0]
		fmt.Fprintf(&out, "%s. A %s\n", r.host, r.addr)
		if r.mandatory {
			fmt.Fprintf(&out, "%s. AAAA %s\n", r.host, r.addr6)
		}
		for _, record := range map[string][]string{
			"modern.postfix.example":     {tlsa(3, 1, 1, leaf)},
			"strict.postfix.example":     {tlsa(3, 1, 1, leaf)},
			"default.postfix.example":    {tlsa(3, 0, 1, leaf)},
			"ecdsa.postfix.example":      {tlsa(2, 1, 1, p.intermediate.cert)},
			"tls12.postfix.example":      {wrong},
			"tls13.postfix.example":      {tlsa(1, 1, 1, leaf)},
			"nofs.postfix.example":       {wrong, tlsa(3, 1, 1, leaf)}, // a key is rolled
			"dhe.postfix.example":        {tlsa(3, 1, 2, leaf)},
			"self.postfix.example":       {tlsa(3, 1, 1, leaf)},
			"expired.postfix.example":    {tlsa(3, 1, 1, leaf)},
			"name.postfix.example":       {tlsa(3, 1, 1, leaf)},
			"incomplete.postfix.example": {tlsa(2, 1, 1, p.intermediate.cert)},
			"private.postfix.example":    {tlsa(2, 1, 1, p.private.cert)},
			"plain.postfix.example":      {tlsa(3, 1, 1, leaf)},
			"strict.exim.example":        {tlsa(3, 1, 1, leaf)},
			"default.exim.example":       {tlsa(2, 0, 1, p.intermediate.cert)},
			"tls13.exim.example":         {tlsa(2, 1, 1, p.root.cert)}, // which is not sent
			"commonname.exim.example":    {tlsa(2, 1, 1, p.intermediate.cert)},
			"future.exim.example":        {tlsa(2, 1, 1, p.intermediate.cert)},
			"dhe.exim.example":           {tlsa(3, 1, 0, leaf)},
			"good.smtpd.example":         {tlsa(3, 1, 1, leaf)},
			"strict.smtpd.example":       {"TLSA 3 1 1 abcd", tlsa(3, 1, 1, leaf)}, // one is malformed
			"oldroot.smtpd.example":      {tlsa(2, 1, 1, p.old.cert)},
		}[r.host] {
			fmt.Fprintf(&out, "_25._tcp.%s. %s\n", r.host, record)
		}
	}
	return out.String()
}
