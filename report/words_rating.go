package report

import (
	"github.com/tlsink/tlsink/rating"
)

// A named is what something of package rating is called.
type named struct {
	id   string
	text phrase
}

// nameIn returns what id is called in language l, or id itself.
func nameIn(list []named, id string, l Language) string {
	for _, n := range list {
		if n.id == id {
			return n.text.in(l)
		}
	}
	return clean(id, maxName)
}

// requirementText names a requirement of a standard (rating.Open).
func requirementText(l Language, id string) string { return nameIn(requirements[:], id, l) }

// scoreName and mechanismName name what MECSA counts.
func scoreName(l Language, id string) string     { return nameIn(scores[:], id, l) }
func mechanismName(l Language, id string) string { return nameIn(mechanisms[:], id, l) }

var requirements = [...]named{
	{rating.Complete, phrase{"all hosts and addresses looked at", "alle Server und Adressen geprüft"}},
	{rating.Reachable, phrase{"a server that can be reached", "erreichbarer Server"}},
	{rating.MXSecure, phrase{"MX records secured by DNSSEC", "MX-Einträge durch DNSSEC gesichert"}},
	{rating.AddressSecure, phrase{"addresses secured by DNSSEC", "Adressen durch DNSSEC gesichert"}},
	{rating.TLSAPresent, phrase{"TLSA records secured by DNSSEC", "TLSA-Einträge, durch DNSSEC gesichert"}},
	{rating.TLSAUsable, phrase{"a TLSA record that is usable for SMTP", "für SMTP verwendbarer TLSA-Eintrag"}},
	{rating.TLSAMatch, phrase{"certificate matches a TLSA record", "Zertifikat passt zu einem TLSA-Eintrag"}},
	{rating.StartTLS, phrase{"STARTTLS offered", "STARTTLS wird angeboten"}},
	{rating.Mandatory, phrase{"STARTTLS mandatory", "STARTTLS ist Pflicht"}},
	{rating.TLSVersion, phrase{"TLS 1.2 or 1.3", "TLS 1.2 oder 1.3"}},
	{rating.NoOldTLS, phrase{"nothing older than TLS 1.2", "nichts Älteres als TLS 1.2"}},
	{rating.ForwardSecrecy, phrase{"only cipher suites with forward secrecy", "nur Cipher-Suites mit Forward Secrecy"}},
	{rating.Authenticated, phrase{"DANE or a valid certificate", "DANE oder ein gültiges Zertifikat"}},
	{rating.PolicyRecord, phrase{"MTA-STS record", "MTA-STS-Eintrag"}},
	{rating.PolicyHTTPS, phrase{"valid certificate of the policy host", "gültiges Zertifikat des Webservers mit der MTA-STS-Richtlinie"}},
	{rating.PolicyFile, phrase{"MTA-STS policy that can be fetched and read", "abrufbare und lesbare MTA-STS-Richtlinie"}},
	{rating.PolicyMode, phrase{"MTA-STS policy in mode enforce", "MTA-STS-Richtlinie im Modus enforce"}},
	{rating.PolicyLists, phrase{"listed in the MTA-STS policy", "in der MTA-STS-Richtlinie aufgeführt"}},
	{rating.Certificate, phrase{"valid certificate", "gültiges Zertifikat"}},
}

var scores = [...]named{
	{rating.Confidential, phrase{"Confidential delivery", "Vertrauliche Zustellung"}},
	{rating.Phishing, phrase{"Phishing and identity theft", "Phishing und Identitätsdiebstahl"}},
	{rating.Integrity, phrase{"Integrity of messages", "Unversehrtheit der Nachrichten"}},
}

var mechanisms = [...]named{
	{"dane", phrase{"DANE", "DANE"}},
	{"dkim", phrase{"DKIM", "DKIM"}},
	{"dmarc", phrase{"DMARC", "DMARC"}},
	{"dmarc_policy", phrase{"DMARC policy", "DMARC-Vorgabe"}},
	{"dnssec", phrase{"DNSSEC", "DNSSEC"}},
	{"mta-sts", phrase{"MTA-STS", "MTA-STS"}},
	{"spf", phrase{"SPF", "SPF"}},
	{"spf_policy", phrase{"SPF policy", "SPF-Vorgabe"}},
	{"starttls", phrase{"STARTTLS", "STARTTLS"}},
	{"x509", phrase{"Certificates", "Zertifikate"}},
}
