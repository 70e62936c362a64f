package report

// reason is why something is not so, as the analysis says it.
func (s speaker) reason(why string) string { return s.quote(why, maxText) }

func (s speaker) requirement(id string) string   { return s.quote(id, maxName) }
func (s speaker) scoreName(id string) string     { return s.quote(id, maxName) }
func (s speaker) mechanismName(id string) string { return s.quote(id, maxName) }
