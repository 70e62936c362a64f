package report

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// Limits of the picture of a test.
const (
	rowsKeep  = 24 // neighbouring attempts share a row if there are more
	lanesKeep = 8  // sending hosts
)

// An event is what happened in one cell of the picture, the strongest of
// several: the higher value.
type event int

const (
	nothing   event = iota
	connected       // nothing that can be read as an answer
	declined        // left without handing the mail over
	encrypted
	both // delivered, and declined
	plaintext
)

// Sign stands for the event in every form, so that none relies on colour.
func (e event) Sign() string {
	switch e {
	case connected:
		return "."
	case declined:
		return "x"
	case encrypted:
		return "E"
	case both:
		return "B"
	case plaintext:
		return "P"
	}
	return ""
}

// Class is the CSS class of the event.
func (e event) Class() string {
	switch e {
	case connected:
		return "connected"
	case declined:
		return "declined"
	case encrypted:
		return "encrypted"
	case both:
		return "both"
	case plaintext:
		return "plaintext"
	}
	return "nothing"
}

func (e event) words() phrase {
	switch e {
	case connected:
		return phrase{"only connected", "nur verbunden"}
	case declined:
		return phrase{"did not hand the mail over", "hat die E-Mail nicht übergeben"}
	case encrypted:
		return phrase{"sent encrypted", "verschlüsselt gesendet"}
	case both:
		return phrase{"sent encrypted, and also not handed over", "verschlüsselt gesendet, aber auch nicht übergeben"}
	case plaintext:
		return phrase{"sent unencrypted", "unverschlüsselt gesendet"}
	}
	return phrase{"nothing", "nichts"}
}

// A timeline is the test as a picture: a row for each attempt of the sender, in
// order of time, and a lane for each virtual server or sending host. Time runs
// downwards, so that it fits a phone as well as 76 columns.
type timeline struct {
	Number  int
	Title   string
	Summary string
	Lanes   []lane
	Rows    []moment
	Legend  []sign
	Notes   []string

	TimeName, OfferName, OrderName string
}

// A lane has a short name, which stands above it, and says what it is.
type lane struct{ Name, Text string }

// A moment is one row.
type moment struct {
	Time  string // since the first attempt
	Offer string // was STARTTLS offered?
	Order string // the MX host of et that the order preferred; "" if it is not known
	Cells []event

	Withheld bool // STARTTLS was, for some connection
}

// A sign of the legend.
type sign struct {
	Event event
	Text  string
}

// timelines returns the picture of the test and, where the hosts of the sender
// differ, one with a lane for each of them.
func timelines(in Input) []timeline {
	if len(in.History.Connections) == 0 {
		return nil
	}
	s := speaker{in.Language, in.Service}
	all := attempts(in.History)
	columns := merge(all)
	t := s.timeline(in.History, columns, len(all))
	t.Title = phrase{"What each of the seven test servers saw", "Was jeder der sieben Testserver sah"}.in(s.l)
	for _, server := range servers {
		t.Lanes = append(t.Lanes, lane{fmt.Sprint(server.number), server.what.in(s.l)})
		addLane(t.Rows, columns, func(c *evidence.Connection) bool { return c.Server == server.number })
	}
	t.Legend = s.legend(t.Rows)
	if len(in.Verdict.Hosts) == 0 {
		return []timeline{t}
	}
	byHost := s.timeline(in.History, columns, len(all))
	byHost.Number, byHost.Notes = 1, nil
	byHost.Title = phrase{"What each of the sending hosts did", "Was jeder der sendenden Server tat"}.in(s.l)
	hosts := hostsOf(in.History)
	for i, host := range hosts {
		if i == lanesKeep {
			byHost.Notes = append(byHost.Notes, phrase{"Hosts that are not shown: %[1]d.", "Server, die nicht gezeigt sind: %[1]d."}.with(s.l, len(hosts)-lanesKeep))
			break
		}
		byHost.Lanes = append(byHost.Lanes, lane{string(rune('A' + i)), s.quote(host, maxName)})
		addLane(byHost.Rows, columns, func(c *evidence.Connection) bool { return hostOf(c) == host })
	}
	byHost.Legend = s.legend(byHost.Rows)
	return []timeline{t, byHost}
}

