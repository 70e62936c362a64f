package report

import (
	"github.com/tlsink/tlsink/rating"
)

// ruleText is a rule of a grade in language l; its English text if it has no
// words here.
func ruleText(l Language, r rating.Rule) string {
	for _, standard := range []string{r.Standard, ""} {
		for _, w := range ruleWords {
			if w.standard == standard && w.id == r.ID {
				return w.text.in(l)
			}
		}
	}
	return clean(r.Text, maxText)
}

// ruleWords are the rules of all grades. The English texts are those of package
// rating.
var ruleWords = [...]struct {
	standard string // empty: of each that has it
	id       string
	text     phrase
}{
	{rating.DANE, rating.AddressSecure, phrase{
		"The addresses of every host are secure; for an alias whose target is not, that the alias is secure suffices.",
		"Die Adressen jedes Mailservers sind durch DNSSEC gesichert; bei einem Alias, dessen Ziel das nicht ist, genügt, dass der Alias gesichert ist.",
	}},
	{"", rating.Complete, phrase{
		"Every host and every address was looked at; no limit of the analysis left one out.",
		"Jeder Mailserver und jede Adresse wurde geprüft; keine Obergrenze der Analyse hat etwas ausgelassen.",
	}},
	{"", rating.Reachable, phrase{
		"At least one address of every host could be tested. Addresses that could not be reached count nowhere.",
		"Mindestens eine Adresse jedes Mailservers war prüfbar. Adressen, die nicht erreichbar waren, zählen nirgends mit.",
	}},
	{"", rating.MXSecure, phrase{
		"The MX records, or the proof that there are none, are secure: DNSSEC proves them.",
		"Die MX-Einträge oder der Nachweis, dass es keine gibt, sind durch DNSSEC gesichert.",
	}},
	{"", rating.AddressSecure, phrase{
		"The addresses of every host are secure.",
		"Die Adressen jedes Mailservers sind durch DNSSEC gesichert.",
	}},
	{"", rating.TLSAPresent, phrase{
		"Every host has TLSA records, and they are secure.",
		"Jeder Mailserver hat TLSA-Einträge, und sie sind durch DNSSEC gesichert.",
	}},
	{"", rating.TLSAUsable, phrase{
		"At least one TLSA record of every host is usable for SMTP: usage 2 or 3, known selector and matching type, right data.",
		"Mindestens ein TLSA-Eintrag jedes Mailservers ist für SMTP verwendbar: Usage 2 oder 3, bekannter Selector und Matching Type, richtige Daten.",
	}},
	{"", rating.TLSAMatch, phrase{
		"The certificate of every server matches a usable TLSA record of its host.",
		"Das Zertifikat jedes Servers passt zu einem verwendbaren TLSA-Eintrag seines Namens.",
	}},
	{"", rating.StartTLS, phrase{
		"Every server offers STARTTLS.",
		"Jeder Server bietet STARTTLS an.",
	}},
	{"", rating.Mandatory, phrase{
		"No server takes mail without STARTTLS.",
		"Kein Server nimmt E-Mails ohne STARTTLS an.",
	}},
	{"", rating.TLSVersion, phrase{
		"Every server accepts TLS 1.2 or TLS 1.3.",
		"Jeder Server akzeptiert TLS 1.2 oder TLS 1.3.",
	}},
	{"", rating.NoOldTLS, phrase{
		"No server accepts a version older than TLS 1.2.",
		"Kein Server akzeptiert eine ältere Version als TLS 1.2.",
	}},
	{"", rating.ForwardSecrecy, phrase{
		"No server takes a cipher suite without forward secrecy.",
		"Kein Server akzeptiert eine Cipher-Suite ohne Forward Secrecy.",
	}},
	{"", rating.Authenticated, phrase{
		"The certificate of every server matches a TLSA record (DANE), or is trusted, for the name of its host and in date.",
		"Das Zertifikat jedes Servers passt zu einem TLSA-Eintrag (DANE) oder ist vertrauenswürdig, auf seinen Namen ausgestellt und zeitlich gültig.",
	}},
	{"", rating.PolicyRecord, phrase{
		"The domain has one MTA-STS record, with right syntax.",
		"Die Domain hat genau einen MTA-STS-Eintrag mit richtiger Syntax.",
	}},
	{"", rating.PolicyHTTPS, phrase{
		"The policy host has a certificate that is trusted, for its name and in date.",
		"Der Webserver mit der Richtlinie hat ein Zertifikat, das vertrauenswürdig, auf seinen Namen ausgestellt und zeitlich gültig ist.",
	}},
	{"", rating.PolicyFile, phrase{
		"The policy can be fetched, and its syntax is right.",
		"Die Richtlinie ist abrufbar, und ihre Syntax ist richtig.",
	}},
	{"", rating.PolicyMode, phrase{
		"The mode of the policy is enforce.",
		"Der Modus der Richtlinie ist enforce.",
	}},
	{"", rating.PolicyLists, phrase{
		"The policy lists every MX host.",
		"Die Richtlinie führt jeden Mailserver (MX) auf.",
	}},
	{"", rating.Certificate, phrase{
		"The certificate of every server is trusted, for the name of its host and in date.",
		"Das Zertifikat jedes Servers ist vertrauenswürdig, auf seinen Namen ausgestellt und zeitlich gültig.",
	}},
	{rating.OfClass, string(rating.Red), phrase{
		"No encryption: a server that could be tested offers no STARTTLS, or no version of TLS that works.",
		"Keine Verschlüsselung: Ein prüfbarer Server bietet kein STARTTLS an oder keine TLS-Version, die funktioniert.",
	}},
	{rating.OfClass, string(rating.Yellow), phrase{
		"Encryption without trusted certificates: that of a server that could be tested is not trusted, not for the name of its host, or not in date; and DANE, which would make up for that, is not met.",
		"Verschlüsselung ohne vertrauenswürdige Zertifikate: Das eines prüfbaren Servers ist nicht vertrauenswürdig, nicht auf seinen Namen ausgestellt oder zeitlich nicht gültig; und DANE, das dies ausgleichen würde, ist nicht erfüllt.",
	}},
	{rating.OfClass, string(rating.White), phrase{
		"Encryption with valid certificates at every server that could be tested.",
		"Verschlüsselung mit gültigen Zertifikaten bei jedem prüfbaren Server.",
	}},
	{rating.OfClass, string(rating.Green), phrase{
		"SMTP-DANE or qualified transport encryption is met, and no server is one that senders with DANE refuse.",
		"SMTP-DANE oder qualifizierte Transportverschlüsselung ist erfüllt, und Absender mit DANE lehnen keinen Server ab.",
	}},
	{rating.OfClass, string(rating.Grey), phrase{
		"It could not be tested, or the domain takes no mail. A certificate that is not valid makes nothing yellow where DANE could not be tested.",
		"Nicht prüfbar, oder die Domain nimmt keine E-Mails an. Ein ungültiges Zertifikat macht nichts gelb, wo DANE nicht prüfbar war.",
	}},
	{rating.OfMECSA, rating.MECSARule, phrase{
		"A mechanism is supported if at least 80 % of its tests succeed. A score is that of the best row of the table whose mechanisms are all supported; if there is none, 0. What could not be tested is left out; a score from which something that counts is missing is called partial.",
		"Ein Verfahren gilt als unterstützt, wenn mindestens 80 % seiner Prüfungen gelingen. Die Zahl der Sterne ist die der besten Tabellenzeile, deren Verfahren alle unterstützt werden; gibt es keine, ist sie 0. Was nicht prüfbar war, bleibt außer Betracht; fehlt deshalb etwas, das zählt, heißt die Bewertung unvollständig.",
	}},
	{rating.OfMECSA, "starttls", phrase{
		"STARTTLS: one test for each MX host that could be reached (all its servers offer it), and one for each sending host that met an offered STARTTLS (it used it).",
		"STARTTLS: eine Prüfung für jeden erreichbaren Mailserver (alle seine Adressen bieten es an) und eine für jeden sendenden Server, dem STARTTLS angeboten wurde (er hat es verwendet).",
	}},
	{rating.OfMECSA, "x509", phrase{
		"Certificates: three tests for each MX host that could be reached: trusted CA, name, dates; without STARTTLS they fail. MECSA also tests revocation; we do not, and count it nowhere.",
		"Zertifikate: drei Prüfungen für jeden erreichbaren Mailserver: vertrauenswürdige Zertifizierungsstelle, Name, Gültigkeitsdauer; ohne STARTTLS gelten sie als misslungen. MECSA prüft auch Sperrungen; dieser Test tut das nicht und zählt sie nirgends.",
	}},
	{rating.OfMECSA, "dane", phrase{
		"DANE: one test for each MX host that could be reached: its TLSA records are secure, and the certificates of all its servers match. DNSSEC of the domain itself is a mechanism of its own.",
		"DANE: eine Prüfung für jeden erreichbaren Mailserver: Seine TLSA-Einträge sind gesichert, und die Zertifikate aller seiner Adressen passen dazu. DNSSEC der Domain selbst ist ein eigenes Verfahren.",
	}},
	{rating.OfMECSA, "mta-sts", phrase{
		"MTA-STS: one test for each MX host that could be reached: a policy in mode enforce lists it.",
		"MTA-STS: eine Prüfung für jeden erreichbaren Mailserver: Eine Richtlinie im Modus enforce führt ihn auf.",
	}},
	{rating.OfMECSA, "dnssec", phrase{
		"DNSSEC: one test each for the domain, its MX and its TXT records, and one for each MX host that has TLSA records: they are secure.",
		"DNSSEC: je eine Prüfung für die Domain, ihre MX- und ihre TXT-Einträge und eine für jeden Mailserver mit TLSA-Einträgen: Sie sind gesichert.",
	}},
	{rating.OfMECSA, "spf", phrase{
		"SPF: one test for the record, one for the result of the received mail.",
		"SPF: eine Prüfung für den Eintrag, eine für das Ergebnis bei der empfangenen E-Mail.",
	}},
	{rating.OfMECSA, "spf_policy", phrase{
		"SPF policy: the record ends in -all or ~all.",
		"SPF-Vorgabe: Der Eintrag endet auf -all oder ~all.",
	}},
	{rating.OfMECSA, "dkim", phrase{
		"DKIM: the received mail has a valid signature.",
		"DKIM: Die empfangene E-Mail hat eine gültige Signatur.",
	}},
	{rating.OfMECSA, "dmarc", phrase{
		"DMARC: there is a valid record.",
		"DMARC: Es gibt einen gültigen Eintrag.",
	}},
	{rating.OfMECSA, "dmarc_policy", phrase{
		"DMARC policy: it is quarantine or reject.",
		"DMARC-Vorgabe: Sie lautet quarantine oder reject.",
	}},
}
