package report

import "strings"

// deliveryWords are how the reasons begin why a report could not be mailed. What
// follows are names, and the words of other mail servers.
var deliveryWords = [...]phrase{
	{"could not be delivered because of the DANE or MTA-STS policy of the domain", "nicht zustellbar wegen der DANE- oder MTA-STS-Vorgaben der Domain"},
	{"could not be delivered", "nicht zustellbar"},
	{"no reason given", "kein Grund genannt"},
	{"null reverse-path", "leerer Umschlagabsender"},
	{"MAIL FROM has no domain", "MAIL FROM ohne Domain"},
	{"automatic message", "automatisch erzeugte E-Mail"},
	{"not exactly one valid Message-ID", "nicht genau eine gültige Message-ID"},
	{"the message was not read", "die E-Mail wurde nicht gelesen"},
	{"no DKIM signature", "keine DKIM-Signatur"},
	{"SPF pass for everybody", "SPF pass für jedermann"},
	{"SPF pass for another domain", "SPF pass für eine andere Domain"},
	{"another test has the report about this Message-ID", "den Bericht zu dieser Message-ID hat ein anderer Test"},
}

// deliveryText is why a report could not be mailed, in language l.
func deliveryText(why string, l Language) string {
	if rest, ok := strings.CutPrefix(why, "given up after "); ok {
		if n, rest, ok := strings.Cut(rest, " attempts: "); ok {
			return phrase{"given up after %[1]s attempts: %[2]s", "nach %[1]s Versuchen aufgegeben: %[2]s"}.with(l, n, deliveryText(rest, l))
		}
	}
	if strings.HasPrefix(why, "not sent: limit of ") && l == German {
		return phrase{"not sent: the limit of reports a day is reached", "nicht verschickt: Die Obergrenze für Berichte an einem Tag ist erreicht"}.in(l)
	}
	parts := strings.Split(why, "; ")
	for i, part := range parts {
		for _, p := range deliveryWords {
			if rest, ok := strings.CutPrefix(part, p.en); ok {
				parts[i] = p.in(l) + rest
				break
			}
		}
	}
	return strings.Join(parts, "; ")
}
