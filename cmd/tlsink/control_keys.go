package main

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/tlsink/tlsink/zones"
)

// keyRoutes are the part of the control socket that is about keys.
func (s *service) keyRoutes(handle func(pattern string, f handler)) {
	handle("GET /keys", func(w io.Writer, _ *http.Request) error { return json.NewEncoder(w).Encode(s.certs.Status()) })
	handle("POST /keys/rolls", func(w io.Writer, r *http.Request) error {
		hosts, err := s.certs.Roll(r.Context(), r.URL.Query()["host"]...)
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(hosts)
	})
	handle("DELETE /keys/rolls", func(w io.Writer, r *http.Request) error {
		hosts, err := s.certs.CancelRoll(r.URL.Query()["host"]...)
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(hosts)
	})
	handle("GET /zone", func(w io.Writer, _ *http.Request) error {
		_, err := io.WriteString(w, s.names.delegation())
		return err
	})
	zone := func(pattern string, f func(z *zones.Zone, r *http.Request) error) {
		handle(pattern, func(w io.Writer, r *http.Request) error {
			if n, ok := s.names.(*externalNames); ok && r.Method == http.MethodGet {
				_, err := io.WriteString(w, n.status())
				return err
			}
			if s.zone == nil {
				return errExternalKeys
			}
			if err := f(s.zone, r); err != nil {
				return err
			}
			_, err := io.WriteString(w, s.zone.Roll().String())
			return err
		})
	}
	zone("GET /zone/roll", func(*zones.Zone, *http.Request) error { return nil })
	zone("POST /zone/roll", func(z *zones.Zone, r *http.Request) error {
		return z.StartRoll(r.Context(), zones.Role(r.FormValue("role")))
	})
	zone("DELETE /zone/roll", func(z *zones.Zone, r *http.Request) error { return z.CancelRoll(r.Context()) })
	zone("PUT /zone/roll/ds", func(z *zones.Zone, r *http.Request) error { return z.ConfirmDS(r.Context()) })
}
