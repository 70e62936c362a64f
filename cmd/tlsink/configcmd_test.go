package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConfigExample(t *testing.T) {
	out, stderr, status := runCLI(t, "", "config", "example")
	if status != 0 || out != exampleConfig {
		t.Errorf("status %d, stderr %q, want the file as it is", status, stderr)
	}
	dir := filepath.Join(t.TempDir(), `da"ta`)
	out, _, _ = runCLI(t, "", "config", "example", "--zone", "Mail.Test.org.", "--address", "198.18.0.25", "--address", "2001:db8::25", "--data-dir", dir,
		"--acme", "--email", "me@test.org")
	got, err := loadConfig(writeFile(t, out))
	if err != nil {
		t.Fatal(err)
	}
	want, err := loadConfig(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	want.Zone, want.DataDir, want.Certificates.CA = "mail.test.org", dir, caACME
	want.DNS.Addresses = []netip.Addr{netip.MustParseAddr("198.18.0.25"), netip.MustParseAddr("2001:db8::25")}
	want.Certificates.ACME.AgreeTerms, want.Certificates.ACME.Email = true, "me@test.org"
	if diff := cmp.Diff(want, got, compareConfigs()); diff != "" {
		t.Errorf("the example with values filled in (-want +got):\n%s", diff)
	}
	for _, args := range [][]string{{"--zone", "a b"}, {"--zone", "sink\"\nx"}, {"--address", "mx.example"}, {"--email", "x\n"}} {
		if out, stderr, status := runCLI(t, "", append([]string{"config", "example"}, args...)...); status == 0 || out != "" || !strings.Contains(stderr, args[0]) {
			t.Errorf("%q: status %d, printed %.40q, %q", args, status, out, stderr)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	dir := t.TempDir()
	good := writeFile(t, strings.NewReplacer("sink.example", "sink.tlsink.org", "/var/lib/tlsink", filepath.Join(dir, "data"), "192.0.2.25", "127.0.0.1").Replace(required)+"private = true\n")
	out, stderr, status := runCLI(t, "", "config", "check", "--config", good)
	if status != 0 || out != good+": ok\n" {
		t.Errorf("a good file: status %d, %q, %q", status, out, stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("the check has made data_dir")
	}
	bad := writeFile(t, "slots = 0\n"+strings.Replace(required, "/var/lib", dir, 1)+"resolvers = [\"x\"]\ntrust_anchors = \"/nowhere/anchors\"\n[mail.smarthost]\naddress = \"mx:25\"\nusername = \"u\"\npassword_file = \"/nowhere/p\"\n")
	out, _, status = runCLI(t, "", "config", "check", "--config", bad)
	for _, want := range []string{
		"wrong:   slots is 0", `wrong:   dns.resolvers has "x"`, "wrong:   dns.trust_anchors: open /nowhere/anchors",
		"wrong:   mail.smarthost.password_file: open /nowhere/p", "warning: zone is \"sink.example\": that name is reserved", "warning: dns.addresses has 192.0.2.25", "4 problems, 2 warnings",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the check does not say %q:\n%s", want, out)
		}
	}
	if status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	out, _, _ = runCLI(t, "", "config", "check", "--json", "--config", bad)
	var r checked
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.OK || len(r.Problems) != 4 || len(r.Warnings) != 2 || r.Problems[0].Field != "slots" || r.Problems[0].Value != "0" || r.Problems[0].Fix != "want 1 to 64" {
		t.Errorf("%v: %+v", err, r)
	}
	for file, want := range map[string]string{
		"/nowhere/tlsink.toml":         "no such file or directory: name a file that this user may read",
		writeFile(t, "zone: x"):        "line 1: expected '.' or '=', but got ':' instead: correct that line",
		writeFile(t, "\nzone = 5"):     "line 2: zone: want text in quotes, not a number: correct that line",
		writeFile(t, "dns = \"x\""):    "line 1: dns: want a table, not text in quotes: correct that line",
		writeFile(t, "[dns]\nttl = 5"): "line 2: dns.ttl: \"5\" is no duration: write for example",
		writeFile(t, "slots = \"5\""):  "line 1: slots: want a number, not text in quotes",
		writeFile(t, "listen.dns = 5"): "line 1: listen.dns: want a list, not a number",
	} {
		if out, _, status := runCLI(t, "", "config", "check", "--config", file); status != 1 || !strings.HasPrefix(out, "wrong: ") || !strings.Contains(out, want) {
			t.Errorf("want %q: status %d, %q", want, status, out)
		}
	}
}

func TestCheckHost(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := host{
		addresses: func() ([]net.Addr, error) {
			return []net.Addr{
				&net.IPNet{IP: net.IPv4(198, 18, 0, 25), Mask: net.CIDRMask(24, 32)}, &net.IPNet{IP: net.ParseIP("2a00:1450::25"), Mask: net.CIDRMask(64, 128)},
			}, nil
		},
		writable: func(string) error { return syscall.EROFS },
		stranger: func(dir string) (int, bool) { return 1000, dir == "/others" },
	}
	for dataDir, want := range map[string]string{dir: "read-only file system", filepath.Join(dir, "a", "b"): dir + " cannot be written to", file: "is a file", filepath.Join(file, "x"): "in the way"} {
		if p := (&config{DataDir: dataDir}).checkHost(h); len(p) != 1 || p[0].Field != "data_dir" || !strings.Contains(p[0].Error(), want) {
			t.Errorf("%s: %v, want %q", dataDir, p, want)
		}
	}
	h.writable = func(string) error { return nil }
	for field, c := range map[string]config{
		"dns.trust_anchors":              {DataDir: dir, DNS: dnsConfig{TrustAnchors: file}},
		"certificates.roots":             {DataDir: dir, Certificates: certificatesConfig{Roots: file}},
		"certificates.acme.server_roots": {DataDir: dir, Certificates: certificatesConfig{ACME: acmeConfig{ServerRoots: file}}},
	} {
		if p := c.checkHost(h); len(p) != 1 || p[0].Field != field || !strings.Contains(p[0].Error(), "name a file ") {
			t.Errorf("%s with nothing in it: %v", field, p)
		}
	}
	if w := (&config{DataDir: "/others"}).warnOwner(h); len(w) != 1 || !strings.Contains(w[0].Error(), "/others belongs to user 1000, and this is root: start the service as that user") {
		t.Errorf("data of another user: %v", w)
	}
	if p := (&config{DataDir: dir}).checkHost(h); len(p) != 0 {
		t.Error(p)
	}
	if err := h.checkDataDir(strings.Repeat("x", 5000)); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("long name: %v", err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"ours":            {`addresses = ["198.18.0.25"]`, ""},
		"not ours":        {`addresses = ["198.18.0.26"]`, "dns.addresses has 198.18.0.26: this host does not have it"},
		"behind NAT":      {"addresses = [\"198.18.0.26\"]\n[listen]\nnat = {\"10.0.0.1\" = \"198.18.0.26\"}", ""},
		"private":         {`addresses = ["10.0.0.1"]`, "a private address"},
		"IPv6 only":       {`addresses = ["2a00:1450::25"]`, "dns.addresses: there is no IPv4 address in it"},
		"private network": {"addresses = [\"198.18.0.25\"]\nprivate = true", ""},
		"of ut":           {"addresses = [\"198.18.0.25\"]\nut_addresses = [\"fe80::1\"]", "dns.ut_addresses has fe80::1"},
		"metrics":         {"addresses = [\"198.18.0.25\"]\n[listen]\nmetrics = [\":9100\"]", `listen.metrics has ":9100"`},
		"local metrics":   {"addresses = [\"198.18.0.25\"]\n[listen]\nmetrics = [\"[::1]:9100\", \"localhost:9100\", \"10.0.0.1:9100\"]", ""},
		"no DNS":          {"addresses = [\"198.18.0.25\"]\n[listen]\ndns = []", "listen.dns is empty"},
		"unused provider": {"addresses = [\"198.18.0.25\"]\ndesec.token_env = \"X\"", "dns.desec is given: it has no effect with dns.provider"},
		"environment":     {"addresses = [\"198.18.0.25\"]\n[mail.smarthost]\naddress = \"mx:25\"\nusername = \"u\"\npassword_env = \"TLSINK_TEST_UNSET\"", "mail.smarthost.password_env: the variable TLSINK_TEST_UNSET is not set"},
		"unused CA":       {"addresses = [\"198.18.0.25\"]\n[certificates]\nacme.email = \"me@tlsink.org\"", "certificates.acme is given: it has no effect"},
		"sixteen slots":   {"addresses = [\"198.18.0.25\"]\n[certificates]\nca = \"acme\"\nacme.agree_terms = true\nacme.email = \"me@tlsink.org\"", ""},
	} {
		text := "zone = \"sink.tlsink.org\"\ndata_dir = \"/x\"\n"
		if name == "sixteen slots" {
			text += "slots = 16\n"
		}
		cfg, err := loadConfig(writeFile(t, text+"[dns]\n"+c.text+"\n"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch w := cfg.warnings(h); {
		case c.want == "" && len(w) > 0:
			t.Errorf("%s: %v", name, w)
		case c.want != "" && (len(w) != 1 || !strings.Contains(w[0].Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, w, c.want)
		}
	}
}
