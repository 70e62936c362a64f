package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"strings"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

// order is what a test is started with.
type order struct {
	language report.Language
	webhook  string
}

// started is the answer to it.
type started struct {
	Capability string       `json:"capability"`
	Link       string       `json:"link"`
	Webhook    *webhook     `json:"webhook,omitempty"`
	Status     *live.Status `json:"status"`
}

type webhook struct {
	URL    string `json:"url"`
	Secret string `json:"secret"`
}

// start makes a test.
func (s *server) start(w http.ResponseWriter, r *http.Request) error {
	if err := known(r); err != nil {
		return err
	}
	o, err := s.readOrder(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.o.Limits.Answer)
	defer cancel()
	capab, err := s.o.Leases.Start(ctx, addressOf(r), string(o.language))
	switch {
	case errors.Is(err, ErrTooMany):
		p := newProblem(idTooMany, "Your network has too many tests", http.StatusTooManyRequests)
		p.Hint, p.retry = "Wait until one has ended and its slot has rested, or mail to the plain addresses of the service. DELETE gives up one that waits.", 60
		return p
	case errors.Is(err, ErrBusy):
		return busy("The queue for a test is full.")
	case err != nil:
		return fmt.Errorf("start a test: %w", err)
	}
	out, err := s.begun(ctx, capab, o)
	if err != nil {
		// Without this it would hold its place until its time is up. ctx may be
		// what failed.
		undo, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), s.o.Limits.Answer)
		defer cancel()
		return errors.Join(err, s.o.Leases.Cancel(undo, capab))
	}
	w.Header().Set("Location", prefix+"/tests/"+capab)
	return writeJSON(w, http.StatusCreated, out)
}

// begun completes a test that has just been made.
func (s *server) begun(ctx context.Context, capab string, o order) (*started, error) {
	st, ok, err := s.o.Live.Status(ctx, capab, o.language)
	if err == nil && !ok {
		err = errors.New("it is gone")
	}
	if err != nil {
		return nil, fmt.Errorf("status of a test that was just started: %w", err)
	}
	out := &started{Capability: capab, Link: s.o.Link(capab), Status: st}
	if o.webhook == "" {
		return out, nil
	}
	secret, err := s.o.Webhooks.Register(ctx, st.Test, o.webhook)
	if err != nil {
		return nil, fmt.Errorf("register the webhook of test %s: %w", st.Test, err)
	}
	out.Webhook = &webhook{o.webhook, secret}
	return out, nil
}

// addressOf returns who asks; the zero address if that is not known.
func addressOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// readOrder reads the body: an object with known members only.
func (s *server) readOrder(w http.ResponseWriter, r *http.Request) (order, error) {
	o := order{language: report.English}
	// A form of another web site cannot have this type.
	if t, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" || !isUTF8(params["charset"]) {
		p := newProblem(idMedia, "This kind of content is not taken", http.StatusUnsupportedMediaType)
		p.Field, p.Value = "Content-Type", shorten(r.Header.Get("Content-Type"))
		p.Hint = `Send JSON with "Content-Type: application/json"; {} if there is nothing to say.`
		return o, p
	}
	members, err := readObject(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return o, err
	}
	for name, raw := range members {
		var text string
		if name != "language" && name != "webhook" {
			return o, invalid(shorten(name), "", "There is no such member.", "There are: language, webhook.")
		}
		if err := json.Unmarshal(raw, &text); err != nil || bytes.Equal(raw, []byte("null")) {
			return o, invalid(name, string(raw), "This is no string.", "Give a string, or leave it out.")
		}
		if name == "language" {
			if o.language = report.Language(text); o.language != report.English && o.language != report.German {
				return o, invalid(name, text, "This language is not known.", "Use en or de.")
			}
			continue
		}
		if err := s.checkWebhook(text); err != nil {
			return o, err
		}
		o.webhook = text
	}
	return o, nil
}

func (s *server) checkWebhook(url string) error {
	if s.o.Webhooks == nil {
		return invalid("webhook", url, "This service calls no webhooks of tests.", "Leave it out, and poll or stream.")
	}
	if err := s.o.Webhooks.Check(url); err != nil {
		return invalid("webhook", url, err.Error(), "Ask the operator which hosts are allowed, or leave it out.")
	}
	return nil
}

func isUTF8(charset string) bool { return charset == "" || strings.EqualFold(charset, "utf-8") }

// readObject reads one JSON object and nothing else. A member that is there
// twice is refused, since readers differ in which one counts.
func readObject(body io.Reader) (map[string]json.RawMessage, error) {
	text, err := io.ReadAll(body)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		p := newProblem(idTooLarge, "The body is too large", http.StatusRequestEntityTooLarge)
		p.Detail, p.Hint = fmt.Sprintf("At most %d octets are read.", maxBody), bodyHint
		return nil, p
	}
	if err != nil {
		return nil, malformed("The body did not come to its end.")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, malformed("The body is no JSON object.")
	}
	members := make(map[string]json.RawMessage)
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		var raw json.RawMessage
		if err == nil && ok {
			err = dec.Decode(&raw)
		}
		if err != nil || !ok {
			return nil, malformed("The body is no valid JSON.")
		}
		if _, twice := members[name]; twice {
			return nil, invalid(shorten(name), "", "This member is there twice.", "Name it once.")
		}
		members[name] = raw
	}
	if _, err := dec.Token(); err != nil {
		return nil, malformed("The body is no valid JSON.")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("Something follows the JSON object.")
	}
	return members, nil
}

// cancel gives up a test that no mail has come to.
func (s *server) cancel(w http.ResponseWriter, r *http.Request) error {
	if err := known(r); err != nil {
		return err
	}
	capab, st, err := s.look(r, report.English)
	if err != nil {
		return err
	}
	ctx, done := context.WithTimeout(r.Context(), s.o.Limits.Answer)
	defer done()
	switch st.State {
	case live.Expired:
	case live.Queued, live.Waiting:
		err = s.o.Leases.Cancel(ctx, capab)
	default:
		err = ErrStarted
	}
	if errors.Is(err, ErrStarted) {
		p := newProblem(idStarted, "This test has begun", http.StatusConflict)
		p.Detail = "A mail has come, or one is on its way. What was recorded is deleted after the time that the privacy page names, or by the operator on request."
		return p
	}
	if err != nil {
		return fmt.Errorf("give up test %s: %w", st.Test, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
