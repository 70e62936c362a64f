//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// sight is what a page showed at one moment.
type sight struct {
	Heading  string
	Rows     int   // connections in the list
	Met      []int // servers in the strip
	Phase    string
	Missing  []string // pieces of evidence
	Reported bool
}

// recordSights notes in the page what it shows, whenever that changes. A page
// that is loaded again loses it.
const recordSights = `(() => {
  const text = e => {
    if (!e) return '';
    const copy = e.cloneNode(true);
    for (const time of copy.querySelectorAll('time')) time.remove();
    return copy.textContent.trim().replace(/\s+/g, ' ');
  };
  const told = name => [...document.querySelectorAll('#p-now dt')].find(dt => dt.textContent === name)?.nextElementSibling;
  window.labSights = [];
  const look = () => {
    const now = {
      Heading: text(document.querySelector('h1')),
      Rows: document.querySelectorAll('#rows > li').length,
      Met: [...document.querySelectorAll('.strip .met .nr')].map(e => Number(e.textContent)),
      Phase: text(told('Phase')),
      Missing: [...told('Still missing')?.querySelectorAll('li') || []].map(text),
      Reported: !!document.querySelector('#p-report h1'),
    };
    if (JSON.stringify(now) !== JSON.stringify(window.labSights.at(-1))) window.labSights.push(now);
  };
  new MutationObserver(look).observe(document.getElementById('live'), { childList: true, subtree: true });
  look();
})()`

// A person starts a test in a browser, sends the mail, and sees all of it
// without doing anything more.
func (l *liveLab) followLive(ctx context.Context, t *testing.T) {
	b := l.openTab(t, "live", 1100, "light")
	b.do(chromedp.Navigate(site + "/"))
	b.look("front")
	b.do(chromedp.Click("button.primary"))
	capability, to := b.waiting()
	checkTicket(t, b, to)
	b.look("waiting")
	eval[any](b, recordSights)

	l.mail(ctx, t, "dane", to...)
	b.wait(`document.querySelector("#rows > li")`)
	b.look("first")
	b.wait(`window.labSights.at(-1).Phase !== window.labSights.find(s => s.Phase)?.Phase || window.labSights.at(-1).Reported`)
	b.look("secure")
	b.wait(`document.querySelector("#p-report h1")`)
	b.look("verdict")
	st := l.awaitState(ctx, t, capability, live.Acked)
	b.wait(`document.querySelector("#p-report h1") && document.querySelector("#p-links img")?.naturalWidth > 0`)
	b.look("report")

	checkSights(t, eval[[]sight](b, "window.labSights"))
	// Copies may still come just after the mail that ended the test.
	await(ctx, t, "the last connections", func(context.Context) error {
		st = l.awaitState(ctx, t, capability, live.Acked)
		if shown := eval[int](b, `Number(document.querySelector("#rows > li").dataset.last)`); shown != len(st.Connections) {
			return fmt.Errorf("%d connections on the page, %d from the API", shown, len(st.Connections))
		}
		return nil
	})
	checkRows(t, b, st)
	l.checkAgree(ctx, t, b, capability, st, "dane")
	if got := b.pages(); len(got) != 2 {
		t.Errorf("pages loaded: %q, want the front page and that of the test, once each", got)
	}
	b.quiet()
}

// waiting waits for the page of a test that waits for its mail, and returns what
// it belongs to.
func (b *tab) waiting() (capability string, to []string) {
	b.t.Helper()
	b.wait(`location.pathname.startsWith("/t/") && document.querySelectorAll(".mail code").length === 2`)
	capability = strings.TrimPrefix(eval[string](b, "location.pathname"), "/t/")
	return capability, eval[[]string](b, `[...document.querySelectorAll(".mail code")].map(e => e.textContent)`)
}

var ownDomain = regexp.MustCompile(`^(et|ut)[1-9]\.` + regexp.QuoteMeta(zone) + `$`)

// checkTicket looks at the ways to send the mail that a page offers.
func checkTicket(t *testing.T, b *tab, to []string) {
	t.Helper()
	for _, address := range to {
		token, domain, _ := strings.Cut(address, "@")
		if _, ok := scenario.ParseToken(token); !ok || !ownDomain.MatchString(domain) {
			t.Errorf("%q is no address of a test of its own", address)
		}
	}
	u, err := url.Parse(eval[string](b, `document.querySelector("a.primary").href`))
	if err != nil || u.Scheme != "mailto" || u.Opaque != strings.Join(to, ",") {
		t.Errorf("link to write the mail: %v (%v), want one to %q", u, err, to)
	}
	b.wait(`document.querySelector("figure img").naturalWidth > 0`)
	if n := eval[int](b, `document.querySelectorAll("[data-copy] + button").length`); n != 2 {
		t.Errorf("%d buttons to copy, want one for each address", n)
	}
}

