package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

// found returns what was found in the test of the request.
func (s *server) found(r *http.Request) (report.Input, error) {
	capab, _, err := s.look(r, report.English)
	if err != nil {
		return report.Input{}, err
	}
	return s.result(r, capab)
}

func (s *server) result(r *http.Request, capab string) (report.Input, error) {
	ctx, cancel := context.WithTimeout(r.Context(), s.o.Limits.Answer)
	defer cancel()
	in, ok, err := s.o.Results.Result(ctx, capab)
	switch {
	case err != nil:
		return report.Input{}, fmt.Errorf("result of a test: %w", err)
	case !ok:
		p := newProblem(idNoMail, "No mail has come yet", http.StatusConflict)
		p.Detail = "There is nothing to report before the first mail of the test has come."
		p.Hint = "Follow the test, and ask again when its state is running."
		return report.Input{}, p
	}
	return in, nil
}

// weigh lets a few at a time do what costs memory.
func (s *server) weigh(r *http.Request, do func() error) error {
	ctx, cancel := context.WithTimeout(r.Context(), s.o.Limits.Answer)
	defer cancel()
	select {
	case s.heavy <- struct{}{}:
	case <-ctx.Done():
		return busy("Many reports are being fetched.")
	}
	defer func() { <-s.heavy }()
	return do()
}

// report answers with the report as JSON.
func (s *server) report(w http.ResponseWriter, r *http.Request) error {
	if err := known(r); err != nil {
		return err
	}
	return s.weigh(r, func() error {
		in, err := s.found(r)
		if err != nil {
			return err
		}
		b, err := report.JSON(in)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b) // a client that left needs no answer
		return nil
	})
}

// history answers with the redacted evidence.
func (s *server) history(w http.ResponseWriter, r *http.Request) error {
	if err := known(r); err != nil {
		return err
	}
	return s.weigh(r, func() error {
		in, err := s.found(r)
		if err != nil {
			return err
		}
		b, omitted, err := report.History(in)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/jsonl")
		w.Header().Set("Records-Omitted", strconv.Itoa(omitted))
		_, _ = w.Write(b) // a client that left needs no answer
		return nil
	})
}

// badge draws the verdict.
func (s *server) badge(w http.ResponseWriter, r *http.Request) error {
	if err := known(r, "language"); err != nil {
		return err
	}
	l, err := language(r)
	if err != nil {
		return err
	}
	_, st, err := s.look(r, l)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.Header().Set("Cache-Control", "no-cache, private")
	_, _ = w.Write(live.Badge(st, report.Language(st.Language))) // a client that left needs no answer
	return nil
}

// compare tells what changed between two tests, whichever is named first.
func (s *server) compare(w http.ResponseWriter, r *http.Request) error {
	if err := known(r, "language"); err != nil {
		return err
	}
	l, err := language(r)
	if err != nil {
		return err
	}
	return s.weigh(r, func() error {
		one, err := s.found(r)
		if err != nil {
			return err
		}
		second := r.Clone(r.Context())
		second.SetPathValue("capability", r.PathValue("other"))
		other, err := s.found(second)
		if err != nil {
			return err
		}
		if one.Test.ID == other.Test.ID {
			return invalid("other", "", "Both are the same test.", "Name two tests.")
		}
		return writeJSON(w, http.StatusOK, live.Compare(one, other, l))
	})
}
