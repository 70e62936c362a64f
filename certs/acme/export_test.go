package acme

import "time"

// ParseChain, RetryAfter and TermsLink are the parsers, for fuzzing.
func ParseChain(b []byte) (int, error) {
	chain, err := parseChain(b)
	return len(chain), err
}

func RetryAfter(field string, now time.Time) time.Duration { return retryAfter(field, now) }

func TermsLink(fields ...string) string { return termsLink(fields) }
