package live

import (
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/report"
)

// placeText is the state sentence of a test that waits for a slot.
func placeText(p *Place, now time.Time, l report.Language) string {
	place := phrase{
		"All test addresses are taken, and yours is the next test. It begins by itself; keep this page open.",
		"Alle Testadressen sind vergeben, und Ihr Test ist der nächste. Er beginnt von selbst; lassen Sie diese Seite offen.",
	}
	switch {
	case p.Ahead == 1:
		place = phrase{
			"All test addresses are taken. One test is before yours, which begins by itself; keep this page open.",
			"Alle Testadressen sind vergeben. Ein Test kommt vor Ihrem, der dann von selbst beginnt; lassen Sie diese Seite offen.",
		}
	case p.Ahead > 1:
		place = phrase{
			"All test addresses are taken. %[1]d tests are before yours, which begins by itself; keep this page open.",
			"Alle Testadressen sind vergeben. %[1]d Tests kommen vor Ihrem, der dann von selbst beginnt; lassen Sie diese Seite offen.",
		}
	}
	until := phrase{}
	if p.Free.After(now) {
		until = phrase{"That is at %[1]s at the latest.", "Das ist spätestens um %[1]s der Fall."}
	}
	return sentences(place.with(l, p.Ahead), until.with(l, clock(p.Free, now)))
}

// waitingText asks for the mail.
func waitingText(expires, now time.Time) phrase {
	switch {
	case expires.IsZero():
		return phrase{
			"Now send one mail to both addresses, from the account that you want to test.",
			"Schicken Sie jetzt eine E-Mail an beide Adressen, von dem Konto, das Sie testen wollen.",
		}
	case !expires.After(now):
		return phrase{
			"The time to send the mail is over, but one that is on its way may still arrive.",
			"Die Zeit für die E-Mail ist um; eine, die schon unterwegs ist, kann noch eintreffen.",
		}
	}
	return phrase{
		"Now send one mail to both addresses, from the account that you want to test. It has to arrive by %[1]s.",
		"Schicken Sie jetzt eine E-Mail an beide Adressen, von dem Konto, das Sie testen wollen. Sie muss bis %[1]s eintreffen.",
	}
}

// runningText says what goes on while evidence is gathered.
func runningText(s Snapshot) phrase {
	switch {
	case len(s.Input.History.Connections) == 0:
		return phrase{
			"The test has begun, and waits for what your provider does next.",
			"Der Test hat begonnen und wartet darauf, was Ihr Anbieter als Nächstes tut.",
		}
	case s.Phase == evidence.Downgrade:
		return phrase{
			"Your mail has arrived. Your provider was asked to send it again later; until then this service pretends that it can’t encrypt.",
			"Ihre E-Mail ist angekommen. Ihr Anbieter wurde gebeten, sie später noch einmal zu senden; bis dahin gibt dieser Dienst vor, nicht verschlüsseln zu können.",
		}
	}
	return phrase{
		"Your mail has arrived. Your provider is asked to send it again, and each time it meets other servers, until it is clear how it protects mail.",
		"Ihre E-Mail ist angekommen. Ihr Anbieter wird gebeten, sie noch einmal zu senden, und trifft jedes Mal auf andere Server, bis klar ist, wie er E-Mails schützt.",
	}
}

// unconfirmed is the state sentence of a test whose verdict may be taken back.
var unconfirmed = phrase{
	"The test has reached its result. This service now checks that it was itself in order; if it was not, the result is taken back.",
	"Das Ergebnis des Tests liegt vor. Dieser Dienst prüft nun noch, ob er selbst in Ordnung war; war er es nicht, wird das Ergebnis zurückgenommen.",
}

// phaseOf is whether encryption is offered; nil if it is not known.
func phaseOf(s Snapshot, l report.Language) *Phase {
	p := &Phase{Name: string(s.Phase), Ends: utc(s.PhaseEnds)}
	switch {
	case s.Phase == evidence.Secure:
		p.Text = phrase{
			"Encryption is offered to your provider, with certificates that are right or wrong in different ways.",
			"Ihrem Anbieter wird Verschlüsselung angeboten, mit Zertifikaten, die auf verschiedene Weise richtig oder falsch sind.",
		}.in(l)
	case s.Phase != evidence.Downgrade:
		return nil
	case s.PhaseEnds.IsZero():
		p.Text = phrase{
			"Encryption is hidden from your provider, as an attacker would do it.",
			"Die Verschlüsselung wird vor Ihrem Anbieter verborgen, wie ein Angreifer es täte.",
		}.in(l)
	case s.PhaseEnds.After(s.Now):
		p.Text = phrase{
			"Until %[1]s encryption is hidden from your provider, as an attacker would do it. Then it is offered.",
			"Bis %[1]s wird die Verschlüsselung vor Ihrem Anbieter verborgen, wie ein Angreifer es täte. Danach wird sie angeboten.",
		}.with(l, clock(s.PhaseEnds, s.Now))
	default:
		p.Text = phrase{
			"Encryption was hidden from your provider so far, and is offered from its next connection on.",
			"Bisher wurde die Verschlüsselung vor Ihrem Anbieter verborgen; ab seiner nächsten Verbindung wird sie angeboten.",
		}.in(l)
	}
	return p
}

// delayOf says that a fault of this service holds the verdict back.
func delayOf(s Snapshot, l report.Language) *Delay {
	return &Delay{
		Text: phrase{
			"This service has a fault of its own. No verdict is given until that is over, so the test may take longer. It is no fault of your provider.",
			"Dieser Dienst ist selbst gestört. Bis das behoben ist, gibt es kein Ergebnis; der Test kann deshalb länger dauern. Ihr Anbieter kann nichts dafür.",
		}.in(l),
		Cause: report.Clean(s.Slow, s.Zone, maxDetail),
	}
}
