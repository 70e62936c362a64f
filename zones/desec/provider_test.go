package desec_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"

	"github.com/tlsink/tlsink/zones/desec"
	"github.com/tlsink/tlsink/zones/desec/desectest"
	"github.com/tlsink/tlsink/zones/providertest"
)

const (
	zone  = "sink.example."
	token = "i-T3b1h_OI-H9ab8tRS98stGtURe"
)

// handler is a client that calls a handler: no network, so that it works with the
// clock of synctest.
type handler struct{ http.Handler }

func (h handler) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	r.RequestURI, r.Host = r.URL.RequestURI(), r.URL.Host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

func newProvider(t *testing.T, h http.Handler, change ...func(*desec.Options)) *desec.Provider {
	t.Helper()
	o := desec.Options{API: "https://desec.example/api/v1", Token: token, Client: handler{h}}
	for _, c := range change {
		c(&o)
	}
	p, err := desec.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func options() desectest.Options {
	return desectest.Options{Domain: "sink.example", Token: token, MinimumTTL: 10}
}

func TestConformance(t *testing.T) {
	providertest.Run(t, newProvider(t, desectest.New(options())), zone, providertest.Options{})
}

// The same over HTTP, with the default client.
func TestConformanceOverHTTP(t *testing.T) {
	o := options()
	o.PageSize = 3
	srv := httptest.NewServer(desectest.New(o))
	defer srv.Close()
	p, err := desec.New(desec.Options{API: srv.URL + "/api/v1/", Token: token})
	if err != nil {
		t.Fatal(err)
	}
	providertest.Run(t, p, zone, providertest.Options{Parallel: 4})
}

func texts(n int) (out []libdns.Record) {
	for i := range n {
		out = append(out, libdns.TXT{Name: fmt.Sprint("n", i), Text: "x"})
	}
	return out
}

func TestSetRecordsIsOneRequest(t *testing.T) {
	s := desectest.New(options())
	p := newProvider(t, s)
	if _, err := p.SetRecords(t.Context(), zone, texts(30)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"PATCH /api/v1/domains/sink.example/rrsets/"}, s.Requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestPages(t *testing.T) {
	o := options()
	o.PageSize = 7
	s := desectest.New(o)
	p := newProvider(t, s)
	if _, err := p.SetRecords(t.Context(), zone, texts(30)); err != nil {
		t.Fatal(err)
	}
	recs, err := p.GetRecords(t.Context(), zone)
	if err != nil || len(recs) != 30+2 {
		t.Errorf("%d records, %v; want 30 and two NS", len(recs), err)
	}
	if n := len(s.Requests()); n != 1+5 {
		t.Errorf("%d requests, want 6", n)
	}
}

// The token is not sent to where a page link points.
func TestForeignPageLink(t *testing.T) {
	p := newProvider(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", `<https://desec.example/api/v1/domains/?cursor=>; rel="first", <http://thief.example/api/v1/domains/>; rel="next"`)
		_, _ = w.Write([]byte("[]"))
	}))
	if _, err := p.GetRecords(t.Context(), zone); err == nil || !strings.Contains(err.Error(), "thief.example") {
		t.Errorf("error %v", err)
	}
}

