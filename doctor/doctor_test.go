package doctor_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/doctor"
	"github.com/tlsink/tlsink/scenario"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write golden files")
	os.Exit(m.Run())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got); run with -update if it is meant:\n%s", file, d)
	}
}

// lines is the output on a terminal, without what changes from run to run.
func lines(t *testing.T, results []doctor.Result) string {
	t.Helper()
	var b strings.Builder
	for _, r := range doctor.Group(results) {
		b.WriteString(r.Line())
	}
	if err := doctor.Summary(&b, results); err != nil {
		t.Fatal(err)
	}
	return dates(b.String())
}

func dates(s string) string {
	words := strings.Split(s, " ")
	for i, w := range words {
		for _, layout := range []string{time.RFC3339, time.DateOnly} {
			if len(w) >= len(layout)-5 && len(w) > 9 && w[4:min(5, len(w))] == "-" {
				if _, err := time.Parse(layout, strings.TrimRight(w, "\n,:")); err == nil {
					words[i] = "DATE" + w[len(strings.TrimRight(w, "\n,:")):]
				}
			}
		}
		if cut := strings.SplitN(w, "\n", 2); len(cut) == 2 {
			if _, err := time.Parse(time.DateOnly, cut[0]); err == nil {
				words[i] = "DATE\n" + cut[1]
			}
			if _, err := time.Parse(time.RFC3339, cut[0]); err == nil {
				words[i] = "DATE\n" + cut[1]
			}
		}
	}
	return strings.Join(words, " ")
}

func TestHealthyDeployment(t *testing.T) {
	d := newDeployment(t)
	results := d.run(doctor.All)
	for _, r := range results {
		if r.Status != doctor.OK {
			t.Errorf("%s", r.Line())
		}
	}
	for _, id := range doctor.Names() {
		if id == "provider" || id == "foreign" {
			continue // see TestElsewhere
		}
		if !slices.ContainsFunc(results, func(r doctor.Result) bool { return r.Check == id }) {
			t.Errorf("check %s gave no result", id)
		}
	}
	if unverifiable, broken, decided := doctor.Worst(results); unverifiable != "" || broken != "" || !decided {
		t.Errorf("effects: %q, %q, %v", unverifiable, broken, decided)
	}
	golden(t, filepath.Join("testdata", "healthy.txt"), lines(t, results))
}

type timeout struct{}

