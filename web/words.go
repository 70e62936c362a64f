package web

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

// words is what pages say in a language, but for whole texts, which are
// templates of their own.
type words struct {
	Lang, OtherLang, OtherName string

	// Around every page.
	Skip, Main, Start, Privacy, Status, Statistics string
	FailTitle, Home                                string
	Failures                                       map[int]string

	// Starting a test.
	FrontTitle, PrivacyTitle, StatusTitle, CompareTitle string
	StartButton, TooManyStarts, TooManyTests, Busy      string

	// The page of a test.
	Titles                                                                     map[live.State]string
	Result, Refresh                                                            string
	Ahead, Turn, GiveUp, Write, ToBoth, ByLink, ByCode, CodeAlt, Until, Again  string
	Copy, Copied, In, Soon, Lost, Newest                                       string
	SoFar, Policy, SeeAll, SeeConnections, Print                               string
	Strip, Filled, Never, Server, Happening, Phase, PhaseEnds                  string
	Order, Rotates, NextTry, MissingTitle, SlowTitle, Cause, FoundTitle        string
	ID, Sender, None, Omitted, Open, Times, Details, UTC                       string
	Client, Greeting, SNI, TLS, By, Number                                     string
	Outcomes, Briefs                                                           map[live.Outcome]string
	Missing                                                                    string
	Keep, JSON, JSONNote, Badge, BadgeNote, BadgeHTML, BadgeMarkdown, BadgeAlt string
	Trends                                                                     map[live.Trend]string
	Earlier, Later, Begun, Careful, Changes, NoChanges, BackToTest             string
	Compare, CompareHint, CompareLabel, CompareButton, BadLink, NoSuchTest     string

	Units [5]string // second, minute, hour, day, days
}

func wordsOf(l report.Language) words {
	if l == report.German {
		return germanWords()
	}
	return englishWords()
}

// title is that of the window.
func (w words) title(st *live.Status) string { return w.Titles[st.State] }

// Heading is the first one of the page of a test.
func (w words) Heading(s live.State) string { return w.Titles[s] }

// Outcome says in words what a sign shows.
func (w words) Outcome(o live.Outcome) string { return w.Outcomes[o] }

// Brief is Outcome in a word or two.
func (w words) Brief(o live.Outcome) string { return w.Briefs[o] }

// FilledIn says how many of the servers were met.
func (w words) FilledIn(servers []live.Server) string {
	n := 0
	for _, s := range servers {
		if s.Connections > 0 {
			n++
		}
	}
	return fmt.Sprintf(w.Filled, n, len(servers))
}

// OmittedRows says that older connections are not listed.
func (w words) OmittedRows(n int) string { return fmt.Sprintf(w.Omitted, n) }

// Trend says how something has changed.
func (w words) Trend(t live.Trend) string { return w.Trends[t] }

// Wrong says what a link looks like.
func (w words) Wrong(example string) string { return fmt.Sprintf(w.BadLink, example) }

// Stamp is a time in UTC.
func (w words) Stamp(t time.Time) string { return w.stamp(t) }

func (w words) language() report.Language { return report.Language(w.Lang) }

// Queue says how many are before one.
func (w words) Queue(ahead int) string { return fmt.Sprintf(w.Ahead, ahead) }

// Every says how often the page loads itself again.
func (w words) Every(seconds int) string { return fmt.Sprintf(w.Refresh, seconds) }

// List joins names.
func (w words) List(names []string) string { return strings.Join(names, ", ") }

// span is a duration in words.
func (w words) span(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d %s", int(d.Hours()/24), w.Units[4])
	case d == 24*time.Hour:
		return "1 " + w.Units[3]
	case d >= 2*time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%d %s", int(d.Hours()), w.Units[2])
	case d >= time.Minute:
		return fmt.Sprintf("%d %s", int(d.Minutes()), w.Units[1])
	}
	return fmt.Sprintf("%d %s", int(d.Seconds()), w.Units[0])
}

// Span is a duration in words.
func (w words) Span(d time.Duration) string { return w.span(d) }

// After puts a duration where German wants the dative.
func (w words) After(span string) string {
	if strings.HasSuffix(span, " Tage") {
		return span + "n"
	}
	return span
}

