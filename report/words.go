package report

import (
	"slices"
	"strings"

	"github.com/tlsink/tlsink/policyinfer"
)

// level grades a verdict for people; it is always shown with its word, never
// by colour alone.
type level string

const (
	levelGood level = "good"
	levelFair level = "fair"
	levelWeak level = "weak"
	levelBad  level = "bad"
	levelOpen level = "open"
)

// words is what the report says about one verdict. {candidates} and {zone} are
// replaced.
type words struct {
	key   string // policy name, for undetermined with the case
	level level
	lay   phrase // for everybody
	admin phrase // for the admin, in Postfix terms
}

// The cases of an undetermined verdict.
const (
	caseCandidates    = "undetermined"
	caseProtected     = "undetermined: protected"
	caseNothing       = "undetermined: nothing seen"
	caseEarly         = "undetermined: early"
	caseOptedOut      = "undetermined: " + policyinfer.FindingOptedOut
	caseRequireTLS    = "undetermined: " + policyinfer.FindingRequireTLS
	caseUnverifiable  = "undetermined: " + policyinfer.FindingUnverifiable
	caseBroken        = "undetermined: " + policyinfer.FindingBroken
	caseContradictory = "undetermined: " + policyinfer.FindingContradictory
)

// table holds every sentence about a verdict, from the weakest policy to the
// strongest, then what is no policy.
var table = [...]words{
	{
		"none", levelBad,
		phrase{
			"Your provider sends mail without encryption, even to servers that offer it. Anyone on the way can read and change it.",
			"Ihr Anbieter verschickt E-Mails unverschlüsselt, selbst an Server, die Verschlüsselung anbieten. Jeder auf dem Weg kann sie lesen und verändern.",
		},
		phrase{
			"Policy none (Postfix: smtp_tls_security_level = none or empty): STARTTLS is never used.",
			"Stufe none (Postfix: smtp_tls_security_level = none oder leer): STARTTLS wird nie verwendet.",
		},
	},
	{
		"may", levelWeak,
		phrase{
			"Your provider encrypts mail only if nobody interferes. An attacker on the way can switch the encryption off without anyone noticing.",
			"Ihr Anbieter verschlüsselt E-Mails nur, solange niemand eingreift. Ein Angreifer auf dem Weg kann die Verschlüsselung abschalten, ohne dass es jemand bemerkt.",
		},
		phrase{
			"Policy may (Postfix: smtp_tls_security_level = may): opportunistic TLS. Without STARTTLS the mail goes out in plaintext, and neither TLSA records nor an MTA-STS policy change that.",
			"Stufe may (Postfix: smtp_tls_security_level = may): opportunistisches TLS. Ohne STARTTLS geht die E-Mail im Klartext hinaus; daran ändern weder TLSA-Einträge noch eine MTA-STS-Richtlinie etwas.",
		},
	},
	{
		"encrypt", levelFair,
		phrase{
			"Your provider never sends mail unencrypted, but does not check who receives it. An attacker who poses as the receiving server gets the mail.",
			"Ihr Anbieter verschickt E-Mails nie unverschlüsselt, prüft aber nicht, wer sie empfängt. Ein Angreifer, der sich als der empfangende Server ausgibt, erhält die E-Mail.",
		},
		phrase{
			"Policy encrypt (Postfix: smtp_tls_security_level = encrypt): TLS is required, certificates and TLSA records are not checked.",
			"Stufe encrypt (Postfix: smtp_tls_security_level = encrypt): TLS ist Pflicht, Zertifikate und TLSA-Einträge werden nicht geprüft.",
		},
	},
	{
		"verify", levelFair,
		phrase{
			"Your provider sends mail only encrypted, and only to servers that a public certificate authority vouches for. That keeps most attackers out, but also some honest servers.",
			"Ihr Anbieter verschickt E-Mails nur verschlüsselt und nur an Server, für die eine öffentliche Zertifizierungsstelle bürgt. Das hält die meisten Angreifer ab, aber auch manche redlichen Server.",
		},
		phrase{
			"Policy verify (Postfix: smtp_tls_security_level = verify): TLS and a certificate of a public CA are required; TLSA records are not used. Stricter levels such as secure look the same here and are reported as verify.",
			"Stufe verify (Postfix: smtp_tls_security_level = verify): TLS und das Zertifikat einer öffentlichen Zertifizierungsstelle sind Pflicht; TLSA-Einträge werden nicht verwendet. Strengere Stufen wie secure sehen hier genauso aus und werden als verify gemeldet.",
		},
	},
	{
		"mta-sts", levelGood,
		phrase{
			"Your provider protects mail to domains that ask for it by MTA-STS: it goes out encrypted, and only to the right server.",
			"Ihr Anbieter schützt E-Mails an Domains, die das per MTA-STS verlangen: Sie gehen verschlüsselt hinaus und nur an den richtigen Server.",
		},
		phrase{
			"Policy mta-sts (no Postfix level; there, a policy map such as postfix-mta-sts-resolver): the MTA-STS policy of the receiver is enforced (RFC 8461). TLSA records are not enforced.",
			"Stufe mta-sts (keine Stufe von Postfix; dort übernimmt das eine Policy-Map wie postfix-mta-sts-resolver): Die MTA-STS-Richtlinie des Empfängers wird durchgesetzt (RFC 8461), TLSA-Einträge werden es nicht.",
		},
	},
	{
		"dane", levelGood,
		phrase{
			"Your provider protects mail to domains that ask for it by DANE: it goes out encrypted, and only to the right server, even while an attacker interferes.",
			"Ihr Anbieter schützt E-Mails an Domains, die das per DANE verlangen: Sie gehen verschlüsselt hinaus und nur an den richtigen Server, selbst wenn ein Angreifer eingreift.",
		},
		phrase{
			"Policy dane (Postfix: smtp_tls_security_level = dane): where a receiver publishes TLSA records, TLS and a matching certificate are enforced (RFC 7672).",
			"Stufe dane (Postfix: smtp_tls_security_level = dane): Veröffentlicht ein Empfänger TLSA-Einträge, sind TLS und ein dazu passendes Zertifikat Pflicht (RFC 7672).",
		},
	},
	{
		"dane-only", levelGood,
		phrase{
			"Your provider sends mail only to servers that prove who they are by DANE. That is the strictest protection; mail to other domains does not go out at all.",
			"Ihr Anbieter verschickt E-Mails nur an Server, die sich per DANE ausweisen. Das ist der strengste Schutz; E-Mails an andere Domains gehen gar nicht erst hinaus.",
		},
		phrase{
			"Policy dane-only (Postfix: smtp_tls_security_level = dane-only): a domain without usable TLSA records gets no mail (RFC 7672).",
			"Stufe dane-only (Postfix: smtp_tls_security_level = dane-only): Eine Domain ohne verwendbare TLSA-Einträge erhält keine E-Mails (RFC 7672).",
		},
	},
	{
		"dane+mta-sts", levelGood,
		phrase{
			"Your provider enforces both DANE and MTA-STS: mail goes out encrypted, and only to the right server.",
			"Ihr Anbieter setzt sowohl DANE als auch MTA-STS durch: E-Mails gehen verschlüsselt hinaus und nur an den richtigen Server.",
		},
		phrase{
			"Policies dane and mta-sts together: where a receiver publishes TLSA records and an MTA-STS policy, both must hold (RFC 7672, RFC 8461).",
			"Stufen dane und mta-sts zugleich: Veröffentlicht ein Empfänger TLSA-Einträge und eine MTA-STS-Richtlinie, muss beides erfüllt sein (RFC 7672, RFC 8461).",
		},
	},
	{
		string(policyinfer.Mixed), levelOpen,
		phrase{
			"The mail servers of your provider do not all behave alike, so the protection of a mail depends on which of them sends it.",
			"Die Mailserver Ihres Anbieters verhalten sich nicht alle gleich. Wie eine E-Mail geschützt ist, hängt deshalb davon ab, welcher von ihnen sie verschickt.",
		},
		phrase{
			"Mixed: the outbound hosts have different policies, which are listed under Hosts. No single policy explains them together.",
			"Uneinheitlich (mixed): Die sendenden Server haben verschiedene Stufen; sie stehen unter „Sendende Server“. Keine einzelne Stufe erklärt sie alle.",
		},
	},
	{
		caseCandidates, levelOpen,
		phrase{
			"The test could not tell for certain how your provider protects mail. What was seen fits more than one policy.",
			"Der Test konnte nicht sicher feststellen, wie Ihr Anbieter E-Mails schützt. Das Beobachtete passt zu mehr als einer Schutzstufe.",
		},
		phrase{
			"Undetermined, one of: {candidates}. What was seen so far excludes every other policy.",
			"Unbestimmt; in Frage kommen: {candidates}. Das bisher Beobachtete schließt alle anderen Stufen aus.",
		},
	},
	{
		caseProtected, levelOpen,
		phrase{
			"Your provider did not fall for any attack in this test, but the test could not tell for certain which policy it applies.",
			"Ihr Anbieter ist in diesem Test auf keinen Angriff hereingefallen; welche Schutzstufe er anwendet, ließ sich aber nicht sicher feststellen.",
		},
		phrase{
			"Undetermined, one of: {candidates}. What was seen so far excludes none, may and encrypt.",
			"Unbestimmt; in Frage kommen: {candidates}. Das bisher Beobachtete schließt none, may und encrypt aus.",
		},
	},
	{
		caseNothing, levelOpen,
		phrase{
			"The test could not tell how your provider protects mail: too little was seen of it.",
			"Der Test konnte nicht feststellen, wie Ihr Anbieter E-Mails schützt: Es war zu wenig von ihm zu sehen.",
		},
		phrase{
			"Undetermined: no policy could be excluded for lack of evidence.",
			"Unbestimmt: Mangels Belegen ließ sich keine Stufe ausschließen.",
		},
	},
	{
		caseEarly, levelOpen,
		phrase{
			"The test is not certain yet how your provider protects mail. A later attempt of the same mail server has to confirm what was seen.",
			"Noch steht nicht sicher fest, wie Ihr Anbieter E-Mails schützt. Ein späterer Zustellversuch desselben Mailservers muss das Beobachtete bestätigen.",
		},
		phrase{
			"Undetermined: everything so far fits {candidates} only, but it is too early or too little to be sure.",
			"Unbestimmt: Alles bisher Beobachtete passt nur zu {candidates}; für ein sicheres Ergebnis ist es aber zu früh oder zu wenig.",
		},
	},
	{
		caseOptedOut, levelOpen,
		phrase{
			"This test mail asked to be sent without protection, so it does not show how other mail is protected.",
			"Diese Testmail verlangte, ohne Schutz verschickt zu werden. Sie zeigt deshalb nicht, wie andere E-Mails geschützt werden.",
		},
		phrase{
			"Undetermined: the mail carries the header field TLS-Required: No (RFC 8689), which switches enforcement off for this mail.",
			"Unbestimmt: Die E-Mail trägt das Kopffeld TLS-Required: No (RFC 8689), das die Durchsetzung für diese E-Mail abschaltet.",
		},
	},
	{
		caseRequireTLS, levelOpen,
		phrase{
			"This test mail demanded encryption for itself, so it does not show how other mail is protected.",
			"Diese Testmail verlangte für sich selbst Verschlüsselung. Sie zeigt deshalb nicht, wie andere E-Mails geschützt werden.",
		},
		phrase{
			"Undetermined: the mail was sent with REQUIRETLS (RFC 8689), which adds enforcement for this mail only.",
			"Unbestimmt: Die E-Mail wurde mit REQUIRETLS (RFC 8689) verschickt, das nur für diese E-Mail strengere Regeln setzt.",
		},
	},
	{
		caseUnverifiable, levelOpen,
		phrase{
			"The test itself had a fault while your mail arrived, so it can not say how your provider protects mail. This is no fault of your provider.",
			"Der Test selbst war gestört, während Ihre E-Mail eintraf. Er kann deshalb nicht sagen, wie Ihr Anbieter E-Mails schützt. Das ist kein Fehler Ihres Anbieters.",
		},
		phrase{
			"Undetermined: the test zone was not verifiable, and a sender that enforces DANE or MTA-STS could not have shown it.",
			"Unbestimmt: Die Testzone war nicht überprüfbar, und ein Absender, der DANE oder MTA-STS durchsetzt, hätte das nicht zeigen können.",
		},
	},
	{
		caseBroken, levelOpen,
		phrase{
			"The test itself had a fault while your mail arrived, so it can not say how your provider protects mail. This is no fault of your provider.",
			"Der Test selbst war gestört, während Ihre E-Mail eintraf. Er kann deshalb nicht sagen, wie Ihr Anbieter E-Mails schützt. Das ist kein Fehler Ihres Anbieters.",
		},
		phrase{
			"Undetermined: servers of the test were not what they have to be. What was seen meanwhile was not used, and the rest is too little.",
			"Unbestimmt: Server des Tests waren nicht so, wie sie sein müssen. Was währenddessen zu sehen war, wurde nicht verwendet, und der Rest reicht nicht aus.",
		},
	},
	{
		caseContradictory, levelOpen,
		phrase{
			"What the test saw does not fit together, so it gives no verdict.",
			"Was der Test beobachtet hat, passt nicht zusammen; deshalb nennt er kein Ergebnis.",
		},
		phrase{
			"Undetermined: no policy, no change during the test and no difference between hosts explains all of it.",
			"Unbestimmt: Weder eine einzelne Stufe noch eine Änderung während des Tests noch Unterschiede zwischen den Servern erklären alles Beobachtete.",
		},
	},
}