func (timeout) Error() string   { return "i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

// While a key of the zone is handed over, the parent has the DS record of the
// old one or the new one, or both.
func TestHandOver(t *testing.T) {
	d := newDeployment(t)
	old := d.rr("sink.example. 3600 IN DS 1 13 2 " + strings.Repeat("cd", 32))
	d.o.DS = append(d.o.DS, old.(*dns.DS))
	current := d.records["sink.example DS"][0]
	for name, at := range map[string][]dns.RR{"old": {old}, "new": {current}, "both": {old, current}} {
		d.records["sink.example DS"] = at
		for _, r := range d.run(doctor.Outside) {
			if r.Status != doctor.OK {
				t.Errorf("%s DS record at the parent: %s", name, r.Line())
			}
		}
	}
}

func certificate(owner scenario.Owner, kind scenario.Kind) scenario.Certificate {
	return scenario.Certificate{Owner: owner, Kind: kind}
}

// fault breaks one thing. Everything else must stay ok, or wait for it.
type fault struct {
	name   string
	broken func(d *deployment)
	want   []string // "status check" of what is not ok, without what waits for another
	effect doctor.Effect
}

func outsideFaults() []fault {
	all := func(d *deployment, err error) {
		for _, port := range []string{"25", "80", "443"} {
			d.dial["192.0.2.25:"+port] = err
		}
		d.server = func(string, string, *dns.Msg) error { return err }
	}
	return []fault{
		{"wrong zone", func(d *deployment) { d.parent = &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeNameError}} }, []string{"wrong delegation"}, ""},
		{"no delegation", func(d *deployment) { d.parent = &dns.Msg{} }, []string{"wrong delegation"}, ""},
		{"other name servers", func(d *deployment) { d.parent.Ns = []dns.RR{d.rr("sink.example. 60 IN NS ns.provider.example.")} }, []string{"wrong delegation"}, ""},
		{"old glue", func(d *deployment) { d.parent.Extra = []dns.RR{d.rr("ns1.sink.example. 60 IN A 192.0.2.99")} }, []string{"wrong delegation"}, ""},
		{"no resolver", func(d *deployment) { d.o.World, d.o.Own = nil, d }, []string{"cannot caa", "cannot chain", "cannot clock", "cannot delegation", "cannot ds", "cannot ptr"}, doctor.Unverifiable},
		{"lame server", func(d *deployment) {
			d.server = func(_, _ string, m *dns.Msg) error { m.Authoritative, m.Answer = false, nil; return nil }
		}, []string{"wrong name-servers", "wrong ports", "wrong ports"}, ""},
		{"old secondary", func(d *deployment) {
			d.o.NameServers = []string{"ns2.other.example"}
			d.parent.Ns = append(d.parent.Ns, d.rr("sink.example. 60 IN NS ns2.other.example."))
			d.set("ns2.other.example. 60 IN A 192.0.2.53")
			d.server = func(_, server string, m *dns.Msg) error {
				if server == "192.0.2.53:53" {
					m.Answer[0].(*dns.SOA).Serial = 6
				}
				return nil
			}
		}, []string{"wrong name-servers"}, ""},
		{"no DS", func(d *deployment) {
			delete(d.records, "sink.example DS")
			d.o.Own, d.o.World = d, &other{d, dnssec.Insecure}
		}, []string{"wrong ds"}, doctor.Unverifiable},
		{"DS of another key", func(d *deployment) {
			d.records["sink.example DS"][0] = d.rr("sink.example. 60 IN DS 1 13 2 " + strings.Repeat("cd", 32))
		}, []string{"wrong ds"}, ""},
		{"DS copied wrongly", func(d *deployment) {
			d.records["sink.example DS"][0].(*dns.DS).Digest = strings.Repeat("cd", 32)
		}, []string{"wrong ds"}, ""},
		{"insecure", func(d *deployment) { d.o.Own, d.o.World = d, &other{d, dnssec.Insecure} }, []string{"wrong chain"}, doctor.Unverifiable},
		{"bogus", func(d *deployment) { d.o.Own, d.o.World = d, &other{d, dnssec.Bogus} }, []string{"wrong chain"}, doctor.Unverifiable},
		{"wrong addresses", func(d *deployment) {
			d.records["mx05.et.sink.example A"][0] = d.rr("mx05.et.sink.example. 60 IN A 192.0.2.99")
		}, []string{"wrong addresses"}, ""},
		{"firewall in the way", func(d *deployment) { all(d, timeout{}) }, []string{"cannot name-servers", "cannot offered", "wrong ports", "cannot relay", "cannot withheld"}, "undecided"},
		{"firewall keeps port 443", func(d *deployment) { d.dial["192.0.2.25:443"] = timeout{}; d.o.HTTPS = "192.0.2.26:443" }, []string{"wrong ports"}, ""},
		{"port 25 blocked", func(d *deployment) { d.dial["192.0.2.25:25"] = timeout{}; d.o.SMTP = "192.0.2.26:25" }, []string{"cannot ports"}, ""},
		{"nothing listens on 80", func(d *deployment) { d.dial["192.0.2.25:80"] = &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED} }, []string{"wrong ports"}, ""},
		{"another mail server", func(d *deployment) { d.banner = "220 mail.other.example ESMTP \x1b[31mPostfix" }, []string{"wrong ports"}, ""},
		{"address of nobody", func(d *deployment) {
			d.o.Host = []netip.Addr{addr("10.0.0.5")}
			all(d, timeout{})
		}, []string{"cannot name-servers", "cannot offered", "wrong ports", "cannot relay", "cannot withheld"}, "undecided"},
		{"no reverse name", func(d *deployment) { delete(d.records, "25.2.0.192.in-addr.arpa PTR") }, []string{"wrong ptr"}, ""},
		{"other reverse name", func(d *deployment) {
			d.records["25.2.0.192.in-addr.arpa PTR"][0].(*dns.PTR).Ptr = "static-25.provider.example."
		}, []string{"wrong ptr"}, ""},
		{"reports from elsewhere", func(d *deployment) {
			d.o.Sender = addr("192.0.2.77")
			d.set("77.2.0.192.in-addr.arpa. 60 IN PTR mx.sink.example.")
		}, []string{"wrong ptr", "wrong spf", "wrong spf"}, ""},
		{"two SPF records", func(d *deployment) { d.set("sink.example. 60 IN TXT \"v=spf1 -all\"") }, []string{"wrong spf"}, ""},
		{"old DKIM key", func(d *deployment) {
			d.records["tlsink._domainkey.sink.example TXT"][0].(*dns.TXT).Txt = []string{"v=DKIM1; p=BBBB"}
		}, []string{"wrong dkim"}, ""},
		{"no DMARC", func(d *deployment) { delete(d.records, "_dmarc.sink.example TXT") }, []string{"wrong dmarc"}, ""},
		{"CAA of another CA", func(d *deployment) { d.records["example CAA"][0].(*dns.CAA).Value = "other.example" }, []string{"wrong caa"}, ""},
		{"clock years off", func(d *deployment) { d.o.Now = func() time.Time { return time.Now().AddDate(-3, 0, 0) } }, []string{"wrong clock"}, doctor.Unverifiable},
		{"clock is known to be wrong", func(d *deployment) { d.o.Clock = func() error { return errors.New("the clock went back") } }, []string{"wrong clock"}, doctor.Unverifiable},
		{"smarthost", func(d *deployment) { d.o.Smarthost = true; delete(d.records, "25.2.0.192.in-addr.arpa PTR") }, nil, ""},
		{"port 53 closed for resolvers", func(d *deployment) {
			for _, q := range []string{"et.sink.example MX", "mx.sink.example A", "mx.sink.example AAAA", "sink.example TXT", "_dmarc.sink.example TXT"} {
				d.lost[q] = timeout{}
			}
			d.o.Own = newDeployment(d.t)
		}, []string{"cannot chain"}, doctor.Unverifiable},
		{"Internet out of reach", func(d *deployment) { d.lost["example NS"] = context.DeadlineExceeded }, []string{"cannot clock", "cannot delegation"}, ""},
	}
}