// checkSights checks that a page told everything as it happened.
func checkSights(t *testing.T, seen []sight) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the page showed:\n%+v", seen)
		}
	}()
	first, last := seen[0], seen[len(seen)-1]
	if first.Rows != 0 || first.Reported || !last.Reported || len(last.Met) < 4 {
		t.Errorf("at first %+v, in the end %+v", first, last)
	}
	var counts []int
	var phases []string
	var missing [][]string
	for i, s := range seen {
		if i > 0 && (s.Rows < seen[i-1].Rows || len(s.Met) < len(seen[i-1].Met)) {
			t.Errorf("%+v comes after %+v", s, seen[i-1])
		}
		if s.Reported {
			continue
		}
		counts = append(counts, s.Rows)
		if s.Phase != "" {
			phases = append(phases, s.Phase)
			missing = append(missing, s.Missing)
		}
	}
	if n := len(slices.Compact(counts)); n < 3 {
		t.Errorf("numbers of connections before the verdict: %v, want them to come one by one", counts)
	}
	if phases = slices.Compact(phases); len(phases) < 2 {
		t.Errorf("phases: %q, want one without STARTTLS and then one with it", phases)
	}
	// What came is missing no more; what is left may be told in more words.
	if len(missing) == 0 || len(missing[0]) == 0 || !slices.ContainsFunc(missing[0], func(piece string) bool { return !slices.Contains(missing[len(missing)-1], piece) }) {
		t.Errorf("pieces of evidence missing: %q, want those gone that came", missing)
	}
}

// shownRow is a connection on the page, or several that read the same.
type shownRow struct {
	Number, Last       int
	Sign               string
	Server, Phase, By  string
	Name, TLS, Outcome string
}

// readRows reads the list as somebody does who opens all details.
const readRows = `[...document.querySelectorAll('#rows > li')].map(li => {
  const told = Object.fromEntries([...li.querySelectorAll('dt')].map(dt => [dt.textContent, dt.nextElementSibling.textContent]));
  return {
    Number: Number(li.dataset.row), Last: Number(li.dataset.last), Sign: li.querySelector('.mark').textContent, Server: li.querySelector('strong').textContent,
    Phase: told['Phase'] || '', By: told['Belongs to this test by'] || '', Name: told['Wanted name (SNI)'] || '', TLS: told['TLS'] || '',
  };
})`

// checkRows checks that the page lists what the API does, and that connections
// inside TLS that handed nothing over are told to belong to the test by the name
// that is its own alone: no guess is needed.
func checkRows(t *testing.T, b *tab, st *live.Status) {
	t.Helper()
	rows := eval[[]shownRow](b, readRows)
	slices.Reverse(rows)
	phases, silent, shown := make(map[string]bool), 0, 0
	for _, r := range rows {
		if r.Number != shown+1 || r.Last < r.Number || r.Last > len(st.Connections) {
			t.Fatalf("connections %d to %d follow the %dth of %d", r.Number, r.Last, shown, len(st.Connections))
		}
		for _, c := range st.Connections[shown:r.Last] {
			if !strings.Contains(r.TLS, c.TLS) || !strings.Contains(r.Name, c.SNI) || (r.By == "") != (c.By == "") || r.Number == r.Last && (r.TLS != c.TLS || r.Name != c.SNI) {
				t.Errorf("on the page %+v, from the API %+v", r, c)
			}
			phases[string(c.Phase)] = true
			if c.TLS == "" || c.Outcome == live.Encrypted {
				continue
			}
			if silent++; c.By != "slot" {
				t.Errorf("connection %d (%s, %s, SNI %q) belongs to the test by %q, want by its slot", c.Number, c.TLS, c.Outcome, c.SNI, c.By)
			}
		}
		shown = r.Last
	}
	if shown != len(st.Connections) || len(rows) == shown {
		t.Errorf("%d rows of %d connections on the page, %d from the API; want equal ones as one row", len(rows), shown, len(st.Connections))
	}
	if !phases["downgrade"] || !phases["secure"] || silent == 0 {
		t.Errorf("phases %v, %d connections inside TLS without mail", phases, silent)
	}
}

// checkAgree checks that the page, its JSON, the API and the badge say the same.
func (l *liveLab) checkAgree(ctx context.Context, t *testing.T, b *tab, capability string, st *live.Status, policy string) {
	t.Helper()
	if st.Verdict == nil || st.Verdict.Policy != policy || !st.Verdict.Conclusive {
		t.Errorf("the API says %+v, want %s", st.Verdict, policy)
	}
	if text := eval[string](b, `document.querySelector("#p-verdict").textContent + document.querySelector("#p-report").textContent`); !strings.Contains(text, policy) {
		t.Errorf("the page does not say %s:\n%s", policy, text)
	}
	var doc struct{ Verdict policyinfer.Verdict }
	for _, path := range []string{"/t/" + capability + ".json", "/api/v1/tests/" + capability + "/report"} {
		body, err := l.get(ctx, path)
		if err == nil {
			err = json.Unmarshal([]byte(body), &doc)
		}
		if err != nil || string(doc.Verdict.Policy) != policy {
			t.Errorf("%s says %q (%v), want %s", path, doc.Verdict.Policy, err, policy)
		}
	}
	for _, path := range []string{"/t/" + capability + "/badge.svg", "/api/v1/tests/" + capability + "/badge.svg"} {
		if badge, err := l.get(ctx, path); err != nil || !strings.Contains(badge, ">"+policy+"<") {
			t.Errorf("%s does not say %s (%v):\n%s", path, policy, err, badge)
		}
	}
}
