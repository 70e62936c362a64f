package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tlsink/tlsink/report"
)

// languageOf returns the language that the client likes best of those we have
// (RFC 9110 §12.5.4).
func languageOf(r *http.Request) report.Language {
	const most = 20 // tags that are looked at
	best, weight := report.English, 0.0
	for i, tag := range strings.Split(r.Header.Get("Accept-Language"), ",") {
		if i == most {
			break
		}
		name, params, _ := strings.Cut(tag, ";")
		primary, _, _ := strings.Cut(strings.TrimSpace(name), "-")
		l, ok := known(strings.ToLower(primary))
		if !ok {
			continue
		}
		q := 1.0
		if text, found := strings.CutPrefix(strings.TrimSpace(params), "q="); found {
			if v, err := strconv.ParseFloat(text, 64); err == nil {
				q = v
			}
		}
		if q > weight {
			best, weight = l, q
		}
	}
	return best
}

// chosen returns the language that the address names, or else that of the client.
func chosen(r *http.Request) report.Language {
	if l, ok := known(r.URL.Query().Get("l")); ok {
		return l
	}
	return languageOf(r)
}

func known(name string) (report.Language, bool) {
	l := report.Language(name)
	return l, l == report.English || l == report.German
}

// otherOf links to the same page in the other language.
func otherOf(r *http.Request, w words) link {
	return link{(&url.URL{Path: r.URL.Path, RawQuery: "l=" + w.OtherLang}).String(), w.OtherName, w.OtherLang}
}
