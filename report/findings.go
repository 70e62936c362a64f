package report

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// A remark is what the inference found, in each language. The English text is
// the one that the inference itself writes; a {name} is one of its arguments.
type remark struct {
	id    string
	after string // policyinfer.ArgAfter, if that chooses between two texts
	text  phrase
}

// findingText puts a finding into words. What has none, as in verdicts that
// were stored by older versions, keeps its English text.
func findingText(f policyinfer.Finding, l Language) string {
	if s, ok := findingIn(f, l); ok && l == German {
		return s
	}
	return f.Text
}

// findingIn puts a finding into words by its id and arguments; ok is false if
// it has none.
func findingIn(f policyinfer.Finding, l Language) (text string, ok bool) {
	for _, r := range slices.Concat(findingsOfSender[:], findingsOfTest[:]) {
		if r.id == f.ID && (r.after == "" || r.after == f.Args[policyinfer.ArgAfter]) {
			return fillArgs(r.text.in(l), argsIn(f.Args, l))
		}
	}
	return "", false
}

var argument = regexp.MustCompile(`\{([a-z0-9_]+)\}`)

// fillArgs fills in arguments; ok is false if one is missing.
func fillArgs(text string, args map[string]string) (out string, ok bool) {
	ok = true
	out = argument.ReplaceAllStringFunc(text, func(name string) string {
		v, known := args[strings.Trim(name, "{}")]
		ok = ok && known
		return v
	})
	return out, ok
}

// argsIn returns the arguments of a finding in language l.
func argsIn(args map[string]string, l Language) map[string]string {
	out := maps.Clone(args)
	for _, family := range []string{policyinfer.ArgIPv4, policyinfer.ArgIPv6} {
		if v, ok := out[family]; ok {
			out[family] = strings.ReplaceAll(v, ",", phrase{" or ", " oder "}.in(l))
		}
	}
	if d, err := time.ParseDuration(out[policyinfer.ArgSpan]); err == nil && l == German {
		out[policyinfer.ArgSpan] = strconv.Itoa(int(d.Round(time.Minute)/time.Minute)) + " Minuten"
	}
	return out
}

