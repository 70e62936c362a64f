package headers

import (
	"fmt"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

// The order of what is printed: the way of the mail, where the claim of
// encryption ends, then signatures, then what servers wrote about them. What is
// a claim is called one.

func (p *headersPrinter) print(t toldHeaders) {
	p.way(t)
	p.line("")
	p.signatures(t)
	if len(t.Results) > 0 {
		p.line("")
		p.line("What servers wrote about its authentication (claims, the last one first)")
		for _, r := range t.Results {
			p.line("  %s: %s", orNobody(r.Server), strings.Join(r.words(), ", "))
		}
	}
	if t.TLSRequiredNo {
		p.line("")
		p.line("TLS-Required: No. Its author wants it delivered even where TLS cannot be had (RFC 8689).")
	}
}

func (p *headersPrinter) way(t toldHeaders) {
	if len(t.Hops) == 0 {
		p.line("The header has no Received field: nothing tells the way of the mail.")
		return
	}
	p.line("The way of the mail, as its header tells it")
	if t.HopsLeftOut > 0 {
		p.line("  (%s, older than these, left out and not counted)", steps(t.HopsLeftOut))
	}
	for i, h := range t.Hops {
		p.line("%3d  %s", t.HopsLeftOut+i+1, ends(h))
		p.line("     %s%s", when(h), protocol(h.Hop))
	}
	p.line("")
	p.line("%s", claims(t))
	p.line("Each step is what the server behind it claims; who had the mail later could have written it.")
}

// ends names both ends of a step.
func ends(h toldHop) string {
	from := h.From
	switch {
	case from == "" && h.By == "" && h.Claim == evidence.ClaimLocal:
		return "within a machine that does not say its name"
	case from == "" && h.By == "":
		return "(nothing that could be understood)"
	case from == "":
		return "at " + h.By
	case h.Submitted:
		from += " (logged in)"
	}
	return from + " -> " + orNobody(h.By)
}

func orNobody(name string) string {
	if name == "" {
		return "(no name)"
	}
	return name
}

func when(h toldHop) string {
	if h.Time.IsZero() {
		return "at no time given: "
	}
	out := h.Time.UTC().Format("2006-01-02 15:04:05 MST")
	if h.DelaySeconds != nil {
		d := time.Duration(*h.DelaySeconds) * time.Second
		switch {
		case d < 0:
			out += fmt.Sprintf(", %s earlier by its clock", -d)
		default:
			out += fmt.Sprintf(", %s later", d)
		}
	}
	return out + ": "
}

// protocol says what a step claims.
func protocol(h evidence.Hop) string {
	words := map[evidence.Claim]string{
		evidence.ClaimEncrypted: "says it was encrypted", evidence.ClaimUnencrypted: "not encrypted",
		evidence.ClaimLocal: "local", evidence.ClaimNone: "does not say whether it was encrypted",
	}
	out := words[h.Claim]
	var details []string
	if h.TLS != "" {
		details = append(details, tlsVersion(h.TLS))
	}
	if h.Cipher != "" {
		details = append(details, h.Cipher)
	}
	if len(details) > 0 {
		out += " (" + strings.Join(details, ", ") + ")"
	}
	if h.With != "" {
		out = h.With + ", " + out
	}
	return out
}

func tlsVersion(v string) string {
	switch {
	case strings.HasPrefix(v, "SSL"):
		return v + ", broken"
	case v == "1.0" || v == "1.1":
		return "TLS " + v + ", outdated" // RFC 8996
	}
	return "TLS " + v
}

// claims is the summary, in a sentence or two.
func claims(t toldHeaders) string {
	s := t.Summary
	var counts []string
	for _, c := range []struct {
		n    int
		what string
	}{{s.Encrypted, "said to be encrypted"}, {s.Unencrypted, "not encrypted"}, {s.Unsaid, "without a word about it"}, {s.Local, "local"}} {
		if c.n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	out := fmt.Sprintf("%s: %s.\n", steps(s.Hops), strings.Join(counts, ", "))
	switch {
	case s.ClaimEndsAt != nil && s.Encrypted == 0:
		return out + "No step claims encryption."
	case s.ClaimEndsAt != nil:
		h := t.Hops[*s.ClaimEndsAt-1]
		return out + fmt.Sprintf("The claim of encryption ends at step %d, %s: %s.", t.HopsLeftOut+*s.ClaimEndsAt, ends(h), protocol(h.Hop))
	case s.Encrypted == 0:
		return out + "No step between machines is told."
	case t.HopsLeftOut > 0:
		return out + "Every step between machines that is shown claims encryption."
	}
	return out + "Every step between machines claims encryption."
}

func steps(n int) string {
	if n == 1 {
		return "1 step"
	}
	return fmt.Sprintf("%d steps", n)
}

func (p *headersPrinter) signatures(t toldHeaders) {
	head := "Signatures"
	if t.NotChecked != "" {
		head += ", not checked: " + t.NotChecked
	}
	p.line("%s", head)
	for _, d := range t.DKIM {
		p.line("  DKIM  %s: %s", orNobody(d.Domain), withReason(d.Result, d.Reason))
	}
	if t.DKIMLeftOut > 0 {
		p.line("  DKIM  %d more, not looked at", t.DKIMLeftOut)
	}
	if len(t.DKIM) == 0 {
		p.line("  DKIM  none")
	}
	p.line("  ARC   %s", withReason(t.ARC.Result, t.ARC.Reason))
	for _, s := range t.ARC.Seals {
		p.line("        set %d, sealed by %s (cv=%s), which found: %s", s.Instance, orNobody(s.Domain), s.Status, short(s.Results))
	}
}

func withReason(result, reason string) string {
	if reason == "" {
		return result
	}
	return result + ": " + reason
}

// short keeps a line of a terminal.
func short(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
