package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/scenario"
)

// texts returns the TXT records of a name, each joined.
func (x *exam) texts(ctx context.Context, name string) ([]string, bool) {
	a, ok := x.world(ctx, name, dns.TypeTXT)
	var out []string
	for _, rr := range a.RRs {
		if t, is := rr.(*dns.TXT); is {
			out = append(out, clip(strings.Join(t.Txt, "")))
		}
	}
	return out, ok
}

// ptr: the address that reports come from has a name that leads back to it, and
// that is the one in EHLO.
func (x *exam) ptr(ctx context.Context) {
	if x.Smarthost {
		x.ok(x.Zone, "reports leave through the smarthost, whose name counts")
		return
	}
	host := scenario.ServiceHost(x.Zone)
	name, err := dns.ReverseAddr(x.Sender.String())
	if err != nil {
		x.cannot(x.Sender.String(), plain(err))
		return
	}
	a, ok := x.world(ctx, name, dns.TypePTR)
	if !ok {
		return
	}
	var names []string
	for _, rr := range a.RRs {
		if p, is := rr.(*dns.PTR); is {
			names = append(names, clip(scenario.Canonical(p.Ptr)))
		}
	}
	subject := x.Sender.String()
	fix := fmt.Sprintf("%s It must be %s.", x.check.fix, host)
	switch {
	case len(names) == 0:
		x.wrong(subject, "it has no name", fix)
	case !slices.Contains(names, host):
		x.wrong(subject, "its name is "+strings.Join(names, ", ")+", but reports say "+host+" in EHLO", fix)
	case x.worst[checkChain] != OK:
		x.cannot(subject, notBefore+checkChain+" is ok: whether its name "+host+" leads back to it")
	case !slices.Contains(x.addressesOf(ctx, host), x.Sender):
		x.wrong(subject, "its name is "+host+", but that name does not lead back to it", "Add the address to dns.addresses, or set mail.local_address to one of those.")
	default:
		x.ok(subject, "its name is %s, which leads back to it and is the EHLO name", host)
	}
}

func (x *exam) spf(ctx context.Context) {
	host := scenario.ServiceHost(x.Zone)
	for _, c := range []struct{ name, mechanism string }{{x.Zone, "mx"}, {host, "a"}} {
		txts, ok := x.texts(ctx, c.name)
		if !ok {
			continue
		}
		// RFC 7208 §4.5: exactly one record.
		records := slices.DeleteFunc(txts, func(s string) bool { return s != "v=spf1" && !strings.HasPrefix(s, "v=spf1 ") })
		switch {
		case len(records) != 1:
			x.wrong(c.name, fmt.Sprintf("%d SPF records; want one", len(records)), "")
		case !x.passes(records[0], c.mechanism):
			x.wrong(c.name, fmt.Sprintf("%q does not name %s, from where reports come", records[0], x.Sender), "")
		default:
			x.ok(c.name, "%s", records[0])
		}
	}
}

// passes reports whether a record lets the sender's address pass, by the usual
// mechanism or by naming the address.
func (x *exam) passes(record, mechanism string) bool {
	return slices.ContainsFunc(strings.Fields(record)[1:], func(term string) bool {
		term = strings.ToLower(strings.TrimPrefix(term, "+"))
		if term == mechanism {
			return x.Smarthost || slices.Contains(x.Addresses, x.Sender)
		}
		kind, value, _ := strings.Cut(term, ":")
		if kind != "ip4" && kind != "ip6" {
			return kind == "include" && x.Smarthost
		}
		if p, err := netip.ParsePrefix(value); err == nil {
			return p.Contains(x.Sender)
		}
		ip, err := netip.ParseAddr(value)
		return err == nil && ip == x.Sender
	})
}

func (x *exam) dkim(ctx context.Context) {
	if x.DKIMSelector == "" {
		x.cannot(x.Zone, "the selector is not known here")
		return
	}
	name := x.DKIMSelector + "._domainkey." + x.Zone
	a, ok := x.world(ctx, name, dns.TypeTXT)
	if !ok {
		return
	}
	var got []string
	for _, rr := range a.RRs {
		if t, is := rr.(*dns.TXT); is {
			got = append(got, strings.Join(t.Txt, ""))
		}
	}
	switch key := keyOf(x.DKIM); {
	case len(got) != 1:
		x.wrong(name, fmt.Sprintf("%d TXT records; want one", len(got)), "")
	case key == "":
		x.cannot(name, "there is a key; ours is not known here")
	case keyOf(got[0]) != key:
		x.wrong(name, "the public key is not that of our private key", "")
	default:
		x.ok(name, "the public key is that of our private key")
	}
}

// keyOf returns the p= tag of a DKIM record (RFC 6376 §3.6.1).
func keyOf(record string) string {
	for tag := range strings.SplitSeq(record, ";") {
		if name, value, ok := strings.Cut(strings.TrimSpace(tag), "="); ok && strings.TrimSpace(name) == "p" {
			return strings.Join(strings.Fields(value), "")
		}
	}
	return ""
}

func (x *exam) dmarc(ctx context.Context) {
	name := "_dmarc." + x.Zone
	txts, ok := x.texts(ctx, name)
	if !ok {
		return
	}
	records := slices.DeleteFunc(txts, func(s string) bool { return !strings.HasPrefix(s, "v=DMARC1") })
	if len(records) != 1 {
		x.wrong(name, fmt.Sprintf("%d DMARC records; want one", len(records)), "")
		return
	}
	x.ok(name, "%s", records[0])
}

// caa: RFC 8659 §3: the record closest to the name counts.
func (x *exam) caa(ctx context.Context) {
	if len(x.CAs) == 0 {
		x.ok(x.Zone, "the CA asks for no permission, or it is not known here what it is called in CAA records")
		return
	}
	fqdn := dns.Fqdn(x.Zone)
	for _, at := range dns.Split(fqdn) {
		a, ok := x.world(ctx, scenario.Canonical(fqdn[at:]), dns.TypeCAA)
		if !ok {
			return
		}
		if len(a.RRs) == 0 {
			continue
		}
		var issuers []string
		for _, rr := range a.RRs {
			if c, is := rr.(*dns.CAA); is && strings.EqualFold(c.Tag, "issue") {
				issuer, _, _ := strings.Cut(c.Value, ";")
				issuers = append(issuers, clip(strings.ToLower(strings.TrimSpace(issuer))))
			}
		}
		owner := scenario.Canonical(fqdn[at:])
		switch {
		case len(issuers) == 0 || slices.ContainsFunc(x.CAs, func(ca string) bool { return slices.Contains(issuers, strings.ToLower(ca)) }):
			x.ok(x.Zone, "the CAA record of %s allows our CA", owner)
		default:
			x.wrong(x.Zone, fmt.Sprintf("the CAA record of %s allows %q only; ours is %s", owner, issuers, strings.Join(x.CAs, ", ")), "")
		}
		return
	}
	x.ok(x.Zone, "no CAA record: every CA may issue")
}
