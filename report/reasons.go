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
	why = inGerman(why, reasonDepth)
	for _, begin := range []string{"er ", "es ", "der ", "die ", "sein", "ihr ", "kein", "nach ", "mit "} {
		if strings.HasPrefix(why, begin) {
			return capital(why) // a sentence
		}
	}
	return why
}

func inGerman(why string, depth int) string {
	if depth == 0 {
		return why
	}
	for i := range sayings {
		parts, ok := match(sayings[i].en, why)
		if !ok {
			continue
		}
		var replace []string
		for j, inner := range parts {
			replace = append(replace, "$"+string(rune('1'+j)), inGerman(inner, depth-1))
		}
		return strings.NewReplacer(replace...).Replace(sayings[i].de)
	}
	return why
}

// match reports whether s is like pattern, and what stands for each * of it: as
// little as possible, the last one what is left.
func match(pattern, s string) (parts []string, ok bool) {
	fixed := strings.Split(pattern, "*")
	if len(fixed) == 1 {
		return nil, pattern == s
	}
	s, ok = strings.CutPrefix(s, fixed[0])
	if !ok {
		return nil, false
	}
	s, ok = strings.CutSuffix(s, fixed[len(fixed)-1])
	if !ok {
		return nil, false
	}
	for _, between := range fixed[1 : len(fixed)-1] {
		part, rest, found := strings.Cut(s, between)
		if !found {
			return nil, false
		}
		parts, s = append(parts, part), rest
	}
	return append(parts, s), true
}
