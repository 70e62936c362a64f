package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Host is what CheckHost and Warnings ask of this machine.
type Host struct {
	addresses func() ([]net.Addr, error)
	writable  func(path string) error
	stranger  func(path string) (owner int, yes bool) // we are root, and the owner is not
}

// ThisHost asks the system.
func ThisHost() Host {
	return Host{addresses: net.InterfaceAddrs, writable: func(path string) error {
		const write, search = 2, 1
		return syscall.Access(path, write|search)
	}, stranger: func(path string) (int, bool) {
		info, err := os.Stat(path)
		if err != nil {
			return 0, false
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			return int(st.Uid), os.Geteuid() == 0 && st.Uid != 0
		}
		return 0, false
	}}
}

// CheckHost returns what is wrong with c on this machine, as far as that can
// be told without changing anything: data_dir, files, secrets.
func (c *Config) CheckHost(h Host) []Problem {
	var out []Problem
	if err := h.checkDataDir(c.DataDir); err != nil {
		out = append(out, other("data_dir", c.DataDir, err.Error(), "choose a directory that the user of the service may write to"))
	}
	for _, s := range c.secrets() {
		if _, err := s.Read(); err != nil && s.env == "" {
			field, text, _ := strings.Cut(err.Error(), ": ")
			out = append(out, other(field, s.file, text, "it must hold the secret, and the user of the service must be able to read it"))
		}
	}
	out = append(out, c.checkWebhookKeys()...)
	for _, f := range []struct {
		field, file string
		read        func(string) error
		want        string
	}{
		{"dns.trust_anchors", c.DNS.TrustAnchors, func(f string) error { _, err := ReadAnchors(f); return err }, "name a file of DS or DNSKEY records, as in \". 3600 IN DS 20326 8 2 E06D…\""},
		{"certificates.roots", c.Certificates.Roots, func(f string) error { _, err := ReadRoots(f); return err }, "name a file of certificates in PEM form"},
		{"inbound.networks", c.Inbound.Networks, func(f string) error { _, err := OpenNetworks(f); return err }, "name a file with lines of: first address, last address, AS number, country, name; separated by tabs"},
		{"certificates.acme.server_roots", c.Certificates.ACME.ServerRoots, func(f string) error { _, err := ReadRoots(f); return err }, "name a file of certificates in PEM form"},
	} {
		if f.file == "" {
			continue
		}
		err := f.read(f.file)
		if _, system := errors.AsType[*fs.PathError](err); system {
			out = append(out, other(f.field, f.file, err.Error(), "name a file that the user of the service may read"))
		} else if err != nil {
			out = append(out, other(f.field, f.file, err.Error(), f.want))
		}
	}
	return out
}

// secrets lists those that are read with these settings.
func (c *Config) secrets() []Secret {
	out := []Secret{c.Mail.Smarthost.Password()}
	switch c.DNS.Provider {
	case ProviderEmbedded:
		out = append(out, c.DNS.Transfer.Secret())
	case ProviderRFC2136:
		out = append(out, c.DNS.RFC2136.Secret())
	case ProviderDesec:
		out = append(out, c.DNS.Desec.Token())
	}
	if c.Certificates.CA == CAACME {
		out = append(out, c.Certificates.ACME.EABKey())
	}
	for _, w := range c.Webhook {
		out = append(out, w.Secret())
	}
	return out
}

// checkDataDir looks at the directory, or at the one that it would be made in.
func (h Host) checkDataDir(dir string) error {
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case errors.Is(err, os.ErrNotExist) && at != filepath.Dir(at):
			continue
		case errors.Is(err, syscall.ENOTDIR):
			return fmt.Errorf("a file is in the way of %s", dir)
		case err != nil:
			return err
		case !info.IsDir():
			return fmt.Errorf("%s is a file", at)
		}
		if err := h.writable(at); err != nil {
			return fmt.Errorf("%s cannot be written to: %w", at, err)
		}
		return nil
	}
}

// Warnings returns what may be meant, but often is not.
func (c *Config) Warnings(h Host) []Problem {
	return slices.Concat(c.warnNames(), c.warnUnused(), c.warnAddresses(h), c.warnListen(), c.warnEnvironment(), c.warnOwner(h), c.warnConsole())
}

// warnOwner is about root, whose files the user of the service can't read later.
func (c *Config) warnOwner(h Host) []Problem {
	owner, yes := h.stranger(c.DataDir)
	if !yes {
		return nil
	}
	return []Problem{other("data_dir", c.DataDir, fmt.Sprintf("%s belongs to user %d, and this is root", c.DataDir, owner),
		"start the service as that user: files that root leaves there it can't read")}
}

// warnEnvironment is about secrets that the service has, perhaps, and who checks
// its configuration by hand has not.
func (c *Config) warnEnvironment() []Problem {
	var out []Problem
	for _, s := range c.secrets() {
		if _, err := s.Read(); err != nil && s.env != "" {
			field, text, _ := strings.Cut(err.Error(), ": ")
			out = append(out, other(field, s.env, text, "here it is not; the service has an environment of its own"))
		}
	}
	return out
}

