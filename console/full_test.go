package console_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/tlsink/tlsink/blocklist"
	"github.com/tlsink/tlsink/console"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/operate"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

// full returns a console over an operator who has something of everything.
func full(t *testing.T) *desk {
	t.Helper()
	d := newDesk(t, func(o *console.Options) {
		o.Compare = func(earlier, later report.Input) string {
			return "between " + earlier.Test.ID + " and " + later.Test.ID + ": nothing"
		}
	})
	fill(d.operator)
	return d
}

func fill(f *fake) {
	rows := []operate.TestRow{
		{ID: "T1", Started: start.Add(-time.Hour), LastSeen: start, Sender: "joe@sender.example", Clients: []string{"192.0.2.1"}, State: "running", Slot: 3, Policy: "dane", Attempts: 2, Report: "later"},
		{ID: "T2", Started: start.Add(-2 * time.Hour), Ended: start, Sender: "ann@mail.example", Clients: []string{"2001:db8:1::/64"}, State: "acked", Policy: "may", Conclusive: true, Attempts: 4, Report: "sent", Link: "https://sink.example/t/mfrggzdfmztwq2lknnwg23tpobyxe43u"},
	}
	conns := make([]evidence.Connection, 0, 120)
	for i := range 120 {
		conns = append(conns, connectionNo(i))
	}
	why := operate.Why{Connection: "c1", By: evidence.ByAddress, Text: "It came from an address of the test.", Others: []operate.Other{{Test: "T2", Text: "It began later."}}}
	f.overview = operate.Overview{
		Now: start, Running: rows[:1], Recent: rows, Stats: history.Stats{Tests: 2, OpenTests: 1, Connections: 121, Pending: 1, FileBytes: 12 << 20},
		Slots: []operate.Slot{{Slot: 1, State: "free"}, {Slot: 3, State: "running", Since: start.Add(-time.Hour), Test: "T1"}, {Slot: 2, State: "waiting", Test: "T7"}, {Slot: 4, State: "quarantined", Since: start, Until: start.Add(24 * time.Hour)}},
	}
	f.check = operate.SelfCheck{At: start, Results: []operate.CheckResult{
		{Check: "delegation", Subject: "sink.example", Status: "ok", Seen: "ns1.sink.example"},
		{Check: "mx06", Subject: "mx06.et.sink.example", Status: "wrong", Seen: "the certificate has expired", Fix: "look at the log of certificates", Effect: "broken"},
		{Check: "ptr", Subject: "192.0.2.25", Status: "cannot", Seen: "no answer"},
	}, Broken: "mx06 has an expired certificate", BrokenSince: start}
	f.overview.SelfCheck = &f.check
	f.tests = operate.TestPage{Tests: rows, Next: "older", Cut: true}
	in := report.Input{
		Service: zone, State: report.StateRunning, Generated: start, Engine: policyinfer.EngineVersion,
		Test: evidence.Test{ID: "T1", Zone: zone, Started: start.Add(-time.Hour), Sender: "joe@sender.example", SenderIPs: []string{"192.0.2.1"}},
		Verdict: policyinfer.Verdict{
			Policy: policyinfer.DANE, Candidates: []policyinfer.Name{policyinfer.DANE, policyinfer.DANEOnly},
			Reasons: []policyinfer.Reason{{Text: "A certificate that does not match TLSA was refused.", Connections: []evidence.ConnID{"c1", "c2"}}},
			Missing: []policyinfer.Missing{{Face: 7, TellsApart: []policyinfer.Name{policyinfer.DANE, policyinfer.DANEOnly}}},
		},
	}
	in.History = evidence.History{Test: in.Test, Connections: conns}
	in.History.Queries = []evidence.Query{{Time: start, Client: "192.0.2.53:53", Name: "_25._tcp.mx06.et3.sink.example.", Type: "TLSA", DO: true, Rcode: "NOERROR", Count: 3}}
	in.History.Fetches = []evidence.PolicyFetch{{Time: start, Client: "192.0.2.80:99", Host: "mta-sts.et3.sink.example", UserAgent: "Postfix/STS", Status: 200}}
	in.History.States = []evidence.State{{Time: start, Phase: evidence.Secure, MX: map[string]int{"mx06": 30, "mx04": 10, "mx05": 20}}, {Time: start, Unverifiable: "no DS", Broken: "mx05"}}
	later := in
	later.Test.ID = "T2"
	f.test = map[string]operate.Test{
		"T1": {Row: rows[0], Record: history.TestRecord{MessageIDs: []string{"<1@sender.example>"}, Engine: "3"}, Input: in, Report: &operate.ReportRow{LastError: "451 later"}},
		"T2": {Row: rows[1], Input: later},
	}
	f.why = operate.Explanation{Test: "T1", Text: "The slot is its own.", LeftOut: 1, Connections: []operate.Why{why}}
	stray := connectionNo(500)
	stray.Transactions, stray.MailFrom = nil, nil
	f.connections = operate.ConnectionPage{Connections: []operate.ConnectionRow{{Connection: stray, Why: &operate.Why{Text: "It said nothing."}}}, Next: "more"}
	f.connection = map[evidence.ConnID]operate.ConnectionRow{"c1": {Connection: conns[1], Test: "T1", Why: &why}}
	f.reports = operate.ReportPage{Reports: []operate.ReportRow{
		{ID: "T1", To: "joe@sender.example", State: operate.ReportRetried, Created: start, Due: start, Attempts: 2, LastError: "451 4.7.1 try again later"},
		{ID: "T2", To: "ann@mail.example", State: operate.ReportSent, Created: start, Sent: start},
	}, Next: "more"}
	f.deliveries = []operate.Delivery{{ID: "7", Test: "T1", Host: "hooks.example", State: "queued", Created: start, Due: start}}
	f.retention = operate.Retention{Days: 30, OldestTest: start.AddDate(0, 0, -29), Stats: f.overview.Stats}
	f.preview = operate.Preview{Tests: []string{"T1", "T2"}, Reports: 1, Mailbox: 2}
	f.blocks = []operate.Block{{ID: "b1", Kind: blocklist.Network, Value: "198.51.100.0/24", Reason: "scans", Since: start}}
	f.limits = []operate.Limit{{What: "reports to one domain, a day", Who: "mail.example", Count: 200, Limit: 200, Until: start.Add(time.Hour)}}
	f.audit = []operate.AuditRecord{{Time: start, Actor: operate.Actor{Kind: "console", Name: "3f2a11aa"}, Action: "test deleted", Object: "T0", Count: 12}}
	f.export = func(w io.Writer) error {
		_, err := io.WriteString(w, "id,sender\nT1,joe@sender.example\n")
		return err
	}
}

