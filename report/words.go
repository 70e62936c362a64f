package report

import (
	"slices"
	"strings"

	"github.com/tlsink/tlsink/policyinfer"
)

// level grades a verdict for people; it is always shown with its word, never
// by colour alone.
type level string

const (
	levelGood level = "good"
	levelFair level = "fair"
	levelWeak level = "weak"
	levelBad  level = "bad"
	levelOpen level = "open"
)

// words is what the report says about one verdict. {candidates} and {zone} are
// replaced.
type words struct {
	key    string // policy name, for undetermined with the case
	level  level
	lay    string // for everybody
	admin  string // for the admin, in Postfix terms
	advice string // the next step
}

// The cases of an undetermined verdict.
const (
	caseCandidates    = "undetermined"
	caseProtected     = "undetermined: protected"
	caseNothing       = "undetermined: nothing seen"
	caseEarly         = "undetermined: early"
	caseOptedOut      = "undetermined: " + policyinfer.FindingOptedOut
	caseRequireTLS    = "undetermined: " + policyinfer.FindingRequireTLS
	caseUnverifiable  = "undetermined: " + policyinfer.FindingUnverifiable
	caseBroken        = "undetermined: " + policyinfer.FindingBroken
	caseContradictory = "undetermined: " + policyinfer.FindingContradictory
)

