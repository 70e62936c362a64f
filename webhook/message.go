package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Event is a test that is over.
type Event struct {
	Test     string
	State    string // acked, closed, or expired: no mail came
	Sender   string // redacted
	Started  time.Time
	Ended    time.Time
	Attempts int
	Verdict  *Verdict // nil without one
	Link     string   // to the result; a secret that only the test's own URL is told
}

// Verdict is what was found.
type Verdict struct {
	Policy     string   `json:"policy"`
	Conclusive bool     `json:"conclusive"`
	Candidates []string `json:"candidates,omitempty"`
	Protected  bool     `json:"protected"`
	Level      string   `json:"level"`
	Grade      string   `json:"grade"`
	Summary    string   `json:"summary"`
}

// TypeCompleted is the type of the message.
const TypeCompleted = "test.completed"

// message is the body of a request.
type message struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // of the event
	Data      data      `json:"data"`
}

type data struct {
	Service  string    `json:"service"`
	Test     string    `json:"test"`
	State    string    `json:"state"`
	Sender   string    `json:"sender,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Attempts int       `json:"attempts"`
	Verdict  *Verdict  `json:"verdict,omitempty"`
	Link     string    `json:"link,omitempty"`
}

// body returns the message about e; the link stands in it only if own, which
// says that it goes to the URL that the test was started with.
func (s *Sender) body(e Event, own bool) ([]byte, error) {
	if !own {
		e.Link = ""
	}
	if len(e.Link) > maxLink {
		return nil, fmt.Errorf("link of test %s: longer than %d octets", e.Test, maxLink)
	}
	if e.Verdict != nil {
		v := *e.Verdict
		v.Summary, v.Grade = cut(v.Summary, maxText), cut(v.Grade, maxText)
		e.Verdict = &v
	}
	b, err := json.Marshal(message{
		Type: TypeCompleted, Timestamp: e.Ended.UTC(),
		Data: data{s.o.Service, e.Test, e.State, cut(e.Sender, maxText), e.Started.UTC(), e.Attempts, e.Verdict, e.Link},
	})
	if err != nil {
		return nil, fmt.Errorf("encode message about test %s: %w", e.Test, err)
	}
	if len(b) > maxBody {
		return nil, fmt.Errorf("message about test %s: %d octets, at most %d are sent", e.Test, len(b), maxBody)
	}
	return b, nil
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// identifier is the same for the same test and URL: completed twice, e.g. over
// a crash, it is one event.
func identifier(test, url string) string {
	sum := sha256.Sum256([]byte(test + "\n" + url))
	return "msg_" + hex.EncodeToString(sum[:12])
}

// secretPrefix marks a secret of Standard Webhooks.
const secretPrefix = "whsec_"

// newSecret makes the key of a test's own signatures.
func newSecret(r io.Reader) (string, error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", fmt.Errorf("make a secret: %w", err)
	}
	return secretPrefix + base64.StdEncoding.EncodeToString(b), nil
}

// Key reads a secret: "whsec_" and base64 of 24 to 64 octets, as all libraries
// for Standard Webhooks take it.
func Key(secret string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New(`a webhook's secret is "whsec_" and base64 of 24 to 64 octets: make one with: echo "whsec_$(openssl rand -base64 32)"`)
	}
	return key, nil
}

// sign returns the signature of a message.
func sign(key []byte, id string, at time.Time, body []byte) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	m.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
}
