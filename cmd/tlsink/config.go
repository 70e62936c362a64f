package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/zones"
)

// config is the configuration file. Its keys are documented in
// tlsink.example.toml, which a test loads.
type config struct {
	Zone         string             `toml:"zone"`
	DataDir      string             `toml:"data_dir"`
	Slots        int                `toml:"slots"`
	Retention    int                `toml:"retention_days"`
	Listen       listenConfig       `toml:"listen"`
	DNS          dnsConfig          `toml:"dns"`
	Certificates certificatesConfig `toml:"certificates"`
	Mail         mailConfig         `toml:"mail"`
	Downgrade    downgradeConfig    `toml:"downgrade"`
	Timing       timingConfig       `toml:"timing"`
	Limits       limitsConfig       `toml:"limits"`
	Log          logConfig          `toml:"log"`
}

type listenConfig struct {
	SMTP  []string `toml:"smtp"`
	DNS   []string `toml:"dns"`
	HTTP  []string `toml:"http"`
	HTTPS []string `toml:"https"`

	NAT map[string]netip.Addr `toml:"nat"` // local to public address
}

type dnsConfig struct {
	Addresses    []netip.Addr `toml:"addresses"`
	MXAddresses  []netip.Addr `toml:"mx_addresses"`
	UTAddresses  []netip.Addr `toml:"ut_addresses"`
	NameServers  []string     `toml:"name_servers"`
	TTL          duration     `toml:"ttl"`
	Resolvers    []string     `toml:"resolvers"`
	TrustAnchors string       `toml:"trust_anchors"`
	Private      bool         `toml:"private"`
}

type certificatesConfig struct {
	CA    string `toml:"ca"`
	Roots string `toml:"roots"`
}

type mailConfig struct {
	From         string          `toml:"from"`
	DKIMSelector string          `toml:"dkim_selector"`
	LocalAddress string          `toml:"local_address"`
	Smarthost    smarthostConfig `toml:"smarthost"`
}

type smarthostConfig struct {
	Address      string `toml:"address"`
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	Plaintext    bool   `toml:"plaintext"`
}

type timingConfig struct {
	Downgrade duration `toml:"downgrade"`
	Rotation  duration `toml:"rotation"`
	Settle    duration `toml:"settle"`
	Silence   duration `toml:"silence"`
	Margin    duration `toml:"margin"`
	Attempt   duration `toml:"attempt"`
	Close     duration `toml:"close"`
	Forget    duration `toml:"forget"`
	DateSkew  duration `toml:"date_skew"`
	GiveUp    duration `toml:"give_up"`
	SelfCheck duration `toml:"self_check"`

	ReportRetry   duration `toml:"report_retry"`
	ReportAttempt duration `toml:"report_attempt"`
}

type limitsConfig struct {
	Connections     int      `toml:"connections"`
	PerClient       int      `toml:"per_client"`
	MessageSize     int64    `toml:"message_size"`
	CommandTimeout  duration `toml:"command_timeout"`
	ReportsAddress  int      `toml:"reports_per_address"`
	ReportsDomain   int      `toml:"reports_per_domain"`
	ReportsNetwork  int      `toml:"reports_per_network"`
	MailboxMessages int      `toml:"mailbox_messages"`
}

type logConfig struct {
	Format string `toml:"format"`
	Level  string `toml:"level"`
}

// duration reads "90s" and the like.
type duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no duration: write for example \"90s\" or \"5m\"", b)
	}
	if v <= 0 {
		return fmt.Errorf("%q is not positive", b)
	}
	*d = duration(v)
	return nil
}

