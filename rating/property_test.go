package rating

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
)

// input is one answer that grades rest on.
type input struct {
	path string
	get  func() check.Outcome
	set  func(check.Outcome)
}

// inputs are all answers in a domain's analysis and its mails. An old version
// of TLS that is accepted is bad: no stands for that.
func inputs(a *inbound.Analysis, out *Outbound) []input {
	var list []input
	add := func(path string, r *check.Result, inverted bool) {
		turn := func(o check.Outcome) check.Outcome {
			if inverted && o == check.Yes {
				return check.No
			}
			if inverted && o == check.No {
				return check.Yes
			}
			return o
		}
		list = append(list, input{path, func() check.Outcome { return turn(r.Outcome) }, func(o check.Outcome) { *r = check.Result{Outcome: turn(o), Why: "set"} }})
	}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(path, v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
		case reflect.Struct:
			switch x := v.Addr().Interface().(type) {
			case *check.Result:
				// Reached is no quality; Host.DANE is told by its parts.
				ofHost := strings.HasSuffix(path, "].DANE") && !strings.Contains(path, "Servers")
				if !ofHost && !strings.HasSuffix(path, ".Reached") {
					add(path, x, strings.Contains(path, "Versions[2]") || strings.Contains(path, "Versions[3]"))
				}
				return
			case *inbound.RRset:
				list = append(list, rrset(path, x))
				return
			}
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() && v.Type().Field(i).Type.PkgPath() != "time" {
					walk(path+"."+v.Type().Field(i).Name, v.Field(i))
				}
			}
		}
	}
	walk("Analysis", reflect.ValueOf(a).Elem())
	walk("Outbound", reflect.ValueOf(out).Elem())
	return list
}

func rrset(path string, r *inbound.RRset) input {
	words := map[dnssec.Status]check.Outcome{dnssec.Secure: check.Yes, dnssec.Insecure: check.No, dnssec.Bogus: check.No, dnssec.Error: check.Untested}
	address := strings.HasSuffix(path, ".A") || strings.HasSuffix(path, ".AAAA")
	get := func() check.Outcome {
		if address && r.Count == 0 && r.Status == dnssec.Insecure {
			return "" // the host has other addresses, so this is neither good nor bad
		}
		return words[r.Status]
	}
	return input{path, get, func(o check.Outcome) {
		for status, word := range words {
			if word == o && status != dnssec.Bogus {
				r.Status = status
			}
		}
	}}
}

// random is a domain of any quality, mostly good.
func random(rnd *rand.Rand) (inbound.Analysis, Outbound) {
	a, out := good(), goodOutbound()
	out.Hosts, out.Encrypted = 3, rnd.IntN(4)
	if rnd.IntN(3) == 0 {
		a = hosts(3+rnd.IntN(8), 0, nil)
	}
	badness := rnd.IntN(30)
	for _, in := range inputs(&a, &out) {
		switch n := rnd.IntN(100); {
		case n < badness:
			in.set(check.No)
		case n < badness+badness/2:
			in.set(check.Untested)
		}
	}
	a.MTASTS.Mode = []string{"enforce", "enforce", "testing"}[rnd.IntN(3)]
	for i := range a.Hosts {
		if rnd.IntN(5) == 0 {
			noTLSA(&a.Hosts[i])
		}
		for j := range a.Hosts[i].Servers {
			s := &a.Hosts[i].Servers[j]
			switch rnd.IntN(12) {
			case 0:
				unreachable(s)
			case 1:
				s.Certificate = nil
			}
		}
	}
	return a, out
}

// better reports in which grade one domain is better than another. Grey says
// nothing.
func better(one, other Ratings) string {
	rank := map[check.Outcome]int{check.No: 0, check.Untested: 1, check.Yes: 2}
	for i, s := range one.Standards {
		if rank[s.Met.Outcome] > rank[other.Standards[i].Met.Outcome] {
			return s.ID
		}
	}
	colour := map[Class]int{Red: 0, Yellow: 1, White: 2, Green: 3}
	if one.Class != Grey && other.Class != Grey && colour[one.Class] > colour[other.Class] {
		return "class"
	}
	for i, s := range one.MECSA {
		if s.HalfStars > other.MECSA[i].HalfStars {
			return s.ID
		}
	}
	return ""
}

func TestGradesFollowTheAnswers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 17))
	changed := 0
	for range 60 {
		a, out := random(rnd)
		before := Rate(a, out)
		for _, in := range inputs(&a, &out) {
			was := in.get()
			switch was {
			case check.Yes:
				in.set(check.No)
				after := Rate(a, out)
				if grade := better(after, before); grade != "" {
					t.Fatalf("%s from yes to no makes %q better:\n%s\n%s", in.path, grade, asJSON(before), asJSON(after))
				}
				if better(before, after) != "" {
					changed++
				}
			case check.No:
				in.set(check.Untested)
				if grade := better(before, Rate(a, out)); grade != "" {
					t.Fatalf("%s from no to untested makes %q worse:\n%s", in.path, grade, asJSON(before))
				}
			default:
				continue
			}
			in.set(was)
		}
	}
	if changed < 200 {
		t.Errorf("only %d changes made a grade worse: the domains are not what this test needs", changed)
	}
}

func TestSendingWithoutEncryptionNeverHelps(t *testing.T) {
	for n := 1; n <= 12; n++ {
		for encrypted := range n {
			more := Rate(good(), Outbound{Hosts: n, Encrypted: encrypted + 1})
			if grade := better(Rate(good(), Outbound{Hosts: n, Encrypted: encrypted}), more); grade != "" {
				t.Errorf("%d of %d hosts: %s better than with one more", encrypted, n, grade)
			}
		}
	}
}

// asJSON shows grades where a property fails.
func asJSON(r Ratings) string {
	b, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
