package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/webhook"
)

func TestSignedMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.sender(t)
		secret, err := s.Register(t.Context(), "7KQ2PX", ownURL)
		if err != nil {
			t.Fatal(err)
		}
		defer run(t, s)()
		for range 2 { // twice is once
			if err := s.Completed(t.Context(), event("7KQ2PX")); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		calls := w.receiver.got()
		if len(calls) != 2 {
			t.Fatalf("%d calls, want one for each URL: %+v", len(calls), calls)
		}
		for _, c := range calls {
			own := strings.HasPrefix(c.path, "/own/")
			key, other := operatorSecret, secret
			if own {
				key, other = other, key
			}
			if err := verify(key, c.header, []byte(c.body), c.at); err != nil {
				t.Errorf("%s: %v", c.path, err)
			}
			if err := verify(other, c.header, []byte(c.body), c.at); err == nil {
				t.Errorf("%s: the secret of another verifies, too", c.path)
			}
			var m struct {
				Type string
				Data struct {
					Service, Test, State, Sender, Link string
					Verdict                            webhook.Verdict
				}
			}
			if err := json.Unmarshal([]byte(c.body), &m); err != nil {
				t.Fatal(err)
			}
			if m.Type != "test.completed" || m.Data.Test != "7KQ2PX" || m.Data.Service != "sink.example" || m.Data.Verdict.Policy != "dane" {
				t.Errorf("message %s", c.body)
			}
			if (m.Data.Link == link) != own || strings.Contains(c.body, "c4pability") != own {
				t.Errorf("%s: the link goes to the test's own URL, and to no other: %s", c.path, c.body)
			}
		}
		if s.Wanted("OTHER") != true || len(s.Deliveries()) != 2 {
			t.Errorf("deliveries %+v", s.Deliveries())
		}
	})
}

func TestNothingSecretIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.receiver.answer = func(rw http.ResponseWriter, r *http.Request, _ int) {
			rw.Header().Set("Location", r.URL.String())
			rw.WriteHeader(http.StatusFound)
			fmt.Fprint(rw, r.URL.String())
		}
		s := w.sender(t)
		secret, err := s.Register(t.Context(), "7KQ2PX", ownURL)
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, s)
		if err := s.Completed(t.Context(), event("7KQ2PX")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		dial := w.options.Dial
		w.options.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
			return nil, errors.New("refused: " + address)
		}
		stop()
		again, err := webhook.New(w.options)
		if err != nil {
			t.Fatal(err)
		}
		w.options.Dial = dial
		stop = run(t, again)
		time.Sleep(30 * time.Hour)
		stop()
		seen := w.log.String() + fmt.Sprintf("%+v", again.Deliveries())
		for _, s := range []string{secret, operatorSecret, "t0ken", "s3cret", "c4pability"} {
			if strings.Contains(seen, s) {
				t.Errorf("%q is told", s)
			}
		}
		if !strings.Contains(seen, "webhook given up") || !strings.Contains(seen, "redirects are not followed") {
			t.Errorf("log:\n%s", seen)
		}
	})
}

func TestRetries(t *testing.T) {
	cases := []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request, n int)
		after  []time.Duration // of the attempts, since the first, within a tenth
		ended  string          // last error; empty: delivered
	}{
		{"fails three times", func(w http.ResponseWriter, _ *http.Request, n int) {
			if n <= 3 {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}, []time.Duration{0, 10 * time.Second, 30 * time.Second, 70 * time.Second}, ""},
		{"wants it no more", func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusGone) }, []time.Duration{0}, "status 410: it is not wanted any more"},
		{"asks for patience", func(w http.ResponseWriter, _ *http.Request, n int) {
			if n == 1 {
				w.Header().Set("Retry-After", "600")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		}, []time.Duration{0, 10 * time.Minute}, ""},
		{"asks for a year", func(w http.ResponseWriter, _ *http.Request, n int) {
			if n == 1 {
				w.Header().Set("Retry-After", "31536000")
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}, []time.Duration{0, 4 * time.Hour}, ""},
		{"does not answer", func(_ http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				<-r.Context().Done()
			}
		}, []time.Duration{0, 20 * time.Second}, ""},
		{"answers without end", func(w http.ResponseWriter, r *http.Request, _ int) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, []time.Duration{0}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.receiver.answer = c.answer
				s := w.sender(t)
				defer run(t, s)()
				if err := s.Completed(t.Context(), event("7KQ2PX")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(26 * time.Hour)
				calls := w.receiver.got()
				if len(calls) != len(c.after) {
					t.Fatalf("%d attempts, want %d", len(calls), len(c.after))
				}
				for i, call := range calls {
					if got := call.at.Sub(calls[0].at); (got - c.after[i]).Abs() > c.after[i]/10+time.Second {
						t.Errorf("attempt %d after %v, want about %v", i+1, got, c.after[i])
					}
					if call.body != calls[0].body || call.header.Get("webhook-id") != calls[0].header.Get("webhook-id") {
						t.Errorf("attempt %d has another body or identifier", i+1)
					}
					if err := verify(operatorSecret, call.header, []byte(call.body), call.at); err != nil {
						t.Errorf("attempt %d: %v", i+1, err)
					}
				}
				d := s.Deliveries()
				if len(d) != 1 || d[0].Delivered != (c.ended == "") || d[0].LastError != c.ended || d[0].Ended.IsZero() {
					t.Errorf("deliveries %+v", d)
				}
			})
		})
	}
}

func TestGivenUpAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.receiver.answer = func(rw http.ResponseWriter, _ *http.Request, _ int) { rw.WriteHeader(http.StatusBadGateway) }
		s := w.sender(t)
		defer run(t, s)()
		if err := s.Completed(t.Context(), event("7KQ2PX")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(72 * time.Hour)
		calls := w.receiver.got()
		last := calls[len(calls)-1].at.Sub(calls[0].at)
		if len(calls) < 10 || len(calls) > 25 || last < 20*time.Hour || last > 24*time.Hour+time.Minute {
			t.Errorf("%d attempts, the last after %v", len(calls), last)
		}
		if d := s.Deliveries(); len(d) != 1 || d[0].Delivered || d[0].LastError != "status 502" {
			t.Errorf("deliveries %+v", d)
		}
		if got := w.results[len(w.results)-1]; got != webhook.GivenUp {
			t.Errorf("the last attempt is told as %q", got)
		}
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		fail := true
		w.receiver.answer = func(rw http.ResponseWriter, _ *http.Request, _ int) {
			if fail {
				rw.WriteHeader(http.StatusInternalServerError)
			}
		}
		s := w.sender(t)
		if _, err := s.Register(t.Context(), "7KQ2PX", ownURL); err != nil {
			t.Fatal(err)
		}
		w.options.State = w.state.copy()
		s = w.sender(t) // the registration survives
		stop := run(t, s)
		if err := s.Completed(t.Context(), event("7KQ2PX")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		stop()
		before := len(w.receiver.got())
		s = w.sender(t) // and so do the messages
		fail = false
		stop = run(t, s)
		time.Sleep(time.Hour)
		if err := s.Completed(t.Context(), event("7KQ2PX")); err != nil { // told again after a restart
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		stop()
		if after := len(w.receiver.got()); before != 2 || after != 4 {
			t.Errorf("%d attempts before, %d after; want 2 and 4", before, after)
		}
	})
}

func TestExpiredIsToldToItsOwnURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.sender(t)
		if _, err := s.Register(t.Context(), "7KQ2PX", ownURL); err != nil {
			t.Fatal(err)
		}
		defer run(t, s)()
		if err := s.Completed(t.Context(), webhook.Event{Test: "7KQ2PX", State: "expired", Ended: time.Now(), Link: link}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if calls := w.receiver.got(); len(calls) != 1 || !strings.HasPrefix(calls[0].path, "/own/") {
			t.Errorf("calls %+v", calls)
		}
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.options.Limits = webhook.Limits{Pending: 5, PerHost: 3, Registered: 2}
		s := w.sender(t)
		for i := range 2 {
			if _, err := s.Register(t.Context(), fmt.Sprint(i), ownURL); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Register(t.Context(), "9", ownURL); !errors.Is(err, webhook.ErrBusy) {
			t.Errorf("a third one: %v", err)
		}
		for i := range 10 {
			if err := s.Completed(t.Context(), event(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		reasons := make(map[string]int)
		for _, d := range s.Deliveries() {
			reasons[d.LastError]++
		}
		// Two of ci.example.com, three of example.com; the rest has no room.
		want := map[string]int{"": 5, "too many messages are pending": 7}
		if diff := cmp.Diff(want, reasons); diff != "" {
			t.Errorf("reasons (-want +got):\n%s", diff)
		}
		// Who waited for room is registered again once it is there.
		for i := range 2 {
			if _, err := s.Register(t.Context(), fmt.Sprint("late", i), ownURL); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{"late0", "late1"}, s.Registered()); diff != "" {
			t.Errorf("registered (-want +got):\n%s", diff)
		}
		time.Sleep(8 * 24 * time.Hour)
		if got := w.sender(t).Registered(); len(got) != 0 {
			t.Errorf("registered, though no test takes that long: %q", got)
		}
		if _, err := s.Register(t.Context(), "9", ownURL); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatTheDiskDoesNotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.sender(t)
		w.state.fail = errors.New("disk full")
		if _, err := s.Register(t.Context(), "7KQ2PX", ownURL); err == nil {
			t.Error("registered in memory alone")
		}
		if err := s.Completed(t.Context(), event("7KQ2PX")); err == nil {
			t.Error("completed in memory alone")
		}
		if d := s.Deliveries(); len(d) != 0 {
			t.Errorf("deliveries %+v", d)
		}
		w.state.fail = nil
		if err := s.Completed(t.Context(), event("7KQ2PX")); err != nil {
			t.Fatal(err)
		}
	})
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.sender(t)
		for _, id := range []string{"AAAAAA", "BBBBBB"} {
			if err := s.Completed(t.Context(), event(id)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Register(t.Context(), id, ownURL); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Forget(t.Context(), "AAAAAA"); err != nil {
			t.Fatal(err)
		}
		for key, value := range w.state.copy().values {
			if strings.Contains(string(value), "AAAAAA") || !strings.Contains(string(value), "BBBBBB") {
				t.Errorf("%s: %s", key, value)
			}
		}
	})
}

func TestRemovedTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if err := w.sender(t).Completed(t.Context(), event("7KQ2PX")); err != nil {
			t.Fatal(err)
		}
		w.options.Targets = nil
		s := w.sender(t)
		defer run(t, s)()
		time.Sleep(time.Minute)
		if d := s.Deliveries(); len(w.receiver.got()) != 0 || len(d) != 1 || d[0].LastError != "the operator has removed this URL" {
			t.Errorf("deliveries %+v", d)
		}
	})
}

