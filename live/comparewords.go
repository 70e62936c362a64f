package live

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

// summary says the verdict first, then how much else changed.
func (c comparer) summary(out Comparison) string {
	before, now := c.earlier, c.later
	var verdict phrase
	switch {
	case out.Trend == Same && out.Later.Policy == string(policyinfer.Mixed):
		verdict = phrase{
			"As before, the servers that send the mail of %[1]s do not all behave alike.",
			"Wie zuvor verhalten sich die Server, die E-Mails von %[1]s verschicken, nicht alle gleich.",
		}
	case out.Trend == Same:
		verdict = phrase{"The verdict about outbound mail of %[1]s is as before: %[2]s (%[3]s).", "Das Ergebnis zu ausgehenden E-Mails von %[1]s ist wie zuvor: %[2]s (%[3]s)."}
	case out.Trend == Better:
		verdict = phrase{"Outbound mail of %[1]s is better protected than before: %[2]s instead of %[4]s.", "Ausgehende E-Mails von %[1]s sind besser geschützt als zuvor: %[2]s statt %[4]s."}
	case out.Trend == Worse:
		verdict = phrase{"Outbound mail of %[1]s is less protected than before: %[2]s instead of %[4]s.", "Ausgehende E-Mails von %[1]s sind schlechter geschützt als zuvor: %[2]s statt %[4]s."}
	case out.Trend == Other:
		verdict = phrase{"Outbound mail of %[1]s is treated in another way than before: %[2]s instead of %[4]s.", "Ausgehende E-Mails von %[1]s werden anders behandelt als zuvor: %[2]s statt %[4]s."}
	case c.a.Verdict.Policy == policyinfer.Undetermined || c.b.Verdict.Policy == policyinfer.Undetermined:
		verdict = phrase{
			"Whether the protection of outbound mail of %[1]s has changed is not known: not both tests have a verdict (before %[4]s, now %[2]s).",
			"Ob sich der Schutz ausgehender E-Mails von %[1]s geändert hat, ist nicht bekannt: Nicht beide Tests haben ein Ergebnis (vorher %[4]s, jetzt %[2]s).",
		}
	case c.running():
		verdict = phrase{
			"Whether the protection of outbound mail of %[1]s has changed can be said once both tests are over (before %[4]s, now %[2]s).",
			"Ob sich der Schutz ausgehender E-Mails von %[1]s geändert hat, lässt sich sagen, sobald beide Tests zu Ende sind (vorher %[4]s, jetzt %[2]s).",
		}
	default:
		verdict = phrase{
			"The verdict about outbound mail of %[1]s is %[2]s, before it was %[4]s. Two versions of the test came to these, so they can’t be compared.",
			"Das Ergebnis zu ausgehenden E-Mails von %[1]s ist %[2]s, vorher war es %[4]s. Es stammt von zwei Versionen des Tests und ist deshalb nicht vergleichbar.",
		}
	}
	return sentences(verdict.with(c.l, now.Domain, now.Policy, now.Grade, before.Policy), c.rest(out.Changes))
}

// rest says what changed besides the verdict.
func (c comparer) rest(changes []Change) string {
	count := func(t Trend) (n int) {
		for _, change := range changes {
			if change.Area != AreaPolicy && change.Trend == t {
				n++
			}
		}
		return n
	}
	better, worse := count(Better), count(Worse)
	other := count(Other) + count(Unknown)
	switch {
	case better+worse+other == 0:
		return phrase{"No other difference was seen.", "Ein weiterer Unterschied war nicht zu sehen."}.in(c.l)
	case better+worse == 0:
		return phrase{"Details that changed: %[1]d.", "Veränderte Einzelheiten: %[1]d."}.with(c.l, other)
	}
	return phrase{
		"Of the details, %[1]d are better, %[2]d worse, and %[3]d changed otherwise.",
		"Von den Einzelheiten sind %[1]d besser, %[2]d schlechter und %[3]d sonst verändert.",
	}.with(c.l, better, worse, other)
}

