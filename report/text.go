package report

import (
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
	b.answers(v)
	b.next(v)
	b.sending(v)
	b.receiving(v)
	b.mail(v)
	b.history(v)
	b.list(v.H.Around+" ("+v.H.NotUsedShort+")", v.Around)
	b.about(v)
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// textBuilder writes wrapped text.
type textBuilder struct{ strings.Builder }

func (b *textBuilder) heading(s string, underline byte) {
	b.gap()
	s = short(s, width)
	b.WriteString(s + "\n" + strings.Repeat(string(underline), utf8.RuneCountInString(s)) + "\n")
}

// gap lets one empty line stand before what follows.
func (b *textBuilder) gap() {
	if s := b.String(); s != "" && !strings.HasSuffix(s, "\n\n") {
		b.WriteByte('\n')
	}
}

// para writes a paragraph and an empty line, or nothing.
func (b *textBuilder) para(s string) {
	if s != "" {
		b.wrap(s, "", "")
		b.WriteByte('\n')
	}
}

// sub begins a part of a section.
func (b *textBuilder) sub(s string) {
	b.gap()
	b.wrap(s, "", "")
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
