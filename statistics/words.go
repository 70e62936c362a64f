package statistics

// words are those of the page in one language.
type words struct {
	Skip, Nav, Start, Privacy, Status              string
	Lang, OtherLang, OtherName, Home, Other        string
	Title, Intro, Counted, NoneYet, Empty          string
	Months, MonthsText, Providers, ProvidersText   string
	Countries, CountriesText, Caption, Group, Sum  string
	Unknown, OtherGroup, Chart, Listed, ListedText string
	How, CSV, EnginesAre, Since, Least, NoInbound  string
	Rules                                          []string
	ListedHead                                     []string
	Colours                                        map[Colour]string
	Meanings                                       map[Colour]string
}

func english() words {
	return words{
		Lang: "en", OtherLang: "de", OtherName: "Deutsch", Home: "/", Other: "/statistics?l=de",
		Skip: "Skip to the content", Nav: "Pages", Start: "Start a test", Privacy: "Privacy", Status: "Status of this service",
		Title:   "Statistics",
		Intro:   "What all tests here have found, without anything about who made them.",
		Counted: "Counted since %s, as of the beginning of %s (UTC).", NoneYet: "Nothing has been counted yet.",
		Empty:  "There is nothing to show yet: numbers below 5 are hidden, and what is shown changes once a day.",
		Months: "Verdicts by month", MonthsText: "Tests by the month in which their first mail came.",
		Providers: "By provider", ProvidersText: "Senders in the last twelve months, by the domain of the mail servers that receive for them.",
		Countries: "By country", CountriesText: "Senders in the last twelve months, by the country of the network that their mail came from.",
		Caption: "Numbers are rounded down to multiples of 5; – means fewer than 5, or none.", Group: "Group", Sum: "sum shown",
		Unknown: "unknown", OtherGroup: "all others", Chart: "Bar chart: %s. The table below has the same numbers.",
		Listed:     "Providers",
		ListedText: "Public providers that the operator of this service has listed. Only mail that provably came from the provider's own servers counts, of at least three different senders in one month. A domain of your own at one of these providers may do worse: for SMTP-DANE it must be signed with DNSSEC.",
		ListedHead: []string{"Provider", "Sending", "Receiving", "Senders", "Month"},
		Least:      "at least %d", NoInbound: "not tested",
		How: "How this is counted", CSV: "All of it as CSV",
		EnginesAre: "Verdicts come from these versions of the inference, which may differ in what they can tell: ", Since: "%s since %s",
		Rules: []string{
			"A test is counted once, when it has ended, and nothing that leads back to it is kept. Deleting a test does not change the numbers.",
			"By provider and country each sender counts once a month, with its first test, and only if its domain was authenticated. A provider is named only if five of its senders came in one month.",
			"Numbers below 5 are not shown, all others are rounded down to multiples of 5, and sums are sums of what is shown. So no hidden number can be computed from the others.",
		},
		Colours: map[Colour]string{Red: "red", Yellow: "yellow", White: "white", Green: "green", Grey: "grey"},
		Meanings: map[Colour]string{
			Red: "No encryption.", Yellow: "Encryption without trusted certificates.", White: "Encryption with valid certificates.",
			Green: "SMTP-DANE (RFC 7672), or receiving with qualified transport encryption.", Grey: "Senders of this provider were treated differently, or it could not be tested.",
		},
	}
}

func german() words {
	return words{
		Lang: "de", OtherLang: "en", OtherName: "English", Home: "/de", Other: "/statistics?l=en",
		Skip: "Zum Inhalt", Nav: "Seiten", Start: "Test beginnen", Privacy: "Datenschutz", Status: "Zustand dieses Dienstes",
		Title:   "Statistik",
		Intro:   "Was alle Tests hier ergeben haben, ohne irgendetwas darüber, von wem sie waren.",
		Counted: "Gezählt seit %s, Stand Beginn des %s (UTC).", NoneYet: "Es wurde noch nichts gezählt.",
		Empty:  "Noch gibt es nichts zu zeigen: Zahlen unter 5 bleiben verborgen, und was gezeigt wird, ändert sich einmal am Tag.",
		Months: "Ergebnisse nach Monat", MonthsText: "Tests nach dem Monat, in dem ihre erste Mail kam.",
		Providers: "Nach Anbieter", ProvidersText: "Absender der letzten zwölf Monate, nach der Domain der Mailserver, die für sie empfangen.",
		Countries: "Nach Land", CountriesText: "Absender der letzten zwölf Monate, nach dem Land des Netzes, aus dem ihre Mail kam.",
		Caption: "Zahlen sind auf Vielfache von 5 abgerundet; – heißt weniger als 5 oder keine.", Group: "Gruppe", Sum: "Summe",
		Unknown: "unbekannt", OtherGroup: "alle anderen", Chart: "Balkendiagramm: %s. Die Tabelle darunter enthält dieselben Zahlen.",
		Listed:     "Anbieter",
		ListedText: "Öffentliche Anbieter, die der Betreiber dieses Dienstes aufgenommen hat. Es zählt nur Mail, die nachweislich von Servern des Anbieters kam, von mindestens drei verschiedenen Absendern in einem Monat. Eine eigene Domain bei einem dieser Anbieter kann schlechter abschneiden: Für SMTP-DANE muss sie mit DNSSEC signiert sein.",
		ListedHead: []string{"Anbieter", "Senden", "Empfangen", "Absender", "Monat"},
		Least:      "mindestens %d", NoInbound: "nicht geprüft",
		How: "Wie gezählt wird", CSV: "Alles als CSV",
		EnginesAre: "Die Ergebnisse stammen von diesen Versionen der Auswertung, die verschieden viel erkennen können: ", Since: "%s seit %s",
		Rules: []string{
			"Ein Test wird einmal gezählt, wenn er zu Ende ist, und nichts bleibt, was zu ihm zurückführt. Wird ein Test gelöscht, ändern sich die Zahlen nicht.",
			"Nach Anbieter und Land zählt jeder Absender einmal im Monat, mit seinem ersten Test, und nur, wenn seine Domain nachgewiesen war. Ein Anbieter wird nur genannt, wenn in einem Monat fünf seiner Absender kamen.",
			"Zahlen unter 5 werden nicht gezeigt, alle anderen auf Vielfache von 5 abgerundet, und Summen sind Summen des Gezeigten. So lässt sich keine verborgene Zahl aus den anderen berechnen.",
		},
		Colours: map[Colour]string{Red: "rot", Yellow: "gelb", White: "weiß", Green: "grün", Grey: "grau"},
		Meanings: map[Colour]string{
			Red: "Keine Verschlüsselung.", Yellow: "Verschlüsselung ohne vertrauenswürdige Zertifikate.", White: "Verschlüsselung mit gültigen Zertifikaten.",
			Green: "SMTP-DANE (RFC 7672), beim Empfang auch qualifizierte Transportverschlüsselung.", Grey: "Absender dieses Anbieters wurden verschieden behandelt, oder es ließ sich nicht prüfen.",
		},
	}
}
