package assess

import (
	"math"
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
		} else if len(t.names) < maxTraits {
			if t.names == nil {
				t.names = make(map[string]bool)
			}
			t.names[strings.ToLower(name)] = true
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

// traitIndex finds tests by trait. Tests of other slots are among them: what
// names no slot may be theirs.
type traitIndex map[trait]map[*test]bool

// put adds a connection with a mail of t, and the traits that it shows.
func (a *Assessor) put(t *test, c evidence.Connection) {
	known := len(t.traits)
	t.put(c, a.o.Limits.Connections)
	if len(t.traits) > known {
		a.traits.add(t)
	}
}

func (i traitIndex) add(t *test) {
	for x := range t.traits {
		if i[x] == nil {
			i[x] = make(map[*test]bool)
		}
		i[x][t] = true
	}
}

// drop forgets a test.
func (a *Assessor) drop(id string) {
	t := a.tests[id]
	delete(a.tests, id)
	for x := range t.traits {
		if delete(a.traits[x], t); len(a.traits[x]) == 0 {
			delete(a.traits, x)
		}
	}
}

// kin returns the tests, of any slot, that may be of the same provider as t,
// directly or by way of others, without t.
func (a *Assessor) kin(t *test) []*test {
	return a.reach(t, math.MaxInt, func(trait) bool { return true })
}

// reach returns up to most tests that share a trait with t, directly or by way
// of others, without t, by the traits that follow accepts. The list of a trait
// is read once, that of a network at most twice: all users of a large provider
// may be kin.
func (a *Assessor) reach(t *test, most int, follow func(trait) bool) (out []*test) {
	type list struct {
		trait trait
		all   bool
	}
	read := make(map[list]bool)
	found := map[*test]bool{t: true}
	for queue := []*test{t}; len(queue) > 0; queue = queue[1:] {
		for x := range queue[0].traits {
			if !follow(x) {
				continue
			}
			// Neighbours in a network are kin only if a mail of one of them roams.
			l := list{x, !strings.HasPrefix(string(x), networkPrefix) || queue[0].roams()}
			if read[l] || read[list{x, true}] {
				continue
			}
			read[l] = true
			for o := range a.traits[x] {
				if found[o] || !l.all && !o.roams() {
					continue
				}
				if len(out) == most {
					return out
				}
				found[o] = true
				out = append(out, o)
				queue = append(queue, o)
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
