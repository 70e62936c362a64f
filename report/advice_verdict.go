package report

import (
	"github.com/tlsink/tlsink/policyinfer"
)

// The settings that several steps need. Where Exim gets DANE from, see
// docs/verdicts.md.
func daneSettings() []setting {
	return []setting{
		{"Postfix, main.cf", []string{"smtp_tls_security_level = dane", "smtp_dns_support_level = dnssec"}},
		{"Exim, transport", []string{"hosts_try_dane = *"}},
		{"Exim, router", []string{"dnssec_request_domains = *"}},
		resolverSetting(),
	}
}

func resolverSetting() setting {
	return setting{"/etc/resolv.conf", []string{"nameserver 127.0.0.1", "options edns0 trust-ad"}}
}

// Exim takes the names of the library that it was built with.
const eximNoOldOpenSSL = "openssl_options = +no_sslv2 +no_sslv3 +no_tlsv1 +no_tlsv1_1"

// policyMap is postfix-tlspol, which knows both standards.
const policyMap = "smtp_tls_policy_maps = socketmap:inet:127.0.0.1:8642:QUERY"

// weakRemedies are the steps for verdicts that leave something to be done.
func weakRemedies() []remedy {
	return []remedy{
		{
			"none",
			phrase{"Switch encryption on for outgoing mail", "Verschlüsselung für ausgehende E-Mails einschalten"},
			phrase{
				"DANE is no more work than plain TLS; it needs a resolver on the mail server that validates DNSSEC. In Exim, remove hosts_avoid_tls. Then send a new test mail.",
				"DANE macht nicht mehr Arbeit als einfaches TLS; es braucht einen Resolver auf dem Mailserver, der DNSSEC validiert. In Exim entfernen Sie hosts_avoid_tls. Schicken Sie danach eine neue Testmail.",
			},
			daneSettings(),
			phrase{
				"Your outgoing mail servers do not encrypt my mail, although the receiver offers it. Please switch TLS on, and enforce DANE (RFC 7672) and MTA-STS (RFC 8461) for outgoing mail. By when will that be done?",
				"Ihre ausgehenden Mailserver verschlüsseln meine E-Mails nicht, obwohl der Empfänger es anbietet. Bitte schalten Sie TLS ein, und setzen Sie für ausgehende E-Mails DANE (RFC 7672) und MTA-STS (RFC 8461) durch. Bis wann wird das geschehen?",
			},
		},
		{
			"may",
			phrase{"Enforce what receivers publish", "Durchsetzen, was Empfänger veröffentlichen"},
			phrase{
				"Switch DANE on, with a resolver on the mail server that validates DNSSEC: without one, mail is silently sent as with may, in spite of these settings. Where DANE is not possible, enforce MTA-STS. Then send a new test mail.",
				"Schalten Sie DANE ein, mit einem Resolver auf dem Mailserver, der DNSSEC validiert: Ohne ihn werden E-Mails trotz dieser Einstellungen stillschweigend wie bei may verschickt. Wo DANE nicht möglich ist, setzen Sie MTA-STS durch. Schicken Sie danach eine neue Testmail.",
			},
			daneSettings(),
			phrase{
				"Your outgoing mail servers sent my mail without encryption as soon as the offer of STARTTLS was suppressed. Do they enforce DANE (RFC 7672) and MTA-STS (RFC 8461), on all hosts, over IPv4 and IPv6? If not, by when will they?",
				"Ihre ausgehenden Mailserver haben meine E-Mail unverschlüsselt verschickt, sobald das Angebot von STARTTLS unterdrückt wurde. Setzen sie DANE (RFC 7672) und MTA-STS (RFC 8461) durch, auf allen Servern, über IPv4 und IPv6? Wenn nicht: Bis wann wird das geschehen?",
			},
		},
		{
			"encrypt",
			phrase{"Check who receives the mail", "Prüfen, wer die E-Mail empfängt"},
			phrase{
				"Keep TLS required, and add a check of the receiving server: in Postfix a policy map that knows DANE and MTA-STS, such as postfix-tlspol (dane as the only rule would allow plaintext to domains without TLSA records). Then send a new test mail.",
				"Lassen Sie TLS Pflicht bleiben, und prüfen Sie zusätzlich den empfangenden Server: in Postfix mit einer Policy-Map, die DANE und MTA-STS kennt, etwa postfix-tlspol (dane als einzige Regel würde Klartext an Domains ohne TLSA-Einträge erlauben). Schicken Sie danach eine neue Testmail.",
			},
			[]setting{
				{"Postfix, main.cf", []string{"smtp_tls_security_level = encrypt", "smtp_dns_support_level = dnssec", policyMap}},
				{"Exim, transport", []string{"hosts_require_tls = *", "hosts_try_dane = *"}},
				resolverSetting(),
			},
			phrase{
				"Your outgoing mail servers always encrypt, but hand mail over to servers with wrong certificates. Please enforce DANE (RFC 7672) and MTA-STS (RFC 8461) for outgoing mail. By when will that be done?",
				"Ihre ausgehenden Mailserver verschlüsseln zwar immer, übergeben E-Mails aber auch an Server mit falschen Zertifikaten. Bitte setzen Sie für ausgehende E-Mails DANE (RFC 7672) und MTA-STS (RFC 8461) durch. Bis wann wird das geschehen?",
			},
		},
		{
			"verify",
			phrase{"Close the gap that DNS leaves", "Die Lücke im DNS schließen"},
			phrase{
				"The name that is verified comes from DNS, and an attacker may forge that answer. DANE closes this gap for domains that publish TLSA records; for other domains fix the names (Postfix: secure in smtp_tls_policy_maps).",
				"Der Name, der geprüft wird, stammt aus dem DNS, und diese Antwort kann ein Angreifer fälschen. DANE schließt diese Lücke bei Domains mit TLSA-Einträgen; bei anderen legen Sie die Namen fest (Postfix: secure in smtp_tls_policy_maps).",
			},
			[]setting{
				{"Postfix, main.cf", []string{"smtp_tls_security_level = verify", "smtp_dns_support_level = dnssec", policyMap}},
				{"Exim, transport", []string{"hosts_require_tls = *", "tls_verify_hosts = *", "hosts_try_dane = *"}},
				resolverSetting(),
			},
			phrase{
				"Your outgoing mail servers check certificates, but not TLSA records, so that forged MX records suffice to divert my mail. Please enforce DANE (RFC 7672) for outgoing mail. By when will that be done?",
				"Ihre ausgehenden Mailserver prüfen Zertifikate, aber keine TLSA-Einträge; gefälschte MX-Einträge genügen daher, um meine E-Mails umzuleiten. Bitte setzen Sie für ausgehende E-Mails DANE (RFC 7672) durch. Bis wann wird das geschehen?",
			},
		},
		{
			string(policyinfer.Mixed),
			phrase{"Align the hosts", "Die Server angleichen"},
			phrase{
				"Compare the configuration of the hosts listed below, align them, and send a new test mail. An attacker needs only the weakest of them.",
				"Vergleichen Sie die Einstellungen der unten aufgeführten Server, gleichen Sie sie an, und schicken Sie eine neue Testmail. Einem Angreifer genügt der schwächste von ihnen.",
			},
			daneSettings(),
			phrase{
				"Your outgoing mail servers do not all protect my mail alike; the attached report lists them. Please enforce DANE (RFC 7672) and MTA-STS (RFC 8461) on all of them. By when will that be done?",
				"Ihre ausgehenden Mailserver schützen meine E-Mails nicht alle gleich; der beigefügte Bericht führt sie auf. Bitte setzen Sie DANE (RFC 7672) und MTA-STS (RFC 8461) auf allen durch. Bis wann wird das geschehen?",
			},
		},
	}
}

