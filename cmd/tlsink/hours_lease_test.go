package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/client"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
)

// told is what a webhook was told.
type told struct {
	Test, State, Link string
	Verdict           *live.Verdict
}

// ear hears every call of a webhook.
type ear struct {
	mu    sync.Mutex
	calls []told
}

func (e *ear) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body) // what does not come whole is no JSON
	var m struct{ Data told }
	err := json.Unmarshal(b, &m)
	if err != nil {
		m.Data.State = err.Error()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, m.Data)
}

func (e *ear) states() (out []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.calls {
		out = append(out, c.State)
	}
	return out
}

// leasedWorld is a service with one slot to lease.
type leasedWorld struct {
	*world
	client *client.Client
	ear    *ear
}

// leasedHours runs f beside a webhook of the test's own.
func leasedHours(t *testing.T, f func(w *leasedWorld)) {
	t.Helper()
	hoursOf(t, func(cfg *config.Config) {
		cfg.Slots = 2
		cfg.API.WebhookHosts = []string{"127.0.0.1"}
	}, func(w *world) {
		l, err := w.net.Listen(netip.MustParseAddrPort("127.0.0.1:8080"))
		if err != nil {
			w.t.Fatal(err)
		}
		lw := &leasedWorld{world: w, ear: &ear{}}
		srv := &http.Server{Handler: lw.ear, ReadHeaderTimeout: time.Minute}
		ended := make(chan error, 1)
		go func() { ended <- srv.Serve(l) }()
		defer func() {
			srv.Close()
			if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
				w.t.Error(err)
			}
		}()
		if lw.client, err = client.New(client.Options{Server: "https://" + worldZone, Roots: w.service().ca.Pool(), Dial: w.dialer(clientIP(9))}); err != nil {
			w.t.Fatal(err)
		}
		f(lw)
	})
}

