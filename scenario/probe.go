package scenario

import "strings"

// Probe is how a probe of our own wants to be treated. It asks for that by its
// EHLO name, whose token only the service gives away.
type Probe struct {
	Token    string // lower case letters and digits
	StartTLS bool   // it is offered
	Kind     Kind   // of the certificates that vary: SelfSigned or CA
}

// Name returns the EHLO name of p.
func (p Probe) Name(zone string) string {
	offer := "withheld"
	if p.StartTLS {
		offer = "offered"
	}
	return offer + "." + string(p.Kind) + "." + p.Token + ".probe." + Canonical(zone)
}

// FindProbe reads an EHLO name; ok is false if it is not that of a probe.
// Whether the token is right, only who made it can tell.
func FindProbe(zone, name string) (p Probe, ok bool) {
	rest, ok := strings.CutSuffix(Canonical(name), ".probe."+Canonical(zone))
	labels := strings.Split(rest, ".")
	if !ok || len(labels) != 3 || labels[2] == "" {
		return Probe{}, false
	}
	p = Probe{Token: labels[2], StartTLS: labels[0] == "offered", Kind: Kind(labels[1])}
	return p, (p.StartTLS || labels[0] == "withheld") && (p.Kind == SelfSigned || p.Kind == CA)
}
