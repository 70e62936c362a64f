package scenario

import "strings"

// TokenAlphabet holds the letters and digits of tokens: lower case, without
// those that look alike.
const TokenAlphabet = "23456789abcdefghjklmnpqrstuvwxyz"

// tokenLength is that of the random part of a token.
const tokenLength = 10

// Token returns the local part of the two addresses of a test that has a slot to
// itself: its language, and ten random octets of TokenAlphabet.
func Token(language, random string) string { return language + random }

// ParseToken reads the language of a token, in any case of letters; ok is false
// if local is none.
func ParseToken(local string) (language string, ok bool) {
	local = strings.ToLower(local)
	if len(local) != 2+tokenLength {
		return "", false
	}
	language = local[:2]
	if language != "en" && language != "de" || strings.Trim(local[2:], TokenAlphabet) != "" {
		return "", false
	}
	return language, true
}
