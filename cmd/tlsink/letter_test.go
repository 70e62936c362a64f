package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"
)

// letter is a mail that a user sends by a mail server without TLS, which may
// put anything into envelope and header. It tries every ten minutes.
type letter struct {
	w    *world
	ip   netip.Addr
	from func(attempt int, to string) string // MAIL FROM argument
	head string                              // header fields; Date and Message-ID are added
	id   string                              // Message-ID; empty: none
	to   []string
	sent time.Time
	sign func(message string) string

	replies []string // all of them
	pending []string
}

// letter returns a mail from an address whose domain allows the host.
func (w *world) letter(from string, ip netip.Addr, to ...string) *letter {
	w.allow(from[strings.LastIndexByte(from, '@')+1:], ip)
	return &letter{
		w: w, ip: ip, to: to, pending: slices.Clone(to), id: fmt.Sprintf("<%d@test>", time.Now().UnixNano()), sent: time.Now(),
		from: func(int, string) string { return "<" + from + ">" },
		head: "From: " + from + "\r\nTo: " + strings.Join(to, ", ") + "\r\n",
	}
}

// allow publishes SPF and MX for a domain.
func (w *world) allow(domain string, ips ...netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spf[strings.ToLower(domain)] = ips
}

// attempt tries what is pending, each recipient in a session of its own.
func (l *letter) attempt(n int) {
	l.w.t.Helper()
	text := l.head + "Date: " + l.sent.Format(time.RFC1123Z) + "\r\n"
	if l.id != "" {
		text += "Message-ID: " + l.id + "\r\n"
	}
	text += "\r\nTest mail.\r\n"
	if l.sign != nil {
		text = l.sign(text)
	}
	for _, to := range slices.Clone(l.pending) {
		s := l.w.talk(l.ip)
		s.cmd(250, "MAIL FROM:"+l.from(n, to))
		s.cmd(250, "RCPT TO:<"+to+">")
		s.cmd(354, "DATA")
		s.send(text + ".\r\n")
		code, reply := s.reply()
		l.replies = append(l.replies, fmt.Sprint(code, " ", reply))
		if code == 250 {
			l.pending = slices.DeleteFunc(l.pending, func(p string) bool { return p == to })
		}
		s.cmd(221, "QUIT")
		_ = s.conn.Close()
	}
}

// deliver tries until everything was accepted, at most for a day and a half.
func (l *letter) deliver() (attempts int) {
	l.w.t.Helper()
	start := time.Now()
	for n := 1; ; n++ {
		l.attempt(n)
		if len(l.pending) == 0 || time.Since(start) > mailPatience {
			return n
		}
		time.Sleep(10 * time.Minute)
	}
}

// talk connects to the service and says EHLO.
func (w *world) talk(ip netip.Addr) *session {
	w.t.Helper()
	return w.talkAs(ip, "mta.sender.example")
}

func (w *world) talkAs(ip netip.Addr, name string) *session {
	w.t.Helper()
	c, err := w.dialer(ip)(w.t.Context(), "tcp", netip.AddrPortFrom(serviceIP(), 25).String())
	if err != nil {
		w.t.Fatal(err)
	}
	s := &session{t: w.t}
	s.use(c)
	s.expect(220)
	s.cmd(250, "EHLO "+name)
	return s
}

// only returns the one test of a sender.
func (w *world) only(sender string) row {
	w.t.Helper()
	tests := w.tests(sender)
	if len(tests) != 1 {
		w.t.Fatalf("%d tests of %s, want 1", len(tests), sender)
	}
	return tests[0]
}

// page returns the text of the result page that a reply links to.
func (w *world) page(reply string) string {
	w.t.Helper()
	i := strings.Index(reply, "https://")
	if i < 0 {
		w.t.Fatalf("no link in %q", reply)
	}
	client := &http.Client{Transport: httpTransport(w.service().ca.Pool(), w.dialer(clientIP(250)))}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, strings.Fields(reply[i:])[0], nil)
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		w.t.Fatalf("page: %s, %v", res.Status, err)
	}
	text := regexp.MustCompile("<[^>]*>").ReplaceAllString(string(b), "")
	return strings.Join(strings.Fields(html.UnescapeString(text)), " ")
}

// signer makes a key for a domain and returns what signs its mails.
func (w *world) signer(domain string) func(string) string {
	w.t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.txt = map[string]string{"k._domainkey." + domain: "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)}
	w.mu.Unlock()
	return func(message string) string {
		var b strings.Builder
		o := dkim.SignOptions{Domain: domain, Selector: "k", Signer: private, HeaderKeys: []string{"From", "To", "Date", "Message-ID"}}
		if err := dkim.Sign(&b, strings.NewReader(message), &o); err != nil {
			w.t.Error(err)
		}
		return b.String()
	}
}
