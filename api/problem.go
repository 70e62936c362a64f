package api

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// problem is an error as clients get it (RFC 9457).
type problem struct {
	Type   string `json:"type"` // the id below, as a reference into the description
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Field  string `json:"field,omitempty"` // what was wrong
	Value  string `json:"value,omitempty"` // and what it was, shortened
	Hint   string `json:"hint,omitempty"`  // what to do

	retry int    // Retry-After, in seconds
	allow string // Allow
}

// The ids of problems. They stand in openapi.yaml, too.
const (
	idNotFound  = "not-found"
	idNoRoute   = "no-such-resource"
	idMethod    = "method-not-allowed"
	idOrigin    = "cross-origin"
	idMedia     = "media-type"
	idTooLarge  = "too-large"
	idMalformed = "malformed"
	idInvalid   = "invalid-value"
	idNoMail    = "no-mail-yet"
	idStarted   = "already-started"
	idTooMany   = "too-many-tests"
	idBusy      = "busy"
	idInternal  = "internal"
)

const typeBase = prefix + "/openapi.yaml#"

func newProblem(id, title string, status int) problem {
	return problem{Type: typeBase + id, Title: title, Status: status}
}

// notFound is the same for every capability, whatever is asked for.
func notFound() problem {
	p := newProblem(idNotFound, "There is no such test", http.StatusNotFound)
	p.Hint = "Check the link. Tests are deleted after a while; the privacy page of this service says when."
	return p
}

func internal() problem {
	p := newProblem(idInternal, "This service failed", http.StatusInternalServerError)
	p.Hint = "Try again later. The operator finds the reason in the log."
	return p
}

func busy(detail string) problem {
	p := newProblem(idBusy, "This service is busy", http.StatusServiceUnavailable)
	p.Detail, p.Hint, p.retry = detail, "Try again after the time that Retry-After names.", 60
	return p
}

// invalid names a field whose value is wrong.
func invalid(field, value, detail, hint string) problem {
	p := newProblem(idInvalid, "A value is not valid", http.StatusUnprocessableEntity)
	p.Field, p.Value, p.Detail, p.Hint = field, shorten(value), detail, hint
	return p
}

// bodyHint says what a body looks like.
const bodyHint = `Send one JSON object, e.g. {"language": "en"}.`

func malformed(detail string) problem {
	p := newProblem(idMalformed, "The request cannot be read", http.StatusBadRequest)
	p.Detail, p.Hint = detail, bodyHint
	return p
}

// shorten makes a value of a stranger fit to be repeated.
func shorten(s string) string {
	const most = 100
	r := []rune(s)
	if len(r) > most {
		return string(r[:most]) + "…"
	}
	return string(r)
}

func (p problem) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retry))
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	w.WriteHeader(p.Status)
	// A client that left needs no answer.
	_ = json.NewEncoder(w).Encode(p)
}
