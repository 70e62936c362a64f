package received

import "strings"

// Limits on hostile fields.
const (
	maxField  = 8 << 10 // octets that are looked at
	maxTokens = 300     // words and comments
	maxDepth  = 20      // of comments in comments
)

// token is a word, or a comment without its parentheses.
type token struct {
	text    string
	comment bool
}

// scan splits a field into tokens, and the date behind its last semicolon.
func scan(s string) (tokens []token, date string) {
	s = s[:min(len(s), maxField)]
	word := -1 // where the open one begins
	before := -1
	end := func(i int) {
		if word >= 0 && len(tokens) < maxTokens {
			tokens = append(tokens, token{text: s[word:i]})
		}
		word = -1
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ', '\t', '\r', '\n':
			end(i)
		case '(':
			end(i)
			n := comment(s[i:])
			if len(tokens) < maxTokens {
				tokens = append(tokens, token{text: inner(s[i : i+n]), comment: true})
			}
			i += n - 1
		case '"':
			if word < 0 {
				word = i
			}
			i += quoted(s[i:]) - 1
		case ';':
			end(i)
			date, before = s[i+1:], len(tokens)
		default:
			if word < 0 {
				word = i
			}
		}
	}
	end(len(s))
	if before >= 0 {
		tokens = tokens[:before]
	}
	return tokens, date
}

// comment returns the length of the comment that s begins with; one that is not
// closed, or too deep, ends with the field.
func comment(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			if depth++; depth > maxDepth {
				return len(s)
			}
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// inner returns a comment without its parentheses, in one line.
func inner(s string) string {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "("), ")")
	return strings.Join(strings.Fields(s), " ")
}

// quoted returns the length of the quoted string that s begins with.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

// clauses are the parts of a field by the word that they begin with; what comes
// before the first such word is under "".
type clauses map[string][]token

func split(tokens []token) clauses {
	out := make(clauses)
	in := ""
	for _, t := range tokens {
		key := strings.ToLower(t.text)
		switch key {
		case "from", "by", "via", "with", "id", "for":
			_, twice := out[key]
			// A word right behind one of these is its value, whatever it is.
			value := in != "" && len(out[in]) == 0
			// Nothing but the beginning of a field is "from".
			late := key == "from" && in != ""
			if !t.comment && !twice && !value && !late {
				in = key
				out[in] = nil
				continue
			}
		}
		out[in] = append(out[in], t)
	}
	return out
}

func (c clauses) has(key string) bool {
	_, ok := c[key]
	return ok
}

// words returns the words of a clause.
func (c clauses) words(key string) []string {
	var out []string
	for _, t := range c[key] {
		if !t.comment {
			out = append(out, t.text)
		}
	}
	return out
}

// comments returns the comments of a clause.
func (c clauses) comments(key string) []string {
	var out []string
	for _, t := range c[key] {
		if t.comment {
			out = append(out, t.text)
		}
	}
	return out
}