// cautions say why less follows from a difference.
func (c comparer) cautions() (out []string) {
	add := func(p phrase, args ...any) { out = append(out, p.with(c.l, args...)) }
	if c.a.Test.ID == c.b.Test.ID && c.a.Test.ID != "" {
		add(phrase{"Both are the same test.", "Beides ist derselbe Test."})
	}
	if c.a.Engine != c.b.Engine {
		add(phrase{
			"The tests were judged by different versions of the rules (%[1]s, then %[2]s). A difference may come from that.",
			"Die Tests wurden nach verschiedenen Fassungen der Regeln ausgewertet (%[1]s, dann %[2]s). Unterschiede können daher rühren.",
		}, report.Clean(c.a.Engine, c.a.Service, maxName), report.Clean(c.b.Engine, c.b.Service, maxName))
	}
	for _, side := range []struct {
		in   report.Input
		open phrase
	}{
		{c.a, phrase{"The earlier test is still running; what it says is preliminary.", "Der frühere Test läuft noch; was er sagt, ist vorläufig."}},
		{c.b, phrase{"The later test is still running; what it says is preliminary.", "Der spätere Test läuft noch; was er sagt, ist vorläufig."}},
	} {
		if side.in.State == report.StateRunning {
			add(side.open)
		}
	}
	if c.a.Service != c.b.Service {
		add(phrase{"The tests were made by different services.", "Die Tests stammen von verschiedenen Diensten."})
	}
	if !c.bothInbound() && (c.a.Inbound != nil || c.b.Inbound != nil) {
		add(phrase{
			"How the domain receives mail was looked at in one of the tests only, so that is not compared.",
			"Wie die Domain E-Mails empfängt, wurde nur in einem der Tests geprüft; das wird deshalb nicht verglichen.",
		})
	}
	return out
}

// findings lists those that came and went.
func (c comparer) findings() (out []Change) {
	for i, f := range c.b.Verdict.Findings {
		if !has(c.a.Verdict, f.ID) && i < maxFindings {
			text := c.later.Findings[i]
			out = append(out, Change{
				Area: AreaFinding, ID: report.Clean(f.ID, c.b.Service, maxName), Trend: Other, Name: phrase{"New finding", "Neue Auffälligkeit"}.in(c.l), Later: text,
				Text: phrase{"New: %[1]s", "Neu: %[1]s"}.with(c.l, text),
			})
		}
	}
	for i, f := range c.a.Verdict.Findings {
		if !has(c.b.Verdict, f.ID) && i < maxFindings {
			text := c.earlier.Findings[i]
			out = append(out, Change{
				Area: AreaFinding, ID: report.Clean(f.ID, c.a.Service, maxName), Trend: Other, Name: phrase{"No longer found", "Nicht mehr aufgefallen"}.in(c.l), Earlier: text,
				Text: phrase{"No longer found: %[1]s", "Nicht mehr aufgefallen: %[1]s"}.with(c.l, text),
			})
		}
	}
	return out
}

func has(v policyinfer.Verdict, id string) bool {
	return slices.ContainsFunc(v.Findings, func(f policyinfer.Finding) bool { return f.ID == id })
}

// hosts compares who sent the mails, and what each of them did where they
// differ.
func (c comparer) hosts() (out []Change) {
	before, now := hostsOf(c.a), hostsOf(c.b)
	gone := slices.DeleteFunc(slices.Clone(before), func(h string) bool { return slices.Contains(now, h) })
	added := slices.DeleteFunc(slices.Clone(now), func(h string) bool { return slices.Contains(before, h) })
	if len(gone)+len(added) > 0 && len(before) > 0 && len(now) > 0 {
		out = append(out, c.change(AreaHost, "hosts", Other, phrase{"Sending hosts", "Sendende Server"}.in(c.l), some(before), some(now)))
	}
	for _, host := range now {
		a, inA := c.a.Verdict.Hosts[host]
		b, inB := c.b.Verdict.Hosts[host]
		if inA && inB && a.Policy != b.Policy {
			out = append(out, c.change(AreaHost, host, Other, host, report.Clean(string(a.Policy), c.a.Service, maxName), report.Clean(string(b.Policy), c.b.Service, maxName)))
		}
	}
	return out
}

