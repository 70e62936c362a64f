package report

// headings are the headings and other fixed words of a report.
type headings struct {
	Result, NotMailed                                   string
	Unprotected, Advice, Parts, Hosts, Provider         string
	Findings, Missing, Reasons, LeftOut, History        string
	UTC, From, To, Signatures                           string
	Around, NotUsed, NotUsedShort, About, Page, Privacy string
	Test, Sender, Started, Generated, Service           string
}

func headingsIn(l Language) headings {
	return headings{
		Result:      phrase{"Result", "Ergebnis"}.in(l),
		NotMailed:   phrase{"The report could not be mailed", "Der Bericht konnte nicht zugestellt werden"}.in(l),
		Unprotected: phrase{"Domains without a policy", "Domains ohne Schutzvorgaben"}.in(l),
		Advice:      phrase{"What to do next", "Was jetzt zu tun ist"}.in(l),
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
