package assess

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// visit is a connection of one client.
type visit struct {
	after time.Duration // since the one before began
	lasts time.Duration // default 1 s
	to    scenario.Domain
	how   string // quit, data, mail, fin, reset, or scan: without EHLO
}

func (v visit) record(id evidence.ConnID, start time.Time, p evidence.Phase) evidence.Connection {
	c := evidence.Connection{ID: id, Start: start, End: start.Add(v.length()), Phase: p, EHLO: true, Helo: []string{"mta.sender.example"}}
	c.Ending = map[string]evidence.Ending{"fin": evidence.EndingFIN, "reset": evidence.EndingReset}[v.how]
	switch v.how {
	case "data", "mail":
		c.Transactions = []evidence.Transaction{{MailFrom: "user@sender.example", Data: v.how == "data"}}
		c.Ending = evidence.EndingQuit
	case "quit":
		c.Ending = evidence.EndingQuit
	case "scan":
		c.EHLO, c.Helo, c.Ending = false, nil, evidence.EndingFIN
	}
	return c
}

func (v visit) length() time.Duration {
	if v.lasts == 0 {
		return time.Second
	}
	return v.lasts
}

// phases says which visits go without STARTTLS. With replayed, what is known
// before each visit comes from the records alone, as after a restart.
func phases(visits []visit, replayed bool) string {
	type open struct {
		visit
		id    evidence.ConnID
		start time.Time
		phase evidence.Phase
	}
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	began := now
	fresh := func() withholding {
		w := FirstContact.withholding(Timing{}.WithDefaults())
		w.begin(began)
		return w
	}
	w := fresh()
	var opened []open
	var records []evidence.Connection
	var out []string
	for i, v := range visits {
		now = now.Add(v.after)
		var still []open
		for _, o := range opened {
			if end := o.start.Add(o.length()); end.After(now) {
				still = append(still, o)
				continue
			}
			records = append(records, o.record(o.id, o.start, o.phase))
			w.seen(o.to, records[len(records)-1])
			if replayed {
				w = fresh()
				for n, r := range records {
					w.seen(visits[n].to, r)
				}
			}
		}
		opened = still
		id := evidence.ConnID(strconv.Itoa(i + 1))
		w.accept(id, v.to, now)
		p := w.phase(id, now)
		out = append(out, map[evidence.Phase]string{evidence.Downgrade: "-", evidence.Secure: "tls"}[p])
		opened = append(opened, open{v, id, now, p})
	}
	return strings.Join(out, " ")
}

