package desec_test

import (
	"net/http"
	"testing"

	"github.com/libdns/libdns"
)

// Whatever is answered: no panic, no record that claims to be elsewhere.
func FuzzAnswer(f *testing.F) {
	f.Add(200, `[{"subname":"et","type":"MX","ttl":60,"records":["10 mx03.et.sink.example."]}]`)
	f.Add(200, `[{"subname":"","type":"TXT","ttl":60,"records":["\"a\" \"\\065\\\"\""]}]`)
	f.Add(200, `[{"subname":"x\n","type":"LOC","ttl":60,"records":["("]}]`)
	f.Add(400, `[{},{"ttl":["Ensure this value is greater than or equal to 3600."]}]`)
	f.Add(400, `{"non_field_errors":[{"x":1}]}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 999 || status == http.StatusTooManyRequests {
			return
		}
		p := newProvider(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		recs, err := p.GetRecords(t.Context(), zone)
		if err != nil && recs != nil {
			t.Errorf("%v with %v", recs, err)
		}
		want := libdns.TXT{Name: "x", Text: "x"}
		set, err := p.SetRecords(t.Context(), zone, []libdns.Record{want})
		if err == nil && (len(set) != 1 || set[0].RR().Name != "x" || set[0].RR().Data != "x") {
			t.Errorf("set %v", set)
		}
	})
}
