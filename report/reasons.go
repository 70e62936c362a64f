package report

// reason is why something is not so, as the analysis says it.
func (s speaker) reason(why string) string { return s.quote(why, maxText) }
