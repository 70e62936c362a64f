package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
)

// A card is one receiving server, or several that are alike in everything that
// is shown of them.
type card struct {
	Names     string // hosts with their preference
	Addresses string
	Rows      []row
	Mark      mark // of encryption and certificate together
}

// cards returns the servers of a, those that are alike together, and says how
// many are not shown.
func (s speaker) cards(a *inbound.Analysis) (out []card, unshown string) {
	type group struct {
		names, addresses []string
		rows             []row
		mark             mark
	}
	var groups []group
	add := func(name, address string, ofHost, ofServer []row) {
		rows := append(ofHost, ofServer...)
		i := slices.IndexFunc(groups, func(g group) bool { return slices.EqualFunc(g.rows, rows, equalRows) })
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{rows: rows, mark: worst(ofServer)})
		}
		if !slices.Contains(groups[i].names, name) {
			groups[i].names = append(groups[i].names, name)
		}
		if address != "" {
			groups[i].addresses = append(groups[i].addresses, address)
		}
	}
	for i := range a.Hosts {
		h := &a.Hosts[i]
		name := s.quote(h.Name, maxName)
		if a.Route == inbound.RouteMX {
			name += fmt.Sprintf(" (%d)", h.Preference)
		}
		if len(h.Servers) == 0 {
			add(name, "", s.hostRows(a, h), nil)
		}
		for j := range h.Servers {
			add(name, h.Servers[j].Address.String(), s.hostRows(a, h), s.serverRows(h, &h.Servers[j]))
		}
	}
	for i, g := range groups {
		if i == cardsKeep {
			unshown = phrase{
				"More kinds of servers than are shown here: %[1]d. The JSON has all of them.",
				"Weitere Arten von Servern, die hier nicht gezeigt sind: %[1]d. Im JSON stehen alle.",
			}.with(s.l, len(groups)-cardsKeep)
			break
		}
		out = append(out, card{
			Names: strings.Join(s.atMost(g.names, membersKeep), ", "), Addresses: strings.Join(s.atMost(g.addresses, membersKeep), ", "),
			Rows: g.rows, Mark: g.mark,
		})
	}
	return out, unshown
}

func equalRows(a, b row) bool { return a.Name == b.Name && slices.Equal(a.Answers, b.Answers) }

// worst is the mark of a server; of none there is nothing to say.
func worst(rows []row) mark {
	out := markYes
	if len(rows) == 0 {
		out = markNone
	}
	for _, r := range rows {
		for _, a := range r.Answers {
			switch a.Mark {
			case markNo:
				return markNo
			case markUntested:
				out = markUntested
			}
		}
	}
	return out
}

// hostRows is what belongs to the name: DNSSEC, the alias, the policy.
func (s speaker) hostRows(a *inbound.Analysis, h *inbound.Host) []row {
	dns := row{Name: "DNSSEC"}
	for _, set := range []struct {
		kind string
		of   inbound.RRset
	}{{"MX", a.MX}, {"A", h.A}, {"AAAA", h.AAAA}, {"TLSA", h.TLSA}} {
		if set.of.Count == 0 && set.kind == "AAAA" {
			continue // that there is none protects nothing
		}
		if said, ok := s.secured(set.kind, set.of.Status, set.of.Why); ok {
			dns.Answers = append(dns.Answers, said)
		}
	}
	out := []row{dns}
	if h.Canonical != "" {
		out = append(out, row{"CNAME", []answer{{markNone, s.quote(h.Canonical, maxName)}}}) // what is wrong with that is a fault
	}
	if listed, ok := s.answerOf(h.Listed, phrase{"listed in the policy", "in der Richtlinie aufgeführt"}, phrase{"not listed in the policy", "nicht in der Richtlinie aufgeführt"}); ok {
		out = append(out, row{"MTA-STS", []answer{listed}})
	}
	if tlsa := s.tlsaRecords(h); len(tlsa) > 0 {
		out = append(out, row{phrase{"TLSA records", "TLSA-Einträge"}.in(s.l), tlsa})
	}
	dane := row{Name: "DANE"}
	s.add(&dane, h.DANE, phrase{"senders can rely on it here", "Absender können sich hier darauf stützen"}, phrase{"not in force", "nicht wirksam"})
	if len(dane.Answers) > 0 {
		out = append(out, dane)
	}
	if len(h.Servers) == 0 {
		out = append(out, row{phrase{"Address", "Adresse"}.in(s.l), []answer{{markNone, phrase{"none was looked at", "keine wurde geprüft"}.in(s.l)}}})
	}
	return out
}

