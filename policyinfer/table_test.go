package policyinfer

import (
	"testing"

	"github.com/tlsink/tlsink/scenario"
)

// The table of what each sender does at each virtual server, derived from the
// model cell by cell, for each SNI habit. yes: mail is transferred; no: it
// comes and leaves; "–": it does not come, or not to this face.
func TestTableOfServers(t *testing.T) {
	columns := []struct {
		name Name
		p    Policy
	}{
		{None, Policy{}},
		{May, Policy{TLS: TLSOffered}},
		{Encrypt, Policy{TLS: TLSRequired}},
		{Verify, Policy{TLS: TLSRequired, CA: CARequired}},
		{DANE, Policy{TLS: TLSOffered, DANE: DANEEnforced}},
		{DANEOnly, Policy{TLS: TLSRequired, DANE: DANERequired}},
		{MTASTS, Policy{TLS: TLSOffered, STS: STSEnforced}},
		{DANEMTASTS, Policy{TLS: TLSOffered, DANE: DANEEnforced, STS: STSEnforced, Both: BothMustHold}},
	}
	type row struct {
		name string
		face scenario.Face
		sni  bool
		want [8]string // none may encrypt verify dane dane-only mta-sts dane+mta-sts
	}
	const x = "–"
	plaintext := []row{
		{"1 et", scenario.Plaintext(et, false), false, [8]string{"yes", "yes", "no", "no", "no", "no", "no", "no"}},
		{"7 plaintext", scenario.Plaintext(ut, false), false, [8]string{"yes", "yes", "no", "no", "yes", x, "yes", "yes"}},
	}
	noSNI := func(may, encrypt, self, ca, policies string) []row {
		return []row{
			{"2 self-signed, et", scenario.Default(et, scenario.SelfSigned), false, [8]string{x, may, encrypt, self, x, x, x, x}},
			{"2 CA, et", scenario.Default(et, scenario.CADefault), false, [8]string{x, may, encrypt, ca, x, x, x, x}},
			{"7 self-signed, no SNI", scenario.Default(ut, scenario.SelfSigned), false, [8]string{x, may, encrypt, self, policies, x, policies, policies}},
			{"7 CA, no SNI", scenario.Default(ut, scenario.CADefault), false, [8]string{x, may, encrypt, ca, policies, x, policies, policies}},
		}
	}
	named := func(any, self, ca string) []row {
		face := scenario.Named
		return []row{
			{"3", face(scenario.MX03, scenario.SelfSigned), true, [8]string{x, any, any, self, "no", "no", "no", "no"}},
			{"4", face(scenario.MX04, scenario.SelfSigned), true, [8]string{x, any, any, self, "yes", "yes", "no", "no"}},
			{"5", face(scenario.MX05, scenario.CA), true, [8]string{x, any, any, ca, "no", "no", "yes", "no"}},
			{"6", face(scenario.MX06, scenario.CA), true, [8]string{x, any, any, ca, "yes", "yes", "yes", "yes"}},
		}
	}
	namedUT := func(any, self, ca, policies string) []row {
		return []row{
			{"7 self-signed", scenario.Named(scenario.UT, scenario.SelfSigned), true, [8]string{x, any, any, self, policies, x, policies, policies}},
			{"7 CA", scenario.Named(scenario.UT, scenario.CA), true, [8]string{x, any, any, ca, policies, x, policies, policies}},
		}
	}
	for _, habit := range []struct {
		name string
		sni  SNIHabit
		rows [][]row
	}{
		{"never", SNINever, [][]row{plaintext, noSNI("yes", "yes", "no", "yes", "yes"), named(x, x, x), namedUT(x, x, x, x)}},
		{"authenticating", SNIAuthenticating, [][]row{plaintext, noSNI("yes", "yes", "no", "yes", "yes"), named(x, x, x), namedUT(x, x, x, x)}},
		{"always", SNIAlways, [][]row{plaintext, noSNI(x, x, x, x, x), named("yes", "no", "yes"), namedUT("yes", "no", "yes", "yes")}},
	} {
		for _, rows := range habit.rows {
			for _, r := range rows {
				for i, col := range columns {
					p := col.p
					p.SNI = habit.sni
					if p.SNI == SNIAuthenticating && p.CA != CAIgnored {
						p.SNI = SNINever // one that verifies everywhere names the host always or never
					}
					if !p.exists() {
						if habit.sni == SNINever && (p.DANE != DANEOff || p.STS != STSOff) {
							continue // both RFCs demand SNI
						}
						t.Fatalf("%s with SNI %s does not exist in the model", col.name, habit.name)
					}
					if got := p.Name(); got != col.name {
						t.Errorf("%v is named %s, want %s", p, got, col.name)
					}
					if got := cell(p, r.face, r.sni); got != r.want[i] {
						t.Errorf("SNI %s, server %s: %s does %q, want %q", habit.name, r.name, col.name, got, r.want[i])
					}
				}
			}
		}
	}
}