// servers are the lanes, by what each virtual server shows.
var servers = [...]struct {
	number int
	what   phrase
}{
	{1, phrase{"et, without STARTTLS", "et, ohne STARTTLS"}},
	{2, phrase{"named no server (no SNI)", "kein Servername genannt (ohne SNI)"}},
	{3, phrase{"mx03: nothing about it is valid", "mx03: nichts daran ist gültig"}},
	{4, phrase{"mx04: valid for DANE only", "mx04: nur für DANE gültig"}},
	{5, phrase{"mx05: valid, but not for DANE", "mx05: gültig, nur nicht für DANE"}},
	{6, phrase{"mx06: valid for all", "mx06: für alle gültig"}},
	{7, phrase{"ut: publishes no policy", "ut: veröffentlicht keine Vorgaben"}},
}

// A column is one attempt, or several: connections that follow each other.
type column struct {
	start       time.Time
	connections []*evidence.Connection
}

// attemptGap ends an attempt, as package policyinfer has it.
func attemptGap(t *evidence.Timing) time.Duration {
	const most, least, settle = 10 * time.Second, time.Second, 10 * time.Minute
	if t == nil {
		return most
	}
	if t.Attempt > 0 {
		return time.Duration(t.Attempt)
	}
	settled := settle
	if t.Settle > 0 {
		settled = time.Duration(t.Settle)
	}
	return min(max(settled/60, least), most)
}

func attempts(h evidence.History) (out []column) {
	sorted := make([]*evidence.Connection, 0, len(h.Connections))
	for i := range h.Connections {
		sorted = append(sorted, &h.Connections[i])
	}
	slices.SortStableFunc(sorted, func(a, b *evidence.Connection) int { return a.Start.Compare(b.Start) })
	gap := attemptGap(h.Test.Timing)
	var last time.Time
	for _, c := range sorted {
		if len(out) == 0 || c.Start.Sub(last) > gap {
			out = append(out, column{start: c.Start})
		}
		now := &out[len(out)-1]
		now.connections = append(now.connections, c)
		if last = c.Start; c.End.After(last) {
			last = c.End
		}
	}
	return out
}

// merge lets neighbouring attempts share a row if there are too many.
func merge(all []column) []column {
	n := len(all)
	if n <= rowsKeep {
		return all
	}
	merged := make([]column, rowsKeep)
	for i, a := range all {
		to := &merged[i*rowsKeep/n]
		if len(to.connections) == 0 {
			to.start = a.start
		}
		to.connections = append(to.connections, a.connections...)
	}
	return merged
}

// orderAt returns the host that was the most preferred MX.
func orderAt(states []evidence.State, at time.Time) string {
	var mx map[string]int
	for i := range states {
		if states[i].Time.After(at) {
			break
		}
		if len(states[i].MX) > 0 {
			mx = states[i].MX
		}
	}
	first, preference := "", 0
	for _, host := range scenario.MXHosts() {
		if p, ok := mx[string(host)]; ok && (first == "" || p < preference) {
			first, preference = string(host), p
		}
	}
	return first
}

// addLane appends a cell to each row.
func addLane(rows []moment, columns []column, mine func(*evidence.Connection) bool) {
	for i, column := range columns {
		e := nothing
		for _, c := range column.connections {
			if mine(c) {
				e = strongest(e, eventOf(c))
			}
		}
		rows[i].Cells = append(rows[i].Cells, e)
	}
}

// strongest joins what happened twice in one cell.
func strongest(a, b event) event {
	if a > b {
		a, b = b, a
	}
	if a == declined && b == encrypted {
		return both
	}
	return b
}

// eventOf reads one connection. It counts as declined only if the client left of
// its own accord, after it had met what it may have disliked.
func eventOf(c *evidence.Connection) event {
	if transferred(c) {
		for _, t := range c.Transactions {
			if t.Data && !t.TLS {
				return plaintext
			}
		}
		if c.TLS != nil && c.TLS.Complete {
			return encrypted
		}
		return plaintext
	}
	switch c.Ending {
	case evidence.EndingQuit, evidence.EndingAlert, evidence.EndingCloseNotify, evidence.EndingFIN:
		if c.TLS != nil || c.EHLO && !c.StartTLSOffered {
			return declined
		}
	}
	return connected
}

