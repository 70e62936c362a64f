package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/rating"
)

// levels of the part about receiving that have colours of their own.
const (
	levelWhite  level = "white"
	levelYellow level = "yellow"
)

// Limits of what is shown of an analysis.
const (
	cardsKeep    = 6  // groups of servers that are alike
	membersKeep  = 16 // servers of such a group
	problemsKeep = 6  // problems of one record
	openKeep     = 6  // open requirements of one rating
	networksKeep = 12
	stars        = 5
)

// An inboundView is what the report says about mail to the sender's domain.
type inboundView struct {
	Domain     string
	Level      level
	Class      string
	Lay, Admin string
	Alarm      string // mail that may not arrive
	Standards  []rated
	Scores     []score
	ScoreRule  string
	Rules      []ruleGroup // of all grades, for the page

	Cards    []card
	Unshown  string // servers that are not shown
	Versions []versionRow
	Faults   []string // what about the route breaks a rule
	Note     string   // about the versions
	Records  []record
	Networks []string
	LeftOut  []string
	Looked   string // when
}

// rated is one standard: a sentence for everybody, and for admins its rule and
// what is open.
type rated struct {
	Mark mark
	Name string
	Lay  string
	Rule string
	Open []answer
}

// score is one of MECSA's three.
type score struct {
	Name    string
	Stars   string // as signs
	Value   string // in words
	Note    string // what counted
	Partial string
}

// inboundOf returns what is known about receiving. Without an analysis it only
// says why, and with nothing to say it is nil.
func inboundOf(in Input) *inboundView {
	s := speaker{in.Language, in.Service}
	if in.Inbound == nil {
		if p, ok := missingText(in.InboundMissing); ok {
			return &inboundView{Level: levelOpen, Class: phrase{"not looked at", "nicht geprüft"}.in(s.l), Lay: p.in(s.l)}
		}
		return nil
	}
	a := in.Inbound
	r := rating.Ratings{Class: rating.Grey}
	if in.Ratings != nil {
		r = *in.Ratings
	}
	v := &inboundView{
		Domain: s.quote(a.Domain, maxName), Level: levelOfClass(r.Class), Class: classText(a, r.Class).in(s.l),
		Lay: layOfClass(a, r).in(s.l), Admin: s.adminOf(a),
		Records: s.records(a), Networks: s.networks(a),
		Looked: phrase{"Tested from %[1]s to %[2]s UTC.", "Geprüft von %[1]s bis %[2]s UTC."}.with(s.l, stamp(a.Started), stamp(a.Ended)),
	}
	v.Alarm = receiverOf(in).alarm()
	if n := len(r.LeftOut); n > 0 {
		v.Lay += " " + phrase{
			"Addresses of servers that could not be tested, and do not count here: %[1]d.",
			"Adressen von Servern, die nicht prüfbar waren und hier nicht zählen: %[1]d.",
		}.with(s.l, n)
	}
	v.Cards, v.Unshown = s.cards(a)
	v.Versions, v.Note = s.versions(a)
	if receives := a.Route != inbound.RouteNull && a.Route != inbound.RouteNone; receives {
		for _, words := range standards { // in the order of the report
			for _, st := range r.Standards {
				if text, ok := s.rated(st, words); ok {
					v.Standards = append(v.Standards, text)
				}
			}
		}
		for _, sc := range r.MECSA {
			v.Scores = append(v.Scores, s.score(sc))
		}
	}
	if len(v.Scores) > 0 {
		v.ScoreRule = phrase{
			"Stars after the rules of MECSA (Joint Research Centre of the European Commission): a mechanism counts if at least 80 % of its tests succeed, and TLS counts for receiving and sending together. What could not be reached is left out.",
			"Sterne nach den Regeln von MECSA (Gemeinsame Forschungsstelle der Europäischen Kommission): Ein Verfahren zählt, wenn mindestens 80 % seiner Prüfungen gelingen; TLS zählt für Empfang und Versand zusammen. Was nicht erreichbar war, bleibt außer Betracht.",
		}.in(s.l)
	}
	v.Rules = s.rules()
	v.LeftOut = s.problems(a.LeftOut)
	for _, f := range a.Faults {
		v.Faults = append(v.Faults, s.quote(f.Subject, maxName)+": "+s.reason(f.Text))
	}
	v.Faults = s.atMost(v.Faults, problemsKeep)
	return v
}

