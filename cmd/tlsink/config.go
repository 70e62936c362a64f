package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/scenario"
)

// config is the configuration file. Its keys are documented in
// tlsink.example.toml, which a test loads.
type config struct {
	Zone         string             `toml:"zone"`
	DataDir      string             `toml:"data_dir"`
	Slots        int                `toml:"slots"`
	Listen       listenConfig       `toml:"listen"`
	DNS          dnsConfig          `toml:"dns"`
	Certificates certificatesConfig `toml:"certificates"`
	Mail         mailConfig         `toml:"mail"`
	Timing       timingConfig       `toml:"timing"`
	Limits       limitsConfig       `toml:"limits"`
	Log          logConfig          `toml:"log"`
}

type listenConfig struct {
	SMTP  []string `toml:"smtp"`
	DNS   []string `toml:"dns"`
	HTTP  []string `toml:"http"`
	HTTPS []string `toml:"https"`
}

type dnsConfig struct {
	Addresses    []netip.Addr `toml:"addresses"`
	MXAddresses  []netip.Addr `toml:"mx_addresses"`
	UTAddresses  []netip.Addr `toml:"ut_addresses"`
	NameServers  []string     `toml:"name_servers"`
	TTL          duration     `toml:"ttl"`
	Resolvers    []string     `toml:"resolvers"`
	TrustAnchors string       `toml:"trust_anchors"`
}

type certificatesConfig struct {
	CA    string `toml:"ca"`
	Roots string `toml:"roots"`
}

type mailConfig struct {
	From          string          `toml:"from"`
	DKIMSelector  string          `toml:"dkim_selector"`
	LocalAddress  string          `toml:"local_address"`
	Smarthost     smarthostConfig `toml:"smarthost"`
	RetentionDays int             `toml:"retention_days"`
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
	Retry     duration `toml:"report_retry"`
}

type limitsConfig struct {
	Connections     int   `toml:"connections"`
	PerClient       int   `toml:"per_client"`
	MessageSize     int64 `toml:"message_size"`
	ReportsAddress  int   `toml:"reports_per_address"`
	ReportsDomain   int   `toml:"reports_per_domain"`
	ReportsNetwork  int   `toml:"reports_per_network"`
	MailboxMessages int   `toml:"mailbox_messages"`
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
		return fmt.Errorf("%q is no duration; write for example \"90s\" or \"5m\"", b)
	}
	if v < 0 {
		return fmt.Errorf("%q is negative", b)
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
	meta, err := toml.Decode(string(b), &c)
	if err != nil {
		if p, ok := errors.AsType[toml.ParseError](err); ok {
			return c, fmt.Errorf("configuration %s: line %d: %s", file, p.Position.Line, p.Message)
		}
		return c, fmt.Errorf("configuration %s: %w", file, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return c, fmt.Errorf("configuration %s: unknown key %s; see tlsink.example.toml", file, unknown[0])
	}
	c.setDefaults()
	if err := c.check(); err != nil {
		return c, fmt.Errorf("configuration %s: %w", file, err)
	}
	return c, nil
}

func (c *config) setDefaults() {
	c.Zone = scenario.Canonical(c.Zone)
	list := func(l *[]string, v string) {
		if *l == nil {
			*l = []string{v}
		}
	}
	list(&c.Listen.SMTP, ":25")
	list(&c.Listen.DNS, ":53")
	list(&c.Listen.HTTP, ":80")
	list(&c.Listen.HTTPS, ":443")
	str := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	str(&c.Certificates.CA, "local")
	str(&c.Mail.From, "tlsink <report@"+c.Zone+">")
	str(&c.Mail.DKIMSelector, "tlsink")
	str(&c.Log.Format, "text")
	str(&c.Log.Level, "info")
	if c.Slots == 0 {
		c.Slots = 1
	}
	if c.Mail.RetentionDays == 0 {
		c.Mail.RetentionDays = 30
	}
	if c.Timing.SelfCheck == 0 {
		c.Timing.SelfCheck = duration(5 * time.Minute)
	}
}

func (c *config) check() error {
	switch {
	case c.Zone == "":
		return errors.New("zone is missing: name the DNS zone that is delegated to this host, e.g. zone = \"sink.example\"")
	case !isZoneName(c.Zone):
		return fmt.Errorf("zone %q is no domain name", c.Zone)
	case c.DataDir == "":
		return errors.New("data_dir is missing: name a folder for keys and evidence")
	case len(c.DNS.Addresses) == 0:
		return errors.New("dns.addresses is missing: list the public addresses of this host")
	case c.Slots < 1 || c.Slots > 64:
		return fmt.Errorf("slots is %d: want 1 to 64", c.Slots)
	case c.Certificates.CA != "local":
		return fmt.Errorf("certificates.ca is %q: want \"local\"", c.Certificates.CA)
	case c.Log.Format != "text" && c.Log.Format != "json":
		return fmt.Errorf("log.format is %q: want \"text\" or \"json\"", c.Log.Format)
	case c.Mail.RetentionDays < 1:
		return fmt.Errorf("mail.retention_days is %d: want at least 1", c.Mail.RetentionDays)
	}
	if c.Mail.LocalAddress != "" {
		if _, err := netip.ParseAddr(c.Mail.LocalAddress); err != nil {
			return fmt.Errorf("mail.local_address %q is no IP address", c.Mail.LocalAddress)
		}
	}
	if _, err := logLevel(c.Log.Level); err != nil {
		return err
	}
	return c.timing().Check()
}

func isZoneName(zone string) bool {
	labels, ok := dns.IsDomainName(zone)
	return ok && labels >= 2 && !strings.ContainsAny(zone, " \\/:@\"'()<>")
}

func (c *config) timing() assess.Timing {
	t := c.Timing
	return assess.Timing{
		Downgrade: time.Duration(t.Downgrade), Rotation: time.Duration(t.Rotation), Settle: time.Duration(t.Settle), Silence: time.Duration(t.Silence),
		Margin: time.Duration(t.Margin), Attempt: time.Duration(t.Attempt), Close: time.Duration(t.Close), Forget: time.Duration(t.Forget),
		DateSkew: time.Duration(t.DateSkew), GiveUp: time.Duration(t.GiveUp),
	}.WithDefaults()
}

func (c *config) path(name ...string) string {
	return filepath.Join(append([]string{c.DataDir}, name...)...)
}

// resultURL is the link of a result page.
func (c *config) resultURL(capability string) string {
	return "https://" + c.Zone + "/t/" + capability
}
