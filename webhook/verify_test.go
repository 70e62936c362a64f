package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// verify reports whether a message came from the tlsink that has the secret.
func verify(secret string, header http.Header, body []byte, now time.Time) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	id, stamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return err
	}
	if now.Sub(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return errors.New("too old: somebody may have kept it")
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte(id + "." + stamp + "."))
	m.Write(body)
	for signature := range strings.FieldsSeq(header.Get("webhook-signature")) {
		given, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(signature, "v1,"))
		if err == nil && hmac.Equal(given, m.Sum(nil)) {
			return nil
		}
	}
	return errors.New("the signature is wrong")
}

// TestDocumentedVerification: the example in docs/webhook.md is the function that
// these tests use, which has nothing of the package.
func TestDocumentedVerification(t *testing.T) {
	doc, err := os.ReadFile("../docs/webhook.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("verify_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(doc), "```go\n")
	example, _, closed := strings.Cut(example, "```")
	if !ok || !closed || !strings.Contains(string(source), example) {
		t.Errorf("docs/webhook.md has not the function verify:\n%s", example)
	}
}

func TestVerifyRefuses(t *testing.T) {
	at := time.Unix(1614265330, 0)
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	good := func() http.Header {
		return http.Header{
			"Webhook-Id": {"msg_p5jXN8AQM9LWM0D4loKWxJek"}, "Webhook-Timestamp": {"1614265330"},
			"Webhook-Signature": {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		}
	}
	body := `{"test": 2432232314}`
	if err := verify(secret, good(), []byte(body), at); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(http.Header) (string, time.Time){
		"another body": func(http.Header) (string, time.Time) { return body + " ", at },
		"another id":   func(h http.Header) (string, time.Time) { h.Set("webhook-id", "msg_x"); return body, at },
		"another time": func(h http.Header) (string, time.Time) { h.Set("webhook-timestamp", "1614265331"); return body, at },
		"an old one":   func(http.Header) (string, time.Time) { return body, at.Add(time.Hour) },
		"no signature": func(h http.Header) (string, time.Time) { h.Del("webhook-signature"); return body, at },
		"another signature": func(h http.Header) (string, time.Time) {
			h.Set("webhook-signature", "v1,AAAA v2,AAAA")
			return body, at
		},
	} {
		h := good()
		text, now := change(h)
		if verify(secret, h, []byte(text), now) == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
