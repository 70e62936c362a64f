package live_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

// secret stands in every address that a stranger wrote.
const secret = "geheim.person"

// A dice makes random evidence, from the words that are known and from what
// strangers could write.
type dice struct {
	*rand.Rand
	text, long string
}

func (d dice) of(list ...string) string { return list[d.IntN(len(list))] }

// stranger is what a client may write: with an address, and what is in the corpus.
func (d dice) stranger() string {
	return d.of("", "mta.example", secret+"@example.org", "<script>alert(1)</script>", "a\x1b[2J\n\u202e\u200b", d.text, d.long, "mx04.et."+zone)
}

func (d dice) text2() *string {
	if d.IntN(3) == 0 {
		return nil
	}
	return new(d.of(d.stranger(), "bad certificate", "protocol version", "1.3", "mx03.et."+zone, "mx05.et3."+zone, "ut."+zone))
}

func (d dice) addresses() (out []string) {
	for range d.IntN(4) {
		out = append(out, d.of("en@et."+zone, "de@ut."+zone, "en4k7w2q9mxa@et3."+zone, secret+"@example.org", d.stranger()))
	}
	return out
}

func (d dice) time() time.Time {
	if d.IntN(20) == 0 {
		return time.Time{}
	}
	return start().Add(time.Duration(d.IntN(7200)) * time.Second)
}

func (d dice) bool() bool { return d.IntN(2) == 0 }

func (d dice) connection(i int) evidence.Connection {
	c := evidence.Connection{
		ID: evidence.ConnID(d.of(fmt.Sprint(i), d.stranger())), Start: d.time(), End: d.time(), Client: d.of("192.0.2.10:25", "[2001:db8::1]:25", d.stranger()),
		Phase: evidence.Phase(d.of("downgrade", "secure", "", d.stranger())), StartTLSOffered: d.bool(), EHLO: d.bool(), Server: d.IntN(10) - 1,
		Destination: d.of("et", "ut", "unknown", d.stranger()), StartTLS: d.bool(), Data: d.bool(), Status: evidence.Status(d.of("None", "Mail", d.stranger())),
		Ending:      evidence.Ending(d.of("quit", "alert", "close_notify", "fin", "reset", "timeout", "server", "open", "", d.stranger())),
		Attribution: evidence.Attribution(d.of("", "mail", "address", "slot", d.stranger())), RcptTo: d.addresses(), Refused: d.addresses(), MailFrom: d.text2(),
	}
	for range d.IntN(4) {
		c.Helo = append(c.Helo, d.stranger())
		c.Replies = append(c.Replies, d.of("220", "250", "454", "502", d.stranger()))
		c.Anomalies = append(c.Anomalies, d.stranger())
	}
	if d.bool() {
		c.TLS = &evidence.TLS{
			SNI: d.text2(), Version: d.text2(), Cipher: d.text2(), Alert: d.text2(), Error: d.text2(), Complete: d.bool(),
			Stage:       evidence.Stage(d.of("before-certificate", "certificate", "finished", "", d.stranger())),
			Certificate: d.of("self-signed", "ca", "ca-default", "", d.stranger()), TLSA: d.of("match", "mismatch", "", d.stranger()),
		}
	}
	for range d.IntN(30) * d.IntN(2) {
		c.Transactions = append(c.Transactions, evidence.Transaction{
			MailFrom: d.stranger(), RcptTo: d.addresses(), Data: d.bool(), Reply: d.IntN(700) - 10, TLS: d.bool(), TLSRequiredNo: d.IntN(9) == 0, RequireTLS: d.IntN(9) == 0,
		})
	}
	return c
}