// missingText says why there is no analysis.
func missingText(m Missing) (p phrase, ok bool) {
	switch m {
	case SwitchedOff:
		return phrase{
			"This service does not look at how domains receive mail.",
			"Dieser Dienst prüft nicht, wie Domains E-Mails empfangen.",
		}, true
	case Later:
		return phrase{
			"Your domain is looked at once the test has a verdict.",
			"Ihre Domain wird geprüft, sobald der Test ein Ergebnis hat.",
		}, true
	case NotReady:
		return phrase{
			"Your domain is still being looked at; the result page will show it.",
			"Ihre Domain wird noch geprüft; die Ergebnisseite wird es zeigen.",
		}, true
	case NotAuthenticated:
		return phrase{
			"Your domain was not looked at: that happens only where a report may be mailed to the sender.",
			"Ihre Domain wurde nicht geprüft: Das geschieht nur, wenn dem Absender ein Bericht geschickt werden darf.",
		}, true
	case NotPossible:
		return phrase{
			"Your domain could not be looked at. That says nothing about its protection.",
			"Ihre Domain konnte nicht geprüft werden. Über ihren Schutz sagt das nichts.",
		}, true
	}
	return phrase{}, false
}

func levelOfClass(c rating.Class) level {
	switch c {
	case rating.Green:
		return levelGood
	case rating.White:
		return levelWhite
	case rating.Yellow:
		return levelYellow
	case rating.Red:
		return levelBad
	}
	return levelOpen
}

// classText names the colour, and what it stands for here.
func classText(a *inbound.Analysis, c rating.Class) phrase {
	switch c {
	case rating.Green:
		return phrase{"protected (green)", "geschützt (grün)"}
	case rating.White:
		return phrase{"encrypted, with valid certificates (white)", "verschlüsselt, mit gültigen Zertifikaten (weiß)"}
	case rating.Yellow:
		return phrase{"encrypted, without trusted certificates (yellow)", "verschlüsselt, ohne vertrauenswürdige Zertifikate (gelb)"}
	case rating.Red:
		return phrase{"not encrypted (red)", "nicht verschlüsselt (rot)"}
	}
	if a.Route == inbound.RouteNull || a.Route == inbound.RouteNone {
		return phrase{"takes no mail (grey)", "nimmt keine E-Mails an (grau)"}
	}
	return phrase{"could not be tested (grey)", "nicht prüfbar (grau)"}
}

// layOfClass is the one sentence about mail that the domain receives.
func layOfClass(a *inbound.Analysis, r rating.Ratings) phrase {
	switch a.Route {
	case inbound.RouteNull:
		return phrase{
			"Your domain declares that it takes no mail. There is nothing to protect, and nothing to do.",
			"Ihre Domain erklärt, dass sie keine E-Mails annimmt. Es gibt nichts zu schützen und nichts zu tun.",
		}
	case inbound.RouteNone:
		return phrase{
			"No mail server was found for your domain: mail to it can't be delivered.",
			"Für Ihre Domain wurde kein Mailserver gefunden: E-Mails an sie sind nicht zustellbar.",
		}
	}
	switch r.Class {
	case rating.Green:
		return layOfGreen(r)
	case rating.White:
		return layOfWhite(a, r)
	case rating.Yellow:
		return phrase{
			"Mail to you is encrypted, but not every server of yours can show senders who it is. An attacker who poses as your server gets the mail.",
			"E-Mails an Sie werden verschlüsselt, aber nicht jeder Ihrer Server kann sich gegenüber Absendern ausweisen. Wer sich als Ihr Server ausgibt, erhält die E-Mail.",
		}
	case rating.Red:
		return phrase{
			"Mail to you can arrive unencrypted: not every server of yours offers encryption. Anyone on the way can read and change it.",
			"E-Mails an Sie können unverschlüsselt ankommen: Nicht jeder Ihrer Server bietet Verschlüsselung an. Jeder unterwegs kann sie lesen und verändern.",
		}
	}
	if a.MX.Status == dnssec.Bogus {
		return phrase{
			"Many senders can't deliver mail to you: DNSSEC finds the records that say where your mail goes forged or damaged, and senders that check them keep the mail.",
			"Viele Absender können Ihnen keine E-Mails zustellen: DNSSEC hält die Einträge, die sagen, wohin Ihre E-Mails gehen, für gefälscht oder beschädigt, und Absender, die das prüfen, behalten die E-Mail.",
		}
	}
	return phrase{
		"Whether mail to you is protected could not be tested. That is no failure of your servers.",
		"Ob E-Mails an Sie geschützt sind, war nicht prüfbar. Das ist kein Fehler Ihrer Server.",
	}
}

