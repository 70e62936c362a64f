//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/tlsink/tlsink/live"
)

// Somebody without a mouse, on a phone, at night, in German.
func (l *liveLab) followByKeyboard(ctx context.Context, t *testing.T) {
	const phone = 360
	b := l.openTab(t, "keyboard", phone, "dark")
	b.do(chromedp.Navigate(site + "/de"))
	b.look("front")
	b.tabTo("a.skip")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.wait(`document.activeElement.id === "main"`)
	b.tabTo("button.primary")
	b.do(chromedp.KeyEvent(kb.Enter))
	capability, to := b.waiting()
	checkTicket(t, b, to)
	if !strings.HasPrefix(to[0], "de") || eval[string](b, "document.documentElement.lang") != "de" {
		t.Errorf("not in German: %q", to)
	}
	b.look("waiting")
	for range to {
		b.tabTo("[data-copy] + button")
		before := eval[string](b, "document.activeElement.textContent")
		b.do(chromedp.KeyEvent(kb.Enter))
		b.wait(fmt.Sprintf("document.activeElement.textContent !== %q", before))
	}
	if got := b.pasted(); got != to[1] {
		t.Errorf("copied %q, want %q", got, to[1])
	}
	b.tabTo(`a.primary[href^="mailto:"]`)

	l.mail(ctx, t, "dane-only", to...)
	b.wait(`document.querySelectorAll("#rows > li").length > 1 && (window.labMark = true)`)
	row := "#" + eval[string](b, `document.querySelector("#rows > li:nth-last-child(2)").id`)
	b.tabTo(row + " summary")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.wait(fmt.Sprintf(`document.querySelector("%s details").open`, row))
	b.look("running")
	// The list grows, and the reader stays where he was.
	b.wait(`document.querySelectorAll("#rows > li").length > 3`)
	if !eval[bool](b, fmt.Sprintf(`document.querySelector("%[1]s details").open && document.activeElement === document.querySelector("%[1]s summary")`, row)) {
		t.Errorf("the focus moved to %s", eval[string](b, "document.activeElement.outerHTML.slice(0, 200)"))
	}
	b.wait(`document.querySelector("#p-report h1")`)
	b.look("verdict")
	b.tabTo("a[href='#p-report']")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.wait(`document.activeElement.id === "p-report"`)
	if !eval[bool](b, "window.labMark === true") {
		t.Error("the page was loaded again")
	}
	st := l.awaitState(ctx, t, capability, live.Concluded, live.Acked)
	if st.Language != "de" || st.Verdict == nil || st.Verdict.Policy != "dane-only" {
		t.Errorf("%s, verdict %+v; want dane-only, in German", st.Language, st.Verdict)
	}
	b.quiet()
}

// pasted is what a person pastes elsewhere.
func (b *tab) pasted() string {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	defer cancel()
	other := &tab{t: b.t, ctx: ctx, name: b.name}
	other.do(chromedp.Navigate("about:blank"))
	eval[any](other, `document.body.append(document.createElement("input")); document.querySelector("input").focus()`)
	paste := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "v", Commands: []string{"paste"}}
	if _, err := chromedp.Call(ctx, input.DispatchKeyEvent, paste); err != nil {
		b.t.Fatal(err)
	}
	return eval[string](other, `document.querySelector("input").value`)
}

// Without scripts the page loads itself again, and says the same.
func (l *liveLab) followWithoutScript(ctx context.Context, t *testing.T) {
	b := l.openTab(t, "noscript", 1100, "light")
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.Navigate(site+"/en"), chromedp.Click("button.primary"))
	capability, to := b.waiting()
	if n := eval[int](b, `document.querySelectorAll("[data-copy] + button").length`); n != 0 {
		t.Errorf("%d buttons that need a script", n)
	}
	b.look("waiting")
	l.mail(ctx, t, "may", to...)
	b.wait(`document.querySelector("#rows > li")`)
	b.look("running")
	b.wait(`document.querySelector("#p-report h1")`)
	b.look("verdict")
	st := l.awaitState(ctx, t, capability, live.Acked)
	l.checkAgree(ctx, t, b, capability, st, "may")
	b.wait(`!document.querySelector("meta[http-equiv=refresh]") && !document.querySelector("noscript")?.textContent.includes("refresh")`)
	if got := b.pages(); len(got) < 4 {
		t.Errorf("pages loaded: %q, want the one of the test again and again", got)
	}
	b.quiet()
}

// linkIn finds the link to the result in what a server replied.
var linkIn = regexp.MustCompile(regexp.QuoteMeta(site) + `/t/[A-Za-z0-9_-]+`)

// An administrator mails to the plain addresses, and finds the page of the test
// in what the mail server says about its queue.
func (l *liveLab) followPlainMail(ctx context.Context, t *testing.T) {
	l.mail(ctx, t, "encrypt", "en@et."+zone, "en@ut."+zone)
	s := l.sender(t, "encrypt")
	srv, ok := s.servers[0].(*postfixServer)
	if !ok {
		t.Fatalf("%T is no Postfix", s.servers[0])
	}
	var link string
	await(ctx, t, "a link in the queue", func(ctx context.Context) error {
		reasons, err := srv.reasons(ctx)
		if err != nil {
			return err
		}
		if link = linkIn.FindString(strings.Join(reasons, "\n")); link == "" {
			return fmt.Errorf("the queue says %q", reasons)
		}
		return nil
	})
	b := l.openTab(t, "plain", 1100, "dark")
	b.do(chromedp.Navigate(link))
	b.wait(`document.querySelector("#rows > li")`)
	eval[any](b, recordSights)
	b.look("running")
	b.wait(`document.querySelector("#p-report h1")`)
	capability := strings.TrimPrefix(link, site+"/t/")
	st := l.awaitState(ctx, t, capability, live.Acked)
	b.wait(`document.querySelector("#p-links img")?.naturalWidth > 0`)
	b.look("report")
	l.checkAgree(ctx, t, b, capability, st, "encrypt")
	if seen := eval[[]sight](b, "window.labSights"); seen[0].Rows >= seen[len(seen)-1].Rows || !seen[len(seen)-1].Reported {
		t.Errorf("the page showed %+v, want it to grow until the report", seen)
	}
	if got := b.pages(); !slices.Equal(got, []string{link}) {
		t.Errorf("pages loaded: %q, want one", got)
	}
	b.quiet()
}

// reasons are why mails are in the queue.
func (p *postfixServer) reasons(ctx context.Context) (out []string, err error) {
	list, err := output(ctx, "", "postqueue", "-c", p.path("etc"), "-j")
	if err != nil {
		return nil, err
	}
	for d := json.NewDecoder(strings.NewReader(list)); ; {
		var mail struct {
			Recipients []struct {
				Reason string `json:"delay_reason"`
			}
		}
		switch err := d.Decode(&mail); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("postqueue: %w\n%s", err, list)
		}
		for _, r := range mail.Recipients {
			out = append(out, r.Reason)
		}
	}
}
