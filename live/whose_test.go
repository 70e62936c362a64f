package live_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

// at moves a connection to a time after the begin of the test.
func at(after time.Duration, c evidence.Connection) evidence.Connection {
	return with(c, func(c *evidence.Connection) { c.Start, c.End = start().Add(after), start().Add(after+time.Second) })
}

// tied is one that nothing but by ties to the test.
func tied(by evidence.Attribution, c evidence.Connection) evidence.Connection {
	return with(c, func(c *evidence.Connection) { c.Attribution = by })
}

// The strip tells what the sender did. What somebody may have tried by hand on
// the mail server is in the list alone, with words that say so.
func TestStripTellsOfTheSenderAlone(t *testing.T) {
	refusal := secure("mx05.et", "ca", 5)
	reset := with(refusal, func(c *evidence.Connection) { c.Ending = evidence.EndingReset })
	sent := at(0, mail(secure("mx04.et", "self-signed", 4), "en@et."+zone))
	for _, tt := range []struct {
		name   string
		others []evidence.Connection
		cited  bool // the verdict rests on the last one
		strip  live.Outcome
		row    live.Outcome
		en, de string
	}{
		{"named the slot, by hand", []evidence.Connection{at(5*time.Minute, tied(evidence.BySlot, refusal))}, false, live.None, live.Contacted, "may have been a test by hand", "Versuch von Hand"},
		{"from the address, by hand", []evidence.Connection{at(5*time.Minute, tied(evidence.ByAddress, refusal))}, false, live.None, live.Contacted, "may have been a test by hand", "Versuch von Hand"},
		{"twice by hand", []evidence.Connection{at(5*time.Minute, tied(evidence.BySlot, refusal)), at(5*time.Minute+3*time.Second, tied(evidence.BySlot, refusal))}, false, live.None, live.Contacted, "may have been a test by hand", "Versuch von Hand"},
		{"without a refusal", []evidence.Connection{at(5*time.Minute, tied(evidence.BySlot, reset))}, false, live.None, live.Contacted, "broke off", "riss ab"},
		{"under another name", []evidence.Connection{at(2*time.Second, tied(evidence.ByAddress, with(refusal, func(c *evidence.Connection) { c.Helo = []string{"openssl.client.net"} })))}, false, live.None, live.Contacted, "may have been a test by hand", "Versuch von Hand"},
		{"from another address", []evidence.Connection{at(2*time.Second, tied(evidence.ByAddress, with(refusal, func(c *evidence.Connection) { c.Client = "192.0.2.11:4711" })))}, false, live.None, live.Contacted, "may have been a test by hand", "Versuch von Hand"},
		{"beside the mail", []evidence.Connection{at(2*time.Second, tied(evidence.BySlot, refusal))}, false, live.Refused, live.Refused, "A server with your provider’s address refused it", "Adresse Ihres Anbieters lehnte es ab"},
		{"beside the mail, without a refusal", []evidence.Connection{at(2*time.Second, tied(evidence.BySlot, reset))}, false, live.Contacted, live.Contacted, "broke off", "riss ab"},
		{"the verdict rests on it", []evidence.Connection{at(5*time.Minute, tied(evidence.BySlot, refusal))}, true, live.Refused, live.Refused, "refused it", "lehnte es ab"},
		{"beside the mail, which was handed over there, too", []evidence.Connection{at(time.Hour, mail(refusal, "en@et."+zone)), at(2*time.Second, tied(evidence.BySlot, refusal))}, false, live.Encrypted, live.Contacted, "has also handed mail over there", "hat dort auch E-Mails übergeben"},
		{"its own", []evidence.Connection{at(5*time.Minute, tied(evidence.ByMail, refusal))}, false, live.Refused, live.Refused, "Your provider refused it", "Ihr Anbieter lehnte es ab"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := historyOf(append([]evidence.Connection{sent}, tt.others...)...)
			s := snapshotOf(h, report.StateRunning)
			s.Input.Verdict = policyinfer.Verdict{Policy: policyinfer.Undetermined}
			last := h.Connections[len(h.Connections)-1].ID
			if tt.cited {
				s.Input.Verdict.Reasons = []policyinfer.Reason{{ID: policyinfer.ReasonTLSRefused, Connections: []evidence.ConnID{last}}}
			}
			for l, want := range map[report.Language]string{report.English: tt.en, report.German: tt.de} {
				st := live.Of(s, l)
				if got := st.Servers[4].Outcome; got != tt.strip {
					t.Errorf("%s: the strip says %q (%s), want %q", l, got, st.Servers[4].Text, tt.strip)
				}
				row := st.Connections[len(st.Connections)-1]
				if row.ID != last || row.Outcome != tt.row || !strings.Contains(row.Text, want) {
					t.Errorf("%s: the row says %q, %q; want %q, %q", l, row.Outcome, row.Text, tt.row, want)
				}
				if tt.row == live.Contacted && strings.Contains(strings.Join(row.Details, " "), "refusal alone") {
					t.Errorf("the details call it a refusal: %q", row.Details)
				}
			}
		})
	}
}

