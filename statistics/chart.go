package statistics

import (
	"fmt"
	"html"
	"html/template"
	"strings"

	"github.com/tlsink/tlsink/policyinfer"
)

// Measures of a chart, in its own units.
const (
	chartWidth = 720
	labelWidth = 150
	sumWidth   = 60
	barHeight  = 18
	barPitch   = 26
	legendStep = 120
	swatch     = 12
)

// fill returns the colour of a verdict, and whether it is hatched: colours are
// never all that tells two verdicts apart, and the table beside the chart has the
// numbers.
func fill(verdict string) (colour string, hatched bool) {
	switch policyinfer.Name(verdict) {
	case policyinfer.None:
		return "#b3261e", false
	case policyinfer.May:
		return "#c77700", false
	case policyinfer.Encrypt:
		return "#c77700", true
	case policyinfer.Verify:
		return "#3f7fbf", false
	case policyinfer.MTASTS:
		return "#3f7fbf", true
	case policyinfer.DANE:
		return "#1b7f4b", false
	case policyinfer.DANEOnly:
		return "#1b7f4b", true
	case policyinfer.DANEMTASTS:
		return "#0f5b6b", false
	case policyinfer.Mixed:
		return "#7a5aa6", false
	}
	return "#8a949e", false
}

// chart draws rows as stacked bars. It holds no style and no script, only
// attributes, so that the strictest policy allows it. name and description are
// its text alternative.
func chart(id, name, description string, rows []Row, label func(string) string) template.HTML {
	most := 0
	used := make(map[string]bool)
	for _, r := range rows {
		most = max(most, r.Sum)
		for v := range r.Cells {
			used[v] = true
		}
	}
	if most == 0 {
		return ""
	}
	perLine := (chartWidth - labelWidth) / legendStep
	lines := (len(used) + perLine - 1) / perLine
	height := len(rows)*barPitch + lines*20 + 12
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="r-drawing" role="img" aria-labelledby="%[1]s-name %[1]s-text" viewBox="0 0 %[2]d %[3]d" width="%[2]d" height="%[3]d" xmlns="http://www.w3.org/2000/svg">`, id, chartWidth, height)
	fmt.Fprintf(&b, `<title id="%s-name">%s</title><desc id="%[1]s-text">%s</desc>`, id, html.EscapeString(name), html.EscapeString(description))
	fmt.Fprintf(&b, `<defs><pattern id="%s-hatch" width="6" height="6" patternUnits="userSpaceOnUse"><path d="M0 6L6 0" stroke="#ffffff" stroke-width="1.5"/></pattern></defs>`, id)
	for i, r := range rows {
		bar(&b, id, i*barPitch, r, most, label(r.Group))
	}
	n := 0
	for _, v := range verdicts() {
		if !used[v] {
			continue
		}
		x, y := labelWidth+n%perLine*legendStep, len(rows)*barPitch+12+n/perLine*20
		rect(&b, id, x, y, swatch, swatch, v)
		fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`, x+swatch+5, y+swatch-1, html.EscapeString(v))
		n++
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // every text was escaped
}

// bar draws one row at height y.
func bar(b *strings.Builder, id string, y int, r Row, most int, label string) {
	const room = chartWidth - labelWidth - sumWidth
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-8, y+barHeight-4, html.EscapeString(clip(label)))
	from := 0
	for _, v := range verdicts() {
		n := r.Cells[v]
		if n == 0 {
			continue
		}
		x, end := labelWidth+from*room/most, labelWidth+(from+n)*room/most
		rect(b, id, x, y, max(1, end-x), barHeight, v)
		from += n
	}
	fmt.Fprintf(b, `<text x="%d" y="%d">%d</text>`, labelWidth+r.Sum*room/most+6, y+barHeight-4, r.Sum)
}

func rect(b *strings.Builder, id string, x, y, w, h int, verdict string) {
	colour, hatched := fill(verdict)
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`, x, y, w, h, colour)
	if hatched {
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="url(#%s-hatch)"/>`, x, y, w, h, id)
	}
}

// clip shortens a label that would leave the chart; the table has all of it.
func clip(s string) string {
	const most = 20
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// mark is a small square in one of the colours of the provider table, for eyes
// only: the name of the colour stands beside it.
func mark(c Colour) template.HTML {
	colours := map[Colour]string{Red: "#c0322b", Yellow: "#f2c200", White: "#ffffff", Green: "#1e8e4f", Grey: "#8a949e"}
	colour, ok := colours[c]
	if !ok {
		return ""
	}
	return template.HTML(fmt.Sprintf(`<svg aria-hidden="true" viewBox="0 0 14 14" width="14" height="14"><rect x="1" y="1" width="12" height="12" fill="%s" stroke="#6b7785"/></svg> `, colour)) //nolint:gosec // of the list above
}
