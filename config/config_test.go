package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlsink/tlsink/certs/acme"
)

const exampleFile = "tlsink.example.toml"

// compareConfigs makes two configurations comparable.
func compareConfigs() cmp.Option {
	return cmp.Options{cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tlsink.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const required = "zone = \"sink.example\"\ndata_dir = \"/var/lib/tlsink\"\n[dns]\naddresses = [\"192.0.2.25\"]\n"

func TestExampleHoldsTheDefaults(t *testing.T) {
	example, err := Load(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := Load(writeFile(t, required))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults, example, compareConfigs()); diff != "" {
		t.Errorf("tlsink.example.toml (+) is not what an empty configuration means (-):\n%s", diff)
	}
}

// keys returns every key that a configuration can have.
func keys(of reflect.Type, prefix string) []string {
	var out []string
	for f := range of.Fields() {
		name := prefix + f.Tag.Get("toml")
		if f.Type.Kind() == reflect.Struct {
			out = append(out, keys(f.Type, name+".")...)
		} else {
			out = append(out, name)
		}
	}
	return out
}

// The keys that the example has as comments must be spelt right, too.
func TestExampleHasEveryKey(t *testing.T) {
	b, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	commented := regexp.MustCompile(`(?m)^# (\w+ = |\[)`)
	var c Config
	meta, err := toml.Decode(commented.ReplaceAllString(string(b), "$1"), &c)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range meta.Undecoded() {
		t.Errorf("%s is in the example, but is no key", k)
	}
	for _, k := range keys(reflect.TypeFor[Config](), "") {
		if !meta.IsDefined(strings.Split(k, ".")...) {
			t.Errorf("%s is not in the example", k)
		}
	}
}

func TestConfigurationErrors(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string // what the one line must say
	}{
		"unknown key":        {"retention = 3\n" + required, []string{"unknown key retention", "tlsink config example"}},
		"key in no section":  {required + "downgrade = \"3m\"\n", []string{"unknown key dns.downgrade"}},
		"unknown section":    {required + "[smtp]\nport = 25\n", []string{"unknown key smtp"}},
		"no TOML":            {"zone: sink.example\n", []string{"line 1"}},
		"wrong type":         {"slots = \"two\"\n" + required, []string{"line 1", "slots", "want a number, not text in quotes"}},
		"zone missing":       {strings.Replace(required, "zone = \"sink.example\"", "", 1), []string{"zone is missing", `zone = "sink.example"`}},
		"zone of one label":  {strings.Replace(required, "sink.example", "sink", 1), []string{`zone is "sink"`, "want letters"}},
		"zone with a space":  {strings.Replace(required, "sink.example", "sink example.org", 1), []string{`zone is "sink example.org"`}},
		"zone is an address": {strings.Replace(required, "sink.example", "a@b.example", 1), []string{`zone is "a@b.example"`}},
		"zone of long label": {strings.Replace(required, "sink.example", strings.Repeat("a", 64)+".example", 1), []string{"zone", "want letters"}},
		"wildcard zone":      {strings.Replace(required, "sink.example", "*.example", 1), []string{`zone is "*.example"`}},
		"data_dir missing":   {strings.Replace(required, "data_dir = \"/var/lib/tlsink\"", "", 1), []string{"data_dir is missing", "name a folder"}},
		"addresses missing":  {strings.Replace(required, "addresses = [\"192.0.2.25\"]", "", 1), []string{"dns.addresses is missing", "public addresses"}},
		"no address":         {strings.Replace(required, "192.0.2.25", "mx.example", 1), []string{"line 4", "addresses", "mx.example"}},
		"ttl too long":       {required + "ttl = \"1h\"\n", []string{"dns.ttl is 1h0m0s", "at most 1m0s"}},
		"ttl of half second": {required + "ttl = \"500ms\"\n", []string{"dns.ttl is 500ms", "whole seconds"}},
		"resolver, no port":  {required + "resolvers = [\"127.0.0.1\"]\n", []string{`dns.resolvers has "127.0.0.1"`, "127.0.0.1:53"}},
		"too many slots":     {"slots = 1000\n" + required, []string{"slots is 1000", "1 to 64"}},
		"no slot":            {"slots = 0\n" + required, []string{"slots is 0"}},
		"no SMTP":            {required + "[listen]\nsmtp = []\n", []string{"listen.smtp is empty", ":25"}},
		"no HTTPS":           {required + "[listen]\nhttps = []\n", []string{"listen.https is empty", ":443"}},
		"bad duration":       {required + "[timing]\nsettle = \"soon\"\n", []string{"line 6", "timing.settle", `"soon"`, `"5m"`}},
		"bare number":        {required + "[timing]\nsettle = 10\n", []string{"line 6", "timing.settle", `"5m"`}},
		"negative duration":  {required + "[timing]\nclose = \"-1s\"\n", []string{"timing.close", `"-1s" is not positive`}},
		"zero duration":      {required + "[timing]\nclose = \"0s\"\n", []string{"timing.close", `"0s" is not positive`}},
		"margin":             {required + "[timing]\nmargin = \"5s\"\n", []string{"timing.margin is 5s", "at least dns.ttl, which is 1m0s"}},
		"closes too early":   {required + "[timing]\nclose = \"1m\"\n", []string{"timing.close is 1m0s", "timing.downgrade (3m0s)"}},
		"unknown CA":         {required + "[certificates]\nca = \"public\"\n", []string{`certificates.ca is "public"`, `want "local" or "acme"`}},
		"From":               {required + "[mail]\nfrom = \"nobody\"\n", []string{`mail.from is "nobody"`, "report@sink.example"}},
		"selector":           {required + "[mail]\ndkim_selector = \"a b\"\n", []string{`mail.dkim_selector is "a b"`}},
		"local address":      {required + "[mail]\nlocal_address = \"eth0\"\n", []string{`mail.local_address is "eth0"`}},
		"retention":          {"retention_days = 0\n" + required, []string{"retention_days is 0"}},
		"smarthost":          {required + "[mail.smarthost]\nusername = \"x\"\n", []string{"mail.smarthost.address is missing", "host:port"}},
		"limit of zero":      {required + "[limits]\nconnections = 0\n", []string{"limits.connections is 0", "at least 1"}},
		"negative limit":     {required + "[limits]\nmessage_size = -1\n", []string{"limits.message_size is -1"}},
		"listen address":     {required + "[listen]\nmetrics = [\"9100\"]\n", []string{`listen.metrics: "9100" has a missing port`, `"127.0.0.1:9100"`}},
		"name server":        {required + "name_servers = [\"ns one\"]\n", []string{`dns.name_servers has "ns one"`, "ns.example.net"}},
		"log format":         {required + "[log]\nformat = \"xml\"\n", []string{`log.format is "xml"`, `"json"`}},
		"leases of nobody":   {required + "[web]\nleases_per_network = 0\n", []string{"web.leases_per_network is 0", "at least 1"}},
		"two lines":          {required + "[web]\noperator = \"A\\nB\"\n", []string{"web.operator", "one line"}},
		"host of a webhook":  {required + "[api]\nwebhook_hosts = [\"https://a.example\"]\n", []string{`api.webhook_hosts has "https://a.example"`}},
		"plain webhook":      {required + "[[webhook]]\nurl = \"http://a.example/\"\nsecret_env = \"X\"\n", []string{"webhook.url", "https://"}},
		"no webhook secret":  {required + "[[webhook]]\nurl = \"https://a.example/\"\n", []string{"webhook.secret_file is missing"}},
		"provider twice":     {required + "[statistics]\nproviders = [{ name = \"A\", domain = \"a.example\" }, { name = \"B\", domain = \"A.example\" }]\n", []string{"statistics.providers.domain", "twice"}},
		"provider, no name":  {required + "[statistics]\nproviders = [{ domain = \"a.example\" }]\n", []string{"statistics.providers.name"}},
		"log level":          {required + "[log]\nlevel = \"loud\"\n", []string{`log.level is "loud"`, "warn"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := writeFile(t, c.text)
			_, err := Load(file)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range append(c.want, "configuration "+file) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error does not say %q:\n%v", w, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line:\n%v", err)
			}
		})
	}
}

