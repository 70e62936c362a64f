package live

import (
	"time"

	"github.com/tlsink/tlsink/report"
)

// serverNames say in a few words what each of the seven servers presents.
var serverNames = [7]phrase{
	{"pretends that it can’t encrypt", "gibt vor, nicht verschlüsseln zu können"},
	{"is met by those who name no server", "begegnet denen, die keinen Server nennen"},
	{"a fake, nothing about it is right", "eine Fälschung, nichts daran stimmt"},
	{"right by DANE only", "nur nach DANE richtig"},
	{"right, but not by DANE", "richtig, nur nicht nach DANE"},
	{"right in every way", "in jeder Hinsicht richtig"},
	{"asks for no protection", "verlangt keinen Schutz"},
}

// serverWords say what all connections to one server together mean.
type serverWords struct{ refused, plaintext, encrypted phrase }

var serverTexts = [7]serverWords{
	{
		phrase{"No mail was handed over without encryption: right.", "Ohne Verschlüsselung wurde keine E-Mail übergeben: richtig."},
		phrase{"The mail was handed over without encryption.", "Die E-Mail wurde ohne Verschlüsselung übergeben."},
		phrase{},
	},
	{
		phrase{"The certificate was refused.", "Das Zertifikat wurde abgelehnt."},
		phrase{},
		phrase{"The mail was handed over, encrypted. By DANE and MTA-STS a sender has to name the server.", "Die E-Mail wurde verschlüsselt übergeben. Nach DANE und MTA-STS muss der Absender den Server nennen."},
	},
	{
		phrase{"The fake was refused: right.", "Die Fälschung wurde abgelehnt: richtig."},
		phrase{},
		phrase{"The fake got the mail.", "Die Fälschung bekam die E-Mail."},
	},
	{
		phrase{"Refused, though DANE alone accepts it.", "Abgelehnt, obwohl DANE allein ihn annimmt."},
		phrase{},
		phrase{"Accepted. DANE does that, and so does whoever checks nothing.", "Angenommen. Das tut DANE, aber auch, wer nichts prüft."},
	},
	{
		phrase{"Refused, as DANE demands.", "Abgelehnt, wie DANE es verlangt."},
		phrase{},
		phrase{"Accepted. MTA-STS does that, DANE does not.", "Angenommen. MTA-STS tut das, DANE nicht."},
	},
	{
		phrase{"Refused, for reasons that are not known.", "Abgelehnt, aus unbekanntem Grund."},
		phrase{},
		phrase{"Accepted, as everyone does who encrypts.", "Angenommen, wie es jeder tut, der verschlüsselt."},
	},
	{
		phrase{"Kept the mail, though nothing demands protection here.", "E-Mail behalten, obwohl hier nichts Schutz verlangt."},
		phrase{"The mail was handed over unencrypted, which is allowed here.", "Die E-Mail wurde unverschlüsselt übergeben, was hier erlaubt ist."},
		phrase{"The mail was handed over, encrypted.", "Die E-Mail wurde verschlüsselt übergeben."},
	},
}

// serverText says what o at server n means; over: nothing more will come.
func serverText(n int, o Outcome, alsoRefused, alsoEncrypted, over bool) phrase {
	w := serverTexts[n-1]
	switch {
	case o == None && over:
		return phrase{"Your provider never came there.", "Ihr Anbieter war nie dort."}
	case o == None:
		return phrase{"Your provider has not come there yet.", "Ihr Anbieter war noch nicht dort."}
	case o == Mixed:
		return phrase{"The mail was handed over encrypted, and at other times kept.", "Die E-Mail wurde verschlüsselt übergeben, andere Male behalten."}
	case o == Refused && !w.refused.empty():
		return w.refused
	case o == Plaintext && alsoRefused:
		return phrase{"The mail was handed over unencrypted, and at other times kept.", "Die E-Mail wurde unverschlüsselt übergeben, andere Male behalten."}
	case o == Plaintext && alsoEncrypted && n == 7:
		return phrase{
			"The mail was handed over unencrypted, and at other times encrypted; both is allowed here.",
			"Die E-Mail wurde mal unverschlüsselt, mal verschlüsselt übergeben; beides ist hier erlaubt.",
		}
	case o == Plaintext && !w.plaintext.empty():
		return w.plaintext
	case o == Encrypted && !w.encrypted.empty():
		return w.encrypted
	case o == Plaintext:
		return phrase{"The mail was handed over unencrypted.", "Die E-Mail wurde unverschlüsselt übergeben."}
	case o == Encrypted:
		return phrase{"The mail was handed over, encrypted.", "Die E-Mail wurde verschlüsselt übergeben."}
	}
	return phrase{"There were connections, but nothing that tells anything.", "Es gab Verbindungen, aber nichts, was etwas verrät."}
}

// A strip gathers what came of the connections to each server.
type strip [7]struct {
	Server
	refused, encrypted bool
}

func (s *strip) add(n int, o Outcome, at time.Time) {
	if n < 1 || n > len(s) {
		return
	}
	to := &s[n-1]
	to.Connections++
	to.refused, to.encrypted = to.refused || o == Refused, to.encrypted || o == Encrypted
	to.Outcome = together(to.Outcome, o)
	if at.After(to.Last) {
		to.Last = at.UTC()
	}
}

// together is the outcome of two connections: the worst news first, and the
// least telling last.
func together(a, b Outcome) Outcome {
	for _, o := range []Outcome{Plaintext, Mixed} {
		if a == o || b == o {
			return o
		}
	}
	if a == Encrypted && b == Refused || a == Refused && b == Encrypted {
		return Mixed
	}
	for _, o := range []Outcome{Encrypted, Refused, Contacted} {
		if a == o || b == o {
			return o
		}
	}
	return None
}

func (s *strip) servers(l report.Language, over bool) []Server {
	out := make([]Server, 0, len(s))
	for i, server := range s {
		server.Number, server.Name = i+1, serverNames[i].in(l)
		server.Text = serverText(i+1, server.Outcome, server.refused, server.encrypted, over).in(l)
		out = append(out, server.Server)
	}
	return out
}
