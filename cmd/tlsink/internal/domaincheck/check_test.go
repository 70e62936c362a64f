package domaincheck

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
)

// population adds a domain of each kind.
func (w *checkWorld) population() {
	w.goodDomain("good.example", "192.0.2.1", "192.0.2.2")
	w.plainDomain("plain.example", "192.0.2.3")
	w.add("silent.example. 60 IN MX 10 mx.silent.example.", "mx.silent.example. 60 IN A 192.0.2.4", "null.example. 60 IN MX 0 .")
}

func TestCheckEndToEnd(t *testing.T) {
	inCheckWorld(t, func(t *testing.T, w *checkWorld) {
		w.population()
		networks := checkFile(t, "192.0.2.0\t192.0.2.255\t64496\tDE\tEXAMPLE-NET\n")
		out, errs, status := w.run("", "good.example", "plain.example", "--require=dane", "--require=mta-sts,qualified,tls", "--networks="+networks)
		if status != checkNotMet {
			t.Errorf("exit status %d, want %d", status, checkNotMet)
		}
		good, plain, _ := strings.Cut(out, "\n\nplain.example\n")
		for text, wants := range map[string][]string{
			good: {
				"good.example\n  class      green ", "dane       met ", "mta-sts    met ", "qualified  met ", "tls        met ",
				"mx.good.example (10): MX secure, address secure, TLSA secure, in MTA-STS policy",
				"192.0.2.1  mandatory  1.2 1.3  matches  valid, Test Root, until 2000-01-01", "MTA-STS    mode enforce",
				"network DE EXAMPLE-NET (AS64496): 192.0.2.1\n",
			},
			plain: {
				"class      red ", "dane       not met ", "tls        not met    STARTTLS: mx.plain.example (192.0.2.3): ",
				"MX insecure, address insecure, no TLSA", "192.0.2.3  no ", "it does not offer STARTTLS [dane, mta-sts, qualified, tls]",
			},
		} {
			for _, want := range wants {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in:\n%s", want, text)
				}
			}
		}
		if want := "[1/2] good.example: done\n[2/2] plain.example: done\n"; errs != want {
			t.Errorf("progress %q, want %q", errs, want)
		}
	})
}

func TestCheckStatus(t *testing.T) {
	cases := []struct {
		name, stdin string
		args        []string
		want        int
		says        string
	}{
		{name: "nothing required", args: []string{"plain.example", "silent.example", "missing.example"}, want: checkMet},
		{name: "met", args: []string{"good.example", "--require=dane,mta-sts,qualified,tls"}, want: checkMet},
		{name: "not met", args: []string{"plain.example", "--require=tls"}, want: checkNotMet},
		{name: "could not be tested", args: []string{"silent.example", "--require=tls"}, want: checkUntested},
		{name: "not met, although a server could not be tested", args: []string{"silent.example", "--require=tls,dane"}, want: checkNotMet},
		{name: "takes no mail", args: []string{"null.example", "--require=tls"}, want: checkMet},
		{name: "no such domain", args: []string{"missing.example", "--require=tls"}, want: checkUntested},
		{name: "not met counts most", args: []string{"silent.example", "plain.example", "good.example", "--require=tls"}, want: checkNotMet},
		{name: "one could not be tested", args: []string{"good.example", "silent.example", "--require=tls"}, want: checkUntested},
		{name: "no domain", args: []string{"b d", "good.example"}, want: checkUsage, says: "b d"},
		{name: "no domain on standard input", stdin: "good.example\nb d\n", args: []string{"-", "--require=tls"}, want: checkUsage, says: "b d"},
		{name: "and one that does not meet it", stdin: "b d\nplain.example\n", args: []string{"-", "--require=tls"}, want: checkNotMet, says: "b d"},
		{name: "a line without an end", stdin: strings.Repeat("x", 1<<17), args: []string{"-"}, want: checkUsage, says: "standard input"},
		{name: "nothing to do", want: checkUsage, says: "name at least one"},
		{name: "no such standard", args: []string{"good.example", "--require=ssl"}, want: checkUsage, says: "ssl"},
		{name: "no time", args: []string{"good.example", "--timeout=0s"}, want: checkUsage, says: "--timeout"},
		{name: "none at a time", args: []string{"good.example", "--parallel=0"}, want: checkUsage, says: "--parallel"},
		{name: "no resolver", args: []string{"good.example", "--resolver=resolver.example"}, want: checkUsage, says: "--resolver"},
		{name: "who validates?", args: []string{"good.example", "--trust-anchor=root.key"}, want: checkUsage, says: "--trust-anchor"},
		{name: "no name", args: []string{"good.example", "--from=a b"}, want: checkUsage, says: "--from"},
		{name: "no roots", args: []string{"good.example", "--roots=/nowhere/roots.pem"}, want: checkUsage, says: "/nowhere/roots.pem"},
		{name: "no networks", args: []string{"good.example", "--networks=/nowhere/table.tsv"}, want: checkUsage, says: "/nowhere/table.tsv"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			inCheckWorld(t, func(t *testing.T, w *checkWorld) {
				w.population()
				out, errs, status := w.run(c.stdin, c.args...)
				if status != c.want || !strings.Contains(errs, c.says) {
					t.Errorf("exit status %d, want %d, and %q\n%s%s", status, c.want, c.says, errs, out)
				}
			})
		})
	}
}

