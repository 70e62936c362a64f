package live

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/scenario"
)

var verbs = regexp.MustCompile(`%(\[\d+\])?[+#0-9.]*[a-zA-Z%]`)

// Every phrase in the source is there in both languages, with the same
// arguments and without straight quotes.
func TestPhrasesAreComplete(t *testing.T) {
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok || len(lit.Elts) != 2 {
				return true
			}
			en, isText := text(lit.Elts[0])
			de, alsoText := text(lit.Elts[1])
			if id, named := lit.Type.(*ast.Ident); !isText || !alsoText || named && id.Name != "phrase" || lit.Type != nil && !named {
				return true
			}
			found++
			checkPhrase(t, set.Position(lit.Pos()).String(), phrase{en, de})
			return true
		})
	}
	if found < 100 {
		t.Errorf("%d phrases were found: the test looks for the wrong thing", found)
	}
}

func checkPhrase(t *testing.T, position string, p phrase) {
	t.Helper()
	switch {
	case p.en == "" || p.de == "":
		t.Errorf("%s: a language is missing: %q, %q", position, p.en, p.de)
	case p.en == p.de:
		t.Errorf("%s: not translated: %q", position, p.en)
	case strings.HasSuffix(p.en, ".") != strings.HasSuffix(p.de, "."):
		t.Errorf("%s: a sentence in one language only: %q, %q", position, p.en, p.de)
	case strings.ContainsAny(p.en+p.de, "'\""):
		t.Errorf("%s: straight quotes: %q, %q", position, p.en, p.de)
	}
	en, de := verbs.FindAllString(p.en, -1), verbs.FindAllString(p.de, -1)
	slices.Sort(en)
	slices.Sort(de)
	if !slices.Equal(slices.Compact(en), slices.Compact(de)) {
		t.Errorf("%s: arguments %q in English and %q in German: %q", position, en, de, p.en)
	}
	for _, v := range en {
		if !strings.Contains(v, "[") {
			t.Errorf("%s: %q is not numbered: %q", position, v, p.en)
		}
	}
}