func faceFaults() []fault {
	mx03, mx04 := certificate(scenario.OwnerMX03, scenario.SelfSigned), certificate(scenario.OwnerMX04, scenario.SelfSigned)
	mx05, mx06 := certificate(scenario.OwnerMX05, scenario.CA), certificate(scenario.OwnerMX06, scenario.CA)
	ut, utSelf := certificate(scenario.OwnerUT, scenario.CA), certificate(scenario.OwnerUT, scenario.SelfSigned)
	tlsa := func(d *deployment, h, of scenario.Host) {
		n := scenario.Names(zone, 0)
		d.records[n.TLSA(h)+" TLSA"] = d.records[n.TLSA(of)+" TLSA"]
	}
	broken := doctor.Broken
	return []fault{
		{"own signature bogus", func(d *deployment) { d.o.Own = &other{d, dnssec.Bogus} }, []string{"wrong zone"}, doctor.Unverifiable},
		{"own name server down", func(d *deployment) { d.lost["et.sink.example MX"] = timeout{} }, []string{"cannot chain", "cannot zone"}, doctor.Unverifiable},
		{"TLSA at ut", func(d *deployment) { d.set("_25._tcp.ut.sink.example. 60 IN TLSA 3 1 1 " + strings.Repeat("00", 32)) }, []string{"wrong ut"}, broken},
		{"policy for ut", func(d *deployment) { d.set("_mta-sts.ut.sink.example. 60 IN TXT \"v=STSv1; id=1;\"") }, []string{"wrong ut"}, broken},
		{"policy host for ut", func(d *deployment) { d.set("mta-sts.ut.sink.example. 60 IN A 192.0.2.25") }, []string{"wrong ut"}, broken},
		{"policy host down", func(d *deployment) { d.dial["192.0.2.26:443"] = errors.New("refused"); d.o.HTTPS = "192.0.2.26:443" }, []string{"wrong policy"}, doctor.Unverifiable},
		{"policy tests", func(d *deployment) { d.policy = strings.Replace(d.policy, "enforce", "testing", 1) }, []string{"wrong policy"}, doctor.Unverifiable},
		{"policy lists mx03", func(d *deployment) { d.policy += "mx: mx03.et." + zone + "\r\n" }, []string{"wrong policy"}, doctor.Unverifiable},
		{"policy is redirected", func(d *deployment) { d.status200 = 301 }, []string{"wrong policy"}, doctor.Unverifiable},
		{"no policy record", func(d *deployment) { delete(d.records, "_mta-sts.et.sink.example TXT") }, []string{"wrong policy"}, doctor.Unverifiable},
		{"STARTTLS in the downgrade phase", func(d *deployment) { d.offer[false] = true }, []string{"wrong withheld"}, broken},
		{"no STARTTLS at all", func(d *deployment) { d.offer[true] = false }, []string{"wrong offered"}, broken},
		{"mx06 self-signed", func(d *deployment) { d.swap[mx06] = mx04 }, []string{"wrong certificates", "wrong tlsa"}, broken},
		{"mx05 self-signed", func(d *deployment) { d.swap[mx05] = mx03 }, []string{"wrong certificates"}, broken},
		{"ut not issued", func(d *deployment) { d.ended[ut] = true }, []string{"wrong certificates"}, broken},
		{"default not issued", func(d *deployment) { d.ended[certificate(scenario.OwnerDefault, scenario.CA)] = true }, []string{"wrong certificates", "cannot tlsa", "cannot tlsa", "cannot tlsa", "cannot tlsa"}, broken},
		{"self-signed is trusted", func(d *deployment) { d.swap[utSelf] = ut }, []string{"wrong certificates"}, broken},
		{"service certificate", func(d *deployment) { d.swap[certificate(scenario.OwnerService, scenario.CA)] = mx06 }, []string{"wrong certificates", "wrong tlsa"}, ""},
		{"mx05 matches", func(d *deployment) { tlsa(d, scenario.MX05, scenario.MX06); d.swap[mx05] = mx06 }, []string{"wrong certificates", "wrong tlsa"}, broken},
		{"mx04 of another key", func(d *deployment) { tlsa(d, scenario.MX04, scenario.MX06) }, []string{"wrong tlsa"}, broken},
		{"mx03 without TLSA", func(d *deployment) {
			d.records["_25._tcp.mx03.et.sink.example TLSA"] = []dns.RR{d.rr("_25._tcp.mx03.et.sink.example. 60 IN TLSA 0 0 0 00")}
		}, []string{"wrong tlsa"}, broken},
		{"open relay", func(d *deployment) { d.relays = true }, []string{"wrong relay"}, ""},
		{"port 25 out of reach", func(d *deployment) { d.o.SMTP = "192.0.2.26:25"; d.dial[d.o.SMTP] = timeout{} }, []string{"cannot offered", "cannot relay", "cannot withheld"}, "undecided"},
	}
}

