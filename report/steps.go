package report

func inboundAdvice(Input) []step { return nil }
