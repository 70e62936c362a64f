package config

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/certs/acme"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/zones"
)

//go:embed tlsink.example.toml
var example string

// Example returns tlsink.example.toml: every setting with its default.
func Example() string { return example }

// Config is the configuration file. Its keys are documented in
// tlsink.example.toml, which a test loads. Package-wide rules: every field has a
// check in check.go or web.go, every default is in SetDefaults.
type Config struct {
	Zone         string       `toml:"zone"`
	DataDir      string       `toml:"data_dir"`
	Slots        int          `toml:"slots"`
	Retention    int          `toml:"retention_days"`
	Listen       Listen       `toml:"listen"`
	DNS          DNS          `toml:"dns"`
	Certificates Certificates `toml:"certificates"`
	Mail         Mail         `toml:"mail"`
	Inbound      Inbound      `toml:"inbound"`
	Downgrade    Downgrade    `toml:"downgrade"`
	Timing       Timing       `toml:"timing"`
	Limits       Limits       `toml:"limits"`
	Web          Web          `toml:"web"`
	Console      Console      `toml:"console"`
	API          API          `toml:"api"`
	Webhook      []Webhook    `toml:"webhook"`
	Statistics   Statistics   `toml:"statistics"`
	Log          Log          `toml:"log"`
}

// Listen is where the service listens, [listen].
type Listen struct {
	SMTP  []string `toml:"smtp"`
	DNS   []string `toml:"dns"`
	HTTP  []string `toml:"http"`
	HTTPS []string `toml:"https"`

	Metrics []string `toml:"metrics"`

	NAT map[string]netip.Addr `toml:"nat"` // local to public address
}

// The values of dns.provider.
const (
	ProviderEmbedded = "embedded" // our own name server
	ProviderRFC2136  = "rfc2136"
	ProviderDesec    = "desec"
)

// DNS is about the zone and who serves it, [dns].
type DNS struct {
	Provider     string       `toml:"provider"`
	Addresses    []netip.Addr `toml:"addresses"`
	MXAddresses  []netip.Addr `toml:"mx_addresses"`
	UTAddresses  []netip.Addr `toml:"ut_addresses"`
	NameServers  []string     `toml:"name_servers"`
	TTL          Duration     `toml:"ttl"`
	Resolvers    []string     `toml:"resolvers"`
	TrustAnchors string       `toml:"trust_anchors"`
	Private      bool         `toml:"private"`

	Transfer Transfer `toml:"transfer"`
	RFC2136  RFC2136  `toml:"rfc2136"`
	Desec    Desec    `toml:"desec"`
}

// Transfer is about further name servers that copy our zone (AXFR).
type Transfer struct {
	Secondaries []string `toml:"secondaries"`
	KeyName     string   `toml:"key_name"`
	Algorithm   string   `toml:"algorithm"`
	SecretFile  string   `toml:"secret_file"`
	SecretEnv   string   `toml:"secret_env"`
}

// Secret is the key that secondaries sign their questions with.
func (c Transfer) Secret() Secret {
	return Secret{field: "dns.transfer.secret", file: c.SecretFile, env: c.SecretEnv, base64: true}
}

// RFC2136 is about a name server that takes dynamic updates, [dns.rfc2136].
type RFC2136 struct {
	Server     string `toml:"server"`
	KeyName    string `toml:"key_name"`
	Algorithm  string `toml:"algorithm"`
	SecretFile string `toml:"secret_file"`
	SecretEnv  string `toml:"secret_env"`
}

// Secret is the key that updates are signed with.
func (c RFC2136) Secret() Secret {
	return Secret{field: "dns.rfc2136.secret", file: c.SecretFile, env: c.SecretEnv, base64: true}
}

// Desec is about deSEC, [dns.desec].
type Desec struct {
	API       string `toml:"api"`
	TokenFile string `toml:"token_file"`
	TokenEnv  string `toml:"token_env"`
}

// Token is what deSEC knows us by.
func (c Desec) Token() Secret {
	return Secret{field: "dns.desec.token", file: c.TokenFile, env: c.TokenEnv}
}

// The values of certificates.ca.
const (
	CALocal = "local"
	CAACME  = "acme"
)

// Certificates is about the CA that senders trust, [certificates].
type Certificates struct {
	CA    string `toml:"ca"`
	Roots string `toml:"roots"`
	ACME  ACME   `toml:"acme"`
}

// ACME is about a public CA, [certificates.acme].
type ACME struct {
	Directory   string `toml:"directory"`
	Staging     string `toml:"staging"` // "": none
	Email       string `toml:"email"`
	AgreeTerms  bool   `toml:"agree_terms"`
	EABKeyID    string `toml:"eab_key_id"`
	EABKeyFile  string `toml:"eab_key_file"`
	EABKeyEnv   string `toml:"eab_key_env"`
	ServerRoots string `toml:"server_roots"`
}

// EABKey is the key of an external account.
func (c ACME) EABKey() Secret {
	return Secret{field: "certificates.acme.eab_key", file: c.EABKeyFile, env: c.EABKeyEnv, base64: true}
}

