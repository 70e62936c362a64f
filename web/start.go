package web

import (
	"errors"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// maxForm is how long a form may be, in octets.
const maxForm = 4 << 10

// form reads the form of a request; false if it was refused.
func (s *Server) form(w http.ResponseWriter, r *http.Request) bool {
	if header := r.Header.Get("Content-Type"); header != "" || r.ContentLength != 0 {
		if kind, _, err := mime.ParseMediaType(header); err != nil || kind != "application/x-www-form-urlencoded" {
			s.fail(w, r, http.StatusUnsupportedMediaType)
			return false
		}
	}
	err := r.ParseForm()
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		s.fail(w, r, http.StatusRequestEntityTooLarge)
		return false
	}
	if err != nil {
		s.fail(w, r, http.StatusBadRequest)
	}
	return err == nil
}

// start leases a slot, or a place in the queue for one.
func (s *Server) start(w http.ResponseWriter, r *http.Request) {
	if s.o.Leases == nil {
		s.fail(w, r, http.StatusNotFound)
		return
	}
	if !s.form(w, r) {
		return
	}
	l := languageOf(r)
	if name := r.PostForm.Get("language"); name != "" {
		var ok bool
		if l, ok = known(name); !ok {
			s.fail(w, r, http.StatusBadRequest)
			return
		}
	}
	if !s.starts.allow(clientOf(r.RemoteAddr), 1, s.o.Now()) {
		s.busy(w, r, http.StatusTooManyRequests, time.Hour/time.Duration(s.o.Limits.StartsPerHour), wordsOf(l).TooManyStarts)
		return
	}
	// The zero address stands for clients without one.
	ap, _ := netip.ParseAddrPort(r.RemoteAddr)
	capability, err := s.o.Leases.Start(r.Context(), ap.Addr().Unmap(), string(l))
	switch {
	case errors.Is(err, ErrTooMany):
		s.busy(w, r, http.StatusTooManyRequests, 10*time.Minute, wordsOf(l).TooManyTests)
	case errors.Is(err, ErrBusy):
		s.busy(w, r, http.StatusServiceUnavailable, 10*time.Minute, wordsOf(l).Busy)
	case err != nil:
		s.log(w).Error("start a test", "err", err)
		s.fail(w, r, http.StatusServiceUnavailable)
	default:
		see(w, testAddress(capability))
	}
}

func (s *Server) busy(w http.ResponseWriter, r *http.Request, status int, again time.Duration, text string) {
	w.Header().Set("Retry-After", strconv.Itoa(int(again.Seconds())))
	s.failWith(w, r, status, text)
}

// cancel gives up a test that no mail has come for.
func (s *Server) cancel(w http.ResponseWriter, r *http.Request) {
	capability, ok := s.capability(w, r)
	if !ok || !s.form(w, r) {
		return
	}
	if s.o.Leases == nil {
		s.unknown(w, r)
		return
	}
	err := s.o.Leases.Cancel(r.Context(), capability)
	if err != nil && !errors.Is(err, ErrNothing) {
		s.log(w).Error("give up a test", "err", scrub(r, err.Error()))
		s.fail(w, r, http.StatusServiceUnavailable)
		return
	}
	// If there was nothing to give up, the page of the test says why.
	see(w, testAddress(capability))
}

// see sends the browser to another page after a form (RFC 9110 §15.4.4).
func see(w http.ResponseWriter, address string) {
	w.Header().Set("Location", address)
	w.WriteHeader(http.StatusSeeOther)
}

// testAddress is that of the page of a test.
func testAddress(capability string) string { return "/t/" + capability }
