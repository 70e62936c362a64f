package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// loadVar asks for the load that is measured. Without it there is little of it,
// which only must work.
const loadVar = "TLSINK_LOAD"

// load is a service under load: a process of its own, senders whose connections
// arrive at a steady rate, and pages that follow their tests over HTTP/2.
type load struct {
	t  *testing.T
	p  *process
	tr *http.Transport // of whoever asks for single pages

	mu      sync.Mutex
	changed *sync.Cond             // when one of these does
	ends    map[string][]time.Time // of the connections of each test, the first one first
	pages   []*loadPage
	latency []time.Duration
	err     error
}

// newLoad starts the service. Tests that deliver everywhere stay open for hours:
// no verdict ends the load.
func newLoad(t *testing.T) *load {
	t.Helper()
	// Longer, and the first session of a client may change its phase before MAIL.
	p := start(t, newSettings(t, "limits.connections", 5000, "timing.downgrade", "1ns", "timing.settle", "100h", "timing.silence", "100h", "timing.close", "200h", "timing.self_check", "100h"))
	l := &load{t: t, p: p, tr: clientAt(t, p, "127.0.0.1"), ends: make(map[string][]time.Time)}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// clientAt returns a client that connects to the pages from one address: each
// has limits of its own.
func clientAt(t *testing.T, p *process, address string) *http.Transport {
	t.Helper()
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.roots(t), ServerName: worldZone}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, p.https)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// loadSender is a mail server with one mail that it can never get rid of.
type loadSender struct {
	load    *load
	dialer  net.Dialer
	name    string
	address string
	id      string
	link    string // path of the page of its test
}

// sender returns the nth one.
func (l *load) sender(n int) *loadSender {
	ip := net.IPv4(127, 1, byte(n>>8), byte(n))
	name := fmt.Sprintf("mx.sender%d.example", n)
	return &loadSender{load: l, dialer: net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}, name: name, address: "user@" + name[3:], id: fmt.Sprintf("load%d@%s", n, name)}
}

// attempt hands the mail over once, inside TLS if that is offered.
func (s *loadSender) attempt(ctx context.Context) error {
	conn, err := s.dialer.DialContext(ctx, "tcp", s.load.p.smtp)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(longest)); err != nil {
		return err
	}
	c := &talk{conn: conn, text: textproto.NewReader(bufio.NewReader(conn))}
	c.do("", 220)
	if strings.Contains(c.do("EHLO "+s.name, 250), "STARTTLS") {
		c.do("STARTTLS", 220)
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // as opportunistic senders do
		c.conn, c.text = secure, textproto.NewReader(bufio.NewReader(secure))
		c.do("EHLO "+s.name, 250)
	}
	c.do("MAIL FROM:<"+s.address+">", 250)
	c.do("RCPT TO:<en@et."+worldZone+">", 250)
	c.do("DATA", 354)
	reply := c.do(mailText(s.address, s.id)+"\r\n.", 451)
	c.do("QUIT", 221)
	if c.err != nil {
		return fmt.Errorf("%s: %w", s.name, c.err)
	}
	s.link = link(s.load.t, reply)
	s.load.ended(s.link, time.Now())
	return nil
}

// talk is an SMTP session; after an error nothing happens any more.
type talk struct {
	conn net.Conn
	text *textproto.Reader
	err  error
}

func (c *talk) do(line string, want int) (reply string) {
	if c.err == nil && line != "" {
		_, c.err = io.WriteString(c.conn, line+"\r\n")
	}
	if c.err == nil {
		_, reply, c.err = c.text.ReadResponse(want)
	}
	return reply
}

func (l *load) ended(link string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[link] = append(l.ends[link], at)
}

// A loadPage is a page that somebody has open.
type loadPage struct {
	load *load
	path string
	last int // connection that is shown as over; guarded by load.mu
}

// told notes that the page shows the connections up to the nth one.
func (p *loadPage) told(n int) {
	now := time.Now()
	p.load.mu.Lock()
	defer p.load.mu.Unlock()
	ends := p.load.ends[p.path]
	for i := p.last; p.last > 0 && i < n; i++ {
		took := time.Duration(0) // the page may know before the sender does
		if i < len(ends) {
			took = max(0, now.Sub(ends[i]))
		}
		p.load.latency = append(p.load.latency, took)
	}
	p.last = n
	p.load.changed.Broadcast()
}

// rowBegin is the begin of a row in an event, with the last connection that it is
// about.
var rowBegin = regexp.MustCompile(`<li id="c\d+" data-row="\d+" data-last="(\d+)"`)

// follow follows a page, as a browser does, until ctx ends. It calls got with
// the number of the newest connection that is shown as over, whenever that is
// another one; at first with how the page was when it was opened.
func (l *load) follow(ctx context.Context, tr *http.Transport, path string, got func(n int)) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+worldZone+path+"/events", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := tr.RoundTrip(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		return fmt.Errorf("%s: %s over %s", path, resp.Status, resp.Proto)
	}
	in := bufio.NewReaderSize(resp.Body, 1<<16)
	for newest, told, row := 0, 0, 0; ; {
		line, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if m := rowBegin.FindSubmatch(line); m != nil {
			if row, err = strconv.Atoi(string(m[1])); err != nil {
				return err
			}
		}
		if bytes.Contains(line, []byte(`<p class="top">`)) && !bytes.Contains(line, []byte(`class="open"`)) {
			newest = max(newest, row)
		}
		if len(bytes.TrimSpace(line)) == 0 && newest > told { // the end of an event
			told = newest
			got(newest)
		}
	}
}