// Mail is about the mail that we send, [mail].
type Mail struct {
	From         string    `toml:"from"`
	DKIMSelector string    `toml:"dkim_selector"`
	LocalAddress string    `toml:"local_address"`
	Private      bool      `toml:"private"`
	Smarthost    Smarthost `toml:"smarthost"`
}

// Smarthost is the server that reports go through, if any, [mail.smarthost].
type Smarthost struct {
	Address      string `toml:"address"`
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	PasswordEnv  string `toml:"password_env"`
	Plaintext    bool   `toml:"plaintext"`
}

// Password is that of the smarthost.
func (c Smarthost) Password() Secret {
	return Secret{field: "mail.smarthost.password", file: c.PasswordFile, env: c.PasswordEnv}
}

// Inbound is about the analysis of senders' domains as receivers.
type Inbound struct {
	Enabled            bool     `toml:"enabled"`
	Networks           string   `toml:"networks"`
	NetworkZones       []string `toml:"network_zones"`
	ValidatingResolver string   `toml:"validating_resolver"`
	Private            bool     `toml:"private"`
}

// Timing holds the durations of tests and of our own work, [timing].
type Timing struct {
	Downgrade Duration `toml:"downgrade"`
	Rotation  Duration `toml:"rotation"`
	Settle    Duration `toml:"settle"`
	Silence   Duration `toml:"silence"`
	Margin    Duration `toml:"margin"`
	Attempt   Duration `toml:"attempt"`
	Close     Duration `toml:"close"`
	Forget    Duration `toml:"forget"`
	DateSkew  Duration `toml:"date_skew"`
	GiveUp    Duration `toml:"give_up"`
	SelfCheck Duration `toml:"self_check"`

	Propagation Duration `toml:"propagation"`
	DSTTL       Duration `toml:"ds_ttl"`

	Lease      Duration `toml:"lease"`
	Quarantine Duration `toml:"quarantine"`

	ReportRetry   Duration `toml:"report_retry"`
	ReportAttempt Duration `toml:"report_attempt"`
}

// Limits bounds what clients and senders can have of us, [limits].
type Limits struct {
	Connections     int      `toml:"connections"`
	PerClient       int      `toml:"per_client"`
	MessageSize     int64    `toml:"message_size"`
	CommandTimeout  Duration `toml:"command_timeout"`
	ReportsAddress  int      `toml:"reports_per_address"`
	ReportsDomain   int      `toml:"reports_per_domain"`
	ReportsNetwork  int      `toml:"reports_per_network"`
	MailboxMessages int      `toml:"mailbox_messages"`
}

// Log is how and how much is logged, [log].
type Log struct {
	Format string `toml:"format"`
	Level  string `toml:"level"`
}

// Duration reads "90s" and the like.
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no duration: write for example \"90s\" or \"5m\"", b)
	}
	if v <= 0 {
		return fmt.Errorf("%q is not positive", b)
	}
	*d = Duration(v)
	return nil
}

// Load reads a configuration file. Its error names all that is wrong;
// unknown keys are, because a misspelt key would silently be a default.
func Load(file string) (Config, error) {
	var c Config
	b, err := os.ReadFile(file)
	if err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	c.SetDefaults() // first, so that a zero in the file is seen and refused
	meta, err := toml.Decode(string(b), &c)
	if err != nil {
		return c, fmt.Errorf("configuration %s: %w", file, parseError(err))
	}
	c.setDependentDefaults(meta)
	c.Zone = scenario.Canonical(c.Zone)
	if problems := append(unknownKeys(meta), c.Check()...); len(problems) > 0 {
		return c, &Error{file, problems}
	}
	return c, nil
}

// parseError says what is wrong, with the line, and the key where it is known.
func parseError(err error) error {
	p, ok := errors.AsType[toml.ParseError](err)
	if !ok {
		return typeError(err)
	}
	if p.LastKey == "" || strings.Contains(p.Message, p.LastKey) {
		return fmt.Errorf("line %d: %s", p.Position.Line, p.Message)
	}
	return fmt.Errorf("line %d: %s: %s", p.Position.Line, p.LastKey, p.Message)
}

// typeError says of which type a value must be, without the words of Go.
func typeError(err error) error {
	m := regexp.MustCompile(`^toml: line (\d+) \(last key "([^"]*)"\): (?:incompatible types: TOML value has type (\S+); destination has type (\S+)|type mismatch for \S+: expected (\S+) but found (\S+))$`).FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	kind := func(s string) string {
		for prefix, text := range map[string]string{"string": "text in quotes", "int": "a number", "float": "a number", "bool": "true or false", "[": "a list", "slice": "a list", "array": "a list", "map": "a table", "table": "a table"} {
			if strings.HasPrefix(s, prefix) {
				return text
			}
		}
		return s
	}
	return fmt.Errorf("line %s: %s: want %s, not %s", m[1], m[2], kind(m[4]+m[5]), kind(m[3]+m[6]))
}

