package config

import (
	"cmp"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/certs/acme"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/zones"
)

// maxSlots bounds the names in the default certificate, which every handshake
// without SNI carries: six for a slot.
const maxSlots = 64

// Check returns everything that is wrong with the values of c.
func (c *Config) Check() []Problem {
	return slices.Concat(
		c.checkGeneral(), c.checkListen(), c.DNS.check(), c.checkProvider(), c.checkCertificates(), c.checkMail(),
		c.checkNAT(), c.checkDowngrade(), c.Limits.check(), asProblem(c.AssessTiming().Check()), c.checkMargin(), c.Log.check(), c.Inbound.check(), c.checkWeb(),
	)
}

func (c Inbound) check() []Problem {
	var out []Problem
	if r := c.ValidatingResolver; r != "" {
		if _, err := netip.ParseAddrPort(r); err != nil {
			out = append(out, wrong("inbound.validating_resolver", r, `want an IP address and a port, e.g. "127.0.0.1:53"`))
		}
	}
	if n := len(c.NetworkZones); n != 0 && n != 3 {
		out = append(out, wrong("inbound.network_zones", c.NetworkZones, "want three zones: for IPv4 addresses, for IPv6 addresses, for names"))
	}
	if len(c.NetworkZones) > 0 && c.Networks != "" {
		out = append(out, wrong("inbound.network_zones", c.NetworkZones, "inbound.networks is given, too: keep one"))
	}
	return out
}

// checkMargin: an MX order may be certain only once every cache has it.
func (c *Config) checkMargin() []Problem {
	if margin, ttl := time.Duration(c.Timing.Margin), time.Duration(c.DNS.TTL); ttl <= zones.MaxTTL && margin < ttl {
		return []Problem{wrong("timing.margin", margin, fmt.Sprintf("want at least dns.ttl, which is %v: caches keep the MX order for so long", ttl))}
	}
	return nil
}

func (c *Config) checkGeneral() []Problem {
	var out []Problem
	switch {
	case c.Zone == "":
		out = append(out, missing("zone", `name the DNS zone that is delegated to this host, e.g. zone = "sink.example"`))
	case !IsZoneName(c.Zone):
		out = append(out, wrong("zone", c.Zone, `want letters, digits and '-', as in "sink.example": the name of a delegated zone`))
	}
	if c.DataDir == "" {
		out = append(out, missing("data_dir", `name a folder for keys and evidence, e.g. "/var/lib/tlsink"`))
	}
	if c.Retention < 1 {
		out = append(out, wrong("retention_days", c.Retention, "want at least 1"))
	}
	if c.Slots < 1 || c.Slots > maxSlots {
		out = append(out, wrong("slots", c.Slots, fmt.Sprintf("want 1 to %d", maxSlots)))
	}
	return out
}

func (c *Config) checkListen() []Problem {
	var out []Problem
	if len(c.Listen.SMTP) == 0 {
		out = append(out, Problem{Field: "listen.smtp", Text: "listen.smtp is empty", Fix: `list at least one address, e.g. ":25"`})
	}
	if len(c.Listen.HTTPS) == 0 {
		out = append(out, Problem{Field: "listen.https", Text: "listen.https is empty", Fix: `senders fetch the MTA-STS policy there: list at least one address, e.g. ":443"`})
	}
	for _, l := range c.Listen.lists() {
		for _, a := range l.addresses {
			if _, _, err := net.SplitHostPort(a); err != nil {
				out = append(out, other(l.field, a, fmt.Sprintf("%q has a %s", a, addressFault(err)), fmt.Sprintf("give an address of this host and a port, e.g. %q", l.example)))
			}
		}
	}
	return out
}

func addressFault(err error) string {
	if x, ok := err.(*net.AddrError); ok { //nolint:errorlint // what net.SplitHostPort documents
		return x.Err
	}
	return err.Error()
}

// listenList is one of the lists in [listen].
type listenList struct {
	field, example string
	addresses      []string
}

func (l *Listen) lists() []listenList {
	return []listenList{
		{"listen.smtp", ":25", l.SMTP},
		{"listen.dns", ":53", l.DNS},
		{"listen.http", ":80", l.HTTP},
		{"listen.https", ":443", l.HTTPS},
		{"listen.metrics", "127.0.0.1:9100", l.Metrics},
	}
}

func (c *DNS) check() []Problem {
	var out []Problem
	if len(c.Addresses) == 0 {
		out = append(out, missing("dns.addresses", `list the public addresses of this host, e.g. ["192.0.2.25"]`))
	}
	if ttl := time.Duration(c.TTL); ttl > zones.MaxTTL || ttl%time.Second != 0 {
		out = append(out, wrong("dns.ttl", ttl, fmt.Sprintf("want whole seconds, at most %v", zones.MaxTTL)))
	}
	for _, r := range c.Resolvers {
		if _, err := netip.ParseAddrPort(r); err != nil {
			out = append(out, has("dns.resolvers", r, `want an IP address and a port, e.g. "127.0.0.1:53"`))
		}
	}
	for _, n := range c.NameServers {
		if !IsZoneName(n) {
			out = append(out, has("dns.name_servers", n, `want the names of hosts, e.g. "ns.example.net"`))
		}
	}
	return append(out, c.Transfer.check(c)...)
}

