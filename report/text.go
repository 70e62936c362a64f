package report

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// width is the longest line of the text, in characters. Only the link may be
// longer, as it must stay in one piece.
const width = 76

// Text returns the report as plain text with LF line ends.
func Text(in Input) string {
	v := newView(in)
	var b textBuilder
	b.heading(v.Title, '=')
	b.para(v.Lay)
	b.para(v.Admin)
	b.para("Result: " + v.Policy + " (" + v.Grade + ")")
	b.para(v.State)
	b.para(v.Forwarded)
	if v.Delivery != "" {
		b.para("The report could not be mailed: " + v.Delivery)
	}
	for _, f := range v.Facts {
		b.wrap(f.Value, fmt.Sprintf("%-10s ", f.Name+":"), "           ")
	}
	b.section("Domains without a policy", v.Unprotected)
	b.list("What to do next", v.Advice)
	b.facts("What is known of the sender", v.Parts)
	b.facts("Hosts", v.Hosts)
	b.list(providerHeading, v.Provider)
	b.items("Findings", v.Findings)
	b.list("What is missing", v.Missing)
	b.items("Evidence", v.Reasons)
	for _, d := range v.DNS {
		b.wrap(d, "- ", "  ")
	}
	b.list("Left out", v.LeftOut)
	b.history(v)
	b.list("Around that time (may belong to others, not used)", v.Around)
	b.heading("About this report", '-')
	if v.Link != "" {
		b.WriteString("Result page:\n" + v.Link + "\n\n")
	}
	b.para(v.Privacy)
	b.para("Inference engine " + v.Engine + ".")
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// textBuilder writes wrapped text.
type textBuilder struct{ strings.Builder }

func (b *textBuilder) heading(s string, underline byte) {
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	s = short(s, width)
	b.WriteString(s + "\n" + strings.Repeat(string(underline), utf8.RuneCountInString(s)) + "\n")
}

// para writes a paragraph and an empty line, or nothing.
func (b *textBuilder) para(s string) {
	if s != "" {
		b.wrap(s, "", "")
		b.WriteByte('\n')
	}
}

func (b *textBuilder) section(heading, s string) {
	b.heading(heading, '-')
	b.wrap(s, "", "")
}

func (b *textBuilder) list(heading string, list []string) {
	if len(list) == 0 {
		return
	}
	b.heading(heading, '-')
	for _, s := range list {
		b.wrap(s, "- ", "  ")
	}
}

func (b *textBuilder) facts(heading string, facts []fact) {
	if len(facts) == 0 {
		return
	}
	b.heading(heading, '-')
	for _, f := range facts {
		b.wrap(f.Name+": "+f.Value, "- ", "  ")
	}
}

func (b *textBuilder) items(heading string, items []item) {
	if len(items) == 0 {
		return
	}
	b.heading(heading, '-')
	for _, i := range items {
		b.wrap(i.Text, "- ", "  ")
		if i.Evidence != "" {
			b.wrap(i.Evidence, "  ", "  ")
		}
	}
}

func (b *textBuilder) history(v view) {
	b.heading("Connection History", '-')
	b.wrap(fmt.Sprintf("%s. Times are UTC.", count(v.Connections)), "", "")
	for _, l := range v.History {
		if l.Gap > 0 {
			b.WriteString("... " + count(l.Gap) + " left out here ...\n")
		}
		b.wrap(l.Head+": "+l.ID, "", "    ")
		if l.Notes != "" {
			b.wrap(l.Notes, "    ", "    ")
		}
		for _, m := range l.Mails {
			s := "From: " + m.From + " To: " + m.To
			if m.Signatures != "" {
				s += " Signatures: " + m.Signatures
			}
			b.wrap(s, "    ", "      ")
		}
	}
}

// wrap writes s in lines of at most width characters. Words that are too long
// for a line are cut.
func (b *textBuilder) wrap(s, first, rest string) {
	prefix, n := first, 0
	b.WriteString(prefix)
	for word := range strings.FieldsSeq(s) {
		word = short(word, width-len(rest))
		size := utf8.RuneCountInString(word)
		switch {
		case n == 0:
		case len(prefix)+n+1+size <= width:
			b.WriteByte(' ')
			n++
		default:
			prefix, n = rest, 0
			b.WriteString("\n" + prefix)
		}
		b.WriteString(word)
		n += size
	}
	b.WriteByte('\n')
}

// short cuts s to n characters.
func short(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