// other is a resolver that sees the zone in another way.
type other struct {
	*deployment
	is dnssec.Status
}

func (o *other) Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error) {
	a, err := o.deployment.Lookup(ctx, name, qtype)
	if strings.Contains(name, "et.sink.example") && qtype == dns.TypeMX {
		a.Status, a.Why = o.is, "the reason"
	}
	return a, err
}

// Each fault gives its message, and everything that does not depend on it stays
// ok.
func TestFaults(t *testing.T) {
	var page strings.Builder
	for _, f := range slices.Concat(outsideFaults(), faceFaults()) {
		t.Run(f.name, func(t *testing.T) {
			d := newDeployment(t)
			f.broken(d)
			results := d.run(doctor.All)
			var got []string
			var shown []doctor.Result
			fmt.Fprintf(&page, "## %s\n", f.name)
			for _, r := range results {
				if r.Status == doctor.OK || strings.HasPrefix(r.Seen, "not tested before") {
					continue
				}
				shown = append(shown, r)
				got = append(got, string(r.Status)+" "+r.Check)
				if r.Status == doctor.Wrong && r.Fix == "" {
					t.Errorf("no fix: %s", r.Line())
				}
			}
			for _, r := range doctor.Group(shown) {
				page.WriteString(dates(r.Line()))
			}
			page.WriteString("\n")
			slices.SortFunc(got, func(a, b string) int { return strings.Compare(strings.Fields(a)[1], strings.Fields(b)[1]) })
			if diff := cmp.Diff(f.want, got); diff != "" {
				t.Errorf("not ok (-want +got):\n%s", diff)
			}
			f.effects(t, results)
		})
	}
	golden(t, filepath.Join("testdata", "faults.txt"), page.String())
}

