package rating

// The IDs of requirements, as in Open.ID and Rule.ID.
const (
	Complete       = "complete"
	Reachable      = "reachable"
	MXSecure       = "mx-secure"
	AddressSecure  = "address-secure"
	TLSAPresent    = "tlsa"
	TLSAUsable     = "tlsa-usable"
	TLSAMatch      = "tlsa-match"
	StartTLS       = "starttls"
	Mandatory      = "starttls-mandatory"
	TLSVersion     = "tls-version"
	NoOldTLS       = "no-old-tls"
	ForwardSecrecy = "forward-secrecy"
	Authenticated  = "authenticated"
	PolicyRecord   = "mta-sts-record"
	PolicyHTTPS    = "mta-sts-https"
	PolicyFile     = "mta-sts-policy"
	PolicyMode     = "mta-sts-mode"
	PolicyLists    = "mta-sts-mx"
	Certificate    = "certificate"
)

// The values of Rule.Standard beside the IDs of standards.
const (
	OfClass = "class" // rules of the colours; Rule.ID is a Class
	OfMECSA = "mecsa" // rules of MECSA; Rule.ID is that of a mechanism, or MECSARule
)

// MECSARule is the ID of the rule how MECSA's mechanisms make a score.
const MECSARule = "score"

// Rule is one requirement, or how one grade is found.
type Rule struct {
	Standard string `json:"standard"` // DANE, MTASTS, Qualified, TLS, OfClass or OfMECSA
	ID       string `json:"id"`       // unique within Standard
	Text     string `json:"text"`     // one sentence, English
	Source   string `json:"source"`   // where it comes from
}

// Rules returns all rules, in the order in which they are checked. A text that
// several standards share has one ID.
func Rules() []Rule {
	var out []Rule
	for _, s := range []struct {
		id    string
		rules []Rule
	}{
		{DANE, daneRules()},
		{MTASTS, mtastsRules()},
		{Qualified, qualifiedRules()},
		{TLS, tlsRules()},
		{OfClass, classRules()},
		{OfMECSA, mecsaRules()},
	} {
		for _, r := range s.rules {
			r.Standard = s.id
			out = append(out, r)
		}
	}
	return out
}

const (
	textComplete  = "Every host and every address was looked at; no limit of the analysis left one out."
	textReachable = "At least one address of every host could be tested. Addresses that could not be reached count nowhere."
	textMX        = "The MX records, or the proof that there are none, are secure: DNSSEC proves them."
	textAddress   = "The addresses of every host are secure."
	textStartTLS  = "Every server offers STARTTLS."
	textVersion   = "Every server accepts TLS 1.2 or TLS 1.3."
)

// Where several standards say the same.
const (
	sourceOurs = "tlsink: what could not be tested is neither met nor failed"
	sourceTLS  = "RFC 8996; RFC 9325 §3.1.1"
	sourceDSK  = "DSK, Orientierungshilfe “Maßnahmen zum Schutz personenbezogener Daten bei der Übermittlung per E-Mail”, 16 June 2021: qualified transport encryption"
	sourceSeed = "emailtest by Joachim Lindenberg, table of providers"
	sourceJRC  = "JRC, My Email Communications Security Assessment (MECSA), results of 2018 and mecsa-st of 2023"
)

func general() []Rule {
	return []Rule{
		{ID: Complete, Text: textComplete, Source: sourceOurs},
		{ID: Reachable, Text: textReachable, Source: sourceOurs},
	}
}

func daneRules() []Rule {
	return append(general(),
		Rule{ID: MXSecure, Text: textMX, Source: "RFC 7672 §2.2.1"},
		Rule{ID: AddressSecure, Text: "The addresses of every host are secure; for an alias whose target is not, that the alias is secure suffices.", Source: "RFC 7672 §2.2.2"},
		Rule{ID: TLSAPresent, Text: "Every host has TLSA records, and they are secure.", Source: "RFC 7672 §2.2.3"},
		Rule{ID: TLSAUsable, Text: "At least one TLSA record of every host is usable for SMTP: usage 2 or 3, known selector and matching type, right data.", Source: "RFC 7672 §3.1"},
		Rule{ID: StartTLS, Text: textStartTLS, Source: "RFC 7672 §2.2"},
		Rule{ID: TLSAMatch, Text: "The certificate of every server matches a usable TLSA record of its host.", Source: "RFC 7672 §3.2"},
	)
}