func layOfGreen(r rating.Ratings) phrase {
	if r.Standard(rating.DANE).Met.OK() {
		return phrase{
			"Mail to you can be protected: your servers encrypt, and senders that use DANE make sure that it reaches them and nobody else.",
			"E-Mails an Sie können geschützt ankommen: Ihre Server verschlüsseln, und Absender mit DANE stellen sicher, dass keine E-Mail anderswo ankommt.",
		}
	}
	return phrase{
		"Mail to you is protected: your servers take it only encrypted, and show senders that they are the right ones.",
		"E-Mails an Sie sind geschützt: Ihre Server nehmen sie nur verschlüsselt an und weisen sich gegenüber Absendern aus.",
	}
}

func layOfWhite(a *inbound.Analysis, r rating.Ratings) phrase {
	if a.DANERefuses() {
		return phrase{
			"Mail to you is encrypted, and your servers have valid certificates; but senders that use DANE can't deliver to a server of yours, since its certificate does not match what you publish.",
			"E-Mails an Sie werden verschlüsselt, und Ihre Server haben gültige Zertifikate; Absender mit DANE können an einen Ihrer Server aber nicht zustellen, weil sein Zertifikat nicht zu dem passt, was Sie veröffentlichen.",
		}
	}
	if r.Standard(rating.MTASTS).Met.OK() {
		return phrase{
			"Mail to you is encrypted, and senders that use MTA-STS insist on it and check that they reach your servers. Other senders can still be made to send unencrypted.",
			"E-Mails an Sie werden verschlüsselt, und Absender mit MTA-STS bestehen darauf und prüfen, dass sie Ihre Server erreichen. Andere Absender lassen sich noch immer zum unverschlüsselten Senden bringen.",
		}
	}
	if r.Standard(rating.DANE).Met.Outcome == check.Untested || r.Standard(rating.MTASTS).Met.Outcome == check.Untested {
		return phrase{
			"Mail to you is encrypted, and your servers have valid certificates. Whether senders can insist on that could not be tested completely.",
			"E-Mails an Sie werden verschlüsselt, und Ihre Server haben gültige Zertifikate. Ob Absender darauf bestehen können, war nicht vollständig prüfbar.",
		}
	}
	if publishes(a) {
		return phrase{
			"Mail to you is encrypted, but what you publish so that senders insist on it is not complete. An attacker on the way can still switch the encryption off for some of your mail.",
			"E-Mails an Sie werden verschlüsselt, aber was Sie veröffentlichen, damit Absender darauf bestehen, ist unvollständig. Ein Angreifer unterwegs kann die Verschlüsselung für einen Teil Ihrer E-Mails noch immer abschalten.",
		}
	}
	return phrase{
		"Mail to you is encrypted as long as nobody interferes. Nothing tells senders to insist on it, so an attacker on the way can switch the encryption off.",
		"E-Mails an Sie werden verschlüsselt, solange niemand eingreift. Nichts sagt den Absendern, dass sie darauf bestehen sollen; ein Angreifer unterwegs kann die Verschlüsselung abschalten.",
	}
}

// publishes reports whether there is something that some senders act upon: a
// policy that is enforced, or TLSA records, if only unusable ones (RFC 7672 §2.2).
func publishes(a *inbound.Analysis) bool {
	return a.MTASTS.Enforced() || slices.ContainsFunc(a.Hosts, func(h inbound.Host) bool {
		return a.MX.Status == dnssec.Secure && h.TLSA.Status == dnssec.Secure && h.TLSA.Count > 0
	})
}

