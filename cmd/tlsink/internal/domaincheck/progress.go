package domaincheck

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
)

// checkProgress shows how far `tlsink check` is: one line that changes on a
// terminal. Elsewhere a line for each domain of several, and one now and then
// while a single one takes long.
type checkProgress struct {
	w        io.Writer
	terminal bool
	now      func() time.Time
	total    int // domains; 0: not known

	mu    sync.Mutex
	ended int
	drawn bool
	last  time.Time // of a line elsewhere than on a terminal
}

const (
	slowCheck     = 15 * time.Second // elsewhere: between two lines
	progressWidth = 78
)

// step shows what is being done.
func (p *checkProgress) step(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text = p.count() + cli.Printable(text)
	if p.terminal {
		if r := []rune(text); len(r) > progressWidth {
			text = string(r[:progressWidth-1]) + "…"
		}
		fmt.Fprint(p.w, "\r\x1b[2K"+text)
		p.drawn = true
		return
	}
	now := p.now()
	if p.last.IsZero() {
		p.last = now
	}
	if now.Sub(p.last) >= slowCheck {
		fmt.Fprintln(p.w, text)
		p.last = now
	}
}

// done counts a domain.
func (p *checkProgress) done(domain string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended++
	if !p.terminal && p.total != 1 {
		fmt.Fprintln(p.w, p.count()+cli.Printable(domain)+": done")
	}
	p.last = p.now()
}

// clear takes the line away, before something else is printed.
func (p *checkProgress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[2K")
		p.drawn = false
	}
}

func (p *checkProgress) count() string {
	switch p.total {
	case 1:
		return ""
	case 0:
		return fmt.Sprintf("[%d] ", p.ended)
	}
	return fmt.Sprintf("[%d/%d] ", p.ended, p.total)
}
