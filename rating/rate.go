package rating

import (
	"fmt"
	"strings"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
)

// Rate grades a domain. What could not be tested makes no grade worse, and
// never better than what is known.
func Rate(a inbound.Analysis, out Outbound) Ratings {
	var r Ratings
	for _, s := range []struct {
		id    string
		items func(inbound.Analysis) []item
	}{
		{DANE, daneItems},
		{MTASTS, mtastsItems},
		{Qualified, qualifiedItems},
		{TLS, tlsItems},
	} {
		r.Standards = append(r.Standards, standard(a, s.id, s.items))
	}
	r.Class = class(a, r)
	r.Mechanisms = mechanisms(a, out)
	r.MECSA = scores(r.Mechanisms)
	r.LeftOut = leftOut(a)
	return r
}

// takesMail reports whether there is a receiver to be graded, as far as that is
// known.
func takesMail(a inbound.Analysis) bool {
	return a.Route != inbound.RouteNull && a.Route != inbound.RouteNone
}

// item is the answer to one requirement for one host or server.
type item struct {
	id      string
	subject string
	result  check.Result
}

// standard grades a domain by one standard. The question does not arise for a
// domain that takes no mail.
func standard(a inbound.Analysis, id string, items func(inbound.Analysis) []item) Standard {
	s := Standard{ID: id}
	if !takesMail(a) {
		return s
	}
	for _, it := range append(generalItems(a), items(a)...) {
		r := asked(it.result)
		if !r.OK() {
			s.Open = append(s.Open, Open{ID: it.id, Outcome: r.Outcome, Subject: it.subject, Why: r.Why})
		}
	}
	s.Met = summary(s.Open)
	return s
}

// summary is no if anything is not met, else untested if anything could not be
// tested; the reason is the first that decides.
func summary(open []Open) check.Result {
	var worst check.Result
	for _, o := range open {
		worst = check.Worst(worst, check.Result{Outcome: o.Outcome, Why: strings.TrimPrefix(o.Subject+": ", ": ") + o.Why})
	}
	if worst.Outcome == "" {
		return check.Pass()
	}
	same := -1
	for _, o := range open {
		if o.Outcome == worst.Outcome {
			same++
		}
	}
	if same > 0 {
		worst.Why += fmt.Sprintf(" (and %d more)", same)
	}
	return worst
}

// generalItems say whether enough could be tested at all.
func generalItems(a inbound.Analysis) []item {
	var out []item
	if len(a.LeftOut) > 0 {
		out = append(out, item{Complete, "", check.Skip(strings.Join(a.LeftOut, "; "))})
	}
	switch a.Route {
	case inbound.RouteMX, inbound.RouteImplicit:
	default:
		return append(out, item{Reachable, a.Domain, check.Skip("where its mail goes could not be found out")})
	}
	reached := false
	for _, h := range a.Hosts {
		if len(reachedServers(h)) > 0 {
			reached = true
			continue
		}
		if !nowhere(h) {
			out = append(out, item{Reachable, h.Name, check.Skip(unreachedWhy(a, h))})
		}
	}
	if !reached && len(out) == 0 {
		out = append(out, item{Reachable, a.Domain, check.Skip("no host has an address")})
	}
	return out
}

// nowhere reports whether a host has no address: nobody can deliver there, or
// take its place but by forged DNS records.
func nowhere(h inbound.Host) bool {
	known := func(r inbound.RRset) bool { return r.Status == dnssec.Secure || r.Status == dnssec.Insecure }
	return len(h.Servers) == 0 && known(h.A) && known(h.AAAA) && h.A.Count+h.AAAA.Count == 0
}

// reachedServers are those that could be tested.
func reachedServers(h inbound.Host) []inbound.Server {
	var out []inbound.Server
	for _, s := range h.Servers {
		if s.Reached.OK() {
			out = append(out, s)
		}
	}
	return out
}

// unasked reports whether a host was not looked at: its name can't be that of a
// host, or a limit left it out.
func unasked(h inbound.Host) bool {
	return len(h.Servers) == 0 && h.A.Status == "" && h.AAAA.Status == ""
}

func unreachedWhy(a inbound.Analysis, h inbound.Host) string {
	for _, f := range a.Faults {
		if f.Subject == h.Name {
			return f.Text
		}
	}
	for _, s := range h.Servers {
		if s.Reached.Why != "" {
			return fmt.Sprintf("%s could not be tested: %s", s.Address, s.Reached.Why)
		}
	}
	return because(h.A.Why, "none of its addresses could be tested")
}

