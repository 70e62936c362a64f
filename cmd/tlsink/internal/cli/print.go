package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/tlsink/tlsink/policyinfer"
)

// Printable makes text from strangers fit for a terminal and a table.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// WriteJSON writes one value, fit for a terminal.
func WriteJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = w.Write(append(PlainJSON(b), '\n'))
	}
	return err
}

// PlainJSON escapes what could steer a terminal: JSON leaves some of it as it is.
func PlainJSON(b []byte) []byte {
	if !bytes.ContainsFunc(b, steers) {
		return b
	}
	out := make([]byte, 0, len(b)+64)
	for _, r := range string(b) {
		if !steers(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			out = fmt.Appendf(out, "\\u%04x", u)
		}
	}
	return out
}

func steers(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\r' }

// Counts says how many there are of something that has a plural in -s.
func Counts(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Date prints a time in UTC, or "-" for none.
func Date(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateTime)
}

// WriteJSONLine prints compact JSON as one line, fit for a terminal.
func WriteJSONLine(w io.Writer, text []byte) error {
	_, err := w.Write(append(PlainJSON(text), '\n'))
	return err
}

// Verdict names a policy, or those that are possible.
func Verdict(policy policyinfer.Name, candidates []policyinfer.Name) string {
	if policy == policyinfer.Undetermined && len(candidates) > 0 {
		return fmt.Sprintf("undetermined, one of: %s", Names(candidates))
	}
	return string(policy)
}

// Names lists policies.
func Names(names []policyinfer.Name) string {
	var s []string
	for _, n := range names {
		s = append(s, string(n))
	}
	return strings.Join(s, ", ")
}
