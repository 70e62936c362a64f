package wire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"
)

// script is a connection whose client sends what it is given, in random
// pieces, and reads everything.
type script struct {
	in     []byte
	rnd    *rand.Rand // nil: all at once
	out    bytes.Buffer
	mu     sync.Mutex
	closed bool
}

func (s *script) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return 0, net.ErrClosed
	case len(s.in) == 0:
		return 0, io.EOF
	}
	n := min(len(b), len(s.in))
	if s.rnd != nil {
		if s.rnd.IntN(8) == 0 {
			return 0, os.ErrDeadlineExceeded // a spurious wake-up
		}
		n = 1 + s.rnd.IntN(n)
	}
	copy(b, s.in[:n])
	s.in = s.in[n:]
	return n, nil
}

func (s *script) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

func (s *script) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (*script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }

// backend keeps complete messages with their envelopes.
type backend struct {
	mu       sync.Mutex
	work     sync.WaitGroup
	messages []string
	envelope []string
	closed   bool
}

func (b *backend) NewSession(*smtp.Conn) (smtp.Session, error) { return b, nil }
func (b *backend) Reset()                                      { b.locked(func() { b.envelope = nil }) }
func (b *backend) Logout() error                               { return nil }
func (b *backend) Mail(from string, _ *smtp.MailOptions) error {
	b.locked(func() { b.envelope = []string{from} })
	return nil
}

func (b *backend) Rcpt(to string, _ *smtp.RcptOptions) error {
	b.locked(func() { b.envelope = append(b.envelope, to) })
	return nil
}

func (b *backend) locked(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *backend) Data(r io.Reader) error {
	late := false
	b.locked(func() {
		if late = b.closed; !late {
			b.work.Add(1)
		}
	})
	if late {
		return errors.New("late")
	}
	defer b.work.Done()
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	b.locked(func() { b.messages = append(b.messages, strings.Join(b.envelope, " ")+"\n"+string(body)) })
	return nil
}

func (b *backend) result() []string {
	b.locked(func() { b.closed = true })
	b.work.Wait()
	return b.messages
}

