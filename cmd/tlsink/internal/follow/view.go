package follow

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
)

// jsonView prints one line for each change.
type jsonView struct {
	w      io.Writer
	mu     sync.Mutex
	before []byte
}

func (v *jsonView) show(st *live.Status) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	same := *st
	same.Now = time.Time{}
	if b, err := json.Marshal(same); err != nil || string(b) == string(v.before) {
		return err
	} else {
		v.before = b
	}
	line, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return cli.WriteJSONLine(v.w, line)
}

func (*jsonView) tick()                        {}
func (*jsonView) trouble(error, time.Duration) {}
func (*jsonView) end()                         {}

// lineView prints a line for each event.
type lineView struct {
	w      io.Writer
	mu     sync.Mutex
	before live.Status
}

func (v *lineView) show(st *live.Status) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var lines []string
	at := st.Now.UTC().Format(time.TimeOnly)
	say := func(format string, args ...any) {
		lines = append(lines, at+"  "+cli.Printable(fmt.Sprintf(format, args...)))
	}
	b := &v.before
	if st.State != b.State || st.Text != b.Text {
		say("%s: %s", st.State, st.Text)
	}
	if st.Addresses != nil && b.Addresses == nil {
		say("addresses: %s %s", st.Addresses.ET, st.Addresses.UT)
	}
	if st.Phase != nil && (b.Phase == nil || st.Phase.Name != b.Phase.Name) {
		say("phase %s: %s", st.Phase.Name, st.Phase.Text)
	}
	known := make(map[evidence.ConnID]live.Connection, len(b.Connections))
	for _, c := range b.Connections {
		known[c.ID] = c
	}
	for _, c := range st.Connections {
		if old, ok := known[c.ID]; ok && old.Open == c.Open && old.Outcome == c.Outcome && old.Text == c.Text {
			continue
		}
		say("connection %d at server %d: %s. %s", c.Number, c.Server, cmp.Or(string(c.Outcome), "open"), c.Text)
	}
	if st.Slow != b.Slow && st.Slow != "" {
		say("%s", st.Slow)
	}
	if st.Next != nil && (b.Next == nil || b.Next.Text != st.Next.Text) {
		say("%s", st.Next.Text)
	}
	if st.Verdict != nil && (b.Verdict == nil || b.Verdict.Policy != st.Verdict.Policy) {
		say("verdict: %s (%s). %s", st.Verdict.Policy, st.Verdict.Grade, st.Verdict.Summary)
	}
	v.before = *st
	for _, line := range lines {
		if _, err := fmt.Fprintln(v.w, line); err != nil {
			return err
		}
	}
	return nil
}

func (*lineView) tick() {}
func (*lineView) end()  {}

func (v *lineView) trouble(err error, pause time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintf(v.w, "          not connected: %s; next try in %v\n", cli.Printable(err.Error()), pause.Round(time.Second))
}

// screenView redraws what fits on a terminal.
type screenView struct {
	w    io.Writer
	now  func() time.Time
	size func() (width, height int)

	mu    sync.Mutex
	st    *live.Status
	skew  time.Duration // of the server's clock
	lost  string
	drawn int // lines on the screen
}

// terminalSize returns the size of the terminal as it is when asked.
func terminalSize(w io.Writer) func() (width, height int) {
	return func() (int, int) {
		if f, ok := w.(*os.File); ok {
			if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 20 && height > 8 {
				return width, height
			}
		}
		return 80, 24
	}
}

func (v *screenView) show(st *live.Status) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.st, v.skew, v.lost = st, st.Now.Sub(v.now()), ""
	return v.draw()
}

func (v *screenView) tick() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.st != nil {
		_ = v.draw() // the next status tells of a terminal that is gone
	}
}

func (v *screenView) trouble(err error, pause time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lost = fmt.Sprintf("not connected: %v; next try in %v", err, pause.Round(time.Second))
	if v.st == nil {
		v.st = &live.Status{Now: v.now()}
	}
	_ = v.draw() // see tick
}

