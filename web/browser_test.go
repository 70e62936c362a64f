package web_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/web"
)

// browser starts a real one; t is skipped where the lab is not wanted. Of what
// the browser requests and complains about, complaints fail t.
func browser(t *testing.T) context.Context {
	t.Helper()
	if os.Getenv("TLSINK_LAB") == "" {
		t.Skip("TLSINK_LAB is not set: no browser is started")
	}
	for _, name := range []string{"chromium", "chromium-headless-shell", "google-chrome"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		ctx, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox)...)
		t.Cleanup(stop)
		ctx, cancel := chromedp.NewContext(ctx)
		t.Cleanup(cancel)
		ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
		t.Cleanup(cancel)
		return ctx
	}
	t.Skip("no browser (Debian: apt install chromium)")
	return nil
}

// complaints are what the browser does not like about pages.
type complaints struct {
	mu       sync.Mutex
	said     []string
	requests []string
}

func listen(ctx context.Context, t *testing.T) *complaints {
	t.Helper()
	c := &complaints{}
	err := chromedp.Listen(ctx, func(event any) {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			c.requests = append(c.requests, e.Request.URL)
		case *log.EventEntryAdded:
			c.said = append(c.said, e.Entry.Text)
		case *runtime.EventConsoleAPICalled:
			c.said = append(c.said, string(e.Type))
		case *runtime.EventExceptionThrown:
			c.said = append(c.said, e.ExceptionDetails.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// check fails t if there was a complaint, or something came from elsewhere.
func (c *complaints) check(t *testing.T, site string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, text := range c.said {
		t.Errorf("the browser complains: %s", text)
	}
	for _, url := range c.requests {
		if !strings.HasPrefix(url, site+"/") && !strings.HasPrefix(url, "about:") {
			t.Errorf("%s is loaded from elsewhere", url)
		}
	}
	c.said, c.requests = nil, nil
}

// site serves the pages of one test to a browser.
func site(t *testing.T, b *board, change func(*web.Options)) (*fixture, *httptest.Server) {
	t.Helper()
	f := watched(t, b, func(o *web.Options) {
		o.Limits.PagesPerMinute = 100_000
		if change != nil {
			change(o)
		}
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.Host, r.TLS = zone, &tls.ConnectionState{}
		f.server.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return f, server
}

// What is shown in a browser, and as screenshots in the directory that
// TLSINK_SCREENSHOTS names.
func TestPagesInBrowser(t *testing.T) {
	ctx := browser(t)
	test := "/t/" + capability
	shown := []struct {
		name, path string
		snapshot   live.Snapshot
	}{
		{"front", "/en", waiting()},
		{"front-de", "/de", waiting()},
		{"privacy", "/privacy", waiting()},
		{"privacy-de", "/privacy?l=de", waiting()},
		{"status-de", "/status?l=de", waiting()},
		{"missing", "/t/none", waiting()},
		{"queued", test, queued()},
		{"waiting", test, waiting()},
		{"waiting-de", test + "?l=de", waiting()},
		{"expired", test, expired()},
		{"running", test, recorded(t, "postfix-dane", 7, report.StateRunning)},
		{"running-de", test + "?l=de", recorded(t, "postfix-may-multi", 40, report.StateRunning)},
		{"faulty-de", test + "?l=de", faulty(recorded(t, "postfix-dane", 7, report.StateRunning))},
		{"comparison", test + "/compare?with=" + earlier, recorded(t, "postfix-dane", 0, report.StateAcked)},
		{"comparison-wrong-de", test + "/compare?with=x&l=de", recorded(t, "postfix-dane", 0, report.StateAcked)},
		{"done", test, recorded(t, "postfix-dane", 0, report.StateAcked)},
		{"done-de", test + "?l=de", recorded(t, "postfix-may", 0, report.StateAcked)},
	}
	seen := listen(ctx, t)
	for _, c := range shown {
		f, server := site(t, boardOf(c.snapshot), nil)
		if c.snapshot.Input != nil {
			f.source.in = *c.snapshot.Input
			f.source.earlier = *recorded(t, "postfix-may", 0, report.StateAcked).Input
		}
		for _, width := range []int64{360, 1100} {
			for _, scheme := range []string{"light", "dark"} {
				name := fmt.Sprintf("%s-%d-%s", c.name, width, scheme)
				t.Run(name, func(t *testing.T) {
					look(ctx, t, server.URL+c.path, width, scheme, name)
					if c.name != "missing" && c.name != "comparison-wrong-de" { // whose status the browser does not like
						seen.check(t, server.URL)
					}
				})
			}
		}
		if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil { // ends the stream
			t.Fatal(err)
		}
		seen.said, seen.requests = nil, nil
	}
}

// faulty is a test while the service has a fault, after which somebody tried a
// server by hand.
func faulty(s live.Snapshot) live.Snapshot {
	s.Slow = "mx05.et.sink.example: the TLSA record matches the certificate, and must not"
	in := *s.Input
	hand := in.History.Connections[0].Clone()
	hand.ID, hand.Attribution, hand.Server, hand.Phase = "hand", evidence.BySlot, 5, evidence.Secure
	hand.Start, hand.End = s.Now.Add(time.Minute), s.Now.Add(time.Minute+time.Second)
	hand.EHLO, hand.StartTLS, hand.StartTLSOffered, hand.Ending = true, true, true, evidence.EndingQuit
	hand.TLS = &evidence.TLS{SNI: new("mx05.et." + in.Service), Stage: evidence.StageFinished, Complete: true, Certificate: "ca"}
	in.History.Connections = append(slices.Clone(in.History.Connections), hand)
	s.Input = &in
	return s
}

// look opens a page, and fails t if something is hard to see.
func look(ctx context.Context, t *testing.T, url string, width int64, scheme, name string) {
	t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 800), chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	got, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](inspect))
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range got {
		t.Error(problem)
	}
	if dir := os.Getenv("TLSINK_SCREENSHOTS"); dir != "" {
		shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// inspect lists what is wrong with a page: texts beyond the window, contrast
// below 4.5 (WCAG 2.2, 1.4.3), targets below 24 pixels (2.5.8) outside of text,
// headings that leave out a level, controls without a name, ids that are there twice.
const inspect = `(() => {
  const out = [];
  const rgb = s => { const m = s.match(/[\d.]+/g); return m ? m.map(Number) : [0, 0, 0, 0] };
  const solid = c => c.length < 4 || c[3] > 0.99;
  const light = c => { const f = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 }; return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]) };
  const ratio = (a, b) => { const x = light(a), y = light(b); return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05) };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (solid(c)) return c;
    }
    return [255, 255, 255];
  };
  if (document.documentElement.scrollWidth > innerWidth) out.push('wider than the window: ' + document.documentElement.scrollWidth);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = walker.nextNode(); n; n = walker.nextNode()) {
    const e = n.parentElement;
    if (!n.data.trim() || e.closest('svg, noscript, .sr, .skip') || !e.checkVisibility()) continue;
    const range = document.createRange();
    range.selectNodeContents(n);
    if (range.getBoundingClientRect().right > innerWidth + 1) out.push('beyond the window: ' + n.data.trim().slice(0, 40));
    const r = ratio(rgb(getComputedStyle(e).color), behind(e));
    if (r < 4.5) out.push('contrast ' + r.toFixed(1) + ': ' + n.data.trim().slice(0, 40));
  }
  for (const e of document.querySelectorAll('button, .primary, input:not([type=hidden]), nav a')) {
    if (e.checkVisibility() && e.getBoundingClientRect().height < 20) out.push('small: ' + e.textContent);
    if (!(e.textContent.trim() || e.labels?.length)) out.push('no name: ' + e.outerHTML);
  }
  let level = 0;
  for (const e of document.querySelectorAll('h1, h2, h3, h4')) {
    const now = Number(e.tagName[1]);
    if (now > level + 1) out.push('heading leaves out a level: ' + e.textContent);
    level = now;
  }
  if (document.querySelectorAll('h1').length !== 1) out.push('h1: ' + document.querySelectorAll('h1').length);
  const ids = new Set();
  for (const e of document.querySelectorAll('[id]')) { if (ids.has(e.id)) out.push('twice: ' + e.id); ids.add(e.id); }
  return out.slice(0, 20);
})()`

// until waits for something to be true on a page.
func until(ctx context.Context, t *testing.T, expression string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		if ok {
			return
		}
		if time.Now().After(deadline) {
			html, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerHTML`))
			t.Fatalf("never: %s\n%s\n%v", expression, html, err)
		}
	}
}

// listed is how many connections a page lists: several may share a row.
const listed = `[...document.querySelectorAll("#rows > li")].reduce((n, row) => n + 1 + Number(row.dataset.last) - Number(row.dataset.row), 0)`

// A page that stays open shows what happens, without being loaded again; what a
// person has opened stays open, and the focus stays where it was.
func TestLivePageInBrowser(t *testing.T) {
	ctx := browser(t)
	b := boardOf(waiting())
	f, server := site(t, b, nil)
	seen := listen(ctx, t)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1100, 900), chromedp.Navigate(server.URL+"/t/"+capability)); err != nil {
		t.Fatal(err)
	}
	until(ctx, t, `window.loaded = true`) // lost if the page is loaded again
	until(ctx, t, `document.querySelectorAll("[data-copy] + button").length === 2`)

	b.set(told(recorded(t, "postfix-dane", 2, report.StateRunning)))
	until(ctx, t, `document.querySelector("h1").textContent === "Your test is running" && `+listed+` === 2`)
	until(ctx, t, `document.title.startsWith("Your test is running")`)
	until(ctx, t, `document.querySelector("#c1 summary").click() || document.querySelector("#c1 summary").focus() || document.querySelector("#c1 details").open`)

	// One that was open says the same as those before it: they become one row, which
	// takes over what was open, and the focus.
	few := told(recorded(t, "postfix-dane", 4, report.StateRunning))
	b.set(func(l report.Language) *live.Status {
		st := *few(l)
		st.Connections = append([]live.Connection{}, st.Connections...)
		st.Connections[3].Open = true
		return &st
	})
	until(ctx, t, `document.querySelector("#c4 .open") !== null && document.querySelector("#rows > li").id === "c4"`)
	until(ctx, t, `document.querySelector("#c1 details").open && !(document.querySelector("#c1 details").open = false)`)
	until(ctx, t, `document.querySelector("#c4 summary").focus() || (document.querySelector("#c4 details").open = true)`)
	b.set(few)
	until(ctx, t, `!document.getElementById("c4") && document.querySelector("#c1").textContent.includes("4 times")`)
	until(ctx, t, `document.querySelector("#c1 details").open && document.activeElement === document.querySelector("#c1 summary")`)

	b.set(told(recorded(t, "postfix-dane", 40, report.StateRunning)))
	until(ctx, t, listed+` === 40 && document.querySelector("#rows > li").id === "c40"`)
	until(ctx, t, `document.querySelector("#c1 details").open && document.activeElement === document.querySelector("#c1 summary")`)

	// The row itself changes, while the focus is in it.
	change := told(recorded(t, "postfix-dane", 40, report.StateRunning))
	b.set(func(l report.Language) *live.Status {
		st := *change(l)
		st.Connections = append([]live.Connection{}, st.Connections...)
		st.Connections[0].Text = "Changed."
		return &st
	})
	until(ctx, t, `document.querySelector("#c1").textContent.includes("Changed.") && document.querySelector("#c1 details").open && document.activeElement === document.querySelector("#c1 summary")`)

	// The oldest ones leave the list, and with them a half of what was one row.
	b.set(func(l report.Language) *live.Status {
		st := *change(l)
		st.Connections, st.Omitted = st.Connections[8:], 8
		return &st
	})
	until(ctx, t, listed+` === 32 && !document.getElementById("c7") && document.querySelector("#rows > li:last-child").id === "c9"`)

	// So do those that could be of another test as well.
	b.set(func(l report.Language) *live.Status {
		st := *change(l)
		st.Connections, st.Omitted = st.Connections[10:35], 10
		return &st
	})
	until(ctx, t, listed+` === 25 && document.querySelector("#rows > li").id === "c35"`)

	f.source.set(*recorded(t, "postfix-dane", 0, report.StateAcked).Input, report.NotAuthenticated)
	b.set(told(recorded(t, "postfix-dane", 0, report.StateAcked)))
	until(ctx, t, `document.querySelector("#p-report h1") !== null && document.querySelector("#p-links img").naturalWidth > 0`)
	until(ctx, t, `!document.getElementById("all").open`)
	until(ctx, t, `window.loaded`)
	for b.open() > 0 { // the stream has ended
		time.Sleep(20 * time.Millisecond)
	}
	seen.check(t, server.URL)
}

// Who reads the list when the test ends keeps it open.
func TestListThatIsReadStaysOpenInBrowser(t *testing.T) {
	ctx := browser(t)
	b := boardOf(recorded(t, "postfix-dane", 0, report.StateRunning))
	f, server := site(t, b, nil)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(360, 640), chromedp.Navigate(server.URL+"/t/"+capability)); err != nil {
		t.Fatal(err)
	}
	until(ctx, t, `(document.querySelector("#c60").scrollIntoView(), document.getElementById("all").getBoundingClientRect().top < 0)`)
	f.source.set(*recorded(t, "postfix-dane", 0, report.StateConcluded).Input, report.NotAuthenticated)
	b.set(told(recorded(t, "postfix-dane", 0, report.StateConcluded)))
	until(ctx, t, `document.querySelector("#p-report h1") !== null && document.getElementById("p-count").dataset.done !== undefined`)
	until(ctx, t, `document.getElementById("all").open`)
	b.set(told(recorded(t, "postfix-dane", 0, report.StateRunning))) // the verdict is taken back
	until(ctx, t, `document.querySelector("#p-report h1") === null && document.getElementById("all").open`)
}

// What is closed on a finished page opens with the keyboard, and on paper, both
// without a script.
func TestFinishedPageOpensInBrowser(t *testing.T) {
	ctx := browser(t)
	s := recorded(t, "postfix-dane", 0, report.StateAcked)
	f, server := site(t, boardOf(s), nil)
	f.source.in = *s.Input
	if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(360, 800), chromedp.Navigate(server.URL+"/t/"+capability)); err != nil {
		t.Fatal(err)
	}
	const seen = `document.querySelector("#rows > li").checkVisibility() && document.querySelector("#p-report .r-log").checkVisibility()`
	until(ctx, t, `!(`+seen+`)`)
	for _, on := range []struct{ medium, want string }{{"print", seen}, {"screen", `!(` + seen + `)`}} {
		if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: on.medium}); err != nil {
			t.Fatal(err)
		}
		until(ctx, t, on.want)
	}
	for _, fold := range []string{"#p-report .fold > summary", "#p-count"} {
		until(ctx, t, `document.querySelector("`+fold+`").focus() || document.activeElement.matches("`+fold+`")`)
		if err := chromedp.Do(ctx, chromedp.KeyEvent(kb.Enter)); err != nil {
			t.Fatal(err)
		}
	}
	until(ctx, t, seen)
}

// Without a script the page loads itself again, a test can be started and given
// up, and details open.
func TestPagesWithoutScriptInBrowser(t *testing.T) {
	ctx := browser(t)
	b := boardOf(waiting())
	_, server := site(t, b, func(o *web.Options) { o.Limits.RefreshInSeconds = 1 })
	if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(server.URL+"/en"), chromedp.Click("button.primary")); err != nil {
		t.Fatal(err)
	}
	until(ctx, t, `location.pathname === "/t/`+capability+`" && document.querySelector(".mail") !== null && document.querySelectorAll("[data-copy] + button").length === 0`)
	b.set(told(recorded(t, "postfix-dane", 2, report.StateRunning)))
	until(ctx, t, listed+` === 2`)
	if b.open() != 0 {
		t.Error("a stream is open")
	}
}

// Everything can be reached and used with the keyboard alone, in the order of
// the page, and what has the focus is to be seen.
func TestKeyboardInBrowser(t *testing.T) {
	ctx := browser(t)
	_, server := site(t, boardOf(waiting()), nil)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(360, 800), chromedp.Navigate(server.URL+"/t/"+capability)); err != nil {
		t.Fatal(err)
	}
	until(ctx, t, `document.querySelectorAll("[data-copy] + button").length === 2`)
	const focused = `(() => {
	  const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
	  if (box.width < 2 || box.right < 0 || style.outlineStyle === "none") return "not to be seen: " + e.outerHTML;
	  return e.textContent.trim();
	})()`
	for _, want := range []string{"Skip to the content", "tlsink", "Deutsch", "Copy", "Copy", "Write the mail", "Give up this test", "Start", "Privacy", "Status of this service"} {
		if err := chromedp.Do(ctx, chromedp.KeyEvent(kb.Tab)); err != nil {
			t.Fatal(err)
		}
		got, err := chromedp.Run(ctx, chromedp.Evaluate[string](focused))
		if err != nil || got != want {
			t.Errorf("the focus is on %q, want %q; %v", got, want, err)
		}
	}
}

// Where no stream is possible, the page asks again, and says so.
func TestPageWithoutStreamInBrowser(t *testing.T) {
	ctx := browser(t)
	b := boardOf(waiting())
	_, server := site(t, b, func(o *web.Options) { o.Limits.Streams = 1 })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/t/"+capability+"/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	hog, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer hog.Body.Close()
	if err := chromedp.Do(ctx, chromedp.Navigate(server.URL+"/t/"+capability)); err != nil {
		t.Fatal(err)
	}
	until(ctx, t, `(window.loaded = true) && document.getElementById("lost").textContent.startsWith("No live updates")`)
	b.set(told(recorded(t, "postfix-dane", 2, report.StateRunning)))
	until(ctx, t, listed+` === 2 && window.loaded`)
	if err := hog.Body.Close(); err != nil {
		t.Error(err)
	}
	b.set(told(recorded(t, "postfix-dane", 3, report.StateRunning)))
	until(ctx, t, listed+` === 3 && document.getElementById("lost").textContent === "" && window.loaded`)
}
