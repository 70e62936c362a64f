package live

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/report"
)

func TestBadge(t *testing.T) {
	verdict := func(policy, level string) *Status {
		return &Status{State: Acked, Verdict: &Verdict{Policy: policy, Level: level}}
	}
	for _, tt := range []struct {
		name   string
		s      *Status
		en, de string
		colour string
	}{
		{"none", verdict("none", "bad"), "none", "none", badgeBad},
		{"may", verdict("may", "weak"), "may", "may", badgeWeak},
		{"encrypt", verdict("encrypt", "fair"), "encrypt", "encrypt", badgeFair},
		{"dane+mta-sts", verdict("dane+mta-sts", "good"), "dane+mta-sts", "dane+mta-sts", badgeGood},
		{"mixed", verdict("mixed", "open"), "mixed", "uneinheitlich", badgeOpen},
		{"undetermined", verdict("undetermined", "open"), "undetermined", "unbestimmt", badgeOpen},
		{"running", &Status{State: Running}, "test running", "Test läuft", badgeOpen},
		{"queued", &Status{State: Queued}, "waiting", "wartet", badgeOpen},
		{"expired", &Status{State: Expired}, "expired", "abgelaufen", badgeOpen},
		{"no status", nil, "unknown", "unbekannt", badgeOpen},
		{"a policy from elsewhere", verdict("<script>alert(1)</script>\n&", "new"), "&lt;script&gt;alert(1)&lt;/script…", "&lt;script&gt;alert(1)&lt;/script…", badgeOpen},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for l, want := range map[report.Language]string{report.English: tt.en, report.German: tt.de} {
				got := string(Badge(tt.s, l))
				checkSVG(t, got)
				if !strings.Contains(got, ">"+want+"</text>") || !strings.Contains(got, `fill="`+tt.colour+`"`) {
					t.Errorf("%s: want %q on %s:\n%s", l, want, tt.colour, got)
				}
				if !strings.Contains(got, ": "+want+"</title>") {
					t.Errorf("%s: no title: %s", l, got)
				}
				if tt.s != nil && l == report.English && tt.colour != badgeOpen {
					golden := filepath.Join("testdata", "golden", "badge-"+tt.name+".svg")
					if b, err := os.ReadFile(golden); err != nil || string(b) != got {
						t.Errorf("%s differs (%v): %s", golden, err, got)
					}
				}
			}
		})
	}
}

// checkSVG wants well-formed XML with nothing active and nothing from elsewhere.
func checkSVG(t *testing.T, s string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v: %s", err, s)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch e.Name.Local {
		case "svg", "title", "path", "g", "text":
		default:
			t.Errorf("element %q", e.Name.Local)
		}
		for _, a := range e.Attr {
			if strings.HasPrefix(a.Name.Local, "on") || strings.Contains(a.Value, "url(") || a.Name.Local == "href" || a.Name.Local == "style" {
				t.Errorf("attribute %s=%q", a.Name.Local, a.Value)
			}
		}
	}
}

// White letters are readable on every colour (WCAG 2.2, 1.4.3).
func TestBadgeContrast(t *testing.T) {
	for _, colour := range []string{badgeLabel, badgeGood, badgeFair, badgeWeak, badgeBad, badgeOpen} {
		if c := 1.05 / (luminance(t, colour) + 0.05); c < 4.5 {
			t.Errorf("contrast of white on %s: %.2f, want 4.5", colour, c)
		}
	}
}

func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(colour[1:], 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	part := func(shift uint) float64 {
		v := float64(n>>shift&0xff) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*part(16) + 0.7152*part(8) + 0.0722*part(0)
}

func TestTextWidth(t *testing.T) {
	for text, want := range map[string]int{"": 0, "i": 4, "dane": 28, "Test läuft": 53, "\x00": 8} {
		if got := textWidth(text); got != want {
			t.Errorf("width of %q: %d, want %d", text, got, want)
		}
	}
	if n := len(glyphs); n != '~'-' '+1 {
		t.Errorf("%d glyphs", n)
	}
	if got := fmt.Sprint(glyphs['0'-' '], glyphs['W'-' '], glyphs['~'-' ']); got != "636 989 838" {
		t.Errorf("the table is shifted: %s", got)
	}
}
