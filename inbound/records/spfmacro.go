package records

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// macros checks a macro-string (RFC 7208 §7.1) and returns what stands after its
// last macro.
func macros(s string) (tail string, err error) {
	tail = s
	for i := 0; i < len(s); i++ {
		if s[i] < 0x21 || s[i] > 0x7e {
			return "", errors.New("has characters other than printable ASCII")
		}
		if s[i] != '%' {
			continue
		}
		m, err := cutMacro(s[i:])
		if err != nil {
			return "", err
		}
		i += m.length - 1
		tail = s[i+1:]
	}
	return tail, nil
}

// macro is one macro-expand.
type macro struct {
	length  int    // of its text
	literal string // what %%, %_ and %- stand for
	letter  byte   // lower case; 0 for those
	keep    int    // labels from the right; 0: all
	reverse bool
	delims  string
}

// cutMacro reads the macro that s begins with.
func cutMacro(s string) (macro, error) {
	if len(s) < 2 {
		return macro{}, errors.New(`"%" alone: write %%`)
	}
	switch s[1] {
	case '%':
		return macro{length: 2, literal: "%"}, nil
	case '_':
		return macro{length: 2, literal: " "}, nil
	case '-':
		return macro{length: 2, literal: "%20"}, nil
	case '{':
	default:
		return macro{}, fmt.Errorf("%s is no macro: write %%%% for %%", quote(s[:2]))
	}
	end := strings.IndexByte(s, '}')
	if end < 3 {
		return macro{}, errors.New("a macro is not closed, or empty: want something like %{d}")
	}
	wrong := fmt.Errorf("%s is no macro", quote(s[:end+1]))
	m := macro{length: end + 1, letter: s[2] | 0x20, delims: "."}
	switch {
	case strings.IndexByte("slodiphv", m.letter) >= 0:
	case strings.IndexByte("crt", m.letter) >= 0:
		return macro{}, fmt.Errorf("%s is for the text of explanations only", quote(s[:end+1]))
	default:
		return macro{}, wrong
	}
	rest := s[3:end]
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	if digits != "" {
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || n == 0 { // RFC 7208 §7.3: it must not be zero
			return macro{}, wrong
		}
		m.keep = int(n)
	}
	rest = rest[len(digits):]
	if rest != "" && rest[0]|0x20 == 'r' {
		m.reverse, rest = true, rest[1:]
	}
	if strings.Trim(rest, ".-+,/_=") != "" {
		return macro{}, wrong
	}
	if rest != "" {
		m.delims = rest
	}
	return m, nil
}

// domainSpec checks a domain-spec (RFC 7208 §7.1): it ends in a macro, or in a
// dot and a top label.
func domainSpec(s string) error {
	if s == "" {
		return errors.New("the domain is missing")
	}
	tail, err := macros(s)
	if err != nil {
		return err
	}
	if tail == "" {
		return nil
	}
	tail = strings.TrimSuffix(tail, ".")
	dot := strings.LastIndexByte(tail, '.')
	if dot < 0 || !isTopLabel(tail[dot+1:]) {
		return fmt.Errorf("%s does not end like a domain name", quote(s))
	}
	return nil
}

// isTopLabel: letters, digits and hyphens, not only digits.
func isTopLabel(s string) bool {
	s = strings.ToLower(s)
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' && strings.Trim(s, "0123456789") != "" &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// expand replaces the macros that are the same for all mail of a sender domain.
// ok is false if there is another one.
func expand(spec, domain, sender string) (name string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(spec); i++ {
		if spec[i] != '%' {
			b.WriteByte(spec[i])
			continue
		}
		m, err := cutMacro(spec[i:])
		if err != nil {
			return "", false
		}
		i += m.length - 1
		switch m.letter {
		case 0:
			b.WriteString(m.literal)
		case 'd':
			b.WriteString(m.transform(domain))
		case 'o':
			b.WriteString(m.transform(sender))
		default:
			return "", false
		}
	}
	name = strings.TrimSuffix(b.String(), ".")
	// RFC 7208 §7.3: a name that is too long loses labels from the left.
	for len(name) > 253 {
		_, rest, found := strings.Cut(name, ".")
		if !found {
			break
		}
		name = rest
	}
	return strings.ToLower(name), true
}

func (m macro) transform(value string) string {
	parts := strings.FieldsFunc(value, func(c rune) bool { return strings.ContainsRune(m.delims, c) })
	if m.reverse {
		slices.Reverse(parts)
	}
	if m.keep > 0 && m.keep < len(parts) {
		parts = parts[len(parts)-m.keep:]
	}
	return strings.Join(parts, ".")
}
