package report

import (
	"strings"

	"github.com/tlsink/tlsink/policyinfer"
)

// part puts a part of the model into words: what is asked, and the answer to
// its value. Values without words are not shown.
type part struct {
	id       string // its name in JSON
	question phrase
	value    string
	short    phrase // names the part in the line of a host
	answers  map[string]phrase
}

func partsIn(s policyinfer.Sender) []part {
	yesNo := map[string]phrase{"no": {"no", "nein"}, "yes": {"yes", "ja"}}
	return append(tlsParts(s, yesNo), []part{
		{
			"dane",
			phrase{"DANE", "DANE"},
			s.DANE,
			phrase{"DANE", "DANE"},
			map[string]phrase{
				"no": {"not enforced", "nicht durchgesetzt"}, "yes": {"enforced", "durchgesetzt"},
				"required": {"required of every domain", "von jeder Domain verlangt"},
			},
		},
		{
			"mta_sts",
			phrase{"MTA-STS", "MTA-STS"},
			s.MTASTS,
			phrase{"MTA-STS", "MTA-STS"},
			map[string]phrase{
				"no": {"not enforced", "nicht durchgesetzt"}, "yes": {"enforced", "durchgesetzt"},
				"lazy": {"enforced, except at first contact", "durchgesetzt, außer beim ersten Kontakt"},
			},
		},
		{
			"both",
			phrase{"Where DANE and MTA-STS both apply", "Wo DANE und MTA-STS beide gelten"},
			s.Both,
			phrase{"DANE and MTA-STS", "DANE und MTA-STS"},
			map[string]phrase{
				"dane": {"DANE decides", "DANE entscheidet"}, "mta-sts": {"MTA-STS decides", "MTA-STS entscheidet"},
				"both": {"both must hold", "beides muss erfüllt sein"}, "either": {"either suffices", "eines von beiden genügt"},
			},
		},
		{
			"sni",
			phrase{"Names the server it wants (SNI)", "Nennt den gewünschten Server (SNI)"},
			s.SNI,
			phrase{"SNI", "SNI"},
			map[string]phrase{
				"never": {"never", "nie"}, "always": {"always", "immer"},
				"authenticating": {"where it checks the certificate", "wo das Zertifikat geprüft wird"},
			},
		},
		{
			"unlisted_mx",
			phrase{"Servers that the MTA-STS policy does not list", "Server, die nicht in der MTA-STS-Richtlinie stehen"},
			s.UnlistedMX,
			phrase{"unlisted servers", "nicht aufgeführte Server"},
			map[string]phrase{
				"contacted": {"contacted, but given no mail", "werden kontaktiert, erhalten aber keine E-Mail"},
				"skipped":   {"never contacted", "werden nie kontaktiert"},
			},
		},
		{
			"without_tls",
			phrase{"Mail that has to be encrypted and can't be", "E-Mails, die verschlüsselt werden müssen, es aber nicht können"},
			s.WithoutTLS,
			phrase{"mail that can't be encrypted", "nicht verschlüsselbare E-Mails"},
			map[string]phrase{
				"retry":  {"waits and is tried again", "warten und werden erneut versucht"},
				"bounce": {"bounces at once", "gehen sofort als unzustellbar zurück"},
			},
		},
	}...)
}

// tlsParts are the parts of a sender's own rule.
func tlsParts(s policyinfer.Sender, yesNo map[string]phrase) []part {
	return []part{
		{
			"tls",
			phrase{"Encryption of its own accord", "Verschlüsselt von sich aus"},
			s.TLS,
			phrase{"encrypts", "verschlüsselt"},
			map[string]phrase{
				"never": {"never", "nie"}, "offered": {"when it is offered", "wenn es angeboten wird"},
				"required": {"always, else no mail", "immer, sonst keine E-Mail"},
			},
		},
		{
			"plaintext",
			phrase{"Sends unencrypted to protected domains", "Verschickt unverschlüsselt an geschützte Domains"},
			s.Plaintext,
			phrase{"unencrypted to protected domains", "unverschlüsselt an geschützte Domains"},
			yesNo,
		},
		{
			"plaintext_unprotected",
			phrase{"Sends unencrypted to other domains", "Verschickt unverschlüsselt an andere Domains"},
			s.PlaintextUnprotected,
			phrase{"unencrypted to others", "unverschlüsselt an andere"},
			yesNo,
		},
		{
			"verifies_ca",
			phrase{"Checks certificates of its own accord", "Prüft Zertifikate von sich aus"},
			s.VerifiesCA,
			phrase{"checks certificates", "prüft Zertifikate"},
			map[string]phrase{
				"no":  {"no", "nein"},
				"yes": {"yes, against public CAs", "ja, gegen öffentliche Zertifizierungsstellen"},
			},
		},
	}
}

// partsOf returns the parts that are known.
func partsOf(s policyinfer.Sender, l Language) (out []fact) {
	for _, p := range partsIn(s) {
		if answer, ok := p.answers[p.value]; ok {
			out = append(out, fact{p.question.in(l), answer.in(l)})
		}
	}
	return out
}

// hostText is the verdict of one host, and what is known of it, in a line.
func hostText(v policyinfer.HostVerdict, l Language) string {
	out := clean(string(v.Policy), maxName)
	if v.Policy == policyinfer.Undetermined && len(v.Candidates) > 0 && len(v.Candidates) < len(policyinfer.Names()) {
		out = phrase{"%[1]s, one of %[2]s", "%[1]s, in Frage kommen %[2]s"}.with(l, out, nameList(v.Candidates))
	}
	var known []string
	for _, p := range partsIn(v.Sender) {
		if answer, ok := p.answers[p.value]; ok {
			known = append(known, p.short.in(l)+": "+answer.in(l))
		}
	}
	if len(known) > 0 {
		out += " (" + strings.Join(known, "; ") + ")"
	}
	return out
}