// table holds every sentence about a verdict, from the weakest policy to the
// strongest, then what is no policy.
var table = [...]words{
	{
		"none", levelBad,
		"Your provider sends mail without encryption, even to servers that offer it. Anyone on the way can read and change it.",
		"Policy none (Postfix: smtp_tls_security_level = none or empty): STARTTLS is never used.",
		"Switch TLS on for outgoing mail. In Postfix, set smtp_tls_security_level = dane with smtp_dns_support_level = dnssec and a validating resolver; at the very least, set it to may. Then send a new test mail.",
	},
	{
		"may", levelWeak,
		"Your provider encrypts mail only if nobody interferes. An attacker on the way can switch the encryption off without anyone noticing.",
		"Policy may (Postfix: smtp_tls_security_level = may): opportunistic TLS. Without STARTTLS the mail goes out in plaintext, and neither TLSA records nor an MTA-STS policy change that.",
		"Let the sender enforce what receivers publish. In Postfix, set smtp_tls_security_level = dane with smtp_dns_support_level = dnssec and a validating resolver on the same host; elsewhere enable DANE, or else MTA-STS, for outgoing mail. Then send a new test mail.",
	},
	{
		"encrypt", levelFair,
		"Your provider never sends mail unencrypted, but does not check who receives it. An attacker who poses as the receiving server gets the mail.",
		"Policy encrypt (Postfix: smtp_tls_security_level = encrypt): TLS is required, certificates and TLSA records are not checked.",
		"Add a check of the receiving server. In Postfix, keep encrypt as the rule and set dane-only, verify or secure in smtp_tls_policy_maps for the domains that need it; dane as the rule would enforce TLSA records everywhere, but allow plaintext where there are none. Then send a new test mail.",
	},
	{
		"verify", levelFair,
		"Your provider sends mail only encrypted, and only to servers that a public certificate authority vouches for. That keeps most attackers out, but also some honest servers.",
		"Policy verify (Postfix: smtp_tls_security_level = verify): TLS and a certificate of a public CA are required; TLSA records are not used. Stricter levels such as secure look the same here and are reported as verify.",
		"The name that is verified comes from DNS, and an attacker may forge that answer. DANE closes this gap: in Postfix, smtp_tls_security_level = dane-only for domains that publish TLSA records, or secure with fixed names.",
	},
	{
		"mta-sts", levelGood,
		"Your provider protects mail to domains that ask for it by MTA-STS: it goes out encrypted, and only to the right server.",
		"Policy mta-sts (no Postfix level; there, a policy map such as postfix-mta-sts-resolver): the MTA-STS policy of the receiver is enforced (RFC 8461). TLSA records are not enforced.",
		"This policy needs no change. Enabling DANE as well would protect mail to the many domains that publish TLSA records and no MTA-STS policy, and the first mail to each domain.",
	},
	{
		"dane", levelGood,
		"Your provider protects mail to domains that ask for it by DANE: it goes out encrypted, and only to the right server, even while an attacker interferes.",
		"Policy dane (Postfix: smtp_tls_security_level = dane): where a receiver publishes TLSA records, TLS and a matching certificate are enforced (RFC 7672).",
		"This policy needs no change. If you want mail to domains without DANE to be encrypted too, set a stricter policy for them (in Postfix: smtp_tls_policy_maps).",
	},
	{
		"dane-only", levelGood,
		"Your provider sends mail only to servers that prove who they are by DANE. That is the strictest protection; mail to other domains does not go out at all.",
		"Policy dane-only (Postfix: smtp_tls_security_level = dane-only): a domain without usable TLSA records gets no mail (RFC 7672).",
		"This policy needs no change. Check that this level is meant for every domain: mail to domains without DANE bounces in the end.",
	},
	{
		"dane+mta-sts", levelGood,
		"Your provider enforces both DANE and MTA-STS: mail goes out encrypted, and only to the right server.",
		"Policies dane and mta-sts together: where a receiver publishes TLSA records and an MTA-STS policy, both must hold (RFC 7672, RFC 8461).",
		"This policy needs no change.",
	},
	{
		string(policyinfer.Mixed), levelOpen,
		"The mail servers of your provider do not all behave alike, so the protection of a mail depends on which of them sends it.",
		"Mixed: the outbound hosts have different policies, which are listed under Hosts. No single policy explains them together.",
		"Compare the configuration of the hosts listed below, align them, and send a new test mail.",
	},
	{
		caseCandidates, levelOpen,
		"The test could not tell for certain how your provider protects mail. What was seen fits more than one policy.",
		"Undetermined, one of: {candidates}. What was seen so far excludes every other policy.",
		"",
	},
	{
		caseProtected, levelOpen,
		"Your provider did not fall for any attack in this test, but the test could not tell for certain which policy it applies.",
		"Undetermined, one of: {candidates}. What was seen so far excludes none, may and encrypt.",
		"",
	},
	{
		caseNothing, levelOpen,
		"The test could not tell how your provider protects mail: too little was seen of it.",
		"Undetermined: no policy could be excluded for lack of evidence.",
		"Send one test mail to both en@et.{zone} and en@ut.{zone}, and let the mail server retry until it is accepted.",
	},
	{
		caseEarly, levelOpen,
		"The test is not certain yet how your provider protects mail. A later attempt of the same mail server has to confirm what was seen.",
		"Undetermined: everything so far fits {candidates} only, but it is too early or too little to be sure.",
		"",
	},
	{
		caseOptedOut, levelOpen,
		"This test mail asked to be sent without protection, so it does not show how other mail is protected.",
		"Undetermined: the mail carries the header field TLS-Required: No (RFC 8689), which switches enforcement off for this mail.",
		"Send a new test mail without the header field TLS-Required.",
	},
	{
		caseRequireTLS, levelOpen,
		"This test mail demanded encryption for itself, so it does not show how other mail is protected.",
		"Undetermined: the mail was sent with REQUIRETLS (RFC 8689), which adds enforcement for this mail only.",
		"Send a new test mail without REQUIRETLS.",
	},
	{
		caseUnverifiable, levelOpen,
		"The test itself had a fault while your mail arrived, so it can not say how your provider protects mail. This is no fault of your provider.",
		"Undetermined: the test zone was not verifiable, and a sender that enforces DANE or MTA-STS could not have shown it.",
		"Send a new test mail later, when the status page of this service reports that the zone verifies.",
	},
	{
		caseBroken, levelOpen,
		"The test itself had a fault while your mail arrived, so it can not say how your provider protects mail. This is no fault of your provider.",
		"Undetermined: servers of the test were not what they have to be. What was seen meanwhile was not used, and the rest is too little.",
		"Send a new test mail later, when the status page of this service reports that its servers are as they should be.",
	},
	{
		caseContradictory, levelOpen,
		"What the test saw does not fit together, so it gives no verdict.",
		"Undetermined: no policy, no change during the test and no difference between hosts explains all of it.",
		"Send a new test mail while the configuration of the mail server stays as it is.",
	},
}