func text(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// faces lists every face that a connection can meet.
func faces() (out []scenario.Face) {
	for _, d := range []scenario.Domain{scenario.ET, scenario.Unprotected, scenario.UnknownDomain} {
		out = append(out, scenario.Plaintext(d, false), scenario.Plaintext(d, true))
		for _, k := range []scenario.Kind{scenario.SelfSigned, scenario.CADefault} {
			out = append(out, scenario.Default(d, k))
		}
	}
	for _, h := range scenario.MXHosts() {
		out = append(out, scenario.Named(h, scenario.HostKind(h)))
	}
	return append(out, scenario.Named(scenario.UT, scenario.CA), scenario.Named(scenario.UT, scenario.SelfSigned))
}

// Each face has words of its own for what a sender may do there.
func TestEveryFaceHasWords(t *testing.T) {
	met := make(map[string]scenario.Face)
	for _, f := range faces() {
		for _, delivered := range []bool{true, false} {
			s := policyinfer.Seen{Face: f, Delivered: delivered, TLS: f.Certificate != scenario.NoCertificate}
			if !delivered && !s.TLS && f.StartTLS {
				continue // one that was offered STARTTLS and did not use it refused nothing
			}
			words := sightOf(s)
			if words.met.empty() || delivered && words.delivered.empty() || !delivered && words.refused.empty() {
				t.Errorf("%+v, delivered %t: no words (%s)", f, delivered, words.id)
			}
			for _, l := range []report.Language{report.English, report.German} {
				said := sentences(words.met.with(l, 3, "X"), words.delivered.with(l, 3, "X"), words.refused.with(l, 3, "X"))
				if strings.Contains(said, "%") {
					t.Errorf("%s: an argument is missing: %s", words.id, said)
				}
			}
			met[words.id] = f
		}
	}
	if len(met) != len(sights) {
		t.Errorf("%d of %d sights can be met", len(met), len(sights))
	}
	if s := sightOf(policyinfer.Seen{Face: scenario.Named(scenario.MX03, scenario.CA), TLS: true}); s.id != "other" {
		t.Errorf("a face that is none of ours has the words of %q", s.id)
	}
}

// What a sight says about DANE and MTA-STS is what the table of the seven
// servers says (ARCHITECTURE.md): these four are where they differ.
func TestWordsAgreeWithTheTable(t *testing.T) {
	for _, tt := range []struct {
		host              scenario.Host
		delivered, refuse string
	}{
		{scenario.MX03, "DANE forbids that, and so does MTA-STS", "DANE and MTA-STS demand it"},
		{scenario.MX04, "By DANE that is right", "DANE alone would have accepted it"},
		{scenario.MX05, "MTA-STS allows that and DANE does not", "MTA-STS alone would have accepted it"},
		{scenario.MX06, "Everyone who encrypts does that", "nothing is concluded"},
	} {
		words := sightOf(policyinfer.Seen{Face: scenario.Named(tt.host, scenario.HostKind(tt.host)), TLS: true})
		if !strings.Contains(words.delivered.en, tt.delivered) || !strings.Contains(words.refused.en, tt.refuse) {
			t.Errorf("%s: %q, %q", tt.host, words.delivered.en, words.refused.en)
		}
	}
}

// Every outcome at every server has a text in both languages.
func TestEveryServerHasWords(t *testing.T) {
	for n := 1; n <= 7; n++ {
		for _, o := range []Outcome{None, Contacted, Refused, Plaintext, Encrypted, Mixed} {
			for _, refused := range []bool{false, true} {
				for _, encrypted := range []bool{false, true} {
					for _, over := range []bool{false, true} {
						if p := serverText(n, o, refused, encrypted, over); p.en == "" || p.de == "" || strings.Contains(p.en, "%") {
							t.Errorf("server %d, %q: %q", n, o, p)
						}
					}
				}
			}
		}
	}
}

func TestTogether(t *testing.T) {
	for _, tt := range []struct{ a, b, want Outcome }{
		{None, Contacted, Contacted},
		{Contacted, Refused, Refused},
		{Contacted, Encrypted, Encrypted},
		{Encrypted, Refused, Mixed},
		{Mixed, Contacted, Mixed},
		{Mixed, Plaintext, Plaintext},
		{Refused, Plaintext, Plaintext},
		{None, None, None},
	} {
		if got := together(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %q, want %q", tt.a, tt.b, got, tt.want)
		}
		if got := together(tt.b, tt.a); got != tt.want {
			t.Errorf("%q and %q: %q, want %q", tt.b, tt.a, got, tt.want)
		}
	}
}

func TestRhythm(t *testing.T) {
	const m = time.Minute
	for _, tt := range []struct {
		name string
		gaps []time.Duration
		next time.Duration // what came next, and has to be foretold
		most time.Duration // how wide the span may be
		says string
	}{
		{"first attempt", nil, 15 * m, 25 * m, "most mail servers"},
		{"Postfix after two", []time.Duration{5 * m}, 5 * m, 8 * m, "twice as long"},
		{"Postfix after three", []time.Duration{5 * m, 5 * m}, 10 * m, 8 * m, "longer and longer"},
		{"Postfix after four", []time.Duration{5 * m, 5 * m, 10 * m}, 20 * m, 13 * m, "longer and longer"},
		{"Postfix after five", []time.Duration{5 * m, 5 * m, 10 * m, 20 * m}, 40 * m, 24 * m, "longer and longer"},
		{"Postfix at its longest", []time.Duration{40 * m, 67 * m, 67 * m, 68 * m}, 67 * m, 15 * m, "steady"},
		{"every quarter of an hour", []time.Duration{15 * m, 15 * m, 15 * m}, 15 * m, 3 * m, "steady"},
		{"about every quarter", []time.Duration{14 * m, 16 * m, 15 * m}, 16 * m, 5 * m, "steady"},
		{"once longer", []time.Duration{20 * m, 5 * m, 10 * m}, 15 * m, 20 * m, "no steady pace"},
		{"irregular", []time.Duration{3 * m, 30 * m, 4 * m}, 20 * m, 30 * m, "no steady pace"},
		{"compressed", []time.Duration{6 * time.Second, 6 * time.Second, 6 * time.Second}, 6 * time.Second, 4 * time.Second, "steady"},
		{"at the same moment", []time.Duration{0, 0, 0}, 0, 0, "steady"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from, to, why := rhythm(tt.gaps)
			if tt.next < from || tt.next > to {
				t.Errorf("%v is not within %v and %v", tt.next, from, to)
			}
			if to-from > tt.most {
				t.Errorf("%v to %v is too vague", from, to)
			}
			if !strings.Contains(why.en, tt.says) {
				t.Errorf("%q does not say %q", why.en, tt.says)
			}
		})
	}
}

func TestLength(t *testing.T) {
	for d, want := range map[time.Duration][2]string{
		-time.Second:      {"0 s", "0 s"},
		6 * time.Second:   {"6 s", "6 s"},
		5 * time.Minute:   {"5 min", "5 min"},
		67 * time.Minute:  {"67 min", "67 min"},
		150 * time.Minute: {"2.5 h", "2,5 h"},
		24 * time.Hour:    {"24 h", "24 h"},
	} {
		if en, de := length(d, report.English), length(d, report.German); en != want[0] || de != want[1] {
			t.Errorf("%v: %q, %q", d, en, de)
		}
	}
}

func TestWhenWithinOneMinute(t *testing.T) {
	now := time.Date(2026, 3, 2, 12, 0, 10, 0, time.UTC)
	e := &Expected{From: now.Add(5 * time.Second), To: now.Add(20 * time.Second)}
	for l, want := range map[report.Language]string{
		report.English: "The next attempt will probably come at about 12:00 UTC.",
		report.German:  "Der nächste Versuch kommt vermutlich gegen 12:00 UTC.",
	} {
		if got := when(e, now).with(l, clock(e.From, now), clock(e.To, now)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	e.To = now.Add(time.Minute)
	if got := when(e, now).with(report.English, clock(e.From, now), clock(e.To, now)); !strings.Contains(got, "between 12:00 UTC and 12:01 UTC") {
		t.Errorf("%q", got)
	}
}