func (w words) stamp(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func englishWords() words {
	return words{
		Lang: "en", OtherLang: "de", OtherName: "Deutsch",
		Skip: "Skip to the content", Main: "Main", Start: "Start", Privacy: "Privacy", Status: "Status of this service", Statistics: "Statistics",
		FailTitle: "This did not work (%d)", Home: "To the start page",
		Failures: map[int]string{
			http.StatusBadRequest:            "This request can not be answered.",
			http.StatusForbidden:             "This is not allowed. If you pressed a button, open the page again, over HTTPS, and press it there.",
			http.StatusNotFound:              "There is no such page. The link of a test must be complete, and a test is deleted after the retention period of this service.",
			http.StatusMethodNotAllowed:      "This page can only be opened.",
			http.StatusRequestEntityTooLarge: "That was too much at once.",
			http.StatusUnsupportedMediaType:  "This is not what the form sends.",
			http.StatusTooManyRequests:       "Too many requests. Please wait a minute.",
			http.StatusMisdirectedRequest:    "The connection was made for another host. Please open the page again.",
			http.StatusServiceUnavailable:    "This does not work at the moment. Please try again later.",
			http.StatusInternalServerError:   "This does not work at the moment. Please try again later.",
		},
		FrontTitle: "Does your provider protect the mail you send?", PrivacyTitle: "Privacy", StatusTitle: "Status of this service", CompareTitle: "Two tests compared",
		StartButton:   "Start a test",
		TooManyStarts: "Many tests were started from your network within the last hour. Please wait a few minutes.",
		TooManyTests:  "Several tests from your network wait for their mail, or have just been made. Send the mail of one that waits, or one mail to the plain addresses of the start page, which need no turn; or try again later.",
		Busy:          "Very many people wait for their test at the moment. Please try again later.",

		Titles: map[live.State]string{
			live.Queued: "Your test waits for its turn", live.Waiting: "Send one mail to these two addresses", live.Expired: "This test has ended without a mail",
			live.Running: "Your test is running", live.Concluded: "Your test has a result", live.Acked: "Your test is finished", live.Closed: "Your test is finished",
		},
		Result: "Result", Refresh: "This page loads itself again every %d seconds.", Ahead: "Tests before yours: %d.", Turn: "Your turn comes at the latest at", GiveUp: "Give up this test",
		Write: "Write the mail", ToBoth: "The mail must go to both addresses at once. Subject and text do not matter.",
		ByLink: "Your mail program opens with both addresses filled in.", ByCode: "Or scan this with the phone from which you send mail.",
		CodeAlt: "QR code: a mail to both addresses", Until: "Time left: until", Again: "Start another test",
		Copy: "Copy", Copied: "Copied", In: "in {t}", Soon: "any moment now", Lost: "No live updates at the moment. The page keeps trying.", Newest: "Newest connection:",
		SoFar: "So far", Policy: "Result", SeeAll: "The whole report", SeeConnections: "Every connection", Print: "Print",
		Strip: "The seven test servers", Filled: "Contacted: %d of %d.", Never: "never", Server: "Server", Happening: "What happens now", Phase: "Phase", PhaseEnds: "Until", Order: "Order of the test servers", Rotates: "It changes at the earliest at",
		NextTry: "Next attempt", MissingTitle: "Still missing", SlowTitle: "Why it takes longer", Cause: "The service reports:", FoundTitle: "Noticed so far",
		ID: "Test", Sender: "Sender", None: "None yet. Each connection of your mail server appears here.", Omitted: "%d older ones are not listed.", Open: "still open", Times: "%d times",
		Details: "Technical details", UTC: "Times are UTC, the newest first.",
		Client: "Mail server", Greeting: "Greeting (EHLO)", SNI: "Wanted name (SNI)", TLS: "TLS", By: "Belongs to this test by", Number: "Number",
		Outcomes: map[live.Outcome]string{
			live.None: "not contacted yet", live.Contacted: "only contacted", live.Refused: "did not hand the mail over",
			live.Plaintext: "mail handed over unencrypted", live.Encrypted: "mail handed over encrypted", live.Mixed: "handed over, and also refused",
		},
		Briefs: map[live.Outcome]string{
			live.None: "not yet", live.Contacted: "only contacted", live.Refused: "not handed over",
			live.Plaintext: "unencrypted", live.Encrypted: "encrypted", live.Mixed: "handed over and refused",
		},
		Missing: "Evidence that would tell more",
		Keep:    "Keep and share", JSON: "The result as JSON", JSONNote: "with the whole history, addresses shortened.",
		Badge: "A badge for your website", BadgeNote: "Its address holds the link of this test: who sees the badge can open this page.", BadgeHTML: "HTML", BadgeMarkdown: "Markdown",
		BadgeAlt: "outbound TLS",
		Compare:  "Compare with an earlier test", CompareHint: "Paste the link of an earlier test of the same domain.", CompareLabel: "Link of the other test", CompareButton: "Compare",
		BadLink: "This is no link of a test. It looks like %s.", NoSuchTest: "There is no such test. It may have been deleted after the retention period.",
		Trends:  map[live.Trend]string{live.Same: "Unchanged", live.Better: "Better", live.Worse: "Worse", live.Other: "Different", live.Unknown: "Not comparable"},
		Earlier: "Earlier test", Later: "Later test", Begun: "Begun", Careful: "What this does not show", Changes: "What has changed", NoChanges: "Nothing that was seen.",
		BackToTest: "Back to the test",
		Units:      [5]string{"seconds", "minutes", "hours", "day", "days"},
	}
}