// open opens so many pages of tests, in turn, and waits until all show them. It
// returns what closes them.
func (l *load) open(pages int, links []string) (closeAll func()) {
	l.t.Helper()
	const perClient = 20 // of the service's limits
	ctx, cancel := context.WithCancel(l.t.Context())
	var all sync.WaitGroup
	var tr *http.Transport
	l.pages = nil
	for i := range pages {
		if i%perClient == 0 {
			tr = clientAt(l.t, l.p, fmt.Sprintf("127.2.0.%d", 1+i/perClient))
		}
		client, page := tr, &loadPage{load: l, path: links[i%len(links)]}
		l.pages = append(l.pages, page)
		all.Go(func() {
			err := l.follow(ctx, client, page.path, page.told)
			if ctx.Err() == nil {
				l.fail(fmt.Errorf("a page has ended: %w", err))
			}
		})
	}
	l.settle()
	return func() { cancel(); all.Wait() }
}

// settle waits until all pages show all connections.
func (l *load) settle() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	behind := func(p *loadPage) bool { return p.last < len(l.ends[p.path]) }
	late := time.AfterFunc(longest, func() { l.fail(errors.New("a page does not show every connection")) })
	defer late.Stop()
	for l.err == nil && slices.ContainsFunc(l.pages, behind) {
		l.changed.Wait()
	}
	if l.err != nil {
		l.t.Fatal(l.err)
	}
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, err)
	l.changed.Broadcast()
}

// arrive has the senders connect in turn, at a rate, so many times in all.
func (l *load) arrive(senders []*loadSender, perSecond float64, times int) {
	l.t.Helper()
	next := make([]chan struct{}, len(senders))
	var all sync.WaitGroup
	for i, s := range senders {
		// One after the other: the order at the page is that of the ends.
		next[i] = make(chan struct{}, times)
		all.Go(func() {
			for range next[i] {
				if err := s.attempt(l.t.Context()); err != nil {
					l.fail(err)
					return
				}
			}
		})
	}
	tick := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
	defer tick.Stop()
	for i := range times {
		next[i%len(senders)] <- struct{}{}
		<-tick.C
	}
	for _, c := range next {
		close(c)
	}
	all.Wait()
}

// spent is what the process of the service used.
type spent struct {
	cpu time.Duration
	rss int // MiB
}

func (l *load) spent() spent {
	l.t.Helper()
	pid := l.p.cmd.Process.Pid
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		l.t.Skip("no /proc") // other systems
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const tick, user, system = 10 * time.Millisecond, 11, 12 // proc(5): clock ticks; the third field is the first here
	var out spent
	for _, f := range fields[user : system+1] {
		n, err := strconv.Atoi(f)
		if err != nil {
			l.t.Fatal(err)
		}
		out.cpu += time.Duration(n) * tick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		l.t.Fatal(err)
	}
	if m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status); m != nil {
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			l.t.Fatal(err)
		}
		out.rss = n >> 10
	}
	return out
}

// tell logs what was measured.
func (l *load) tell(what string, before spent, took time.Duration) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.latency) == 0 {
		l.t.Fatalf("%s: no page was told of a connection", what)
	}
	slices.Sort(l.latency)
	at := func(p float64) time.Duration {
		return l.latency[min(len(l.latency)-1, int(p*float64(len(l.latency))))].Round(time.Millisecond)
	}
	now := l.spent()
	l.t.Logf("%s: %d events; end of connection to event: median %v, p99 %v, max %v; service: %.0f %% of a processor, %d MiB",
		what, len(l.latency), at(0.5), at(0.99), at(1), 100*(now.cpu-before.cpu).Seconds()/took.Seconds(), now.rss)
	l.latency = nil
}

// TestLoad has many pages follow one test, and many tests, while connections
// arrive. It measures; what is asserted is that every page hears of every
// connection.
func TestLoad(t *testing.T) {
	pages, tests, times, rate := 20, 4, 40, 50.0
	if os.Getenv(loadVar) != "" {
		pages, tests, times = 500, 50, 1000
	} else if testing.Short() {
		t.Skip("a service under load takes seconds")
	}
	l := newLoad(t)
	for _, n := range []int{1, tests} {
		var senders []*loadSender
		var links []string
		for i := range n {
			s := l.sender(n + i)
			if err := s.attempt(t.Context()); err != nil {
				t.Fatal(err)
			}
			senders, links = append(senders, s), append(links, s.link)
		}
		closeAll := l.open(pages, links)
		before, began := l.spent(), time.Now()
		l.arrive(senders, rate, times)
		l.settle()
		l.tell(fmt.Sprintf("%d pages of %d tests, %.0f connections/s", pages, n, rate), before, time.Since(began))
		closeAll()
	}
	l.p.stop(t)
}

// page gets a page.
func (l *load) page(t *testing.T, path string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+worldZone+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := l.tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	return string(b)
}
