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
	b.para(v.H.Result + ": " + v.Policy + " (" + v.Grade + ")")
	b.para(v.State)
	b.para(v.Forwarded)
	if v.Delivery != "" {
		b.para(v.H.NotMailed + ": " + v.Delivery)
	}
	for _, f := range v.Facts {
		b.wrap(f.Value, fmt.Sprintf("%-10s ", f.Name+":"), "           ")
	}
	b.section(v.H.Unprotected, v.Unprotected)
	b.list(v.H.Advice, v.Advice)
	b.facts(v.H.Parts, v.Parts)
	b.facts(v.H.Hosts, v.Hosts)
	b.list(v.H.Provider, v.Provider)
	b.items(v.H.Findings, v.Findings)
	b.list(v.H.Missing, v.Missing)
	b.items(v.H.Reasons, v.Reasons)
	for _, d := range v.DNS {
		b.wrap(d, "- ", "  ")
	}
	b.list(v.H.LeftOut, v.LeftOut)
	b.history(v)
	b.list(v.H.Around+" ("+v.H.NotUsedShort+")", v.Around)
	b.heading(v.H.About, '-')
	if v.Link != "" {
		b.WriteString(v.H.Page + ":\n" + v.Link + "\n\n")
	}
	b.para(v.H.Privacy)
	b.para(v.Engine)
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
	b.heading(v.H.History, '-')
	b.wrap(v.Connections+" "+v.H.UTC, "", "")
	for _, l := range v.History {
		if l.Gap != "" {
			b.WriteString("... " + l.Gap + " ...\n")
		}
		b.wrap(l.Head+": "+l.ID, "", "    ")
		if l.Notes != "" {
			b.wrap(l.Notes, "    ", "    ")
		}
		for _, m := range l.Mails {
			s := v.H.From + " " + m.From + " " + v.H.To + " " + m.To
			if m.Signatures != "" {
				s += " " + v.H.Signatures + " " + m.Signatures
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
