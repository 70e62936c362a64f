package live

import (
	"net/url"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/scenario"
)

const maxFindings = 20

// Of puts a snapshot into words: in the language of the test itself if l is
// empty. It is pure, and leaves s as it is.
func Of(s Snapshot, l report.Language) *Status {
	if l == "" && s.Booking != nil {
		l = s.Booking.Language
	}
	if l == "" && s.Input != nil {
		l = s.Input.Language
	}
	if l != report.German {
		l = report.English
	}
	out := &Status{Test: report.Clean(s.ID, s.Zone, maxName), Language: string(l), Now: s.Now.UTC(), State: stateOf(s)}
	if b := s.Booking; b != nil {
		out.Started = utc(b.Created)
	}
	b, over := s.Booking, out.State.Over()
	switch out.State {
	case Queued:
		out.Place = &Place{Ahead: max(0, b.Ahead), Free: utc(b.Free)}
		out.Text = placeText(out.Place, s.Now, l)
	case Waiting:
		out.Expires = utc(b.Expires)
		out.Text = waitingText(b.Expires, s.Now).with(l, clock(b.Expires, s.Now))
	case Expired:
		out.Text = phrase{
			"No mail came in time, so this test has ended. You can start another one at any time.",
			"Es kam rechtzeitig keine E-Mail; dieser Test ist deshalb beendet. Sie können jederzeit einen neuen beginnen.",
		}.in(l)
	}
	if b != nil && b.Slot > 0 && b.Token != "" && (out.State == Waiting || out.State == Running) {
		out.Addresses = addresses(s.Zone, b.Slot, b.Token, l)
	}
	if out.State == Waiting || out.State == Running {
		out.Rotation = rotation(s)
	}
	if !over && out.State != Queued && s.Slow != "" {
		out.Delay = delayOf(s, l)
		out.Slow = sentences(out.Delay.Text, phrase{"The service reports: “%[1]s”.", "Der Dienst meldet: „%[1]s“."}.with(l, out.Delay.Cause))
	}
	if s.Input != nil {
		out.tell(s, l)
	}
	return out
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

// stateOf prefers the evidence: a test that a mail has reached runs, whatever
// its booking still says.
func stateOf(s Snapshot) State {
	if s.Input != nil {
		switch state := State(s.Input.State); state {
		case Acked, Closed:
			if s.Unconfirmed {
				return Concluded
			}
			return state
		case Running, Concluded:
			return state
		}
		return Running
	}
	if s.Booking != nil {
		switch s.Booking.State {
		case Queued, Waiting:
			return s.Booking.State
		}
	}
	return Expired
}

// tell adds what the evidence shows.
func (out *Status) tell(s Snapshot, l report.Language) {
	in := *s.Input // a shallow copy: its language is changed, nothing below it
	in.Language = l
	if in.Service == "" {
		in.Service = s.Zone
	}
	said := report.Say(in)
	h := &in.History
	h.Test.Zone = in.Service
	running := out.State == Running
	if out.Started.IsZero() || !in.Test.Started.IsZero() && in.Test.Started.Before(out.Started) {
		out.Started = utc(in.Test.Started)
	}
	out.Sender, out.Attempts = said.Sender, in.Verdict.Attempts
	out.Missing = said.Missing[:min(len(said.Missing), maxFindings)]
	out.Finding = said.Findings[:min(len(said.Findings), maxFindings)]
	out.Unconfirmed = !running && s.Unconfirmed
	out.Pending = in.InboundMissing == report.NotReady
	out.Text = said.State
	if running {
		out.Text = runningText(s).in(l)
		out.Phase = phaseOf(s, l)
	} else {
		out.Verdict = verdictOf(in.Verdict, said, in.Service)
	}
	if !running && s.Unconfirmed {
		out.Text = unconfirmed.in(l)
	}
	t := teller{l: l, zone: in.Service, reader: policyinfer.NewReader(h)}
	read := t.read(h, &in.Verdict)
	out.rows(t, h.Connections, read.of)
	if out.State == Running || State(in.State) == Concluded {
		out.Next = t.expected(read.own, s.Now)
	}
}

// rows lists the newest connections, and sums up all that tell of the sender.
func (out *Status) rows(t teller, all []evidence.Connection, read []reading) {
	var s strip
	out.Omitted = max(0, len(all)-MaxConnections)
	for i := range all {
		c, r := &all[i], &read[i]
		if r.counts {
			s.add(c.Server, r.outcome, c.Start)
		}
		if i < out.Omitted {
			continue
		}
		row := t.connection(c, r, i+1)
		row.Follows = i > out.Omitted && r.attempt == read[i-1].attempt
		out.Connections = append(out.Connections, row)
	}
	out.Servers = s.servers(t.l, out.State.Over())
}

// addresses are those of a leased slot.
func addresses(zone string, slot int, token string, l report.Language) *Addresses {
	names := scenario.Names(zone, slot)
	a := &Addresses{ET: token + "@" + names.ET, UT: token + "@" + names.UT}
	// RFC 6068 §2: several recipients are separated by commas, and in its fields
	// a space is %20.
	subject := phrase{"Test of mail encryption", "Test der E-Mail-Verschlüsselung"}.in(l)
	a.Mailto = "mailto:" + a.ET + "," + a.UT + "?subject=" + url.PathEscape(subject)
	return a
}

// rotation is the MX order, as far as it is known.
func rotation(s Snapshot) Rotation {
	r := Rotation{Next: utc(s.NextTurn)}
	for _, host := range s.Order {
		if slices.Contains(scenario.MXHosts(), scenario.Host(host)) && !slices.Contains(r.Order, host) {
			r.Order = append(r.Order, host)
		}
	}
	return r
}

// verdictOf is what was found.
func verdictOf(v policyinfer.Verdict, said report.Said, zone string) *Verdict {
	out := &Verdict{
		Policy: said.Policy, Conclusive: v.Conclusive, Protected: v.Policy.Protected(),
		Level: said.Level, Grade: said.Grade, Summary: said.Summary,
	}
	for _, n := range v.Candidates[:min(len(v.Candidates), len(policyinfer.Names()))] {
		out.Candidates = append(out.Candidates, report.Clean(string(n), zone, maxName))
	}
	return out
}
