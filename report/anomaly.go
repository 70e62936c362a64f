package report

import "strings"

// anomalyWords are the violations of protocol that the sink notes.
var anomalyWords = [...]phrase{
	{"plaintext pipelined behind STARTTLS", "unverschlüsselte Daten hinter STARTTLS"},
	{"command line too long", "zu lange Befehlszeile"},
	{"endless command line", "endlose Befehlszeile"},
	{"bare LF ends a command line", "Befehlszeile endet auf LF ohne CR"},
	{"bare CR in a command line", "CR ohne LF in einer Befehlszeile"},
	{"NUL in a command line", "Nullzeichen in einer Befehlszeile"},
	{"NUL in a message", "Nullzeichen in einer E-Mail"},
	{"bare LF in a message", "LF ohne CR in einer E-Mail"},
	{"bare CR in a message", "CR ohne LF in einer E-Mail"},
	{"message line longer than 1000 octets", "Zeile mit mehr als 1000 Oktetten in einer E-Mail"},
}

// anomalyText puts an anomaly into language l; one that has no words here stays
// as it is.
func anomalyText(anomaly string, l Language) string {
	for _, p := range anomalyWords {
		if p.en == anomaly {
			return p.in(l)
		}
	}
	if to, ok := strings.CutPrefix(anomaly, "recipient "); ok {
		if to, sni, ok := strings.Cut(to, " disagrees with SNI "); ok {
			return phrase{"recipient %[1]s disagrees with SNI %[2]s", "Empfänger %[1]s passt nicht zu SNI %[2]s"}.with(l, to, sni)
		}
	}
	return anomaly
}
