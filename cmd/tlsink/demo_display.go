package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

// display shows one line per sender. On a terminal the lines are redrawn in
// place; elsewhere a line is printed once its verdict is reached.
type display struct {
	out      io.Writer
	terminal bool
	started  time.Time
	drawn    bool
	printed  map[string]bool
}

const displayHead = "  sender            1 2 3 4 5 6 7   attempts  verdict\n"

func (d *display) draw(senders []*demoSender) {
	if d.printed == nil {
		d.printed = make(map[string]bool)
		fmt.Fprint(d.out, displayHead)
	}
	if d.terminal {
		if d.drawn {
			fmt.Fprintf(d.out, "\x1b[%dA", len(senders)+1)
		}
		d.drawn = true
		for _, s := range senders {
			fmt.Fprintf(d.out, "\x1b[2K%s\n", s.line())
		}
		fmt.Fprintf(d.out, "\x1b[2K  %.0f s\n", time.Since(d.started).Seconds())
		return
	}
	for _, s := range senders {
		if !s.view.Record.Concluded.IsZero() && !d.printed[s.label] {
			d.printed[s.label] = true
			fmt.Fprintf(d.out, "%s after %2.0f s\n", s.line(), time.Since(d.started).Seconds())
		}
	}
}

func (s *demoSender) line() string {
	verdict := ""
	switch v := s.view.Verdict; {
	case s.view.Record.Test.ID == "":
	case v.Policy != policyinfer.Undetermined:
		verdict = string(v.Policy)
	case len(v.Candidates) > 4:
		verdict = "…"
	default:
		verdict = "one of " + cli.Names(v.Candidates)
	}
	return fmt.Sprintf("  %-17s %s   %8d  %-12s", s.label, faces(s.view.History), s.view.Verdict.Attempts, verdict)
}

// faces draws the seven virtual servers: the best outcome at each.
func faces(h evidence.History) string {
	symbols := strings.Split("·······", "")
	for _, c := range h.Connections {
		if c.Server < 1 || c.Server > len(symbols) {
			continue
		}
		at := &symbols[c.Server-1]
		switch {
		case c.Data:
			*at = "●"
		case *at == "·" && len(c.Helo) > 0:
			*at = "○"
		}
	}
	return strings.Join(symbols, " ")
}