var noChange = phrase{"This policy needs no change.", "An dieser Stufe müssen Sie nichts ändern."}

// goodRemedies are the steps for verdicts that need none.
func goodRemedies() []remedy {
	return []remedy{
		{
			"mta-sts",
			phrase{},
			phrase{
				"This policy needs no change. Enabling DANE as well would protect mail to the many domains that publish TLSA records and no MTA-STS policy, and the first mail to each domain.",
				"An dieser Stufe müssen Sie nichts ändern. DANE zusätzlich einzuschalten würde E-Mails an die vielen Domains schützen, die TLSA-Einträge, aber keine MTA-STS-Richtlinie veröffentlichen, und dazu die erste E-Mail an jede Domain.",
			},
			[]setting{{"Postfix, main.cf", []string{"smtp_dns_support_level = dnssec", policyMap}}},
			phrase{
				"You already enforce MTA-STS for outgoing mail. Will you enforce DANE (RFC 7672), too, and by when?",
				"Für ausgehende E-Mails setzen Sie MTA-STS bereits durch. Werden Sie auch DANE (RFC 7672) durchsetzen, und bis wann?",
			},
		},
		{
			"dane",
			phrase{},
			phrase{
				"This policy needs no change. If you want mail to domains without DANE to be encrypted too, set a stricter policy for them.",
				"An dieser Stufe müssen Sie nichts ändern. Wenn auch E-Mails an Domains ohne DANE immer verschlüsselt werden sollen, setzen Sie für diese eine strengere Stufe.",
			},
			[]setting{
				{"Postfix, main.cf", []string{"smtp_tls_policy_maps = hash:/etc/postfix/tls_policy"}},
				{"/etc/postfix/tls_policy", []string{"example.com  encrypt"}},
				{"Exim, transport", []string{"hosts_require_tls = *"}},
			},
			phrase{},
		},
		{
			"dane-only",
			phrase{},
			phrase{
				"This policy needs no change. Check that this level is meant for every domain: mail to domains without DANE bounces in the end.",
				"An dieser Stufe müssen Sie nichts ändern. Prüfen Sie, ob sie wirklich für jede Domain gelten soll: E-Mails an Domains ohne DANE gehen am Ende als unzustellbar zurück.",
			},
			nil,
			phrase{},
		},
		{"dane+mta-sts", phrase{}, noChange, nil, phrase{}},
	}
}

