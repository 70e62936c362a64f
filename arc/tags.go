package arc

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// tags are those of a tag-list (RFC 6376 §3.2), with white space around values
// removed.
type tags map[string]string

// parseTags reads a tag-list. A tag that occurs twice spoils the whole list.
func parseTags(list string) (tags, error) {
	out := make(tags)
	parts := strings.Split(list, ";")
	if last := len(parts) - 1; strings.TrimFunc(parts[last], wsp) == "" {
		parts = parts[:last] // the last semicolon is optional
	}
	for _, part := range parts {
		name, value, ok := strings.Cut(part, "=")
		name = strings.TrimFunc(name, wsp)
		switch {
		case !ok || !tagName(name):
			return nil, errors.New("not a list of tags")
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("tag %s= occurs twice", name)
		}
		out[name] = strings.TrimFunc(value, wsp)
	}
	return out, nil
}

func tagName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '_') {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// squeeze returns a value without any white space (§3.5: FWS is allowed).
func (t tags) squeeze(name string) string {
	return strings.Join(strings.FieldsFunc(t[name], wsp), "")
}

// need names a tag that is missing or empty.
func (t tags) need(names ...string) error {
	for _, n := range names {
		if t.squeeze(n) == "" {
			return fmt.Errorf("tag %s= is missing", n)
		}
	}
	return nil
}

func (t tags) base64(name string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(t.squeeze(name))
	if err != nil {
		return nil, fmt.Errorf("tag %s= is not base64", name)
	}
	return b, nil
}

// list returns a colon-separated value.
func (t tags) list(name string) []string {
	return strings.Split(t.squeeze(name), ":")
}

// unsigned returns a signature field as it was when it was signed: with an
// empty value of b= (RFC 6376 §3.7).
func unsigned(f field) field {
	var out strings.Builder
	out.WriteString(f.raw[:f.name+1])
	for i, part := range strings.Split(f.value(), ";") {
		if i > 0 {
			out.WriteByte(';')
		}
		if name, _, ok := strings.Cut(part, "="); ok && strings.TrimFunc(name, wsp) == "b" {
			part = name + "="
		}
		out.WriteString(part)
	}
	f.raw = out.String()
	return f
}