func (*screenView) end() {}

// draw replaces what was drawn before, line by line, so that nothing flickers.
func (v *screenView) draw() error {
	width, height := v.size()
	lines := screenLines(v.st, v.now().Add(v.skew), height-2)
	if v.lost != "" {
		lines = append(lines, v.lost)
	}
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	for _, line := range lines {
		b.WriteString("\r\x1b[2K" + clipTo(cli.Printable(line), width-1) + "\n")
	}
	b.WriteString("\x1b[J")
	v.drawn = len(lines)
	_, err := io.WriteString(v.w, b.String())
	return err
}

func clipTo(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}

// screenLines is the view, at most that many lines: connections give way.
func screenLines(st *live.Status, now time.Time, most int) []string {
	head := []string{strings.TrimSpace(fmt.Sprintf("test %s  %s  %s", st.Test, st.State, st.Sender)), st.Text}
	add := func(to *[]string, name, text string) {
		if text != "" {
			*to = append(*to, fmt.Sprintf("%-10s%s", name, text))
		}
	}
	if p := st.Place; p != nil {
		add(&head, "ahead", fmt.Sprintf("%d%s", p.Ahead, countdown(", free in ", p.Free, now)))
	}
	if a := st.Addresses; a != nil {
		add(&head, "mail to", a.ET+", "+a.UT)
	}
	add(&head, "expires", countdown("in ", st.Expires, now))
	add(&head, "servers", strip(st.Servers))
	if p := st.Phase; p != nil {
		add(&head, "phase", p.Name+countdown(", ends in ", p.Ends, now)+": "+p.Text)
	}
	if len(st.Rotation.Order) > 0 {
		add(&head, "MX order", strings.Join(st.Rotation.Order, " ")+countdown(", next in ", st.Rotation.Next, now))
	}
	var tail []string
	if len(st.Missing) > 0 {
		add(&tail, "missing", strings.Join(st.Missing, "; "))
	}
	if st.Next != nil {
		add(&tail, "next", st.Next.Text)
	}
	add(&tail, "slow", st.Slow)
	for _, f := range st.Finding {
		add(&tail, "finding", f)
	}
	if x := st.Verdict; x != nil {
		add(&tail, "verdict", fmt.Sprintf("%s (%s)", x.Policy, x.Grade))
		add(&tail, "", x.Summary)
	}
	room := max(0, most-len(head)-len(tail))
	rows := st.Connections[max(0, len(st.Connections)-room):]
	for _, c := range rows {
		head = append(head, fmt.Sprintf("  %s  %d  %-9s  %s", c.Time.UTC().Format(time.TimeOnly), c.Server, cmp.Or(string(c.Outcome), "open"), c.Text))
	}
	return append(head, tail...)
}

// countdown is the time left until at, after a word; empty without one.
func countdown(word string, at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	left := max(0, at.Sub(now).Round(time.Second))
	if left >= time.Hour {
		return fmt.Sprintf("%s%d:%02d:%02d", word, left/time.Hour, left/time.Minute%60, left/time.Second%60)
	}
	return fmt.Sprintf("%s%d:%02d", word, left/time.Minute, left/time.Second%60)
}

// strip draws the seven virtual servers.
func strip(servers []live.Server) string {
	var out []string
	for _, s := range servers {
		symbol := "·"
		switch s.Outcome {
		case live.Contacted:
			symbol = "?"
		case live.Refused:
			symbol = "○"
		case live.Plaintext:
			symbol = "◐"
		case live.Encrypted:
			symbol = "●"
		case live.Mixed:
			symbol = "◒"
		}
		out = append(out, fmt.Sprintf("%d%s", s.Number, symbol))
	}
	if out == nil {
		return ""
	}
	return strings.Join(out, "  ") + "  ● TLS ◐ plain ○ refused ◒ both ? none"
}
