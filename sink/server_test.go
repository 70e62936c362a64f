package sink_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink"
)

func TestOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*sink.Options){
		"Zone":                  func(o *sink.Options) { o.Zone = "" },
		"Slots":                 func(o *sink.Options) { o.Slots = 0 },
		"Director":              func(o *sink.Options) { o.Director = nil },
		"Certificates":          func(o *sink.Options) { o.Certificates = nil },
		"Inspector":             func(o *sink.Options) { o.Inspector = nil },
		"Mailbox":               func(o *sink.Options) { o.Mailbox = nil },
		"NewID":                 func(o *sink.Options) { o.NewID = nil },
		"Now":                   func(o *sink.Options) { o.Now = nil },
		"Logger":                func(o *sink.Options) { o.Logger = nil },
		"limit Line is 100":     func(o *sink.Options) { o.Limits.Line = 100 },
		"limit Drain is -1":     func(o *sink.Options) { o.Limits.Drain = -1 },
		"limit Records is 1":    func(o *sink.Options) { o.Limits.Records = 1 },
		"limit PerClient is -5": func(o *sink.Options) { o.Limits.PerClient = -5 },
	} {
		o, _ := options(evidence.Secure)
		change(&o)
		if _, err := sink.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestGreeting(t *testing.T) {
	f := newFixture(t, evidence.Secure)
	c := f.dial(t, f.listen(t))
	if text := c.expect(220); !strings.HasPrefix(text, scenario.ServiceHost(zone)+" ") {
		t.Errorf("greeting %q must name the host", text)
	}
}

func TestDirectorRefuses(t *testing.T) {
	f := newFixture(t, evidence.Secure)
	f.director.refuse = errors.New("go\r\n250 away")
	c := f.dial(t, f.listen(t))
	if text := c.expect(421); !strings.HasSuffix(text, "go  250 away") {
		t.Errorf("text %q", text)
	}
	c.eof()
	if len(f.director.closed) > 0 {
		t.Error("Closed without Accepted")
	}
}

func TestConnectionLimits(t *testing.T) {
	for name, limits := range map[string]sink.Limits{
		"in all":     {Connections: 2, PerClient: 10},
		"per client": {Connections: 10, PerClient: 2},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, evidence.Secure, func(o *sink.Options) { o.Limits = limits })
			addr := f.listen(t)
			first, second := f.dial(t, addr), f.dial(t, addr)
			first.expect(220)
			second.expect(220)
			f.dial(t, addr).expect(421)
			first.cmd("QUIT", 221)
			f.director.next(t)
			for { // the place is given back just after the record
				c := f.dial(t, addr)
				if code, _, _ := c.r.ReadResponse(220); code == 220 {
					return
				}
			}
		})
	}
}

// New limits are for new connections; those that are open keep theirs.
func TestSetLimits(t *testing.T) {
	f := newFixture(t, evidence.Secure, func(o *sink.Options) { o.Limits = sink.Limits{PerClient: 1, Commands: 100} })
	addr := f.listen(t)
	first := f.dial(t, addr)
	first.expect(220)
	f.dial(t, addr).expect(421)
	if err := f.server.SetLimits(sink.Limits{PerClient: 2, Commands: 1}); err != nil {
		t.Fatal(err)
	}
	second := f.dial(t, addr)
	second.expect(220)
	second.cmd("NOOP", 250)
	second.cmd("NOOP", 421)
	for range 5 {
		first.cmd("NOOP", 250)
	}
	if err := f.server.SetLimits(sink.Limits{PerClient: -1}); err == nil {
		t.Error("a negative limit was taken")
	}
	first.cmd("QUIT", 221)
}

