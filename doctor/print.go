package doctor

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Group puts results of one check together that differ in nothing but their
// subject: one cause, one message.
func Group(results []Result) []Result {
	var out []Result
	for _, r := range results {
		i := slices.IndexFunc(out, func(o Result) bool {
			return o.Check == r.Check && o.Status == r.Status && o.Seen == r.Seen && o.Fix == r.Fix
		})
		if i < 0 {
			out = append(out, r)
			continue
		}
		out[i].Subject += ", " + r.Subject
		if out[i].Effect != Broken && r.Effect != NoEffect {
			out[i].Effect = r.Effect // the worst of them
		}
	}
	return out
}

const (
	columns   = 100 // of a terminal
	seenFrom  = 21  // column
	fixFrom   = 9
	statusFmt = "%-7s%-13s "
)

// Line is a result as people read it: what was seen, and the fix below what is
// wrong. Records to copy are not broken.
func (r Result) Line() string {
	word := map[Status]string{OK: "ok", Wrong: "WRONG", Cannot: "?"}[r.Status]
	var b strings.Builder
	fmt.Fprintf(&b, statusFmt, word, r.Check)
	wrap(&b, seenFrom, seenFrom, r.Subject+": "+r.Seen)
	if r.Status != Wrong {
		return b.String()
	}
	for i, line := range strings.Split(r.Fix, "\n") {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", fixFrom) + strings.ReplaceAll(line, "\t", " ") + "\n")
			continue
		}
		wrap(&b, 0, fixFrom, line)
	}
	switch r.Effect {
	case Unverifiable:
		wrap(&b, 0, fixFrom, "Until then, verdicts without protection (none, may, encrypt, verify) are not given.")
	case Broken:
		wrap(&b, 0, fixFrom, "Until then, no verdict is given and no report mailed.")
	}
	return b.String()
}

// wrap writes the words of a text from a column on, where the first line has
// come as far as at.
func wrap(b *strings.Builder, at, from int, text string) {
	b.WriteString(strings.Repeat(" ", from-at))
	at = from
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case at == from:
		case at+1+n > columns:
			b.WriteString("\n" + strings.Repeat(" ", from))
			at = from
		default:
			b.WriteString(" ")
			at++
		}
		b.WriteString(word)
		at += n
	}
	b.WriteString("\n")
}

// Summary ends the list.
func Summary(w io.Writer, results []Result) error {
	n := make(map[Status]int)
	for _, r := range results {
		n[r.Status]++
	}
	end := "Nothing is wrong."
	switch {
	case n[Wrong] > 0:
		end = "Cure what is WRONG from the top: what is below may follow from it."
	case n[Cannot] > 0:
		end = "Nothing is wrong as far as it could be tested."
	}
	_, err := fmt.Fprintf(w, "\n%d ok, %d wrong, %d could not be tested.\n%s\n", n[OK], n[Wrong], n[Cannot], end)
	return err
}