func engine(b *backend) *smtp.Server {
	e := smtp.NewServer(b)
	e.Domain, e.MaxLineLength, e.MaxMessageBytes, e.MaxRecipients, e.EnableSMTPUTF8 = "mx.sink.example", 0, 1000, 5, true
	e.ErrorLog = quiet{}
	return e
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// plain lets everything through and refuses STARTTLS.
type plain struct {
	anomalies []string
	replies   []int
}

func (*plain) Command(string, string) *Reply    { return nil }
func (*plain) Rewrite(_, _, line string) string { return line }
func (*plain) Keywords() []string               { return nil }
func (*plain) StartTLS() *Reply                 { return &Reply{454, [3]int{4, 7, 0}, "no"} }
func (*plain) TLSConfig() *tls.Config           { return &tls.Config{} }
func (*plain) Handshake(Handshake)              {}
func (p *plain) Replied(_ string, code int)     { p.replies = append(p.replies, code) }
func (*plain) Idle() *Reply                     { return nil }
func (*plain) Busy() bool                       { return false }
func (p *plain) Anomaly(text string)            { p.anomalies = append(p.anomalies, text) }

var generous = Limits{
	Line: 4096, Errors: 1 << 30, Commands: 1 << 30, Command: time.Hour, Data: time.Hour, Handshake: time.Hour, Write: time.Hour,
	Session: time.Hour, SilenceAfter: time.Hour, Linger: time.Second,
}

// through runs input through a Conn.
func through(input []byte, rnd *rand.Rand) ([]string, *plain, *Conn, string) {
	b, h, s := &backend{}, &plain{}, &script{in: bytes.Clone(input), rnd: rnd}
	c := New(s, generous, h)
	Serve(engine(b), c)
	return b.result(), h, c, s.out.String()
}

// alone runs input through go-smtp without a Conn.
func alone(input []byte) ([]string, string) {
	b, s := &backend{}, &script{in: bytes.Clone(input)}
	e := engine(b)
	l := &bareListener{conn: &bareConn{script: s, done: make(chan struct{})}}
	e.Serve(l) //nolint:errcheck // ends with the connection
	return b.result(), s.out.String()
}

// bareConn reports the end of the engine as Conn does. A chunk that is cut off
// is an error to it: go-smtp alone would deliver it.
type bareConn struct {
	*script
	once sync.Once
	done chan struct{}
	ends int
}

func (c *bareConn) Read(b []byte) (int, error) {
	n, err := c.script.Read(b)
	if err != nil {
		if c.ends++; c.ends == 1 {
			return n, io.ErrUnexpectedEOF
		}
		return n, io.EOF
	}
	return n, nil
}

func (c *bareConn) Close() error {
	if c.ends > 0 {
		c.once.Do(func() { close(c.done) })
	}
	return c.script.Close()
}

type bareListener struct {
	conn  *bareConn
	given bool
}

func (l *bareListener) Accept() (net.Conn, error) {
	if !l.given {
		l.given = true
		return l.conn, nil
	}
	<-l.conn.done
	return nil, net.ErrClosed
}
func (*bareListener) Close() error   { return nil }
func (*bareListener) Addr() net.Addr { return &net.TCPAddr{} }

var seeds = []string{
	"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n",
	"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 5\r\nQUIT\nBDAT 3 LAST\r\nabcQUIT\r\n",
	"EHLO x\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\n.\n\r\n.\n.\r\n\r\n.\r\nNOOP\r\n",
	"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\r\n.\r\nDATA\r\n..\r\n.\r\n",
	"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 2000\r\nBDAT 0 LAST\r\nRSET\r\nBDAT 1 last extra\r\nbdat 1 last\r\nx",
	"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\nDATA\r\n" + strings.Repeat("0123456789\r\n", 100) + ".\r\nNOOP\r\n",
	"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 10 LAST\r\nshort",
	"HELO x\r\nBDAT 4\r\nQUITMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA \r\nx\r\n.\r\n",
	"\r\n\r\nFOO\r\nMAIL\r\nEHLO\r\n\x16\x03\x01\x00\x05",
}

// Without a STARTTLS command any bytes give the same messages and replies as
// the engine alone. Lines that only the Conn refuses are left out.
func FuzzSameMessagesAsTheEngineAlone(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		if bytes.Contains(bytes.ToUpper(in), []byte("STARTTLS")) || bytes.Contains(bytes.ToUpper(in), []byte("AUTH")) || len(in) > 1<<14 {
			t.Skip("what only we do with STARTTLS and AUTH is no matter of the engine")
		}
		// The engine takes a last line without its end for a command.
		in = in[:bytes.LastIndexByte(in, '\n')+1]
		got, h, _, out := through(in, rand.New(rand.NewPCG(seed, 1)))
		refused := []string{"NUL in a command line", "bare CR in a command line", "command line too long", "endless command line"}
		if slices.ContainsFunc(h.anomalies, func(a string) bool { return slices.Contains(refused, a) }) {
			t.Skip("the engine alone does not refuse this line")
		}
		want, wantOut := alone(in)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("messages (-alone +ours):\n%s", d)
		}
		// The engine alone also answers the end of the stream.
		if !strings.HasPrefix(wantOut, out) {
			t.Errorf("replies differ:\n%q\n%q", wantOut, out)
		}
	})
}

// Whatever comes, in whatever pieces, the Conn ends, with an ending, and the
// pieces make no difference.
func FuzzChunking(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), uint64(2))
		f.Add([]byte(strings.ReplaceAll(s, "NOOP", "STARTTLS")), uint64(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		want, _, _, _ := through(in, nil)
		got, h, c, out := through(in, rand.New(rand.NewPCG(seed, 2)))
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("pieces matter:\n%s", d)
		}
		if c.Ending() == "" {
			t.Error("no ending")
		}
		final := 0
		for line := range strings.Lines(out) {
			if len(line) > 3 && line[3] == ' ' {
				final++
			}
		}
		if final != len(h.replies) {
			t.Errorf("%d replies sent, %d told", final, len(h.replies))
		}
	})
}

