package live

import (
	"slices"

	"github.com/tlsink/tlsink/evidence"
)

// contact says what came of a connection that neither handed a mail over nor
// refused to, as far as can be told.
func (t teller) contact(c *evidence.Connection) string {
	return sentences(t.prelude(c), t.contactOf(c).with(t.l, c.Server, t.who(c)))
}

func (t teller) contactOf(c *evidence.Connection) phrase {
	switch {
	case c.Ending == evidence.EndingOpen:
		return phrase{"%[2]s is connected right now.", "%[2]s ist gerade verbunden."}
	case len(c.Transactions) > 0 || c.MailFrom != nil:
		return begun(c)
	case c.Ending == evidence.EndingServer:
		return phrase{
			"This service ended the connection itself, so it says nothing about your provider.",
			"Dieser Dienst hat die Verbindung selbst beendet; über Ihren Anbieter sagt sie nichts.",
		}
	case c.TLS != nil:
		return handshake(c)
	case c.Ending == evidence.EndingReset || c.Ending == evidence.EndingTimeout:
		return brokenOff(c)
	case len(c.Helo) == 0:
		return phrase{
			"%[2]s connected and left without a word, like somebody who only looks whether there is a server. That tells nothing.",
			"%[2]s stellte eine Verbindung her und ging ohne ein Wort, wie jemand, der nur nachsieht, ob es einen Server gibt. Das verrät nichts.",
		}
	case erred(c):
		return errored
	case c.StartTLS:
		return phrase{
			"%[2]s asked for encryption, but did not begin with it. That tells nothing.",
			"%[2]s bat um Verschlüsselung, begann aber nicht damit. Das verrät nichts.",
		}
	case c.StartTLSOffered:
		return phrase{
			"Server %[1]d offered encryption. %[2]s neither used it nor handed a mail over. That tells nothing.",
			"Server %[1]d bot Verschlüsselung an. %[2]s nutzte sie nicht und übergab auch keine E-Mail. Das verrät nichts.",
		}
	}
	return phrase{
		"%[2]s only connected. That tells nothing.",
		"%[2]s hat sich nur verbunden. Das verrät nichts.",
	}
}

var errored = phrase{
	"%[2]s got an error as answer and left. That may be the reason, so it tells nothing.",
	"%[2]s bekam einen Fehler zur Antwort und ging. Das kann der Grund sein; deshalb verrät es nichts.",
}

// erred reports whether we answered with an error.
func erred(c *evidence.Connection) bool {
	return slices.ContainsFunc(c.Replies, func(code string) bool { return code >= "4" })
}

func begun(c *evidence.Connection) phrase {
	if len(c.Refused) > 0 && len(c.RcptTo) == 0 {
		return phrase{
			"%[2]s wanted to hand over a mail for an address that does not exist here, and was turned away. That tells nothing.",
			"%[2]s wollte eine E-Mail für eine Adresse übergeben, die es hier nicht gibt, und wurde abgewiesen. Das verrät nichts.",
		}
	}
	return phrase{
		"%[2]s began to hand a mail over and stopped before its content. That is neither a delivery nor a refusal.",
		"%[2]s begann, eine E-Mail zu übergeben, und brach vor dem Inhalt ab. Das ist weder eine Zustellung noch eine Ablehnung.",
	}
}

// handshake is about a connection that used TLS and shows no refusal.
func handshake(c *evidence.Connection) phrase {
	switch {
	case c.TLS.Stage != evidence.StageCertificate && c.TLS.Stage != evidence.StageFinished:
		return phrase{
			"The encryption failed before server %[1]d had shown its certificate, so this says nothing about what is checked.",
			"Die Verschlüsselung scheiterte, bevor Server %[1]d sein Zertifikat gezeigt hatte; was geprüft wird, zeigt das nicht.",
		}
	case c.TLS.Alert != nil:
		return phrase{
			"Server %[1]d showed its certificate, but the encryption failed for another, technical reason. That says nothing about what is checked.",
			"Server %[1]d zeigte sein Zertifikat, aber die Verschlüsselung scheiterte aus einem anderen, technischen Grund. Was geprüft wird, zeigt das nicht.",
		}
	case c.Ending == evidence.EndingReset || c.Ending == evidence.EndingTimeout:
		return brokenOff(c)
	case erred(c):
		return errored
	}
	return phrase{
		"Server %[1]d showed its certificate. %[2]s left without handing a mail over, but not in a way that could be read as a refusal.",
		"Server %[1]d zeigte sein Zertifikat. %[2]s ging, ohne eine E-Mail zu übergeben, aber nicht so, dass es als Ablehnung gelten könnte.",
	}
}

func brokenOff(c *evidence.Connection) phrase {
	if c.Ending == evidence.EndingTimeout {
		return phrase{
			"%[2]s fell silent until the time was up. That may have many causes, so it tells nothing.",
			"%[2]s schwieg, bis die Zeit abgelaufen war. Das kann viele Ursachen haben; deshalb verrät es nichts.",
		}
	}
	return phrase{
		"The connection broke off. That may have many causes, so it tells nothing.",
		"Die Verbindung riss ab. Das kann viele Ursachen haben; deshalb verrät es nichts.",
	}
}
