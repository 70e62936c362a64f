package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

// redactor makes the redacted copy of one history. Inference from the copy
// gives the same verdict, so what inference compares stays distinct.
type redactor struct {
	zone     string
	messages map[string]string // Message-ID to its pseudonym
}

// redactHistory returns a deep copy of the history in which every value of the
// sender is neutralised and every address that is not ours is redacted.
func redactHistory(in Input) evidence.History {
	r := redactor{zone: in.Service, messages: make(map[string]string)}
	h := in.History
	h.Test.ID, h.Test.Zone = r.text(h.Test.ID), r.text(h.Test.Zone)
	h.Test.Sender = r.address(h.Test.Sender)
	h.Test.SenderIPs = each(h.Test.SenderIPs, r.text)
	h.Connections = each(h.Connections, r.connection)
	h.Queries = each(h.Queries, func(q evidence.Query) evidence.Query {
		q.Client, q.Name, q.Type, q.Rcode = r.text(q.Client), r.text(q.Name), r.text(q.Type), r.text(q.Rcode)
		return q
	})
	h.Fetches = each(h.Fetches, func(f evidence.PolicyFetch) evidence.PolicyFetch {
		f.Client, f.Host, f.UserAgent = r.text(f.Client), r.text(f.Host), r.text(f.UserAgent)
		return f
	})
	h.States = each(h.States, func(s evidence.State) evidence.State {
		s.Phase, s.Unverifiable, s.Broken = value(r, s.Phase), r.text(s.Unverifiable), r.text(s.Broken)
		s.MX = keys(r, s.MX)
		return s
	})
	return h
}

func (r redactor) text(s string) string    { return redactText(s, r.zone, maxRecord) }
func (r redactor) address(s string) string { return redactAddress(s, r.zone) }

// value neutralises a value of a type that has a fixed set of them: a record
// that was imported may hold anything.
func value[T ~string](r redactor, v T) T { return T(r.text(string(v))) }

// each returns a new list; nil stays nil.
func each[T any](list []T, change func(T) T) []T {
	if list == nil {
		return nil
	}
	out := make([]T, len(list))
	for i, v := range list {
		out[i] = change(v)
	}
	return out
}

func keys[V any](r redactor, m map[string]V) map[string]V {
	if m == nil {
		return nil
	}
	out := make(map[string]V, len(m))
	for k, v := range maps.All(m) {
		out[r.text(k)] = v
	}
	return out
}

func (r redactor) connection(c evidence.Connection) evidence.Connection {
	c = c.Clone()
	c.ID, c.Phase, c.Status = value(r, c.ID), value(r, c.Phase), value(r, c.Status)
	c.Ending, c.Attribution = value(r, c.Ending), value(r, c.Attribution)
	c.Client, c.Local, c.Destination = r.text(c.Client), r.text(c.Local), r.text(c.Destination)
	c.Helo, c.Replies, c.Anomalies = each(c.Helo, r.text), each(c.Replies, r.text), each(c.Anomalies, r.text)
	c.Verbs = each(c.Verbs, r.text)
	c.RcptTo, c.Addressed, c.Refused = each(c.RcptTo, r.address), each(c.Addressed, r.address), each(c.Refused, r.address)
	if c.MailFrom != nil {
		from := r.address(*c.MailFrom)
		c.MailFrom = &from
	}
	if c.TLS != nil {
		c.TLS = r.tls(*c.TLS)
	}
	c.Transactions = each(c.Transactions, r.transaction)
	return c
}

func (r redactor) tls(t evidence.TLS) *evidence.TLS {
	for _, p := range []**string{&t.SNI, &t.Version, &t.Cipher, &t.Alert, &t.Error} {
		if *p != nil {
			s := r.text(**p)
			*p = &s
		}
	}
	t.ClientVersions = each(t.ClientVersions, r.text)
	t.ClientSuites, t.ClientCurves = each(t.ClientSuites, r.text), each(t.ClientCurves, r.text)
	t.Stage, t.Certificate, t.TLSA = value(r, t.Stage), r.text(t.Certificate), r.text(t.TLSA)
	return &t
}

func (r redactor) transaction(t evidence.Transaction) evidence.Transaction {
	t.MailFrom = r.address(t.MailFrom)
	t.RcptTo, t.Addressed = each(t.RcptTo, r.address), each(t.Addressed, r.address)
	t.MessageID = r.messageID(t.MessageID)
	if t.Message != nil {
		t.Message = r.message(*t.Message)
	}
	return t
}

// messageID returns a pseudonym: a Message-ID looks like an address, and some
// clients make it from one, but mails must stay distinct.
func (r redactor) messageID(id string) string {
	if id == "" {
		return ""
	}
	if _, ok := r.messages[id]; !ok {
		r.messages[id] = fmt.Sprintf("<message-%d>", len(r.messages)+1)
	}
	return r.messages[id]
}