// wordsOf returns what to say about v.
func wordsOf(v policyinfer.Verdict) words {
	key := string(v.Policy)
	if v.Policy == policyinfer.Undetermined {
		key = caseOf(v)
	}
	for _, w := range table {
		if w.key == key {
			return w
		}
	}
	return words{
		key: key, level: levelOpen,
		lay:   "The test reached a verdict that this report has no words for.",
		admin: "Policy " + clean(key, maxName) + ".",
	}
}

// caseOf says why v is undetermined.
func caseOf(v policyinfer.Verdict) string {
	for _, id := range []string{
		policyinfer.FindingOptedOut, policyinfer.FindingRequireTLS,
		policyinfer.FindingBroken, policyinfer.FindingUnverifiable, policyinfer.FindingContradictory,
	} {
		if hasFinding(v, id) {
			return "undetermined: " + id
		}
	}
	switch len(v.Candidates) {
	case 0, len(policyinfer.Names()):
		return caseNothing
	case 1:
		return caseEarly
	}
	if !slices.ContainsFunc(v.Candidates, func(n policyinfer.Name) bool { return !n.Protected() }) {
		return caseProtected
	}
	return caseCandidates
}

func hasFinding(v policyinfer.Verdict, id string) bool {
	return slices.ContainsFunc(v.Findings, func(f policyinfer.Finding) bool { return f.ID == id })
}

// grade is the word that stands beside the colour.
func (w words) grade() phrase {
	switch w.level {
	case levelGood:
		return phrase{"protected", "geschützt"}
	case levelFair:
		return phrase{"partly protected", "teilweise geschützt"}
	case levelWeak:
		return phrase{"not protected", "nicht geschützt"}
	case levelBad:
		return phrase{"not encrypted", "nicht verschlüsselt"}
	}
	if w.key == string(policyinfer.Mixed) {
		return phrase{"hosts differ", "Server verhalten sich verschieden"}
	}
	return phrase{"no verdict", "kein Urteil"}
}

// fill replaces the placeholders of a sentence.
func fill(sentence string, v policyinfer.Verdict, zone string) string {
	return strings.NewReplacer("{candidates}", nameList(v.Candidates), "{zone}", clean(zone, maxName)).Replace(sentence)
}

func nameList(names []policyinfer.Name) string {
	list := make([]string, 0, len(names))
	for _, n := range names {
		list = append(list, clean(string(n), maxName))
	}
	return strings.Join(list, ", ")
}

// unprotected says what the sender does with mail to a domain that publishes
// neither TLSA records nor a policy.
func unprotected(v policyinfer.Verdict, zone string) string {
	s := v.Sender
	switch {
	case hasFinding(v, policyinfer.FindingOptedOut), hasFinding(v, policyinfer.FindingRequireTLS):
		return "This mail does not show it."
	case v.Policy == policyinfer.Mixed:
		return "This depends on the host that sends the mail."
	case s.DANE == "required":
		return "Mail to a domain without DANE is not sent."
	case s.PlaintextUnprotected == "yes" && s.TLS == "never":
		return "Mail to a domain without a policy goes out unencrypted."
	case s.PlaintextUnprotected == "yes" && s.TLS != "offered":
		return "Mail to a domain without a policy goes out unencrypted if the receiver, or an attacker on the way, does not offer encryption."
	case s.PlaintextUnprotected == "yes":
		return "Mail to a domain without a policy is encrypted if the receiver offers it, and goes out unencrypted otherwise: it is sent even while an attacker hides the offer."
	case s.PlaintextUnprotected == "no" && s.VerifiesCA == "yes":
		return "Mail to a domain without a policy is sent only with TLS, and only to a server with a certificate of a public CA."
	case s.PlaintextUnprotected == "no" && s.VerifiesCA == "no":
		return "Mail to a domain without a policy is sent only with TLS, to whatever certificate the server shows."
	case s.PlaintextUnprotected == "no":
		return "Mail to a domain without a policy is not sent without TLS."
	}
	return fill("This was not seen. A test mail that also goes to en@ut.{zone} shows it.", v, zone)
}

