package main

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
)

const exampleFile = "../../tlsink.example.toml"

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
	example, err := loadConfig(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := loadConfig(writeFile(t, required))
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
	var c config
	meta, err := toml.Decode(commented.ReplaceAllString(string(b), "$1"), &c)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range meta.Undecoded() {
		t.Errorf("%s is in the example, but is no key", k)
	}
	for _, k := range keys(reflect.TypeFor[config](), "") {
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
		"unknown key":        {"retention = 3\n" + required, []string{"unknown key retention", "tlsink.example.toml"}},
		"key in no section":  {required + "downgrade = \"3m\"\n", []string{"unknown key dns.downgrade"}},
		"unknown section":    {required + "[smtp]\nport = 25\n", []string{"unknown key smtp"}},
		"no TOML":            {"zone: sink.example\n", []string{"line 1"}},
		"wrong type":         {"slots = \"two\"\n" + required, []string{"line 1", "slots", "string"}},
		"zone missing":       {strings.Replace(required, "zone = \"sink.example\"", "", 1), []string{"zone is missing", `zone = "sink.example"`}},
		"zone of one label":  {strings.Replace(required, "sink.example", "sink", 1), []string{`zone "sink"`, "want letters"}},
		"zone with a space":  {strings.Replace(required, "sink.example", "sink example.org", 1), []string{`zone "sink example.org"`}},
		"zone is an address": {strings.Replace(required, "sink.example", "a@b.example", 1), []string{`zone "a@b.example"`}},
		"zone of long label": {strings.Replace(required, "sink.example", strings.Repeat("a", 64)+".example", 1), []string{"zone", "want letters"}},
		"wildcard zone":      {strings.Replace(required, "sink.example", "*.example", 1), []string{`zone "*.example"`}},
		"data_dir missing":   {strings.Replace(required, "data_dir = \"/var/lib/tlsink\"", "", 1), []string{"data_dir is missing", "name a folder"}},
		"addresses missing":  {strings.Replace(required, "addresses = [\"192.0.2.25\"]", "", 1), []string{"dns.addresses is missing", "public addresses"}},
		"no address":         {strings.Replace(required, "192.0.2.25", "mx.example", 1), []string{"line 4", "addresses", "mx.example"}},
		"ttl too long":       {required + "ttl = \"1h\"\n", []string{"dns.ttl is 1h0m0s", "at most 1m0s"}},
		"ttl of half second": {required + "ttl = \"500ms\"\n", []string{"dns.ttl is 500ms", "whole seconds"}},
		"resolver, no port":  {required + "resolvers = [\"127.0.0.1\"]\n", []string{`dns.resolvers: "127.0.0.1"`, "127.0.0.1:53"}},
		"too many slots":     {"slots = 1000\n" + required, []string{"slots is 1000", "1 to 64"}},
		"no slot":            {"slots = 0\n" + required, []string{"slots is 0"}},
		"no SMTP":            {required + "[listen]\nsmtp = []\n", []string{"listen.smtp is empty", ":25"}},
		"no HTTPS":           {required + "[listen]\nhttps = []\n", []string{"listen.https is empty", ":443"}},
		"bad duration":       {required + "[timing]\nsettle = \"soon\"\n", []string{"line 6", "timing.settle", `"soon"`, `"5m"`}},
		"bare number":        {required + "[timing]\nsettle = 10\n", []string{"line 6", "timing.settle", `"5m"`}},
		"negative duration":  {required + "[timing]\nclose = \"-1s\"\n", []string{"timing.close", `"-1s" is not positive`}},
		"zero duration":      {required + "[timing]\nclose = \"0s\"\n", []string{"timing.close", `"0s" is not positive`}},
		"closes too early":   {required + "[timing]\nclose = \"1m\"\n", []string{"timing.close is 1m0s", "timing.downgrade (3m0s)"}},
		"unknown CA":         {required + "[certificates]\nca = \"acme\"\n", []string{`certificates.ca is "acme"`, `want "local"`}},
		"From":               {required + "[mail]\nfrom = \"nobody\"\n", []string{`mail.from "nobody"`, "report@sink.example"}},
		"selector":           {required + "[mail]\ndkim_selector = \"a b\"\n", []string{`mail.dkim_selector "a b"`}},
		"local address":      {required + "[mail]\nlocal_address = \"eth0\"\n", []string{`mail.local_address "eth0"`}},
		"retention":          {"retention_days = 0\n" + required, []string{"retention_days is 0"}},
		"smarthost":          {required + "[mail.smarthost]\nusername = \"x\"\n", []string{"mail.smarthost.address is missing", "host:port"}},
		"limit of zero":      {required + "[limits]\nconnections = 0\n", []string{"limits.connections is 0", "at least 1"}},
		"negative limit":     {required + "[limits]\nmessage_size = -1\n", []string{"limits.message_size is -1"}},
		"log format":         {required + "[log]\nformat = \"xml\"\n", []string{`log.format is "xml"`, `"json"`}},
		"log level":          {required + "[log]\nlevel = \"loud\"\n", []string{`log.level is "loud"`, "warn"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := writeFile(t, c.text)
			_, err := loadConfig(file)
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

func TestConfigurationIsNormalized(t *testing.T) {
	c, err := loadConfig(writeFile(t, strings.Replace(required, "sink.example", "Sink.Example.", 1)+"[timing]\nsettle = \"90s\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Zone != "sink.example" || c.from() != "tlsink <report@sink.example>" || c.timing().Settle.Seconds() != 90 {
		t.Errorf("zone %q, from %q, settle %v", c.Zone, c.from(), c.timing().Settle)
	}
}
