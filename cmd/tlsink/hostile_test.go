package main

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/operate"
)

// connections returns what is recorded, by client address.
func (p *process) connections(t *testing.T) map[string]operate.ConnectionRow {
	t.Helper()
	out := make(map[string]operate.ConnectionRow)
	for line := range strings.Lines(p.ask(t, "history", "connections", "--json")) {
		var c operate.ConnectionRow
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		out[c.Client] = c
	}
	return out
}

func (p *process) tests(t *testing.T) []operate.TestRow {
	t.Helper()
	var out []operate.TestRow
	if err := json.Unmarshal([]byte(p.ask(t, "history", "list", "--json")), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func (p *process) export(t *testing.T, test string) evidence.History {
	t.Helper()
	h, err := evidence.ReadHistory(strings.NewReader(p.ask(t, "history", "export", test)))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestNoRelay(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	for name, rcpt := range map[string]string{
		"elsewhere":                  "<victim@example.com>",
		"elsewhere, by route":        "<@et.sink.example:victim@example.com>",
		"elsewhere, by two":          "<@et.sink.example,@ut.sink.example:victim@example.com>",
		"percent hack":               "<victim%example.com@et.sink.example>",
		"percent hack behind ours":   "<en%example.com@et.sink.example>",
		"bang path":                  "<example.com!victim@et.sink.example>",
		"quoted address":             `<"victim@example.com"@et.sink.example>`,
		"quoted address of ours":     `<"en@et.sink.example"@example.com>`,
		"two at":                     "<en@et.sink.example@example.com>",
		"two at, ours last":          "<victim@example.com@et.sink.example>",
		"escaped at":                 `<victim\@example.com@et.sink.example>`,
		"trailing dot":               "<en@et.sink.example.>",
		"subdomain of et":            "<en@x.et.sink.example>",
		"longer domain":              "<en@et.sink.example.example.com>",
		"ends like ours":             "<en@notet.sink.example>",
		"zone itself":                "<en@sink.example>",
		"slot that does not exist":   "<en@et7.sink.example>",
		"no such user":               "<victim@et.sink.example>",
		"address literal":            "<en@[127.0.0.1]>",
		"bare user":                  "<victim>",
		"NUL":                        "<en\x00@et.sink.example>",
		"bare CR":                    "<en@et.sink.example>\rRCPT TO:<victim@example.com>",
		"sub-address with an at":     "<en+victim@example.com@et.sink.example>",
		"sub-address with a percent": "<en+victim%example.com@et.sink.example>",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := p.connect(t, "mta.sender.example")
			c.cmd(250, "MAIL FROM:<a@sender.example>")
			c.send("RCPT TO:" + rcpt + "\r\n")
			code, text := c.reply()
			if code < 500 || code > 599 {
				t.Errorf("RCPT TO:%q: %d %s, want a refusal for good", rcpt, code, text)
			}
			c.send("DATA\r\n")
			if code, text := c.reply(); code != 0 && code < 500 {
				t.Errorf("DATA without recipient: %d %s", code, text)
			}
		})
	}
}

// What one server takes for the end of a message and another does not lets a
// second message slip through. Only CR LF . CR LF is an end (RFC 5321 §4.1.1.4).
func TestNoSmuggling(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	smuggled := "MAIL FROM:<smuggled@sender.example>\r\nRCPT TO:<abuse@sink.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
	for name, end := range map[string]string{
		"LF . LF": "\n.\n", "LF . CR LF": "\n.\r\n", "CR LF . LF": "\r\n.\n", "CR . CR": "\r.\r", "CR LF . CR": "\r\n.\r", "LF . CR": "\n.\r",
		"CR LF NUL . CR LF": "\r\n\x00.\r\n", "CR LF . NUL CR LF": "\r\n.\x00\r\n", "CR LF . . CR LF": "\r\n..\r\n", "CR CR LF . CR CR LF": "\r\r\n.\r\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := p.connect(t, "mta.sender.example")
			c.cmd(250, "MAIL FROM:<a@sender.example>")
			c.cmd(250, "RCPT TO:<en@et.sink.example>")
			c.cmd(354, "DATA")
			c.send(mailText("a@sender.example", "smuggle@sender.example") + end + smuggled + "\r\n.\r\nQUIT\r\n")
			for _, code := range c.rest() {
				if code == 250 || code == 354 {
					t.Errorf("reply %d: something was taken for a command", code)
				}
			}
		})
	}
	if inbox := p.ask(t, "inbox"); strings.Contains(inbox, "smuggled") {
		t.Errorf("a smuggled mail came in:\n%s", inbox)
	}
	for _, test := range p.tests(t) {
		if test.Sender != "a@sender.example" {
			t.Errorf("test of %s", test.Sender)
		}
	}
}

