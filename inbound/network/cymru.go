package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of answers.
const (
	maxTexts = 20
	maxText  = 1 << 10
)

// Resolver looks up TXT records, character-strings joined; *net.Resolver is one.
// Names that do not exist are a *net.DNSError with IsNotFound.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// DNSOptions configure a [DNS]. Resolver, Origin4 and Origin6 are needed.
type DNSOptions struct {
	Resolver Resolver
	Origin4  string        // zone for IPv4 addresses, like origin.asn.cymru.com
	Origin6  string        // zone for IPv6 addresses, like origin6.asn.cymru.com
	Names    string        // zone for names of AS, like asn.cymru.com; empty: no names
	Timeout  time.Duration // for one address; 5 s by default
}

// DNS asks a service in the format of Team Cymru. It is safe for concurrent use.
// It does not cache; resolvers do.
type DNS struct{ opts DNSOptions }

// NewDNS returns a DNS, or an error that names the option that is missing.
func NewDNS(opts DNSOptions) (*DNS, error) {
	switch {
	case opts.Resolver == nil:
		return nil, errors.New("network: no resolver")
	case opts.Origin4 == "" || opts.Origin6 == "":
		return nil, errors.New("network: no zone to look up addresses in: give one for IPv4 and one for IPv6, like origin.asn.cymru.com and origin6.asn.cymru.com")
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 5 * time.Second
	}
	return &DNS{opts: opts}, nil
}

// Network implements [Lookup]. The error means that the service could not be
// asked; an answer that makes no sense is taken for none.
func (d *DNS) Network(ctx context.Context, ip netip.Addr) (Info, error) {
	ctx, cancel := context.WithTimeout(ctx, d.opts.Timeout)
	defer cancel()
	ip = ip.Unmap().WithZone("")
	if !ip.IsValid() {
		return Info{}, nil
	}
	zone := d.opts.Origin6
	if ip.Is4() {
		zone = d.opts.Origin4
	}
	txts, err := d.texts(ctx, reverse(ip)+zone)
	if err != nil {
		return Info{}, fmt.Errorf("network of %s: %w", ip, err)
	}
	info := origin(txts, ip)
	if info.AS == 0 || d.opts.Names == "" {
		return info, nil
	}
	// A network without its name is better than none.
	if txts, err = d.texts(ctx, "AS"+strconv.FormatUint(uint64(info.AS), 10)+"."+d.opts.Names); err == nil {
		named := autonomousSystem(txts, info.AS)
		info.Name = named.Name
		if info.Country == "" {
			info.Country = named.Country
		}
	}
	return info, nil
}

func (d *DNS) texts(ctx context.Context, name string) ([]string, error) {
	txts, err := d.opts.Resolver.LookupTXT(ctx, strings.TrimSuffix(name, ".")+".")
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok && dnsErr.IsNotFound {
		return nil, nil
	}
	txts = txts[:min(len(txts), maxTexts)]
	return slices.DeleteFunc(slices.Clone(txts), func(t string) bool { return len(t) > maxText }), err
}

// reverse returns the labels of an address, the last part first, with a dot
// after each.
func reverse(ip netip.Addr) string {
	var b strings.Builder
	for _, octet := range slices.Backward(ip.AsSlice()) {
		if ip.Is4() {
			fmt.Fprintf(&b, "%d.", octet)
		} else {
			fmt.Fprintf(&b, "%x.%x.", octet&0xf, octet>>4)
		}
	}
	return b.String()
}

// origin reads answers about an address: "15169 | 8.8.8.0/24 | US | arin | date".
// Several AS may announce a network, and several networks may hold the address:
// the first of the smallest counts.
func origin(txts []string, ip netip.Addr) Info {
	var best Info
	longest := -1
	for _, txt := range txts {
		f := fields(txt)
		if len(f) < 3 {
			continue
		}
		prefix, err := netip.ParsePrefix(f[1])
		if err != nil || !prefix.Contains(ip) || prefix.Bits() <= longest {
			continue
		}
		code, _ := country(f[2])
		first, _, _ := strings.Cut(f[0], " ")
		as, err := strconv.ParseUint(first, 10, 32)
		if err != nil || as == 0 {
			continue
		}
		best, longest = Info{AS: uint32(as), Country: code}, prefix.Bits()
	}
	return best
}

// autonomousSystem reads answers about an AS: "15169 | US | arin | date | GOOGLE, US".
func autonomousSystem(txts []string, as uint32) Info {
	for _, txt := range txts {
		f := fields(txt)
		if len(f) < 5 || f[0] != strconv.FormatUint(uint64(as), 10) {
			continue
		}
		code, _ := country(f[1])
		name := strings.Join(f[4:], " | ")
		if code != "" {
			name = strings.TrimSuffix(name, ", "+code)
		}
		return Info{AS: as, Name: printable(name), Country: code}
	}
	return Info{}
}

func fields(txt string) []string {
	f := strings.Split(txt, "|")
	for i := range f {
		f[i] = strings.TrimSpace(f[i])
	}
	return f
}
