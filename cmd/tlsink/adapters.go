package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/doctor"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/mailauth"
	"github.com/tlsink/tlsink/mailer"
	"github.com/tlsink/tlsink/report"
)

// Adapters between packages that do not know each other.

func tlsClient(roots *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

var _ mailauth.Resolver = dnssec.Lookups{}

// reportQueue makes the history a mailer.Queue.
type reportQueue struct{ store *history.Store }

// Due implements mailer.Queue.
func (q reportQueue) Due(now time.Time, limit int) ([]mailer.Item, error) {
	return items(q.store.Due(now, limit))
}

// NextDue implements mailer.Queue.
func (q reportQueue) NextDue() (time.Time, bool, error) { return q.store.NextDue() }

// List implements mailer.Queue.
func (q reportQueue) List(ctx context.Context) ([]mailer.Item, error) {
	return items(q.store.Queue(ctx))
}

// Update implements mailer.Queue.
func (q reportQueue) Update(ctx context.Context, it mailer.Item) error {
	return q.store.Commit(ctx, history.Batch{Update: []history.QueueItem{history.QueueItem(it)}})
}

func items(list []history.QueueItem, err error) ([]mailer.Item, error) {
	out := make([]mailer.Item, 0, len(list))
	for _, it := range list {
		out = append(out, mailer.Item(it))
	}
	return out, err
}

// input gathers what a report tells about a test.
func (s *service) input(v assess.View) report.Input {
	in := report.Input{
		Service: s.cfg.Zone, Test: v.Record.Test, History: v.History, Verdict: v.Verdict, State: v.Record.State, Generated: time.Now(),
		Link: s.cfg.ResultURL(v.Record.Capability), Delivery: v.Record.ReportBlocked, Engine: v.Record.Engine, Around: v.Around,
		Provider: providerOf(v.Record.Provider), Forwarded: forwarded(v.History), Language: languageOf(v.History),
	}
	if q, err := s.store.QueueItem(v.Record.Test.ID); err == nil {
		in.Delivery = q.LastError
		if !q.Sent.IsZero() {
			in.Delivery = ""
		}
	}
	if err := s.addInbound(&in, v.Record); err != nil {
		s.log.Error("analysis of the sender's domain not shown", "test", in.Test.ID, "err", err)
	}
	return in
}

// languageOf returns the language of the report of a test: that of the addresses
// that its mails went to, or else that of their header.
func languageOf(h evidence.History) report.Language {
	var to []string
	header := ""
	for _, c := range h.Connections {
		for _, tx := range c.Transactions {
			to = append(to, tx.RcptTo...)
			if tx.Message != nil {
				header = cmp.Or(header, tx.Message.Language)
			}
		}
	}
	return report.LanguageOf(to, header)
}

// render writes the report of a queue item.
func (s *service) render(_ context.Context, it mailer.Item) (mailer.Message, error) {
	v, err := s.assess.View(it.TestID)
	if err != nil {
		return mailer.Message{}, fmt.Errorf("report of test %s: %w", it.TestID, err)
	}
	in := s.input(v)
	in.Delivery = ""
	html, err := report.HTML(in)
	if err != nil {
		return mailer.Message{}, fmt.Errorf("report of test %s: %w", it.TestID, err)
	}
	data, err := report.JSON(in)
	if err != nil {
		return mailer.Message{}, fmt.Errorf("report of test %s: %w", it.TestID, err)
	}
	m := mailer.Message{
		To: it.To, Subject: report.Subject(in), Text: report.Text(in), HTML: string(html),
		Attachments: []mailer.Attachment{{Name: "tlsink-" + it.TestID + ".json", Type: "application/json", Data: data}},
	}
	// A mail without Message-ID is known by other words.
	if i := slices.IndexFunc(v.Record.MessageIDs, func(id string) bool { return strings.HasPrefix(id, "<") }); i >= 0 {
		m.InReplyTo, m.References = v.Record.MessageIDs[i], v.Record.MessageIDs[i:i+1]
	}
	return m, nil
}

// queries returns the DNS queries for our zone, without our own: to a single
// running test they would look like its sender's.
func (s *service) queries(since time.Time) []evidence.Query {
	return slices.DeleteFunc(s.names.queries(since), func(q evidence.Query) bool { return s.check.asks(q.Client) })
}

// fetched passes policy fetches on, without our own.
func (s *service) fetched(f evidence.PolicyFetch) {
	if f.UserAgent != doctor.Agent {
		s.recorder.PolicyFetched(f.Status)
		s.assess.Fetched(f)
	}
}
