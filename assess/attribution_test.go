package assess

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// Which mails are one of a test already.
func TestIsMailOf(t *testing.T) {
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	dated := func(at time.Time) *evidence.Message { return &evidence.Message{Date: at} }
	list := history.TestRecord{Test: evidence.Test{Sender: "list+1@list.example"}, MessageIDs: []string{"<1@x>", mailID(evidence.Transaction{Message: dated(noon)}), ""}}
	bounce := history.TestRecord{MessageIDs: []string{"<1@x>"}}
	for _, c := range []struct {
		name string
		r    history.TestRecord
		tx   evidence.Transaction
		here bool
		want bool
	}{
		{"sender and Message-ID", list, evidence.Transaction{MailFrom: "List+1@List.Example", MessageID: "<1@x>"}, true, true},
		{"sender and Message-ID, from elsewhere", list, evidence.Transaction{MailFrom: "list+1@list.example", MessageID: "<1@x>"}, false, true},
		{"another Message-ID", list, evidence.Transaction{MailFrom: "list+1@list.example", MessageID: "<2@x>"}, true, false},
		{"VERP", list, evidence.Transaction{MailFrom: "list+2@list.example", MessageID: "<1@x>"}, true, true},
		{"VERP, from elsewhere", list, evidence.Transaction{MailFrom: "list+2@list.example", MessageID: "<1@x>"}, false, false},
		{"another domain", list, evidence.Transaction{MailFrom: "list+1@other.example", MessageID: "<1@x>"}, true, false},
		{"null sender", list, evidence.Transaction{MessageID: "<1@x>"}, true, false},
		{"Date instead of Message-ID", list, evidence.Transaction{MailFrom: "list+1@list.example", Message: dated(noon)}, true, true},
		{"Date, from elsewhere", list, evidence.Transaction{MailFrom: "list+1@list.example", Message: dated(noon)}, false, false},
		{"another Date", list, evidence.Transaction{MailFrom: "list+1@list.example", Message: dated(noon.Add(time.Second))}, true, false},
		{"neither", list, evidence.Transaction{MailFrom: "list+1@list.example"}, true, false},
		{"bounce", bounce, evidence.Transaction{MessageID: "<1@x>"}, true, true},
		{"bounce from elsewhere", bounce, evidence.Transaction{MessageID: "<1@x>"}, false, false},
		{"another bounce", bounce, evidence.Transaction{MessageID: "<2@x>"}, true, false},
	} {
		if got := isMailOf(c.r, c.tx, c.here); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestHeloTrait(t *testing.T) {
	for name, want := range map[string]trait{
		"mail-1.provider.example": "helo provider.example", "MAIL.Provider.Example.": "helo provider.example",
		"a.b.provider.co.uk": "helo provider.co.uk", "co.uk": "helo co.uk", "localhost": "", "localhost.localdomain": "", "": "",
		"[192.0.2.1]": "", "192.0.2.1": "",
	} {
		if got, ok := heloTrait(name); got != want || ok != (want != "") {
			t.Errorf("%q: %q %v, want %q", name, got, ok, want)
		}
	}
}

// Tests are kin by what they share, directly or by way of others; neighbours in
// a network only if a mail roams there.
func TestKin(t *testing.T) {
	for _, c := range []struct {
		name   string
		places [][2]string // for each test, client and EHLO name; "," begins another
		want   bool        // the last one is kin of the first
	}{
		{"strangers in one network", [][2]string{{"192.0.2.1", "mx.a.example"}, {"192.0.2.2", "mx.b.example"}}, false},
		{"one address", [][2]string{{"192.0.2.1", "mx.a.example"}, {"192.0.2.1", "mx.b.example"}}, true},
		{"one organization", [][2]string{{"192.0.2.1", "m1.a.example"}, {"198.51.100.1", "m2.a.example"}}, true},
		{"by way of another", [][2]string{{"192.0.2.1", "mx.a.example"}, {"192.0.2.1", "mx.b.example"}, {"198.51.100.1", "out.b.example"}}, true},
		{"one roams in the network", [][2]string{{"192.0.2.1,203.0.113.7", "mx.a.example"}, {"192.0.2.2", "mx.b.example"}}, true},
		{"another roams in the network", [][2]string{{"192.0.2.1", "m1.a.example"}, {"192.0.2.9,203.0.113.7", "m2.a.example"}, {"192.0.2.2", "mx.b.example"}}, true},
		{"it roams elsewhere", [][2]string{{"198.51.100.1,203.0.113.7", "mx.a.example"}, {"192.0.2.2", "mx.b.example"}}, false},
		{"one IPv6 network", [][2]string{{"2001:db8:0:1::1,2001:db8:0:2::1", "mx.a.example"}, {"2001:db8:0:3::1", "mx.b.example"}}, true},
	} {
		a := &Assessor{tests: make(map[string]*test), traits: make(traitIndex)}
		var list []*test
		for i, p := range c.places {
			x := &test{rec: history.TestRecord{Test: evidence.Test{Sender: fmt.Sprintf("user@s%d.example", i)}}}
			for ip := range strings.SplitSeq(p[0], ",") {
				if strings.Contains(ip, ":") {
					ip = "[" + ip + "]"
				}
				x.note(evidence.Connection{Client: ip + ":1", Helo: []string{p[1]}})
			}
			a.tests[fmt.Sprint(i)] = x
			a.traits.add(x)
			list = append(list, x)
		}
		if got := slices.Contains(a.kin(list[0]), list[len(list)-1]); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// A test that is forgotten ties others together no more. Of a large group as many
// are returned as were asked for.
func TestKinOfManyTests(t *testing.T) {
	a := &Assessor{o: Options{Limits: Limits{Connections: 1}}, tests: make(map[string]*test), traits: make(traitIndex)}
	add := func(id, client, helo string) *test {
		x := &test{rec: history.TestRecord{Test: evidence.Test{ID: id, Sender: id + "@sender.example"}}}
		a.tests[id] = x
		a.put(x, evidence.Connection{Client: client, Helo: []string{helo}})
		return x
	}
	one := add("one", "192.0.2.1:1", "mx.a.example")
	add("between", "192.0.2.1:1", "mx.b.example")
	far := add("far", "198.51.100.1:1", "mx.b.example")
	if !slices.Contains(a.kin(one), far) {
		t.Error("not kin by way of another test")
	}
	a.drop("between")
	if kin := a.kin(one); len(kin) > 0 {
		t.Errorf("%d kin by way of a test that is forgotten", len(kin))
	}
	const many = 10_000
	for i := range many {
		add(fmt.Sprint(i), fmt.Sprintf("203.0.113.%d:1", i%250), "mx.a.example")
	}
	if n := len(a.kin(one)); n != many {
		t.Errorf("%d kin, want %d", n, many)
	}
	if n := len(a.group(a.tests["0"])); n != maxGroup+1 {
		t.Errorf("a group of %d, want %d: too many to be read", n, maxGroup+1)
	}
	for i := range many {
		a.drop(fmt.Sprint(i))
	}
	if n := len(a.traits["helo a.example"]); n != 1 {
		t.Errorf("%d tests have the trait of one", n)
	}
}

// Every connection that both of two tests may own is left out of both, and none
// is counted twice, nor after the verdict.
func TestLeftOutIsTheRightNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		one := w.sender("one@sender.example", policyinfer.DANE)
		two := w.sender("two@sender.example", policyinfer.DANE)
		for range 4 {
			one.attempt()
			w.wait(time.Minute)
			two.attempt()
			w.wait(6 * time.Minute)
		}
		conns, err := w.store.Connections(t.Context(), history.ConnectionFilter{})
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, c := range conns {
			if c.Connection.MailFrom == nil {
				want++
			}
		}
		for _, s := range []*sender{one, two} {
			if v := w.test(s.from); v.History.Test.LeftOut != want || want == 0 || countWithout(v.History) > 0 {
				t.Errorf("%s: %d left out, want %d; %d without mail are in the history", s.from, v.History.Test.LeftOut, want, countWithout(v.History))
			}
		}
		w.wait(9 * time.Hour) // both end
		one.attempt()
		two.attempt()
		for _, s := range []*sender{one, two} {
			if v := w.test(s.from); v.Record.Test.LeftOut != want {
				t.Errorf("%s: %d left out after the end, want %d as in the report", s.from, v.Record.Test.LeftOut, want)
			}
		}
	})
}

func countWithout(h evidence.History) (n int) {
	for _, c := range h.Connections {
		if c.MailFrom == nil {
			n++
		}
	}
	return n
}

// The report about the time before a change is due with the split, or when the
// disk is well again.
func TestSplitReportSurvivesAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.broken = &brokenStore{}
		w.stop()
		w.start()
		w.rotate()
		s := w.sender("user@sender.example", policyinfer.DANEMTASTS)
		s.perTry = 1
		for range 3 {
			s.attempt()
			w.wait(5 * time.Minute)
		}
		s.mail()
		s.policy, s.sni = policyinfer.May, true
		w.broken.fail(true)
		for range 6 {
			s.attempt()
			w.wait(10 * time.Minute)
		}
		w.broken.fail(false)
		s.until(20, 10*time.Minute)
		w.wait(time.Minute)
		w.stop()
		w.start()
		defer w.stop()
		queue, err := w.store.Queue(t.Context())
		if tests := w.tests(s.from); err != nil || len(tests) != 2 || len(queue) != 2 {
			t.Errorf("%d tests, %d reports due, %v; want 2 of each", len(tests), len(queue), err)
		}
	})
}

