package report

import (
	"fmt"
	"strings"

	"github.com/tlsink/tlsink/scenario"
)

// Language is the language of a report. The zero value is English.
type Language string

// The languages.
const (
	English Language = "en"
	German  Language = "de"
)

// LanguageOf chooses the language of a report: the one that the address names
// to which the test mail went (en@…, de@…, en4k7w2q9mxa@…), or, if that says
// nothing or both,
// the one that the header of the mail names first.
func LanguageOf(recipients []string, headerLanguage string) Language {
	var en, de bool
	for _, r := range recipients {
		local, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(r), "<"), "@")
		if language, ok := scenario.ParseToken(local); ok { // of a leased slot
			local = language
		}
		local, _, _ = strings.Cut(local, "+")
		en = en || strings.EqualFold(local, string(English))
		de = de || strings.EqualFold(local, string(German))
	}
	if en != de {
		if de {
			return German
		}
		return English
	}
	return tagged(headerLanguage)
}

// tagged returns the language of the first tag in a header field such as
// "de-AT, en;q=0.5" (RFC 3282, RFC 5646).
func tagged(header string) Language {
	tag, _, _ := strings.Cut(header, ",")
	tag, _, _ = strings.Cut(tag, ";")
	primary, _, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(tag), "_", "-"), "-")
	if strings.EqualFold(primary, string(German)) {
		return German
	}
	return English
}

// A phrase is one sentence, or part of one, in each language. Its arguments are
// numbered (%[1]s), so that each language has its own order of words.
type phrase struct{ en, de string }

// in returns p as it is, in language l.
func (p phrase) in(l Language) string {
	if l == German {
		return p.de
	}
	return p.en
}

// with returns p in language l with its arguments filled in. An argument that
// is a phrase is put into the same language.
func (p phrase) with(l Language, args ...any) string {
	if !strings.Contains(p.in(l), "%[") {
		return p.in(l) // it needs none of them
	}
	said := make([]any, len(args))
	for i, a := range args {
		if inner, ok := a.(phrase); ok {
			a = inner.in(l)
		}
		said[i] = a
	}
	return fmt.Sprintf(p.in(l), said...)
}

// A plural is a sentence about one or several of something, whose number is its
// first argument.
type plural struct{ one, many phrase }

func (p plural) with(l Language, n int, args ...any) string {
	chosen := p.many
	if n == 1 {
		chosen = p.one
	}
	return chosen.with(l, append([]any{n}, args...)...)
}