// findingsOfSender are the findings about what the sender does.
var findingsOfSender = [...]remark{
	{policyinfer.FindingGoodRefused, "", phrase{
		"The sender refused a server whose certificate is valid in every respect. What it disliked can't be seen from here, so its refusals of other servers prove nothing either.",
		"Der Absender hat einen Server abgelehnt, dessen Zertifikat in jeder Hinsicht gültig ist. Was ihn störte, ist von hier aus nicht zu sehen; deshalb beweist es auch nichts, wenn er andere Server ablehnt.",
	}},
	{policyinfer.FindingFallback, policyinfer.AfterRefusal, phrase{
		"After refusing a certificate, the sender hands the mail over in plaintext.",
		"Nachdem er ein Zertifikat abgelehnt hat, übergibt der Absender die E-Mail im Klartext.",
	}},
	{policyinfer.FindingFallback, policyinfer.AfterFailure, phrase{
		"After TLS failed, the sender hands the mail over in plaintext. An attacker only has to disturb the handshake.",
		"Nachdem TLS gescheitert ist, übergibt der Absender die E-Mail im Klartext. Ein Angreifer muss nur den Handshake stören.",
	}},
	{policyinfer.FindingVerifiesUnused, "", phrase{
		"The sender verifies certificates, but sends in plaintext when STARTTLS is missing, so an attacker only has to hide it.",
		"Der Absender prüft Zertifikate, verschickt aber im Klartext, wenn STARTTLS fehlt. Ein Angreifer muss es also nur unterdrücken.",
	}},
	{policyinfer.FindingVerifiesNoSNI, "", phrase{
		"The sender checks certificates, but does not say which server it wants to reach (no SNI). A server with several names may show it the wrong certificate, and honest mail is refused.",
		"Der Absender prüft Zertifikate, sagt aber nicht, welchen Server er erreichen will (kein SNI). Ein Server mit mehreren Namen zeigt ihm womöglich das falsche Zertifikat, und eine E-Mail an den richtigen Empfänger wird nicht verschickt.",
	}},
	{policyinfer.FindingSTSOverDANE, "", phrase{
		"The sender asks for TLSA records, but where they don't match, an MTA-STS policy is enough for it: MTA-STS overrides DANE, which RFC 8461 §2 forbids, or its DANE does not work.",
		"Der Absender fragt TLSA-Einträge ab; wo sie nicht passen, genügt ihm aber eine MTA-STS-Richtlinie: Entweder setzt sich MTA-STS über DANE hinweg, was RFC 8461 §2 verbietet, oder sein DANE funktioniert nicht.",
	}},
	{policyinfer.FindingEither, "", phrase{
		"Either a matching TLSA record or a certificate from a public CA suffices for this sender: an attacker needs to break only one of the two.",
		"Diesem Absender genügt entweder ein passender TLSA-Eintrag oder das Zertifikat einer öffentlichen Zertifizierungsstelle: Ein Angreifer muss nur eines von beiden überwinden.",
	}},
	{policyinfer.FindingLazy, "", phrase{
		"The first contact was unprotected: the sender fetches the MTA-STS policy afterwards and honours it from then on, which RFC 8461 allows.",
		"Der erste Kontakt war ungeschützt: Der Absender ruft die MTA-STS-Richtlinie erst danach ab und hält sich von da an daran. RFC 8461 erlaubt das.",
	}},
	{policyinfer.FindingUnlistedMX, "", phrase{
		"The sender connects to a mail server that the MTA-STS policy does not list, and leaves only after it has seen the certificate. No mail is handed over there, but the server learns that there is some.",
		"Der Absender verbindet sich mit einem Mailserver, der nicht in der MTA-STS-Richtlinie steht, und bricht erst ab, nachdem er das Zertifikat gesehen hat. Eine E-Mail übergibt er dort nicht, aber der Server erfährt, dass es eine gibt.",
	}},
	{policyinfer.FindingAlsoSTS, "", phrase{
		"The sender also honours MTA-STS; DANE takes precedence, as it must.",
		"Der Absender beachtet auch MTA-STS; DANE hat Vorrang, wie es sein muss.",
	}},
	{policyinfer.FindingBounced, "", phrase{
		"The mail for et was given up after the first attempt, when encryption was not offered: it was not tried again, while its copy for ut was tried for {span} more. An attacker can so make mail bounce; it should wait and be tried again.",
		"Die E-Mail an et wurde nach dem ersten Versuch aufgegeben, als keine Verschlüsselung angeboten wurde: Sie wurde nicht erneut versucht, ihre Kopie für ut dagegen noch {span} lang. Ein Angreifer kann so erreichen, dass E-Mails als unzustellbar zurückgehen; sie sollten in der Warteschlange bleiben und erneut versucht werden.",
	}},
	{policyinfer.FindingTLSAUnused, "", phrase{
		"The sender asks for TLSA records, but then hands mail over where they don't match or without TLS: DANE seems to be switched on, but not to work.",
		"Der Absender fragt TLSA-Einträge ab, übergibt E-Mails dann aber auch dort, wo sie nicht passen, oder ganz ohne TLS: DANE ist offenbar eingeschaltet, funktioniert aber nicht.",
	}},
	{policyinfer.FindingSTSUnused, "", phrase{
		"The sender fetches the MTA-STS policy, but then hands mail over to servers that it forbids or without TLS: MTA-STS seems to be switched on, but not to work.",
		"Der Absender ruft die MTA-STS-Richtlinie ab, übergibt E-Mails dann aber an Server, die sie nicht zulässt, oder ganz ohne TLS: MTA-STS ist offenbar eingeschaltet, funktioniert aber nicht.",
	}},
	{policyinfer.FindingPipelined, "", phrase{
		"Right behind STARTTLS, more came without encryption than the command itself (RFC 3207 §4 forbids that). The sender, or somebody on the way, put it there; a careless server would take it for part of the encrypted session.",
		"Unmittelbar hinter STARTTLS kam unverschlüsselt mehr als der Befehl selbst (RFC 3207 §4 verbietet das). Der Absender oder jemand auf dem Weg hat es dort eingefügt; ein nachlässiger Server würde es für einen Teil der verschlüsselten Sitzung halten.",
	}},
	{policyinfer.FindingOldTLS, "", phrase{
		"The sender offers no TLS version later than 1.1. These are withdrawn (RFC 8996), and many servers no longer accept them.",
		"Der Absender bietet keine neuere TLS-Version als 1.1 an. Diese Versionen sind zurückgezogen (RFC 8996), und viele Server nehmen sie nicht mehr an.",
	}},
	{policyinfer.FindingWeakSuites, "", phrase{
		"The sender gets along only with weak encryption: RC4, 3DES, or a key exchange without ECDHE, so that mail recorded today can be read by whoever gets hold of the server's key later.",
		"Der Absender beherrscht nur schwache Verschlüsselung: RC4, 3DES oder einen Schlüsselaustausch ohne ECDHE. Wer später an den Schlüssel des Servers gelangt, kann damit heute aufgezeichnete E-Mails lesen.",
	}},
	{policyinfer.FindingNoCommonTLS, "", phrase{
		"The sender and this server could not agree on a TLS version or cipher suite, although this server accepts nearly all. No encryption came about.",
		"Der Absender und dieser Server konnten sich auf keine TLS-Version oder Cipher-Suite einigen, obwohl dieser Server fast alle annimmt. Eine Verschlüsselung kam nicht zustande.",
	}},
}

