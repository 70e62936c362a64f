package report

// headings are the headings and other fixed words of a report.
type headings struct {
	Sending, Receiving                                  string // the two answers
	SendingDetails, ReceivingDetails, MailDetails       string
	Next, NextSending, NextReceiving, Ask               string
	Admin, Result, NotMailed                            string
	Timeline, Legend, Lanes                             string
	Servers, Addresses, Versions, AtLeastOne, All       string
	Records, Record, Ratings, Rule, Networks, NotLooked string
	AllRules                                            string
	Shortened, Faults, Authentication, Path, Marks      string
	Unprotected, Parts, Hosts, Provider                 string
	Findings, Missing, Reasons, LeftOut, History        string
	UTC, From, To, Signatures                           string
	Around, NotUsed, NotUsedShort, About, Page, Privacy string
	Test, Sender, Started, Generated, Service           string
}

func headingsIn(l Language) headings {
	return headings{
		Sending:          phrase{"Mail that you send", "E-Mails, die Sie senden"}.in(l),
		Receiving:        phrase{"Mail that you receive", "E-Mails, die Sie empfangen"}.in(l),
		SendingDetails:   phrase{"Details: mail that you send", "Einzelheiten: E-Mails, die Sie senden"}.in(l),
		ReceivingDetails: phrase{"Details: mail that you receive", "Einzelheiten: E-Mails, die Sie empfangen"}.in(l),
		MailDetails:      phrase{"Details: your test mail", "Einzelheiten: Ihre Testmail"}.in(l),
		NextSending:      phrase{"For mail that you send", "Für E-Mails, die Sie senden"}.in(l),
		NextReceiving:    phrase{"For mail that you receive", "Für E-Mails, die Sie empfangen"}.in(l),
		Next:             phrase{"What to do next", "Was jetzt zu tun ist"}.in(l),
		Ask:              phrase{"To ask your provider:", "Frage an Ihren Anbieter:"}.in(l),
		Admin:            phrase{"For admins:", "Für Administratoren:"}.in(l),
		Timeline:         phrase{"The test over time", "Der Test im Zeitverlauf"}.in(l),
		Legend:           phrase{"Signs:", "Zeichen:"}.in(l),
		Lanes:            phrase{"Columns:", "Spalten:"}.in(l),
		Servers:          phrase{"The receiving servers", "Die empfangenden Server"}.in(l),
		Addresses:        phrase{"Addresses", "Adressen"}.in(l),
		Versions:         phrase{"TLS versions of all servers together", "TLS-Versionen aller Server zusammen"}.in(l),
		AtLeastOne:       phrase{"at least one server", "mindestens ein Server"}.in(l),
		All:              phrase{"all servers", "alle Server"}.in(l),
		Records:          phrase{"What the domain publishes", "Was die Domain veröffentlicht"}.in(l),
		Record:           phrase{"Record:", "Eintrag:"}.in(l),
		Ratings:          phrase{"The ratings and their rules", "Die Bewertungen und ihre Regeln"}.in(l),
		AllRules:         phrase{"All rules, one by one", "Alle Regeln im Einzelnen"}.in(l),
		Rule:             phrase{"Rule:", "Regel:"}.in(l),
		Shortened:        phrase{"This mail was shortened: the result page and the JSON file have all details.", "Diese E-Mail ist gekürzt: Die Ergebnisseite und die JSON-Datei enthalten alle Einzelheiten."}.in(l),
		Faults:           phrase{"Faults of the MX records", "Fehler der MX-Einträge"}.in(l),
		Networks:         phrase{"Networks", "Netze"}.in(l),
		NotLooked:        phrase{"Not looked at", "Nicht geprüft"}.in(l),
		Authentication:   phrase{"Is it really from you?", "Stammt sie wirklich von Ihnen?"}.in(l),
		Path:             phrase{"The way to us, as the mail itself tells it", "Der Weg zu uns, wie die E-Mail ihn selbst schildert"}.in(l),
		Marks:            phrase{"[+] yes, [-] no, [?] could not be tested, which is no failure", "[+] ja, [-] nein, [?] nicht prüfbar, was kein Fehler ist"}.in(l),

		Result:      phrase{"Result", "Ergebnis"}.in(l),
		NotMailed:   phrase{"The report could not be mailed", "Der Bericht konnte nicht zugestellt werden"}.in(l),
		Unprotected: phrase{"Domains without a policy", "Domains ohne Schutzvorgaben"}.in(l),
		Parts:       phrase{"What is known of the sender", "Was über den Absender bekannt ist"}.in(l),
		Hosts:       phrase{"Hosts", "Sendende Server"}.in(l),
		Provider:    phrase{"What your provider’s servers do", "Was die Server Ihres Anbieters tun"}.in(l),
		Findings:    phrase{"Findings", "Auffälligkeiten"}.in(l),
		Missing:     phrase{"What is missing", "Was noch fehlt"}.in(l),
		Reasons:     phrase{"Evidence", "Belege"}.in(l),
		LeftOut:     phrase{"Left out", "Nicht berücksichtigt"}.in(l),
		History:     phrase{"Connection History", "Verbindungsverlauf"}.in(l),
		UTC:         phrase{"Times are UTC.", "Alle Zeiten sind UTC."}.in(l),
		From:        phrase{"From:", "Von:"}.in(l),
		To:          phrase{"To:", "An:"}.in(l),
		Signatures:  phrase{"Signatures:", "Signaturen:"}.in(l),
		Around:      phrase{"Around that time", "Zur selben Zeit"}.in(l),
		NotUsed: phrase{
			"These may belong to others and were not used.",
			"Diese Anfragen können von anderen stammen und wurden nicht verwendet.",
		}.in(l),
		NotUsedShort: phrase{"may belong to others, not used", "möglicherweise von anderen, nicht verwendet"}.in(l),
		About:        phrase{"About this report", "Über diesen Bericht"}.in(l),
		Page:         phrase{"Result page", "Ergebnisseite"}.in(l),
		Privacy: phrase{
			"Bodies of mails are not kept, and addresses are shortened in this report. It is sent to the sender of the test mail only; " +
				"whoever has the link can read the page. Everything is deleted after the retention period of this service.",
			"Der Inhalt von E-Mails wird nicht gespeichert, und Adressen sind in diesem Bericht gekürzt. Er geht nur an den Absender der Testmail; " +
				"wer den Link kennt, kann die Ergebnisseite lesen. Nach Ablauf der Aufbewahrungsfrist dieses Dienstes wird alles gelöscht.",
		}.in(l),
		Test:      phrase{"Test", "Testkennung"}.in(l),
		Sender:    phrase{"Sender", "Absender"}.in(l),
		Started:   phrase{"Started", "Beginn"}.in(l),
		Generated: phrase{"Report of", "Bericht vom"}.in(l),
		Service:   phrase{"Service", "Dienst"}.in(l),
	}
}
