//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const operatorPassword = "grain-ladder-violet-9471"

// The operator looks at what was tested, and deletes all of one person.
func (l *liveLab) operate(ctx context.Context, t *testing.T) {
	if _, err := output(ctx, operatorPassword+"\n", l.sink.binary, "console", "password", "--config", l.sink.config); err != nil {
		t.Fatal(err)
	}
	b := l.openTab(t, "console", 1280, "light")
	b.expect("status of 40") // wrong passwords, and what is gone
	b.do(chromedp.Navigate(site + "/console/"))
	b.wait(`document.activeElement.id === "password"`)
	b.do(chromedp.KeyEvent("not the password" + kb.Enter))
	b.wait(`document.querySelector("#problem")`)
	b.look("refused")
	b.do(chromedp.SendKeys("#password", operatorPassword+kb.Enter))
	b.wait(`document.querySelector("#sessions")`)
	b.look("overview")

	id, page := l.findTest(t, b)
	l.dropDelivery(t, b)
	l.forgetPerson(ctx, t, b, id, page)
	b.do(chromedp.Click(`form[action="/console/logout"] button`))
	b.wait(`document.querySelector("#password")`)
	b.quiet()
}

// open follows a link of the console's navigation.
func (b *tab) open(path string) {
	b.t.Helper()
	b.do(chromedp.Click(fmt.Sprintf("nav a[href=%q]", path)))
	b.wait(fmt.Sprintf("location.pathname === %q && document.readyState === 'complete'", path))
}

// findTest searches for a finished test, and looks at all of it. It returns its
// id and the link of its page.
func (l *liveLab) findTest(t *testing.T, b *tab) (id, page string) {
	t.Helper()
	b.open("/console/tests")
	b.do(chromedp.SendKeys("#domain", domainOf("dane")+kb.Enter))
	b.wait(`location.search.includes("domain=") && document.querySelector("#found")`)
	rows := eval[[]string](b, `[...document.querySelectorAll(".c-table tbody tr")].map(e => e.textContent)`)
	if len(rows) != 2 || !strings.Contains(rows[0], "dane") || !strings.Contains(rows[1], "dane") {
		t.Errorf("found %q, want the two tests of one server", rows)
	}
	b.look("found")
	// The one that was started later has not asked for a report.
	b.do(chromedp.Click(`.c-table tbody tr:last-child th a`))
	b.wait(`document.querySelector(".c-report")`)
	id = eval[string](b, `location.pathname.split("/").pop()`)
	page = eval[string](b, `document.querySelector("a[rel=noreferrer]").href`)
	b.look("test")
	b.do(chromedp.Click(fmt.Sprintf(".c-tabs a[href=%q]", "/console/tests/"+id+"/connections")))
	b.wait(`document.querySelector(".c-conn")`)
	eval[any](b, `document.querySelectorAll(".c-conn details").forEach(d => { d.open = true })`)
	text := eval[string](b, `document.querySelector("main").innerText`)
	for _, want := range []string{"EHLO mx." + domainOf("dane"), "STARTTLS", "slot", "mx05.et"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not told of the connections:\n%s", want, text)
		}
	}
	if n := eval[int](b, `document.querySelectorAll(".c-transcript li").length`); n < 20 {
		t.Errorf("%d lines of transcripts", n)
	}
	b.look("connections")
	return id, page
}

// dropDelivery gives up the webhook that nobody takes.
func (l *liveLab) dropDelivery(t *testing.T, b *tab) {
	t.Helper()
	b.open("/console/queue")
	// Other tests may end just now: only this one was put off.
	const putOff = `[...document.querySelectorAll("tr")].find(e => e.textContent.includes("503"))?.querySelector("form[action^='/console/deliveries/'][action$='/retry']")`
	b.wait(putOff)
	b.look("queue")
	message := strings.TrimSuffix(eval[string](b, putOff+`.getAttribute("action")`), "/retry")
	button := func(action string) string { return fmt.Sprintf("form[action=%q] button", message+"/"+action) }
	for _, a := range [][2]string{{"retry", "delivery-retried"}, {"drop", "delivery-dropped"}} {
		b.do(chromedp.Click(button(a[0])))
		b.wait(fmt.Sprintf("document.querySelector('.c-done') && location.search.includes(%q)", a[1]))
	}
	if eval[bool](b, fmt.Sprintf("!!document.querySelector('%s')", button("drop"))) {
		t.Error("the notification is still in the queue")
	}
	b.look("dropped")
}

