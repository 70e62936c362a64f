package web_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/web"
)

// flow is a client that reads a stream as fast as it comes.
type flow struct {
	header http.Header
	status int
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	text strings.Builder
}

func (f *flow) Header() http.Header    { return f.header }
func (f *flow) WriteHeader(status int) { f.status = status }
func (f *flow) Flush()                 {}
func (f *flow) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.Write(b)
}

// take returns what has come since it was called last.
func (f *flow) take() string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.text.Reset()
	return f.text.String()
}

// leave closes the stream and waits for its end.
func (f *flow) leave() {
	f.cancel()
	<-f.done
	synctest.Wait() // for what followed the test
}

// follow opens a stream of events inside a bubble.
func (f *fixture) follow(t *testing.T, query, lastEvent, addr string) *flow {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := &flow{header: make(http.Header), cancel: cancel, done: make(chan struct{})}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, resultURL+"/events?"+query, http.NoBody)
	r.TLS.ServerName, r.RemoteAddr = "", addr
	if lastEvent != "" {
		r.Header.Set("Last-Event-ID", lastEvent)
	}
	go func() {
		defer close(out.done)
		f.server.Handler().ServeHTTP(out, r)
	}()
	return out
}

const visitor = "192.0.2.77:1234"

// watched is a fixture whose test is on the board.
func watched(t *testing.T, b *board, change func(*web.Options)) *fixture {
	t.Helper()
	f := newFixture(t, func(o *web.Options) {
		o.Live, o.Leases, o.Privacy, o.Now = b, &leases{}, settings(), time.Now
		if change != nil {
			change(o)
		}
	})
	return f
}

var versionOf = regexp.MustCompile(`events\?l=en&amp;v=([0-9a-f]+)"`)

// ids are those of the elements in the data of events.
func ids(stream string) (out []string) {
	for _, m := range regexp.MustCompile(`(?m)^data: <\w+ id="([^"]+)"`).FindAllStringSubmatch(stream, -1) {
		out = append(out, m[1])
	}
	return out
}

// A page gets what has changed, and nothing else.
func TestEventsTellWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := boardOf(waiting())
		f := watched(t, b, nil)
		version := versionOf.FindStringSubmatch(f.get(resultURL).Body.String())
		if version == nil {
			t.Fatal("the page names no stream")
		}
		stream := f.follow(t, "l=en&v="+version[1], "", visitor)
		if got := stream.take(); got != "retry: 3000\n\n" {
			t.Errorf("to a page that is up to date: %q", got)
		}
		for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Robots-Tag": "noindex, nofollow"} {
			if got := stream.header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		b.set(told(recorded(t, "postfix-dane", 2, report.StateRunning)))
		got := stream.take()
		for _, want := range []string{`data: <div id="p-head"><h1>Your test is running</h1>`, `id="p-strip"`, `<li id="c1" data-row="1" data-last="2">`, `<strong>2 times</strong>`} {
			if !strings.Contains(got, want) {
				t.Errorf("after the first mail: no %q:\n%s", want, got)
			}
		}
		b.set(told(recorded(t, "postfix-dane", 4, report.StateRunning)))
		got = stream.take()
		if strings.Contains(got, "p-head") || strings.Contains(got, "p-how") || strings.Count(got, "<li id=") != 1 || !strings.Contains(got, `<li id="c1" data-row="1" data-last="4">`) {
			t.Errorf("after two more that say the same: %v\n%s", ids(got), got)
		}
		b.set(told(recorded(t, "postfix-dane", 5, report.StateRunning)))
		got = stream.take()
		if strings.Contains(got, `id="c1"`) || strings.Contains(got, "p-head") || strings.Contains(got, "p-how") || !strings.Contains(got, `<li id="c5" data-row="5" data-last="5">`) {
			t.Errorf("after one more connection: %v\n%s", ids(got), got)
		}
		b.set(told(recorded(t, "postfix-dane", 5, report.StateRunning))) // another status that says the same
		if got := stream.take(); got != "" {
			t.Errorf("nothing has changed, but: %s", got)
		}
		stream.leave()
		if n := b.open(); n != 0 {
			t.Errorf("%d watchers are left", n)
		}
	})
}

