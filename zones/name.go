package zones

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// maxWireName is the longest name in wire form (RFC 1035 §3.1).
const maxWireName = 255

// A nameKey is a domain name in a form whose order as a string is the
// canonical order of names: labels from the root down, in lower case, each
// closed by 0x00. The octets 0x00 and 0x01 in labels are escaped by 0x01. A name
// is below another one if the other's key is a proper prefix of its key.
//
// RFC 4034 §6.1: names are ordered by their labels from the most significant
// one, as octet strings, absent octets before zero octets.
type nameKey string

// keyOf returns the key of a fully qualified name in presentation form.
func keyOf(name string) (nameKey, error) {
	var wire [maxWireName + 1]byte
	n, err := dns.PackDomainName(name, wire[:], 0, nil, false)
	if err != nil {
		return "", fmt.Errorf("name %q: %w", name, err)
	}
	var starts [maxWireName/2 + 1]uint8
	labels := 0
	for off := 0; off < n && wire[off] != 0; off += int(wire[off]) + 1 {
		starts[labels] = uint8(off)
		labels++
	}
	key := make([]byte, 0, n+8)
	for i := labels - 1; i >= 0; i-- {
		start := int(starts[i])
		for _, b := range wire[start+1 : start+1+int(wire[start])] {
			switch {
			case b <= 1:
				key = append(key, 1, b+1)
			case 'A' <= b && b <= 'Z':
				key = append(key, b+'a'-'A')
			default:
				key = append(key, b)
			}
		}
		key = append(key, 0)
	}
	return nameKey(key), nil
}

// parent returns the key of the name without its first label.
func (k nameKey) parent() nameKey {
	if k == "" {
		return ""
	}
	return k[:strings.LastIndexByte(string(k[:len(k)-1]), 0)+1]
}

// within reports whether k is zone or below it.
func (k nameKey) within(zone nameKey) bool { return strings.HasPrefix(string(k), string(zone)) }

// wildcard returns the key of the wildcard below k.
func (k nameKey) wildcard() nameKey { return k + "*\x00" }
