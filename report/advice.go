package report

import (
	"github.com/tlsink/tlsink/policyinfer"
)

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

// verdictAdvice is the next step for a verdict, by key.
var verdictAdvice = [...]struct{ key, text string }{
	{"none", "Switch TLS on for outgoing mail. In Postfix, set smtp_tls_security_level = dane with smtp_dns_support_level = dnssec and a validating resolver; at the very least, set it to may. Then send a new test mail."},
	{"may", "Let the sender enforce what receivers publish. In Postfix, set smtp_tls_security_level = dane with smtp_dns_support_level = dnssec and a validating resolver on the same host; elsewhere enable DANE, or else MTA-STS, for outgoing mail. Then send a new test mail."},
	{"encrypt", "Add a check of the receiving server. In Postfix, keep encrypt as the rule and set dane-only, verify or secure in smtp_tls_policy_maps for the domains that need it; dane as the rule would enforce TLSA records everywhere, but allow plaintext where there are none. Then send a new test mail."},
	{"verify", "The name that is verified comes from DNS, and an attacker may forge that answer. DANE closes this gap: in Postfix, smtp_tls_security_level = dane-only for domains that publish TLSA records, or secure with fixed names."},
	{"mta-sts", "This policy needs no change. Enabling DANE as well would protect mail to the many domains that publish TLSA records and no MTA-STS policy, and the first mail to each domain."},
	{"dane", "This policy needs no change. If you want mail to domains without DANE to be encrypted too, set a stricter policy for them (in Postfix: smtp_tls_policy_maps)."},
	{"dane-only", "This policy needs no change. Check that this level is meant for every domain: mail to domains without DANE bounces in the end."},
	{"dane+mta-sts", "This policy needs no change."},
	{string(policyinfer.Mixed), "Compare the configuration of the hosts listed below, align them, and send a new test mail."},
	{caseNothing, "Send one test mail to both en@et.{zone} and en@ut.{zone}, and let the mail server retry until it is accepted."},
	{caseOptedOut, "Send a new test mail without the header field TLS-Required."},
	{caseRequireTLS, "Send a new test mail without REQUIRETLS."},
	{caseUnverifiable, "Send a new test mail later, when the status page of this service reports that the zone verifies."},
	{caseBroken, "Send a new test mail later, when the status page of this service reports that its servers are as they should be."},
	{caseContradictory, "Send a new test mail while the configuration of the mail server stays as it is."},
}

// advice returns the next steps, the one for the verdict first.
func advice(in Input, w words) []string {
	var out []string
	for _, v := range verdictAdvice {
		if v.key == w.key {
			out = append(out, fill(v.text, in.Verdict, in.Service))
		}
	}
	switch {
	case len(out) > 0:
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
