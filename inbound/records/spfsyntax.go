package records

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Kinds of terms (RFC 7208 §5, §6).
const (
	kindAll      = "all"
	kindInclude  = "include"
	kindA        = "a"
	kindMX       = "mx"
	kindPTR      = "ptr"
	kindIP4      = "ip4"
	kindIP6      = "ip6"
	kindExists   = "exists"
	kindRedirect = "redirect"
	kindExp      = "exp"
)

func mechanisms() []string {
	return []string{kindAll, kindInclude, kindA, kindMX, kindPTR, kindIP4, kindIP6, kindExists}
}

// term is a directive or modifier of an SPF record.
type term struct {
	text      string // as written
	kind      string
	qualifier byte   // of a directive: + - ~ ?
	spec      string // domain-spec; empty if there is none
	bits4     int    // prefix lengths; -1 if not given
	bits6     int
}

// spfText is a parsed record.
type spfText struct {
	terms  []term // without modifiers that nobody knows
	errors []string
	notes  []string
}

// isSPF picks SPF records (RFC 7208 §4.5): "v=spf1", and then a space or the end.
func isSPF(txt string) bool {
	version, _, _ := strings.Cut(txt, " ")
	return strings.EqualFold(version, "v=spf1")
}

// parseSPF reads a record that isSPF has picked. A syntax error anywhere makes
// the whole record useless (RFC 7208 §4.6), so all of them are listed.
func parseSPF(txt string) spfText {
	var out spfText
	seen := map[string]bool{}
	_, rest, _ := strings.Cut(txt, " ")
	for text := range strings.SplitSeq(rest, " ") {
		if text == "" {
			continue
		}
		t, err := parseTerm(text)
		switch {
		case err != nil:
			note(&out.errors, "%s: %v", quote(text), err)
			continue
		case t.kind == "":
			if name, _, _ := strings.Cut(text, "="); slices.Contains(mechanisms(), strings.ToLower(name)) {
				note(&out.notes, "%s is ignored: after %s comes a colon, not \"=\"", quote(text), name)
			}
			continue
		case (t.kind == kindRedirect || t.kind == kindExp) && seen[t.kind]:
			// RFC 7208 §6: these two must not occur twice.
			note(&out.errors, "%s: %s may occur only once", quote(text), t.kind)
			continue
		}
		seen[t.kind] = true
		out.terms = append(out.terms, t)
	}
	return out
}

// parseTerm reads a directive or modifier. The kind is empty for a modifier that
// is not known.
func parseTerm(text string) (term, error) {
	t := term{text: text, bits4: -1, bits6: -1}
	end := strings.IndexAny(text, ":/=")
	if end >= 0 && text[end] == '=' {
		return t.modifier(strings.ToLower(text[:end]), text[end+1:])
	}
	name, arg := text, ""
	if end >= 0 {
		name, arg = text[:end], text[end:]
	}
	t.qualifier = '+'
	if name != "" && strings.IndexByte("+-~?", name[0]) >= 0 {
		t.qualifier, name = name[0], name[1:]
	}
	t.kind = strings.ToLower(name)
	switch t.kind {
	case kindAll:
		if arg != "" {
			return t, errors.New("all takes nothing after it")
		}
		return t, nil
	case kindInclude, kindExists:
		spec, ok := strings.CutPrefix(arg, ":")
		if !ok {
			return t, fmt.Errorf("want %s:<domain>", t.kind)
		}
		t.spec = spec
		return t, domainSpec(spec)
	case kindA, kindMX:
		return t.address(arg)
	case kindPTR:
		spec, ok := strings.CutPrefix(arg, ":")
		if arg == "" {
			return t, nil
		}
		if !ok {
			return t, errors.New("want ptr or ptr:<domain>")
		}
		t.spec = spec
		return t, domainSpec(spec)
	case kindIP4, kindIP6:
		return t.network(arg)
	}
	return t, unknown(t.kind)
}

// unknown says what may have been meant.
func unknown(kind string) error {
	for wrong, right := range map[string]string{
		"ipv4": kindIP4, "ip": kindIP4, "ipv6": kindIP6, "inc": kindInclude, "includes": kindInclude, "exist": kindExists,
	} {
		if kind == wrong {
			return fmt.Errorf("unknown mechanism; perhaps %s was meant", right)
		}
	}
	switch kind {
	case "":
		return errors.New("no mechanism")
	case kindRedirect, kindExp:
		return fmt.Errorf("%s takes \"=\" before its domain", kind)
	}
	if _, err := netip.ParseAddr(kind); err == nil {
		return errors.New("unknown mechanism; an address needs ip4: or ip6: before it")
	}
	return errors.New("unknown mechanism")
}

// modifier: name "=" macro-string.
func (t term) modifier(name, value string) (term, error) {
	if name == kindRedirect || name == kindExp {
		t.kind, t.spec = name, value
		return t, domainSpec(value)
	}
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c != '-' && c != '_' && c != '.' && (c < '0' || c > '9')) {
			return t, errors.New("want a mechanism, or a modifier name=value")
		}
	}
	if name == "" {
		return t, errors.New("want a mechanism, or a modifier name=value")
	}
	_, err := macros(value)
	return t, err
}

// address: [ ":" domain-spec ] [ dual-cidr-length ] (RFC 7208 §5.3, §5.6)
func (t term) address(arg string) (term, error) {
	rest, six, dual := cutLast(arg, "//")
	if dual {
		bits, err := prefixLength(six, 128)
		if err != nil {
			return t, err
		}
		t.bits6, arg = bits, rest
	}
	if rest, four, ok := cutLast(arg, "/"); ok {
		bits, err := prefixLength(four, 32)
		if err != nil {
			return t, err
		}
		t.bits4, arg = bits, rest
	}
	if arg == "" {
		return t, nil
	}
	t.spec = strings.TrimPrefix(arg, ":")
	return t, domainSpec(t.spec)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 || strings.Contains(s[i:], "}") { // "/" may be a delimiter in a macro
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// network: ":" address [ "/" prefix length ]
func (t term) network(arg string) (term, error) {
	want := fmt.Errorf("want %s:<address>, or with a prefix length after \"/\"", t.kind)
	value, ok := strings.CutPrefix(arg, ":")
	if !ok {
		return t, want
	}
	text, length, cidr := strings.Cut(value, "/")
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" {
		return t, want
	}
	if ip.Is4() != (t.kind == kindIP4) {
		other := map[bool]string{true: "an IPv4 address: use ip4", false: "an IPv6 address: use ip6"}[ip.Is4()]
		return t, fmt.Errorf("this is %s", other)
	}
	t.bits4, t.bits6 = 32, 128
	if !cidr {
		return t, nil
	}
	bits, err := prefixLength(length, ip.BitLen())
	if err != nil {
		return t, err
	}
	if ip.Is4() {
		t.bits4 = bits
	} else {
		t.bits6 = bits
	}
	return t, nil
}

func prefixLength(s string, most int) (int, error) {
	n, err := strconv.ParseUint(s, 10, 8)
	// RFC 7208 §5.6: no leading zero.
	if err != nil || int(n) > most || len(s) > 1 && s[0] == '0' {
		return 0, fmt.Errorf("prefix length %s: want a number from 0 to %d", quote(s), most)
	}
	return int(n), nil
}