// openRemedies are the steps for what is no policy, and has a reason.
func openRemedies() []remedy {
	return []remedy{
		{caseNothing, phrase{}, phrase{
			"Send one test mail to both en@et.{zone} and en@ut.{zone}, and let the mail server retry until it is accepted.",
			"Schicken Sie eine einzige Testmail an beide Adressen, de@et.{zone} und de@ut.{zone}, und lassen Sie den Mailserver die Zustellung wiederholen, bis sie angenommen ist.",
		}, nil, phrase{}},
		{caseOptedOut, phrase{}, phrase{
			"Send a new test mail without the header field TLS-Required.",
			"Schicken Sie eine neue Testmail ohne das Kopffeld TLS-Required.",
		}, nil, phrase{}},
		{caseRequireTLS, phrase{}, phrase{
			"Send a new test mail without REQUIRETLS.",
			"Schicken Sie eine neue Testmail ohne REQUIRETLS.",
		}, nil, phrase{}},
		{caseUnverifiable, phrase{}, phrase{
			"Send a new test mail later, when the status page of this service reports that the zone verifies.",
			"Schicken Sie später eine neue Testmail, wenn die Statusseite dieses Dienstes meldet, dass die Zone überprüfbar ist.",
		}, nil, phrase{}},
		{caseBroken, phrase{}, phrase{
			"Send a new test mail later, when the status page of this service reports that its servers are as they should be.",
			"Schicken Sie später eine neue Testmail, wenn die Statusseite dieses Dienstes meldet, dass seine Server so sind, wie sie sein sollen.",
		}, nil, phrase{}},
		{caseContradictory, phrase{}, phrase{
			"Send a new test mail while the configuration of the mail server stays as it is.",
			"Schicken Sie eine neue Testmail, während die Einstellungen des Mailservers unverändert bleiben.",
		}, nil, phrase{}},
	}
}
