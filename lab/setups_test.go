//go:build linux

package lab_test

import (
	"slices"
	"testing"
)

// setup is a sender under test: how it is configured, and what tlsink has to
// find out.
type setup struct {
	kind    string
	servers []config
	network int // of its servers
	// fallback: mail goes through the first server alone.
	fallback bool

	// policy is the true name. If candidates are given, the verdict is
	// undetermined, or may be, and no others are left: why is said in the table.
	policy     string
	candidates []string
	may        bool
	// sender names each part that has an effect, as part:value. The value is
	// a|b where the configuration leaves open which. It ends in ? where it may
	// stay unknown: it cannot be seen, which the table explains, or need not
	// have been seen when the name is certain, and the test over.
	sender string
	open   string // further parts that may stay unknown, by name
	// findings are the ids of those that the verdict must have, and no others;
	// one that ends in ? it may have.
	findings []string
	hosts    []string // of a mixed verdict: what each server's own is
	// endless: within the lab's time there is no verdict, and so no report.
	endless bool
	left    []string // recipients that stay in the queue for ever
}

// unpacked reports whether a server comes from an unpacked package.
func (s setup) unpacked() bool {
	return slices.ContainsFunc(s.servers, func(c config) bool {
		_, installed := c.(postfix)
		return !installed
	})
}

// right reports whether tlsink may give such a sender that verdict.
func (s setup) right(policy string) bool {
	return policy == s.policy && (s.candidates == nil || s.may) || policy == "undetermined" && s.candidates != nil
}

// setups are those under test, all or some.
func setups(t *testing.T, kinds ...string) (out []setup) {
	t.Helper()
	for _, s := range slices.Concat(postfixSetups(), poolSetups(), eximSetups(), chasquidSetups()) {
		if len(kinds) == 0 || slices.Contains(kinds, s.kind) {
			out = append(out, s)
		}
	}
	if len(kinds) > 0 && len(out) != len(kinds) {
		t.Fatalf("setups %q: found %v", kinds, out)
	}
	return slices.DeleteFunc(out, func(s setup) bool { return s.unpacked() && !needServers(t, s.kind) })
}

// Where the name shows protection, it may be certain before ut was met often
// enough to show the sender's own rule and its SNI habit. Names that do not show
// protection come after settle, when all that there is was seen.

const (
	// noSNI is the habit of one that would name hosts only for DANE or MTA-STS.
	noSNI = " sni:never|authenticating?"
	// Where neither DANE nor MTA-STS is in force.
	plain = " dane:no mta_sts:no"
)

