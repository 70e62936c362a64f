package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/scenario"
)

const udpSize = 1232

// exchange asks one server over the network.
func exchange(ctx context.Context, query *dns.Msg, network, server string) (*dns.Msg, error) {
	c := dns.Client{Net: network, UDPSize: udpSize}
	if deadline, ok := ctx.Deadline(); ok {
		c.Timeout = time.Until(deadline)
	}
	m, _, err := c.ExchangeContext(ctx, query, server)
	return m, err
}

// ask puts one question to one server, again over TCP if the answer is cut off.
func (x *exam) ask(ctx context.Context, server, name string, qtype uint16, networks ...string) (*dns.Msg, error) {
	if len(networks) == 0 {
		networks = []string{"udp", "tcp"}
	}
	var m *dns.Msg
	for _, network := range networks {
		q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
		q.RecursionDesired = false
		q.SetEdns0(udpSize, true)
		ctx, cancel := context.WithTimeout(ctx, x.Timeout)
		var err error
		m, err = x.Exchange(ctx, q, network, server)
		cancel()
		if err != nil {
			return nil, err
		}
		if !m.Truncated {
			return m, nil
		}
	}
	return m, nil
}

// world looks a name up as everyone does. If that fails, it says so.
func (x *exam) world(ctx context.Context, name string, qtype uint16) (dnssec.Answer, bool) {
	if x.World == nil {
		x.cannot(name, "no recursive resolver is known here")
		return dnssec.Answer{}, false
	}
	a, err := x.World.Lookup(ctx, name, qtype)
	switch {
	case err != nil:
		x.cannot(name, "the resolver does not answer: "+plain(err))
		return a, false
	case a.Status == dnssec.Bogus:
		x.cannot(name, "the answer is bogus (see "+checkChain+"): "+a.Why)
		return a, false
	}
	return a, true
}

// parentServer is a name server of the parent zone.
type parentServer struct{ name, addr string }

// mostParents is how many of them are asked.
const mostParents = 3

// parent finds the zone above ours, and its name servers.
func (x *exam) parent(ctx context.Context) (zone string, servers []parentServer, err error) {
	if x.World == nil {
		return "", nil, errors.New("no recursive resolver is known here")
	}
	fqdn := dns.Fqdn(x.Zone)
	for i := 1; i <= dns.CountLabel(fqdn) && zone == ""; i++ {
		name := "."
		if at := dns.Split(fqdn); i < len(at) {
			name = fqdn[at[i]:]
		}
		a, err := x.World.Lookup(ctx, name, dns.TypeNS)
		if err != nil {
			return "", nil, err
		}
		for _, rr := range a.RRs {
			ns, ok := rr.(*dns.NS)
			if !ok || a.CanonicalName != dns.CanonicalName(name) || len(servers) == mostParents {
				continue
			}
			zone = name
			for _, ip := range x.addressesOf(ctx, ns.Ns) {
				servers = append(servers, parentServer{scenario.Canonical(ns.Ns), x.At(ip, 53)})
				break
			}
		}
	}
	if len(servers) == 0 {
		return zone, nil, fmt.Errorf("no name server of the parent zone %s has an address", zone)
	}
	return zone, servers, nil
}

// addressesOf returns the addresses of a name, IPv4 first; none if unknown.
func (x *exam) addressesOf(ctx context.Context, name string) (out []netip.Addr) {
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if a, err := x.World.Lookup(ctx, name, qtype); err == nil {
			out = append(out, addressesIn(a.RRs, a.CanonicalName)...)
		}
	}
	return out
}

// addressesIn returns the addresses that records give an owner.
func addressesIn(rrs []dns.RR, owner string) (out []netip.Addr) {
	for _, rr := range rrs {
		if dns.CanonicalName(rr.Header().Name) != dns.CanonicalName(owner) {
			continue
		}
		switch rr := rr.(type) {
		case *dns.A:
			if ip, ok := netip.AddrFromSlice(rr.A.To4()); ok {
				out = append(out, ip)
			}
		case *dns.AAAA:
			if ip, ok := netip.AddrFromSlice(rr.AAAA); ok {
				out = append(out, ip)
			}
		}
	}
	return out
}

// wantNS are the names that the parent has to name.
func (x *exam) wantNS() []string {
	if x.External {
		return x.elsewhere
	}
	out := []string{scenario.NameServer(x.Zone)}
	for _, ns := range x.NameServers {
		if ns = scenario.Canonical(ns); !slices.Contains(out, ns) {
			out = append(out, ns)
		}
	}
	slices.Sort(out)
	return out
}