// ofACME is a configuration with a public CA, without agree_terms.
const ofACME = required + "[certificates]\nca = \"acme\"\n[certificates.acme]\n"

func TestProviderAndCertificateErrors(t *testing.T) {
	const (
		agreed   = ofACME + "agree_terms = true\n"
		transfer = required + "name_servers = [\"ns.example.net\"]\n[dns.transfer]\nsecondaries = [\"192.0.2.53:53\"]\n"
		key      = "key_name = \"k\"\nsecret_env = \"X\"\n"
		rfc2136  = required + "provider = \"rfc2136\"\n[dns.rfc2136]\n"
		desec    = required + "provider = \"desec\"\n[dns.desec]\n"
		token    = "token_env = \"X\"\n"
	)
	for name, c := range map[string]struct {
		text string
		want string // "": it is right
	}{
		"terms":                   {ofACME, "certificates.acme.agree_terms is false: read the terms"},
		"agreed":                  {agreed, ""},
		"directory":               {agreed + "directory = \"http://ca.example/\"\n", `certificates.acme.directory is "http://ca.example/": want the https://`},
		"staging":                 {agreed + "staging = \"ca.example\"\n", `certificates.acme.staging is "ca.example"`},
		"no staging":              {agreed + "staging = \"\"\n", ""},
		"email":                   {agreed + "email = \"Me <me@example.org>\"\n", "certificates.acme.email is"},
		"half an account":         {agreed + "eab_key_id = \"x\"\n", "certificates.acme.eab_key_file is missing"},
		"other half":              {agreed + "eab_key_env = \"X\"\n", "certificates.acme.eab_key_id is missing"},
		"external account":        {agreed + "eab_key_id = \"x\"\neab_key_env = \"X\"\n", ""},
		"16 slots":                {"slots = 16\n" + agreed, ""},
		"17 slots":                {"slots = 17\n" + agreed, "slots is 17: the default certificate names every host of every slot, 102 here, and the CA puts at most 100 into one; want at most 16 slots, or the local CA"},
		"validating resolver":     {required + "[inbound]\nvalidating_resolver = \"localhost\"\n", `inbound.validating_resolver is "localhost": want an IP address and a port`},
		"two network zones":       {required + "[inbound]\nnetwork_zones = [\"a.example\", \"b.example\"]\n", "want three zones"},
		"networks twice":          {required + "[inbound]\nnetwork_zones = [\"a.example\", \"b.example\", \"c.example\"]\nnetworks = \"f\"\n", "inbound.networks is given, too"},
		"17 slots, local":         {"slots = 17\n" + required, ""},
		"provider":                {required + "provider = \"bind\"\n", `dns.provider is "bind": want "embedded", "rfc2136" or "desec"`},
		"secondary":               {transfer + key, ""},
		"secondary without name":  {strings.Replace(transfer, "name_servers", "# name_servers", 1) + key, "dns.name_servers is missing"},
		"secondary without key":   {transfer + "secret_env = \"X\"\n", "dns.transfer.key_name is missing"},
		"secondary, no secret":    {transfer + "key_name = \"k\"\n", "dns.transfer.secret_file is missing"},
		"two secrets":             {transfer + key + "secret_file = \"f\"\n", "dns.transfer.secret_file: dns.transfer.secret_env is given, too: keep one"},
		"algorithm":               {transfer + key + "algorithm = \"hmac-md5\"\n", `dns.transfer.algorithm is "hmac-md5": want one of hmac-sha224`},
		"secondary by name":       {strings.Replace(transfer, "192.0.2.53:53", "ns.example.net", 1) + key, `dns.transfer.secondaries has "ns.example.net"`},
		"key for nobody":          {required + "[dns.transfer]\n" + key, "dns.transfer.secondaries is missing"},
		"update":                  {rfc2136 + "server = \"192.0.2.53:53\"\n" + key, ""},
		"update where":            {rfc2136 + key, "dns.rfc2136.server is missing"},
		"update by name":          {rfc2136 + "server = \"ns.example.net:53\"\n" + key, "dns.rfc2136.server is"},
		"update without secret":   {rfc2136 + "server = \"192.0.2.53:53\"\nkey_name = \"k\"\n", "dns.rfc2136.secret_file is missing"},
		"deSEC":                   {desec + token, ""},
		"deSEC, no token":         {desec, "dns.desec.token_file is missing"},
		"deSEC in plain text":     {desec + token + "api = \"http://desec.io/api/v1\"\n", `dns.desec.api is "http://desec.io/api/v1": want an https:// URL`},
		"deSEC, listens":          {desec + token + "[listen]\ndns = [\":53\"]\n", `listen.dns is [":53"]: with dns.provider = "desec" the zone is served elsewhere: leave listen.dns out`},
		"deSEC with secondary":    {desec + token + "[dns.transfer]\nsecondaries = [\"192.0.2.53:53\"]\n" + key, "leave dns.transfer out"},
		"password without a user": {required + "[mail.smarthost]\naddress = \"mail.example.org:587\"\npassword_env = \"X\"\n", "mail.smarthost.username is missing"},
		"user without a password": {required + "[mail.smarthost]\naddress = \"mail.example.org:587\"\nusername = \"x\"\n", "mail.smarthost.password_file is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(writeFile(t, c.text))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q in it", err, c.want)
			case err != nil && strings.Contains(err.Error(), "\n"):
				t.Errorf("more than one problem:\n%v", err)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Load(writeFile(t, "zone = \"sink\"\nslot = 3\nslots = 0\n[smtp]\nport = 25\n[log]\nlevel = \"loud\"\n"))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"7 problems", "unknown key slot:", "unknown key smtp:", `zone is "sink"`, "slots is 0", "data_dir is missing", "dns.addresses is missing", "log.level is"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n"); n != 7 {
		t.Errorf("%d lines:\n%v", n+1, err)
	}
}

