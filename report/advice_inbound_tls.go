package report

import (
	"slices"

	"github.com/tlsink/tlsink/rating"
)

// certificateSettings are where a server has its key and certificates from.
func certificateSettings() []setting {
	return []setting{
		{"Postfix, main.cf", []string{"smtpd_tls_chain_files = /etc/ssl/key.pem, /etc/ssl/fullchain.pem"}},
		{"Exim", []string{"tls_certificate = /etc/ssl/fullchain.pem", "tls_privatekey = /etc/ssl/key.pem"}},
	}
}

// noStartTLS is about servers without encryption.
func (r receiver) noStartTLS() (step, bool) {
	hosts := r.failed(rating.StartTLS)
	if len(hosts) == 0 {
		return step{}, false
	}
	settings := certificateSettings()
	settings[0].Lines = append([]string{"smtpd_tls_security_level = may"}, settings[0].Lines...)
	settings[1].Lines = append([]string{"tls_advertise_hosts = *"}, settings[1].Lines...)
	return step{
		Title: phrase{"Offer STARTTLS", "STARTTLS anbieten"}.in(r.l),
		Text: phrase{
			"Mail to %[1]s arrives unencrypted: STARTTLS is not offered there, or does not work.",
			"E-Mails an %[1]s kommen unverschlüsselt an: STARTTLS wird dort nicht angeboten oder funktioniert nicht.",
		}.with(r.l, r.list(hosts)),
		Settings: settings,
		Ask: r.ask(phrase{
			"Your mail servers (%[1]s) take mail to me unencrypted only. Please offer STARTTLS there, with TLS 1.2 and 1.3 and a valid certificate. By when will that be done?",
			"Ihre Mailserver (%[1]s) nehmen E-Mails an mich nur unverschlüsselt an. Bitte bieten Sie dort STARTTLS an, mit TLS 1.2 und 1.3 und einem gültigen Zertifikat. Bis wann wird das geschehen?",
		}, hosts),
	}, true
}

// noVersion is about servers that have outdated versions of TLS only.
func (r receiver) noVersion() (step, bool) {
	hosts := r.failed(rating.TLSVersion)
	if len(hosts) == 0 {
		return step{}, false
	}
	return step{
		Title: phrase{"Update TLS", "TLS aktualisieren"}.in(r.l),
		Text: phrase{
			"%[1]s: TLS 1.2 and 1.3 are missing, and senders withdraw what is older (RFC 8996). Update the mail server and its TLS library; no setting replaces that.",
			"%[1]s: TLS 1.2 und 1.3 fehlen, und Absender ziehen Älteres aus dem Verkehr (RFC 8996). Aktualisieren Sie den Mailserver und seine TLS-Bibliothek; keine Einstellung ersetzt das.",
		}.with(r.l, r.list(hosts)),
		Ask: r.ask(phrase{
			"Your mail servers (%[1]s) know only versions of TLS that have been withdrawn. Please update them, so that they offer TLS 1.2 and 1.3. By when will that be done?",
			"Ihre Mailserver (%[1]s) beherrschen nur zurückgezogene TLS-Versionen. Bitte aktualisieren Sie sie, so dass sie TLS 1.2 und 1.3 anbieten. Bis wann wird das geschehen?",
		}, hosts),
	}, true
}

// certificate is about certificates that are not valid. Senders with DANE do
// not mind, all others that check do.
func (r receiver) certificate() (step, bool) {
	hosts := r.failed(rating.Certificate)
	if len(hosts) == 0 {
		return step{}, false
	}
	return step{
		Title: phrase{"Get a valid certificate", "Ein gültiges Zertifikat beschaffen"}.in(r.l),
		Text: phrase{
			"%[1]s: the certificate is not from a public CA, not for this name, or not in date, or intermediate certificates are missing; the details say which. Get one for exactly the name in the MX record, free of charge e.g. from Let’s Encrypt, and send the whole chain, the server’s own certificate first.",
			"%[1]s: Das Zertifikat stammt nicht von einer öffentlichen Zertifizierungsstelle, gilt nicht für diesen Namen oder nicht zu dieser Zeit, oder Zwischenzertifikate fehlen; was davon zutrifft, steht in den Einzelheiten. Beschaffen Sie eines auf genau den Namen im MX-Eintrag, kostenlos zum Beispiel von Let’s Encrypt, und senden Sie die ganze Zertifikatskette, das eigene Zertifikat des Servers zuerst.",
		}.with(r.l, r.list(hosts)),
		Settings: certificateSettings(),
		Ask: r.ask(phrase{
			"Your mail servers (%[1]s) have no valid certificate, so that nobody can tell them from an attacker. Please install one of a public CA for these names, with the whole chain. By when will that be done?",
			"Ihre Mailserver (%[1]s) haben kein gültiges Zertifikat; niemand kann sie von einem Angreifer unterscheiden. Bitte installieren Sie eines von einer öffentlichen Zertifizierungsstelle auf diese Namen, mit vollständiger Zertifikatskette. Bis wann wird das geschehen?",
		}, hosts),
	}, true
}