// hostsOf lists the addresses that handed over mail of the test.
func hostsOf(in report.Input) (out []string) {
	for i := range in.History.Connections {
		c := &in.History.Connections[i]
		if len(c.Transactions) == 0 && !c.Data {
			continue
		}
		if a, err := netip.ParseAddr(report.Host(c, in.Service)); err == nil {
			out = append(out, a.Unmap().String())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// some names the first of a list.
func some(list []string) string {
	if len(list) <= maxHostsTold {
		return strings.Join(list, ", ")
	}
	return strings.Join(list[:maxHostsTold], ", ") + fmt.Sprintf(", … (%d)", len(list))
}

// unmet lists the requirements of which one test found something that does not
// meet them, and the other did not. That may also be since a requirement arises
// only once another is met, so neither is better.
func (c comparer) unmet() (out []Change) {
	before, now := report.Unmet(c.a), report.Unmet(c.b)
	missing := func(f report.Fact, in []report.Fact) bool {
		return !slices.ContainsFunc(in, func(other report.Fact) bool { return other.ID == f.ID })
	}
	state := phrase{"not met", "nicht erfüllt"}.in(c.l)
	for _, f := range now {
		if missing(f, before) {
			out = append(out, Change{
				Area: AreaInbound, ID: f.ID, Trend: Other, Name: f.Name, Later: state,
				Text: phrase{"Not met, unlike before: %[1]s.", "Anders als zuvor nicht erfüllt: %[1]s."}.with(c.l, f.Name),
			})
		}
	}
	for _, f := range before {
		if missing(f, now) {
			out = append(out, Change{
				Area: AreaInbound, ID: f.ID, Trend: Other, Name: f.Name, Earlier: state,
				Text: phrase{"No longer among what is not met: %[1]s.", "Nicht mehr unter dem, was nicht erfüllt ist: %[1]s."}.with(c.l, f.Name),
			})
		}
	}
	return out
}

// Text is the comparison as plain text, for terminals and mails.
func (c Comparison) Text() string {
	l := report.Language(c.Language)
	var b strings.Builder
	fmt.Fprintln(&b, c.Summary)
	fmt.Fprintln(&b)
	for _, side := range []struct {
		name phrase
		Side
	}{{phrase{"before", "vorher"}, c.Earlier}, {phrase{"now", "jetzt"}, c.Later}} {
		fmt.Fprintf(&b, "%-8s %s UTC  %s (%s)", side.name.in(l), side.Started.Format(time.DateTime), side.Policy, side.Grade)
		if len(side.Candidates) > 0 && len(side.Candidates) < len(policyinfer.Names()) {
			fmt.Fprintf(&b, ": %s", strings.Join(side.Candidates, ", "))
		}
		fmt.Fprintln(&b)
	}
	for _, caution := range c.Cautions {
		fmt.Fprintf(&b, "\n! %s\n", caution)
	}
	signs := map[Trend]string{Better: "+", Worse: "-", Other: "*", Unknown: "?", Same: "="}
	for i, change := range c.Changes {
		if i == 0 {
			fmt.Fprintln(&b)
		}
		fmt.Fprintf(&b, "%s %s\n", signs[change.Trend], change.Text)
	}
	if len(c.Changes) > 0 {
		fmt.Fprintf(&b, "\n%s\n", phrase{
			"+ better   - worse   * neither   ? can’t be compared",
			"+ besser   - schlechter   * weder noch   ? nicht vergleichbar",
		}.in(l))
	}
	return b.String()
}
