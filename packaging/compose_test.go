//go:build linux

package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const composeFile = "../docker-compose.yml"

// The compose file is valid in every profile. There is no engine to run it.
func TestCompose(t *testing.T) {
	compose := []string{"docker", "compose"}
	if exec.CommandContext(t.Context(), "docker", "compose", "version").Run() != nil {
		compose = []string{"docker-compose"}
	}
	need(t, false, compose[0])
	for profile, service := range map[string]string{"production": "tlsink", "host": "tlsink-host", "lab": "lab-sink"} {
		args := append(compose[1:], "-f", composeFile, "--profile", profile)
		command(t, compose[0], append(args, "config", "--quiet")...)
		if services := command(t, compose[0], append(args, "config", "--services")...); !strings.Contains("\n"+services, "\n"+service+"\n") {
			t.Errorf("profile %s has no service %s:\n%s", profile, service, services)
		}
	}
}

// What containers are given from the sources is there: Docker would make empty
// folders of what is missing.
func TestComposeFilesExist(t *testing.T) {
	b, err := os.ReadFile(composeFile)
	if err != nil {
		t.Fatal(err)
	}
	const own = "./tlsink.toml" // the operator's
	found := 0
	for _, m := range regexp.MustCompile(`(?m)^      - (\./[^:]*):`).FindAllStringSubmatch(string(b), -1) {
		if m[1] == own {
			continue
		}
		found++
		if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
			t.Error(err)
		}
	}
	if found == 0 {
		t.Error("no mounted file was found in the compose file")
	}
}

func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("lab/*.sh")
	if err != nil {
		t.Fatal(err)
	}
	scripts = append(scripts, "deb/postinst", "deb/prerm", "deb/postrm")
	need(t, false, "shellcheck")
	command(t, "shellcheck", append([]string{"--shell=sh"}, scripts...)...)
}