// wordsOf returns what to say about v.
func wordsOf(v policyinfer.Verdict) words {
	key := string(v.Policy)
	if v.Policy == policyinfer.Undetermined {
		key = caseOf(v)
	}
	for _, w := range table {
		if w.key == key {
			return w
		}
	}
	return words{
		key: key, level: levelOpen,
		lay: phrase{
			"The test reached a verdict that this report has no words for.",
			"Der Test kam zu einem Ergebnis, für das dieser Bericht keine Worte hat.",
		},
		admin: phrase{"Its name is given below.", "Sein Name steht unten."},
	}
}

// caseOf says why v is undetermined.
func caseOf(v policyinfer.Verdict) string {
	for _, id := range []string{
		policyinfer.FindingOptedOut, policyinfer.FindingRequireTLS,
		policyinfer.FindingBroken, policyinfer.FindingUnverifiable, policyinfer.FindingContradictory,
	} {
		if hasFinding(v, id) {
			return "undetermined: " + id
		}
	}
	switch len(v.Candidates) {
	case 0, len(policyinfer.Names()):
		return caseNothing
	case 1:
		return caseEarly
	}
	if !slices.ContainsFunc(v.Candidates, func(n policyinfer.Name) bool { return !n.Protected() }) {
		return caseProtected
	}
	return caseCandidates
}

