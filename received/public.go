package received

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tlsink/tlsink/evidence"
)

// Public returns a path without what would tell where a person was: the names
// and addresses of clients that logged in, of webmail and of local users, all
// addresses, and names that were made from one, as those of dial-up lines are.
// Of the first hop only a name without a number is kept that could be one.
func Public(path []Field) []evidence.Hop {
	var out []evidence.Hop
	for i, f := range path {
		h := f.Hop
		user := f.Claim == evidence.ClaimLocal && !strings.Contains(f.With, "LMTP")
		if f.Submitted || user || !publicName(f.From) || madeFrom(f.From, f.Client) || (i == 0 && numbered(f.From)) {
			h.From = ""
		}
		if literal(h.By).IsValid() {
			h.By = ""
		}
		out = append(out, h)
	}
	return out
}

// publicName reports a name that is one in the DNS.
func publicName(name string) bool {
	if !strings.Contains(name, ".") || strings.ContainsAny(name, "[:") || literal(name).IsValid() {
		return false
	}
	switch name[strings.LastIndexByte(name, '.')+1:] {
	case "local", "localdomain", "lan", "home", "internal", "intern", "corp", "localhost", "box", "arpa", "invalid":
		return false
	}
	return true
}

// madeFrom reports a name that has the address in it: 192-0-2-10.example,
// c000020a.example, or 2001-db8--1.example.
func madeFrom(name string, address netip.Addr) bool {
	if !address.IsValid() {
		return false
	}
	plain := strings.NewReplacer("-", "", ".", "").Replace(name)
	if address.Is6() {
		return strings.Contains(plain, strings.ReplaceAll(address.StringExpanded(), ":", "")) ||
			strings.Contains(plain, strings.ReplaceAll(address.String(), ":", ""))
	}
	o := address.As4()
	padded := fmt.Sprintf("%03d%03d%03d%03d", o[0], o[1], o[2], o[3])
	if strings.Contains(plain, padded) || strings.Contains(plain, hex.EncodeToString(o[:])) {
		return true
	}
	numbers := runs(name)
	for _, octet := range o {
		is := func(n string) bool {
			v, err := strconv.Atoi(n)
			return err == nil && v == int(octet)
		}
		if !slices.ContainsFunc(numbers, is) {
			return false
		}
	}
	return true
}

// runs returns the runs of digits in a name.
func runs(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return r < '0' || r > '9' })
}

// numbered reports a name whose digits could be an address, or a customer.
func numbered(name string) bool {
	return len(strings.Join(runs(name), "")) >= 6
}

// Summary counts what a path claims.
type Summary struct {
	Hops        int
	Encrypted   int
	Unencrypted int // by a protocol without TLS
	Local       int // within one machine, or not by SMTP
	Unsaid      int // no claim
	// Ends is the first hop in the order the mail went that neither claims
	// encryption nor is local: up to there all transport says it was encrypted.
	// -1 if there is no such hop.
	Ends int
}

// Summarize counts the claims of a path.
func Summarize(path []evidence.Hop) Summary {
	s := Summary{Hops: len(path), Ends: -1}
	for i, h := range path {
		switch h.Claim {
		case evidence.ClaimEncrypted:
			s.Encrypted++
			continue
		case evidence.ClaimLocal:
			s.Local++
			continue
		case evidence.ClaimUnencrypted:
			s.Unencrypted++
		default:
			s.Unsaid++
		}
		if s.Ends < 0 {
			s.Ends = i
		}
	}
	return s
}