// That a mail was sent again is known after a restart: the phase that ended
// with it does not come back, and a contradiction still splits the test.
func TestResendSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s := w.sender("user@sender.example", policyinfer.DANEMTASTS)
		s.perTry = 1
		for range 3 {
			s.attempt()
			w.wait(20 * time.Second)
		}
		s.mail()
		s.attempt()
		before := w.tests(s.from)[0]
		w.stop()
		w.start()
		defer w.stop()
		after := w.tests(s.from)[0]
		if after.Resent.IsZero() || !after.Resent.Equal(before.Resent) || !after.Secured.Equal(before.Secured) {
			t.Errorf("sent again %v, after a restart %v", before.Resent, after.Resent)
		}
		id := w.store.NewConnID()
		if treatment, err := w.a.Accepted(id, addrPort("192.0.2.25:25"), addrPort("192.0.2.10:1")); err != nil || treatment.Phase != evidence.Secure {
			t.Errorf("after a restart: %v, %v; want the secure phase", treatment, err)
		}
		w.a.Closed(evidence.Connection{ID: id, Start: time.Now(), End: time.Now(), Client: "192.0.2.10:1", Ending: evidence.EndingQuit})
	})
}

// A roaming mail meets TLS at its third address. A test that begins there has a
// downgrade phase of its own.
func TestNewAddressesOfARoamingMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		phase := func(ip string) evidence.Phase {
			id := w.store.NewConnID()
			treatment, err := w.a.Accepted(id, addrPort("192.0.2.25:25"), addrPort(ip+":1"))
			if err != nil {
				t.Fatal(err)
			}
			w.a.Closed(evidence.Connection{ID: id, Start: time.Now(), End: time.Now(), Client: ip + ":1", Ending: evidence.EndingQuit})
			return treatment.Phase
		}
		s := w.sender("user@sender.example", policyinfer.May)
		for _, ip := range []string{"203.0.113.1", "203.0.113.2"} {
			s.ip = ip
			s.attempt()
			w.wait(4 * time.Minute)
			s.attempt()
			w.wait(4 * time.Minute)
		}
		for ip, want := range map[string]evidence.Phase{"203.0.113.3": evidence.Secure, "198.51.100.3": evidence.Downgrade} {
			if got := phase(ip); got != want {
				t.Errorf("%s: %s, want %s", ip, got, want)
			}
		}
		other := w.sender("other@else.example", policyinfer.Encrypt)
		other.ip, other.helo = "203.0.113.3", "mx.else.example"
		other.attempt()
		if got := phase("203.0.113.3"); got != evidence.Downgrade {
			t.Errorf("after a test began there: %s, want a downgrade phase", got)
		}
		other.until(30, 10*time.Minute)
		if v := w.test(other.from); v.Verdict.Policy != policyinfer.Encrypt && v.Verdict.Policy != policyinfer.Undetermined {
			t.Errorf("the other is called %s", v.Verdict.Policy)
		}
	})
}