// publish is the fix with the records.
func (x *exam) publish() string {
	if x.Delegation == "" {
		return x.check.fix
	}
	return x.check.fix + "\n" + strings.TrimRight(x.Delegation, "\n")
}

func (x *exam) delegation(ctx context.Context) {
	zone, servers, err := x.parent(ctx)
	if zone != "." {
		zone = scenario.Canonical(zone)
	}
	if err != nil {
		x.cannot(x.Zone, "the parent zone could not be asked: "+plain(err))
		return
	}
	var lost error
	answered := false
	for _, s := range servers {
		m, err := x.ask(ctx, s.addr, x.Zone, dns.TypeNS)
		if err != nil {
			lost = err
			continue
		}
		answered = true
		if problem := x.referral(m, zone); problem != "" {
			x.wrong(x.Zone, s.name+" (name server of "+zone+") says: "+problem, x.publish())
			return
		}
	}
	if !answered {
		x.cannot(x.Zone, fmt.Sprintf("no name server of the parent zone %s answers (is DNS to the Internet blocked here?): %s", zone, plain(lost)))
		return
	}
	x.ok(x.Zone, "%s delegates it to %s", zone, strings.Join(x.wantNS(), ", "))
}

// referral says what is wrong with the answer of a name server of the parent.
func (x *exam) referral(m *dns.Msg, parent string) string {
	if m.Rcode == dns.RcodeNameError {
		return "there is no " + x.Zone + ": the zone is not delegated, or its name is misspelt"
	}
	if m.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[m.Rcode]
	}
	var got []string
	for _, rr := range slices.Concat(m.Answer, m.Ns) {
		if ns, ok := rr.(*dns.NS); ok && scenario.Canonical(ns.Hdr.Name) == x.Zone {
			got = append(got, scenario.Canonical(ns.Ns))
		}
	}
	slices.Sort(got)
	got = slices.Compact(got)
	want := x.wantNS()
	switch {
	case len(got) == 0:
		return "no NS records for " + x.Zone + ": the zone is not delegated in " + parent
	case !slices.Equal(got, want):
		return fmt.Sprintf("name servers %s; want %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	ns1 := scenario.NameServer(x.Zone)
	glue := addressesIn(m.Extra, ns1)
	if len(glue) == 0 && len(m.Answer) > 0 {
		return "" // it serves both zones, so there is no referral
	}
	if !sameAddresses(glue, x.Addresses) {
		return fmt.Sprintf("glue of %s is %s; want %s", ns1, join(glue), join(x.Addresses))
	}
	return ""
}

func sameAddresses(a, b []netip.Addr) bool {
	sorted := func(l []netip.Addr) []netip.Addr {
		l = slices.Clone(l)
		slices.SortFunc(l, netip.Addr.Compare)
		return slices.Compact(l)
	}
	return slices.Equal(sorted(a), sorted(b))
}

func join(list []netip.Addr) string {
	if len(list) == 0 {
		return "missing"
	}
	out := make([]string, 0, len(list))
	for _, a := range list {
		out = append(out, a.String())
	}
	return strings.Join(out, ", ")
}

// nameServers asks each of them for the zone's SOA.
func (x *exam) nameServers(ctx context.Context) {
	serials, wrong := x.serials(ctx, true)
	if wrong {
		return
	}
	if !agree(serials) {
		// A change may be on its way to the secondaries.
		select {
		case <-ctx.Done():
		case <-time.After(x.Again):
		}
		if serials, wrong = x.serials(ctx, false); !wrong && !agree(serials) {
			x.wrong(x.Zone, "the name servers have different versions: "+versions(serials), "Let each secondary transfer the zone: its address must be in dns.transfer.secondaries, with the same TSIG key, and NOTIFY must reach it.")
			return
		}
	}
	x.ok(x.Zone, "all answer authoritatively with the same version: %s", versions(serials))
}

type serial struct {
	name   string
	number uint32
}

func agree(list []serial) bool {
	return !slices.ContainsFunc(list, func(s serial) bool { return s.number != list[0].number })
}

func versions(list []serial) string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		out = append(out, fmt.Sprintf("%s has %d", s.name, s.number))
	}
	return strings.Join(out, ", ")
}