// tlsaRecords lists the records, and which no sender can use.
func (s speaker) tlsaRecords(h *inbound.Host) (out []answer) {
	bad := markNo
	if slices.ContainsFunc(h.Records, func(t inbound.TLSARecord) bool { return t.Usable }) {
		bad = markNone // one is enough (RFC 7672 §3.1)
	}
	for i, t := range h.Records {
		if i == problemsKeep {
			return append(out, answer{markNone, s.more(len(h.Records) - problemsKeep)})
		}
		text := fmt.Sprintf("%d %d %d", t.Usage, t.Selector, t.MatchingType)
		if t.Usable {
			out = append(out, answer{markYes, text})
			continue
		}
		out = append(out, answer{bad, s.because(phrase{"%[1]s is not usable", "%[1]s ist nicht verwendbar"}.with(s.l, text), t.Why)})
	}
	return out
}

// serverRows is what belongs to one address.
func (s speaker) serverRows(h *inbound.Host, server *inbound.Server) []row {
	if !server.Reached.OK() {
		r := row{Name: phrase{"Connection", "Verbindung"}.in(s.l)}
		s.add(&r, check.Skip(server.Reached.Why), untestedWord, untestedWord)
		return []row{r}
	}
	start := row{Name: "STARTTLS"}
	s.add(&start, server.StartTLS, phrase{"offered", "angeboten"}, phrase{"not offered", "nicht angeboten"})
	if mandatory, ok := s.answerOf(server.Mandatory, phrase{"mandatory", "Pflicht"}, phrase{"optional: mail is taken unencrypted, too", "freiwillig: auch unverschlüsselte E-Mails werden angenommen"}); ok {
		if mandatory.Mark == markNo {
			mandatory = answer{markNone, phrase{"optional: mail is taken unencrypted, too", "freiwillig: auch unverschlüsselte E-Mails werden angenommen"}.in(s.l)}
		}
		start.Answers = append(start.Answers, mandatory)
	}
	out := []row{start}
	if tls := s.tlsRow(&server.Result); len(tls.Answers) > 0 {
		out = append(out, tls)
	}
	if c := server.Certificate; c != nil {
		out = append(out, s.certificateRow(c))
	}
	match := row{Name: phrase{"Matches TLSA", "Passt zu TLSA"}.in(s.l)}
	s.add(&match, server.DANE, phrase{"yes", "ja"}, phrase{"no", "nein"})
	if len(match.Answers) == 0 && len(h.Records) == 0 {
		match.Answers = []answer{{markNone, phrase{"there are no TLSA records", "es gibt keine TLSA-Einträge"}.in(s.l)}}
	}
	if len(match.Answers) > 0 {
		out = append(out, match)
	}
	odd := row{Name: phrase{"Also", "Außerdem"}.in(s.l)}
	for i, n := range server.Notes {
		if i == problemsKeep {
			odd.Answers = append(odd.Answers, answer{markNone, s.more(len(server.Notes) - problemsKeep)})
			break
		}
		odd.Answers = append(odd.Answers, answer{markNone, s.reason(n)})
	}
	if len(odd.Answers) > 0 {
		out = append(out, odd)
	}
	return out
}

// outdated reports whether no server should accept a version any more (RFC 8996).
func outdated(version string) bool {
	return version == probe.TLS11 || version == probe.TLS10 || version == probe.SSL3
}