func unknownKeys(meta toml.MetaData) []Problem {
	var out []Problem
	last := ""
	for _, k := range meta.Undecoded() {
		if name := k.String(); last == "" || !strings.HasPrefix(name, last+".") {
			last = name
			out = append(out, Problem{Field: name, Text: "unknown key " + name, Fix: "`tlsink config example` shows every key and its section"})
		}
	}
	return out
}

// SetDefaults fills what is zero. It is the only place for defaults.
func (c *Config) SetDefaults() {
	setDefault(&c.Slots, 9)
	for _, l := range []struct {
		to   *[]string
		port string
	}{{&c.Listen.SMTP, ":25"}, {&c.Listen.DNS, ":53"}, {&c.Listen.HTTP, ":80"}, {&c.Listen.HTTPS, ":443"}} {
		if *l.to == nil {
			*l.to = []string{l.port}
		}
	}
	setDefault(&c.DNS.Provider, ProviderEmbedded)
	setDefault(&c.DNS.TTL, Duration(zones.MaxTTL))
	setDefault(&c.DNS.Transfer.Algorithm, "hmac-sha256")
	setDefault(&c.DNS.RFC2136.Algorithm, "hmac-sha256")
	setDefault(&c.DNS.Desec.API, "https://desec.io/api/v1")
	setDefault(&c.Certificates.CA, CALocal)
	setDefault(&c.Certificates.ACME.Directory, acme.LetsEncrypt)
	setDefault(&c.Certificates.ACME.Staging, acme.LetsEncryptStaging)
	setDefault(&c.Downgrade.Mode, string(assess.Timed))
	setDefault(&c.Mail.DKIMSelector, "tlsink")
	c.Inbound.Enabled = true
	setDefault(&c.Retention, 30)
	t, d := &c.Timing, assess.Timing{}.WithDefaults()
	for _, v := range []struct {
		to      *Duration
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
		{&t.Propagation, 5 * time.Minute},
		{&t.DSTTL, 24 * time.Hour},
		{&t.ReportRetry, time.Minute},
		{&t.ReportAttempt, 15 * time.Minute},
		{&c.Limits.CommandTimeout, 5 * time.Minute}, // RFC 5321 §4.5.3.2.7
	} {
		setDefault(v.to, Duration(v.initial))
	}
	l := &c.Limits
	setDefault(&l.Connections, 1000)
	setDefault(&l.PerClient, 20)
	setDefault(&l.MessageSize, 10<<20)
	setDefault(&l.ReportsAddress, 30)
	setDefault(&l.ReportsDomain, 200)
	setDefault(&l.ReportsNetwork, 200)
	setDefault(&l.MailboxMessages, 1000)
	c.setWebDefaults()
	setDefault(&c.Log.Format, "text")
	setDefault(&c.Log.Level, "info")
}

// setDependentDefaults takes defaults back that other settings make pointless:
// somebody else serves the zone, or another CA has another staging directory.
func (c *Config) setDependentDefaults(given toml.MetaData) {
	if c.DNS.External() && !given.IsDefined("listen", "dns") {
		c.Listen.DNS = nil
	}
	if c.DNS.Private && !given.IsDefined("mail", "private") {
		c.Mail.Private = true
	}
	if c.Certificates.ACME.Directory != acme.LetsEncrypt && !given.IsDefined("certificates", "acme", "staging") {
		c.Certificates.ACME.Staging = ""
	}
}

// External reports whether somebody else serves the zone.
func (c DNS) External() bool { return c.Provider != ProviderEmbedded }

func setDefault[T comparable](v *T, initial T) {
	var zero T
	if *v == zero {
		*v = initial
	}
}

// AssessTiming returns the durations that tests go by.
func (c *Config) AssessTiming() assess.Timing {
	t := c.Timing
	return assess.Timing{
		Downgrade: time.Duration(t.Downgrade), Rotation: time.Duration(t.Rotation), Settle: time.Duration(t.Settle), Silence: time.Duration(t.Silence),
		Margin: time.Duration(t.Margin), Attempt: time.Duration(t.Attempt), Close: time.Duration(t.Close), Forget: time.Duration(t.Forget),
		DateSkew: time.Duration(t.DateSkew), GiveUp: time.Duration(t.GiveUp),
	}.WithDefaults()
}

// LocalAddress is the one that we connect from; the zero one lets the system choose.
func (c *Config) LocalAddress() netip.Addr {
	if c.Mail.LocalAddress == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(c.Mail.LocalAddress) // it was checked
}

// From is the header From of reports.
func (c *Config) From() string {
	return cmp.Or(c.Mail.From, "tlsink <report@"+c.Zone+">")
}

// Path returns the name of a file in data_dir.
func (c *Config) Path(name ...string) string {
	return filepath.Join(append([]string{c.DataDir}, name...)...)
}

// ResultURL is the link of a result page.
func (c *Config) ResultURL(capability string) string {
	return "https://" + c.Zone + "/t/" + capability
}
