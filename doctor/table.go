package doctor

import (
	"context"
	"fmt"
	"strings"
)

// check is one row of the table that runs, documents and explains the checks.
type check struct {
	id     string
	title  string
	means  string // why it matters
	fix    string // what to do, mostly
	scope  Scope
	effect Effect
	needs  []string // checks that must not be wrong, or this one tells nothing
	// strictly lists those of needs that must be ok.
	strictly []string
	run      func(*exam, context.Context)
}

// The ids of the checks.
const (
	checkClock       = "clock"
	checkDelegation  = "delegation"
	checkNameServers = "name-servers"
	checkDS          = "ds"
	checkChain       = "chain"
	checkAddresses   = "addresses"
	checkPorts       = "ports"
	checkPTR         = "ptr"
	checkSPF         = "spf"
	checkDKIM        = "dkim"
	checkDMARC       = "dmarc"
	checkCAA         = "caa"
	checkZone        = "zone"
	checkUT          = "ut"
	checkProvider    = "provider"
	checkForeign     = "foreign"
	checkPolicy      = "policy"
	checkWithheld    = "withheld"
	checkOffered     = "offered"
	checkCertificate = "certificates"
	checkTLSA        = "tlsa"
	checkRelay       = "relay"
)

// checks returns the table, in the order of the checks.
func checks() []check {
	const publish = "Publish the records that `tlsink zone` prints in the parent zone (at most registrars: name servers, glue and DS of the domain)."
	delegated, verified, chain := []string{checkDelegation}, []string{checkClock, checkDelegation, checkChain}, []string{checkChain}
	return append([]check{
		{
			checkClock, "Clock", "Signatures and certificates have dates. With a wrong clock everything looks expired, to us or to everyone else.",
			"Set the clock of this machine: let systemd-timesyncd, chrony or ntpd run.", Outside | Faces, Unverifiable, nil, nil, (*exam).clock,
		},
		{
			checkDelegation, "Delegation", "The parent zone has to send the world to our name servers.",
			publish, Outside, NoEffect, nil, nil, either((*exam).delegation, (*exam).delegationElsewhere),
		},
		{
			checkNameServers, "Name servers", "Each name server that the parent names must answer for the zone, and all must have the same version of it.",
			"Let the name server serve the zone (as secondary: by transfer from this service), or take it out of dns.name_servers and of the parent zone.",
			Outside, NoEffect, delegated, nil, either((*exam).nameServers, (*exam).nameServersElsewhere),
		},
		{
			checkDS, "DS record", "The DS record in the parent zone is what makes the zone secure for the world. Without it no sender uses DANE; with a wrong one nobody finds us at all.",
			publish, Outside, NoEffect, delegated, nil, either((*exam).ds, (*exam).dsElsewhere),
		},
		{
			checkChain, "DNSSEC chain", "From the root down to our records every signature must hold, as a validating resolver sees it.",
			"Mostly a DS record is missing or old: compare with `tlsink zone`. `delv` and dnsviz.net show where the chain breaks.", Outside, Unverifiable,
			[]string{checkClock},
			nil, (*exam).chain,
		},
		{
			checkAddresses, "Addresses", "Names must lead to the configured addresses, and those to this machine.",
			"Correct dns.addresses, dns.mx_addresses or dns.ut_addresses; records of an old configuration go within a minute.",
			Outside, NoEffect, verified, chain, (*exam).addresses,
		},
		{
			checkPorts, "Ports", "Senders need port 25 and 443, resolvers 53 over UDP and TCP, people 80 and 443.",
			"Open the port in the firewall in front of the machine, and in the one of the hosting provider.", Outside, NoEffect, nil, nil, (*exam).ports,
		},
		{
			checkPTR, "Reverse name", "Many servers take mail, and so our reports, only from an address whose name leads back to it and is the one in EHLO.",
			"Ask whoever gave you the address to set its reverse DNS.", Outside, NoEffect, nil, nil, (*exam).ptr,
		},
		{
			checkSPF, "SPF", "Reports must pass SPF, for the zone and for the EHLO name.",
			"The service publishes it for dns.addresses: reports have to leave from one of them (mail.local_address). If another server has the zone, see `provider`.", Outside, NoEffect, verified, chain, (*exam).spf,
		},
		{
			checkDKIM, "DKIM", "Reports are signed; the public key must be the one of our private key.",
			"Publish the record of the key in data_dir/dkim.pem.", Outside, NoEffect, verified, chain, (*exam).dkim,
		},
		{
			checkDMARC, "DMARC", "Nobody shall send reports in our name.", "Publish a DMARC record for the zone.", Outside, NoEffect, verified, chain, (*exam).dmarc,
		},
		{
			checkCAA, "CAA", "A CAA record that does not name our CA keeps it from issuing certificates.",
			"Name the CA in the CAA record, or remove the record.", Outside, NoEffect, delegated, nil, (*exam).caa,
		},
	}, faceChecks()...)
}

