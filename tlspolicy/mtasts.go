package tlspolicy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Limits of what is read. RFC 8461 §3.3 suggests 64 KiB for a policy.
const (
	maxRecordSize = 4 << 10
	maxPolicySize = 64 << 10
	maxMX         = 1024
)

// MaxAge is the longest max_age of a policy, about a year (RFC 8461 §3.2).
const MaxAge = 31557600 * time.Second

// ErrNoRecord means that a domain does not announce MTA-STS: it has no TXT
// record for it, or more than one.
var ErrNoRecord = errors.New("no MTA-STS record")

// Record is the TXT record at _mta-sts.<domain>.
type Record struct {
	ID string // changes with the policy
}

// FindRecord picks the MTA-STS record from the TXT records of a name. The
// character-strings of each are joined already. It returns ErrNoRecord, or the
// syntax error of the one record that there is.
func FindRecord(txts []string) (Record, error) {
	var found []string
	for _, txt := range txts {
		// RFC 8461 §3.1: records that do not begin with "v=STSv1;" are
		// discarded. If not exactly one is left, there is no policy.
		if rest, ok := strings.CutPrefix(txt, "v=STSv1"); ok && strings.HasPrefix(strings.TrimLeft(rest, " \t"), ";") {
			found = append(found, txt)
		}
	}
	if len(found) != 1 {
		return Record{}, fmt.Errorf("%w: %d TXT records begin with v=STSv1;, want 1", ErrNoRecord, len(found))
	}
	return ParseRecord(found[0])
}

// ParseRecord reads one MTA-STS record (RFC 8461 §3.1).
func ParseRecord(txt string) (Record, error) {
	if len(txt) > maxRecordSize {
		return Record{}, fmt.Errorf("MTA-STS record: %d bytes, more than %d", len(txt), maxRecordSize)
	}
	fields := strings.Split(txt, ";")
	if strings.TrimRight(fields[0], " \t") != "v=STSv1" {
		return Record{}, errors.New(`MTA-STS record: does not begin with "v=STSv1"`)
	}
	fields = fields[1:]
	if n := len(fields); n > 0 && strings.Trim(fields[n-1], " \t") == "" {
		fields = fields[:n-1] // the last delimiter is optional
	}
	var r Record
	for _, f := range fields {
		name, value, ok := strings.Cut(strings.Trim(f, " \t"), "=")
		if !ok || !isFieldName(name) || !isFieldValue(value) {
			return Record{}, fmt.Errorf("MTA-STS record: field %q is not name=value", f)
		}
		if name != "id" || r.ID != "" {
			continue
		}
		if len(value) > 32 || !isAlphanumeric(value) {
			return Record{}, fmt.Errorf("MTA-STS record: id %q: want 1 to 32 letters and digits", value)
		}
		r.ID = value
	}
	if r.ID == "" {
		return Record{}, errors.New("MTA-STS record: no id")
	}
	return r, nil
}

// isFieldName: (ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".")
func isFieldName(s string) bool {
	return s != "" && len(s) <= 32 && isAlphanumeric(s[:1]) &&
		isAlphanumeric(strings.NewReplacer("_", "", "-", "", ".", "").Replace(s))
}

// isFieldValue: 1*(%x21-3A / %x3C / %x3E-7E)
func isFieldValue(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x21 || c > 0x7e || c == ';' || c == '=' {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// Mode says what senders do about hosts that a policy does not allow.
type Mode string

// The modes of RFC 8461 §5.
const (
	ModeEnforce Mode = "enforce" // do not deliver
	ModeTesting Mode = "testing" // report only
	ModeNone    Mode = "none"    // no policy any more
)

// Policy is an MTA-STS policy.
type Policy struct {
	Mode   Mode
	MX     []string      // host names, or *.<domain>
	MaxAge time.Duration // whole seconds
}

// ParsePolicy reads a policy as it is served over HTTPS (RFC 8461 §3.2). Lines
// end in CRLF or LF; unknown fields are ignored; of repeated fields other than
// mx the first counts.
func ParsePolicy(text []byte) (Policy, error) {
	if len(text) > maxPolicySize {
		return Policy{}, fmt.Errorf("MTA-STS policy: more than %d bytes", maxPolicySize)
	}
	var p Policy
	seen := map[string]bool{}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimRight(strings.TrimSuffix(line, "\r"), " \t")
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isFieldName(name) {
			return Policy{}, fmt.Errorf("MTA-STS policy: line %d: %q is not name: value", i+1, line)
		}
		if seen[name] && name != "mx" {
			continue
		}
		seen[name] = true
		if err := p.set(name, strings.TrimLeft(value, " \t")); err != nil {
			return Policy{}, fmt.Errorf("MTA-STS policy: line %d: %w", i+1, err)
		}
	}
	for _, name := range []string{"version", "mode", "max_age"} {
		if !seen[name] {
			return Policy{}, fmt.Errorf("MTA-STS policy: field %s is missing", name)
		}
	}
	if len(p.MX) == 0 && p.Mode != ModeNone {
		return Policy{}, fmt.Errorf("MTA-STS policy: mode %s needs at least one mx", p.Mode)
	}
	return p, nil
}

func (p *Policy) set(name, value string) error {
	switch name {
	case "version":
		if value != "STSv1" {
			return fmt.Errorf("version %q: want STSv1", value)
		}
	case "mode":
		switch p.Mode = Mode(value); p.Mode {
		case ModeEnforce, ModeTesting, ModeNone:
		default:
			return fmt.Errorf("mode %q: want enforce, testing or none", value)
		}
	case "max_age":
		seconds, err := strconv.ParseUint(value, 10, 64)
		if err != nil || len(value) > 10 {
			return fmt.Errorf("max_age %q: want seconds, at most 10 digits", value)
		}
		p.MaxAge = time.Duration(min(seconds, uint64(MaxAge/time.Second))) * time.Second
	case "mx":
		pattern := strings.ToLower(strings.TrimSuffix(value, "."))
		if !isPattern(pattern) {
			return fmt.Errorf("mx %q: want a host name or *.<domain>", value)
		}
		if len(p.MX) >= maxMX {
			return fmt.Errorf("more than %d mx fields", maxMX)
		}
		p.MX = append(p.MX, pattern)
	}
	return nil
}

func isPattern(s string) bool {
	host := strings.TrimPrefix(s, "*.")
	if _, ok := dns.IsDomainName(host); !ok || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || !isAlphanumeric(strings.NewReplacer("-", "", "_", "").Replace(label)) {
			return false
		}
	}
	return true
}

// Matches reports whether a host is one that the policy allows. RFC 8461 §4.1:
// a wildcard stands for exactly one label, the leftmost.
func (p Policy) Matches(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	_, above, _ := strings.Cut(host, ".")
	for _, pattern := range p.MX {
		pattern = strings.ToLower(strings.TrimSuffix(pattern, "."))
		domain, wildcard := strings.CutPrefix(pattern, "*.")
		if pattern == host && !wildcard || wildcard && domain == above && host != "."+above {
			return host != ""
		}
	}
	return false
}

// String returns the policy as it is served, with CRLF at the end of lines.
func (p Policy) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: STSv1\r\nmode: %s\r\n", p.Mode)
	for _, mx := range p.MX {
		fmt.Fprintf(&b, "mx: %s\r\n", mx)
	}
	fmt.Fprintf(&b, "max_age: %d\r\n", int64(p.MaxAge/time.Second))
	return b.String()
}