// loadConfig reads a configuration file. Unknown keys are errors: a misspelt
// key would silently be a default.
func loadConfig(file string) (config, error) {
	var c config
	b, err := os.ReadFile(file)
	if err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	c.setDefaults() // first, so that a zero in the file is seen and refused
	meta, err := toml.Decode(string(b), &c)
	if err != nil {
		if p, ok := errors.AsType[toml.ParseError](err); ok {
			return c, fmt.Errorf("configuration %s: line %d: %s", file, p.Position.Line, parseMessage(p))
		}
		return c, fmt.Errorf("configuration %s: %w", file, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return c, fmt.Errorf("configuration %s: unknown key %s; see tlsink.example.toml", file, unknown[0])
	}
	c.Zone = scenario.Canonical(c.Zone)
	if err := c.check(); err != nil {
		return c, fmt.Errorf("configuration %s: %w", file, err)
	}
	return c, nil
}

// parseMessage returns what is wrong, with the key where it is known.
func parseMessage(p toml.ParseError) string {
	if p.LastKey == "" || strings.Contains(p.Message, p.LastKey) {
		return p.Message
	}
	return p.LastKey + ": " + p.Message
}

// setDefaults fills what is zero. It is the only place for defaults.
func (c *config) setDefaults() {
	setDefault(&c.Slots, 1)
	for _, l := range []struct {
		to   *[]string
		port string
	}{{&c.Listen.SMTP, ":25"}, {&c.Listen.DNS, ":53"}, {&c.Listen.HTTP, ":80"}, {&c.Listen.HTTPS, ":443"}} {
		if *l.to == nil {
			*l.to = []string{l.port}
		}
	}
	setDefault(&c.DNS.TTL, duration(zones.MaxTTL))
	setDefault(&c.Certificates.CA, "local")
	setDefault(&c.Downgrade.Mode, string(assess.Timed))
	setDefault(&c.Mail.DKIMSelector, "tlsink")
	setDefault(&c.Retention, 30)
	t, d := &c.Timing, assess.Timing{}.WithDefaults()
	for _, v := range []struct {
		to      *duration
		initial time.Duration
	}{
		{&t.Downgrade, d.Downgrade},
		{&t.Rotation, d.Rotation},
		{&t.Settle, d.Settle},
		{&t.Silence, d.Silence},
		{&t.Margin, d.Margin},
		{&t.Attempt, d.Attempt},
		{&t.Close, d.Close},
		{&t.Forget, d.Forget},
		{&t.DateSkew, d.DateSkew},
		{&t.GiveUp, d.GiveUp},
		{&t.SelfCheck, 5 * time.Minute},
		{&t.ReportRetry, time.Minute},
		{&t.ReportAttempt, 15 * time.Minute},
		{&c.Limits.CommandTimeout, 5 * time.Minute}, // RFC 5321 §4.5.3.2.7
	} {
		setDefault(v.to, duration(v.initial))
	}
	l := &c.Limits
	setDefault(&l.Connections, 1000)
	setDefault(&l.PerClient, 20)
	setDefault(&l.MessageSize, 10<<20)
	setDefault(&l.ReportsAddress, 30)
	setDefault(&l.ReportsDomain, 200)
	setDefault(&l.ReportsNetwork, 200)
	setDefault(&l.MailboxMessages, 1000)
	setDefault(&c.Log.Format, "text")
	setDefault(&c.Log.Level, "info")
}

func setDefault[T comparable](v *T, initial T) {
	var zero T
	if *v == zero {
		*v = initial
	}
}

// maxSlots bounds the keys that are made at the first start: 14 of each
// algorithm for a slot.
const maxSlots = 64

func (c *config) check() error {
	switch {
	case c.Zone == "":
		return errors.New("zone is missing: name the DNS zone that is delegated to this host, e.g. zone = \"sink.example\"")
	case !isZoneName(c.Zone):
		return fmt.Errorf("zone %q is no name of a delegated zone: want letters, digits and '-', e.g. \"sink.example\"", c.Zone)
	case c.DataDir == "":
		return errors.New("data_dir is missing: name a folder for keys and evidence, e.g. \"/var/lib/tlsink\"")
	case c.Retention < 1:
		return fmt.Errorf("retention_days is %d: want at least 1", c.Retention)
	case c.Slots < 1 || c.Slots > maxSlots:
		return fmt.Errorf("slots is %d: want 1 to %d", c.Slots, maxSlots)
	case len(c.Listen.SMTP) == 0:
		return errors.New("listen.smtp is empty: list at least one address, e.g. \":25\"")
	case len(c.Listen.HTTPS) == 0:
		return errors.New("listen.https is empty: senders fetch the MTA-STS policy there, e.g. \":443\"")
	case c.Certificates.CA != "local":
		return fmt.Errorf("certificates.ca is %q: want \"local\"", c.Certificates.CA)
	case c.Log.Format != "text" && c.Log.Format != "json":
		return fmt.Errorf("log.format is %q: want \"text\" or \"json\"", c.Log.Format)
	}
	if _, err := logLevel(c.Log.Level); err != nil {
		return err
	}
	return cmp.Or(c.DNS.check(), c.checkMail(), c.checkNAT(), c.checkDowngrade(), c.Limits.check(), c.timing().Check())
}

func (c *dnsConfig) check() error {
	if len(c.Addresses) == 0 {
		return errors.New("dns.addresses is missing: list the public addresses of this host, e.g. [\"192.0.2.25\"]")
	}
	if ttl := time.Duration(c.TTL); ttl > zones.MaxTTL || ttl%time.Second != 0 {
		return fmt.Errorf("dns.ttl is %v: want whole seconds, at most %v", ttl, zones.MaxTTL)
	}
	for _, r := range c.Resolvers {
		if _, err := netip.ParseAddrPort(r); err != nil {
			return fmt.Errorf("dns.resolvers: %q: want an IP address and a port, e.g. \"127.0.0.1:53\"", r)
		}
	}
	return nil
}

func (c *config) checkMail() error {
	m := c.Mail
	if _, err := mail.ParseAddress(c.from()); err != nil {
		return fmt.Errorf("mail.from %q: want an address, e.g. \"tlsink <report@%s>\"", m.From, c.Zone)
	}
	if m.LocalAddress != "" {
		if _, err := netip.ParseAddr(m.LocalAddress); err != nil {
			return fmt.Errorf("mail.local_address %q is no IP address", m.LocalAddress)
		}
	}
	if _, ok := dns.IsDomainName(m.DKIMSelector); !ok || strings.ContainsAny(m.DKIMSelector, " \\/:@\"'()<>*") {
		return fmt.Errorf("mail.dkim_selector %q: want letters, digits and '-'", m.DKIMSelector)
	}
	if m.Smarthost.Address == "" && m.Smarthost != (smarthostConfig{}) {
		return errors.New("mail.smarthost.address is missing: give host:port, or leave mail.smarthost out")
	}
	return nil
}

func (l *limitsConfig) check() error {
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
			return fmt.Errorf("limits.%s is %d: want at least 1", v.name, v.value)
		}
	}
	return nil
}

func isZoneName(zone string) bool {
	labels, ok := dns.IsDomainName(zone)
	return ok && labels >= 2 && !strings.ContainsAny(zone, " \\/:@*\"'()<>")
}

func (c *config) timing() assess.Timing {
	t := c.Timing
	return assess.Timing{
		Downgrade: time.Duration(t.Downgrade), Rotation: time.Duration(t.Rotation), Settle: time.Duration(t.Settle), Silence: time.Duration(t.Silence),
		Margin: time.Duration(t.Margin), Attempt: time.Duration(t.Attempt), Close: time.Duration(t.Close), Forget: time.Duration(t.Forget),
		DateSkew: time.Duration(t.DateSkew), GiveUp: time.Duration(t.GiveUp),
	}.WithDefaults()
}

// from is the header From of reports.
func (c *config) from() string {
	return cmp.Or(c.Mail.From, "tlsink <report@"+c.Zone+">")
}

func (c *config) path(name ...string) string {
	return filepath.Join(append([]string{c.DataDir}, name...)...)
}

// resultURL is the link of a result page.
func (c *config) resultURL(capability string) string {
	return "https://" + c.Zone + "/t/" + capability
}
