package rating

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
)

//go:embed mecsa-scores.csv
var mecsaScores string

// The IDs of MECSA's scores.
const (
	Confidential = "confidential delivery"
	Phishing     = "phishing and identity theft"
	Integrity    = "integrity of messages"
)

// row is one line of MECSA's table.
type row struct {
	score      string
	mechanisms []string
	halfStars  int
}

// table reads the table that is built in: score, mechanisms joined by " + ",
// half stars.
func table(text string) []row {
	var out []row
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		if len(fields) != 3 {
			continue
		}
		stars, err := strconv.Atoi(fields[2])
		if err != nil {
			continue // the head
		}
		out = append(out, row{fields[0], strings.Split(fields[1], " + "), stars})
	}
	return out
}

// scores are those of the best rows whose mechanisms are all supported. The
// table is monotonic: no listed set scores less than one of its subsets, so
// that a listed set always scores what its row says.
func scores(mechanisms []Mechanism) []Score {
	rows := table(mecsaScores)
	var out []Score
	for _, id := range []string{Confidential, Phishing, Integrity} {
		out = append(out, score(id, rows, mechanisms))
	}
	return out
}

func score(id string, rows []row, mechanisms []Mechanism) Score {
	s := Score{ID: id, Mechanisms: []string{}}
	supported := make(map[string]bool)
	for _, m := range mechanisms {
		counts := slices.ContainsFunc(rows, func(r row) bool { return r.score == id && slices.Contains(r.mechanisms, m.ID) })
		if !counts {
			continue
		}
		s.Partial = s.Partial || m.Partial
		if m.Supported {
			supported[m.ID] = true
			s.Mechanisms = append(s.Mechanisms, m.ID)
		}
	}
	for _, r := range rows {
		missing := slices.ContainsFunc(r.mechanisms, func(m string) bool { return !supported[m] })
		if r.score == id && !missing {
			s.HalfStars = max(s.HalfStars, r.halfStars)
		}
	}
	return s
}
