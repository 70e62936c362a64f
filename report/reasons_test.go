package report

import (
	"strings"
	"testing"
)

func TestReasonsOfAnalysisInGerman(t *testing.T) {
	german, english := speaker{l: German}, speaker{}
	for _, c := range []struct{ en, de string }{
		{"connection refused", "Verbindung abgelehnt"},
		{"it could not be reached: connection timed out", "Der Server war nicht erreichbar: keine Antwort"},
		{"it is for a.example, b.example, not for mx.example.org", "Es gilt für a.example, b.example, nicht für mx.example.org"},
		{"the MX records are not secure: example.org is delegated without DS", "nicht durch DNSSEC gesichert (die MX-Einträge): example.org ist ohne DS-Eintrag delegiert"},
		{"MX records: could not be looked up (no answer)", "MX-Einträge konnten nicht abgefragt werden (keine Antwort)"},
		{"the record needs at least 13 DNS lookups, at most 10 are allowed: receivers give up", "Der Eintrag braucht mindestens 13 DNS-Abfragen, erlaubt sind 10: Empfänger geben auf"},
		{"something that nobody translated", "something that nobody translated"},
		{"$1 * $2", "$1 * $2"},
	} {
		if got := german.reason(c.en); got != c.de {
			t.Errorf("%q is %q, want %q", c.en, got, c.de)
		}
		if got := english.reason(c.en); got != c.en {
			t.Errorf("%q is %q in English", c.en, got)
		}
	}
}

// Each saying has as many places in German as it uses, and none hides another.
func TestSayings(t *testing.T) {
	for i, s := range sayings {
		stars := strings.Count(s.en, "*")
		for n := stars + 1; n <= 9; n++ {
			if strings.Contains(s.de, "$"+string(rune('0'+n))) {
				t.Errorf("%q has no place %d: %q", s.en, n, s.de)
			}
		}
		for _, before := range sayings[:i] {
			if _, hidden := match(before.en, strings.ReplaceAll(s.en, "*", "x")); hidden {
				t.Errorf("%q hides %q", before.en, s.en)
			}
		}
	}
}
