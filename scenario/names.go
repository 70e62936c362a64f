package scenario

import (
	"strconv"
	"strings"
)

// Role says what a name of the zone is for.
type Role string

// The roles of names.
const (
	RoleApex      Role = "apex"       // <zone>: report addresses, pages
	RoleService   Role = "service"    // mx.<zone>: the clean mail host
	RoleNS        Role = "ns"         // ns1.<zone>
	RoleET        Role = "et"         // et.<zone>
	RoleMX        Role = "mx"         // mx03.et.<zone> …
	RoleUT        Role = "ut"         // ut.<zone>
	RolePolicy    Role = "mta-sts"    // mta-sts.et.<zone>: HTTPS host of the policy
	RoleSTSRecord Role = "sts-record" // _mta-sts.et.<zone>
	RoleTLSA      Role = "tlsa"       // _25._tcp.<host>
)

// Target is what a name of the zone stands for.
type Target struct {
	Slot int
	Role Role
	Host Host // for RoleMX, RoleUT and RoleTLSA
}

// SlotNames are the names of one slot, lower case, without a trailing dot.
type SlotNames struct {
	Zone   string
	Slot   int
	ET     string // et.<zone>, et3.<zone>
	UT     string
	Policy string // mta-sts.et.<zone>
}

// Names returns the names of a slot. Slot 0 is plain et and ut.
func Names(zone string, slot int) SlotNames {
	zone = Canonical(zone)
	n := ""
	if slot > 0 {
		n = strconv.Itoa(slot)
	}
	et := "et" + n + "." + zone
	return SlotNames{Zone: zone, Slot: slot, ET: et, UT: "ut" + n + "." + zone, Policy: "mta-sts." + et}
}

// Host returns the name of h in the slot.
func (n SlotNames) Host(h Host) string {
	if h == UT {
		return n.UT
	}
	return string(h) + "." + n.ET
}

// TLSA returns the owner name of the TLSA records of h (RFC 6698 §3).
func (n SlotNames) TLSA(h Host) string { return "_25._tcp." + n.Host(h) }

// STSRecord returns the owner name of the MTA-STS TXT record (RFC 8461 §3.1).
func (n SlotNames) STSRecord() string { return "_mta-sts." + n.ET }

// ServiceHost returns the name of the clean mail host of the zone: its EHLO
// name, its PTR, the MX of the report domain.
func ServiceHost(zone string) string { return "mx." + Canonical(zone) }

// NameServer returns the name of the embedded name server.
func NameServer(zone string) string { return "ns1." + Canonical(zone) }

// Canonical returns a DNS name in lower case and without its trailing dot.
func Canonical(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// Find says what name stands for in zone, for any slot number; ok is false for
// names that are not ours. It is the reverse of Names.
func Find(zone, name string) (t Target, ok bool) {
	zone, name = Canonical(zone), Canonical(name)
	if name == zone {
		return Target{Role: RoleApex}, true
	}
	rest, found := strings.CutSuffix(name, "."+zone)
	if !found {
		return Target{}, false
	}
	switch rest {
	case "mx":
		return Target{Role: RoleService}, true
	case "ns1":
		return Target{Role: RoleNS}, true
	}
	if owner, found := strings.CutPrefix(rest, "_25._tcp."); found {
		t, ok := Find(zone, owner+"."+zone)
		if !ok || (t.Role != RoleMX && t.Role != RoleUT && t.Role != RoleService) {
			return Target{}, false
		}
		return Target{Slot: t.Slot, Role: RoleTLSA, Host: t.Host}, true
	}
	labels := strings.Split(rest, ".")
	slot, isET, ok := slotLabel(labels[len(labels)-1])
	if !ok || len(labels) > 2 {
		return Target{}, false
	}
	if len(labels) == 1 {
		if isET {
			return Target{Slot: slot, Role: RoleET}, true
		}
		return Target{Slot: slot, Role: RoleUT, Host: UT}, true
	}
	return findInET(slot, isET, labels[0])
}

func findInET(slot int, isET bool, label string) (Target, bool) {
	if !isET {
		return Target{}, false
	}
	switch label {
	case "mta-sts":
		return Target{Slot: slot, Role: RolePolicy}, true
	case "_mta-sts":
		return Target{Slot: slot, Role: RoleSTSRecord}, true
	}
	for _, h := range MXHosts() {
		if label == string(h) {
			return Target{Slot: slot, Role: RoleMX, Host: h}, true
		}
	}
	return Target{}, false
}

// slotLabel reads et, ut, et3, ut3. A leading zero is no slot: names must go
// back and forth without loss.
func slotLabel(label string) (slot int, isET, ok bool) {
	number, isET := strings.CutPrefix(label, "et")
	if !isET {
		if number, ok = strings.CutPrefix(label, "ut"); !ok {
			return 0, false, false
		}
	}
	if number == "" {
		return 0, isET, true
	}
	slot, err := strconv.Atoi(number)
	if err != nil || slot < 1 || strconv.Itoa(slot) != number {
		return 0, false, false
	}
	return slot, isET, true
}

// FaceName returns the name that c is for in its slot; "" for the default
// certificates and the service, which have several.
func FaceName(zone string, c Certificate) string {
	n := Names(zone, c.Slot)
	switch c.Owner {
	case OwnerDefault, OwnerService:
		return ""
	case OwnerMTASTS:
		return n.Policy
	}
	return n.Host(Host(c.Owner))
}

// CertificateNames returns the DNS names that the certificate behind c carries,
// for a sink with the given number of slots, those of slot 0 first.
func CertificateNames(zone string, slots int, c Certificate) []string {
	if c.Owner == OwnerService {
		return []string{Canonical(zone), ServiceHost(zone)}
	}
	var out []string
	for s := range slots {
		n := Names(zone, s)
		if c.Owner != OwnerDefault {
			out = append(out, FaceName(zone, Certificate{Slot: s, Owner: c.Owner}))
			continue
		}
		for _, h := range MXHosts() {
			out = append(out, n.Host(h))
		}
		out = append(out, n.ET, n.UT)
	}
	return out
}
