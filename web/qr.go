package web

import (
	"bytes"
	"fmt"
	"net/http"

	"rsc.io/qr"
)

// qr shows the mail to both addresses of a test as a picture for a phone.
func (s *Server) qr(w http.ResponseWriter, r *http.Request) {
	capability, ok := s.capability(w, r)
	if !ok {
		return
	}
	if s.o.Live == nil {
		s.unknown(w, r)
		return
	}
	st, ok, err := s.o.Live.Status(r.Context(), capability, "")
	if !s.found(w, r, ok && err == nil && st.Addresses != nil, err) {
		return
	}
	picture, err := qrPicture(st.Addresses.Mailto)
	if err != nil {
		s.log(w).Error("draw a QR code", "err", scrub(r, err.Error()))
		s.fail(w, r, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	_, _ = w.Write(picture) // a client that left needs no answer
}

// qrPicture draws text as a QR code (ISO/IEC 18004) with its quiet zone, black
// on white in any colour scheme. Modules that touch in a row are one rectangle.
func qrPicture(text string) ([]byte, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	const quiet = 4
	var b bytes.Buffer
	size := code.Size + 2*quiet
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges"><rect width="%d" height="%d" fill="#fff"/><path d="`, size, size, size, size)
	for y := range code.Size {
		for x := 0; x < code.Size; {
			start := x
			for code.Black(x, y) {
				x++
			}
			if x > start {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", start+quiet, y+quiet, x-start, x-start)
			}
			x++
		}
	}
	b.WriteString(`"/></svg>`)
	return b.Bytes(), nil
}