func (d dice) snapshot() live.Snapshot {
	s := live.Snapshot{
		ID: d.of("k3f9qz", d.stranger()), Zone: d.of(zone, "", d.stranger()), Now: d.time(), Phase: evidence.Phase(d.of("downgrade", "secure", "", d.stranger())),
		PhaseEnds: d.time(), Order: []string{d.stranger(), "mx04", "mx04"}, NextTurn: d.time(), Slow: d.stranger(),
	}
	if d.bool() {
		s.Booking = &live.Booking{
			State: live.State(d.of("queued", "waiting", "expired", "", "odd")), Slot: d.IntN(9), Token: d.of("en4k7w2q9mxa", ""), Created: d.time(),
			Expires: d.time(), Ahead: d.IntN(9) - 2, Free: d.time(), Language: report.Language(d.of("", "en", "de", "fr")),
		}
	}
	if d.IntN(8) == 0 {
		return s
	}
	h := evidence.History{Test: evidence.Test{ID: s.ID, Zone: zone, Slot: d.IntN(2) * 3, Started: d.time(), Sender: d.of(secret+"@example.org", "", d.stranger())}}
	for i := range d.IntN(40) + d.IntN(2)*d.IntN(230) {
		h.Connections = append(h.Connections, d.connection(i))
	}
	for range d.IntN(4) {
		h.States = append(h.States, evidence.State{Time: d.time(), Unverifiable: d.of("", d.stranger()), Broken: d.of("", d.stranger()), BrokenSince: d.time()})
	}
	v := policyinfer.Verdict{Policy: policyinfer.Name(d.of("undetermined", "dane", "mixed", "none", "", d.stranger()))}
	for i := range d.IntN(60) {
		v.Findings = append(v.Findings, policyinfer.Finding{ID: d.of(policyinfer.FindingIDs()...), Text: d.stranger(), Args: map[string]string{"why": d.stranger(), "connections": "3"}})
		v.Candidates = append(v.Candidates, policyinfer.Name(d.of("may", "dane", d.stranger())))
		v.Missing = append(v.Missing, policyinfer.Missing{Face: 7, TellsApart: v.Candidates[:min(i, 3)]})
	}
	s.Input = &report.Input{
		Service: d.of(zone, ""), Test: h.Test, History: h, Verdict: v, State: d.of("running", "concluded", "acked", "closed", "", d.stranger()), Generated: d.time(),
		Engine: d.stranger(), Language: report.Language(d.of("", "de", "fr")),
	}
	return s
}

// FuzzOf makes random evidence: whatever it is, a status is bounded, told in
// the language that was asked for, tells no address of a person, and has no
// character that could do anything.
func FuzzOf(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, "")
	}
	f.Add(uint64(1), "\"geheim.person\"@example.org and %s %[1]d")
	f.Fuzz(func(t *testing.T, seed uint64, text string) {
		d := dice{rand.New(rand.NewPCG(seed, 7)), text, strings.Repeat("x", 9000)}
		s := d.snapshot()
		for _, l := range []report.Language{report.English, report.German, ""} {
			checkStatus(t, live.Of(s, l))
		}
		if s.Input != nil {
			other := d.snapshot()
			if other.Input != nil {
				other.Input.Test.Sender = s.Input.Test.Sender
				c := live.Compare(*s.Input, *other.Input, report.German)
				checkText(t, c.Text())
				if len(c.Changes) > 100 {
					t.Errorf("%d changes", len(c.Changes))
				}
			}
		}
	})
}

// Addresses that the fuzzer itself writes can't be told from other words, so
// only that of the person is looked for.
var person = regexp.MustCompile(`(?i)geheim\.person\\?"?@`)

func checkStatus(t *testing.T, s *live.Status) {
	t.Helper()
	switch {
	case s.Text == "":
		t.Error("no text")
	case len(s.Connections) > live.MaxConnections:
		t.Errorf("%d connections", len(s.Connections))
	case len(s.Servers) != 0 && len(s.Servers) != 7:
		t.Errorf("%d servers", len(s.Servers))
	case s.Language != "en" && s.Language != "de":
		t.Errorf("language %q", s.Language)
	case s.State.Over() && (s.Next != nil || s.Addresses != nil):
		t.Errorf("a test that is %s expects something", s.State)
	}
	for i, c := range s.Connections {
		if c.Text == "" || c.Outcome == live.None || len(c.Text) > 1000 || len(c.Details) > 17 {
			t.Errorf("connection %d: %+v", c.Number, c)
		}
		if i > 0 && c.Number != s.Connections[i-1].Number+1 {
			t.Errorf("number %d after %d", c.Number, s.Connections[i-1].Number)
		}
		checkText(t, c.Text+c.Name+c.SNI+c.TLS+c.Client+string(c.ID)+strings.Join(c.Details, ""))
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 2_000_000 {
		t.Errorf("a status of %d octets", len(b))
	}
	checkText(t, string(b))
	checkText(t, string(live.Badge(s, report.English)))
	if d := live.Delta(s, s); len(d) != 0 {
		t.Errorf("%d rows differ from themselves", len(d))
	}
	if d := live.Delta(nil, s); len(d) != len(s.Connections) {
		t.Errorf("%d of %d rows are new", len(d), len(s.Connections))
	}
}

func checkText(t *testing.T, s string) {
	t.Helper()
	if person.MatchString(s) {
		at := person.FindStringIndex(s)[0]
		t.Errorf("an address of a person: %q", s[max(0, at-80):min(len(s), at+80)])
	}
	for _, bad := range []string{"%!", "\x1b", "\u202e", "\u200b"} {
		if at := strings.Index(s, bad); at >= 0 {
			t.Errorf("%q in %q", bad, s[max(0, at-80):min(len(s), at+80)])
		}
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }); i >= 0 {
		t.Errorf("a control character in %q", s[max(0, i-80):min(len(s), i+80)])
	}
}
