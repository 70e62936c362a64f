package report

// A step is what to do next about one weakness.
type step struct {
	Title    string // short; may be empty
	Text     string // what to do, and why; may be empty
	Settings []setting
	Ask      string // what to ask a provider; may be empty
}

// A setting is to be copied as it is.
type setting struct {
	Name  string // where it belongs: Postfix, Exim, DNS, a URL
	Lines []string
}

func stepsOf(texts []string) (out []step) {
	for _, t := range texts {
		out = append(out, step{Text: t})
	}
	return out
}

func inboundAdvice(Input) []step { return nil }
