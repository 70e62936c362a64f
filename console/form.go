package console

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a form or the query of an address may hold.
const (
	maxBody   = 16 << 10
	maxQuery  = 4 << 10
	maxFields = 40
	maxField  = 2000
)

// readForm reads the query, and the body of a POST, into r.Form. It returns a
// status other than 0 if something is wrong with them.
func readForm(w http.ResponseWriter, r *http.Request) (status int, why string) {
	if len(r.URL.RawQuery) > maxQuery {
		return http.StatusRequestURITooLong, "The address is too long."
	}
	if r.Method != http.MethodPost {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
			return http.StatusBadRequest, "This request must not have a body."
		}
	} else {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
			return http.StatusUnsupportedMediaType, "This is no form."
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return http.StatusRequestEntityTooLarge, "The form is too large."
		}
		return http.StatusBadRequest, "The form can not be read."
	}
	return checkFields(r.Form)
}

func checkFields(form url.Values) (status int, why string) {
	n := 0
	for name, values := range form {
		n += len(values)
		for _, v := range values {
			if !utf8.ValidString(v) || strings.ContainsFunc(v, unicode.IsControl) || !utf8.ValidString(name) {
				return http.StatusBadRequest, "A field has characters that are not allowed."
			}
			if len(v) > maxField {
				return http.StatusBadRequest, fmt.Sprintf("A field is longer than %d octets.", maxField)
			}
		}
	}
	if n > maxFields {
		return http.StatusBadRequest, "There are too many fields."
	}
	return 0, ""
}
