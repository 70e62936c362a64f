package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/rating"
)

// policyAge is how long a policy that we propose is kept: a week, RFC 8461 §3.2
// has it in its example.
const policyAge = 604800

func (r receiver) checkName() string {
	return phrase{"To check it", "Zum Prüfen"}.in(r.l)
}

// bogus is about records that DNSSEC finds forged or damaged: senders with a
// resolver that validates cannot deliver at all.
func (r receiver) bogus() (step, bool) {
	var names, lines []string
	add := func(name, kind string, set inbound.RRset) {
		if set.Status != dnssec.Bogus || !hostPattern.MatchString(name) {
			return
		}
		if len(lines) < hostsKept {
			lines = append(lines, fmt.Sprintf("delv %s %s", name, kind))
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	add(r.domain, "SOA", r.a.Zone)
	add(r.domain, "MX", r.a.MX)
	for _, h := range r.a.Hosts {
		add(h.Name, "A", h.A)
		add(h.Name, "AAAA", h.AAAA)
		add("_25._tcp."+h.Name, "TLSA", h.TLSA)
	}
	if len(names) == 0 {
		return step{}, false
	}
	return step{
		Title: phrase{"Repair DNSSEC", "DNSSEC reparieren"}.in(r.l),
		Text: phrase{
			"DNSSEC finds records of %[1]s forged or damaged. Resolvers that validate do not give them out, so that mail from many senders does not arrive. The usual causes are expired signatures, and a DS record at the parent that belongs to no key.",
			"DNSSEC hält Einträge von %[1]s für gefälscht oder beschädigt. Validierende Resolver geben sie nicht heraus, so dass E-Mails vieler Absender nicht ankommen. Die häufigsten Ursachen sind abgelaufene Signaturen und ein DS-Eintrag in der übergeordneten Zone, der zu keinem Schlüssel gehört.",
		}.with(r.l, r.list(names)),
		Settings: []setting{{r.checkName(), lines}},
		Ask: r.ask(phrase{
			"DNSSEC of %[1]s is broken: resolvers that validate get no answer. Please repair it at once.",
			"DNSSEC von %[1]s ist fehlerhaft: Validierende Resolver erhalten keine Antwort. Bitte beheben Sie das umgehend.",
		}, names),
	}, true
}

// tlsaSettings are the TLSA records of hosts, and how their value is made.
func (r receiver) tlsaSettings(hosts []string) []setting {
	var lines []string
	for _, h := range hosts[:min(len(hosts), hostsKept)] {
		lines = append(lines, fmt.Sprintf("_25._tcp.%s. IN TLSA 3 1 1 <hash>", h))
	}
	return []setting{
		{"DNS", lines},
		{
			phrase{"<hash>, on the mail server", "<hash>, auf dem Mailserver"}.in(r.l),
			[]string{"openssl x509 -in cert.pem -noout -pubkey |", "  openssl pkey -pubin -outform DER | openssl sha256"},
		},
	}
}

// mismatch is about certificates that match no TLSA record: senders with DANE
// hand nothing over there.
func (r receiver) mismatch() (step, bool) {
	hosts := r.failed(rating.TLSAMatch)
	if len(hosts) == 0 {
		return step{}, false
	}
	return step{
		Title: phrase{"Make TLSA records and certificates match", "TLSA-Einträge und Zertifikate in Einklang bringen"}.in(r.l),
		Text: phrase{
			"Senders that use DANE do not deliver where the certificate matches no TLSA record: %[1]s. Publish the record of the present key. Later, keep the key when the certificate is renewed (certbot: --reuse-key), or publish the record of the next key two TTLs before it is used.",
			"Absender mit DANE stellen dort nicht zu, wo das Zertifikat zu keinem TLSA-Eintrag passt: %[1]s. Veröffentlichen Sie den Eintrag des jetzigen Schlüssels. Behalten Sie künftig den Schlüssel bei, wenn das Zertifikat erneuert wird (certbot: --reuse-key), oder veröffentlichen Sie den Eintrag des nächsten Schlüssels zwei TTLs, bevor er verwendet wird.",
		}.with(r.l, r.list(hosts)),
		Settings: r.tlsaSettings(hosts),
		Ask: r.ask(phrase{
			"The certificates of your mail servers (%[1]s) do not match their TLSA records, so that senders with DANE cannot deliver mail to me. Please correct the records at once.",
			"Die Zertifikate Ihrer Mailserver (%[1]s) passen nicht zu ihren TLSA-Einträgen; Absender mit DANE können mir keine E-Mails zustellen. Bitte berichtigen Sie die Einträge umgehend.",
		}, hosts),
	}, true
}

// dane is about what DANE needs and is not there: first DNSSEC, then records.
func (r receiver) dane() (step, bool) {
	if s, ok := r.unusable(); ok {
		return s, true
	}
	unsigned := slices.Concat(r.failed(rating.MXSecure), r.failed(rating.AddressSecure))
	whole := slices.Contains(unsigned, r.domain) && !r.isBogus(r.domain)
	unsigned = slices.DeleteFunc(unsigned, func(name string) bool {
		return r.isBogus(name) || whole && strings.HasSuffix(name, "."+r.domain) // signed with it
	})
	missing := slices.DeleteFunc(r.failed(rating.TLSAPresent), r.isBogus)
	switch {
	case len(unsigned) > 0:
		return r.sign(unsigned), true
	case len(missing) == 0:
		return step{}, false
	}
	return step{
		Title: phrase{"Publish TLSA records (DANE)", "TLSA-Einträge veröffentlichen (DANE)"}.in(r.l),
		Text: phrase{
			"DNSSEC is there; TLSA records see to it that senders with DANE always encrypt, and deliver only to your servers. Missing at: %[1]s. Keep the key when the certificate is renewed (certbot: --reuse-key), or publish the record of the next key two TTLs before it is used.",
			"DNSSEC ist vorhanden; TLSA-Einträge sorgen dafür, dass Absender mit DANE immer verschlüsseln und nur an Ihre Server zustellen. Sie fehlen bei: %[1]s. Behalten Sie den Schlüssel bei, wenn das Zertifikat erneuert wird (certbot: --reuse-key), oder veröffentlichen Sie den Eintrag des nächsten Schlüssels zwei TTLs, bevor er verwendet wird.",
		}.with(r.l, r.list(missing)) + r.upToOthers(missing),
		Settings: r.tlsaSettings(missing),
		Ask: r.ask(phrase{
			"Will you publish TLSA records for your mail servers (%[1]s), so that mail to me is protected by DANE (RFC 7672)? By when?",
			"Werden Sie TLSA-Einträge für Ihre Mailserver (%[1]s) veröffentlichen, damit E-Mails an mich durch DANE (RFC 7672) geschützt sind? Bis wann?",
		}, missing),
	}, true
}

// upToOthers says which names only the operator of the servers can change.
func (r receiver) upToOthers(names []string) string {
	var others []string
	for _, n := range parents(names, r.domain) {
		if n != r.domain && !strings.HasSuffix(n, "."+r.domain) {
			others = append(others, n)
		}
	}
	if len(others) == 0 {
		return ""
	}
	return " " + phrase{
		"For names in %[1]s, only their operator can do that.",
		"Bei Namen in %[1]s kann das nur deren Betreiber tun.",
	}.with(r.l, r.list(others))
}

// parents returns the domains that the names of others are in, which follow the
// first label, and own names as they are; each once.
func parents(names []string, own string) []string {
	var out []string
	for _, n := range names {
		if _, above, _ := strings.Cut(n, "."); n != own && !strings.HasSuffix(n, "."+own) && strings.Contains(above, ".") {
			n = above
		}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func (r receiver) isBogus(name string) bool {
	return name == r.domain && r.a.MX.Status == dnssec.Bogus || slices.ContainsFunc(r.a.Hosts, func(h inbound.Host) bool {
		return h.Name == name && (h.A.Status == dnssec.Bogus || h.AAAA.Status == dnssec.Bogus || h.TLSA.Status == dnssec.Bogus)
	})
}

// sign is about zones without DNSSEC.
func (r receiver) sign(names []string) step {
	var lines []string
	for _, n := range names[:min(len(names), hostsKept)] {
		kind := "A"
		if n == r.domain {
			kind = "MX"
		}
		lines = append(lines, fmt.Sprintf("delv %s %s", n, kind))
	}
	zones := parents(names, r.domain)
	return step{
		Title: phrase{"Sign with DNSSEC, then publish TLSA records (DANE)", "Mit DNSSEC signieren, dann TLSA-Einträge veröffentlichen (DANE)"}.in(r.l),
		Text: phrase{
			"Nothing proves that DNS answers about %[1]s are genuine. Let the DNS provider sign the zone, and the registrar enter the DS record; with many of them that is one click. After that, TLSA records see to it that senders with DANE always encrypt, and deliver only to your servers.",
			"Nichts beweist, dass DNS-Antworten über %[1]s echt sind. Lassen Sie den DNS-Anbieter die Zone signieren und den Registrar den DS-Eintrag hinterlegen; bei vielen genügt dafür ein Klick. Danach sorgen TLSA-Einträge dafür, dass Absender mit DANE immer verschlüsseln und nur an Ihre Server zustellen.",
		}.with(r.l, r.list(zones)) + r.upToOthers(slices.Concat(names, r.hosts())),
		Settings: append([]setting{{r.checkName(), lines}}, r.tlsaSettings(r.hosts())...),
		Ask: r.ask(phrase{
			"Please sign %[1]s with DNSSEC, and publish TLSA records for the mail servers, so that mail to me is protected by DANE (RFC 7672). By when will that be done?",
			"Bitte signieren Sie %[1]s mit DNSSEC, und veröffentlichen Sie TLSA-Einträge für die Mailserver, damit E-Mails an mich durch DANE (RFC 7672) geschützt sind. Bis wann wird das geschehen?",
		}, zones),
	}
}

// unusable is about TLSA records that senders cannot use.
func (r receiver) unusable() (step, bool) {
	hosts := r.failed(rating.TLSAUsable)
	if len(hosts) == 0 {
		return step{}, false
	}
	return step{
		Title: phrase{"Publish TLSA records that can be used", "Verwendbare TLSA-Einträge veröffentlichen"}.in(r.l),
		Text: phrase{
			"None of the TLSA records of %[1]s is usable for SMTP: senders demand encryption because of them, and check nothing. Usage 0 and 1 are not for SMTP (RFC 7672 §3.1.3); 3 1 1 is usual.",
			"Keiner der TLSA-Einträge von %[1]s ist für SMTP verwendbar: Absender verlangen ihretwegen zwar Verschlüsselung, prüfen aber nichts. Usage 0 und 1 sind für SMTP nicht vorgesehen (RFC 7672 §3.1.3); üblich ist 3 1 1.",
		}.with(r.l, r.list(hosts)),
		Settings: r.tlsaSettings(hosts),
		Ask: r.ask(phrase{
			"The TLSA records of your mail servers (%[1]s) cannot be used for SMTP. Please publish records with the parameters 3 1 1.",
			"Die TLSA-Einträge Ihrer Mailserver (%[1]s) sind für SMTP nicht verwendbar. Bitte veröffentlichen Sie Einträge mit den Parametern 3 1 1.",
		}, hosts),
	}, true
}

// policySettings are the record and the policy that fit this domain. Its mode
// is testing as long as enforce would keep mail from arriving.
func (r receiver) policySettings() []setting {
	mode := "enforce"
	if r.unfit() {
		mode = "testing"
	}
	policy := []string{"version: STSv1", "mode: " + mode}
	for _, h := range r.hosts() {
		policy = append(policy, "mx: "+h)
	}
	return []setting{
		{"DNS", []string{fmt.Sprintf("_mta-sts.%s. IN TXT \"v=STSv1; id=%s\"", r.domain, r.policyID())}},
		{fmt.Sprintf("https://mta-sts.%s/.well-known/mta-sts.txt", r.domain), append(policy, fmt.Sprintf("max_age: %d", policyAge))},
	}
}

// unfit reports whether senders that enforce MTA-STS could not deliver.
func (r receiver) unfit() bool {
	return len(r.failed(rating.Certificate))+len(r.failed(rating.StartTLS))+len(r.failed(rating.TLSVersion)) > 0
}

// policyID is another one than now, as it has to be whenever the policy changes.
func (r receiver) policyID() string {
	at := r.a.Started.UTC()
	for {
		if id := at.Format("20060102150405"); id != r.a.MTASTS.ID {
			return id
		}
		at = at.Add(time.Second)
	}
}

// policyStep is a step that ends in a policy. One that forgets a host keeps
// mail from arriving there.
func (r receiver) policyStep(title phrase, text string) step {
	if r.a.MX.Count > len(r.hosts()) {
		text += " " + phrase{
			"There are more MX hosts than those that are named below: the policy has to list each of them.",
			"Es gibt mehr Mailserver (MX) als die unten genannten: Die Richtlinie muss jeden aufführen.",
		}.in(r.l)
	}
	return step{
		Title: title.in(r.l), Text: text, Settings: r.policySettings(),
		Ask: phrase{
			"Please publish an MTA-STS policy (RFC 8461) in mode enforce for %[1]s that lists all its mail servers. By when will that be done?",
			"Bitte veröffentlichen Sie für %[1]s eine MTA-STS-Richtlinie (RFC 8461) im Modus enforce, die alle Mailserver aufführt. Bis wann wird das geschehen?",
		}.with(r.l, r.domain),
	}
}

// policyBroken is about an MTA-STS policy that is there and does not work.
func (r receiver) policyBroken() (step, bool) {
	p := r.a.MTASTS
	unlisted := r.failed(rating.PolicyLists)
	var text string
	switch {
	case !p.Published.OK():
		return step{}, false
	case p.HTTPS.Failed():
		text = phrase{
			"Senders cannot fetch the policy, since the certificate of mta-sts.%[1]s is not valid: it has to be from a public CA, for this name.",
			"Absender können die Richtlinie nicht abrufen, weil das Zertifikat von mta-sts.%[1]s nicht gültig ist: Es muss von einer öffentlichen Zertifizierungsstelle stammen und für diesen Namen gelten.",
		}.with(r.l, r.domain)
	case p.Policy.Failed():
		text = phrase{
			"There is a record, but the policy of %[1]s cannot be fetched or read, so it protects nothing.",
			"Es gibt einen Eintrag, aber die Richtlinie von %[1]s lässt sich nicht abrufen oder nicht lesen und schützt deshalb nichts.",
		}.with(r.l, r.domain)
	case len(unlisted) > 0:
		text = phrase{
			"The policy does not list %[1]s, so that senders with MTA-STS do not deliver there. Add what is missing, and change the id of the record afterwards.",
			"Die Richtlinie führt nicht auf: %[1]s. Absender mit MTA-STS stellen dort nicht zu. Ergänzen Sie, was fehlt, und ändern Sie danach die id des Eintrags.",
		}.with(r.l, r.list(unlisted))
	default:
		return step{}, false
	}
	return r.policyStep(phrase{"Repair MTA-STS", "MTA-STS reparieren"}, text), true
}

// policyMissing is about a domain without MTA-STS, or with one that is not in
// force.
func (r receiver) policyMissing() (step, bool) {
	title, text := phrase{"Publish an MTA-STS policy", "Eine MTA-STS-Richtlinie veröffentlichen"}, phrase{
		"It protects mail from senders that know MTA-STS and no DANE, such as Gmail. The policy lies on a web server mta-sts.%[1]s with a valid certificate.",
		"Sie schützt E-Mails von Absendern, die MTA-STS, aber kein DANE beherrschen, etwa Gmail. Die Richtlinie liegt auf einem Webserver mta-sts.%[1]s mit gültigem Zertifikat.",
	}
	switch {
	case r.a.MTASTS.Published.Outcome == check.Untested || r.a.MTASTS.Published.Outcome == "":
		return step{}, false
	case !r.a.MTASTS.Published.OK():
	case len(r.failed(rating.PolicyMode)) > 0 && r.a.MTASTS.Policy.OK():
		title, text = phrase{"Put the MTA-STS policy in force", "Die MTA-STS-Richtlinie in Kraft setzen"}, phrase{
			"Its mode does not protect yet: senders only report, or ignore it. Once the reports are clean, set enforce, and change the id of the record of %[1]s.",
			"Ihr Modus schützt noch nicht: Absender melden nur oder beachten sie nicht. Sobald die Berichte keine Fehler mehr zeigen, setzen Sie enforce, und ändern Sie die id des Eintrags von %[1]s.",
		}
	default:
		return step{}, false
	}
	said := text.with(r.l, r.domain)
	if r.unfit() {
		said += " " + phrase{
			"With the mode enforce, mail would not arrive at present: begin with testing, and change once every server has STARTTLS and a valid certificate.",
			"Im Modus enforce kämen E-Mails derzeit nicht an: Beginnen Sie mit testing, und wechseln Sie, sobald jeder Server STARTTLS und ein gültiges Zertifikat hat.",
		}.in(r.l)
	}
	return r.policyStep(title, said), true
}
