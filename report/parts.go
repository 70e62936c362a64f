package report

import (
	"strings"

	"github.com/tlsink/tlsink/policyinfer"
)

// part puts a part of the model into words: what is asked, and the answer to
// its value. Values without words are not shown.
type part struct {
	question string
	value    string
	short    string // names the part in the line of a host
	answers  map[string]string
}

func partsIn(s policyinfer.Sender) []part {
	return []part{
		{"Encryption of its own accord", s.TLS, "encrypts", map[string]string{
			"never": "never", "offered": "when it is offered", "required": "always, else no mail",
		}},
		{"Sends unencrypted to protected domains", s.Plaintext, "unencrypted to protected domains", map[string]string{
			"no": "no", "yes": "yes",
		}},
		{"Sends unencrypted to other domains", s.PlaintextUnprotected, "unencrypted to others", map[string]string{
			"no": "no", "yes": "yes",
		}},
		{"Checks certificates of its own accord", s.VerifiesCA, "checks certificates", map[string]string{
			"no": "no", "yes": "yes, against public CAs",
		}},
		{"DANE", s.DANE, "DANE", map[string]string{
			"no": "not enforced", "yes": "enforced", "required": "required of every domain",
		}},
		{"MTA-STS", s.MTASTS, "MTA-STS", map[string]string{
			"no": "not enforced", "yes": "enforced", "lazy": "enforced, except at first contact",
		}},
		{"Where DANE and MTA-STS both apply", s.Both, "DANE and MTA-STS", map[string]string{
			"dane": "DANE decides", "mta-sts": "MTA-STS decides", "both": "both must hold", "either": "either suffices",
		}},
		{"Names the server it wants (SNI)", s.SNI, "SNI", map[string]string{
			"never": "never", "authenticating": "where it checks the certificate", "always": "always",
		}},
		{"Servers that the MTA-STS policy does not list", s.UnlistedMX, "unlisted servers", map[string]string{
			"contacted": "contacted, but given no mail", "skipped": "never contacted",
		}},
		{"Mail that has to be encrypted and can't be", s.WithoutTLS, "mail that can't be encrypted", map[string]string{
			"retry": "waits and is tried again", "bounce": "bounces at once",
		}},
	}
}

// partsOf returns the parts that are known.
func partsOf(s policyinfer.Sender) (out []fact) {
	for _, p := range partsIn(s) {
		if answer, ok := p.answers[p.value]; ok {
			out = append(out, fact{p.question, answer})
		}
	}
	return out
}

// hostText is the verdict of one host, and what is known of it, in a line.
func hostText(v policyinfer.HostVerdict) string {
	out := clean(string(v.Policy), maxName)
	if v.Policy == policyinfer.Undetermined && len(v.Candidates) > 0 && len(v.Candidates) < len(policyinfer.Names()) {
		out += ", one of " + nameList(v.Candidates)
	}
	var known []string
	for _, p := range partsIn(v.Sender) {
		if answer, ok := p.answers[p.value]; ok {
			known = append(known, p.short+": "+answer)
		}
	}
	if len(known) > 0 {
		out += " (" + strings.Join(known, "; ") + ")"
	}
	return out
}