func (t *Transfer) check(c *DNS) []Problem {
	if len(t.Secondaries) == 0 {
		if t.KeyName != "" || t.Secret().isSet() {
			return []Problem{missing("dns.transfer.secondaries", `list the name servers that copy the zone, e.g. ["192.0.2.53:53"], or leave dns.transfer out`)}
		}
		return nil
	}
	var out []Problem
	for _, s := range t.Secondaries {
		if _, err := netip.ParseAddrPort(s); err != nil {
			out = append(out, has("dns.transfer.secondaries", s, `want an IP address and a port, e.g. "192.0.2.53:53"`))
		}
	}
	if len(c.NameServers) == 0 && !c.External() {
		out = append(out, missing("dns.name_servers", `dns.transfer.secondaries has a name server that nobody would ask: list its name, e.g. ["ns.example.net"]`))
	}
	if c.External() {
		out = append(out, wrong("dns.transfer.secondaries", t.Secondaries, fmt.Sprintf("with dns.provider = %q the zone is served elsewhere: leave dns.transfer out, and set up secondaries there", c.Provider)))
	}
	return append(out, checkKey("dns.transfer", t.KeyName, t.Algorithm, t.Secret())...)
}

// checkKey looks at a TSIG key (RFC 8945).
func checkKey(section, name, algorithm string, s Secret) []Problem {
	var out []Problem
	switch _, ok := dns.IsDomainName(name); {
	case name == "":
		out = append(out, missing(section+".key_name", "name the TSIG key as the other side does"))
	case !ok || strings.ContainsAny(name, " \\/:@*\"'()<>"):
		out = append(out, wrong(section+".key_name", name, "want the name of the TSIG key, e.g. \"tlsink\""))
	}
	if known := []string{"hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"}; !slices.Contains(known, algorithm) {
		out = append(out, wrong(section+".algorithm", algorithm, "want one of "+strings.Join(known, ", ")))
	}
	return append(out, s.check(true)...)
}

func (c *Config) checkProvider() []Problem {
	var out []Problem
	d := &c.DNS
	switch d.Provider {
	case ProviderEmbedded:
		return nil
	case ProviderRFC2136:
		switch _, err := netip.ParseAddrPort(d.RFC2136.Server); {
		case d.RFC2136.Server == "":
			out = append(out, missing("dns.rfc2136.server", `name the primary server of the zone, e.g. "192.0.2.53:53"`))
		case err != nil:
			out = append(out, wrong("dns.rfc2136.server", d.RFC2136.Server, `want an IP address and a port, e.g. "192.0.2.53:53"`))
		}
		out = append(out, checkKey("dns.rfc2136", d.RFC2136.KeyName, d.RFC2136.Algorithm, d.RFC2136.Secret())...)
	case ProviderDesec:
		if !isAPI(d.Desec.API) {
			out = append(out, wrong("dns.desec.api", d.Desec.API, "want an https:// URL"))
		}
		out = append(out, d.Desec.Token().check(true)...)
	default:
		return []Problem{wrong("dns.provider", d.Provider, fmt.Sprintf("want %q, %q or %q", ProviderEmbedded, ProviderRFC2136, ProviderDesec))}
	}
	if len(c.Listen.DNS) > 0 {
		out = append(out, wrong("listen.dns", c.Listen.DNS, fmt.Sprintf("with dns.provider = %q the zone is served elsewhere: leave listen.dns out", d.Provider)))
	}
	return out
}

// isAPI reports whether s is a URL that a secret may be sent to.
func isAPI(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && err == nil && ip.IsLoopback()
}

func (c *Config) checkCertificates() []Problem {
	switch c.Certificates.CA {
	case CALocal:
		return nil
	case CAACME:
	default:
		return []Problem{wrong("certificates.ca", c.Certificates.CA, fmt.Sprintf("want %q or %q", CALocal, CAACME))}
	}
	var out []Problem
	a := &c.Certificates.ACME
	for _, u := range []struct{ field, value string }{{"certificates.acme.directory", a.Directory}, {"certificates.acme.staging", a.Staging}} {
		if p, err := url.Parse(u.value); u.field == "certificates.acme.staging" && u.value == "" {
			continue
		} else if err != nil || p.Scheme != "https" || p.Host == "" {
			out = append(out, wrong(u.field, u.value, fmt.Sprintf("want the https:// URL of an ACME directory, e.g. %q", acme.LetsEncrypt)))
		}
	}
	if !a.AgreeTerms {
		out = append(out, wrong("certificates.acme.agree_terms", a.AgreeTerms, "read the terms of the CA, then set it to true; the CA gives no certificates without"))
	}
	if p, err := mail.ParseAddress(a.Email); a.Email != "" && (err != nil || p.Name != "" || p.Address != a.Email) {
		out = append(out, wrong("certificates.acme.email", a.Email, `want an address, e.g. "you@example.org"`))
	}
	if (a.EABKeyID != "") != a.EABKey().isSet() {
		out = append(out, missing(eabMissing(a), "an external account needs eab_key_id and eab_key_file (or eab_key_env), as the CA gave them"))
	}
	out = append(out, a.EABKey().check(false)...)
	out = append(out, asProblem(certs.CheckSlots(c.Zone, c.Slots, acme.MaxNames))...)
	return out
}

