package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/tlsink/tlsink/live"
)

// maxLink is how long a pasted link may be, in octets.
const maxLink = 500

// comparePage is what the template of a comparison sees.
type comparePage struct {
	W     words
	Link  string           // address of the page of the test
	With  string           // what was pasted, if it is wrong
	Wrong string           // why it is
	Found *live.Comparison // nil: not yet
}

// compare shows what changed between two tests of a domain. Whoever asks has
// the links of both.
func (s *Server) compare(w http.ResponseWriter, r *http.Request) {
	capability, ok := s.capability(w, r)
	if !ok {
		return
	}
	in, ok, err := s.o.Source.Result(r.Context(), capability)
	if !s.found(w, r, ok, err) {
		return
	}
	l, ok := known(r.URL.Query().Get("l"))
	if !ok {
		l, _ = known(string(in.Language))
	}
	around := wordsOf(l)
	c := comparePage{W: around, Link: testAddress(capability)}
	status, pasted := http.StatusOK, r.URL.Query().Get("with")
	other, ok := s.pasted(pasted)
	if !ok || other == capability {
		c.With, c.Wrong, status = pasted[:min(len(pasted), maxLink)], around.Wrong("https://"+s.o.Zone+"/t/…"), http.StatusBadRequest
	} else {
		before, ok, err := s.o.Source.Result(r.Context(), other)
		switch {
		case err != nil:
			s.found(w, r, false, err)
			return
		case !ok:
			s.rate.charge(clientOf(r.RemoteAddr), guessCost, s.o.Now())
			c.With, c.Wrong, status = pasted, around.NoSuchTest, http.StatusNotFound
		default:
			found := live.Compare(before, in, l)
			c.Found = &found
		}
	}
	p := page{Title: around.CompareTitle, Words: around, Compare: &c}
	p.Other = link{(&url.URL{Path: r.URL.Path, RawQuery: url.Values{"with": {pasted}, "l": {around.OtherLang}}.Encode()}).String(), around.OtherName, around.OtherLang}
	s.write(w, status, p)
}

// pasted returns the capability in a link of ours, or that stands alone.
func (s *Server) pasted(text string) (capability string, ok bool) {
	text = strings.TrimSpace(text)
	if len(text) > maxLink {
		return "", false
	}
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		if t, ours := s.target(u.Hostname()); !ours || t.Slot != 0 || u.Scheme != "https" && u.Scheme != "http" {
			return "", false
		}
		text = u.Path
	}
	text = strings.TrimPrefix(text, "/t/")
	text, _, _ = strings.Cut(text, "/")
	text, _, _ = strings.Cut(text, ".")
	text, _, _ = strings.Cut(text, "?")
	return text, capabilityPattern.MatchString(text)
}

// badge draws the result as a picture for other sites.
func (s *Server) badge(w http.ResponseWriter, r *http.Request) {
	capability, ok := s.capability(w, r)
	if !ok {
		return
	}
	if s.o.Live == nil {
		s.unknown(w, r)
		return
	}
	l, _ := known(r.URL.Query().Get("l"))
	st, ok, err := s.o.Live.Status(r.Context(), capability, l)
	if !s.found(w, r, ok, err) {
		return
	}
	h := w.Header()
	h.Set("Content-Type", "image/svg+xml")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	_, _ = w.Write(live.Badge(st, wordsOf(l).language())) // a client that left needs no answer
}
