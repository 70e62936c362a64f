package doctor

import (
	"fmt"
	"io"
	"strings"
)

// Line is a result as people read it: one line, and the fix below what is wrong.
func (r Result) Line() string {
	word := map[Status]string{OK: "ok     ", Wrong: "WRONG  ", Cannot: "?      "}[r.Status]
	var b strings.Builder
	fmt.Fprintf(&b, "%s%-13s %s: %s\n", word, r.Check, r.Subject, oneLine(r.Seen))
	if r.Status == Wrong {
		for line := range strings.SplitSeq(r.Fix, "\n") {
			b.WriteString("         " + line + "\n")
		}
		switch r.Effect {
		case Unverifiable:
			b.WriteString("         Until then, verdicts without protection (none, may, encrypt, verify) are not given.\n")
		case Broken:
			b.WriteString("         Until then, no verdict is given and no report mailed.\n")
		}
	}
	return b.String()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

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
	_, err := fmt.Fprintf(w, "\n%d ok, %d wrong, %d could not be tested. %s\n", n[OK], n[Wrong], n[Cannot], end)
	return err
}
