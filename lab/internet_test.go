//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// An operator has a domain, a host and the deploy guide. The Internet is a root
// and a parent zone that are signed (Knot), a public CA (Pebble), a validating
// resolver (Unbound) and a second name server (NSD).

// secondaryAddr is that of the second name server.
const secondaryAddr = "192.0.2.26"

const transferSecret = "bGFiLXNlY3JldC1vZi10aGUtc2Vjb25kYXJ5LTEyMzQ="

// publicSettings are those of a sink that is reachable from everywhere.
const publicSettings = `zone = %[1]q
slots = 2 # the names of nine take the CA a minute for one certificate
data_dir = %[2]q

[dns]
addresses = [%[3]q]
ttl = "1s"
resolvers = ["%[4]s:53"]
trust_anchors = %[5]q
name_servers = ["ns2.example"]

[dns.transfer]
secondaries = ["%[6]s:53"]
key_name = "lab-transfer."
secret_file = %[7]q

[mail]
private = true

[certificates]
ca = "acme"
roots = %[8]q

[certificates.acme]
directory = %[9]q
staging = ""
email = "operator@example.org"
agree_terms = true
server_roots = %[10]q

[log]
level = "info"

[timing]
self_check = "20s"
propagation = "2s"
ds_ttl = "5s"
`

const nsdConf = `server:
	ip-address: %[1]s
	username: root
	chroot: ""
	zonesdir: %[2]q
	database: ""
	zonelistfile: %[3]q
	xfrdfile: %[4]q
	xfrdir: %[2]q
	pidfile: ""
	verbosity: 2
remote-control:
	control-enable: no
key:
	name: "lab-transfer."
	algorithm: hmac-sha256
	secret: %[5]q
zone:
	name: %[6]q
	zonefile: "secondary.zone"
	request-xfr: AXFR %[7]s lab-transfer.
	allow-notify: %[7]s lab-transfer.
`

// internet is everything that a public sink meets.
type internet struct {
	*lab
	parent *parent
	pebble *pebble
}

// newInternet starts all of it. The zone is not delegated yet.
func newInternet(ctx context.Context, t *testing.T, kinds ...string) *internet {
	t.Helper()
	i := startInternet(ctx, t, kinds...)
	s := i.newSink(t)
	secret := s.secret(t, "transfer-secret", transferSecret)
	s.configure(t, fmt.Sprintf(publicSettings, zone, s.path("data"), sinkAddr, resolverAddr, s.anchors, secondaryAddr, secret, i.pebble.roots, acmeURL, i.pebble.server))

	ns := newNode(t, "ns2", secondaryAddr)
	config := ns.file(t, "nsd.conf", fmt.Sprintf(nsdConf, secondaryAddr, ns.dir, ns.path("zones.list"), ns.path("xfrd.state"), transferSecret, zone, sinkAddr))
	keep(t, ns.start(t, nil, "nsd", "-d", "-c", config).log)
	return i
}

// startInternet starts what there is without the sink and its name servers.
func startInternet(ctx context.Context, t *testing.T, kinds ...string) *internet {
	t.Helper()
	command(t, "ip", "link", "set", "lo", "up")
	i := &internet{lab: &lab{}}
	for n, s := range setups(t, kinds...) {
		i.senders = append(i.senders, newSender(t, n+1, s))
	}
	i.parent = startParent(ctx, t, i.senders)
	startUnbound(ctx, t, i.parent.upstream(t, i.senders), i.senders)
	i.pebble = startPebble(ctx, t, i.parent.upstream(t, nil))

	return i
}