// After a break the page is told all, unless it has missed nothing.
func TestEventsAfterABreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := watched(t, boardOf(recorded(t, "postfix-dane", 3, report.StateRunning)), nil)
		first := f.follow(t, "l=en&v=000000000000", "", visitor)
		got := first.take()
		id := regexp.MustCompile(`(?m)^id: ([0-9a-f]+)$`).FindStringSubmatch(got)
		if id == nil || !strings.Contains(got, `<ol id="rows"><li id="c1" data-row="1" data-last="3"`) || !strings.Contains(got, "p-head") {
			t.Fatalf("an old page gets %s", got)
		}
		first.leave()
		for _, c := range []struct {
			name, query, last string
			all               bool
		}{
			{"the same", "l=en", id[1], false},
			{"the header wins", "l=en&v=000000000000", id[1], false},
			{"an older one", "l=en&v=" + id[1], "111111111111", true},
			{"nonsense", "l=en&v=%00%0aevent:end", "", true},
			{"none", "", "", true},
			{"another language", "l=de&v=" + id[1], "", true},
		} {
			s := f.follow(t, c.query, c.last, visitor)
			if got := s.take(); strings.Contains(got, "p-head") != c.all {
				t.Errorf("%s: %s", c.name, got)
			}
			s.leave()
		}
	})
}

// A stream ends with its test, but not before the analysis that its report
// waits for is there, which no status tells.
func TestEventsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := boardOf(recorded(t, "postfix-dane", 3, report.StateRunning))
		f := watched(t, b, nil)
		f.source.set(*recorded(t, "postfix-dane", 0, report.StateAcked).Input, report.NotReady)
		stream := f.follow(t, "l=en", "", visitor)
		stream.take()
		b.set(told(recorded(t, "postfix-dane", 0, report.StateAcked)))
		if got := stream.take(); !strings.Contains(got, `data: <div id="p-report" tabindex="-1"><h1 class="r-h1">`) || strings.Contains(got, "event: end") {
			t.Errorf("no report, or the end: %.2000s", got)
		}
		time.Sleep(time.Minute)
		if got := stream.take(); strings.Contains(got, "data:") || strings.Count(got, ":\n\n") != 4 {
			t.Errorf("while the analysis runs: %s", got)
		}
		f.source.set(*recorded(t, "postfix-dane", 0, report.StateAcked).Input, report.NotAuthenticated)
		time.Sleep(6 * time.Second)
		if got := stream.take(); !strings.Contains(got, "event: end\n") {
			t.Errorf("once all is there: %s", got)
		}
		stream.leave()
		if n := b.open(); n != 0 {
			t.Errorf("%d watchers are left", n)
		}
		late := f.follow(t, "l=en", "", visitor)
		if got := late.take(); !strings.HasSuffix(got, "\ndata: \n\n") || !strings.Contains(got, "event: end\n") {
			t.Errorf("who comes late: %.300s", got)
		}
		<-late.done
	})
}

// What a test of the stream can rely on: it goes on, is not endless, and ends
// when its test is deleted or the service is broken.
func TestEventsTime(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(*board)
		after   time.Duration
		status  int
	}{
		"time is up": {func(*board) {}, time.Hour, 404},
		"deleted":    {func(b *board) { b.set(nil) }, 0, 404},
		"broken":     {func(b *board) { b.fail(errors.New("disk is full")) }, 0, 503},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := boardOf(waiting())
				f := watched(t, b, nil)
				begin := time.Now()
				stream := f.follow(t, "l=en", "", visitor)
				stream.take()
				c.happens(b)
				<-stream.done
				if got := time.Since(begin); got != c.after {
					t.Errorf("ended after %s, want %s", got, c.after)
				}
				if name == "time is up" {
					b.set(nil)
				}
				if got := f.get(resultURL + "/events").Code; got != c.status {
					t.Errorf("then status %d, want %d", got, c.status)
				}
				if strings.Contains(f.log.String(), capability) {
					t.Errorf("the log holds the capability:\n%s", f.log)
				}
			})
		})
	}
}