func postfixSetups() []setup {
	one := func(p postfix) []config { return []config{p} }
	return []setup{
		{
			// It never uses TLS, so it never shows SNI.
			kind: "none", servers: one(postfix{level: "none"}), policy: "none",
			sender: "tls:never plaintext:yes plaintext_unprotected:yes verifies_ca:no" + plain + noSNI,
		},
		{
			kind: "may", servers: one(postfix{level: "may"}), policy: "may",
			sender: "tls:offered plaintext:yes plaintext_unprotected:yes verifies_ca:no" + plain + noSNI,
		},
		{
			kind: "encrypt", servers: one(postfix{level: "encrypt"}), policy: "encrypt",
			sender: "tls:required plaintext:no plaintext_unprotected:no verifies_ca:no without_tls:retry?" + plain + noSNI,
		},
		{
			kind: "verify", servers: one(postfix{level: "verify"}), policy: "verify",
			sender:   "tls:required plaintext:no plaintext_unprotected:no verifies_ca:yes without_tls:retry? sni:never" + plain,
			findings: []string{"verifies-without-sni?"},
		},
		{
			// Whether it honours MTA-STS, too, could not be seen: DANE goes first.
			kind: "dane", servers: one(postfix{level: "dane"}), policy: "dane",
			sender: "tls:offered? plaintext:no plaintext_unprotected:yes? verifies_ca:no? dane:yes mta_sts:no? sni:authenticating? without_tls:retry?",
		},
		{
			// It never comes to ut, where the other parts would show.
			kind: "dane-only", servers: one(postfix{level: "dane-only"}), policy: "dane-only", left: []string{"en@ut." + zone},
			sender: "tls:required? plaintext:no plaintext_unprotected:no verifies_ca:no? dane:required mta_sts:no? sni:authenticating? without_tls:retry?",
		},
		{
			// That it had the policy before its first contact cannot be seen, nor
			// that there is no DANE that MTA-STS overrides.
			kind: "mta-sts", servers: one(postfix{level: "may", sts: true}), policy: "mta-sts",
			sender:   "tls:offered? plaintext:no plaintext_unprotected:yes? verifies_ca:no? dane:no? mta_sts:yes? sni:authenticating? unlisted_mx:contacted? without_tls:retry?",
			findings: []string{"unlisted-mx-contacted?"},
		},
		{
			// SNI is no sign of authentication.
			kind: "may-sni", servers: one(postfix{level: "may", sni: true}), policy: "may",
			sender: "tls:offered plaintext:yes plaintext_unprotected:yes verifies_ca:no sni:always" + plain,
		},
		{
			kind: "encrypt-sni", servers: one(postfix{level: "encrypt", sni: true}), policy: "encrypt",
			sender: "tls:required plaintext:no plaintext_unprotected:no verifies_ca:no sni:always without_tls:retry?" + plain,
		},
		{
			// A sender that also honours MTA-STS would do the same everywhere.
			kind: "verify-sni", servers: one(postfix{level: "verify", sni: true}), policy: "verify", candidates: []string{"verify", "mta-sts"},
			sender: "tls:required? plaintext:no plaintext_unprotected:no? verifies_ca:yes dane:no? mta_sts:no? sni:always without_tls:retry?",
		},
		{
			// The policy map replaces DANE, against RFC 8461 §2: of DANE nothing is
			// left to be seen but its queries.
			kind: "dane-sts", servers: one(postfix{level: "dane", sts: true}), policy: "mta-sts",
			sender:   "tls:offered? plaintext:no plaintext_unprotected:yes? verifies_ca:no? dane:yes? mta_sts:yes? both:mta-sts? sni:authenticating? unlisted_mx:contacted? without_tls:retry?",
			findings: []string{"unlisted-mx-contacted?"},
		},
	}
}

// poolSetups are domains with two outbound hosts.
func poolSetups() []setup {
	return []setup{
		{
			// Both have the mail and try in turn.
			kind: "mixed", network: 1, servers: []config{postfix{level: "dane"}, postfix{level: "may"}},
			policy: "mixed", hosts: []string{"dane", "may"},
			findings: []string{"hosts-differ"},
		},
		{
			// The first server's protection is worth nothing: what it cannot
			// deliver goes out through the second.
			kind: "fallback", network: 2, servers: []config{postfix{level: "dane", fallback: true}, postfix{level: "may"}}, fallback: true,
			policy: "may",
			sender: "tls:offered plaintext:yes plaintext_unprotected:yes verifies_ca:no" + plain + noSNI,
		},
	}
}