// findingAdvice is the next step for findings that need one, by id.
var findingAdvice = [...]struct{ id, text string }{
	{policyinfer.FindingChanged, "If nobody changed the configuration during the test, look for several servers behind one address, and test again."},
	{policyinfer.FindingChangedOrMixed, "Send a new test mail while the configuration stays as it is, and compare the outbound hosts."},
	{policyinfer.FindingFamilies, "Compare what depends on the address: settings, relays and resolvers for IPv4 and for IPv6."},
	{policyinfer.FindingAmbiguous, "Test again while nothing else behind the same address connects to this service."},
	{policyinfer.FindingGoodRefused, "The sender refused a server whose certificate was valid in every respect: check its CA certificates, its clock and its TLS versions."},
	{policyinfer.FindingFallback, "Switch off the retry in plaintext after TLS failed (Exim: hosts_require_tls): it gives an attacker exactly what encryption denied."},
	{policyinfer.FindingVerifiesUnused, "Require TLS where certificates are verified: a check that is skipped when STARTTLS is missing protects from nobody."},
	{policyinfer.FindingVerifiesNoSNI, "Let the sender name the server whose certificate it checks (Postfix: smtp_tls_servername = hostname; Exim: tls_sni = $host)."},
	{policyinfer.FindingSTSOverDANE, "Let DANE take precedence where both apply (RFC 8461 §2); for Postfix with an MTA-STS policy map, use one that leaves domains with TLSA records to DANE, such as postfix-tlspol."},
	{policyinfer.FindingEither, "Let DANE take precedence where both apply (RFC 8461 §2)."},
	{policyinfer.FindingBounced, "Let mail that can't be encrypted wait in the queue: that STARTTLS is missing may be an attack or a fault, and pass."},
	{policyinfer.FindingTLSAUnused, "Make DANE work: the resolver has to validate DNSSEC, and the mail server has to trust it (Postfix: smtp_dns_support_level = dnssec; Exim: options trust-ad in /etc/resolv.conf)."},
	{policyinfer.FindingSTSUnused, "Make MTA-STS work: what fetches the policy must also decide about the delivery (Postfix: smtp_tls_policy_maps)."},
	{policyinfer.FindingPipelined, "Find out what sends commands behind STARTTLS: an outdated mail server, or something on the way."},
	{policyinfer.FindingOldTLS, "Update the TLS library of the mail server, so that it offers TLS 1.2 and 1.3."},
	{policyinfer.FindingWeakSuites, "Enable cipher suites with ECDHE and AES-GCM or ChaCha20-Poly1305."},
	{policyinfer.FindingNoCommonTLS, "Check the TLS versions and cipher suites of the mail server: this service accepts nearly all."},
}

// advice returns the next steps, the one for the verdict first.
func advice(in Input, w words) []string {
	var out []string
	switch {
	case w.advice != "":
		out = append(out, fill(w.advice, in.Verdict, in.Service))
	case in.State == StateClosed:
		out = append(out, fill("Send a new test mail to en@et.{zone} and en@ut.{zone}, and leave it in the queue until it is accepted.", in.Verdict, in.Service))
	case in.State == StateAcked:
		out = append(out, fill("The mail was accepted, so it will not be tried again. Send a new test mail to en@et.{zone} and en@ut.{zone} to see more.", in.Verdict, in.Service))
	default:
		out = append(out, "Leave the mail in the queue: each retry meets other servers. The admin can speed that up (Postfix: postqueue -f; Exim: exim -qff).")
	}
	for _, f := range findingAdvice {
		if hasFinding(in.Verdict, f.id) {
			out = append(out, f.text)
		}
	}
	return out
}
