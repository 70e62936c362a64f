//go:build linux

package lab_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-msgauth/dkim"
)

// checkReport reads a mail from a mailbox as its owner would get it.
func checkReport(ctx context.Context, t *testing.T, file string, s *sender, test listed) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Logf("%s:\n%s", file, raw)
		}
	}()
	// A Maildir has LF; what was signed had CRLF.
	raw = bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
	checkSignature(ctx, t, raw)

	r, err := mail.CreateReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	h := r.Header
	for field, want := range map[string]string{
		"Return-Path": "<>", "Auto-Submitted": "auto-replied", "In-Reply-To": "<" + s.messageID() + ">",
	} {
		if got := h.Get(field); got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	if got := h.Get("Delivered-To") + h.Get("Envelope-To"); got != s.address() {
		t.Errorf("delivered to %q, want %q", got, s.address())
	}
	for field, want := range map[string]string{"From": "report@" + zone, "To": s.address()} {
		list, err := h.AddressList(field)
		if err != nil || len(list) != 1 || list[0].Address != want {
			t.Errorf("%s: %v (%v), want %s", field, list, err, want)
		}
	}
	// The mailbox offers STARTTLS, so the report must have used it.
	if got := h.Get("Received"); !strings.Contains(strings.ToLower(got), "with esmtps ") || !strings.Contains(got, sinkAddr) {
		t.Errorf("Received: %q, want ESMTPS from %s", got, sinkAddr)
	}
	text, attachments := split(t, r)
	for _, want := range []string{"Result: " + test.Policy + " ", test.ID} {
		if !strings.Contains(text, want) {
			t.Errorf("the text does not contain %q:\n%s", want, text)
		}
	}
	if len(attachments) != 1 || attachments[0] != "tlsink-"+test.ID+".json" {
		t.Errorf("attachments %q", attachments)
	}
}

// checkSignature verifies DKIM with the key in the sink's zone (RFC 6376).
func checkSignature(ctx context.Context, t *testing.T, raw []byte) {
	t.Helper()
	found, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) { return lookupTXT(ctx, name) },
	})
	if err != nil || len(found) != 1 {
		t.Errorf("%d DKIM signatures, want one (%v)", len(found), err)
	}
	for _, v := range found {
		if v.Err != nil || v.Domain != zone {
			t.Errorf("DKIM signature of %s: %v", v.Domain, v.Err)
		}
	}
}

// split returns the plain text and the names of the attachments.
func split(t *testing.T, r *mail.Reader) (text string, attachments []string) {
	t.Helper()
	for {
		part, err := r.NextPart()
		if err == io.EOF { //nolint:errorlint // as documented
			return text, attachments
		}
		if err != nil {
			t.Fatal(err)
		}
		switch h := part.Header.(type) {
		case *mail.AttachmentHeader:
			name, err := h.Filename()
			if err != nil {
				t.Error(err)
			}
			attachments = append(attachments, name)
		case *mail.InlineHeader:
			if kind, _, _ := h.ContentType(); kind == "text/plain" {
				b, err := io.ReadAll(part.Body)
				if err != nil {
					t.Fatal(err)
				}
				text = strings.ReplaceAll(string(b), "\r\n", "\n")
			}
		}
	}
}
