package report

import (
	"slices"
	"strings"

	"github.com/tlsink/tlsink/rating"
)

// standardWords is what the report says about one standard: what it means for
// mail to the reader when it is met, is not, or could not be tested, and its
// rule for admins.
type standardWords struct {
	id                string
	name              phrase
	yes, no, untested phrase
	rule              phrase
}

var standards = [...]standardWords{
	{
		rating.TLS,
		phrase{"Encryption", "Verschlüsselung"},
		phrase{"Every server of yours offers encryption that is up to date.", "Jeder Ihrer Server bietet zeitgemäße Verschlüsselung an."},
		phrase{"Not every server of yours offers encryption that is up to date.", "Nicht jeder Ihrer Server bietet zeitgemäße Verschlüsselung an."},
		phrase{"Whether every server of yours offers encryption could not be tested.", "Ob jeder Ihrer Server Verschlüsselung anbietet, war nicht prüfbar."},
		phrase{"Every server offers STARTTLS with TLS 1.2 or 1.3.", "Jeder Server bietet STARTTLS mit TLS 1.2 oder 1.3 an."},
	},
	{
		rating.DANE,
		phrase{"SMTP-DANE", "SMTP-DANE"},
		phrase{"Senders that use DANE send to you only encrypted, and only to your own servers.", "Absender mit DANE senden an Sie nur verschlüsselt und nur an Ihre eigenen Server."},
		phrase{"Senders that use DANE cannot rely on it for mail to you.", "Absender mit DANE können sich bei E-Mails an Sie nicht darauf stützen."},
		phrase{"Whether DANE protects mail to you could not be tested.", "Ob DANE E-Mails an Sie schützt, war nicht prüfbar."},
		phrase{
			"RFC 7672: the MX, address and TLSA records of every host are secured by DNSSEC, and the certificate of every server matches a usable TLSA record.",
			"RFC 7672: MX-Einträge, Adressen und TLSA-Einträge aller Mailserver sind durch DNSSEC gesichert, und das Zertifikat jedes Servers passt zu einem verwendbaren TLSA-Eintrag.",
		},
	},
	{
		rating.MTASTS,
		phrase{"MTA-STS", "MTA-STS"},
		phrase{"Senders that use MTA-STS send to you only encrypted, and only to servers that you name.", "Absender mit MTA-STS senden an Sie nur verschlüsselt und nur an Server, die Sie nennen."},
		phrase{"Senders that use MTA-STS cannot rely on it for mail to you.", "Absender mit MTA-STS können sich bei E-Mails an Sie nicht darauf stützen."},
		phrase{"Whether MTA-STS protects mail to you could not be tested.", "Ob MTA-STS E-Mails an Sie schützt, war nicht prüfbar."},
		phrase{
			"RFC 8461: a record and a policy in mode enforce, that lists every MX host, and every server has a certificate of a public CA for its name.",
			"RFC 8461: ein Eintrag und eine Richtlinie im Modus enforce, die jeden Mailserver aufführt, und jeder Server hat ein Zertifikat einer öffentlichen Zertifizierungsstelle auf seinen Namen.",
		},
	},
	{
		rating.Qualified,
		phrase{"Qualified transport encryption", "Qualifizierte Transportverschlüsselung"},
		phrase{"Your servers take mail only encrypted, as German data protection authorities recommend for confidential data.", "Ihre Server nehmen E-Mails nur verschlüsselt an, wie es die deutschen Datenschutzbehörden für vertrauliche Daten empfehlen."},
		phrase{"What German data protection authorities recommend for confidential data is not met.", "Was die deutschen Datenschutzbehörden für vertrauliche Daten empfehlen, ist nicht erfüllt."},
		phrase{"Whether the recommendation of German data protection authorities for confidential data is met could not be tested.", "Ob die Empfehlung der deutschen Datenschutzbehörden für vertrauliche Daten erfüllt ist, war nicht prüfbar."},
		phrase{
			"Orientierungshilfe of the German Datenschutzkonferenz: encryption is mandatory, with TLS 1.2 and forward secrecy or TLS 1.3; DNSSEC; and either DANE or certificates of public CAs.",
			"Orientierungshilfe der Datenschutzkonferenz: Verschlüsselung ist Pflicht, mit TLS 1.2 und Perfect Forward Secrecy oder TLS 1.3; DNSSEC; dazu entweder DANE oder Zertifikate öffentlicher Zertifizierungsstellen.",
		},
	},
}

type openRequirement struct {
	rating.Open
	subjects []string
}

// joined joins the subjects of which the same is open, for the same reason. Their
// order is that of the first of them.
func joined(open []rating.Open) (out []openRequirement) {
	for _, o := range open {
		same := func(r openRequirement) bool { return r.ID == o.ID && r.Outcome == o.Outcome && r.Why == o.Why }
		if i := slices.IndexFunc(out, same); i >= 0 {
			out[i].subjects = append(out[i].subjects, o.Subject)
			continue
		}
		out = append(out, openRequirement{o, []string{o.Subject}})
	}
	return out
}

// open puts an open requirement into words.
func (s speaker) open(o openRequirement) answer {
	var subjects []string
	for _, name := range o.subjects {
		if name != "" {
			subjects = append(subjects, s.quote(name, maxName))
		}
	}
	text := requirementText(s.l, o.ID)
	if len(subjects) > 0 {
		text = strings.Join(s.atMost(subjects, openKeep), ", ") + ": " + text
	}
	a := answer{markNo, s.because(text, o.Why)}
	if o.Outcome != "no" {
		a.Mark = markUntested
		if o.Why == "" {
			a.Text += " – " + untestedWord.in(s.l)
		}
	}
	return a
}
