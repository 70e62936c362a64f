package report

import (
	"maps"
	"slices"
)

// A view is what every form of a report shows. All strings are neutralised.
type view struct {
	Language Language
	H        headings
	Title    string

	Policy      string
	Level       level
	Grade       string
	Lay, Admin  string
	State       string
	Forwarded   string
	Delivery    string
	Inbound     *inboundView // nil: nothing is to be said
	Advice      []step       // for sending
	InboundNext []step       // for receiving

	Timelines   []timeline
	Unprotected string
	Parts       []fact // what is known of the sender
	Hosts       []fact
	Provider    []string
	Findings    []item
	Reasons     []item
	Missing     []string
	LeftOut     []string
	DNS         []string

	Mail        *mailView // nil: its header was not read
	History     []line
	Connections string
	Around      []string

	Facts     []fact // test, sender, time
	Shortened string // says that details are left out; may be empty
	Link      string
	Engine    string
}

// A fact is a name with its value.
type fact struct{ Name, Value string }

// An item is a sentence and the connections that show it.
type item struct{ Text, Evidence string }

func newView(in Input) view {
	w, l := wordsOf(in.Verdict), in.Language
	if l != German {
		l = English
	}
	h := headingsIn(l)
	v := view{
		Title:       titleOf(in).with(l, senderDomain(in.Test.Sender, l)),
		State:       stateText(in),
		Policy:      clean(string(in.Verdict.Policy), maxName),
		Level:       w.level,
		Grade:       w.grade().in(l),
		Lay:         w.lay.in(l),
		Admin:       fill(w.admin.in(l), in.Verdict, in.Service),
		Unprotected: fill(unprotected(in.Verdict).in(l), in.Verdict, in.Service),
		Parts:       partsOf(in.Verdict.Sender, l),
		Forwarded:   forwardedText(in),
		Provider:    providerText(in),
		Missing:     missing(in),
		LeftOut:     leftOut(in),
		DNS:         dnsFacts(in.History, l),
		History:     lines(in.History, in.Service, l),
		Connections: connections.with(l, len(in.History.Connections)) + "." + allInJSON(in).in(l),
		Around:      around(in),
		Inbound:     inboundOf(in),
		Advice:      advice(in, w),
		InboundNext: inboundAdvice(in),
		Timelines:   timelines(in),
		Mail:        mailOfTest(in),
		Link:        safeLink(in.Link),
		Delivery:    redactText(deliveryText(in.Delivery, l), in.Service, maxText),
		Engine:      phrase{"Inference engine %[1]s.", "Auswertungslogik: Version %[1]s."}.with(l, clean(in.Engine, maxName)),
		Language:    l,
		H:           h,
	}
	v.Facts = []fact{
		{h.Test, clean(in.Test.ID, maxName)},
		{h.Sender, clean(redactAddress(in.Test.Sender, in.Service), maxName)},
		{h.Started, stamp(in.Test.Started) + " UTC"},
		{h.Generated, stamp(in.Generated) + " UTC"},
		{h.Service, clean(in.Service, maxName)},
	}
	for i, host := range slices.Sorted(maps.Keys(in.Verdict.Hosts)) {
		if i == hostsKeep {
			v.Hosts = append(v.Hosts, fact{"…", phrase{"%[1]d more", "%[1]d weitere"}.with(l, len(in.Verdict.Hosts)-hostsKeep)})
			break
		}
		v.Hosts = append(v.Hosts, fact{clean(host, maxName), hostText(in.Verdict.Hosts[host], l)})
	}
	starts := startsOf(in.History)
	for _, f := range in.Verdict.Findings {
		v.Findings = append(v.Findings, item{redactText(findingText(f, l), in.Service, maxText) + " (" + clean(f.ID, maxName) + ")", citation(f.Connections, starts, l)})
	}
	for _, r := range in.Verdict.Reasons {
		v.Reasons = append(v.Reasons, item{redactText(reasonText(r, l), in.Service, maxText), citation(r.Connections, starts, l)})
	}
	return v
}

func titleOf(in Input) phrase {
	if in.Inbound != nil {
		return phrase{"How %[1]s sends and receives mail", "Wie %[1]s E-Mails verschickt und empfängt"}
	}
	return phrase{"How %[1]s sends mail", "Wie %[1]s E-Mails verschickt"}
}

// allInJSON says where the rest of a long history is.
func allInJSON(in Input) phrase {
	if len(in.History.Connections) > 2*foldKeep {
		return phrase{" The JSON file has more of them.", " Die JSON-Datei enthält mehr davon."}
	}
	return phrase{}
}