func TestErrors(t *testing.T) {
	say := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	strict := options()
	strict.MinimumTTL = 3600
	for _, c := range []struct {
		name    string
		handler http.Handler
		zone    string
		change  func(*desec.Options)
		want    []string
	}{
		{"token", nil, zone, func(o *desec.Options) { o.Token = "wrong" }, []string{"401 Unauthorized: Invalid token.", "token_file"}},
		{"domain", nil, "other.example.", nil, []string{"404 Not Found", "check dns.zone"}},
		{"TTL", desectest.New(strict), zone, nil, []string{"x TXT: ttl: Ensure this value is greater than or equal to 3600.", "ask its support"}},
		{"forbidden", say(403, `{"detail":"You do not have permission to perform this action."}`), zone, nil, []string{"403", "You do not have permission", "policies"}},
		{"stage two", say(400, `{"non_field_errors":["Record content malformed."]}`), zone, nil, []string{"400 Bad Request: Record content malformed."}},
		{"broken", say(502, "<html>bad gateway</html>"), zone, nil, []string{"502", "bad gateway", "has a problem"}},
		{"redirect", say(301, ""), zone, nil, []string{"301"}},
		{"no JSON", say(200, "<html>"), zone, nil, []string{"answer of deSEC"}},
		{"stored nothing", say(200, "[]"), zone, nil, []string{"took the request but stored []"}},
		{"stored something else", say(200, `[{"subname":"x","type":"TXT","ttl":60,"records":["\"y\""]}]`), zone, nil, []string{`stored ["y"]`}},
		{"odd data", say(200, `[{"subname":"x","type":"MX","ttl":60,"records":["ten a."]}]`), zone, nil, []string{"deSEC returned"}},
		{"a comment", say(200, `[{"subname":";x","type":"A","ttl":60,"records":["192.0.2.1"]}]`), zone, nil, []string{"that is no record"}},
		{"odd type", say(200, `[{"subname":"x","type":"?","ttl":60,"records":["x"]}]`), zone, nil, []string{"unknown type"}},
		{"two lines", say(200, `[{"subname":"x","type":"A","ttl":60,"records":["192.0.2.1\nx A 192.0.2.2"]}]`), zone, nil, []string{"control characters"}},
		{"odd name", say(200, `[{"subname":"x y","type":"A","ttl":60,"records":["192.0.2.1"]}]`), zone, nil, []string{"name"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.handler == nil {
				c.handler = desectest.New(options())
			}
			var changes []func(*desec.Options)
			if c.change != nil {
				changes = append(changes, c.change)
			}
			_, err := newProvider(t, c.handler, changes...).SetRecords(t.Context(), c.zone, []libdns.Record{libdns.TXT{Name: "x", Text: "x"}})
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want one with %q", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), token) {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

// Short waits are waited; long ones are not, and nothing is asked meanwhile.
func TestThrottling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Writes = []desectest.Rate{{Requests: 2, Window: time.Second}, {Requests: 5, Window: time.Hour}}
		s := desectest.New(o)
		p := newProvider(t, s)
		start := time.Now()
		write := func() error {
			_, err := p.SetRecords(t.Context(), zone, texts(1))
			return err
		}
		for i := range 5 {
			if err := write(); err != nil {
				t.Fatalf("call %d: %v", i, err)
			}
		}
		if waited := time.Since(start); waited != 2*time.Second {
			t.Errorf("waited %s, want 2 s for five requests, two of which a second are allowed", waited)
		}
		err := write()
		throttled, ok := errors.AsType[*desec.ThrottledError](err)
		if !ok || !throttled.Until.After(start.Add(59*time.Minute)) {
			t.Fatalf("error %v", err)
		}
		asked := len(s.Requests())
		if err := write(); err == nil || len(s.Requests()) != asked {
			t.Errorf("%v; %d requests while none was allowed", err, len(s.Requests())-asked)
		}
		time.Sleep(time.Until(throttled.Until))
		if err := write(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestDomain(t *testing.T) {
	d, err := newProvider(t, desectest.New(options())).Domain(t.Context(), zone)
	if err != nil || d.MinimumTTL != 10 || d.Name != "sink.example" || len(d.Keys) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestOptions(t *testing.T) {
	for want, change := range map[string]func(*desec.Options){
		`api "ftp://x"`:  func(o *desec.Options) { o.API = "ftp://x" },
		`api "http://x"`: func(o *desec.Options) { o.API = "http://x" },
		"token":          func(o *desec.Options) { o.Token = "two words" },
		"ttl":            func(o *desec.Options) { o.TTL = time.Millisecond },
	} {
		o := desec.Options{Token: token}
		change(&o)
		if _, err := desec.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