func eabMissing(a *ACME) string {
	if a.EABKeyID == "" {
		return "certificates.acme.eab_key_id"
	}
	return "certificates.acme.eab_key_file"
}

func (c *Config) checkMail() []Problem {
	var out []Problem
	m := c.Mail
	if _, err := mail.ParseAddress(m.From); m.From != "" && err != nil {
		out = append(out, wrong("mail.from", m.From, fmt.Sprintf(`want an address, e.g. "tlsink <report@%s>"`, cmp.Or(c.Zone, "sink.example"))))
	}
	if m.LocalAddress != "" {
		if _, err := netip.ParseAddr(m.LocalAddress); err != nil {
			out = append(out, wrong("mail.local_address", m.LocalAddress, "want an IP address of this host"))
		}
	}
	if _, ok := dns.IsDomainName(m.DKIMSelector); !ok || strings.ContainsAny(m.DKIMSelector, " \\/:@\"'()<>*") {
		out = append(out, wrong("mail.dkim_selector", m.DKIMSelector, "want letters, digits and '-'"))
	}
	if m.Smarthost.Address == "" {
		if m.Smarthost != (Smarthost{}) {
			out = append(out, missing("mail.smarthost.address", "give host:port, or leave mail.smarthost out"))
		}
		return out
	}
	if p := m.Smarthost.Password(); p.isSet() && m.Smarthost.Username == "" {
		out = append(out, missing("mail.smarthost.username", "there is a password for it: name the user, or leave the password out"))
	}
	return append(out, m.Smarthost.Password().check(m.Smarthost.Username != "")...)
}

func (l *Limits) check() []Problem {
	var out []Problem
	for _, v := range []struct {
		name  string
		value int64
	}{
		{"connections", int64(l.Connections)},
		{"per_client", int64(l.PerClient)},
		{"message_size", l.MessageSize},
		{"reports_per_address", int64(l.ReportsAddress)},
		{"reports_per_domain", int64(l.ReportsDomain)},
		{"reports_per_network", int64(l.ReportsNetwork)},
		{"mailbox_messages", int64(l.MailboxMessages)},
	} {
		if v.value < 1 {
			out = append(out, wrong("limits."+v.name, v.value, "want at least 1"))
		}
	}
	return out
}

func (l *Log) check() []Problem {
	var out []Problem
	if l.Format != "text" && l.Format != "json" {
		out = append(out, wrong("log.format", l.Format, `want "text" or "json"`))
	}
	_, err := LogLevel(l.Level)
	return append(out, asProblem(err)...)
}

// IsZoneName reports whether zone can be delegated to us.
func IsZoneName(zone string) bool {
	labels, ok := dns.IsDomainName(zone)
	return ok && labels >= 2 && !strings.ContainsAny(zone, " \\/:@*\"'()<>")
}

func (c *Config) checkNAT() []Problem {
	var out []Problem
	ours := plainAddresses(slices.Concat(c.DNS.Addresses, c.DNS.MXAddresses, c.DNS.UTAddresses))
	for local, public := range c.Listen.NAT {
		if _, err := netip.ParseAddr(local); err != nil {
			out = append(out, has("listen.nat", local, `want local = public addresses, e.g. { "10.0.0.26" = "192.0.2.26" }`))
		}
		if !slices.Contains(ours, public.Unmap()) {
			out = append(out, has("listen.nat", public, "want one of dns.addresses, dns.mx_addresses or dns.ut_addresses behind "+local))
		}
	}
	slices.SortFunc(out, func(a, b Problem) int { return cmp.Compare(a.Error(), b.Error()) })
	return out
}

func (c *Config) checkDowngrade() []Problem {
	own := c.Destinations()
	for _, a := range plainAddresses(c.DNS.UTAddresses) {
		if c.Downgrade.Mode == string(assess.FirstContact) && own[a] != scenario.Unprotected {
			return []Problem{{
				Field: "downgrade.mode", Value: shown(c.Downgrade.Mode), Text: fmt.Sprintf("downgrade.mode is %q, but ut shares %s of dns.ut_addresses", c.Downgrade.Mode, a),
				Fix: "list only addresses there that are in neither dns.addresses nor dns.mx_addresses",
			}}
		}
	}
	return asProblem(assess.Downgrade(c.Downgrade.Mode).Check(own))
}
