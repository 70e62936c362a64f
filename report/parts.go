package report

import (
	"strings"

	"github.com/tlsink/tlsink/policyinfer"
)

// partWords puts the parts of the model into words: what is asked, and the
// answer to each value. Values without words are not shown.
var partWords = [...]struct {
	question string
	of       func(policyinfer.Sender) string
	short    string // names the part in the line of a host
	answers  map[string]string
}{
	{"Encryption of its own accord", func(s policyinfer.Sender) string { return s.TLS }, "encrypts", map[string]string{
		"never": "never", "offered": "when it is offered", "required": "always, else no mail",
	}},
	{"Sends unencrypted to protected domains", func(s policyinfer.Sender) string { return s.Plaintext }, "unencrypted to protected domains", map[string]string{
		"no": "no", "yes": "yes",
	}},
	{"Sends unencrypted to other domains", func(s policyinfer.Sender) string { return s.PlaintextUnprotected }, "unencrypted to others", map[string]string{
		"no": "no", "yes": "yes",
	}},
	{"Checks certificates of its own accord", func(s policyinfer.Sender) string { return s.VerifiesCA }, "checks certificates", map[string]string{
		"no": "no", "yes": "yes, against public CAs",
	}},
	{"DANE", func(s policyinfer.Sender) string { return s.DANE }, "DANE", map[string]string{
		"no": "not enforced", "yes": "enforced", "required": "required of every domain",
	}},
	{"MTA-STS", func(s policyinfer.Sender) string { return s.MTASTS }, "MTA-STS", map[string]string{
		"no": "not enforced", "yes": "enforced", "lazy": "enforced, except at first contact",
	}},
	{"Where DANE and MTA-STS both apply", func(s policyinfer.Sender) string { return s.Both }, "DANE and MTA-STS", map[string]string{
		"dane": "DANE decides", "mta-sts": "MTA-STS decides", "both": "both must hold", "either": "either suffices",
	}},
	{"Names the server it wants (SNI)", func(s policyinfer.Sender) string { return s.SNI }, "SNI", map[string]string{
		"never": "never", "authenticating": "where it checks the certificate", "always": "always",
	}},
	{"Servers that the MTA-STS policy does not list", func(s policyinfer.Sender) string { return s.UnlistedMX }, "unlisted servers", map[string]string{
		"contacted": "contacted, but given no mail", "skipped": "never contacted",
	}},
	{"Mail that has to be encrypted and can't be", func(s policyinfer.Sender) string { return s.WithoutTLS }, "mail that can't be encrypted", map[string]string{
		"retry": "waits and is tried again", "bounce": "bounces at once",
	}},
}

// partsOf returns the parts that are known.
func partsOf(s policyinfer.Sender) (out []fact) {
	for _, p := range partWords {
		if answer, ok := p.answers[p.of(s)]; ok {
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
	for _, p := range partWords {
		if answer, ok := p.answers[p.of(v.Sender)]; ok {
			known = append(known, p.short+": "+answer)
		}
	}
	if len(known) > 0 {
		out += " (" + strings.Join(known, "; ") + ")"
	}
	return out
}