// begin starts a test with a webhook.
func (w *leasedWorld) begin() *client.Started {
	w.t.Helper()
	s, err := w.client.Start(w.t.Context(), client.Order{Webhook: "http://127.0.0.1:8080/own"})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// status is what the page of a test shows.
func (w *leasedWorld) status(s *client.Started) *live.Status {
	w.t.Helper()
	st, err := w.client.Status(w.t.Context(), s.Capability, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// state wants a test to be in a state, and its webhook to have heard as much.
func (w *leasedWorld) state(when string, s *client.Started, state live.State, heard ...string) {
	w.t.Helper()
	time.Sleep(10 * time.Second) // of the bubble: for calls, and what is shown again
	if got := w.status(s).State; got != state {
		w.t.Errorf("%s: the test is %s, want %s", when, got, state)
	}
	if got := w.ear.states(); !slices.Equal(got, heard) {
		w.t.Errorf("%s: the webhook has heard %q, want %q", when, got, heard)
	}
}

// finish delivers mail to a leased test until it is over.
func (w *leasedWorld) finish(s *client.Started) {
	w.t.Helper()
	a := s.Status.Addresses
	m := newMTA(w.world, policyNamed("dane"), 10*time.Minute, 1, clientIP(1))
	m.deliver(w.t.Context(), m.write("user", a.ET, a.UT), nil)
	m.wait()
	w.state("in the end", s, live.Acked, "acked")
	if c := w.ear.calls[0]; c.Test != s.Status.Test || c.Verdict == nil || c.Verdict.Policy != string(policyinfer.DANE) || c.Link == "" {
		w.t.Errorf("the webhook has heard %+v", c)
	}
}

// A mail whose recipient was accepted in time begins the test, however long the
// rest of it takes: until then nobody is told that none came.
func TestLeaseWithMailOnItsWay(t *testing.T) {
	for _, c := range []struct {
		name  string
		mails bool
		want  live.State
		heard []string
	}{{"it comes", true, live.Running, nil}, {"it never comes", false, live.Expired, []string{"expired"}}} {
		t.Run(c.name, func(t *testing.T) {
			leasedHours(t, func(w *leasedWorld) {
				s := w.begin()
				for time.Until(w.status(s).Expires) > 30*time.Second {
					time.Sleep(20 * time.Second) // of the bubble
				}
				l := w.letter("user@sender.example", clientIP(1), s.Status.Addresses.ET)
				x := w.talk(clientIP(1))
				x.cmd(250, "MAIL FROM:<user@sender.example>")
				x.cmd(250, "RCPT TO:<"+s.Status.Addresses.ET+">")
				// Somebody who looks into the queue of the mail server has given up.
				if err := w.client.Cancel(w.t.Context(), s.Capability); err == nil {
					w.t.Error("given up while a mail is on its way")
				}
				time.Sleep(2 * time.Minute) // of the bubble
				w.state("meanwhile", s, live.Waiting)
				if !c.mails {
					_ = x.conn.Close()
					time.Sleep(3 * time.Hour) // of the bubble
					w.state("later", s, live.Expired, "expired")
					return
				}
				x.use(x.conn) // another deadline
				x.cmd(354, "DATA")
				x.send(l.head + "Date: " + l.sent.Format(time.RFC1123Z) + "\r\nMessage-ID: " + l.id + "\r\n\r\nTest mail.\r\n.\r\n")
				x.expect(451)
				_ = x.conn.Close()
				w.state("with its mail", s, live.Running)
				w.state("later", s, live.Running)
				l.deliver()
				time.Sleep(9 * time.Hour) // of the bubble: ut got no mail
				if got := w.ear.states(); len(got) != 1 || got[0] == "expired" {
					w.t.Errorf("the webhook has heard %q", got)
				}
			})
		})
	}
}

// A crash between a claim and the first write of the test: the link lives, and
// the mail that is repeated begins the test, whenever it comes.
func TestLeaseOfATestThatACrashLost(t *testing.T) {
	for _, again := range []time.Duration{time.Minute, 25 * time.Minute} {
		t.Run(again.String(), func(t *testing.T) {
			leasedHours(t, func(w *leasedWorld) {
				s := w.begin()
				ticket, ok := w.service().leases.Ticket(s.Capability)
				if !ok {
					w.t.Fatal("no lease")
				}
				time.Sleep(20 * time.Minute) // of the bubble
				if _, _, ok := w.service().leases.Claim(ticket.Slot, ticket.Token); !ok {
					w.t.Fatal("not claimed")
				}
				w.halt()
				w.start()
				w.state("after the crash", s, live.Waiting)
				time.Sleep(again) // of the bubble
				w.state("before its mail comes again", s, live.Waiting)
				w.finish(s)
			})
		})
	}
}

// While the service was away a lease has expired, and its slot has rested: its
// webhook is told all the same.
func TestLeaseThatExpiredWhileTheServiceWasAway(t *testing.T) {
	for _, away := range []time.Duration{35 * time.Minute, 3 * time.Hour} {
		t.Run(away.String(), func(t *testing.T) {
			leasedHours(t, func(w *leasedWorld) {
				w.begin()
				w.halt()
				time.Sleep(away) // of the bubble
				w.start()
				time.Sleep(time.Hour) // of the bubble
				if got := w.ear.states(); !slices.Equal(got, []string{"expired"}) {
					w.t.Errorf("the webhook has heard %q", got)
				}
			})
		})
	}
}

// However many tests change while the worker is busy, it hears of each of them,
// once, and that it is over.
func TestCompletionsForgetNothing(t *testing.T) {
	c := &completions{more: make(chan struct{}, 1), over: make(map[string]bool)}
	const tests = 3000
	for i := range tests {
		c.add(strconv.Itoa(i), i%2 == 0)
		c.add(strconv.Itoa(i), false)
	}
	ended := 0
	for _, over := range c.over {
		if over {
			ended++
		}
	}
	if len(c.over) != tests || ended != tests/2 || len(c.more) != 1 {
		t.Errorf("%d tests, %d of them over, %d calls", len(c.over), ended, len(c.more))
	}
}
