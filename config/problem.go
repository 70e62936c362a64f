package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Problem is one thing that is wrong with a configuration, or may be.
type Problem struct {
	Field string `json:"field"`
	Value string `json:"value,omitempty"` // as text; empty if it is missing
	Text  string `json:"problem"`         // field and value in words
	Fix   string `json:"fix"`
}

func (p Problem) Error() string { return p.Text + ": " + p.Fix }

func missing(field, fix string) Problem {
	return Problem{Field: field, Text: field + " is missing", Fix: fix}
}

// wrong is about a value, and has about one of several.
func wrong(field string, value any, fix string) Problem {
	v := shown(value)
	return Problem{Field: field, Value: v, Text: field + " is " + v, Fix: fix}
}

func has(field string, value any, fix string) Problem {
	v := shown(value)
	return Problem{Field: field, Value: v, Text: field + " has " + v, Fix: fix}
}

// other is about what the value leads to.
func other(field, value, text, fix string) Problem {
	return Problem{Field: field, Value: value, Text: field + ": " + text, Fix: fix}
}

func shown(value any) string {
	switch v := value.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case fmt.Stringer:
		return v.String()
	case []string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(value)
}

// asProblem takes apart what another package says about its part of the
// configuration: "field is value: fix".
func asProblem(err error) []Problem {
	if err == nil {
		return nil
	}
	text, fix, _ := strings.Cut(err.Error(), ": ")
	field, value, _ := strings.Cut(text, " is ")
	return []Problem{{Field: field, Value: value, Text: text, Fix: fix}}
}

// Error is a configuration file that cannot be used.
type Error struct {
	file     string
	problems []Problem
}

func (e *Error) Error() string {
	if len(e.problems) == 1 {
		return fmt.Sprintf("configuration %s: %v", e.file, e.problems[0])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "configuration %s: %d problems", e.file, len(e.problems))
	for _, p := range e.problems {
		fmt.Fprintf(&b, "\n  - %v", p)
	}
	return b.String()
}

// Problems returns what is wrong with a configuration that could not be
// loaded; also if it could not be read at all.
func Problems(err error) []Problem {
	if x, ok := errors.AsType[*Error](err); ok {
		return x.problems
	}
	if _, unread := errors.AsType[*fs.PathError](err); unread {
		return []Problem{{Field: "--config", Text: err.Error(), Fix: "name a file that this user may read"}}
	}
	return []Problem{{Field: "--config", Text: err.Error(), Fix: "correct that line; `tlsink config example` shows how each one is written"}}
}