// timeline has what all pictures of a test share.
func (s speaker) timeline(h evidence.History, columns []column, attempts int) timeline {
	t := timeline{
		Summary:   s.summary(h),
		TimeName:  phrase{"Time", "Zeit"}.in(s.l),
		OfferName: "STARTTLS",
		OrderName: phrase{"1st MX", "1. MX"}.in(s.l),
	}
	for _, c := range columns {
		offered, withheld := offered(c.connections)
		t.Rows = append(t.Rows, moment{
			Time: "+" + length(c.start.Sub(columns[0].start)), Offer: s.offer(offered, withheld), Withheld: withheld, Order: orderAt(h.States, c.start),
		})
	}
	t.Notes = []string{phrase{
		"Each row is an attempt of the sender. STARTTLS: whether encryption was offered, or withheld as an attacker would. 1st MX: which server the MX order preferred.",
		"Jede Zeile ist ein Versuch des Absenders. STARTTLS: ob Verschlüsselung angeboten oder wie von einem Angreifer verweigert wurde. 1. MX: welchen Server die MX-Reihenfolge bevorzugte.",
	}.in(s.l)}
	if attempts > len(columns) {
		t.Notes = append(t.Notes, phrase{
			"There were %[1]d attempts; neighbours share a row.", "Es gab %[1]d Versuche; benachbarte teilen sich eine Zeile.",
		}.with(s.l, attempts))
	}
	return t
}

// legend explains the signs that occur.
func (s speaker) legend(rows []moment) (out []sign) {
	for _, e := range []event{encrypted, plaintext, both, declined, connected} {
		if slices.ContainsFunc(rows, func(m moment) bool { return slices.Contains(m.Cells, e) }) {
			out = append(out, sign{e, e.words().in(s.l)})
		}
	}
	return out
}

// summary says the picture in a sentence.
func (s speaker) summary(h evidence.History) string {
	counts := make(map[event]int)
	for i := range h.Connections {
		counts[eventOf(&h.Connections[i])]++
	}
	first, last := h.Connections[0].Start, h.Connections[0].Start
	for i := range h.Connections {
		if t := h.Connections[i].Start; t.Before(first) {
			first = t
		} else if t.After(last) {
			last = t
		}
	}
	return phrase{
		"Connections: %[1]d in %[2]s. Mail was sent encrypted in %[3]d, unencrypted in %[4]d, and not handed over in %[5]d of them.",
		"Verbindungen: %[1]d in %[2]s. Die E-Mail wurde in %[3]d davon verschlüsselt gesendet, in %[4]d unverschlüsselt und in %[5]d nicht übergeben.",
	}.with(s.l, len(h.Connections), length(last.Sub(first)), counts[encrypted], counts[plaintext], counts[declined])
}

// offered reports whether STARTTLS was offered to some of these connections,
// and withheld from some.
func offered(connections []*evidence.Connection) (offered, withheld bool) {
	for _, c := range connections {
		if c.Phase == evidence.Downgrade {
			withheld = true
		} else {
			offered = true
		}
	}
	return offered, withheld
}

func (s speaker) offer(offered, withheld bool) string {
	yes, no := phrase{"yes", "ja"}.in(s.l), phrase{"no", "nein"}.in(s.l)
	switch {
	case offered && withheld:
		return no + "/" + yes
	case offered:
		return yes
	}
	return no
}

// length writes a duration in words that need no translation.
func length(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}

// hostsOf lists the addresses of the sender, the first seen first.
func hostsOf(h evidence.History) (out []string) {
	seen := make(map[string]bool)
	for i := range h.Connections {
		if host := hostOf(&h.Connections[i]); !seen[host] {
			seen[host] = true
			out = append(out, host)
		}
	}
	return out
}

func hostOf(c *evidence.Connection) string {
	a, err := netip.ParseAddrPort(c.Client)
	if err != nil {
		return c.Client
	}
	return a.Addr().Unmap().String()
}