// What other settings make pointless is no default.
func TestDependentDefaults(t *testing.T) {
	c, err := Load(writeFile(t, required+"provider = \"desec\"\ndesec.token_env = \"X\"\n"))
	if err != nil || len(c.Listen.DNS) != 0 || len(c.Listen.SMTP) != 1 {
		t.Errorf("zone served elsewhere: %v, listen %+v", err, c.Listen)
	}
	for text, staging := range map[string]string{
		"":                                      acme.LetsEncryptStaging,
		"staging = \"\"\n":                      "",
		"directory = \"https://ca.example/\"\n": "",
		"directory = \"https://ca.example/\"\nstaging = \"https://ca.example/test\"\n": "https://ca.example/test",
	} {
		if c, err = Load(writeFile(t, ofACME+"agree_terms = true\n"+text)); err != nil || c.Certificates.ACME.Staging != staging {
			t.Errorf("%q: staging %q, %v", text, c.Certificates.ACME.Staging, err)
		}
	}
}

func TestConfigurationIsNormalized(t *testing.T) {
	c, err := Load(writeFile(t, strings.Replace(required, "sink.example", "Sink.Example.", 1)+"[timing]\nsettle = \"90s\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Zone != "sink.example" || c.From() != "tlsink <report@sink.example>" || c.AssessTiming().Settle.Seconds() != 90 {
		t.Errorf("zone %q, from %q, settle %v", c.Zone, c.From(), c.AssessTiming().Settle)
	}
}
