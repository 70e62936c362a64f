package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// maxSecret bounds a secret, in octets.
const maxSecret = 64 << 10

// Secret says where one is: in a file or in an environment variable. The
// secret itself is never part of the configuration, so nothing can log it.
type Secret struct {
	field     string // without _file and _env
	file, env string
	base64    bool // it is a key in base64
}

// String implements fmt.Stringer.
func (Secret) String() string { return "(secret)" }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

func (s Secret) isSet() bool { return s.file != "" || s.env != "" }

// check looks at what the configuration says; read at the secret.
func (s Secret) check(required bool) []Problem {
	switch {
	case s.file != "" && s.env != "":
		return []Problem{other(s.field+"_file", s.file, s.field+"_env is given, too", "keep one of them")}
	case !s.isSet() && required:
		return []Problem{missing(s.field+"_file", "name a file with the secret in it, of mode 0600; or set "+s.field+"_env to the name of an environment variable")}
	}
	return nil
}

// Read returns the secret without white space around it, or "" if none is
// configured. It reads anew each time, since secrets change.
func (s Secret) Read() (string, error) {
	text := ""
	switch {
	case s.env != "":
		v, ok := os.LookupEnv(s.env)
		if !ok {
			return "", fmt.Errorf("%s_env: the variable %s is not set where the service is started", s.field, s.env)
		}
		if text = strings.TrimSpace(v); text == "" {
			return "", fmt.Errorf("%s_env: the variable %s is empty", s.field, s.env)
		}
	case s.file != "":
		var err error
		if text, err = readSecretFile(s.file); err != nil {
			return "", fmt.Errorf("%s_file: %w", s.field, err)
		}
	default:
		return "", nil
	}
	if s.base64 && !isBase64(text) {
		return "", fmt.Errorf("%s: this is no key in base64: copy it as the other side printed it", s.field)
	}
	return text, nil
}

func readSecretFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case info.IsDir():
		return "", fmt.Errorf("%s is a directory: name the file in it", name)
	case info.Mode().Perm()&0o007 != 0:
		return "", fmt.Errorf("%s is open to everyone (mode %04o): chmod 0600 %s", name, info.Mode().Perm(), name)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return "", err
	case len(b) > maxSecret:
		return "", fmt.Errorf("%s is larger than %d octets: this is no secret", name, maxSecret)
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", errors.New(name + " is empty")
	}
	return text, nil
}

// isBase64 reports whether s is base64, of either alphabet, with or without
// padding.
func isBase64(s string) bool {
	s = strings.TrimRight(s, "=")
	_, std := base64.RawStdEncoding.DecodeString(s)
	_, url := base64.RawURLEncoding.DecodeString(s)
	return s != "" && (std == nil || url == nil)
}