func TestCoalescedWrites(t *testing.T) {
	b, h := &backend{}, &plain{}
	s := &countWrites{script: &script{in: []byte("EHLO x\r\nNOOP\r\nNOOP\r\nQUIT\r\n")}}
	Serve(engine(b), New(s, generous, h))
	if s.writes != 2 { // the greeting, then everything that was pipelined
		t.Errorf("%d writes, want 2", s.writes)
	}
}

type countWrites struct {
	*script
	writes int
}

func (c *countWrites) Write(b []byte) (int, error) {
	c.writes++
	return c.script.Write(b)
}

func TestSanitize(t *testing.T) {
	for in, want := range map[string]string{
		"ok": "ok", "a\r\n250 b": "a  250 b", "tab\t": "tab ", "\x00\x7f": "??", "grün": "gr?n", strings.Repeat("x", 999): strings.Repeat("x", maxReplyText),
	} {
		if got := Sanitize(in); got != want {
			t.Errorf("Sanitize(%q) = %q, want %q", in, got, want)
		}
	}
}

// A chunk that was cut off is never a message.
func TestTruncatedChunkIsNoMessage(t *testing.T) {
	got, _, c, _ := through([]byte("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 10 LAST\r\nshort"), nil)
	if len(got) > 0 || c.Ending() != "fin" {
		t.Errorf("messages %q, ending %s", got, c.Ending())
	}
}

// lastWords returns all its octets together with the end of the stream.
type lastWords struct {
	*script
}

func (l lastWords) Read(b []byte) (int, error) {
	n := copy(b, l.in)
	l.in = l.in[n:]
	return n, io.EOF
}

// The end of the network must not be seen before the octets that came with it
// are used: they may hold a close_notify.
func TestTapHoldsErrorsBack(t *testing.T) {
	p := &tap{Conn: lastWords{&script{in: []byte("x")}}}
	b := make([]byte, 10)
	if n, err := p.Read(b); n != 1 || err != nil || p.eof != nil {
		t.Errorf("first read: %d, %v, %v", n, err, p.eof)
	}
	if n, err := p.Read(b); n != 0 || !errors.Is(err, io.EOF) || !errors.Is(p.eof, io.EOF) {
		t.Errorf("second read: %d, %v, %v", n, err, p.eof)
	}
}

// Alerts in the clear are found in whatever pieces the records come.
func TestTapFindsAlerts(t *testing.T) {
	for name, c := range map[string]struct {
		records string
		want    string
	}{
		"fatal":              {"\x15\x03\x03\x00\x02\x02\x30", "unknown certificate authority"},
		"behind a handshake": {"\x16\x03\x01\x00\x03abc\x15\x03\x03\x00\x02\x02\x2a", "bad certificate"},
		"warning":            {"\x15\x03\x03\x00\x02\x01\x5a", ""},
		"encrypted":          {"\x15\x03\x03\x00\x13\x02\x30" + strings.Repeat("x", 17), ""},
		"within a record":    {"\x17\x03\x03\x00\x07\x15\x03\x03\x00\x02\x02\x30", ""},
		"unknown number":     {"\x15\x03\x03\x00\x02\x02\xff", "alert(255)"},
	} {
		for size := 1; size <= len(c.records); size++ {
			p := &tap{}
			for piece := range slices.Chunk([]byte(c.records), size) {
				p.follow(piece)
			}
			if p.alert != c.want {
				t.Errorf("%s in pieces of %d: alert %q, want %q", name, size, p.alert, c.want)
			}
		}
	}
}