func (f fault) effects(t *testing.T, results []doctor.Result) {
	t.Helper()
	unverifiable, broken, decided := doctor.Worst(results)
	got := doctor.NoEffect
	switch {
	case broken != "":
		got = doctor.Broken
	case f.effect == "undecided" && !decided:
		got = "undecided"
	case unverifiable != "":
		got = doctor.Unverifiable
	}
	if got != f.effect {
		t.Errorf("effect %q (%q, %q, %v); want %q", got, unverifiable, broken, decided, f.effect)
	}
}

// Without a token the downgrade phase is waited out, visibly; or not at all.
func TestWaitingForTheDowngradePhase(t *testing.T) {
	store() // made outside, on the machine's time, for all tests
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t)
		start := time.Now()
		d.o.Token, d.o.Wait = "", true
		var told []time.Duration
		d.o.Waiting = func(left time.Duration) {
			told = append(told, left)
			if time.Since(start) > d.o.Downgrade {
				d.mu.Lock()
				d.offer[false] = true
				d.mu.Unlock()
			}
		}
		d.o.Downgrade = 3 * time.Minute
		d.o.Dial = func(context.Context, string, string) (net.Conn, error) {
			c, s := net.Pipe()
			go d.smtp(s)
			return c, nil
		}
		results := d.run(doctor.Faces)
		i := slices.IndexFunc(results, func(r doctor.Result) bool { return r.Check == "offered" })
		if results[i].Status != doctor.OK || len(told) < 180 || told[0] < 3*time.Minute || told[len(told)-1] > 20*time.Second {
			t.Errorf("%+v after %d seconds: %v", results[i], len(told), told)
		}
	})
	d := newDeployment(t)
	d.o.Token = ""
	for _, r := range d.run(doctor.Faces) {
		switch want := doctor.Cannot; r.Check {
		case "certificates", "tlsa", "offered":
			if r.Status != want {
				t.Errorf("without waiting: %s", r.Line())
			}
		}
	}
}

// Certificates expire, and those of the CA must not.
func TestExpiredCertificates(t *testing.T) {
	d := newDeployment(t)
	d.o.Now = func() time.Time { return time.Now().AddDate(2, 0, 0) }
	results := d.run(doctor.Faces)
	for _, r := range results {
		want := doctor.OK
		switch {
		case r.Check == "policy", r.Check == "certificates" && !strings.Contains(r.Subject, "self-signed") && !strings.Contains(r.Subject, "mx03") && !strings.Contains(r.Subject, "mx04"):
			want = doctor.Wrong
		}
		if r.Status != want || want == doctor.Wrong && !strings.Contains(r.Seen, "expired") {
			t.Errorf("want %s: %s", want, r.Line())
		}
	}
	if _, broken, _ := doctor.Worst(results); broken == "" {
		t.Error("nothing is broken")
	}
}

func TestOptions(t *testing.T) {
	if _, err := doctor.New(doctor.Options{}); err == nil {
		t.Error("options that say nothing are taken")
	}
}

// The page is written from the table.
func TestDocs(t *testing.T) {
	golden(t, filepath.Join("..", "docs", "doctor.md"), doctor.Markdown())
}