// Three users of one provider test at the same time. What each shows alone is
// not enough; together they show what their provider does, and nothing about
// each other.
func TestSeveralTestsShowTheProvider(t *testing.T) {
	t.Parallel()
	for _, differ := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newTimedWorld(t, 3, Timing{Close: 3 * time.Hour})
			defer w.stop()
			var users []*sender
			for i, domain := range []string{"one.example", "two.example", "three.example"} {
				s := w.sender(fmt.Sprintf("secret%d@%s", i, domain), policyinfer.DANE)
				s.perTry = 3
				users = append(users, s)
			}
			if differ {
				users[2].policy, users[2].sni = policyinfer.May, true
			}
			for at := range 200 {
				for i, every := range []int{7, 11, 13} {
					if at%every == i && !users[i].delivered() {
						users[i].attempt()
					}
				}
				w.wait(time.Minute)
			}
			told := 0
			for i, s := range users {
				r := w.tests(s.from)[0]
				if r.Provider == nil {
					continue
				}
				told++
				b, err := json.Marshal(r.Provider)
				if err != nil || r.Provider.Policy != string(policyinfer.DANE) || r.Provider.Tests != 3 || strings.Contains(string(b), "secret") {
					t.Errorf("user %d: %s, %v", i, b, err)
				}
				var v policyinfer.Verdict
				if err := json.Unmarshal(r.Verdict, &v); err != nil || v.Policy != policyinfer.Undetermined || r.Test.LeftOut == 0 {
					t.Errorf("user %d: verdict %s beside it, %d left out, %v", i, v.Policy, r.Test.LeftOut, err)
				}
			}
			if differ && told > 0 || !differ && told == 0 {
				t.Errorf("differ=%v: %d users are told about the provider", differ, told)
			}
		})
	}
}