// findingsOfTest are the findings about how far the test can tell.
var findingsOfTest = [...]remark{
	{policyinfer.FindingOptedOut, "", phrase{
		"This mail opted out of TLS enforcement (TLS-Required: No), so it does not show what the sender does with other mail.",
		"Diese E-Mail verzichtet ausdrücklich auf die Durchsetzung von TLS (TLS-Required: No). Sie zeigt deshalb nicht, wie der Absender mit anderen E-Mails umgeht.",
	}},
	{policyinfer.FindingRequireTLS, "", phrase{
		"This mail demanded TLS (REQUIRETLS), so it does not show what the sender does with other mail.",
		"Diese E-Mail verlangt TLS ausdrücklich (REQUIRETLS). Sie zeigt deshalb nicht, wie der Absender mit anderen E-Mails umgeht.",
	}},
	{policyinfer.FindingChanged, "", phrase{
		"The sender changed its behaviour during the test, between {from} and {to}. The verdict is about the time after that.",
		"Der Absender hat sein Verhalten während des Tests geändert, zwischen {from} und {to} (UTC). Das Ergebnis gilt für die Zeit danach.",
	}},
	{policyinfer.FindingMixed, "", phrase{
		"The outbound hosts of this sender do not have the same policy, so the protection of a mail depends on which of them sends it.",
		"Die sendenden Server dieses Absenders haben nicht alle dieselbe Stufe. Wie eine E-Mail geschützt ist, hängt deshalb davon ab, welcher von ihnen sie verschickt.",
	}},
	{policyinfer.FindingChangedOrMixed, "", phrase{
		"What was seen contradicts itself: either the sender changed its behaviour during the test, or its outbound hosts do not have the same policy.",
		"Das Beobachtete widerspricht sich: Entweder hat der Absender sein Verhalten während des Tests geändert, oder seine sendenden Server haben nicht alle dieselbe Stufe.",
	}},
	{policyinfer.FindingFamilies, "", phrase{
		"Mail that leaves over IPv4 is treated like {ipv4}, over IPv6 like {ipv6}. Probably only one of the two was configured.",
		"Über IPv4 werden E-Mails nach Stufe {ipv4} verschickt, über IPv6 nach Stufe {ipv6}. Vermutlich wurde nur eines von beiden konfiguriert.",
	}},
	{policyinfer.FindingContradictory, "", phrase{
		"No single policy explains what was seen, and neither a change during the test nor different outbound hosts do.",
		"Keine einzelne Stufe erklärt, was zu sehen war; eine Änderung während des Tests oder verschiedene sendende Server erklären es ebenso wenig.",
	}},
	{policyinfer.FindingAmbiguous, "", phrase{
		"{connections} connections without MAIL contradict the mails of this sender. They may belong to another sender behind the same address.",
		"Verbindungen ohne MAIL (Anzahl: {connections}) widersprechen den E-Mails dieses Absenders. Sie können zu einem anderen Absender hinter derselben Adresse gehören.",
	}},
	{policyinfer.FindingUnverifiable, "", phrase{
		"The test zone was not verifiable during the test ({why}), so that a sender that enforces DANE or MTA-STS could look as if it did not.",
		"Die Testzone war während des Tests nicht überprüfbar („{why}“). Auch ein Absender, der DANE oder MTA-STS durchsetzt, konnte deshalb so aussehen, als täte er es nicht.",
	}},
	{policyinfer.FindingBroken, "", phrase{
		"The test's own servers had a fault during the test ({why}): {connections} connections of that time were not used.",
		"Die Server des Tests selbst waren während des Tests gestört („{why}“). Die Verbindungen aus dieser Zeit (Anzahl: {connections}) wurden nicht verwendet.",
	}},
}

// reasonText puts a reason into words; without an id it keeps its English text.
func reasonText(r policyinfer.Reason, l Language) string {
	if s, ok := reasonIn(r, l); ok && l == German {
		return s
	}
	return r.Text
}

// reasonIn puts a reason into words by its id; ok is false if it has none.
func reasonIn(r policyinfer.Reason, l Language) (text string, ok bool) {
	i := slices.IndexFunc(reasonWords[:], func(said remark) bool { return said.id == r.ID })
	if i < 0 {
		return "", false
	}
	at, whose := server(r.Args, l)
	return fillArgs(reasonWords[i].text.in(l), map[string]string{
		"to": toDomain(r.Args).in(l), "sni": sniText(r.Args).in(l), "at": at, "whose": whose,
	})
}