func TestCheck(t *testing.T) {
	w := webhook.Options{
		State: &state{}, Hosts: []string{"ci.example.com"}, Now: time.Now, Rand: strings.NewReader(""),
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") },
	}
	s, err := webhook.New(w)
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"https://ci.example.com/hook":                        "",
		"https://CI.example.com.:8443/hook?a=b":              "",
		"http://ci.example.com/hook":                         "not https",
		"https://ci.example.com.evil.example/":               "not one that the operator",
		"https://evil.example/ci.example.com":                "not one that the operator",
		"https://ci.example.com@evil.example/":               "user or password",
		"https://user:pass@ci.example.com/":                  "user or password",
		"https://127.0.0.1/":                                 "not one that the operator",
		"http://127.0.0.1/":                                  "not https",
		"https:///path":                                      "no host",
		"https:ci.example.com":                               "no host",
		"ftp://ci.example.com/":                              "not https",
		"https://ci.example.com/#x":                          "fragment",
		"https://ci.example.com/\r\nHost: x":                 "no URL",
		"":                                                   "no host",
		"https://ci.example.com/" + strings.Repeat("x", 400): "longer than",
	} {
		switch err := s.Check(url); {
		case want == "" && err != nil:
			t.Errorf("%q: %v", url, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want something about %q", url, err, want)
		}
	}
}

func TestLoopbackOverHTTP(t *testing.T) {
	r := &receiver{}
	srv := httptest.NewServer(r)
	defer srv.Close()
	done := make(chan webhook.Result, 1)
	o := webhook.Options{
		State: &state{}, Hosts: []string{"127.0.0.1"}, Loopback: true, Now: time.Now, Rand: strings.NewReader(strings.Repeat("r", 100)),
		Dial: (&net.Dialer{}).DialContext, Attempted: func(r webhook.Result, _ time.Duration) { done <- r },
	}
	s, err := webhook.New(o)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := s.Register(t.Context(), "7KQ2PX", srv.URL+"/x")
	if err != nil {
		t.Fatal(err)
	}
	defer run(t, s)()
	if err := s.Completed(t.Context(), event("7KQ2PX")); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got != webhook.Delivered {
		t.Errorf("result %q", got)
	}
	got := r.got()[0]
	if err := verify(secret, got.header, []byte(got.body), time.Now()); err != nil {
		t.Error(err)
	}
}

func TestKey(t *testing.T) {
	for secret, good := range map[string]bool{
		operatorSecret: true, "": false, "whsec_": false, "whsec_c2hvcnQ=": false, "whsec_!!!": false,
		"b3BlcmF0b3Jvb3BlcmF0b3Jvb3BlcmF0b3Jv": false, "whsec_" + strings.Repeat("QUFB", 30): false,
	} {
		key, err := webhook.Key(secret)
		if (err == nil) != good || good && string(key) != "operatorooperatorooperatoro" {
			t.Errorf("%q: %q, %v", secret, key, err)
		}
	}
}

func TestOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.receiver.answer = func(rw http.ResponseWriter, _ *http.Request, n int) {
			if n == 1 {
				rw.Header().Set("Retry-After", "3600")
				rw.WriteHeader(http.StatusServiceUnavailable)
			}
		}
		s := w.sender(t)
		defer run(t, s)()
		if err := s.Completed(t.Context(), event("AAAAAA")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		id := s.Deliveries()[0].ID
		if err := s.Retry(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if d := s.Deliveries(); !d[0].Delivered || d[0].Attempts != 2 {
			t.Errorf("after a retry: %+v", d)
		}
		if err := s.Retry(t.Context(), id); !errors.Is(err, webhook.ErrNotPending) {
			t.Errorf("retry of what was delivered: %v", err)
		}
		w.receiver.answer = func(rw http.ResponseWriter, _ *http.Request, _ int) { rw.WriteHeader(http.StatusBadGateway) }
		if err := s.Completed(t.Context(), event("BBBBBB")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		id = s.Deliveries()[0].ID
		if err := s.Drop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if err := s.Completed(t.Context(), event("BBBBBB")); err != nil {
			t.Fatal(err)
		}
		before := len(w.receiver.got())
		time.Sleep(time.Hour)
		if d := s.Deliveries(); len(w.receiver.got()) != before || d[0].LastError != "dropped by the operator" || d[0].Ended.IsZero() {
			t.Errorf("after a drop: %+v", d)
		}
	})
}