// forgetPerson deletes everything of a sender, and checks that nobody finds it
// any more.
func (l *liveLab) forgetPerson(ctx context.Context, t *testing.T, b *tab, id, page string) {
	t.Helper()
	address := l.sender(t, "dane").address()
	path := strings.TrimPrefix(page, site)
	before := map[string]int{path: http.StatusOK, path + ".json": http.StatusOK, "/api/v1" + strings.Replace(path, "/t/", "/tests/", 1): http.StatusOK}
	l.checkStatus(ctx, t, before)
	b.open("/console/person")
	b.do(chromedp.SendKeys("#address", address+kb.Enter))
	b.wait(`document.querySelector("#confirm")`)
	b.look("person")
	b.do(chromedp.SendKeys("#confirm", "tester@dane.exampl"+kb.Enter))
	b.wait(`document.querySelector(".c-problem[role=alert]")`)
	l.checkStatus(ctx, t, before)
	b.do(chromedp.SendKeys("#confirm", address+kb.Enter))
	b.wait(`document.querySelector(".c-done[role=status]")`)
	b.look("forgotten")

	for path := range before {
		before[path] = http.StatusNotFound
	}
	l.checkStatus(ctx, t, before)
	b.open("/console/tests")
	b.do(chromedp.SendKeys("#domain", domainOf("dane")+kb.Enter))
	b.wait(`location.search.includes("domain=") && document.readyState === "complete"`)
	if eval[bool](b, `!!document.querySelector(".c-table")`) {
		t.Error("the search still finds tests")
	}
	for _, other := range []string{"/console/tests/" + id} {
		b.do(chromedp.Navigate(site + other))
		b.wait(`document.readyState === "complete" && !document.querySelector(".c-report")`)
	}
	if out, err := output(ctx, "", l.sink.binary, "history", "show", "--config", l.sink.config, id); err == nil {
		t.Errorf("tlsink history show still finds it:\n%s", out)
	}
	b.do(chromedp.Navigate(site + "/console/log"))
	b.look("log")
	audit := eval[string](b, `document.querySelector("main").innerText`)
	b.checkAudit(l.sink.daemon.log, audit, address)
}

// checkAudit checks that it was written down what was done, but not of whom.
func (b *tab) checkAudit(log, audit, address string) {
	b.t.Helper()
	lines, err := os.ReadFile(log)
	if err != nil {
		b.t.Fatal(err)
	}
	var did []string
	for line := range strings.Lines(string(lines)) {
		if strings.Contains(line, "operator's action") {
			did = append(did, line)
		}
	}
	for _, action := range []string{"person forgotten", "webhook retried", "webhook dropped"} {
		if !strings.Contains(audit, action) || !strings.Contains(strings.Join(did, ""), action) {
			b.t.Errorf("%s is not in the audit log or the log:\n%s\n%s", action, audit, did)
		}
	}
	if strings.Contains(audit+strings.Join(did, ""), address) {
		b.t.Errorf("it says of whom:\n%s\n%s", audit, did)
	}
}

// checkStatus checks how pages answer.
func (l *liveLab) checkStatus(ctx context.Context, t *testing.T, want map[string]int) {
	t.Helper()
	for path, status := range want {
		body, got, err := l.fetch(ctx, path)
		if err != nil || got != status {
			t.Errorf("%s: status %d (%v), want %d\n%s", path, got, err, status, body)
		}
	}
}
