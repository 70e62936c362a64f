package assess

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/mailauth"
	"github.com/tlsink/tlsink/scenario"
)

// Providers hand a mail from host to host. So what carries no mail, at an
// address where only one test has shown itself yet, may be of any test of the
// same provider. Which tests those are is judged by traits that they share.
// A trait raises doubt, it never ties a connection to a test.

// trait is something that tests of one provider have in common: a client
// address; the organization in an EHLO name, or the name; the authenticated
// domain of MAIL FROM; and the network, once a mail has come from several
// addresses: before that, neighbours in a network are strangers.
type trait string

func clientTrait(key netip.Prefix) trait { return trait("client " + key.String()) }

func (x trait) client() bool { return strings.HasPrefix(string(x), "client ") }

const networkPrefix = "network "

// networkOf returns the /24, or the /48 of an IPv6 address.
func networkOf(key netip.Prefix) netip.Prefix {
	bits := 48
	if key.Addr().Is4() {
		bits = 24
	}
	return netip.PrefixFrom(key.Addr(), bits).Masked()
}

// heloTrait: names without a dot, and addresses, are common to many.
func heloTrait(name string) (trait, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if !strings.Contains(name, ".") || strings.HasPrefix(name, "[") || strings.HasPrefix(name, "localhost.") {
		return "", false
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "", false
	}
	if org, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return trait("helo " + org), true
	}
	return trait("helo " + name), true
}

// mailTrait is the domain of MAIL FROM, if its SPF record names the client:
// anybody can use a MAIL FROM. An EHLO name can't be verified like that, so
// whoever uses another's makes its verdict come late, or not at all.
func mailTrait(tx evidence.Transaction) (trait, bool) {
	d := mailDomain(tx.MailFrom)
	if tx.Message == nil {
		return "", false
	}
	spf := tx.Message.SPF
	return trait("mail " + d), d != "" && spf.Result == evidence.AuthPass && spf.Mechanism != mailauth.MechanismAll && scenario.Canonical(spf.Domain) == d
}

// maxTraits bounds the traits of one test.
const maxTraits = 200

// note remembers the traits that a connection with a mail of the test shows.
func (t *test) note(c evidence.Connection) {
	if t.traits == nil {
		t.traits = make(map[trait]bool)
	}
	add := func(x trait) {
		if len(t.traits) < maxTraits {
			t.traits[x] = true
		}
	}
	for _, tx := range c.Transactions {
		if x, ok := mailTrait(tx); ok {
			add(x)
		}
	}
	for _, name := range c.Helo {
		if x, ok := heloTrait(name); ok {
			add(x)
		}
	}
	ap, err := netip.ParseAddrPort(c.Client)
	if err != nil {
		return
	}
	key := evidence.ClientOf(ap.Addr())
	if !t.traits[clientTrait(key)] {
		t.places++
	}
	add(clientTrait(key))
	if t.networks == nil {
		t.networks = make(map[netip.Prefix]bool)
	}
	if n := networkOf(key); len(t.networks) < maxTraits {
		t.networks[n] = true
		add(trait(networkPrefix + n.String()))
	}
}

// roams reports whether mails of the test came from several clients.
func (t *test) roams() bool { return t.places > 1 }

// traitIndex finds tests by slot and trait.
type traitIndex struct {
	tests map[slotTrait][]*test
	size  int // sizeOf the tests that it was made from
}

type slotTrait struct {
	slot  int
	trait trait
}

// sizeOf grows with each test and each trait; where a test goes, the index is
// dropped.
func sizeOf(tests map[string]*test) (n int) {
	for _, t := range tests {
		n += 1 + len(t.traits)
	}
	return n
}

func (a *Assessor) index() map[slotTrait][]*test {
	size := sizeOf(a.tests)
	if a.traits.tests != nil && a.traits.size == size {
		return a.traits.tests
	}
	a.traits = traitIndex{tests: make(map[slotTrait][]*test), size: size}
	for _, t := range a.tests {
		for x := range t.traits {
			k := slotTrait{t.rec.Test.Slot, x}
			a.traits.tests[k] = append(a.traits.tests[k], t)
		}
	}
	return a.traits.tests
}

// drop forgets a test.
func (a *Assessor) drop(id string) {
	delete(a.tests, id)
	a.traits = traitIndex{}
}

// kin returns the tests of one slot that may be of the same provider as t,
// directly or by way of others, without t.
func (a *Assessor) kin(t *test) (out []*test) {
	with := a.index()
	found := map[*test]bool{t: true}
	for queue := []*test{t}; len(queue) > 0; queue = queue[1:] {
		for x := range queue[0].traits {
			network := strings.HasPrefix(string(x), networkPrefix)
			for _, o := range with[slotTrait{t.rec.Test.Slot, x}] {
				if !found[o] && (!network || queue[0].roams() || o.roams()) {
					found[o] = true
					out = append(out, o)
					queue = append(queue, o)
				}
			}
		}
	}
	return out
}

// neededByKin reports whether a running test may have met what is this one's:
// as long as it runs, this one must not be forgotten.
func (a *Assessor) neededByKin(t *test) bool {
	return slices.ContainsFunc(a.kin(t), func(o *test) bool {
		return o.running() && o.adopts(a.o.Timing.DateSkew).Before(t.ended())
	})
}

// inherit lets a new client in a network from where a mail roams be treated as
// its other clients are: with a downgrade phase for each of its addresses, a
// mail from forty of them would hardly meet TLS. A test that begins at such a
// client has a downgrade phase of its own, see open. If the client is a
// stranger, that is all it comes to.
func (a *Assessor) inherit(fresh *client, now time.Time) {
	network := networkOf(fresh.key)
	var from *client
	for _, t := range a.tests {
		if !t.rec.Open() || t.rec.Secured.IsZero() || !t.roams() || !t.networks[network] {
			continue
		}
		for key, c := range t.clients {
			if networkOf(key) == network && (from == nil || c.last.After(from.last)) {
				from = c
			}
		}
	}
	if from == nil {
		return
	}
	fresh.inherited = true
	fresh.withhold.end(now)
	for k, v := range from.varying {
		copied := *v
		fresh.varying[k] = &copied
	}
}
