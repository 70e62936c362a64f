package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlsink/tlsink/config"
)

const minimalConfig = "zone = \"sink.example\"\ndata_dir = \"/var/lib/tlsink\"\n[dns]\naddresses = [\"192.0.2.25\"]\n"

func TestConfigExample(t *testing.T) {
	out, stderr, status := runCLI(t, "", "config", "example")
	if status != 0 || out != config.Example() {
		t.Errorf("status %d, stderr %q, want the file as it is", status, stderr)
	}
	dir := filepath.Join(t.TempDir(), `da"ta`)
	out, _, _ = runCLI(t, "", "config", "example", "--zone", "Mail.Test.org.", "--address", "198.18.0.25", "--address", "2001:db8::25", "--data-dir", dir,
		"--acme", "--email", "me@test.org")
	got, err := config.Load(fileOf(t, out))
	if err != nil {
		t.Fatal(err)
	}
	want, err := config.Load(fileOf(t, config.Example()))
	if err != nil {
		t.Fatal(err)
	}
	want.Zone, want.DataDir, want.Certificates.CA = "mail.test.org", dir, config.CAACME
	want.DNS.Addresses = []netip.Addr{netip.MustParseAddr("198.18.0.25"), netip.MustParseAddr("2001:db8::25")}
	want.Certificates.ACME.AgreeTerms, want.Certificates.ACME.Email = true, "me@test.org"
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
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
	good := fileOf(t, strings.NewReplacer("sink.example", "sink.tlsink.org", "/var/lib/tlsink", filepath.Join(dir, "data"), "192.0.2.25", "127.0.0.1").Replace(minimalConfig)+"private = true\n")
	out, stderr, status := runCLI(t, "", "config", "check", "--config", good)
	if status != 0 || out != good+": ok\n" {
		t.Errorf("a good file: status %d, %q, %q", status, out, stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("the check has made data_dir")
	}
	bad := fileOf(t, "slots = 0\n"+strings.Replace(minimalConfig, "/var/lib", dir, 1)+"resolvers = [\"x\"]\ntrust_anchors = \"/nowhere/anchors\"\n[mail.smarthost]\naddress = \"mx:25\"\nusername = \"u\"\npassword_file = \"/nowhere/p\"\n")
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
		"/nowhere/tlsink.toml":      "no such file or directory: name a file that this user may read",
		fileOf(t, "zone: x"):        "line 1: expected '.' or '=', but got ':' instead: correct that line",
		fileOf(t, "\nzone = 5"):     "line 2: zone: want text in quotes, not a number: correct that line",
		fileOf(t, "dns = \"x\""):    "line 1: dns: want a table, not text in quotes: correct that line",
		fileOf(t, "[dns]\nttl = 5"): "line 2: dns.ttl: \"5\" is no duration: write for example",
		fileOf(t, "slots = \"5\""):  "line 1: slots: want a number, not text in quotes",
		fileOf(t, "listen.dns = 5"): "line 1: listen.dns: want a list, not a number",
	} {
		if out, _, status := runCLI(t, "", "config", "check", "--config", file); status != 1 || !strings.HasPrefix(out, "wrong: ") || !strings.Contains(out, want) {
			t.Errorf("want %q: status %d, %q", want, status, out)
		}
	}
}
