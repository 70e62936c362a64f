package config

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/webhook"
)

// What people meet over HTTPS: pages, the API, the console, statistics.

// Web is about the pages for everybody, [web].
type Web struct {
	Operator         string `toml:"operator"` // for the privacy page
	Contact          string `toml:"contact"`
	LeasesPerNetwork int    `toml:"leases_per_network"`
	LeaseQueue       int    `toml:"lease_queue"`
}

// Console is about the operator's pages, [console].
type Console struct {
	Enabled      bool   `toml:"enabled"`
	PasswordFile string `toml:"password_file"` // empty: console-password in data_dir
}

// API is about programs that follow tests, [api].
type API struct {
	WebhookHosts []string `toml:"webhook_hosts"`
}

// Webhook is one that is told of every verdict.
type Webhook struct {
	URL        string `toml:"url"`
	SecretFile string `toml:"secret_file"`
	SecretEnv  string `toml:"secret_env"`
}

// Secret is the key that calls are signed with.
func (c Webhook) Secret() Secret {
	return Secret{field: "webhook.secret", file: c.SecretFile, env: c.SecretEnv}
}

// Statistics is about what is counted and shown to everybody, [statistics].
type Statistics struct {
	Enabled   bool       `toml:"enabled"`
	Providers []Provider `toml:"providers"`
}

// Provider is a provider that the statistics may name.
type Provider struct {
	Name   string `toml:"name"`
	Domain string `toml:"domain"` // registrable domain of its MX hosts
}

// ConsolePassword is the file with the hash of the console's password.
func (c *Config) ConsolePassword() string {
	if c.Console.PasswordFile != "" {
		return c.Console.PasswordFile
	}
	return c.Path("console-password")
}

func (c *Config) setWebDefaults() {
	setDefault(&c.Web.LeasesPerNetwork, 3)
	setDefault(&c.Web.LeaseQueue, 1000)
	c.Statistics.Enabled = true
	for _, v := range []struct {
		to      *Duration
		initial time.Duration
	}{
		{&c.Timing.Lease, 30 * time.Minute},
		{&c.Timing.Quarantine, 24 * time.Hour},
	} {
		setDefault(v.to, Duration(v.initial))
	}
}

func (c *Config) checkWeb() []Problem {
	var out []Problem
	for _, v := range []struct {
		field string
		value int
	}{{"web.leases_per_network", c.Web.LeasesPerNetwork}, {"web.lease_queue", c.Web.LeaseQueue}} {
		if v.value < 1 {
			out = append(out, wrong(v.field, v.value, "want at least 1"))
		}
	}
	for _, v := range []struct{ field, value string }{{"web.operator", c.Web.Operator}, {"web.contact", c.Web.Contact}} {
		if len(v.value) > 500 || strings.ContainsFunc(v.value, func(r rune) bool { return r < ' ' }) {
			out = append(out, other(v.field, v.value, v.field+" is no line of text", "write it in one line of at most 500 octets"))
		}
	}
	for _, h := range c.API.WebhookHosts {
		if !isHostName(h) {
			out = append(out, has("api.webhook_hosts", h, `want the names of hosts, e.g. "ci.example.org"`))
		}
	}
	for _, w := range c.Webhook {
		if u, err := url.Parse(w.URL); err != nil || u.User != nil || !isAPI(w.URL) || u.Scheme == "http" && !c.DNS.Private {
			out = append(out, wrong("webhook.url", w.URL, "want an https:// URL without a password"))
		}
		out = append(out, w.Secret().check(true)...)
	}
	return append(out, c.Statistics.check()...)
}

func (c *Statistics) check() []Problem {
	var out []Problem
	seen := make(map[string]bool)
	for _, p := range c.Providers {
		domain := strings.ToLower(p.Domain)
		switch {
		case p.Name == "" || len(p.Name) > 100:
			out = append(out, wrong("statistics.providers.name", p.Name, `want what the provider is called, e.g. "Example Mail"`))
		case !isHostName(p.Domain):
			out = append(out, wrong("statistics.providers.domain", p.Domain, `want the registrable domain of its mail servers, e.g. "mx.example"`))
		case seen[domain]:
			out = append(out, wrong("statistics.providers.domain", p.Domain, "it is there twice: keep one of them"))
		}
		seen[domain] = true
	}
	return out
}

func isHostName(name string) bool {
	labels, ok := dns.IsDomainName(name)
	return ok && labels >= 2 && !strings.HasSuffix(name, ".") && !strings.ContainsAny(name, " \\/:@*\"'()<>")
}

// CheckSecret reads the secret.
func (c Webhook) CheckSecret() error {
	text, err := c.Secret().Read()
	if err == nil {
		_, err = webhook.Key(text)
	}
	if err != nil {
		return fmt.Errorf("webhook %s: %w", c.URL, err)
	}
	return nil
}

// checkWebhookKeys looks at secrets that can be read here.
func (c *Config) checkWebhookKeys() []Problem {
	var out []Problem
	for _, w := range c.Webhook {
		text, err := w.Secret().Read()
		if err != nil {
			continue // which is said of all secrets
		}
		if _, err := webhook.Key(text); err != nil {
			field, value := "webhook.secret_file", w.SecretFile
			if w.SecretEnv != "" {
				field, value = "webhook.secret_env", w.SecretEnv
			}
			out = append(out, other(field, value, "it holds no secret of a webhook", err.Error()))
		}
	}
	return out
}

// warnConsole is about a console that nobody can log in to.
func (c *Config) warnConsole() []Problem {
	file := c.ConsolePassword()
	if _, err := os.Stat(file); !c.Console.Enabled || err == nil {
		return nil
	}
	return []Problem{other("console.enabled", "true", fmt.Sprintf("there is no password in %s, so nobody can log in", file), "set one: tlsink console password")}
}
