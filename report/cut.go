package report

// cut makes a report shorter, the least important first. It is false if nothing
// is left that could go.
func (v *view) cut(step int) bool {
	const keep = 4
	switch step {
	case 1:
		v.Around = nil
	case 2:
		if len(v.History) > 2*keep {
			v.History, _ = fold(v.History, keep)
			v.History[keep].Gap = "…"
		}
	case 3:
		if v.Inbound != nil {
			v.Inbound.Cards = v.Inbound.Cards[:min(len(v.Inbound.Cards), 2)]
		}
	case 4:
		v.Timelines = v.Timelines[:min(len(v.Timelines), 1)]
	case 5:
		v.History = nil
	case 6:
		for i := range v.Reasons {
			v.Reasons[i].Evidence = ""
		}
		v.Hosts, v.LeftOut, v.DNS = v.Hosts[:min(len(v.Hosts), keep)], nil, nil
	case 7:
		if in := v.Inbound; in != nil {
			in.Cards, in.Networks, in.Records, in.LeftOut, in.Faults = nil, nil, nil, nil, nil
		}
	case 8:
		v.Mail, v.Reasons, v.Timelines = nil, nil, nil
	default:
		return false
	}
	return true
}