func (r redactor) message(m evidence.Message) *evidence.Message {
	m.From, m.To, m.Cc = each(m.From, r.address), each(m.To, r.address), each(m.Cc, r.address)
	m.Language, m.Automatic = r.text(m.Language), r.text(m.Automatic)
	m.SPF.Result, m.SPF.Domain = value(r, m.SPF.Result), r.text(m.SPF.Domain)
	m.SPF.Mechanism, m.SPF.Reason = r.text(m.SPF.Mechanism), r.text(m.SPF.Reason)
	m.DKIM = each(m.DKIM, func(d evidence.DKIM) evidence.DKIM {
		d.Domain, d.Result, d.Reason = r.text(d.Domain), value(r, d.Result), r.text(d.Reason)
		d.Headers = each(d.Headers, r.text)
		return d
	})
	m.DMARC.Result, m.DMARC.Domain, m.DMARC.From = value(r, m.DMARC.Result), r.text(m.DMARC.Domain), r.text(m.DMARC.From)
	m.DMARC.Policy, m.DMARC.Reason = r.text(m.DMARC.Policy), r.text(m.DMARC.Reason)
	m.Chain.Result, m.Chain.Sealer, m.Chain.Reason = value(r, m.Chain.Result), r.text(m.Chain.Sealer), r.text(m.Chain.Reason)
	m.Received = each(m.Received, func(h evidence.Hop) evidence.Hop {
		h.From, h.By, h.With = r.text(h.From), r.text(h.By), r.text(h.With)
		h.Claim, h.TLS, h.Cipher = value(r, h.Claim), r.text(h.TLS), r.text(h.Cipher)
		return h
	})
	return &m
}

// redactVerdict returns a copy of the verdict whose text is neutralised: it
// quotes evidence, and a stored one may come from elsewhere.
func redactVerdict(in Input) policyinfer.Verdict {
	r := redactor{zone: in.Service}
	id := func(id evidence.ConnID) evidence.ConnID { return value(r, id) }
	name := func(n policyinfer.Name) policyinfer.Name { return value(r, n) }
	v := in.Verdict
	v.Policy, v.Candidates, v.Sender = name(v.Policy), each(v.Candidates, name), r.sender(v.Sender)
	v.Findings = each(v.Findings, func(f policyinfer.Finding) policyinfer.Finding {
		return policyinfer.Finding{ID: r.text(f.ID), Text: redactText(f.Text, r.zone, maxText), Connections: each(f.Connections, id), Args: r.args(f.Args)}
	})
	v.Reasons = each(v.Reasons, func(f policyinfer.Reason) policyinfer.Reason {
		return policyinfer.Reason{ID: r.text(f.ID), Text: redactText(f.Text, r.zone, maxText), Connections: each(f.Connections, id), Args: r.args(f.Args)}
	})
	v.Missing = each(v.Missing, func(m policyinfer.Missing) policyinfer.Missing {
		m.Certificate, m.TellsApart = value(r, m.Certificate), each(m.TellsApart, name)
		return m
	})
	v.Eliminated = each(v.Eliminated, func(e policyinfer.Elimination) policyinfer.Elimination {
		return policyinfer.Elimination{
			Policy: r.text(e.Policy), Name: name(e.Name), By: redactText(e.By, r.zone, maxText), Connections: each(e.Connections, id),
		}
	})
	v.Hosts = keys(r, v.Hosts)
	for host, of := range v.Hosts {
		of.Policy, of.Candidates, of.Sender = name(of.Policy), each(of.Candidates, name), r.sender(of.Sender)
		v.Hosts[host] = of
	}
	return v
}

// args neutralises the arguments of a text.
func (r redactor) args(args map[string]string) map[string]string {
	out := keys(r, args)
	for k, v := range out {
		out[k] = redactText(v, r.zone, maxText)
	}
	return out
}

func (r redactor) sender(s policyinfer.Sender) policyinfer.Sender {
	for _, part := range []*string{
		&s.TLS, &s.Plaintext, &s.PlaintextUnprotected, &s.VerifiesCA, &s.DANE, &s.MTASTS, &s.Both, &s.SNI, &s.UnlistedMX, &s.WithoutTLS,
	} {
		*part = r.text(*part)
	}
	return s
}

// recordsOf returns the lines of the interchange format.
func recordsOf(h evidence.History) ([]json.RawMessage, error) {
	var b bytes.Buffer
	if err := evidence.WriteHistory(&b, h); err != nil {
		return nil, err
	}
	var out []json.RawMessage
	for line := range bytes.Lines(b.Bytes()) {
		out = append(out, json.RawMessage(line))
	}
	return out, nil
}