func hasFinding(v policyinfer.Verdict, id string) bool {
	return slices.ContainsFunc(v.Findings, func(f policyinfer.Finding) bool { return f.ID == id })
}

// grade is the word that stands beside the colour.
func (w words) grade() phrase {
	switch w.level {
	case levelGood:
		return phrase{"protected", "geschützt"}
	case levelFair:
		return phrase{"partly protected", "teilweise geschützt"}
	case levelWeak:
		return phrase{"not protected", "nicht geschützt"}
	case levelBad:
		return phrase{"not encrypted", "nicht verschlüsselt"}
	}
	if w.key == string(policyinfer.Mixed) {
		return phrase{"hosts differ", "uneinheitlich"}
	}
	return phrase{"no verdict", "kein Ergebnis"}
}

// fill replaces the placeholders of a sentence.
func fill(sentence string, v policyinfer.Verdict, zone string) string {
	return strings.NewReplacer("{candidates}", nameList(v.Candidates), "{zone}", clean(zone, maxName)).Replace(sentence)
}

func nameList(names []policyinfer.Name) string {
	list := make([]string, 0, len(names))
	for _, n := range names {
		list = append(list, clean(string(n), maxName))
	}
	return strings.Join(list, ", ")
}

// unprotected says what the sender does with mail to a domain that publishes
// neither TLSA records nor a policy.
func unprotected(v policyinfer.Verdict) phrase {
	s := v.Sender
	switch {
	case hasFinding(v, policyinfer.FindingOptedOut), hasFinding(v, policyinfer.FindingRequireTLS):
		return phrase{
			"This mail does not show it.",
			"Diese E-Mail zeigt das nicht.",
		}
	case v.Policy == policyinfer.Mixed:
		return phrase{
			"This depends on the host that sends the mail.",
			"Das hängt davon ab, welcher Server die E-Mail verschickt.",
		}
	case s.DANE == "required":
		return phrase{
			"Mail to a domain without DANE is not sent.",
			"E-Mails an eine Domain ohne DANE werden nicht verschickt.",
		}
	case s.PlaintextUnprotected == "yes" && s.TLS == "never":
		return phrase{
			"Mail to a domain without a policy goes out unencrypted.",
			"E-Mails an eine Domain ohne Schutzvorgaben gehen unverschlüsselt hinaus.",
		}
	case s.PlaintextUnprotected == "yes" && s.TLS != "offered":
		return phrase{
			"Mail to a domain without a policy goes out unencrypted if the receiver, or an attacker on the way, does not offer encryption.",
			"E-Mails an eine Domain ohne Schutzvorgaben gehen unverschlüsselt hinaus, wenn der Empfänger oder ein Angreifer auf dem Weg keine Verschlüsselung anbietet.",
		}
	case s.PlaintextUnprotected == "yes":
		return phrase{
			"Mail to a domain without a policy is encrypted if the receiver offers it, and goes out unencrypted otherwise: it is sent even while an attacker hides the offer.",
			"E-Mails an eine Domain ohne Schutzvorgaben werden verschlüsselt, wenn der Empfänger das anbietet, und gehen sonst unverschlüsselt hinaus: auch dann, wenn ein Angreifer das Angebot unterdrückt.",
		}
	case s.PlaintextUnprotected == "no" && s.VerifiesCA == "yes":
		return phrase{
			"Mail to a domain without a policy is sent only with TLS, and only to a server with a certificate of a public CA.",
			"E-Mails an eine Domain ohne Schutzvorgaben werden nur mit TLS verschickt und nur an einen Server mit dem Zertifikat einer öffentlichen Zertifizierungsstelle.",
		}
	case s.PlaintextUnprotected == "no" && s.VerifiesCA == "no":
		return phrase{
			"Mail to a domain without a policy is sent only with TLS, to whatever certificate the server shows.",
			"E-Mails an eine Domain ohne Schutzvorgaben werden nur mit TLS verschickt, gleich welches Zertifikat der Server vorweist.",
		}
	case s.PlaintextUnprotected == "no":
		return phrase{
			"Mail to a domain without a policy is not sent without TLS.",
			"E-Mails an eine Domain ohne Schutzvorgaben werden nicht ohne TLS verschickt.",
		}
	}
	return phrase{
		"This was not seen. A test mail that also goes to en@ut.{zone} shows it.",
		"Das war nicht zu sehen. Eine Testmail, die auch an de@ut.{zone} geht, zeigt es.",
	}
}
