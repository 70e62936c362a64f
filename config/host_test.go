package config

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestCheckHost(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := Host{
		addresses: func() ([]net.Addr, error) {
			return []net.Addr{
				&net.IPNet{IP: net.IPv4(198, 18, 0, 25), Mask: net.CIDRMask(24, 32)}, &net.IPNet{IP: net.ParseIP("2a00:1450::25"), Mask: net.CIDRMask(64, 128)},
			}, nil
		},
		writable: func(string) error { return syscall.EROFS },
		stranger: func(dir string) (int, bool) { return 1000, dir == "/others" },
	}
	for dataDir, want := range map[string]string{dir: "read-only file system", filepath.Join(dir, "a", "b"): dir + " cannot be written to", file: "is a file", filepath.Join(file, "x"): "in the way"} {
		if p := (&Config{DataDir: dataDir}).CheckHost(h); len(p) != 1 || p[0].Field != "data_dir" || !strings.Contains(p[0].Error(), want) {
			t.Errorf("%s: %v, want %q", dataDir, p, want)
		}
	}
	h.writable = func(string) error { return nil }
	for field, c := range map[string]Config{
		"dns.trust_anchors":              {DataDir: dir, DNS: DNS{TrustAnchors: file}},
		"certificates.roots":             {DataDir: dir, Certificates: Certificates{Roots: file}},
		"certificates.acme.server_roots": {DataDir: dir, Certificates: Certificates{ACME: ACME{ServerRoots: file}}},
	} {
		if p := c.CheckHost(h); len(p) != 1 || p[0].Field != field || !strings.Contains(p[0].Error(), "name a file ") {
			t.Errorf("%s with nothing in it: %v", field, p)
		}
	}
	if w := (&Config{DataDir: "/others"}).warnOwner(h); len(w) != 1 || !strings.Contains(w[0].Error(), "/others belongs to user 1000, and this is root: start the service as that user") {
		t.Errorf("data of another user: %v", w)
	}
	if p := (&Config{DataDir: dir}).CheckHost(h); len(p) != 0 {
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
		cfg, err := Load(writeFile(t, text+"[dns]\n"+c.text+"\n"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch w := cfg.Warnings(h); {
		case c.want == "" && len(w) > 0:
			t.Errorf("%s: %v", name, w)
		case c.want != "" && (len(w) != 1 || !strings.Contains(w[0].Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, w, c.want)
		}
	}
}