// Clients that misbehave get a clean end, and leave a record.
func TestMisbehavingClients(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t, "limits.command_timeout", "500ms", "limits.message_size", 20_000))
	for name, c := range map[string]struct {
		act  func(s *session)
		last int // code of the last reply, if it matters
		want evidence.Ending
	}{
		"silent":            {func(*session) {}, 421, evidence.EndingTimeout},
		"silent after EHLO": {func(s *session) { s.send("EHLO x\r\n") }, 421, evidence.EndingTimeout},
		"half a command":    {func(s *session) { s.send("EHL") }, 421, evidence.EndingTimeout},
		"half-closed":       {func(s *session) { s.send("EHLO x\r\n"); closeWrite(s) }, 250, evidence.EndingFIN},
		"closes at once":    {func(s *session) { closeWrite(s) }, 0, evidence.EndingFIN},
		"TLS at once":       {func(s *session) { s.send("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n"); closeWrite(s) }, 0, ""},
		"binary":            {func(s *session) { s.send(strings.Repeat("\x00\xff\xfe\x80\r\n", 500)); closeWrite(s) }, 0, evidence.EndingServer},
		"one endless line":  {func(s *session) { s.send(strings.Repeat("a", 1<<20)) }, 0, evidence.EndingServer},
		"HTTP":              {func(s *session) { s.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"); closeWrite(s) }, 0, ""},
		"endless NOOP":      {func(s *session) { s.send(strings.Repeat("NOOP\r\n", 5000)) }, 0, evidence.EndingServer},
		"endless errors":    {func(s *session) { s.send(strings.Repeat("WAT\r\n", 5000)) }, 0, evidence.EndingServer},
		"half a message":    {func(s *session) { s.send(inData() + "Subject: x\r\n"); closeWrite(s) }, 0, evidence.EndingFIN},
		"message too large": {func(s *session) { s.send(inData() + strings.Repeat("aaaaaa\r\n", 5000) + ".\r\nQUIT\r\n") }, 221, evidence.EndingQuit},
		"line without end":  {func(s *session) { s.send(inData() + strings.Repeat("a", 1<<20)); closeWrite(s) }, 0, ""},
		"BDAT without data": {func(s *session) {
			s.send("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<en@et.sink.example>\r\nBDAT 5\r\n")
			closeWrite(s)
		}, 0, evidence.EndingFIN},
		"BDAT of 4 GiB": {func(s *session) {
			s.send("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<en@et.sink.example>\r\nBDAT 4294967296\r\nQUIT\r\n")
		}, 0, ""},
		"STARTTLS, no hello": {func(s *session) { s.send("EHLO x\r\nSTARTTLS\r\nGET / HTTP/1.1\r\n\r\n"); closeWrite(s) }, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := p.dial(t)
			s.expect(220)
			c.act(s)
			codes := s.rest()
			if c.last != 0 && (len(codes) == 0 || codes[len(codes)-1] != c.last) {
				t.Errorf("replies %v, want the last to be %d", codes, c.last)
			}
			_ = s.conn.Close()
			var got operate.ConnectionRow
			for got.Ending == "" || got.Ending == evidence.EndingOpen { // written behind our back
				got = p.connections(t)[s.local]
			}
			if c.want != "" && got.Ending != c.want {
				t.Errorf("recorded ending %q, want %q", got.Ending, c.want)
			}
			if got.Status == evidence.StatusAcked {
				t.Errorf("status %s", got.Status)
			}
		})
	}
	p.connect(t, "mta.sender.example").cmd(221, "QUIT") // it still serves
	p.stop(t)
	for line := range strings.Lines(p.log.text()) {
		// go-smtp v0.25.1 reads BDAT aside, and trips, and recovers, if the client
		// has left before that began.
		if strings.Contains(line, "panic") && !strings.Contains(line, "handleBdat.func1()") {
			t.Errorf("a panic: %s", line)
		}
	}
}

// inData opens a message of whom nobody waits for replies.
func inData() string {
	return "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<en@et.sink.example>\r\nDATA\r\n"
}

func closeWrite(s *session) {
	if c, ok := s.conn.(*net.TCPConn); ok {
		_ = c.CloseWrite() // it may be gone
	}
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t, "limits.per_client", 3))
	p.waitFor(t, "own zone and policy verified") // its probes have gone
	var open []*session
	for i := range 3 {
		open = append(open, p.connect(t, fmt.Sprintf("mta%d.sender.example", i)))
	}
	fourth := p.dial(t)
	fourth.expect(421)
	if codes := fourth.rest(); len(codes) != 0 {
		t.Errorf("more replies: %v", codes)
	}
	open[0].cmd(221, "QUIT")
	open[0].rest()
	for { // its place is free once it is recorded
		s := p.dial(t)
		if code, _ := s.reply(); code == 220 {
			return
		}
	}
}

func TestConnectionsOfNoTestAreListed(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	scanner := p.connect(t, "scanner.example")
	scanner.cmd(221, "QUIT")
	scanner.rest()
	mta := p.connect(t, "mta.sender.example")
	mta.mail("b@sender.example", "en@et.sink.example", mailText("b@sender.example", "1@sender.example"))
	mta.cmd(221, "QUIT")
	mta.rest()
	var got map[string]operate.ConnectionRow
	for got[scanner.local].Ending != evidence.EndingQuit || got[mta.local].Ending != evidence.EndingQuit {
		got = p.connections(t)
	}
	id := p.tests(t)[0].ID
	if diff := cmp.Diff([]string{"", id}, []string{got[scanner.local].Test, got[mta.local].Test}); diff != "" {
		t.Errorf("tests of the connections:\n%s", diff)
	}
	if h := p.export(t, id); !slices.ContainsFunc(h.Connections, func(c evidence.Connection) bool { return c.Data && c.Client == mta.local }) {
		t.Errorf("history of the test: %+v", h.Connections)
	}
	table := p.ask(t, "history", "connections", "--unattached")
	if !strings.Contains(table, "scanner.example") || strings.Contains(table, "mta.sender.example") {
		t.Errorf("unattached:\n%s", table)
	}
}

// The service asks its own name server now and then. With a single test running
// that must not look like its sender.
func TestOwnChecksAreNoEvidence(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	p.waitFor(t, "own zone and policy verified")
	p.connect(t, "mta.sender.example").mail("a@sender.example", "en@et.sink.example", mailText("a@sender.example", "1@sender.example"))
	if h := p.export(t, p.tests(t)[0].ID); len(h.Queries) > 0 || len(h.Fetches) > 0 {
		t.Errorf("queries %+v, fetches %+v", h.Queries, h.Fetches)
	}
}
