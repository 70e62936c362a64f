package live

import (
	"fmt"
	"html"
	"strings"

	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

// The measures of a badge, in pixels.
const (
	badgeHeight  = 20
	badgePadding = 7
	badgeFont    = 11
	maxBadge     = 24 // characters of a policy name
)

// Badge draws s as SVG: "outbound TLS | dane". It has neither scripts nor
// anything from elsewhere, and is as wide as its text by a table of glyphs.
func Badge(s *Status, l report.Language) []byte {
	label := phrase{"outbound TLS", "TLS ausgehend"}.in(l)
	value, colour := badgeValue(s)
	said := value.in(l)
	title := html.EscapeString(label + ": " + said)
	left, right := textWidth(label), textWidth(said)
	width := left + right + 4*badgePadding
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s" lang="%s">`,
		width, badgeHeight, width, badgeHeight, title, phrase{"en", "de"}.in(l))
	fmt.Fprintf(&b, `<title>%s</title>`, title)
	fmt.Fprintf(&b, `<path fill="%s" d="M4 0h%dv20H4a4 4 0 0 1-4-4V4a4 4 0 0 1 4-4z"/>`, badgeLabel, left+2*badgePadding-4)
	fmt.Fprintf(&b, `<path fill="%s" d="M%d 0h%da4 4 0 0 1 4 4v12a4 4 0 0 1-4 4H%dz"/>`, colour, left+2*badgePadding, right+2*badgePadding-4, left+2*badgePadding)
	fmt.Fprintf(&b, `<g fill="#fff" font-family="Verdana,'DejaVu Sans',Geneva,sans-serif" font-size="%d">`, badgeFont)
	for _, t := range []struct {
		x, width int
		text     string
	}{{badgePadding, left, label}, {left + 3*badgePadding, right, said}} {
		fmt.Fprintf(&b, `<text x="%d" y="14" textLength="%d">%s</text>`, t.x, t.width, html.EscapeString(t.text))
	}
	b.WriteString("</g></svg>\n")
	return []byte(b.String())
}

// The colours of badges. White letters have a contrast of at least 4.5 on each
// (WCAG 2.2, 1.4.3).
const (
	badgeLabel = "#24292f"
	badgeGood  = "#1a7f37"
	badgeFair  = "#7d6200"
	badgeWeak  = "#a8460d"
	badgeBad   = "#b3261e"
	badgeOpen  = "#57606a"
)

// badgeValue says the verdict, or how far the test is.
func badgeValue(s *Status) (value phrase, colour string) {
	same := func(text string) phrase { return phrase{text, text} }
	switch {
	case s == nil:
		return phrase{"unknown", "unbekannt"}, badgeOpen
	case s.Verdict == nil && (s.State == Queued || s.State == Waiting):
		return phrase{"waiting", "wartet"}, badgeOpen
	case s.Verdict == nil && s.State == Expired:
		return phrase{"expired", "abgelaufen"}, badgeOpen
	case s.Verdict == nil, s.Unconfirmed:
		return phrase{"test running", "Test läuft"}, badgeOpen
	case s.Verdict.Policy == string(policyinfer.Undetermined):
		return phrase{"undetermined", "unbestimmt"}, badgeOpen
	case s.Verdict.Policy == string(policyinfer.Mixed):
		return phrase{"mixed", "uneinheitlich"}, badgeOpen
	}
	return same(report.Clean(s.Verdict.Policy, "", maxBadge)), levelColour(s.Verdict.Level)
}

func levelColour(level string) string {
	switch level {
	case "good":
		return badgeGood
	case "fair":
		return badgeFair
	case "weak":
		return badgeWeak
	case "bad":
		return badgeBad
	}
	return badgeOpen
}

// glyphs are the widths of the visible ASCII characters from the space on, in
// thousandths of the font size, as measured in DejaVu Sans, which is as wide as
// Verdana.
var glyphs = [...]int{
	318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, // !"#$%&'()*+,-./
	636, 636, 636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, // 0123456789:;<=>?
	1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863, 748, 787, // @ABCDEFGHIJKLMNO
	603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500, // PQRSTUVWXYZ[\]^_
	500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612, // `abcdefghijklmno
	635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838, // pqrstuvwxyz{|}~
}

// otherGlyph is a width that suits letters such as ä.
const otherGlyph = 640

// textWidth is the width of s in whole pixels.
func textWidth(s string) int {
	sum := 0
	for _, r := range s {
		if i := int(r) - ' '; i >= 0 && i < len(glyphs) {
			sum += glyphs[i]
			continue
		}
		sum += otherGlyph
	}
	return (sum*badgeFont + 999) / 1000
}
