package console

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckNewPassword says why a password must not be set; nil if it may be. zone
// is a word that everybody tries. The error never repeats the password.
func CheckNewPassword(password, zone string) error {
	switch {
	case !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl):
		return errors.New("the password has characters that can not be typed into a form")
	case utf8.RuneCountInString(password) < MinPassword:
		return fmt.Errorf("the password is too short: use at least %d characters, for example four random words", MinPassword)
	case len(password) > MaxPassword:
		return fmt.Errorf("the password is longer than %d octets", MaxPassword)
	case common(password, zone):
		return errors.New("the password is made of what is tried first: use for example four random words")
	}
	return nil
}

// leastOwn is how many characters a password must have beside words and rows
// of keys that everybody tries.
const leastOwn = 6

// common reports whether a password is made of little more than what everybody
// tries first.
func common(password, zone string) bool {
	fold := strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "@", "a", "5", "s", "$", "s", "7", "t")
	words := commonWords()
	for label := range strings.SplitSeq(strings.ToLower(zone), ".") {
		if len(label) > 2 {
			words = append(words, label)
		}
	}
	rest := fold.Replace(withoutRows(strings.ToLower(password)))
	for _, w := range words {
		rest = strings.ReplaceAll(rest, fold.Replace(w), "")
	}
	own := make(map[rune]bool)
	n := 0
	for _, r := range rest {
		if !strings.ContainsRune(" -_.!?", r) {
			own[r] = true
			n++
		}
	}
	return n < leastOwn || len(own) < leastOwn-1
}

// withoutRows cuts what follows the alphabet, the digits or a row of keys over
// four or more characters, in either direction.
func withoutRows(s string) string {
	rows := []string{
		"012345678901234567890", "098765432109876543210", "abcdefghijklmnopqrstuvwxyz", "zyxwvutsrqponmlkjihgfedcba",
		"qwertyuiop[]", "qwertzuiop", "azertyuiop", "poiuytrewq", "asdfghjkl;", "lkjhgfdsa", "zxcvbnm,./", "yxcvbnm", "mnbvcxz", "!@#$%^&*()_+",
	}
	var out strings.Builder
	for len(s) > 0 {
		n := 0
		for _, row := range rows {
			for n < len(s) && strings.Contains(row, s[:n+1]) {
				n++
			}
		}
		if n < 4 {
			_, n = utf8.DecodeRuneInString(s)
			out.WriteString(s[:n])
		}
		s = s[n:]
	}
	return out.String()
}

func commonWords() []string {
	return []string{
		"password", "passwort", "passwd", "kennwort", "correcthorsebatterystaple", "correct horse battery staple", "iloveyou", "letmein", "welcome", "willkommen",
		"administrator", "admin", "operator", "console", "changeme", "secret", "geheim", "tlsink", "postmaster", "superuser", "master", "dragon", "monkey",
		"football", "baseball", "sunshine", "princess", "trustno", "hallo", "schatz", "test", "root", "default", "mail", "server", "qwer", "asdf", "login", "please",
	}
}