// leftOut are the servers that could not be tested although their host could.
func leftOut(a inbound.Analysis) []Open {
	var out []Open
	for _, h := range a.Hosts {
		if len(reachedServers(h)) == 0 {
			continue
		}
		for _, s := range h.Servers {
			if !s.Reached.OK() {
				out = append(out, Open{ID: Reachable, Outcome: check.Untested, Subject: serverName(h, s), Why: because(s.Reached.Why, "it could not be tested")})
			}
		}
	}
	return out
}

// eachServer asks one thing of every server that could be tested.
func eachServer(a inbound.Analysis, ask func(h inbound.Host, s inbound.Server) []item) []item {
	var out []item
	for _, h := range a.Hosts {
		for _, s := range reachedServers(h) {
			for _, it := range ask(h, s) {
				it.subject = serverName(h, s)
				out = append(out, it)
			}
		}
	}
	return out
}

func serverName(h inbound.Host, s inbound.Server) string {
	return fmt.Sprintf("%s (%s)", h.Name, s.Address)
}

// asked turns a question that nobody asked into one that could not be tested.
func asked(r check.Result) check.Result {
	if r.Outcome == "" {
		return check.Skip(because(r.Why, "not tested"))
	}
	return r
}

// either is yes if one of the parts is, else untested if one is, else no.
func either(parts ...check.Result) check.Result {
	var out check.Result
	for _, p := range parts {
		switch {
		case p.Outcome == "" || out.OK():
		case p.OK(), out.Outcome == "", p.Outcome == check.Untested && out.Failed():
			out = p
		case p.Failed() && out.Failed():
			out.Why += "; " + p.Why
		}
	}
	return out
}

// secure says whether DNSSEC proves an RRset.
func secure(r inbound.RRset, what string) check.Result {
	switch r.Status {
	case dnssec.Secure:
		return check.Pass()
	case dnssec.Insecure:
		return check.Fail(what + ": not signed" + reason(r.Why))
	case dnssec.Bogus:
		return check.Fail(what + ": DNSSEC finds them forged or damaged" + reason(r.Why))
	}
	return check.Skip(what + ": could not be looked up" + reason(r.Why))
}

func reason(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}

func because(why, otherwise string) string {
	if why == "" {
		return otherwise
	}
	return why
}

// modern says whether a server accepts TLS 1.2 or 1.3.
func modern(s inbound.Server) check.Result {
	v12, v13 := accepted(s, probe.TLS12), accepted(s, probe.TLS13)
	if r := either(v13, v12); !r.Failed() {
		return r
	}
	return check.Fail("it accepts neither TLS 1.2 nor TLS 1.3")
}

// noOld says whether a server refuses what is older than TLS 1.2. Versions
// older than 1.0 count if they were tried.
func noOld(s inbound.Server) check.Result {
	var parts []check.Result
	refused := func(version string, r check.Result) {
		switch r.Outcome {
		case check.Yes:
			parts = append(parts, check.Fail("it accepts "+versionName(version)))
		case check.No:
			parts = append(parts, check.Pass())
		default:
			parts = append(parts, check.Skip(because(r.Why, versionName(version)+" could not be tried")))
		}
	}
	for _, version := range []string{probe.TLS11, probe.TLS10} {
		refused(version, accepted(s, version))
	}
	for _, v := range s.Versions {
		switch v.Version {
		case probe.TLS13, probe.TLS12, probe.TLS11, probe.TLS10:
		default:
			refused(v.Version, v.Accepted)
		}
	}
	return check.Worst(parts...)
}

func versionName(version string) string {
	if strings.HasPrefix(version, "1") {
		return "TLS " + version
	}
	return version
}

// accepted is untested for a version that was not tried.
func accepted(s inbound.Server, version string) check.Result {
	for _, v := range s.Versions {
		if v.Version == version {
			return asked(v.Accepted)
		}
	}
	return check.Skip(versionName(version) + " was not tried")
}

// valid says whether a sender that checks certificates accepts that of a
// server.
func valid(s inbound.Server) check.Result {
	if s.Certificate == nil {
		return check.Skip("no certificate was seen")
	}
	c := s.Certificate
	return check.Worst(asked(c.Trusted), asked(c.Name), asked(c.Dates))
}