// However many look at a test, it is watched and rendered once.
func TestManyPagesShareOneRendering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := boardOf(recorded(t, "postfix-dane", 2, report.StateRunning))
		f := watched(t, b, func(o *web.Options) { o.Limits.StreamsPerClient = 1000 })
		streams := make([]*flow, 500)
		for i := range streams {
			streams[i] = f.follow(t, "l=en", "", fmt.Sprintf("192.0.2.%d:1", i%250))
		}
		want := streams[0].take()
		b.set(told(recorded(t, "postfix-dane", 4, report.StateRunning)))
		want += streams[0].take()
		for i, s := range streams[1:] {
			if got := s.take(); got != want {
				t.Fatalf("stream %d differs:\n%s", i+1, cmp.Diff(want, got))
			}
		}
		if n := b.open(); n != 1 {
			t.Errorf("%d watchers, want one", n)
		}
		for _, s := range streams {
			s.leave()
		}
		if n := b.open(); n != 0 {
			t.Errorf("%d watchers are left", n)
		}
	})
}

func TestStreamsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := watched(t, boardOf(waiting()), func(o *web.Options) { o.Limits.Streams, o.Limits.StreamsPerClient = 3, 2 })
		var open []*flow
		for i, c := range []struct {
			addr   string
			status int
		}{{"192.0.2.1:1", 0}, {"192.0.2.1:2", 0}, {"192.0.2.1:3", 503}, {"192.0.2.2:1", 0}, {"192.0.2.3:1", 503}} {
			s := f.follow(t, "l=en", "", c.addr)
			s.take()
			if s.status != c.status || (c.status == 503) != (s.header.Get("Retry-After") == "30") {
				t.Errorf("stream %d: status %d, want %d; %v", i, s.status, c.status, s.header)
			}
			open = append(open, s)
		}
		for _, s := range open {
			s.leave()
		}
		again := f.follow(t, "l=en", "", "192.0.2.1:9")
		again.take()
		if again.status == 503 {
			t.Error("a stream that ended still counts")
		}
		again.leave()
	})
}

// Nothing that a stranger says becomes a line of the stream.
func TestEventsAreNotForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const forged = "x\r\nevent: end\r\rid: 1\n\ndata: <script>\rretry: 1\r\r"
		b := newBoard(func(report.Language) *live.Status {
			return &live.Status{State: live.Running, Language: "en", Text: forged, Servers: make([]live.Server, 7), Connections: []live.Connection{{Number: 1, Text: forged, Details: []string{forged}}}}
		})
		stream := watched(t, b, nil).follow(t, "l=en", "", visitor)
		got := stream.take()
		stream.leave()
		for i, line := range strings.FieldsFunc(got, func(r rune) bool { return r == '\r' || r == '\n' }) {
			field, _, _ := strings.Cut(line, ":")
			if field != "data" && field != "id" && (field != "retry" || i > 0) || strings.Contains(line, "<script") {
				t.Errorf("line %q", line)
			}
		}
		if n := strings.Count(got, "\n\n"); n != 2 {
			t.Errorf("%d blocks, want 2: %q", n, got)
		}
	})
}

// A mail to the other address may come just after the one that ended the test: who
// follows it sees that, too.
func TestEventsAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole := recorded(t, "postfix-dane", 0, report.StateAcked)
		before := recorded(t, "postfix-dane", len(whole.Input.History.Connections)-1, report.StateAcked)
		all := before.Input.History.Connections
		last := all[len(all)-1].Start
		before.Now = last.Add(time.Second)
		b := boardOf(before)
		f := watched(t, b, nil)
		f.source.set(*before.Input, "")
		stream := f.follow(t, "l=en", "", visitor)
		if got := stream.take(); !strings.Contains(got, "p-report") || strings.Contains(got, "event: end") {
			t.Errorf("no report, or the end: %.300s", got)
		}
		time.Sleep(6 * time.Second)
		whole.Now = whole.Input.History.Connections[len(all)].Start.Add(time.Second)
		b.set(told(whole))
		if got := stream.take(); !strings.Contains(got, `<li id="c`) || strings.Contains(got, "event: end") {
			t.Errorf("the last connection is not told, or the end: %.300s", got)
		}
		time.Sleep(20 * time.Second)
		if got := stream.take(); !strings.Contains(got, "event: end\n") {
			t.Errorf("no end: %.300s", got)
		}
		<-stream.done
	})
}