// tlsRow lists the versions: those that are taken, those that should not be,
// and those of which nothing is known.
func (s speaker) tlsRow(p *probe.Result) row {
	out := row{Name: "TLS"}
	var refused, untested []string
	for _, v := range p.Versions {
		version := s.quote(v.Version, maxName)
		switch {
		case v.Accepted.OK() && outdated(v.Version):
			out.Answers = append(out.Answers, answer{markNo, phrase{"%[1]s is outdated and still taken", "%[1]s ist veraltet und wird noch angenommen"}.with(s.l, version)})
		case v.Accepted.OK():
			out.Answers = append(out.Answers, answer{markYes, version})
		case v.Accepted.Failed():
			refused = append(refused, version)
		case v.Accepted.Outcome == check.Untested:
			untested = append(untested, version)
		}
	}
	if len(refused) > 0 {
		out.Answers = append(out.Answers, answer{markNone, phrase{"not %[1]s", "nicht %[1]s"}.with(s.l, strings.Join(refused, ", "))})
	}
	if len(untested) > 0 {
		out.Answers = append(out.Answers, answer{markUntested, strings.Join(untested, ", ") + " " + untestedWord.in(s.l)})
	}
	s.add(&out, p.ForwardSecrecy, phrase{"forward secrecy", "Forward Secrecy"}, phrase{"not always forward secrecy", "nicht immer Forward Secrecy"})
	return out
}

// certificateRow says whether senders can trust a certificate, who issued it,
// and until when it is valid.
func (s speaker) certificateRow(c *probe.Certificate) row {
	out := row{Name: phrase{"Certificate", "Zertifikat"}.in(s.l)}
	s.add(&out, c.Trusted, phrase{"trusted", "vertrauenswürdig"}, phrase{"not trusted", "nicht vertrauenswürdig"})
	s.add(&out, c.Name, phrase{"for this name", "für diesen Namen"}, phrase{"not for this name", "nicht für diesen Namen"})
	until := ""
	if !c.NotAfter.IsZero() {
		until = " " + phrase{"until %[1]s", "bis %[1]s"}.with(s.l, c.NotAfter.UTC().Format(time.DateOnly))
	}
	if dates, ok := s.answerOf(c.Dates, phrase{"valid", "gültig"}, phrase{"not valid at this time", "zurzeit nicht gültig"}); ok {
		if dates.Mark == markYes {
			dates.Text += until
		}
		out.Answers = append(out.Answers, dates)
	}
	switch {
	case c.Root != "":
		out.Answers = append(out.Answers, answer{markNone, phrase{"root: %[1]s", "Wurzel: %[1]s"}.with(s.l, s.quote(c.Root, maxName))})
	case c.Issuer != "":
		out.Answers = append(out.Answers, answer{markNone, phrase{"issued by %[1]s", "ausgestellt von %[1]s"}.with(s.l, s.quote(c.Issuer, maxName))})
	}
	if c.Key != "" {
		out.Answers = append(out.Answers, answer{markNone, phrase{"key: %[1]s", "Schlüssel: %[1]s"}.with(s.l, s.quote(c.Key, maxName))})
	}
	return out
}

// A versionRow is the highest or the lowest version, of at least one server and
// of all of them.
type versionRow struct{ Name, One, All string }

// versions returns the highest and the lowest TLS version, each of the best and
// of the weakest server: an attacker may keep a sender from all but one.
func (s speaker) versions(a *inbound.Analysis) (out []versionRow, note string) {
	servers := 0
	for i := range a.Hosts {
		servers += len(a.Hosts[i].Servers)
	}
	v := a.TLSVersions()
	if v.Tested > 0 {
		out = append(out, versionRow{phrase{"Highest version", "Höchste Version"}.in(s.l), s.version(v.HighestOne), s.version(v.HighestAll)})
	}
	if v.TestedLowest > 0 {
		out = append(out, versionRow{phrase{"Lowest version", "Niedrigste Version"}.in(s.l), s.version(v.LowestOne), s.version(v.LowestAll)})
	}
	high, low := servers-v.Tested, servers-v.TestedLowest
	switch {
	case high+low == 0:
	case high == low:
		note = phrase{"Servers that could not be tested and do not count: %[1]d.", "Server, die nicht prüfbar waren und nicht zählen: %[1]d."}.with(s.l, high)
	default:
		note = phrase{
			"Servers whose highest version could not be tested: %[1]d, whose lowest: %[2]d. They do not count there.",
			"Server, deren höchste Version nicht prüfbar war: %[1]d, deren niedrigste: %[2]d. Sie zählen dort nicht.",
		}.with(s.l, high, low)
	}
	return out, note
}

func (s speaker) version(version string) string {
	if version == inbound.NoTLS {
		return phrase{"no encryption", "keine Verschlüsselung"}.in(s.l)
	}
	return version
}