func (c *Config) warnNames() []Problem {
	var out []Problem
	for _, reserved := range []string{"example", "example.com", "example.net", "example.org", "test", "invalid", "localhost"} {
		if !c.DNS.Private && (c.Zone == reserved || strings.HasSuffix(c.Zone, "."+reserved)) {
			out = append(out, wrong("zone", c.Zone, "that name is reserved (RFC 2606), nobody can delegate it: name your zone, or set dns.private = true for a test on your own network"))
			break
		}
	}
	if c.Certificates.CA != CAACME {
		return out
	}
	if c.Certificates.ACME.Email == "" {
		out = append(out, missing("certificates.acme.email", "the CA can't tell you when something is wrong with your account"))
	}
	return out
}

// warnUnused is about sections that other settings switch off.
func (c *Config) warnUnused() []Problem {
	var out []Problem
	unused := func(section, key, value string, set bool) {
		if set {
			out = append(out, other(section, "", section+" is given", fmt.Sprintf("it has no effect with %s = %q", key, value)))
		}
	}
	d, a := &c.DNS, &c.Certificates.ACME
	unused("dns.rfc2136", "dns.provider", d.Provider, d.Provider != ProviderRFC2136 && (d.RFC2136.Server != "" || d.RFC2136.Secret().isSet()))
	unused("dns.desec", "dns.provider", d.Provider, d.Provider != ProviderDesec && d.Desec.Token().isSet())
	unused("dns.name_servers", "dns.provider", d.Provider, d.External() && len(d.NameServers) > 0)
	unused("certificates.acme", "certificates.ca", c.Certificates.CA, c.Certificates.CA != CAACME && (a.AgreeTerms || a.Email != "" || a.EABKey().isSet()))
	return out
}

func (c *Config) warnAddresses(h Host) []Problem {
	var out []Problem
	ours := make(map[netip.Addr]bool)
	if list, err := h.addresses(); err == nil {
		for _, a := range list {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				ours[p.Addr().Unmap()] = true
			}
		}
	}
	nat := make(map[netip.Addr]bool)
	for _, public := range c.Listen.NAT {
		nat[public.Unmap()] = true
	}
	if a := c.DNS.Addresses; len(a) > 0 && !c.DNS.Private && !slices.ContainsFunc(a, func(a netip.Addr) bool { return a.Unmap().Is4() }) {
		out = append(out, other("dns.addresses", shown(a[0]), "there is no IPv4 address in it", "mail servers and resolvers without IPv6 can't reach the sink, and many have none: add one"))
	}
	for _, l := range []struct {
		field string
		list  []netip.Addr
	}{{"dns.addresses", c.DNS.Addresses}, {"dns.mx_addresses", c.DNS.MXAddresses}, {"dns.ut_addresses", c.DNS.UTAddresses}} {
		for _, a := range plainAddresses(l.list) {
			kind := unreachable(a)
			switch {
			case kind != "" && !c.DNS.Private:
				out = append(out, has(l.field, a, "senders on the Internet can't reach it, it is "+kind+": list the public addresses of this host"))
			case len(ours) > 0 && !ours[a] && !nat[a]:
				out = append(out, has(l.field, a, "this host does not have it: that is right behind NAT or a load balancer that passes ports 25, 53, 80 and 443 on, and wrong else"))
			}
		}
	}
	return out
}

// unreachable says of which kind an address is that is not on the Internet.
func unreachable(a netip.Addr) string {
	switch {
	case a.IsLoopback():
		return "a loopback address"
	case a.IsPrivate():
		return "a private address"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	case a.IsUnspecified(), a.IsMulticast():
		return "no address of a host"
	}
	for _, p := range []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"} {
		if netip.MustParsePrefix(p).Contains(a) {
			return "an address for documentation (RFC 5737, RFC 3849)"
		}
	}
	if netip.MustParsePrefix("100.64.0.0/10").Contains(a) {
		return "shared by the customers of a provider (RFC 6598)"
	}
	return ""
}

func (c *Config) warnListen() []Problem {
	var out []Problem
	for _, a := range c.Listen.Metrics {
		name, _, err := net.SplitHostPort(a)
		ip, parseErr := netip.ParseAddr(name)
		if err == nil && name != "localhost" && (parseErr != nil || !ip.IsLoopback() && !ip.IsPrivate()) {
			out = append(out, has("listen.metrics", a, `metrics are for your own eyes: listen on a loopback address, e.g. "127.0.0.1:9100", or let a firewall guard it`))
		}
	}
	if len(c.Listen.HTTP) == 0 {
		out = append(out, Problem{Field: "listen.http", Text: "listen.http is empty", Fix: "people who type the name of the service without https:// find nothing"})
	}
	if len(c.Listen.DNS) == 0 && !c.DNS.External() {
		out = append(out, Problem{Field: "listen.dns", Text: "listen.dns is empty", Fix: "nobody can ask our name server: that is right only if dns.transfer.secondaries serve the zone"})
	}
	return out
}