// adminOf is the line for admins: what the domain is, in numbers.
func (s speaker) adminOf(a *inbound.Analysis) string {
	switch a.Route {
	case inbound.RouteNull:
		return phrase{"%[1]s has a null MX record (RFC 7505).", "%[1]s hat einen Null-MX-Eintrag (RFC 7505)."}.with(s.l, s.quote(a.Domain, maxName))
	case inbound.RouteNone:
		return s.because(phrase{"%[1]s has neither MX nor address records", "%[1]s hat weder MX- noch Adresseinträge"}.with(s.l, s.quote(a.Domain, maxName)), a.Why)
	case inbound.RouteUnknown:
		return s.because(phrase{"The MX records of %[1]s could not be looked up", "Die MX-Einträge von %[1]s konnten nicht abgefragt werden"}.with(s.l, s.quote(a.Domain, maxName)), a.Why)
	}
	servers, reached := 0, 0
	for i := range a.Hosts {
		for j := range a.Hosts[i].Servers {
			servers++
			if a.Hosts[i].Servers[j].Reached.OK() {
				reached++
			}
		}
	}
	text := phrase{
		"%[1]s: MX hosts: %[2]d, addresses: %[3]d, of which could be tested: %[4]d.",
		"%[1]s: MX-Hosts: %[2]d, Adressen: %[3]d, davon prüfbar: %[4]d.",
	}
	if a.Route == inbound.RouteImplicit {
		text = phrase{
			"%[1]s has no MX record and receives mail itself: hosts: %[2]d, addresses: %[3]d, of which could be tested: %[4]d.",
			"%[1]s hat keinen MX-Eintrag und empfängt E-Mails selbst: Hosts: %[2]d, Adressen: %[3]d, davon prüfbar: %[4]d.",
		}
	}
	return text.with(s.l, s.quote(a.Domain, maxName), len(a.Hosts), servers, reached)
}

// rated puts one standard into words; ok is false if these are not its words,
// or it does not apply.
func (s speaker) rated(st rating.Standard, words standardWords) (out rated, ok bool) {
	if words.id != st.ID {
		return rated{}, false
	}
	out = rated{Name: words.name.in(s.l), Rule: words.rule.in(s.l)}
	switch st.Met.Outcome {
	case check.Yes:
		out.Mark, out.Lay = markYes, words.yes.in(s.l)
	case check.No:
		out.Mark, out.Lay = markNo, words.no.in(s.l)
	case check.Untested:
		out.Mark, out.Lay = markUntested, words.untested.in(s.l)
	default:
		return rated{}, false
	}
	open := joined(st.Open)
	for i, o := range open {
		if i == openKeep {
			out.Open = append(out.Open, answer{markNone, s.more(len(open) - openKeep)})
			break
		}
		out.Open = append(out.Open, s.open(o))
	}
	return out, true
}

// score writes stars as signs and in words.
func (s speaker) score(sc rating.Score) score {
	half := min(max(sc.HalfStars, 0), 2*stars)
	value := fmt.Sprint(half / 2)
	if half%2 == 1 {
		value = phrase{"%[1]d.5", "%[1]d,5"}.with(s.l, half/2)
	}
	signs := strings.Repeat("★", half/2)
	if half%2 == 1 {
		signs += "½"
	}
	signs += strings.Repeat("☆", stars-half/2-half%2)
	text := phrase{"%[1]s of %[2]d stars", "%[1]s von %[2]d Sternen"}
	if sc.Partial {
		text = phrase{"at least %[1]s of %[2]d stars", "mindestens %[1]s von %[2]d Sternen"}
	}
	out := score{
		Name: scoreName(s.l, sc.ID), Stars: signs,
		Value: text.with(s.l, value, stars),
	}
	if sc.Partial && half == 0 { // no stars is not what was found out
		out.Stars, out.Value = markUntested.Sign(), untestedWord.in(s.l)
	}
	var names []string
	for _, m := range sc.Mechanisms {
		names = append(names, mechanismName(s.l, m))
	}
	if len(names) > 0 {
		out.Note = phrase{"What counts: %[1]s.", "Es zählen: %[1]s."}.with(s.l, strings.Join(s.atMost(names, openKeep*2), ", "))
	} else {
		out.Note = phrase{"Nothing counts.", "Es zählt nichts."}.in(s.l)
	}
	if sc.Partial {
		out.Partial = phrase{
			"Something that counts could not be tested.",
			"Etwas, das zählt, war nicht prüfbar.",
		}.in(s.l)
	}
	return out
}

// more says how many of a list are not shown.
func (s speaker) more(n int) string {
	return phrase{"and %[1]d more", "und %[1]d weitere"}.with(s.l, n)
}

// atMost cuts a list, and says so.
func (s speaker) atMost(list []string, n int) []string {
	if len(list) <= n {
		return list
	}
	return append(list[:n:n], s.more(len(list)-n))
}
