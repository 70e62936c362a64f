package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/doctor"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// lying lets our own probes ask for something else than they mean: then the
// sink shows them what it must not show.
func (w *world) lying(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if lie := w.lie.Load(); err == nil && lie != nil {
			return liar{c, lie}, nil
		}
		return c, err
	}
}

type liar struct {
	net.Conn
	lie *strings.Replacer
}

func (l liar) Write(b []byte) (int, error) {
	if !bytes.HasPrefix(b, []byte("EHLO ")) {
		return l.Conn.Write(b)
	}
	_, err := l.Conn.Write([]byte(l.lie.Replace(string(b))))
	return len(b), err
}

// tlsaOf publishes other TLSA records for a host, and returns how to repair
// that.
func (w *world) tlsaOf(h scenario.Host, data ...string) (repair func()) {
	w.t.Helper()
	names := w.service().names
	name := "_25._tcp." + string(h) + ".et"
	if h == scenario.UT {
		name = "_25._tcp.ut"
	}
	all, err := names.GetRecords(w.t.Context(), worldZone+".")
	if err != nil {
		w.t.Fatal(err)
	}
	var before, records []libdns.Record
	for _, r := range all {
		if r.RR().Name == name && r.RR().Type == "TLSA" {
			before = append(before, r)
		}
	}
	for _, d := range data {
		records = append(records, libdns.RR{Name: name, Type: "TLSA", TTL: time.Minute, Data: "3 1 1 " + d})
	}
	set := func(old, list []libdns.Record) {
		var err error
		if len(list) == 0 {
			_, err = names.DeleteRecords(w.t.Context(), worldZone+".", old)
		} else {
			_, err = names.SetRecords(w.t.Context(), worldZone+".", list)
		}
		if err != nil {
			w.t.Error(err)
		}
	}
	set(before, records)
	return func() { set(records, before) }
}

