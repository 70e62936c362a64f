package report

import (
	"slices"

	"github.com/tlsink/tlsink/policyinfer"
)

// findingRemedies are the steps for findings, the most important first.
func findingRemedies() []remedy {
	return slices.Concat(enforceRemedies(), tlsRemedies(), testRemedies())
}

// enforceRemedies are the steps for what is checked, and then has no effect.
func enforceRemedies() []remedy {
	return []remedy{
		{
			policyinfer.FindingFallback,
			phrase{"No plaintext after TLS failed", "Kein Klartext, nachdem TLS gescheitert ist"},
			phrase{
				"Switch off the retry in plaintext: it gives an attacker exactly what encryption denied. Postfix does it at level may.",
				"Schalten Sie die Wiederholung im Klartext ab: Sie gibt einem Angreifer genau das, was die Verschlüsselung ihm verwehrt hat. Postfix wiederholt so auf der Stufe may.",
			},
			[]setting{
				{"Exim, transport", []string{"tls_tempfail_tryclear = false", "hosts_require_tls = *"}},
				{"Postfix, main.cf", []string{"smtp_tls_security_level = dane", "smtp_dns_support_level = dnssec"}},
			},
			phrase{},
		},
		{
			policyinfer.FindingVerifiesUnused,
			phrase{"Require TLS where certificates are verified", "TLS verlangen, wo Zertifikate geprüft werden"},
			phrase{
				"A check that is skipped when STARTTLS is missing protects from nobody.",
				"Eine Prüfung, die entfällt, sobald STARTTLS fehlt, schützt vor niemandem.",
			},
			[]setting{
				{"Exim, transport", []string{"tls_verify_hosts = *", "hosts_require_tls = *"}},
				{"Postfix, main.cf", []string{"smtp_tls_security_level = verify"}},
			},
			phrase{},
		},
		{
			policyinfer.FindingTLSAUnused,
			phrase{"Make DANE work", "DANE zum Funktionieren bringen"},
			phrase{
				"The resolver has to validate DNSSEC, and the mail server has to trust it: it runs on the same host, and glibc passes its word on.",
				"Der Resolver muss DNSSEC validieren, und der Mailserver muss ihm trauen: Er läuft auf demselben Rechner, und die glibc gibt seine Auskunft weiter.",
			},
			daneSettings(),
			phrase{},
		},
		{
			policyinfer.FindingSTSUnused,
			phrase{"Make MTA-STS work", "MTA-STS zum Funktionieren bringen"},
			phrase{
				"What fetches the policy must also decide about the delivery, for every transport; a mode for testing only reports. Exim has no MTA-STS.",
				"Was die Richtlinie abruft, muss auch über die Zustellung entscheiden, und zwar für jeden Transport; ein Testmodus meldet nur. Exim kennt kein MTA-STS.",
			},
			[]setting{{"Postfix, main.cf", []string{policyMap}}},
			phrase{},
		},
		{
			policyinfer.FindingSTSOverDANE,
			phrase{"Let DANE take precedence over MTA-STS", "DANE den Vorrang vor MTA-STS geben"},
			phrase{
				"Where both apply, RFC 8461 §2 wants DANE to decide. For Postfix, use a policy map that leaves domains with TLSA records to DANE, such as postfix-tlspol.",
				"Wo beides gilt, soll nach RFC 8461 §2 DANE entscheiden. Verwenden Sie für Postfix eine Policy-Map, die Domains mit TLSA-Einträgen DANE überlässt, etwa postfix-tlspol.",
			},
			[]setting{{"Postfix, main.cf", []string{"smtp_dns_support_level = dnssec", policyMap}}},
			phrase{},
		},
		{
			policyinfer.FindingEither,
			phrase{},
			phrase{"Let DANE take precedence where both apply (RFC 8461 §2).", "Geben Sie DANE den Vorrang, wo beides gilt (RFC 8461 §2)."},
			nil,
			phrase{},
		},
	}
}

