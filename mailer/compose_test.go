package mailer_test

import (
	"bytes"
	"io"
	"mime"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message"
	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/mailer"
)

func sample() mailer.Message {
	return mailer.Message{
		From: "tlsink <report@sink.example>", To: "a@sender.example", Subject: "Your test: dane – fine",
		Date: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC), MessageID: "<report.T1@sink.example>",
		InReplyTo: "<m1@sender.example>", References: []string{"<m0@sender.example>", "<m1@sender.example>"},
		Text: "Your provider uses DANE.\n.\nFrom here on: ü\n", HTML: "<p>Your provider uses <b>DANE</b>.</p>\n",
		Attachments: []mailer.Attachment{{Name: "report.json", Type: "application/json", Data: []byte(`{"policy":"dane"}`)}},
	}
}

func compose(tb testing.TB, m mailer.Message) []byte {
	tb.Helper()
	raw, err := mailer.Compose(m)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// part is one leaf of a message.
type part struct{ Type, Disposition, Body string }

func parts(tb testing.TB, raw []byte) (message.Header, []part) {
	tb.Helper()
	e, err := message.Read(bytes.NewReader(raw))
	if err != nil {
		tb.Fatal(err)
	}
	var out []part
	if err := e.Walk(func(_ []int, e *message.Entity, err error) error {
		if err != nil {
			return err
		}
		mediaType, _, err := e.Header.ContentType()
		if err != nil || strings.HasPrefix(mediaType, "multipart/") {
			return err
		}
		body, err := io.ReadAll(e.Body)
		out = append(out, part{mediaType, e.Header.Get("Content-Disposition"), string(body)})
		return err
	}); err != nil {
		tb.Fatal(err)
	}
	return e.Header, out
}

func TestCompose(t *testing.T) {
	h, got := parts(t, compose(t, sample()))
	want := []part{
		{"text/plain", "", "Your provider uses DANE.\r\n.\r\nFrom here on: ü\r\n"},
		{"text/html", "", "<p>Your provider uses <b>DANE</b>.</p>\r\n"},
		{"application/json", "attachment; filename=report.json", `{"policy":"dane"}`},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("parts: (-want +got)\n%s", d)
	}
	subject, err := h.Text("Subject")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ got, want string }{
		"From":                     {h.Get("From"), `"tlsink" <report@sink.example>`},
		"To":                       {h.Get("To"), "<a@sender.example>"},
		"Subject":                  {subject, "Your test: dane – fine"},
		"Date":                     {h.Get("Date"), "Sat, 21 Nov 2026 10:00:00 +0000"},
		"Message-ID":               {h.Get("Message-Id"), "<report.T1@sink.example>"},
		"In-Reply-To":              {h.Get("In-Reply-To"), "<m1@sender.example>"},
		"References":               {h.Get("References"), "<m0@sender.example> <m1@sender.example>"},
		"Auto-Submitted":           {h.Get("Auto-Submitted"), "auto-replied"},
		"X-Auto-Response-Suppress": {h.Get("X-Auto-Response-Suppress"), "All"},
		"MIME-Version":             {h.Get("Mime-Version"), "1.0"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", name, c.got, c.want)
		}
	}
	if a, b := compose(t, sample()), compose(t, sample()); !bytes.Equal(a, b) {
		t.Error("the same message is composed in two ways")
	}
}

func TestComposeShapes(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*mailer.Message)
		root   string
		parts  int
	}{
		"text only":       {func(m *mailer.Message) { m.HTML, m.Attachments = "", nil }, "multipart/alternative", 1},
		"text and HTML":   {func(m *mailer.Message) { m.Attachments = nil }, "multipart/alternative", 2},
		"with attachment": {func(*mailer.Message) {}, "multipart/mixed", 3},
	} {
		m := sample()
		c.change(&m)
		h, got := parts(t, compose(t, m))
		root, _, err := mime.ParseMediaType(h.Get("Content-Type"))
		if err != nil || root != c.root || len(got) != c.parts {
			t.Errorf("%s: %s with %d parts, want %s with %d (%v)", name, root, len(got), c.root, c.parts, err)
		}
	}
}

func TestComposeErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*mailer.Message)
		want   string
	}{
		"no From":             {func(m *mailer.Message) { m.From = "" }, "From"},
		"two recipients":      {func(m *mailer.Message) { m.To = "a@x.example, b@x.example" }, "not an address"},
		"line break in To":    {func(m *mailer.Message) { m.To = "a@x.example\r\nBcc: b@x.example" }, "not an address"},
		"NUL in To":           {func(m *mailer.Message) { m.To = "\"a\x00\"@x.example" }, "To"},
		"SMTPUTF8":            {func(m *mailer.Message) { m.To = "ä@x.example" }, "only ASCII"},
		"endless address":     {func(m *mailer.Message) { m.To = strings.Repeat("a", 300) + "@x.example" }, "too long"},
		"no Message-ID":       {func(m *mailer.Message) { m.MessageID = "" }, "Message-ID"},
		"broken Message-ID":   {func(m *mailer.Message) { m.MessageID = "<a@b>\r\nX: y" }, "Message-ID"},
		"attachment of parts": {func(m *mailer.Message) { m.Attachments[0].Type = "multipart/mixed" }, "not allowed"},
		"attachment type":     {func(m *mailer.Message) { m.Attachments[0].Type = "x\r\ny: z" }, "media type"},
	} {
		m := sample()
		c.change(&m)
		if _, err := mailer.Compose(m); err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%s: error %v, want one line with %q", name, err, c.want)
		}
	}
}

func TestComposeLeavesOutStrangeReferences(t *testing.T) {
	m := sample()
	m.InReplyTo = "<evil@x>\r\nBcc: b@x.example"
	m.References = []string{"no at sign", "<a b@x>", "", "<" + strings.Repeat("a", 300) + "@x>", "<good@x.example>", "<ü@x>"}
	h, _ := parts(t, compose(t, m))
	if h.Has("In-Reply-To") || h.Get("References") != "<good@x.example>" {
		t.Errorf("In-Reply-To %q, References %q", h.Get("In-Reply-To"), h.Get("References"))
	}
}

// fields are the only header fields that a composed message may have.
func fields() map[string]bool {
	out := map[string]bool{}
	for _, f := range []string{"Mime-Version", "From", "To", "Subject", "Date", "Message-Id", "In-Reply-To", "References", "Auto-Submitted", "X-Auto-Response-Suppress", "Content-Type"} {
		out[f] = true
	}
	return out
}

// Whatever strangers choose: no further header field, no further part, no
// long line, nothing but ASCII, and the text comes out as it went in.
func FuzzCompose(f *testing.F) {
	f.Add("a@sender.example", "subject", "<m@x>", "<r@x>", "text", "<p>html</p>", "report.json")
	f.Add("a@x\r\nBcc: b@x", "x\r\nBcc: b@x", "<m@x>\r\nBcc: b@x", "<r@x>\nBcc: b@x", "\r\n--=_x\r\nContent-Type: text/html\r\n\r\n", "\x00\xff", "a\r\nb: c")
	f.Add("\"a\\\r\n b\"@x", strings.Repeat("ü", 500), strings.Repeat("a", 240)+"@x", "\x7f@x", ".\r\n.\n\r", "", "\"; x=\"y")
	f.Add("=?utf-8?q?a=0Ab?= <a@x>", "=?utf-8?q?a=0Ab?=", "@", "a@b@c", "\u2028", "x", "=?utf-8?q?a=0Ab?=")
	f.Fuzz(func(t *testing.T, to, subject, replyTo, reference, text, html, file string) {
		m := sample()
		m.To, m.Subject, m.InReplyTo, m.References, m.Text, m.HTML = to, subject, replyTo, []string{reference}, text, html
		m.Attachments[0].Name = file
		m.Attachments[0].Data = []byte(text)
		raw, err := mailer.Compose(m)
		if err != nil {
			return
		}
		for _, line := range strings.SplitAfter(string(raw), "\n") {
			if len(line) > 1000 || line != "" && !strings.HasSuffix(line, "\r\n") || strings.Contains(strings.TrimSuffix(line, "\r\n"), "\r") {
				t.Fatalf("line %q", line)
			}
		}
		if i := bytes.IndexFunc(raw, func(r rune) bool { return r > 0x7e || r < ' ' && r != '\r' && r != '\n' && r != '\t' }); i >= 0 {
			t.Fatalf("octet %#x at %d", raw[i], i)
		}
		std, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		allowed := fields()
		for k, v := range std.Header {
			if !allowed[k] || len(v) != 1 {
				t.Fatalf("header field %q occurs %d times: %q", k, len(v), v)
			}
		}
		if list, err := std.Header.AddressList("To"); err != nil || len(list) != 1 {
			t.Fatalf("To %q: %v, %v", std.Header.Get("To"), list, err)
		}
		_, got := parts(t, raw)
		want := 3
		if html == "" {
			want = 2
		}
		if len(got) != want {
			t.Fatalf("%d parts, want %d", len(got), want)
		}
		norm := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.ToValidUTF8(text, "\uFFFD"))
		if strings.ReplaceAll(got[0].Body, "\r\n", "\n") != norm {
			t.Fatalf("text %q came out as %q", text, got[0].Body)
		}
		if got[want-1].Body != text {
			t.Fatalf("attachment %q came out as %q", text, got[want-1].Body)
		}
	})
}
