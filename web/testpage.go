package web

import (
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/tlsink/tlsink/report"
)

// capabilityPattern says what may be looked up: at least 128 bits in base32 or
// base64url. Others need not be, as they never were given out.
var capabilityPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{22,64}$`)

// A testPage is what the layout shows of a test.
type testPage struct {
	*rendering
	Link string // address of the page
	Now  time.Time
}

// capability returns the one in the path; false if it can be none, which was
// answered.
func (s *Server) capability(w http.ResponseWriter, r *http.Request) (string, bool) {
	w.Header().Set("X-Robots-Tag", "noindex, nofollow")
	capability := r.PathValue("capability")
	if !capabilityPattern.MatchString(capability) {
		s.unknown(w, r)
		return "", false
	}
	return capability, true
}

// unknown answers a link that nobody was given. It makes guessing slow; the
// answer is always the same.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	s.rate.charge(clientOf(r.RemoteAddr), guessCost, s.o.Now())
	s.fail(w, r, http.StatusNotFound)
}

// test shows a test to whoever has its capability.
func (s *Server) test(w http.ResponseWriter, r *http.Request) {
	capability, asJSON := strings.CutSuffix(r.PathValue("capability"), ".json")
	r.SetPathValue("capability", capability)
	if _, ok := s.capability(w, r); !ok {
		return
	}
	if asJSON {
		s.testJSON(w, r, capability)
		return
	}
	l, _ := known(r.URL.Query().Get("l"))
	rendering, ok, err := s.rendered(r.Context(), roomKey{capability, l})
	if !s.found(w, r, ok, err) {
		return
	}
	around := wordsOf(rendering.language)
	p := page{Title: rendering.title, Words: around, Other: otherOf(r, around), Test: &testPage{rendering, testAddress(capability), s.o.Now()}}
	if !rendering.final {
		p.Refresh = s.o.Limits.RefreshInSeconds
		if s.o.Live != nil {
			p.Version = rendering.version
			p.Events = testAddress(capability) + "/events?l=" + string(rendering.language) + "&v=" + rendering.version
		}
	}
	s.write(w, http.StatusOK, p)
}

// found answers where there is no test or an error, and reports whether there
// was one.
func (s *Server) found(w http.ResponseWriter, r *http.Request, ok bool, err error) bool {
	switch {
	case err != nil:
		s.log(w).Error("look up a test", "err", scrub(r, err.Error()))
		s.fail(w, r, http.StatusServiceUnavailable)
	case !ok:
		s.unknown(w, r)
	}
	return ok && err == nil
}

func (s *Server) testJSON(w http.ResponseWriter, r *http.Request, capability string) {
	in, ok, err := s.o.Source.Result(r.Context(), capability)
	if !s.found(w, r, ok, err) {
		return
	}
	b, err := report.JSON(in)
	if err != nil {
		s.log(w).Error("render a result", "err", scrub(r, err.Error()))
		s.fail(w, r, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // a client that left needs no answer
}
