package config

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("TLSINK_TEST_SECRET", " from environment\n")
	t.Setenv("TLSINK_TEST_EMPTY", " ")
	for name, c := range map[string]struct {
		secret Secret
		want   string
		err    string
	}{
		"none":          {Secret{}, "", ""},
		"file":          {Secret{file: file("ok", "s3cret\n", 0o600)}, "s3cret", ""},
		"of the group":  {Secret{file: file("group", "s3cret", 0o640)}, "s3cret", ""},
		"environment":   {Secret{env: "TLSINK_TEST_SECRET"}, "from environment", ""},
		"unset":         {Secret{env: "TLSINK_TEST_UNSET"}, "", "x_env: the variable TLSINK_TEST_UNSET is not set"},
		"empty":         {Secret{env: "TLSINK_TEST_EMPTY"}, "", "x_env: the variable TLSINK_TEST_EMPTY is empty"},
		"no file":       {Secret{file: filepath.Join(dir, "none")}, "", "x_file: open "},
		"empty file":    {Secret{file: file("empty", "\n", 0o600)}, "", "is empty"},
		"for everyone":  {Secret{file: file("open", "s3cret", 0o604)}, "", "open to everyone (mode 0604): chmod 0600"},
		"directory":     {Secret{file: dir}, "", "is a directory"},
		"large":         {Secret{file: file("large", strings.Repeat("x", maxSecret+1), 0o600)}, "", "larger than"},
		"key":           {Secret{file: file("key", "c2VjcmV0a2V5\n", 0o600), base64: true}, "c2VjcmV0a2V5", ""},
		"key, URL-safe": {Secret{file: file("url", "_-8", 0o600), base64: true}, "_-8", ""},
		"no key":        {Secret{file: file("nokey", "not base64!", 0o600), base64: true}, "", "no key in base64"},
	} {
		c.secret.field = "x"
		got, err := c.secret.Read()
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q, %v; want %q, %q", name, got, err, c.want, c.err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
}

func TestSecretsAreNotLogged(t *testing.T) {
	var b strings.Builder
	s := Secret{field: "x", file: "/etc/tlsink/key"}
	slog.New(slog.NewTextHandler(&b, nil)).Info("test", "secret", s)
	fmt.Fprintf(&b, "%v %s %+v", s, s, s)
	if n := strings.Count(b.String(), "(secret)"); n != 4 || strings.Contains(b.String(), "/etc") {
		t.Errorf("logged as %q", b.String())
	}
}