func TestSessionLimits(t *testing.T) {
	mail := "MAIL FROM:<>\r\nRSET\r\n"
	for name, c := range map[string]struct {
		limits sink.Limits
		input  string
		codes  string
	}{
		"errors":       {sink.Limits{Errors: 3}, "EHLO x\r\n" + strings.Repeat("HELP\r\n", 9), "220 250 502 502 502 421"},
		"commands":     {sink.Limits{Commands: 3}, "EHLO x\r\n" + strings.Repeat("NOOP\r\n", 9), "220 250 250 250 421"},
		"transactions": {sink.Limits{Transactions: 2}, "EHLO x\r\n" + strings.Repeat(mail, 4), "220 250 250 250 250 250 421"},
		"recipients":   {sink.Limits{Recipients: 2}, "EHLO x\r\nMAIL FROM:<>\r\n" + strings.Repeat("RCPT TO:<en@et.sink.example>\r\n", 3), "220 250 250 250 250 452"},
		"bad commands": {sink.Limits{}, strings.Repeat("FOOO\r\n", 9), "220 500 500 500 500 500"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, evidence.Secure, func(o *sink.Options) { o.Limits = c.limits })
			if got := strings.Join(play(t, f, c.input), " "); got != c.codes {
				t.Errorf("replies %s, want %s", got, c.codes)
			}
			if got := f.director.next(t); got.Ending != evidence.EndingServer && name != "recipients" {
				t.Errorf("ending %s, want server", got.Ending)
			}
		})
	}
}

func TestRecordIsBounded(t *testing.T) {
	f := newFixture(t, evidence.Secure, func(o *sink.Options) { o.Limits.Records, o.Limits.Errors = 16, 1000 })
	var input strings.Builder
	for i := range 30 {
		input.WriteString("EHLO host" + strings.Repeat("x", i+400) + "\r\nMAIL FROM:<>\r\nRCPT TO:<user" + strings.Repeat("x", i) + "@elsewhere.example>\r\nRSET\r\n")
	}
	play(t, f, input.String())
	got := f.director.next(t)
	if len(got.Replies) != 16 || len(got.Refused) != 2 || len(got.Helo) != 1 || len(got.Helo[0]) > 320 {
		t.Errorf("%d replies, %d refused, helo %d", len(got.Replies), len(got.Refused), len(got.Helo))
	}
}

func TestServeNeedsAndReportsListeners(t *testing.T) {
	f := newFixture(t, evidence.Secure)
	if err := f.server.Serve(t.Context()); err == nil {
		t.Error("served nothing")
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := f.server.Serve(t.Context(), l); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("error %v, want one that names the listener", err)
	}
}

// At shutdown idle sessions get 421 at once, a transaction may finish first,
// and one that does not finish is cut off.
func TestDrain(t *testing.T) {
	f := newFixture(t, evidence.Downgrade)
	f.director.blockUntil = make(chan struct{})
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(ctx, l, second) }()
	idle, busy, open := f.dial(t, l.Addr().String()), f.dial(t, second.Addr().String()), f.dial(t, l.Addr().String())
	open.hello()
	open.cmd("MAIL FROM:<>", 250)
	idle.hello()
	busy.hello()
	busy.mail("en@et.sink.example")
	busy.send(body)
	<-f.director.inMessage
	cancel()
	idle.expect(421)
	idle.eof()
	_ = idle.Close()
	open.cmd("RCPT TO:<en@et.sink.example>", 250)
	open.cmd("RSET", 250)
	open.expect(421)
	open.eof()
	_ = open.Close()
	close(f.director.blockUntil)
	busy.expect(451)
	busy.expect(421)
	busy.eof()
	_ = busy.Close()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	for range 3 {
		if got := f.director.next(t); got.Ending != evidence.EndingServer {
			t.Errorf("ending %s, want server", got.Ending)
		}
	}
	if _, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String()); err == nil {
		t.Error("still listening")
	}
}

func TestDrainIsBounded(t *testing.T) {
	f := newFixture(t, evidence.Downgrade, func(o *sink.Options) { o.Limits.Drain = 1 })
	f.director.blockUntil = make(chan struct{}) // never
	ctx, cancel := context.WithCancel(t.Context())
	server, remote := net.Pipe()
	done := make(chan struct{})
	go func() { f.server.ServeConn(ctx, server); close(done) }()
	c := newClient(t, remote)
	c.hello()
	c.mail("en@et.sink.example")
	c.send(body)
	<-f.director.inMessage
	cancel()
	drain(remote)
	<-done
	if got := f.director.next(t); got.Ending != evidence.EndingServer || !got.Data {
		t.Errorf("ending %s, data %v", got.Ending, got.Data)
	}
}