// cell says what p does at f by asking which observations are possible.
func cell(p Policy, f scenario.Face, sni bool) string {
	o := observation{face: f, sni: scenario.No}
	if sni {
		o.sni = scenario.Yes
	}
	delivered, left := deliveredTLS, refusedTLS
	if f.Certificate == scenario.NoCertificate {
		delivered, left, o.sni = deliveredPlaintext, refusedPlaintext, scenario.Unknown
	}
	if !p.contacts(f.Domain, f.Host, true) {
		return "–"
	}
	o.outcome = delivered
	if p.possible(o) {
		return "yes"
	}
	o.outcome = left
	if p.possible(o) {
		return "no"
	}
	return "–"
}

// Filters and combinations that the table names in its footnotes.
func TestFootnotesOfTheTable(t *testing.T) {
	mx03, mx05 := scenario.Named(scenario.MX03, scenario.SelfSigned), scenario.Named(scenario.MX05, scenario.CA)
	sts := Policy{TLS: TLSOffered, STS: STSEnforced, SNI: SNIAlways}
	early := sts
	early.Filter = FilterEarly
	stsWins := Policy{TLS: TLSOffered, DANE: DANEEnforced, STS: STSEnforced, Both: STSWins, SNI: SNIAlways}
	daneWins := Policy{TLS: TLSOffered, DANE: DANEEnforced, STS: STSEnforced, SNI: SNIAlways}
	for _, c := range []struct {
		name string
		p    Policy
		face scenario.Face
		want string
	}{
		{"c: a sender that checks late comes to 3 and leaves", sts, mx03, "no"},
		{"c: one that filters first never comes to 3", early, mx03, "–"},
		{"d: 5 is refused if DANE wins", daneWins, mx05, "no"},
		{"d: 5 is delivered to if MTA-STS overrides DANE", stsWins, mx05, "yes"},
	} {
		if got := cell(c.p, c.face, true); got != c.want {
			t.Errorf("%s: got %q", c.name, got)
		}
	}
}

// A lazy sender does at first what its own rule says, and afterwards what the
// policy says; both must stay possible while it may not have fetched.
func TestLazyMTASTS(t *testing.T) {
	lazy := Policy{TLS: TLSOffered, STS: STSLazy, SNI: SNIAlways}
	plain := observation{face: scenario.Plaintext(et, false), outcome: deliveredPlaintext, sni: scenario.Unknown}
	if plain.early = true; !lazy.possible(plain) {
		t.Error("plaintext to et must be possible before the first fetch has ended")
	}
	if plain.early = false; lazy.possible(plain) {
		t.Error("plaintext to et must be impossible after the first fetch has ended")
	}
	refused := observation{face: scenario.Named(scenario.MX04, scenario.SelfSigned), outcome: refusedTLS, sni: scenario.Yes}
	for _, refused.early = range []bool{true, false} {
		if !lazy.possible(refused) {
			t.Errorf("refusing mx04 must be possible (early %v)", refused.early)
		}
	}
}