// Mail that names only one domain does not wait for faces of the other.
func TestExpects(t *testing.T) {
	a := &Assessor{o: Options{Zone: zone}}
	n := scenario.Names(zone, 0)
	et, ut := "en@"+n.ET, "en@"+n.UT
	for _, c := range []struct {
		name      string
		addressed []string
		rcpt      string
		et, ut    bool
	}{
		{"both", []string{et, ut}, et, true, true},
		{"et", []string{et}, et, true, false},
		{"ut", []string{ut}, ut, false, true},
		{"names ut, is for et", []string{ut}, et, true, true},
		{"names nobody", nil, ut, true, true},
	} {
		h := evidence.History{Connections: []evidence.Connection{{Transactions: []evidence.Transaction{{Data: true, RcptTo: []string{c.rcpt}, Addressed: c.addressed}}}}}
		if et, ut := a.expects(h); et != c.et || ut != c.ut {
			t.Errorf("%s: et %v, ut %v", c.name, et, ut)
		}
	}
}

// Of a session that servers share, a test knows its own mails only, and nothing
// of whom the others were for.
func TestItsPartOfASharedSession(t *testing.T) {
	one := &test{rec: history.TestRecord{Test: evidence.Test{Sender: "one@sender.example"}, MessageIDs: []string{"<1@x>"}}}
	const et, ut, private = "test@et.sink.example", "test@ut.sink.example", "test+two@ut.sink.example"
	mine := evidence.Transaction{MailFrom: "one@sender.example", MessageID: "<1@x>", Data: true, RcptTo: []string{et}, Addressed: []string{et, ut}}
	silent := evidence.Transaction{MailFrom: "one@sender.example", RcptTo: []string{et}}
	other := evidence.Transaction{MailFrom: "two@sender.example", MessageID: "<2@x>", Data: true, RcptTo: []string{private}, Addressed: []string{private}}
	for _, c := range []struct {
		name            string
		list            []evidence.Transaction
		data            bool
		addressed, keep []string
	}{
		{"alone", []evidence.Transaction{mine}, true, []string{et, ut, private}, []string{"x@elsewhere.example"}},
		{"beside another", []evidence.Transaction{mine, other}, true, []string{et, ut}, nil},
		{"without a message", []evidence.Transaction{other, silent}, false, nil, nil},
	} {
		from := c.list[0].MailFrom
		all := evidence.Connection{MailFrom: &from, Data: true, RcptTo: []string{et, private}, Addressed: []string{et, ut, private}, Refused: []string{"x@elsewhere.example"}, Transactions: c.list}
		got := one.itsPart(all)
		if got.Data != c.data || !slices.Equal(got.Addressed, c.addressed) || !slices.Equal(got.Refused, c.keep) || *got.MailFrom != "one@sender.example" {
			t.Errorf("%s: data %v, addressed %v, refused %v, from %s", c.name, got.Data, got.Addressed, got.Refused, *got.MailFrom)
		}
		if len(c.list) > 1 && (slices.Contains(got.RcptTo, private) || len(got.Transactions) != 1) {
			t.Errorf("%s: recipients %v in %d transactions", c.name, got.RcptTo, len(got.Transactions))
		}
	}
}