func TestCheckReadsNamesAndKeepsTheirOrder(t *testing.T) {
	inCheckWorld(t, func(t *testing.T, w *checkWorld) {
		w.population()
		var names []string
		for i := range 100 { // more than wait for their turn to be printed
			names = append(names, fmt.Sprintf("d%02d.example", i))
		}
		stdin := "# a comment\n\n  null.example  # with a comment\nSomeone@Silent.Example.\r\n" + strings.Join(names, "\n")
		out, errs, _ := w.run(stdin, "good.example", "-", "plain.example", "--json", "--parallel=7")
		var got []string
		for line := range strings.Lines(out) {
			var doc struct {
				Domain   string
				Analysis struct{ Route string }
				Ratings  struct{ Class string }
			}
			if err := json.Unmarshal([]byte(line), &doc); err != nil {
				t.Fatal(err)
			}
			if doc.Ratings.Class == "" || doc.Analysis.Route == "" {
				t.Errorf("not complete: %s", line)
			}
			got = append(got, doc.Domain)
		}
		want := append(append([]string{"good.example", "null.example", "silent.example"}, names...), "plain.example")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("domains (-want +got):\n%s", diff)
		}
		if !strings.HasSuffix(errs, "[103] d99.example: done\n[104] plain.example: done\n") {
			t.Errorf("progress: %s", errs)
		}
	})
}

func TestCheckResolver(t *testing.T) {
	t.Run("does not validate", func(t *testing.T) {
		inCheckWorld(t, func(t *testing.T, w *checkWorld) {
			w.population()
			w.signed = nil
			if out, errs, status := w.run("", "good.example"); out != "" || status != checkUntested || !strings.Contains(errs, "does not validate") {
				t.Errorf("exit status %d: %s%s", status, errs, out)
			}
		})
	})
	t.Run("drops DNSSEC records", func(t *testing.T) {
		inCheckWorld(t, func(t *testing.T, w *checkWorld) {
			w.population()
			w.trusting = false
			out, errs, status := w.run("", "good.example", "plain.example")
			if out != "" || status != checkUntested || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "does not pass DNSSEC records on") || !strings.Contains(errs, "--resolver") {
				t.Errorf("exit status %d: %s%s", status, errs, out)
			}
		})
	})
	t.Run("does not answer", func(t *testing.T) {
		inCheckWorld(t, func(t *testing.T, w *checkWorld) {
			w.trusting, w.silent = false, true
			out, errs, status := w.run("", "good.example", "--require=tls")
			if status != checkUntested || !strings.Contains(out, "class      grey       It could not be found out where its mail goes: ") || strings.Contains(out, "Problems") {
				t.Errorf("exit status %d: %s%s", status, errs, out)
			}
		})
	})
	t.Run("is not believed", func(t *testing.T) {
		inCheckWorld(t, func(t *testing.T, w *checkWorld) {
			w.population()
			w.trusting = false
			anchor := checkFile(t, "other.example. 60 IN DS 1 13 2 "+strings.Repeat("00", 32)+"\n")
			out, _, status := w.run("", "good.example", "--require=dane", "--trust-anchor="+anchor)
			if status != checkNotMet || !strings.Contains(out, "MX insecure") {
				t.Errorf("exit status %d:\n%s", status, out)
			}
		})
	})
}

func TestCheckOfAPrivateAddress(t *testing.T) {
	inCheckWorld(t, func(t *testing.T, w *checkWorld) {
		w.plainDomain("lab.example", "10.0.0.1")
		if out, _, _ := w.run("", "lab.example"); !strings.Contains(out, "10.0.0.1  no ") {
			t.Errorf("not connected to, although allowed:\n%s", out)
		}
		w.public = true
		out, _, status := w.run("", "lab.example", "--require=tls")
		if status != checkUntested || !strings.Contains(out, "10.0.0.1  not tested: ") {
			t.Errorf("exit status %d:\n%s", status, out)
		}
	})
}

func TestCheckInterrupted(t *testing.T) {
	inCheckWorld(t, func(t *testing.T, w *checkWorld) {
		w.population()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		w.ctx = ctx
		out, errs, status := w.run("", "good.example", "--require=tls")
		if status != checkUntested || out != "" || !strings.Contains(errs, "interrupted") {
			t.Errorf("exit status %d, %q, %q", status, out, errs)
		}
		time.Sleep(time.Minute) // the analysis ends
	})
}

func TestCheckRules(t *testing.T) {
	out, _, status := runCheck(t, "", "check", "--rules")
	for _, want := range []string{"dane\n  complete ", "\nmta-sts\n", "\nqualified\n", "\ntls\n", "\nclass\n  red ", "\nmecsa\n  score ", "RFC 7672 §2.2.1", "80 %"} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("exit status %d, no %q in:\n%s", status, want, out)
		}
	}
}

func runCheck(t *testing.T, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var commands struct {
		Check Cmd `cmd:""`
	}
	var out, err bytes.Buffer
	status = cli.Run(&cli.Env{Ctx: t.Context(), Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &err}, &commands, args)
	return out.String(), err.String(), status
}
