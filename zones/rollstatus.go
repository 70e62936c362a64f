package zones

import (
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// RollStatus says how far a key roll is, and what is to be done.
type RollStatus struct {
	Zone      string
	Phase     Phase // empty: no key is being rolled
	Role      Role
	Cancelled bool // it goes back to the old key
	Since     time.Time
	// Waited of Wait has passed. In the hand-over the end is not a matter of
	// time, and Wait is 0.
	Waited, Wait time.Duration
	// CDS says that CDS records tell the parent.
	CDS bool
	// Manual says that the parent can't be asked: ConfirmDS must be called.
	Manual bool
	// Keys are all keys of the zone.
	Keys []KeyInfo
	// DS belongs at the parent, OldDS should not be there any more.
	DS, OldDS []*dns.DS
	// Problem is why the phase does not end, if it is not for time or the
	// operator; empty if there is none.
	Problem string
}

// Roll returns how far a key roll is.
func (z *Zone) Roll() RollStatus {
	z.mu.Lock()
	defer z.mu.Unlock()
	keys := z.current.Load().keys
	s := RollStatus{
		Zone: z.opts.Zone, Keys: z.Keys(), DS: keys.ds(KeyActive), OldDS: keys.ds(KeyRetiring),
		CDS: !z.opts.Keys.NoCDS, Manual: z.opts.Keys.ParentDS == nil, Problem: z.phase.problem,
	}
	if r := z.data.Roll; r != nil {
		s.Phase, s.Role, s.Cancelled, s.Since, s.Waited, s.Wait = r.Phase, r.Role, r.Cancelled, r.Since, r.Waited, z.wait(*r)
	}
	return s
}

// String returns the status as text of several lines for the operator.
func (s RollStatus) String() string {
	var b strings.Builder
	if s.Phase == "" {
		fmt.Fprintf(&b, "%s no key is being rolled\n", s.Zone)
		s.writeKeys(&b)
		return b.String()
	}
	fmt.Fprintf(&b, "%s roll of the %s, phase %s since %s", s.Zone, strings.ToUpper(string(s.Role)), s.Phase, s.Since.UTC().Format(time.RFC3339))
	if s.Cancelled {
		b.WriteString(", cancelled: it goes back to the old key")
	}
	b.WriteString("\n")
	s.writeKeys(&b)
	fmt.Fprintf(&b, "waiting for: %s\n", s.waitsFor())
	if s.Problem != "" {
		fmt.Fprintf(&b, "in the way: %s\n", s.Problem)
	}
	s.writeToDo(&b)
	return b.String()
}

func (s RollStatus) writeKeys(b *strings.Builder) {
	for _, k := range s.Keys {
		fmt.Fprintf(b, "key %d: %s, %s", k.Tag, strings.ToUpper(string(k.Role)), k.Status)
		if !k.Created.IsZero() {
			fmt.Fprintf(b, ", made %s", k.Created.UTC().Format(time.DateOnly))
		}
		b.WriteString("\n")
	}
}

func (s RollStatus) waitsFor() string {
	left := max(0, s.Wait-s.Waited).Round(time.Second)
	switch s.Phase {
	case PhasePublish:
		return fmt.Sprintf("every cache to know the new key, %s more", left)
	case PhaseHandOver:
		return "the parent zone to serve the new DS record on all its servers, and the old one on none"
	}
	if s.Role.sep() {
		return fmt.Sprintf("every cache to forget the old DS record, %s more", left)
	}
	return fmt.Sprintf("every cache to forget what the old key has signed, %s more", left)
}

func (s RollStatus) writeToDo(b *strings.Builder) {
	switch {
	case s.Phase == PhasePublish && s.Role.sep():
		b.WriteString("to do: nothing yet; leave the DS record at the parent as it is\n")
		return
	case s.Phase != PhaseHandOver:
		b.WriteString("to do: nothing; leave the DS record at the parent as it is\n")
		return
	case s.Cancelled:
		b.WriteString("to do: leave at the parent zone, or put back there,\n")
	default:
		b.WriteString("to do: publish at the parent zone\n")
	}
	for _, ds := range s.DS {
		fmt.Fprintf(b, "    %s\n", ds)
	}
	b.WriteString("in place of\n")
	for _, ds := range s.OldDS {
		fmt.Fprintf(b, "    %s\n", ds)
	}
	b.WriteString("There is no hurry: the zone validates with either, or both, until the old key is withdrawn.\n")
	if s.CDS {
		b.WriteString("A parent that follows CDS records (RFC 7344) does it by itself.\n")
	}
	if s.Manual {
		b.WriteString("The parent can't be asked from here: confirm it once all its servers have the new record.\n")
	}
}
