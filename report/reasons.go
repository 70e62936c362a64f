package report

import "strings"

const reasonDepth = 3 // reasons within reasons

// reason is why something is not so, as the analysis says it: in English, so
// that programs and logs say the same. What is common is translated; the rest
// stays as it is, since a wrong reason is worse than an English one.
func (s speaker) reason(why string) string {
	why = s.quote(why, maxText)
	if s.l != German {
		return why
	}
	return inGerman(why, reasonDepth)
}

func inGerman(why string, depth int) string {
	if depth == 0 {
		return why
	}
	for i := range sayings {
		m := sayings[i].en.FindStringSubmatch(why)
		if m == nil {
			continue
		}
		var replace []string
		for j, inner := range m[1:] {
			replace = append(replace, "$"+string(rune('1'+j)), inGerman(inner, depth-1))
		}
		return strings.NewReplacer(replace...).Replace(sayings[i].de)
	}
	return why
}