// digest is the TLSA data of a certificate of ours.
func (w *world) digest(id scenario.Certificate) string {
	w.t.Helper()
	pairs, err := w.service().certs.Certificates(id)
	if err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256(pairs[0].Leaf.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// sinkFault breaks one thing of a running service.
type sinkFault struct {
	broken func(w *world) (repair func())
	want   []string // what is wrong, as "check subject"
	effect doctor.Effect
}

func lies(pairs ...string) func(w *world) func() {
	return func(w *world) func() {
		w.lie.Store(strings.NewReplacer(pairs...))
		return func() { w.lie.Store(nil) }
	}
}

func sinkFaults() map[string]sinkFault {
	set := func(b interface{ Store(bool) }) func() { b.Store(true); return func() { b.Store(false) } }
	return map[string]sinkFault{
		"mx05 matches": {func(w *world) func() {
			return w.tlsaOf(scenario.MX05, w.digest(scenario.Certificate{Owner: scenario.OwnerMX05, Kind: scenario.CA}))
		}, []string{"tlsa mx05.et.sink.example"}, doctor.Broken},
		"mx06 does not match":             {func(w *world) func() { return w.tlsaOf(scenario.MX06, strings.Repeat("00", 32)) }, []string{"tlsa mx06.et.sink.example"}, doctor.Broken},
		"mx04 without TLSA":               {func(w *world) func() { return w.tlsaOf(scenario.MX04) }, []string{"zone sink.example"}, doctor.Unverifiable},
		"STARTTLS in the downgrade phase": {lies("withheld.", "offered."), []string{"withheld 192.0.2.25:25"}, doctor.Broken},
		"no STARTTLS":                     {lies("offered.", "withheld."), []string{"offered 192.0.2.25:25"}, doctor.Broken},
		"self-signed instead of the CA":   {lies(".ca.", ".self-signed."), []string{"certificates without SNI (from the CA)", "certificates ut.sink.example (from the CA)"}, doctor.Broken},
		"the CA instead of self-signed":   {lies("offered.self-signed.", "offered.ca."), []string{"certificates without SNI (self-signed)", "certificates ut.sink.example (self-signed)"}, doctor.Broken},
		"policy host down":                {func(w *world) func() { return set(&w.policyDown) }, []string{"policy et.sink.example"}, doctor.Unverifiable},
		"signatures missing":              {func(w *world) func() { return set(&w.unsigned) }, []string{"zone sink.example"}, doctor.Unverifiable},
		"name server down":                {func(w *world) func() { return set(&w.dnsDown) }, nil, doctor.Unverifiable},
		"clock wrong":                     {func(w *world) func() { return set(&w.clockWrong) }, []string{"clock this machine"}, doctor.Unverifiable},
	}
}

func wrongIn(results []doctor.Result) (out []string) {
	for _, r := range results {
		if r.Status == doctor.Wrong {
			out = append(out, r.Check+" "+r.Subject)
		}
	}
	return out
}

// Each fault of a running service is found at the next check, is the only thing
// that is wrong, suspends verdicts, shows on the status page, and is over with
// its cause, ten times as fast as it was found.
func TestSelfCheckFindsEachFault(t *testing.T) {
	for name, f := range sinkFaults() {
		t.Run(name, func(t *testing.T) {
			checkedHours(t, func(w *world) {
				w.faulty.Store(true)
				time.Sleep(time.Minute)
				s := w.service()
				if got := s.check.current(); got.failed() || len(wrongIn(got.results)) > 0 || len(got.results) < 15 {
					t.Fatalf("before the fault: %+v", got)
				}
				repair := f.broken(w)
				time.Sleep(5 * time.Minute)
				got := s.check.current()
				if wrong := wrongIn(got.results); !slices.Equal(wrong, f.want) {
					t.Errorf("wrong: %q; want %q", wrong, f.want)
				}
				if broken := got.fault.Broken != ""; broken != (f.effect == doctor.Broken) || !got.failed() || s.assess.Fault() != got.fault {
					t.Errorf("fault %+v, in assess %+v; want %s", got.fault, s.assess.Fault(), f.effect)
				}
				if since := time.Since(got.fault.BrokenSince); f.effect == doctor.Broken && since > 11*time.Minute {
					t.Errorf("broken since %v", got.fault.BrokenSince)
				}
				if status := (site{s}).Status(w.t.Context()); status.Broken != got.fault.Broken || status.Unverifiable != got.fault.Unverifiable {
					t.Errorf("status page: %+v", status)
				}
				repair()
				time.Sleep(31 * time.Second)
				if got := s.check.current(); got.failed() || s.assess.Fault() != got.fault {
					t.Errorf("half a minute after the repair: %+v, %q", got.fault, wrongIn(got.results))
				}
			})
		})
	}
}

// A fault that begins just before a verdict: the report waits for the check,
// which takes the verdict back. A verdict before the fault stays as it was, and
// its report goes at once.
func TestFaultJustBeforeTheVerdict(t *testing.T) {
	checkedHours(t, func(w *world) {
		w.faulty.Store(true)
		good := newMTA(w, policyNamed("dane"), 10*time.Minute, 1, clientIP(1))
		start := time.Now()
		good.deliver(w.t.Context(), good.write("user", toET, toUT), nil)
		r := w.tests(good.address("user"))[0]
		if r.verdict.Policy != policyinfer.DANE {
			t.Fatalf("verdict %s", r.verdict.Policy)
		}
		time.Sleep(time.Until(r.rec.Concluded.Add(5 * time.Second)))
		if n := len(w.mailbox.reports(good.address("user"))); n != 1 {
			t.Errorf("%d reports five seconds after the verdict", n)
		}

		late := newMTA(w, policyNamed("dane"), 10*time.Minute, 2, clientIP(2))
		time.Sleep(time.Until(start.Add(2 * time.Hour)))
		mail := late.write("user", toET, toUT)
		var repair func()
		late.deliver(w.t.Context(), mail, func(n int) {
			if n == 1 && repair == nil {
				repair = sinkFaults()["STARTTLS in the downgrade phase"].broken(w)
			}
		})
		late.wait()
		time.Sleep(time.Minute)
		r = w.tests(late.address("user"))[0]
		if r.verdict.Conclusive {
			t.Errorf("verdict %s, although the sink was broken", r.verdict.Policy)
		}
		if n := len(w.mailbox.reports(late.address("user"))); n != 0 {
			t.Errorf("%d reports while the sink is broken", n)
		}
		if got := w.tests(good.address("user"))[0]; got.verdict.Policy != policyinfer.DANE {
			t.Errorf("the verdict of before became %s", got.verdict.Policy)
		}
		repair()
		time.Sleep(2 * time.Minute)
		reports := w.mailbox.reports(late.address("user"))
		if len(reports) != 1 || !strings.Contains(reports[0], policyinfer.FindingBroken) || !strings.Contains(reports[0], "undetermined") {
			t.Errorf("%d reports after the repair: %.3000s", len(reports), reports)
		}
	})
}

// While a check fails, everything is checked ten times as often.
func TestSelfCheckIntervals(t *testing.T) {
	checkedHours(t, func(w *world) {
		w.faulty.Store(true)
		count := func(d time.Duration) (n int) {
			last := w.service().check.current().at
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
				if at := w.service().check.current().at; at != last {
					last = at
					n++
				}
			}
			return n
		}
		time.Sleep(time.Minute)
		if n := count(50 * time.Minute); n < 9 || n > 10 {
			t.Errorf("%d checks in 50 minutes; want one in five", n)
		}
		w.policyDown.Store(true)
		time.Sleep(6 * time.Minute)
		if n := count(50 * time.Minute); n < 90 || n > 100 {
			t.Errorf("%d checks in 50 minutes of a fault; want ten times as many", n)
		}
	})
}

// Our own checks leave nothing behind: no connection, no query of a test.
func TestSelfCheckIsNoEvidence(t *testing.T) {
	checkedHours(t, func(w *world) {
		time.Sleep(30 * time.Minute)
		rec := httptest.NewRecorder()
		controlHandler(w.service()).ServeHTTP(rec, httptest.NewRequest("GET", "/connections?since=1990-01-01T00:00:00Z", nil))
		if got := strings.TrimSpace(rec.Body.String()); got != `{"connections":[]}` {
			t.Errorf("connections: %s", got)
		}
		if q := w.service().queries(bubbleStart()); len(q) != 0 {
			t.Errorf("queries: %+v", q)
		}
	})
}

// settle waits for the next check of everything.
func (w *world) settle() { time.Sleep(6 * time.Minute) }

// What our resolver asks is not taken for the queries of a sender.
func TestSelfCheckKnowsItsResolver(t *testing.T) {
	checkedHours(t, func(w *world) {
		s, resolver, sender := w.service(), w.resolver(clientIP(53), nil), w.resolver(clientIP(1), nil)
		ask := func() {
			for _, r := range []*dnssec.Resolver{resolver, sender} {
				if _, err := r.Lookup(w.t.Context(), scenario.Names(worldZone, 0).TLSA(scenario.MX04), dns.TypeTLSA); err != nil {
					t.Error(err)
				}
			}
		}
		ask()
		s.check.learn(w.t.Context(), resolver)
		s.check.learn(w.t.Context(), resolver)
		for _, q := range s.queries(bubbleStart()) {
			if q.Client != clientIP(1).String() {
				t.Errorf("query %+v", q)
			}
		}
		if len(s.queries(bubbleStart())) == 0 || len(s.check.asking) != 1 {
			t.Errorf("%d queries of a sender, asking %v", len(s.queries(bubbleStart())), s.check.asking)
		}
	})
}