// tlsRemedies are the steps for how TLS is spoken.
func tlsRemedies() []remedy {
	return []remedy{
		{
			policyinfer.FindingVerifiesNoSNI,
			phrase{"Name the server whose certificate is checked", "Den Server nennen, dessen Zertifikat geprüft wird"},
			phrase{},
			[]setting{
				{"Postfix, main.cf", []string{"smtp_tls_servername = hostname"}},
				{"Exim, transport", []string{"tls_sni = $host"}},
			},
			phrase{},
		},
		{
			policyinfer.FindingOldTLS,
			phrase{"Offer TLS 1.2 and 1.3", "TLS 1.2 und 1.3 anbieten"},
			phrase{
				"Update the TLS library of the mail server first; then these settings keep older versions out.",
				"Aktualisieren Sie zuerst die TLS-Bibliothek des Mailservers; danach halten diese Einstellungen ältere Versionen fern.",
			},
			[]setting{
				{"Postfix, main.cf", []string{"smtp_tls_protocols = >=TLSv1.2", "smtp_tls_mandatory_protocols = >=TLSv1.2"}},
				{"Exim (OpenSSL)", []string{eximNoOldOpenSSL}},
			},
			phrase{},
		},
		{
			policyinfer.FindingWeakSuites,
			phrase{},
			phrase{
				"Enable cipher suites with ECDHE and AES-GCM or ChaCha20-Poly1305: remove what excludes them (Postfix: smtp_tls_exclude_ciphers; Exim: tls_require_ciphers in the transport).",
				"Schalten Sie Cipher-Suites mit ECDHE und AES-GCM oder ChaCha20-Poly1305 ein: Entfernen Sie, was sie ausschließt (Postfix: smtp_tls_exclude_ciphers; Exim: tls_require_ciphers im Transport).",
			},
			nil,
			phrase{},
		},
		{
			policyinfer.FindingNoCommonTLS,
			phrase{},
			phrase{
				"Check the TLS versions and cipher suites of the mail server (Postfix: smtp_tls_protocols, smtp_tls_exclude_ciphers; Exim: openssl_options, tls_require_ciphers): this service accepts nearly all.",
				"Prüfen Sie die TLS-Versionen und Cipher-Suites des Mailservers (Postfix: smtp_tls_protocols, smtp_tls_exclude_ciphers; Exim: openssl_options, tls_require_ciphers): Dieser Dienst akzeptiert fast alle.",
			},
			nil,
			phrase{},
		},
	}
}

// testRemedies are the steps for findings that ask for a look, or for another
// test.
func testRemedies() []remedy {
	text := func(id string, text phrase) remedy { return remedy{key: id, text: text} }
	return []remedy{
		text(policyinfer.FindingBounced, phrase{
			"Let mail that can't be encrypted wait in the queue: that STARTTLS is missing may be an attack or a fault, and pass.",
			"Lassen Sie E-Mails, die sich nicht verschlüsseln lassen, in der Warteschlange warten: Fehlt STARTTLS, kann das ein Angriff oder eine Störung sein und vorübergehen.",
		}),
		text(policyinfer.FindingFamilies, phrase{
			"Compare what depends on the address: settings, relays and resolvers for IPv4 and for IPv6.",
			"Vergleichen Sie, was von der Adresse abhängt: Einstellungen, Relays und Resolver für IPv4 und für IPv6.",
		}),
		text(policyinfer.FindingGoodRefused, phrase{
			"The sender refused a server whose certificate was valid in every respect: check its CA certificates, its clock and its TLS versions.",
			"Der Absender hat einen Server abgelehnt, dessen Zertifikat in jeder Hinsicht gültig war: Prüfen Sie seine Liste von Zertifizierungsstellen, seine Uhr und seine TLS-Versionen.",
		}),
		text(policyinfer.FindingPipelined, phrase{
			"Find out what sends commands behind STARTTLS: an outdated mail server, or something on the way.",
			"Finden Sie heraus, was hinter STARTTLS noch Befehle sendet: ein veralteter Mailserver oder etwas auf dem Weg.",
		}),
		text(policyinfer.FindingChanged, phrase{
			"If nobody changed the configuration during the test, look for several servers behind one address, and test again.",
			"Wenn während des Tests niemand etwas an den Einstellungen geändert hat, suchen Sie nach mehreren Servern hinter einer Adresse, und testen Sie erneut.",
		}),
		text(policyinfer.FindingChangedOrMixed, phrase{
			"Send a new test mail while the configuration stays as it is, and compare the outbound hosts.",
			"Schicken Sie eine neue Testmail, während die Einstellungen unverändert bleiben, und vergleichen Sie die sendenden Server.",
		}),
		text(policyinfer.FindingAmbiguous, phrase{
			"Test again while nothing else behind the same address connects to this service.",
			"Testen Sie erneut, während sich hinter derselben Adresse nichts anderes mit diesem Dienst verbindet.",
		}),
	}
}
