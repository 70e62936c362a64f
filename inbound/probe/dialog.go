package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

const (
	maxReply   = 16 << 10        // octets of one reply that are read
	maxLine    = 4 << 10         // of one line; RFC 5321 §4.5.3.1.5 has 512
	maxGoodbye = 5 * time.Second // for the answer to QUIT
)

// reply is an SMTP reply (RFC 5321 §4.2).
type reply struct {
	code  int
	lines []string
}

// positive reports whether the command was done (2yz).
func (r reply) positive() bool { return r.code/100 == 2 }

// temporary reports whether it may be done later (4yz).
func (r reply) temporary() bool { return r.code/100 == 4 }

// unknown reports whether the command is none that the server has (RFC 5321
// §4.2.1: x0z is about syntax). Any other 5yz may be about us: a block list, a
// policy.
func (r reply) unknown() bool { return r.code/10 == 50 }

func (r reply) text() string { return strings.Join(r.lines, " ") }

// String is for people: code and text on one line, cleaned and shortened.
func (r reply) String() string { return clean(fmt.Sprintf("%d %s", r.code, r.text())) }

// dialog is one connection in plaintext.
type dialog struct {
	conn  net.Conn
	limit *io.LimitedReader
	in    *bufio.Reader
	times Timeouts

	greeting reply
	esmtp    bool     // it took EHLO, not only HELO
	refused  reply    // its answer to EHLO, if it did not
	keywords []string // that it answered to EHLO with
}

// An errReply is a reply that ends a dialogue, and what it answered.
type errReply struct {
	to string
	reply
}

func (e errReply) Error() string { return fmt.Sprintf("its reply to %s is %s", e.to, e.String()) }

// errLongReply is a reply that does not end.
var errLongReply = fmt.Errorf("a reply of more than %d octets, or a line of more than %d", maxReply, maxLine)

// errAt is a connection that failed, and where.
type errAt struct {
	step string
	err  error
}

func (e errAt) Error() string { return e.step + ": " + e.err.Error() }
func (e errAt) Unwrap() error { return e.err }

// dial opens a connection. What it needs to be closed early is in conn.
func (p *Prober) dial(ctx context.Context, addr string) (*dialog, error) {
	dialing, cancel := context.WithTimeout(ctx, p.opts.Timeouts.Dial)
	defer cancel()
	conn, err := p.opts.Dial(dialing, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return newDialog(conn, p.opts.Timeouts), nil
}

func newDialog(conn net.Conn, times Timeouts) *dialog {
	limit := &io.LimitedReader{R: conn}
	return &dialog{conn: conn, times: times, limit: limit, in: bufio.NewReaderSize(limit, maxLine)}
}

// read returns the next reply.
func (d *dialog) read(within time.Duration) (reply, error) {
	d.deadline(within)
	d.limit.N = maxReply
	var out reply
	for {
		line, err := d.in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull) || err != nil && d.limit.N <= 0:
			return reply{}, errLongReply
		case err != nil:
			return reply{}, err
		}
		code, text, more, ok := replyLine(strings.TrimRight(string(line), "\r\n"))
		if !ok || out.code != 0 && code != out.code {
			return reply{}, errors.New("its reply is not SMTP: " + clean(strings.TrimSpace(string(line))))
		}
		out.code, out.lines = code, append(out.lines, text)
		if !more {
			return out, nil
		}
	}
}

// replyLine takes one line of a reply apart (RFC 5321 §4.2); more says that
// another one follows.
func replyLine(line string) (code int, text string, more, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !digit(line[1]) || !digit(line[2]) {
		return 0, "", false, false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	switch {
	case len(line) == 3:
		return code, "", false, true
	case line[3] == ' ' || line[3] == '-':
		return code, line[4:], line[3] == '-', true
	}
	return 0, "", false, false
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// command sends one command and returns the reply.
func (d *dialog) command(format string, args ...any) (reply, error) {
	d.deadline(d.times.Command)
	if _, err := fmt.Fprintf(d.conn, format+"\r\n", args...); err != nil {
		return reply{}, err
	}
	return d.read(d.times.Command)
}

// deadline limits the next step. Deadlines are of the connection's clock, not
// of Now. The time for the whole server is kept by its context.
func (d *dialog) deadline(within time.Duration) {
	_ = d.conn.SetDeadline(time.Now().Add(within))
}

// open reads the greeting and says hello. A reply that refuses us is an
// errReply.
func (d *dialog) open(helo string) error {
	var err error
	if d.greeting, err = d.read(d.times.Greeting); err != nil {
		return errAt{"greeting", err}
	}
	if !d.greeting.positive() {
		return errReply{"our connection", d.greeting}
	}
	hello, err := d.command("EHLO %s", helo)
	if err != nil {
		return errAt{"EHLO", err}
	}
	if hello.positive() {
		d.esmtp = true
		for _, line := range hello.lines[1:] { // RFC 5321 §4.1.1.1: the first is its name
			word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			d.keywords = append(d.keywords, strings.ToUpper(word))
		}
		return nil
	}
	if hello.temporary() {
		return errReply{"EHLO", hello}
	}
	// RFC 5321 §3.2: a server that does not know EHLO gets HELO.
	d.refused = hello
	again, err := d.command("HELO %s", helo)
	if err != nil {
		return errAt{"HELO", err}
	}
	if !again.positive() {
		return errReply{"EHLO", hello}
	}
	return nil
}

// offers reports whether EHLO offered an extension.
func (d *dialog) offers(keyword string) bool {
	return slices.Contains(d.keywords, keyword)
}

// startTLS sends the command; injected reports plaintext behind the reply.
func (d *dialog) startTLS() (injected bool, err error) {
	r, err := d.command("STARTTLS")
	if err != nil {
		return false, errAt{"STARTTLS", err}
	}
	if r.code != 220 { // RFC 3207 §4
		return false, errReply{"STARTTLS", r}
	}
	return d.in.Buffered() > 0, nil
}

// quit leaves. What the server answers is of no interest any more; err says
// that it did not.
func (d *dialog) quit() error {
	d.deadline(maxGoodbye)
	_, _ = io.WriteString(d.conn, "QUIT\r\n") // if that fails, the answer may tell why
	_, err := d.read(maxGoodbye)
	_ = d.conn.Close()
	return err
}
