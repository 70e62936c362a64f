package web

import (
	"net/http"

	"github.com/tlsink/tlsink/live"
)

func germanWords() words {
	return words{
		Lang: "de", OtherLang: "en", OtherName: "English",
		Skip: "Zum Inhalt springen", Main: "Hauptmenü", Start: "Startseite", Privacy: "Datenschutz", Status: "Zustand dieses Dienstes", Statistics: "Statistik",
		FailTitle: "Das hat nicht geklappt (%d)", Home: "Zur Startseite",
		Failures: map[int]string{
			http.StatusBadRequest:            "Diese Anfrage kann nicht beantwortet werden.",
			http.StatusForbidden:             "Das ist nicht erlaubt. Wenn Sie einen Knopf gedrückt haben, öffnen Sie die Seite noch einmal über HTTPS und drücken Sie ihn dort.",
			http.StatusNotFound:              "Diese Seite gibt es nicht. Der Link eines Tests muss vollständig sein, und nach der Aufbewahrungsfrist dieses Dienstes wird ein Test gelöscht.",
			http.StatusMethodNotAllowed:      "Diese Seite kann nur geöffnet werden.",
			http.StatusRequestEntityTooLarge: "Das war zu viel auf einmal.",
			http.StatusUnsupportedMediaType:  "Das ist nicht, was das Formular schickt.",
			http.StatusTooManyRequests:       "Zu viele Anfragen. Bitte warten Sie eine Minute.",
			http.StatusMisdirectedRequest:    "Die Verbindung war für einen anderen Server gedacht. Bitte öffnen Sie die Seite noch einmal.",
			http.StatusServiceUnavailable:    "Das geht im Moment nicht. Bitte versuchen Sie es später noch einmal.",
			http.StatusInternalServerError:   "Das geht im Moment nicht. Bitte versuchen Sie es später noch einmal.",
		},
		FrontTitle: "Schützt Ihr Anbieter die E-Mails, die Sie verschicken?", PrivacyTitle: "Datenschutz", StatusTitle: "Zustand dieses Dienstes", CompareTitle: "Zwei Tests im Vergleich",
		StartButton:   "Test starten",
		TooManyStarts: "Aus Ihrem Netz wurden in der letzten Stunde viele Tests gestartet. Bitte warten Sie ein paar Minuten.",
		TooManyTests:  "Aus Ihrem Netz warten mehrere Tests auf ihre E-Mail, oder es gab dort gerade einige. Schicken Sie die E-Mail eines wartenden Tests ab oder eine E-Mail an die einfachen Adressen der Startseite, bei denen niemand warten muss – oder versuchen Sie es später noch einmal.",
		Busy:          "Im Moment warten sehr viele Menschen auf ihren Test. Bitte versuchen Sie es später noch einmal.",

		Titles: map[live.State]string{
			live.Queued: "Ihr Test wartet, bis er an der Reihe ist", live.Waiting: "Schicken Sie eine E-Mail an diese zwei Adressen", live.Expired: "Dieser Test ist ohne E-Mail zu Ende gegangen",
			live.Running: "Ihr Test läuft", live.Concluded: "Ihr Test hat ein Ergebnis", live.Acked: "Ihr Test ist fertig", live.Closed: "Ihr Test ist fertig",
		},
		Result: "Ergebnis", Refresh: "Diese Seite lädt sich alle %d Sekunden neu.", Ahead: "Tests vor Ihrem: %d.", Turn: "An der Reihe sind Sie spätestens um", GiveUp: "Diesen Test abbrechen",
		Write: "E-Mail schreiben", ToBoth: "Die E-Mail muss an beide Adressen zugleich gehen. Betreff und Text sind egal.",
		ByLink: "Ihr E-Mail-Programm öffnet sich, beide Adressen sind schon eingetragen.", ByCode: "Oder scannen Sie dies mit dem Telefon, von dem Sie E-Mails verschicken.",
		CodeAlt: "QR-Code: eine E-Mail an beide Adressen", Until: "Zeit dafür: bis", Again: "Noch einen Test starten",
		Copy: "Kopieren", Copied: "Kopiert", In: "in {t}", Soon: "jeden Moment", Lost: "Im Moment keine Live-Anzeige. Die Seite versucht es weiter.", Newest: "Neueste Verbindung:",
		SoFar: "Bisher", Policy: "Ergebnis", SeeAll: "Der ganze Bericht", SeeConnections: "Alle Verbindungen", Print: "Drucken",
		Strip: "Die sieben Testserver", Filled: "Kontaktiert: %d von %d.", Never: "nie", Server: "Server", Happening: "Was gerade geschieht", Phase: "Phase", PhaseEnds: "Bis", Order: "Reihenfolge der Testserver", Rotates: "Sie wechselt frühestens um",
		NextTry: "Nächster Versuch", MissingTitle: "Was noch fehlt", SlowTitle: "Warum es länger dauert", Cause: "Der Dienst meldet, auf Englisch:", FoundTitle: "Bisher aufgefallen",
		ID: "Testkennung", Sender: "Absender", None: "Noch keine. Jede Verbindung Ihres Mailservers erscheint hier.", Omitted: "%d ältere sind nicht aufgeführt.", Open: "noch offen", Times: "%d-mal",
		Details: "Technische Einzelheiten", UTC: "Zeiten in UTC, die neueste zuerst.",
		Client: "Mailserver", Greeting: "Begrüßung (EHLO)", SNI: "Gewünschter Name (SNI)", TLS: "TLS-Verbindung", By: "Gehört zu diesem Test wegen", Number: "Nummer",
		Outcomes: map[live.Outcome]string{
			live.None: "noch nicht kontaktiert", live.Contacted: "nur kontaktiert", live.Refused: "E-Mail nicht übergeben",
			live.Plaintext: "E-Mail unverschlüsselt übergeben", live.Encrypted: "E-Mail verschlüsselt übergeben", live.Mixed: "übergeben, aber auch abgelehnt",
		},
		Briefs: map[live.Outcome]string{
			live.None: "noch nicht", live.Contacted: "nur kontaktiert", live.Refused: "nicht übergeben",
			live.Plaintext: "im Klartext", live.Encrypted: "verschlüsselt", live.Mixed: "übergeben und abgelehnt",
		},
		Missing: "Belege, die mehr verraten würden",
		Keep:    "Aufheben und weitergeben", JSON: "Das Ergebnis als JSON", JSONNote: "mit dem ganzen Verlauf, Adressen gekürzt.",
		Badge: "Ein Abzeichen für Ihre Website", BadgeNote: "Seine Adresse enthält den Link dieses Tests: Wer das Abzeichen sieht, kann diese Seite öffnen.", BadgeHTML: "HTML-Code", BadgeMarkdown: "Markdown-Code",
		BadgeAlt: "TLS beim Versand",
		Compare:  "Mit einem früheren Test vergleichen", CompareHint: "Fügen Sie den Link eines früheren Tests derselben Domain ein.", CompareLabel: "Link des anderen Tests", CompareButton: "Vergleichen",
		BadLink: "Das ist kein Link eines Tests. Er sieht so aus: %s.", NoSuchTest: "Diesen Test gibt es nicht. Vielleicht wurde er nach der Aufbewahrungsfrist gelöscht.",
		Trends:  map[live.Trend]string{live.Same: "Unverändert", live.Better: "Besser", live.Worse: "Schlechter", live.Other: "Anders", live.Unknown: "Nicht vergleichbar"},
		Earlier: "Früherer Test", Later: "Späterer Test", Begun: "Beginn", Careful: "Was dies nicht zeigt", Changes: "Was sich geändert hat", NoChanges: "Nichts, was zu sehen war.",
		BackToTest: "Zurück zum Test",
		Units:      [5]string{"Sekunden", "Minuten", "Stunden", "Tag", "Tage"},
	}
}