// Whatever real senders did, the strip says the same of them after somebody has
// tried every server by hand, and does not take that for their rhythm.
func TestByHandBesideRealSenders(t *testing.T) {
	var files []string
	for _, dir := range []string{"lab", "servers"} {
		found, err := filepath.Glob(filepath.Join("../policyinfer/testdata", dir, "*.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	tried := 0
	for _, file := range files {
		h := readHistory(t, file)
		own := slices.IndexFunc(h.Connections, func(c evidence.Connection) bool { return c.Attribution == evidence.ByMail })
		if own < 0 {
			continue // recorded before connections said why they belong to a test
		}
		tried++
		before := snapshotOf(h, report.StateRunning)
		h.Connections = slices.Clone(h.Connections)
		for i, hand := range []evidence.Connection{
			secure("mx03.et", "self-signed", 3), secure("mx04.et", "self-signed", 4), secure("mx05.et", "ca", 5), secure("mx06.et", "ca", 6),
		} {
			hand = at(0, tied(evidence.BySlot, hand))
			hand.Client, hand.Helo, hand.ID = h.Connections[own].Client, h.Connections[own].Helo, evidence.ConnID("hand-"+string(rune('0'+i)))
			hand.TLS.SNI = new(strings.Replace(*hand.TLS.SNI, zone, h.Test.Zone, 1))
			hand.Start = before.Now.Add(time.Duration(i+2) * time.Minute)
			hand.End = hand.Start.Add(time.Second)
			h.Connections = append(h.Connections, hand)
		}
		after := snapshotOf(h, report.StateRunning)
		was, is := live.Of(before, report.English), live.Of(after, report.English)
		if diff := cmp.Diff(was.Servers, is.Servers); diff != "" {
			t.Errorf("%s: the strip, before and after (-before +after):\n%s", file, diff)
		}
		if was.Next != nil && !was.Next.From.Equal(is.Next.From) {
			t.Errorf("%s: expected from %v, and %v after a test by hand", file, was.Next.From, is.Next.From)
		}
	}
	if tried < 20 {
		t.Errorf("%d recorded senders were tried", tried)
	}
}

// Pages may join what follows in the same attempt, and programs need not know.
func TestConnectionsOfOneAttemptFollow(t *testing.T) {
	h := historyOf(at(0, plain()), at(5*time.Second, plain()), at(5*time.Minute, plain()), at(5*time.Minute+2*time.Second, plain()))
	st := live.Of(snapshotOf(h, report.StateRunning), report.English)
	var got []bool
	for _, c := range st.Connections {
		got = append(got, c.Follows)
	}
	if want := []bool{false, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	h.Connections = slices.Repeat(h.Connections[:1], live.MaxConnections+3)
	if st := live.Of(snapshotOf(h, report.StateRunning), report.English); st.Connections[0].Follows || !st.Connections[1].Follows {
		t.Error("the first of the list follows nothing that is listed")
	}
}
