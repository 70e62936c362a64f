package web

import "github.com/tlsink/tlsink/report"

// words is what stands around a report on its page, in the language of the
// report.
type words struct {
	Lang, Result, Live, Seconds, JSON, Whole, Status string
}

func wordsOf(l report.Language) words {
	if l == report.German {
		return words{
			Lang: "de", Result: "Ergebnis", Live: "Hier kommt noch mehr. Diese Seite lädt sich neu alle", Seconds: "Sekunden.",
			JSON: "Dasselbe als JSON", Whole: ", mit dem ganzen Verlauf, Adressen gekürzt.", Status: "Zustand dieses Dienstes",
		}
	}
	return words{
		Lang: "en", Result: "Result", Live: "More is to come. This page reloads itself every", Seconds: "seconds.",
		JSON: "The same as JSON", Whole: ", with the whole redacted history.", Status: "Status of this service",
	}
}
