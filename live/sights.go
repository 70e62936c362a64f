package live

import (
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// A sight is a face as it is told to people: what the sender met, and what it
// means that it handed its mail over there, or did not. %[1]d is the number of
// the server, %[2]s who came.
type sight struct {
	id                 string
	met                phrase
	delivered, refused phrase
}

// sightOf finds the words for what was met; they are empty for a face that is
// none of ours, as in a history that came from elsewhere.
func sightOf(s policyinfer.Seen) sight {
	id := sightID(s.Face)
	for _, known := range sights {
		if known.id == id && s.TLS == (s.Face.Certificate != scenario.NoCertificate) {
			return known
		}
	}
	return sight{id: "other"}
}

// sightID names what is told of a face in one way.
func sightID(f scenario.Face) string {
	switch {
	case f.Certificate == scenario.NoCertificate && !f.StartTLS:
		return "withheld at " + string(f.Domain)
	case f.Certificate == scenario.NoCertificate:
		return "offered at " + string(f.Domain)
	case f.Host == scenario.UT && f.Certificate.Trusted():
		return "ut, CA"
	case f.Host == scenario.UT && f.Certificate == scenario.SelfSigned:
		return "ut, self-signed"
	case f.Host == "" && f.Certificate == scenario.SelfSigned:
		return "no name, self-signed"
	case f.Host == "" && f.Certificate == scenario.CADefault:
		return "no name, CA"
	case f.Certificate == scenario.HostKind(f.Host):
		return string(f.Host)
	}
	return "other"
}

// The halves of sentences that several sights share.
var (
	pretended = phrase{
		"Server %[1]d pretended that it can’t encrypt, as an attacker would make it look.",
		"Server %[1]d gab vor, nicht verschlüsseln zu können, so wie ein Angreifer es aussehen ließe.",
	}
	offered = phrase{
		"Server %[1]d offered encryption, but it was not used.",
		"Server %[1]d bot Verschlüsselung an, sie wurde aber nicht genutzt.",
	}
	fellFor = phrase{
		"%[2]s handed the mail over anyway, encrypted: an attacker in this place would have got it. DANE forbids that, and so does MTA-STS except at a first contact.",
		"%[2]s übergab die E-Mail trotzdem, verschlüsselt: Ein Angreifer an dieser Stelle hätte sie bekommen. DANE verbietet das, MTA-STS ebenfalls, außer beim ersten Kontakt.",
	}
	unknownReason = phrase{
		"%[2]s left all the same and kept the mail. Why is not known, so nothing is concluded from it.",
		"%[2]s ging trotzdem wieder und behielt die E-Mail. Warum, ist nicht bekannt; daraus folgt deshalb nichts.",
	}
)

// sights has the words for every face.
var sights = [...]sight{
	{
		"withheld at et", pretended,
		phrase{
			"%[2]s handed the mail over anyway, unencrypted: anyone on the way could have read it. DANE forbids that, and so does MTA-STS except at a first contact.",
			"%[2]s übergab die E-Mail trotzdem, unverschlüsselt: Jeder auf dem Weg hätte sie lesen können. DANE verbietet das, MTA-STS ebenfalls, außer beim ersten Kontakt.",
		},
		phrase{
			"%[2]s left and kept the mail. That is right for an address that asks for protection.",
			"%[2]s ging wieder und behielt die E-Mail. Das ist richtig bei einer Adresse, die Schutz verlangt.",
		},
	},
	{
		"withheld at ut",
		phrase{
			"Server %[1]d belongs to the address that asks for no protection, and offered no encryption.",
			"Server %[1]d gehört zu der Adresse, die keinen Schutz verlangt, und bot keine Verschlüsselung an.",
		},
		phrase{
			"%[2]s handed the mail over unencrypted. Nothing forbids that here, but an attacker who hides the encryption can read such mail.",
			"%[2]s übergab die E-Mail unverschlüsselt. Nichts verbietet das hier, aber ein Angreifer, der die Verschlüsselung unterdrückt, kann solche E-Mails lesen.",
		},
		phrase{
			"%[2]s left and kept the mail, although nothing here demands encryption: it seems to have a rule of its own that does.",
			"%[2]s ging wieder und behielt die E-Mail, obwohl hier nichts Verschlüsselung verlangt: Offenbar verlangt das eine eigene Regel.",
		},
	},
	{
		"withheld at unknown", pretended,
		phrase{
			"%[2]s handed the mail over anyway, unencrypted, for both test addresses at once: anyone on the way could have read it.",
			"%[2]s übergab die E-Mail trotzdem, unverschlüsselt und für beide Testadressen zugleich: Jeder auf dem Weg hätte sie lesen können.",
		},
		phrase{
			"%[2]s left and kept the mail, as is right where an address asks for protection.",
			"%[2]s ging wieder und behielt die E-Mail, wie es richtig ist, wenn eine Adresse Schutz verlangt.",
		},
	},
	{
		"offered at et", offered,
		phrase{
			"%[2]s handed the mail over unencrypted, although this address asks for protection: anyone on the way could have read it. Either it never encrypts, or it gave up after encryption had failed.",
			"%[2]s übergab die E-Mail unverschlüsselt, obwohl diese Adresse Schutz verlangt: Jeder auf dem Weg hätte sie lesen können. Entweder verschlüsselt er nie, oder er hat nach einem Fehlschlag darauf verzichtet.",
		},
		phrase{},
	},
	{
		"offered at ut", offered,
		phrase{
			"%[2]s handed the mail over unencrypted: anyone on the way could have read it. Either it never encrypts, or it gave up after encryption had failed.",
			"%[2]s übergab die E-Mail unverschlüsselt: Jeder auf dem Weg hätte sie lesen können. Entweder verschlüsselt er nie, oder er hat nach einem Fehlschlag darauf verzichtet.",
		},
		phrase{},
	},
	{
		"offered at unknown", offered,
		phrase{
			"%[2]s handed the mail over unencrypted, for both test addresses at once: anyone on the way could have read it. Either it never encrypts, or it gave up after encryption had failed.",
			"%[2]s übergab die E-Mail unverschlüsselt, für beide Testadressen zugleich: Jeder auf dem Weg hätte sie lesen können. Entweder verschlüsselt er nie, oder er hat nach einem Fehlschlag darauf verzichtet.",
		},
		phrase{},
	},
	{
		"mx03",
		phrase{
			"Server %[1]d showed a certificate that nobody vouches for, and that does not match the fingerprint in DNS (DANE): an attacker’s would look like this.",
			"Server %[1]d zeigte ein Zertifikat, für das niemand bürgt und das nicht zum Fingerabdruck im DNS (DANE) passt: So sähe das eines Angreifers aus.",
		},
		fellFor,
		phrase{
			"%[2]s refused it and left without handing over the mail. That is right: DANE and MTA-STS demand it, and so does anyone who checks certificates.",
			"%[2]s lehnte es ab und ging, ohne die E-Mail zu übergeben. Das ist richtig: DANE und MTA-STS verlangen es, und wer Zertifikate prüft, tut es auch sonst.",
		},
	},
	{
		"mx04",
		phrase{
			"Server %[1]d showed a certificate that nobody vouches for, but its fingerprint stands in DNS (DANE).",
			"Server %[1]d zeigte ein Zertifikat, für das niemand bürgt, aber sein Fingerabdruck steht im DNS (DANE).",
		},
		phrase{
			"%[2]s handed the mail over, encrypted. By DANE that is right; but one that checks nothing would have done the same, so the other servers must tell.",
			"%[2]s übergab die E-Mail, verschlüsselt. Nach DANE ist das richtig; wer gar nichts prüft, hätte es aber auch getan. Das müssen die anderen Server klären.",
		},
		phrase{
			"%[2]s refused it and left without handing over the mail. DANE alone would have accepted it; MTA-STS and the usual checks want a certificate that a public authority vouches for.",
			"%[2]s lehnte es ab und ging, ohne die E-Mail zu übergeben. DANE allein hätte es angenommen; MTA-STS und die üblichen Prüfungen wollen ein Zertifikat, für das eine öffentliche Stelle bürgt.",
		},
	},
	{
		"mx05",
		phrase{
			"Server %[1]d showed a certificate that a public authority vouches for, but not the one whose fingerprint stands in DNS (DANE).",
			"Server %[1]d zeigte ein Zertifikat, für das eine öffentliche Stelle bürgt, aber nicht das, dessen Fingerabdruck im DNS steht (DANE).",
		},
		phrase{
			"%[2]s handed the mail over, encrypted. MTA-STS allows that and DANE does not; one that checks nothing would have done the same.",
			"%[2]s übergab die E-Mail, verschlüsselt. MTA-STS erlaubt das, DANE nicht; wer gar nichts prüft, hätte es auch getan.",
		},
		phrase{
			"%[2]s refused it and left without handing over the mail. DANE demands that; MTA-STS alone would have accepted it.",
			"%[2]s lehnte es ab und ging, ohne die E-Mail zu übergeben. DANE verlangt das; MTA-STS allein hätte es angenommen.",
		},
	},
	{
		"mx06",
		phrase{
			"Server %[1]d showed a certificate that is right in every way.",
			"Server %[1]d zeigte ein Zertifikat, das in jeder Hinsicht richtig ist.",
		},
		phrase{
			"%[2]s handed the mail over, encrypted. Everyone who encrypts does that here, so it says little about what is checked.",
			"%[2]s übergab die E-Mail, verschlüsselt. Das tut hier jeder, der verschlüsselt; über Prüfungen sagt es deshalb wenig.",
		},
		unknownReason,
	},
	{
		"no name, self-signed",
		phrase{
			"Server %[1]d showed a certificate that nobody vouches for, and that matches no fingerprint in DNS.",
			"Server %[1]d zeigte ein Zertifikat, für das niemand bürgt und das zu keinem Fingerabdruck im DNS passt.",
		},
		fellFor,
		phrase{
			"%[2]s refused it and left without handing over the mail. That is right; it seems to check certificates.",
			"%[2]s lehnte es ab und ging, ohne die E-Mail zu übergeben. Das ist richtig; offenbar werden Zertifikate geprüft.",
		},
	},
	{
		"no name, CA",
		phrase{
			"Server %[1]d showed a certificate that a public authority vouches for, but whose fingerprint does not stand in DNS.",
			"Server %[1]d zeigte ein Zertifikat, für das eine öffentliche Stelle bürgt, dessen Fingerabdruck aber nicht im DNS steht.",
		},
		phrase{
			"%[2]s handed the mail over, encrypted. DANE forbids that; one that checks certificates in the usual way, or not at all, does it.",
			"%[2]s übergab die E-Mail, verschlüsselt. DANE verbietet das; wer Zertifikate auf die übliche Weise prüft oder gar nicht, tut es.",
		},
		unknownReason,
	},
	{
		"ut, self-signed",
		phrase{
			"Server %[1]d belongs to the address that asks for no protection, and showed a certificate that nobody vouches for.",
			"Server %[1]d gehört zu der Adresse, die keinen Schutz verlangt, und zeigte ein Zertifikat, für das niemand bürgt.",
		},
		phrase{
			"%[2]s handed the mail over, encrypted. Nothing demands a check here, and none was made: an attacker in this place would have got the mail.",
			"%[2]s übergab die E-Mail, verschlüsselt. Nichts verlangt hier eine Prüfung, und es gab keine: Ein Angreifer an dieser Stelle hätte die E-Mail bekommen.",
		},
		phrase{
			"%[2]s refused it and left without handing over the mail, although nothing demands a check here: it seems to have a rule of its own that does.",
			"%[2]s lehnte es ab und ging, ohne die E-Mail zu übergeben, obwohl hier nichts eine Prüfung verlangt: Offenbar verlangt das eine eigene Regel.",
		},
	},
	{
		"ut, CA",
		phrase{
			"Server %[1]d belongs to the address that asks for no protection, and showed a certificate that a public authority vouches for.",
			"Server %[1]d gehört zu der Adresse, die keinen Schutz verlangt, und zeigte ein Zertifikat, für das eine öffentliche Stelle bürgt.",
		},
		phrase{
			"%[2]s handed the mail over, encrypted. Nearly everyone who encrypts does that here.",
			"%[2]s übergab die E-Mail, verschlüsselt. Das tut hier fast jeder, der verschlüsselt.",
		},
		unknownReason,
	},
}