func (x *exam) serials(ctx context.Context, report bool) (out []serial, wrong bool) {
	for _, name := range x.wantNS() {
		list := x.Addresses
		if x.External || name != scenario.NameServer(x.Zone) {
			if list = x.addressesOf(ctx, name); len(list) == 0 {
				wrong = true
				if report {
					x.wrong(name, "the name has no address", "")
				}
			}
		}
		for _, ip := range list {
			subject := name + " (" + ip.String() + ")"
			m, err := x.ask(ctx, x.At(ip, 53), x.Zone, dns.TypeSOA)
			var soa *dns.SOA
			if err == nil {
				for _, rr := range m.Answer {
					if s, ok := rr.(*dns.SOA); ok {
						soa = s
					}
				}
			}
			if err == nil && m.Authoritative && soa != nil {
				out = append(out, serial{subject, soa.Serial})
				continue
			}
			wrong = true
			switch {
			case !report:
			case err != nil && name == scenario.NameServer(x.Zone):
				x.cannot(subject, "it cannot be asked (see "+checkPorts+"): "+plain(err))
			case err != nil:
				x.wrong(subject, "it cannot be asked: "+plain(err), "")
			default:
				x.wrong(subject, fmt.Sprintf("lame: it does not serve the zone (%s, authoritative: %v)", dns.RcodeToString[m.Rcode], m.Authoritative), "")
			}
		}
	}
	return out, wrong
}

func (x *exam) ds(ctx context.Context) {
	a, ok := x.world(ctx, x.Zone, dns.TypeDS)
	if !ok {
		return
	}
	var seen []string
	for _, rr := range a.RRs {
		ds, is := rr.(*dns.DS)
		if !is {
			continue
		}
		seen = append(seen, fmt.Sprint(ds.KeyTag))
		for _, ours := range x.DS {
			if ds.KeyTag == ours.KeyTag && ds.DigestType == ours.DigestType && strings.EqualFold(ds.Digest, ours.Digest) {
				x.ok(x.Zone, "the DS record at the parent is that of our key, tag %d", ds.KeyTag)
				return
			}
		}
	}
	switch {
	case len(seen) == 0:
		x.wrong(x.Zone, "there is no DS record at the parent: for the world the zone is unsigned, and no sender uses DANE", x.publish())
	case len(x.DS) == 0:
		x.cannot(x.Zone, "DS record for key tag "+strings.Join(seen, ", ")+"; our own key is not known here")
	case slices.Contains(seen, fmt.Sprint(x.DS[0].KeyTag)):
		x.wrong(x.Zone, fmt.Sprintf("the DS record at the parent has the tag of our key, %d, but another digest: for the world our signatures are forged, and the zone is bogus", x.DS[0].KeyTag), x.publish())
	default:
		x.wrong(x.Zone, fmt.Sprintf("the DS record at the parent is for another key (tag %s; ours is %d): for the world our signatures are forged, and the zone is bogus", strings.Join(seen, ", "), x.DS[0].KeyTag), x.publish())
	}
}

func (x *exam) chain(ctx context.Context) {
	if x.World == nil {
		x.cannot(x.Zone, "no recursive resolver is known here")
		return
	}
	status, why := x.verify(ctx, x.World)
	if status == OK {
		x.ok(x.Zone, "secure from the root to every record that senders rely on")
		return
	}
	for _, cause := range []string{checkDelegation, checkNameServers, checkDS} {
		if x.worst[cause] == Wrong {
			x.cannot(x.Zone, notBefore+cause+" is ok")
			return
		}
	}
	x.failed(status, why)
}

// failed reports what verify found.
func (x *exam) failed(status Status, why string) {
	if status == Cannot {
		x.cannot(x.Zone, why)
		return
	}
	x.wrong(x.Zone, why, "")
}

// addresses compares what names lead to with the configuration.
func (x *exam) addresses(ctx context.Context) {
	names := map[string][]netip.Addr{scenario.ServiceHost(x.Zone): x.Addresses, x.Zone: x.Addresses}
	for slot := range x.Slots {
		n := scenario.Names(x.Zone, slot)
		names[n.Policy], names[n.UT] = x.Addresses, x.UTAddresses
		for _, h := range scenario.MXHosts() {
			names[n.Host(h)] = x.MXAddresses
		}
	}
	var questions []question
	for name := range names {
		questions = append(questions, question{name, dns.TypeA}, question{name, dns.TypeAAAA})
	}
	ahead(ctx, x.World, questions)
	good := true
	for _, name := range sortedKeys(names) {
		var got []netip.Addr
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			a, ok := x.world(ctx, name, qtype)
			if !ok {
				return
			}
			got = append(got, addressesIn(a.RRs, a.CanonicalName)...)
		}
		if !sameAddresses(got, names[name]) {
			x.wrong(name, fmt.Sprintf("the world gets %s; configured is %s", join(got), join(names[name])), "")
			good = false
		}
	}
	if good {
		x.ok(x.Zone, "all names lead to the configured addresses")
	}
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