func TestFirstContact(t *testing.T) {
	const et, ut, unknown = scenario.ET, scenario.Unprotected, scenario.UnknownDomain
	for name, c := range map[string]struct {
		visits []visit
		want   string
	}{
		"one MX after the other": {[]visit{{to: et, how: "quit"}, {after: 2 * time.Second, to: et, how: "quit"}, {after: 2 * time.Second, to: et, how: "data"}}, "- tls tls"},
		"each domain":            {[]visit{{to: et, how: "quit"}, {after: 2 * time.Second, to: ut, how: "data"}, {after: 2 * time.Second, to: ut, how: "data"}, {after: time.Hour, to: et, how: "quit"}}, "- - tls tls"},
		"at the same time":       {[]visit{{to: et, how: "quit"}, {to: ut, how: "quit"}, {to: et, how: "quit"}, {to: ut, how: "quit"}}, "- - tls tls"},
		"et beside our own host": {[]visit{{to: unknown, how: "quit"}, {after: 2 * time.Second, to: ut, how: "quit"}, {after: 2 * time.Second, to: unknown, how: "quit"}}, "- - tls"},
		"handed over":            {[]visit{{to: ut, how: "data"}, {after: time.Hour, to: ut, how: "data"}}, "- tls"},
		"a scan first":           {[]visit{{to: et, how: "scan"}, {after: 2 * time.Second, to: et, how: "quit"}, {after: time.Hour, to: et, how: "quit"}}, "- - tls"},
		"silent, later again":    {[]visit{{to: et, how: "fin"}, {after: 2 * time.Second, to: et, how: "fin"}, {after: time.Hour, to: et, how: "fin"}, {after: time.Hour, to: et, how: "fin"}}, "- tls - tls"},
		"lost, later again":      {[]visit{{to: et, how: "reset"}, {after: time.Hour, to: et, how: "quit"}, {after: time.Hour, to: et, how: "quit"}}, "- - tls"},
		"no message":             {[]visit{{to: et, how: "mail"}, {after: time.Hour, to: et, how: "data"}, {after: time.Hour, to: et, how: "data"}}, "- - tls"},
		"one that lasts":         {[]visit{{to: et, how: "data", lasts: time.Minute}, {after: 2 * time.Second, to: et, how: "quit"}, {after: time.Hour, to: et, how: "quit"}}, "- tls tls"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := phases(c.visits, false); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	// What has ended is known again after a restart.
	for _, v := range [][]visit{{{to: et, how: "quit"}, {after: 2 * time.Second, to: et, how: "quit"}}, {{to: et, how: "fin"}, {after: time.Hour, to: et, how: "fin"}, {after: time.Hour, to: et, how: "fin"}}} {
		if diff := cmp.Diff(phases(v, false), phases(v, true)); diff != "" {
			t.Errorf("after restarts (-without, +with):\n%s", diff)
		}
	}
}

// Another downgrade phase forgets the first contacts, and what is left of the
// connections that began before it counts for nothing.
func TestFirstContactBeginsAgain(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 1, 1, 12, 0, s, 0, time.UTC) }
	w := FirstContact.withholding(Timing{}.WithDefaults())
	w.begin(at(0))
	w.accept("1", scenario.ET, at(0))
	w.begin(at(5))
	w.seen(scenario.ET, visit{how: "data", lasts: 9 * time.Second}.record("1", at(0), evidence.Downgrade))
	w.accept("2", scenario.ET, at(10))
	if p := w.phase("2", at(10)); p != evidence.Downgrade {
		t.Errorf("the first connection of the second phase: %s", p)
	}
	w.accept("3", scenario.ET, at(11))
	if p := w.phase("3", at(11)); p != evidence.Secure || !w.secureSince().Equal(at(11)) {
		t.Errorf("the next one: %s since %v", p, w.secureSince())
	}
	w.sentAgain(at(12))
	w.accept("4", scenario.Unprotected, at(13))
	if p := w.phase("4", at(13)); p != evidence.Downgrade {
		t.Errorf("the first one to ut, after the mail was sent again: %s", p)
	}
	for mode, w := range map[Downgrade]withholding{Timed: Timed.withholding(Timing{}.WithDefaults()), FirstContact: FirstContact.withholding(Timing{}.WithDefaults())} {
		w.begin(at(0))
		w.end(at(1))
		w.accept("1", scenario.ET, at(1))
		if p := w.phase("1", at(1)); p != evidence.Secure {
			t.Errorf("%s: after its end: %s", mode, p)
		}
	}
}

func TestDowngradeCheck(t *testing.T) {
	own := map[netip.Addr]scenario.Domain{netip.MustParseAddr("192.0.2.26"): scenario.Unprotected}
	for _, c := range []struct {
		mode Downgrade
		own  map[netip.Addr]scenario.Domain
		want string
	}{
		{"", nil, ""},
		{Timed, nil, ""},
		{FirstContact, own, ""},
		{FirstContact, nil, "no address of its own"},
		{FirstContact, map[netip.Addr]scenario.Domain{netip.MustParseAddr("192.0.2.27"): scenario.ET}, "no address of its own"},
		{"first", own, `want "timed" or "first-contact"`},
	} {
		err := c.mode.Check(c.own)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("mode %q with %v: %v, want %q", c.mode, c.own, err, c.want)
		}
	}
}