// newSink makes the sink's host. It still needs its settings.
func (i *internet) newSink(t *testing.T) *tlsink {
	t.Helper()
	s := &tlsink{node: newNode(t, "sink", sinkAddr), binary: os.Getenv(binaryVar), roots: i.pebble.roots}
	i.sink = s
	if err := os.Mkdir(s.path("data"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.anchors = s.file(t, "anchors", i.parent.root+"\n")
	keep(t, s.path("tlsink.log"))
	return s
}

// secret writes a file that nobody else may read and returns its path.
func (s *tlsink) secret(t *testing.T, name, text string) string {
	t.Helper()
	path := s.file(t, name, text+"\n")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// configure writes tlsink.toml: settings, which end in [timing], and the lab's.
func (s *tlsink) configure(t *testing.T, settings string) {
	t.Helper()
	for key, value := range timing() {
		settings += fmt.Sprintf("%s = %q\n", key, value)
	}
	s.config = s.file(t, "tlsink.toml", settings)
}

// startSenders starts the senders, which trust the public CA.
func (i *internet) startSenders(ctx context.Context, t *testing.T) {
	t.Helper()
	t.Cleanup(func() { i.stopSenders(t) })
	var g errgroup.Group
	for _, s := range i.senders {
		g.Go(func() error { return s.start(ctx, i.pebble.roots) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// item is a line of `tlsink doctor --json`.
type item struct{ Check, Subject, Status, Seen, Fix string }

// doctor returns what is not ok.
func (s *tlsink) doctor(ctx context.Context) ([]item, error) {
	// Its exit status says that something is wrong, which its output says better.
	out, err := s.run(ctx, "", "sh", "-c", `"$0" doctor --json --config "$1" || test $? = 1`, s.binary, s.config)
	if err != nil {
		return nil, err
	}
	var list []item
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("tlsink doctor: %w\n%s", err, out)
	}
	if len(list) == 0 {
		return nil, errors.New("tlsink doctor checked nothing")
	}
	return slices.DeleteFunc(list, func(i item) bool { return i.Status == "ok" }), nil
}

// healthy waits until the doctor finds nothing wrong.
func (s *tlsink) healthy(ctx context.Context, t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	await(ctx, t, "a healthy sink", func(ctx context.Context) error {
		problems, err := s.doctor(ctx)
		if err == nil && len(problems) > 0 {
			keys, _ := output(ctx, "", s.binary, "keys", "list", "--config", s.config)
			err = fmt.Errorf("not ok: %+v\n%s", problems, keys)
		}
		return err
	})
}

func TestOperatorsHour(t *testing.T) {
	needLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*deadline)
	defer cancel()
	i := newInternet(ctx, t, "may", "dane", "mta-sts")

	// The sink runs before anybody knows of it, and says what is missing.
	i.sink.expected = []string{"msg=\"self-check fails"}
	t.Cleanup(func() { i.sink.checkEnd(t) })
	i.sink.start(ctx, t)
	problems, err := i.sink.doctor(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(problems, func(p item) bool { return p.Check == "delegation" && p.Status == "wrong" && p.Fix != "" }) {
		t.Errorf("before the delegation, the doctor does not miss it: %+v", problems)
	}

	// The operator publishes what it prints.
	i.parent.delegate(ctx, t, command(t, i.sink.binary, "zone", "--config", i.sink.config))
	i.sink.healthy(ctx, t)

	i.startSenders(ctx, t)
	t.Run("before", func(t *testing.T) { i.sendAndFollow(ctx, t) })

	// Every key is rolled while the sink is in use.
	stop := pollDANE(ctx, t, "mx04.et."+zone, "mx06.et."+zone, "mx."+zone)
	before := i.sink.delegation(t)
	command(t, i.sink.binary, "keys", "roll", "--config", i.sink.config)
	command(t, i.sink.binary, "zone", "roll", "--config", i.sink.config)
	t.Run("rolling", func(t *testing.T) { i.sendAndFollow(ctx, t) })
	await(ctx, t, "the rolls", func(ctx context.Context) error {
		keys, err := output(ctx, "", i.sink.binary, "keys", "list", "--config", i.sink.config)
		if err != nil {
			return err
		}
		status, err := output(ctx, "", i.sink.binary, "zone", "status", "--config", i.sink.config)
		switch {
		case err != nil:
			return err
		case strings.Contains(status, "phase hand-over"):
			i.parent.delegate(ctx, t, command(t, i.sink.binary, "zone", "--config", i.sink.config))
			return errors.New(status)
		case !strings.Contains(status, "no key is being rolled"):
			return errors.New(status)
		case strings.Contains(keys, "rolling"):
			return errors.New(keys)
		}
		return nil
	})
	stop(10)
	if i.sink.delegation(t) == before {
		t.Errorf("the DS record is still %s", before)
	}
	i.sink.healthy(ctx, t)
}