func eximSetups() []setup {
	with := func(options ...string) []config { return []config{exim{options}} }
	const (
		noDANE  = "hosts_try_dane ="
		noTLS   = "hosts_avoid_tls = *"
		require = "hosts_require_tls = *"
		verify  = "tls_verify_hosts = *"
	)
	return []setup{
		{
			kind: "exim", servers: with(), policy: "dane",
			sender: "tls:offered? plaintext:no plaintext_unprotected:yes? verifies_ca:no? dane:yes mta_sts:no? sni:authenticating? without_tls:retry?",
		},
		{
			kind: "exim-nodane", servers: with(noDANE), policy: "may",
			sender: "tls:offered plaintext:yes plaintext_unprotected:yes verifies_ca:no" + plain + noSNI,
		},
		{
			// Its mail to ut bounces at once, and with all MX on one address it makes
			// one connection an attempt: a refusal comes without mail, so it may be
			// a stranger's.
			kind: "exim-require-dane", servers: with("hosts_require_dane = *"), policy: "dane-only",
			candidates: []string{"encrypt", "mta-sts", "dane", "dane-only"}, endless: true,
			sender: "tls:required? plaintext:no plaintext_unprotected:no? verifies_ca:no? dane:required? mta_sts:no? sni:authenticating? without_tls:retry?",
		},
		{
			// DANE demands TLS, which it never starts: et is never sent to, so it shows
			// no more than that it will not do so in plaintext.
			kind: "exim-notls", servers: with(noTLS), policy: "dane",
			candidates: []string{"encrypt", "verify", "mta-sts", "dane", "dane-only", "dane+mta-sts"}, endless: true,
			sender: "tls:never? plaintext:no plaintext_unprotected:yes verifies_ca:no? dane:yes? mta_sts:no? sni:authenticating? without_tls:retry?",
		},
		{
			kind: "exim-notls-nodane", servers: with(noTLS, noDANE), policy: "none",
			sender: "tls:never plaintext:yes plaintext_unprotected:yes verifies_ca:no" + plain + noSNI,
		},
		{
			kind: "exim-require", servers: with(require), policy: "dane",
			sender: "tls:required? plaintext:no plaintext_unprotected:no? verifies_ca:no? dane:yes mta_sts:no? sni:authenticating? without_tls:retry?",
		},
		{
			kind: "exim-require-nodane", servers: with(require, noDANE), policy: "encrypt",
			sender: "tls:required plaintext:no plaintext_unprotected:no verifies_ca:no without_tls:retry?" + plain + noSNI,
		},
		{
			// Its own rule shows at ut, if that comes first.
			kind: "exim-verify", servers: with(verify), policy: "dane",
			sender:   "tls:offered? plaintext:no plaintext_unprotected:yes? verifies_ca:yes? dane:yes mta_sts:no? sni:authenticating? without_tls:retry?",
			findings: []string{"plaintext-after-tls-failure?"},
		},
		{
			// It refuses once in an attempt, without mail, and then takes plaintext:
			// twice it is certain whose refusal that was, and settle may come first.
			kind: "exim-verify-nodane", servers: with(verify, noDANE), policy: "may",
			sender:   "tls:offered plaintext:yes plaintext_unprotected:yes verifies_ca:yes? sni:never?" + plain,
			findings: []string{"plaintext-after-tls-failure?", "verifies-without-sni?"},
		},
		{
			kind: "exim-verify-require", servers: with(verify, require), policy: "dane",
			sender: "tls:required? plaintext:no plaintext_unprotected:no? verifies_ca:yes? dane:yes mta_sts:no? sni:authenticating? without_tls:retry?",
		},
		{
			// With one connection an attempt, its refusals may all come without mail
			// until the test ends. Then it could also be one that knows the policy.
			kind: "exim-verify-require-nodane", servers: with(verify, require, noDANE), policy: "verify",
			candidates: []string{"verify", "mta-sts"}, may: true,
			sender:   "tls:required? plaintext:no plaintext_unprotected:no? verifies_ca:yes sni:never without_tls:retry? dane:no? mta_sts:no?",
			findings: []string{"verifies-without-sni?"},
		},
	}
}

// chasquidAgain is what the same chasquid shows in its second test: it remembers
// how well it could send to a domain, and refuses less from then on. So it may
// demand TLS of ut now, or even a certificate, as one that always verifies. While
// STARTTLS is withheld it then hands over nothing, so that whether these
// connections are of its test may stay in doubt.
func chasquidAgain() setup {
	return setup{
		kind: "chasquid", servers: []config{chasquid{}},
		policy: "mta-sts", candidates: []string{"may", "verify", "mta-sts"}, may: true,
		sender: "tls:offered|required? plaintext:no? plaintext_unprotected:yes|no? verifies_ca:no|yes? dane:no? mta_sts:yes? sni:always? unlisted_mx:skipped? without_tls:retry?",
	}
}

func chasquidSetups() []setup {
	return []setup{
		{
			kind: "chasquid", servers: []config{chasquid{}}, policy: "mta-sts",
			sender: "tls:offered? plaintext:no plaintext_unprotected:yes? verifies_ca:no? dane:no? mta_sts:yes? sni:always? unlisted_mx:skipped? without_tls:retry?",
		},
	}
}