// reasonWords are the sentences about evidence.
var reasonWords = [...]remark{
	{policyinfer.ReasonNeverAtUT, "", phrase{
		"A mail to both domains was sent to the protected one (et) again and again, and nothing came to the unprotected one (ut).",
		"Eine E-Mail an beide Domains kam immer wieder bei der geschützten (et) an, bei der ungeschützten (ut) dagegen nichts.",
	}},
	{policyinfer.ReasonNeverAtMX03, "", phrase{
		"mx03 was never contacted, although it was the first server to try.",
		"mx03 wurde nie kontaktiert, obwohl dieser Server als Erster an der Reihe war.",
	}},
	{policyinfer.ReasonPlaintextRefused, "", phrase{
		"Did not send the mail {to}, when encryption (STARTTLS) was not offered.",
		"Hat die E-Mail {to} nicht übergeben, als keine Verschlüsselung (STARTTLS) angeboten wurde.",
	}},
	{policyinfer.ReasonPlaintextThoughOffered, "", phrase{
		"Sent the mail {to} unencrypted, although encryption (STARTTLS) was offered.",
		"Hat die E-Mail {to} unverschlüsselt übergeben, obwohl Verschlüsselung (STARTTLS) angeboten wurde.",
	}},
	{policyinfer.ReasonPlaintextDelivered, "", phrase{
		"Sent the mail {to} unencrypted, when encryption (STARTTLS) was not offered.",
		"Hat die E-Mail {to} unverschlüsselt übergeben, als keine Verschlüsselung (STARTTLS) angeboten wurde.",
	}},
	{policyinfer.ReasonTLSStarted, "", phrase{
		"Started encryption (TLS) {to}{sni}.",
		"Hat für die E-Mail {to} eine Verschlüsselung (TLS) begonnen{sni}.",
	}},
	{policyinfer.ReasonTLSDelivered, "", phrase{
		"Sent the mail encrypted {to} to {at}{whose}.",
		"Hat die E-Mail {to} verschlüsselt an {at} übergeben{whose}.",
	}},
	{policyinfer.ReasonTLSRefused, "", phrase{
		"Did not send the mail {to} to {at}{whose}.",
		"Hat die E-Mail {to} nicht an {at} übergeben{whose}.",
	}},
}

func toDomain(args map[string]string) phrase {
	switch scenario.Domain(args[policyinfer.ArgDomain]) {
	case scenario.ET:
		return phrase{"for the protected domain (et)", "an die geschützte Domain (et)"}
	case scenario.Unprotected:
		return phrase{"for the unprotected domain (ut)", "an die ungeschützte Domain (ut)"}
	}
	return phrase{"for one of the two domains (et or ut)", "an eine der beiden Domains (et oder ut)"}
}

func sniText(args map[string]string) phrase {
	switch scenario.Ternary(args[policyinfer.ArgSNI]) {
	case scenario.Yes:
		return phrase{", naming the server", " und den Server genannt"}
	case scenario.No:
		return phrase{", without naming a server", ", ohne einen Server zu nennen"}
	}
	return phrase{}
}

// server says whom the sender met, and what is special about its certificate.
func server(args map[string]string, l Language) (at, whose string) {
	var certificate, match phrase
	kind := scenario.Kind(args[policyinfer.ArgCertificate])
	switch kind {
	case scenario.SelfSigned:
		certificate = phrase{"is self-signed", "selbstsigniert ist"}
	case scenario.CA:
		certificate = phrase{"comes from a public CA", "von einer öffentlichen Zertifizierungsstelle stammt"}
	case scenario.CADefault:
		certificate = phrase{
			"comes from a public CA and names every test server",
			"von einer öffentlichen Zertifizierungsstelle stammt und alle Testserver nennt",
		}
	default:
		certificate = phrase{"is unknown", "unbekannt ist"}
	}
	switch scenario.TLSA(args[policyinfer.ArgTLSA]) {
	case scenario.TLSAMatch:
		match = phrase{" and matches its TLSA record", " und zum TLSA-Eintrag passt"}
		if !kind.Trusted() {
			match = phrase{", but matches its TLSA record", ", aber zum TLSA-Eintrag passt"}
		}
	case scenario.TLSAMismatch:
		match = phrase{" and does not match its TLSA record", " und nicht zum TLSA-Eintrag passt"}
		if kind.Trusted() {
			match = phrase{", but does not match its TLSA record", ", aber nicht zum TLSA-Eintrag passt"}
		}
	}
	if host := args[policyinfer.ArgHost]; host != "" {
		return host, phrase{", whose certificate %[1]s%[2]s", ", dessen Zertifikat %[1]s%[2]s"}.with(l, certificate, match)
	}
	return phrase{"a server", "einen Server"}.in(l), phrase{" whose certificate %[1]s%[2]s", ", dessen Zertifikat %[1]s%[2]s"}.with(l, certificate, match)
}