func mtastsRules() []Rule {
	return append(general(),
		Rule{ID: PolicyRecord, Text: "The domain has one MTA-STS record, with right syntax.", Source: "RFC 8461 §3.1"},
		Rule{ID: PolicyHTTPS, Text: "The policy host has a certificate that is trusted, for its name and in date.", Source: "RFC 8461 §3.3"},
		Rule{ID: PolicyFile, Text: "The policy can be fetched, and its syntax is right.", Source: "RFC 8461 §3.2"},
		Rule{ID: PolicyMode, Text: "The mode of the policy is enforce.", Source: "RFC 8461 §5"},
		Rule{ID: PolicyLists, Text: "The policy lists every MX host.", Source: "RFC 8461 §4.1"},
		Rule{ID: StartTLS, Text: textStartTLS, Source: "RFC 8461 §5"},
		Rule{ID: TLSVersion, Text: textVersion, Source: sourceTLS},
		Rule{ID: Certificate, Text: "The certificate of every server is trusted, for the name of its host and in date.", Source: "RFC 8461 §4.2"},
	)
}

func qualifiedRules() []Rule {
	return append(general(),
		Rule{ID: MXSecure, Text: textMX, Source: sourceDSK},
		Rule{ID: AddressSecure, Text: textAddress, Source: sourceDSK},
		Rule{ID: StartTLS, Text: textStartTLS, Source: sourceDSK},
		Rule{ID: Mandatory, Text: "No server takes mail without STARTTLS.", Source: sourceDSK},
		Rule{ID: TLSVersion, Text: textVersion, Source: sourceDSK + "; BSI TR-02102-2"},
		Rule{ID: NoOldTLS, Text: "No server accepts a version older than TLS 1.2.", Source: sourceDSK + "; BSI TR-02102-2"},
		Rule{ID: ForwardSecrecy, Text: "No server takes a cipher suite without forward secrecy.", Source: sourceDSK + "; BSI TR-02102-2"},
		Rule{ID: Authenticated, Text: "The certificate of every server matches a TLSA record (DANE), or is trusted, for the name of its host and in date.", Source: sourceDSK},
	)
}

func tlsRules() []Rule {
	return append(general(),
		Rule{ID: StartTLS, Text: textStartTLS, Source: "RFC 3207"},
		Rule{ID: TLSVersion, Text: textVersion, Source: sourceTLS},
	)
}

func classRules() []Rule {
	return []Rule{
		{ID: string(Red), Text: "No encryption: a server that could be tested offers no STARTTLS, or no version of TLS that works.", Source: sourceSeed},
		{ID: string(Yellow), Text: "Encryption without trusted certificates: that of a server that could be tested is not trusted, not for the name of its host, or not in date; and DANE, which would make up for that, is not met.", Source: sourceSeed},
		{ID: string(White), Text: "Encryption with valid certificates at every server that could be tested.", Source: sourceSeed},
		{ID: string(Green), Text: "SMTP-DANE or qualified transport encryption is met, and no server is one that senders with DANE refuse.", Source: sourceSeed},
		{ID: string(Grey), Text: "It could not be tested, or the domain takes no mail. A certificate that is not valid makes nothing yellow where DANE could not be tested.", Source: sourceSeed},
	}
}

func mecsaRules() []Rule {
	rules := []Rule{
		{ID: MECSARule, Text: "A mechanism is supported if at least 80 % of its tests succeed. A score is that of the best row of the table whose mechanisms are all supported; if there is none, 0. What could not be tested is left out; a score from which something that counts is missing is called partial."},
		{ID: mechStartTLS, Text: "STARTTLS: one test for each MX host that could be reached (all its servers offer it), and one for each sending host that met an offered STARTTLS (it used it)."},
		{ID: mechX509, Text: "Certificates: three tests for each MX host that could be reached: trusted CA, name, dates; without STARTTLS they fail. MECSA also tests revocation; we do not, and count it nowhere."},
		{ID: mechDANE, Text: "DANE: one test for each MX host that could be reached: its TLSA records are secure, and the certificates of all its servers match. DNSSEC of the domain itself is a mechanism of its own."},
		{ID: mechMTASTS, Text: "MTA-STS: one test for each MX host that could be reached: a policy in mode enforce lists it."},
		{ID: mechDNSSEC, Text: "DNSSEC: one test each for the domain, its MX and its TXT records, and one for each MX host that has TLSA records: they are secure."},
		{ID: mechSPF, Text: "SPF: one test for the record, one for the result of the received mail."},
		{ID: mechSPFPolicy, Text: "SPF policy: the record ends in -all or ~all."},
		{ID: mechDKIM, Text: "DKIM: the received mail has a valid signature."},
		{ID: mechDMARC, Text: "DMARC: there is a valid record."},
		{ID: mechDMARCPolicy, Text: "DMARC policy: it is quarantine or reject."},
	}
	for i := range rules {
		rules[i].Source = sourceJRC
	}
	return rules
}
