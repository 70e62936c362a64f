package statistics

import (
	"slices"

	"github.com/tlsink/tlsink/policyinfer"
)

// Colour is one of the table of providers of the original test.
type Colour string

// The colours. Outbound they follow from the verdict, inbound they are those of
// package rating.
const (
	Red    Colour = "red"    // no encryption
	Yellow Colour = "yellow" // encryption without trusted certificates
	White  Colour = "white"  // encryption with valid certificates
	Green  Colour = "green"  // SMTP-DANE, or inbound qualified transport encryption
	Grey   Colour = "grey"   // senders of this provider differ, or it could not be tested
)

// OutboundColour is the colour of a verdict; Grey for what is no policy.
func OutboundColour(verdict string) Colour {
	switch policyinfer.Name(verdict) {
	case policyinfer.None:
		return Red
	case policyinfer.May, policyinfer.Encrypt: // the certificate may be anyone's
		return Yellow
	case policyinfer.Verify, policyinfer.MTASTS:
		return White
	case policyinfer.DANE, policyinfer.DANEOnly, policyinfer.DANEMTASTS:
		return Green
	}
	return Grey
}

// LeastSenders is how many different senders of a provider must have come in
// one month before it stands in the provider table: one may have a setting of
// its own, two may be one person.
const LeastSenders = 3

// Listed is a row of the provider table. It rests on the newest month with
// enough senders.
type Listed struct {
	Name, Domain string
	Month        string
	Outbound     Colour // Grey: its senders had different colours
	Verdicts     []string
	Inbound      Colour // empty: too few were tested
	Senders      int    // at least so many, see senders
}

// senders is a number of senders as it is shown: the lower end of its range.
func senders(n int) int {
	shown := 0
	for _, least := range []int{LeastSenders, 5, 10, 20, 50, 100, 200, 500, 1000} {
		if n >= least {
			shown = least
		}
	}
	return shown
}

// table returns the rows of listed providers, in the order of the operator.
func (c *Collector) table(since string) []Listed {
	var out []Listed
	for _, p := range c.o.Providers {
		for _, name := range slices.Backward(c.index.Months) {
			if name < since {
				break
			}
			m := c.months[name].Public
			n := sum(m.Outbound[p.Domain])
			if n < LeastSenders {
				continue
			}
			row := Listed{Name: p.Name, Domain: p.Domain, Month: name, Senders: senders(n), Inbound: inboundColour(m.Inbound[p.Domain])}
			row.Outbound, row.Verdicts = outboundColour(m.Outbound[p.Domain])
			out = append(out, row)
			break
		}
	}
	return out
}

// outboundColour is what all conclusive verdicts of a month have in common.
// Which verdicts those were is said only if there is one colour: else a single
// sender would be seen.
func outboundColour(row map[string]int) (Colour, []string) {
	var colour Colour
	var names []string
	for _, v := range verdicts() {
		if row[v] == 0 {
			continue
		}
		if one := OutboundColour(v); colour == "" {
			colour = one
		} else if colour != one {
			return Grey, nil
		}
		if row[v] >= LeastSenders {
			names = append(names, v)
		}
	}
	if colour == "" {
		colour = Grey
	}
	return colour, names
}

// inboundColour is the best one that enough senders' domains had: a domain of
// the provider's customer may be without DNSSEC and so be worse than the
// provider is.
func inboundColour(row map[string]int) Colour {
	for _, c := range []Colour{Green, White, Yellow, Red, Grey} {
		if row[string(c)] >= LeastSenders {
			return c
		}
	}
	return ""
}