// notIssued is the fix for a certificate that is not there.
const notIssued = "It comes by itself once delegation, ds and chain are ok; `tlsink keys list` says what it waits for, or what the CA answered."

func faceChecks() []check {
	tls := []string{checkOffered}
	return []check{
		{
			checkZone, "Own zone", "What our own name server says must verify from our own key: MX, TLSA, and the proof that ut has no TLSA records.",
			"See the log of the service for what went wrong when the zone was signed.", Faces, Unverifiable,
			[]string{checkClock},
			nil, either((*exam).zone, (*exam).zoneElsewhere),
		},
		{
			checkProvider, "DNS provider", "If another server has the zone (`dns.provider`), it has to take our changes: TLSA records, the MX order, the answers to the CA's challenges.",
			"Let the server of dns.provider be reached from here, and allow what it refuses; its own log says why.", Faces, NoEffect, nil, nil, (*exam).provider,
		},
		{
			checkForeign, "Foreign records", "If another server has the zone, somebody else may change it. That is repaired, but senders may have met it, and caches keep it.",
			"Find out who or what else writes to the zone, and stop it: it belongs to this service. Verdicts come back once no cache has it.", Faces, Broken, nil, nil, (*exam).foreign,
		},
		{
			checkUT, "Unprotected domain", "ut must publish nothing: neither TLSA records nor an MTA-STS policy.",
			"Remove the record: somebody added it to the zone at the DNS provider.", Faces, Broken,
			[]string{checkClock, checkZone},
			nil, (*exam).ut,
		},
		{
			checkPolicy, "MTA-STS policy", "Senders must find our policy, over a valid certificate: enforced, with mx04, mx05 and mx06.",
			"Let port 443 of the policy host reach this service, without a proxy that redirects.", Faces, Unverifiable,
			[]string{checkClock, checkZone},
			[]string{checkZone},
			(*exam).policy,
		},
		{
			checkWithheld, "STARTTLS withheld", "From a new client STARTTLS is withheld: that is the downgrade attack.",
			"Let port 25 reach this service directly: what answers there offers TLS on its own account.", Faces, Broken, nil, nil, (*exam).withheld,
		},
		{
			checkOffered, "STARTTLS offered", "Afterwards it is offered, or every sender looks as if it needed none.",
			"Let port 25 reach this service directly: something on the way removes STARTTLS (e.g. \"SMTP inspection\" of a firewall).",
			Faces, Broken, nil, nil, (*exam).offered,
		},
		{
			checkCertificate, "Certificates", "Good servers need certificates that everyone trusts, in ECDSA and RSA; the self-signed ones must be trusted by nobody.",
			notIssued, Faces, Broken,
			append(tls, checkClock), tls, (*exam).certificates,
		},
		{
			checkTLSA, "TLSA records", "mx04 and mx06 must match their TLSA records, mx03 and mx05 must not.",
			"Let the zone publish the TLSA records of the keys in data_dir/certs: with an external DNS provider look for what it refused.", Faces, Broken,
			append(tls, checkClock, checkZone), tls, (*exam).tlsa,
		},
		{
			checkRelay, "No relay", "A server that hands on mail for strangers is abused within hours.",
			"Let port 25 reach this service directly: what answers there is another mail server.", Faces, NoEffect, nil, nil, (*exam).relay,
		},
	}
}

// Names lists the ids of all checks.
func Names() (out []string) {
	for _, c := range checks() {
		out = append(out, c.id)
	}
	return out
}

// Markdown is the page that explains the checks.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# What tlsink doctor checks

` + "`tlsink doctor --config FILE`" + ` looks at a running sink from the outside in and
prints each item as *ok*, *wrong* or *could not test*, with what to do. Run it on
the same machine, and once from elsewhere: a firewall shows only from outside.
` + "`tlsink serve`" + ` does the same checks, as far as it can, every five minutes
(` + "`timing.self_check`" + `), and ten times as often while one fails.

What is wrong has one of these effects on tests:

- *verdicts without protection wait*: senders that enforce DANE or MTA-STS would
  look as if they did not, so that none, may, encrypt and verify are not reported;
- *no verdicts*: whatever is seen meanwhile says nothing and is not used, no test
  ends and no report is mailed, until the check passes again. Nobody has to do
  anything then: mail is answered 451 and comes back.

`)
	for _, c := range checks() {
		fmt.Fprintf(&b, "## %s (`%s`)\n\n%s\n\n*If it is wrong:* %s\n", c.title, c.id, c.means, c.fix)
		switch c.effect {
		case Unverifiable:
			b.WriteString("*Effect:* verdicts without protection wait.\n")
		case Broken:
			b.WriteString("*Effect:* no verdicts.\n")
		}
		b.WriteString("\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
