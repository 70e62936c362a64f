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
	if d == "" || tx.Message == nil {
		return "", false
	}
	spf := tx.Message.SPF
	return trait("mail " + d), spf.Result == evidence.AuthPass && spf.Mechanism != mailauth.MechanismAll && scenario.Canonical(spf.Domain) == d
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
	if len(t.networks) < maxTraits {
		t.networks[networkOf(key)] = true
	}
}

// roams reports whether mails of the test came from several clients.
func (t *test) roams() bool { return t.places > 1 }

// allTraits returns the traits of a test, networks included.
func (t *test) allTraits() []trait {
	out := make([]trait, 0, len(t.traits)+len(t.networks))
	for x := range t.traits {
		out = append(out, x)
	}
	for n := range t.networks {
		out = append(out, trait("network "+n.String()))
	}
	return out
}

// kin returns the tests of one slot that may be of the same provider as t,
// directly or by way of others, without t.
func (a *Assessor) kin(t *test) []*test {
	with := make(map[trait][]*test)
	for _, o := range a.tests {
		if o.rec.Test.Slot == t.rec.Test.Slot {
			for _, x := range o.allTraits() {
				with[x] = append(with[x], o)
			}
		}
	}
	found := map[*test]bool{t: true}
	var out []*test
	for queue := []*test{t}; len(queue) > 0; queue = queue[1:] {
		for _, x := range queue[0].allTraits() {
			network := strings.HasPrefix(string(x), "network ")
			for _, o := range with[x] {
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