// connectionNo returns a connection, with TLS in every second one.
func connectionNo(i int) evidence.Connection {
	at := start.Add(time.Duration(i) * time.Minute)
	c := evidence.Connection{
		ID: evidence.ConnID(fmt.Sprintf("c%d", i)), Start: at, End: at.Add(3 * time.Second), Client: "192.0.2.1:4711", Local: "203.0.113.1:25", Phase: evidence.Downgrade,
		EHLO: true, Server: 1, Destination: "et", Helo: []string{"mail.sender.example"}, Replies: []string{"220 sink", "250 ok"}, Status: evidence.StatusMail,
		Ending: evidence.EndingQuit, Attribution: evidence.ByMail, MailFrom: new("joe@sender.example"),
		Transactions: []evidence.Transaction{{
			MailFrom: "joe@sender.example", RcptTo: []string{"en@et3.sink.example"}, MessageID: "<1@sender.example>", Reply: 451, Time: at,
			Message: &evidence.Message{SPF: evidence.SPF{Result: "pass", Domain: "sender.example"}, DKIM: []evidence.DKIM{{Domain: "sender.example", Result: "pass"}}, DMARC: evidence.DMARC{Result: "pass"}},
		}},
	}
	if i%2 == 1 {
		c.Phase, c.StartTLSOffered, c.StartTLS, c.Server = evidence.Secure, true, true, 5
		c.TLS = &evidence.TLS{
			SNI: new("mx05.et3.sink.example"), ClientVersions: []string{"TLS 1.3", "TLS 1.2"}, Version: new("TLS 1.3"), Cipher: new("TLS_AES_128_GCM_SHA256"),
			Stage: evidence.StageCertificate, Certificate: "ca", TLSA: "mismatch", Alert: new("bad certificate"),
		}
		c.Anomalies = []string{evidence.AnomalyPipelined}
	}
	return c
}
