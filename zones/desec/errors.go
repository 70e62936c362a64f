package desec

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// maxDetail is how much of an answer goes into an error message.
const maxDetail = 500

// Error is a refusal by deSEC: the zone is as it was.
type Error struct {
	Status int // of HTTP
	Detail string
	Hint   string
}

func (e *Error) Error() string {
	msg := fmt.Sprintf("deSEC answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Detail != "" {
		msg += ": " + e.Detail
	}
	if e.Hint != "" {
		msg += " (" + e.Hint + ")"
	}
	return msg
}

// failure turns an answer into an error that says what to do.
func failure(status int, body []byte, in []rrset) error {
	e := &Error{Status: status, Detail: detail(body, in)}
	switch status {
	case http.StatusUnauthorized:
		e.Hint = "check dns.desec.token_file: the token is wrong, expired or deleted"
	case http.StatusForbidden:
		e.Hint = "the token may not do this: its policies must allow writing RRsets of the domain, from this address"
	case http.StatusNotFound:
		e.Hint = "check dns.zone: the account has no such domain"
	case http.StatusBadRequest:
		if strings.Contains(e.Detail, "ttl: ") {
			e.Hint = "deSEC stores no smaller TTL for this domain: ask its support for a lower minimum TTL, or use another provider"
		}
	}
	if status >= 500 {
		e.Hint = "deSEC has a problem; its status page is https://desec.io"
	}
	return e
}

// detail reads the explanation of an error: an object, or for bulk requests a list
// that has an object, which may be empty, for each part.
func detail(body []byte, in []rrset) string {
	var list []map[string]any
	var parts []string
	if json.Unmarshal(body, &list) == nil {
		for i, fields := range list {
			if len(fields) == 0 {
				continue
			}
			part := flatten(fields)
			if i < len(in) {
				part = in[i].String() + ": " + part
			}
			parts = append(parts, part)
		}
		return shorten(strings.Join(parts, "; "))
	}
	var fields map[string]any
	if json.Unmarshal(body, &fields) == nil {
		return shorten(flatten(fields))
	}
	return shorten(fmt.Sprintf("%q", body[:min(len(body), maxDetail)]))
}

func flatten(fields map[string]any) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		text := strings.Trim(fmt.Sprint(fields[key]), "[]")
		if key != "detail" && key != "non_field_errors" {
			text = key + ": " + text
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// shorten keeps a message on one line, and short.
func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "") + "…"
	}
	return s
}
