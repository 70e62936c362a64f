package mailer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-message"
	gomail "github.com/emersion/go-message/mail"
)

// The limits of a message.
const (
	maxSubject    = 250 // octets
	maxMessageID  = 250 // octets; longer ones are no good references
	maxReferences = 10  // the last ones
	maxFilename   = 100 // octets
	maxAddress    = 254 // octets (RFC 5321 §4.5.3.1.3)
)

// Message is a report to be composed.
type Message struct {
	From, To    string // each one address, with or without a display name
	Subject     string
	Date        time.Time
	MessageID   string   // with or without angle brackets
	InReplyTo   string   // what is no Message-ID is left out
	References  []string // what is no Message-ID is left out
	Text, HTML  string   // HTML may be empty
	Attachments []Attachment
}

// Attachment is a file that goes with a message.
type Attachment struct {
	Name string
	Type string // media type, e.g. "application/json"
	Data []byte
}

// Compose returns the message in the form of RFC 5322, with CRLF and lines of
// at most 998 octets, all of it ASCII. It fails if an address, the Message-ID
// or a media type is not valid; everything else is made harmless: no field can
// add a header field or a part.
func Compose(m Message) ([]byte, error) {
	var h gomail.Header
	if err := setHeader(&h, m); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	var err error
	if len(m.Attachments) == 0 {
		err = writeAlternative(m, func(alternative message.Header) (*message.Writer, error) {
			contentType, params, err := alternative.ContentType()
			if err != nil {
				return nil, err
			}
			h.SetContentType(contentType, params)
			return message.CreateWriter(&buf, h.Header)
		})
	} else {
		h.SetContentType("multipart/mixed", boundary(m, "mixed"))
		err = writeMixed(&buf, h, m)
	}
	if err != nil {
		return nil, fmt.Errorf("compose message: %w", err)
	}
	return buf.Bytes(), nil
}

// setHeader sets the fields. go-message writes the last one first.
func setHeader(h *gomail.Header, m Message) error {
	from, err := address("From", m.From)
	if err != nil {
		return err
	}
	to, err := address("To", m.To)
	if err != nil {
		return err
	}
	id, ok := cleanMessageID(m.MessageID)
	if !ok {
		return fmt.Errorf("compose message: Message-ID %q is not valid", clip(m.MessageID, maxMessageID))
	}
	// RFC 3834 §5: an automatic response says so. The second field keeps
	// Exchange from answering it.
	h.Set("X-Auto-Response-Suppress", "All")
	h.Set("Auto-Submitted", "auto-replied")
	var references []string
	for _, r := range m.References[max(0, len(m.References)-maxReferences):] {
		if r, ok := cleanMessageID(r); ok {
			references = append(references, r)
		}
	}
	h.SetMsgIDList("References", references)
	if r, ok := cleanMessageID(m.InReplyTo); ok {
		h.SetMsgIDList("In-Reply-To", []string{r})
	}
	h.SetMessageID(id)
	h.SetDate(m.Date)
	h.SetSubject(clip(oneLine(m.Subject), maxSubject))
	h.SetAddressList("To", []*gomail.Address{to})
	h.SetAddressList("From", []*gomail.Address{from})
	return nil
}

// address reads one address. Without SMTPUTF8 (RFC 6531) it must be ASCII.
func address(field, s string) (*gomail.Address, error) {
	bad := func(why string) error {
		return fmt.Errorf("compose message: %s %q: %s", field, clip(oneLine(s), maxAddress), why)
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return nil, bad("not an address")
	}
	if len(a.Address) > maxAddress {
		return nil, bad("too long")
	}
	for _, r := range a.Address {
		if r > unicode.MaxASCII {
			return nil, bad("only ASCII addresses are supported")
		}
		if unicode.IsControl(r) {
			return nil, bad("control character")
		}
	}
	return &gomail.Address{Name: clip(oneLine(a.Name), maxSubject), Address: a.Address}, nil
}

// cleanMessageID returns a Message-ID without angle brackets, if s is one that
// is safe to repeat (RFC 5322 §3.6.4, without comments and folding).
func cleanMessageID(s string) (string, bool) {
	s = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(s), "<"), ">")
	left, right, ok := strings.Cut(s, "@")
	if !ok || left == "" || right == "" || len(s) > maxMessageID {
		return "", false
	}
	for _, r := range s {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`<>()\",;`, r) {
			return "", false
		}
	}
	return s, true
}

// isAtext reports whether r may stand in an atom (RFC 5322 §3.2.3).
func isAtext(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

// oneLine turns control characters and line separators into spaces.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// clip returns s, or what fits into n octets of it with an ellipsis.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const ellipsis = "…"
	end := n - len(ellipsis)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// boundary returns a delimiter that no content can contain: it depends on all
// of it.
func boundary(m Message, level string) map[string]string {
	sum := sha256.New()
	for _, s := range []string{level, m.MessageID, m.Text, m.HTML} {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(s), s) // a hash never fails
	}
	for _, a := range m.Attachments {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(a.Data), a.Data)
	}
	return map[string]string{"boundary": "=_" + hex.EncodeToString(sum.Sum(nil)[:24])}
}

func writeMixed(w io.Writer, h gomail.Header, m Message) error {
	mixed, err := message.CreateWriter(w, h.Header)
	if err != nil {
		return err
	}
	if err := writeAlternative(m, mixed.CreatePart); err != nil {
		return err
	}
	for _, a := range m.Attachments {
		if err := writeAttachment(mixed, a); err != nil {
			return err
		}
	}
	return mixed.Close()
}

// writeAlternative writes the text, and the HTML as the better form of it
// (RFC 2046 §5.1.4).
func writeAlternative(m Message, create func(message.Header) (*message.Writer, error)) error {
	var h message.Header
	h.SetContentType("multipart/alternative", boundary(m, "alternative"))
	w, err := create(h)
	if err != nil {
		return err
	}
	if err := writeText(w, "text/plain", m.Text); err != nil {
		return err
	}
	if m.HTML != "" {
		if err := writeText(w, "text/html", m.HTML); err != nil {
			return err
		}
	}
	return w.Close()
}

func writeText(parent *message.Writer, mediaType, text string) error {
	var h message.Header
	h.Set("Content-Transfer-Encoding", "quoted-printable")
	h.SetContentType(mediaType, map[string]string{"charset": "utf-8"})
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\r\n", "\n")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r", "\n"), "\n", "\r\n")
	return writePart(parent, h, []byte(text))
}

func writeAttachment(parent *message.Writer, a Attachment) error {
	var h message.Header
	h.Set("Content-Transfer-Encoding", "base64")
	h.SetContentDisposition("attachment", map[string]string{"filename": clip(oneLine(a.Name), maxFilename)})
	h.Set("Content-Type", a.Type)
	mediaType, _, err := h.ContentType()
	switch {
	case err != nil:
		return fmt.Errorf("attachment %q: media type %q: %w", clip(oneLine(a.Name), maxFilename), a.Type, err)
	case !strings.Contains(mediaType, "/") || strings.HasPrefix(mediaType, "multipart/") || strings.HasPrefix(mediaType, "message/"):
		return fmt.Errorf("attachment %q: media type %q is not allowed", clip(oneLine(a.Name), maxFilename), a.Type)
	}
	h.SetContentType(mediaType, nil)
	return writePart(parent, h, a.Data)
}

func writePart(parent *message.Writer, h message.Header, body []byte) error {
	w, err := parent.CreatePart(h)
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	return w.Close()
}