// oldTLS is about what should not be possible beside what is.
func (r receiver) oldTLS() (step, bool) {
	versions, suites := r.failed(rating.NoOldTLS), r.failed(rating.ForwardSecrecy)
	if len(versions)+len(suites) == 0 {
		return step{}, false
	}
	postfix := setting{Name: "Postfix 3.6+, main.cf"}
	openssl, gnutls := setting{Name: "Exim (OpenSSL)"}, "tls_require_ciphers = NORMAL"
	if len(versions) > 0 {
		postfix.Lines = append(postfix.Lines, "smtpd_tls_protocols = >=TLSv1.2", "smtpd_tls_mandatory_protocols = >=TLSv1.2")
		openssl.Lines = append(openssl.Lines, eximNoOldOpenSSL)
		gnutls += ":-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
	}
	if len(suites) > 0 {
		postfix.Lines = append(postfix.Lines, "smtpd_tls_exclude_ciphers = kRSA")
		openssl.Lines = append(openssl.Lines, "tls_require_ciphers = HIGH:!aNULL:!kRSA")
		gnutls += ":-RSA"
	}
	hosts := slices.Compact(slices.Sorted(slices.Values(slices.Concat(versions, suites))))
	return step{
		Title: phrase{"Switch off outdated encryption", "Veraltete Verschlüsselung abschalten"}.in(r.l),
		Text: phrase{
			"%[1]s: versions before TLS 1.2, or suites without forward secrecy, are accepted as well. Once they are off, a sender that knows nothing else falls back to plaintext, unless STARTTLS is mandatory.",
			"%[1]s: Auch ältere Versionen als TLS 1.2 oder Cipher-Suites ohne Forward Secrecy werden akzeptiert. Ein Absender, der nichts anderes beherrscht, weicht nach dem Abschalten auf Klartext aus, sofern STARTTLS nicht Pflicht ist.",
		}.with(r.l, r.list(hosts)),
		Settings: []setting{postfix, openssl, {"Exim (GnuTLS, Debian)", []string{gnutls}}},
		Ask: r.ask(phrase{
			"Your mail servers (%[1]s) still accept outdated encryption. Please allow TLS 1.2 and 1.3 with forward secrecy only. By when will that be done?",
			"Ihre Mailserver (%[1]s) akzeptieren noch veraltete Verschlüsselung. Bitte lassen Sie nur noch TLS 1.2 und 1.3 mit Forward Secrecy zu. Bis wann wird das geschehen?",
		}, hosts),
	}, true
}

// mandatory is about servers that take mail without STARTTLS, too. RFC 3207 §4
// forbids public servers to insist on it, so it is a choice: it is named only to
// those for whom it is the last thing that is missing.
func (r receiver) mandatory() (step, bool) {
	hosts := r.failed(rating.Mandatory)
	if len(hosts) == 0 || len(r.failed(rating.StartTLS))+len(r.failed(rating.MXSecure))+len(r.failed(rating.AddressSecure))+
		len(r.failed(rating.Authenticated)) > 0 {
		return step{}, false
	}
	return step{
		Title: phrase{"If you need qualified transport encryption: make STARTTLS mandatory", "Wenn Sie qualifizierte Transportverschlüsselung brauchen: STARTTLS zur Pflicht machen"}.in(r.l),
		Text: phrase{
			"German data protection authorities expect it for confidential data. Mail from senders that do not encrypt is then refused, against RFC 3207 §4, by: %[1]s.",
			"Die deutschen Datenschutzbehörden erwarten das bei vertraulichen Daten. E-Mails von Absendern ohne Verschlüsselung werden dann abgelehnt, entgegen RFC 3207 §4, und zwar von: %[1]s.",
		}.with(r.l, r.list(hosts)),
		Settings: []setting{
			{"Postfix, main.cf", []string{"smtpd_tls_security_level = encrypt"}},
			{"Exim, acl_check_mail", []string{"deny !encrypted = *", "     message = STARTTLS is required"}},
		},
		Ask: r.ask(phrase{
			"I process confidential data. Can your mail servers (%[1]s) take mail to me encrypted only?",
			"Ich verarbeite vertrauliche Daten. Können Ihre Mailserver (%[1]s) E-Mails an mich ausschließlich verschlüsselt annehmen?",
		}, hosts),
	}, true
}
