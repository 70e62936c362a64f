package web_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/web"
)

// update writes golden files instead of comparing them.
var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// settled is a page without what other packages write or every change moves:
// the report, and hashes of content.
func settled(page string) string {
	if i := strings.Index(page, `<div id="p-report" tabindex="-1">`); i >= 0 {
		if j := strings.Index(page, `<div id="p-strip">`); j > i {
			page = page[:i] + "[report]\n" + page[j:]
		}
	}
	return regexp.MustCompile(`v=[0-9a-f]{12}`).ReplaceAllString(page, "v=HASH")
}

// Every page in every state, in both languages.
func TestGoldenPages(t *testing.T) {
	test := "/t/" + capability
	for _, c := range []struct {
		name, path string
		snapshot   live.Snapshot
	}{
		{"front", "/", waiting()},
		{"privacy", "/privacy", waiting()},
		{"status", "/status", waiting()},
		{"missing", "/nothing", waiting()},
		{"queued", test, queued()},
		{"waiting", test, waiting()},
		{"expired", test, expired()},
		{"running", test, recorded(t, "postfix-dane", 3, report.StateRunning)},
		{"acked", test, recorded(t, "postfix-dane", 3, report.StateAcked)},
	} {
		for _, l := range []string{"en", "de"} {
			t.Run(c.name+"."+l, func(t *testing.T) {
				f := watched(t, boardOf(c.snapshot), func(o *web.Options) { o.Now = func() time.Time { return start } })
				if c.snapshot.Input != nil {
					f.source.in = *c.snapshot.Input
				}
				path := c.path
				if c.snapshot.Input != nil || path == test {
					path += "?l=" + l
				}
				golden(t, c.name+"."+l+".html", settled(f.do("GET", "https://"+zone+path, "Accept-Language", l).Body.String()))
			})
		}
	}
}

// The front page of a service that leases nothing, and says nothing of itself.
func TestGoldenPagesOfABareService(t *testing.T) {
	for _, l := range []string{"en", "de"} {
		f := newFixture(t, nil)
		for _, page := range []string{"front", "privacy"} {
			path := map[string]string{"front": "/" + l, "privacy": "/privacy?l=" + l}[page]
			golden(t, page+"-bare."+l+".html", settled(f.get("https://"+zone+path).Body.String()))
		}
	}
}

// What a setting says is on the page in both languages, and only then.
func TestPrivacyTellsTheSettings(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*web.Privacy)
		en, de string
	}{
		{"operator", func(p *web.Privacy) { p.Operator = "Foundation" }, "Foundation", "Foundation"},
		{"contact", func(p *web.Privacy) { p.Contact = "a@example.org" }, `<a href="mailto:a@example.org">`, `<a href="mailto:a@example.org">`},
		{"address", func(p *web.Privacy) { p.Contact = "https://example.org/x" }, `<a href="https://example.org/x">`, `<a href="https://example.org/x">`},
		{"retention", func(p *web.Privacy) { p.Retention = 45 * 24 * time.Hour }, "45 days", "45 Tage nach"},
		{"a day", func(p *web.Privacy) { p.Retention = 24 * time.Hour }, "1 day ", "1 Tag "},
		{"wait", func(p *web.Privacy) { p.Wait = 25 * time.Minute }, "within 25 minutes", "innerhalb von 25 Minuten"},
		{"quarantine", func(p *web.Privacy) { p.Quarantine = 36 * time.Hour }, "rest for 36 hours", "ruhen danach: 36 Stunden"},
		{"reports", func(p *web.Privacy) { p.Reports, p.ReportsPerDay = true, 17 }, "at most 17 reports", "höchstens 17 Berichte"},
		{"mailbox", func(p *web.Privacy) { p.MailboxMessages = 123 }, "at most 123 messages", "höchstens 123 Nachrichten"},
		{"inbound", func(p *web.Privacy) { p.Inbound, p.NetworkZones = true, []string{"asn.example"} }, "asn.example", "asn.example"},
		{"statistics", func(p *web.Privacy) { p.Statistics, p.Providers = true, []string{"Example Mail"} }, "Example Mail", "Example Mail"},
		{"webhooks", func(p *web.Privacy) { p.Webhooks = true }, "is told of each verdict", "erfährt von jedem Ergebnis"},
		{"hosts", func(p *web.Privacy) { p.WebhookHosts = []string{"hooks.example"} }, "hooks.example", "hooks.example"},
		{"logs", func(p *web.Privacy) { p.LogsAddresses = true }, "holds the addresses of mail", "enthält die Adressen von Mail"},
	} {
		var p web.Privacy
		c.change(&p)
		with, without := newFixture(t, func(o *web.Options) { o.Privacy, o.Leases = p, &leases{} }), newFixture(t, func(o *web.Options) { o.Leases = &leases{} })
		for l, want := range map[string]string{"en": c.en, "de": c.de} {
			url := "https://" + zone + "/privacy?l=" + l
			if got := with.get(url).Body.String(); !strings.Contains(got, want) {
				t.Errorf("%s, %s: no %q:\n%s", c.name, l, want, got)
			}
			if got := without.get(url).Body.String(); strings.Contains(got, want) {
				t.Errorf("%s, %s: %q is said without the setting", c.name, l, want)
			}
		}
	}
}

func TestLanguages(t *testing.T) {
	f := newFixture(t, nil)
	for _, c := range []struct{ path, accept, want string }{
		{"/", "", "en"},
		{"/", "de", "de"},
		{"/", "de-CH, en;q=0.5", "de"},
		{"/", "en-GB, de", "en"},
		{"/", "fr, de;q=0.7, en;q=0.8", "en"},
		{"/", "fr;q=1, de;q=0.9, en;q=0.8", "de"},
		{"/", "de;q=0", "en"},
		{"/", "de;q=x", "de"},
		{"/", strings.Repeat("x,", 3000) + "de", "en"},
		{"/", "\"><script>", "en"},
		{"/de", "en", "de"},
		{"/en", "de", "en"},
		{"/privacy?l=de", "en", "de"},
		{"/privacy?l=fr", "de", "de"},
		{"/status", "de", "de"},
		{"/nothing", "de", "de"},
	} {
		w := f.do("GET", "https://"+zone+c.path, "Accept-Language", c.accept)
		if !strings.Contains(w.Body.String(), `<html lang="`+c.want+`">`) || w.Header().Get("Content-Language") != c.want {
			t.Errorf("%s for %.20q is not in %s", c.path, c.accept, c.want)
		}
		if c.path == "/" && w.Header().Get("Vary") != "Accept-Language" {
			t.Errorf("%s: Vary %q", c.path, w.Header().Get("Vary"))
		}
	}
}

func TestAssetsAreKeptByTheirContent(t *testing.T) {
	f := newFixture(t, nil)
	page := f.get("https://" + zone + "/").Body.String()
	for _, path := range []string{"/style.css", "/live.js"} {
		m := regexp.MustCompile(regexp.QuoteMeta(path) + `\?v=[0-9a-f]{12}`).FindString(page)
		if m == "" {
			t.Fatalf("the page does not name %s", path)
		}
		for url, want := range map[string]string{m: "public, max-age=31536000, immutable", path: "public, max-age=300", path + "?v=000000000000": "public, max-age=300"} {
			w := f.get("https://" + zone + url)
			if got := w.Header().Get("Cache-Control"); w.Code != 200 || got != want {
				t.Errorf("%s: status %d, %q, want %q", url, w.Code, got, want)
			}
		}
	}
}
