package report

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sameInBoth are the phrases that need no translation.
var sameInBoth = []string{"DANE", "DKIM", "DMARC", "DNSSEC", "MTA-STS", "SMTP-DANE", "SNI", "SPF", "STARTTLS"}

func TestLanguageOf(t *testing.T) {
	for _, tt := range []struct {
		name       string
		recipients []string
		header     string
		want       Language
	}{
		{"German addresses", []string{"de@et.sink.example", "de@ut.sink.example"}, "en", German},
		{"English addresses", []string{"en@et.sink.example", "en@ut.sink.example"}, "de-DE", English},
		{"capitals", []string{"DE@et.sink.example"}, "", German},
		{"in brackets", []string{"<de@et.sink.example>"}, "", German},
		{"with a tag of its own", []string{"de+test@et.sink.example"}, "", German},
		{"token of a slot", []string{"de4k7w2q9mxa@et3.sink.example"}, "en", German},
		{"English token", []string{"EN4K7W2Q9MXA@ut3.sink.example"}, "de", English},
		{"both, header is German", []string{"de@et.sink.example", "en@ut.sink.example"}, "de-CH, en", German},
		{"both, header says nothing", []string{"de@et.sink.example", "en@ut.sink.example"}, "", English},
		{"neither, header is German", []string{"postmaster@et.sink.example"}, "de", German},
		{"neither, German is second", []string{"test@et.sink.example"}, "en, de;q=0.5", English},
		{"underscore and weight", nil, " de_AT;q=0.9, en", German},
		{"another language", []string{"test@et.sink.example"}, "fr", English},
		{"begins like German", nil, "den", English},
		{"only the local part counts", []string{"design@de.example"}, "", English},
		{"nothing", nil, "", English},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := LanguageOf(tt.recipients, tt.header); got != tt.want {
				t.Errorf("language %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPhraseArguments(t *testing.T) {
	p := phrase{"%[1]s of %[2]d %[3]s", "von %[2]d %[3]s: %[1]s"}
	kind := phrase{"servers", "Servern"}
	if got, want := p.with(English, "a", 2, kind), "a of 2 servers"; got != want {
		t.Errorf("English: %q, want %q", got, want)
	}
	if got, want := p.with(German, "a", 2, kind), "von 2 Servern: a"; got != want {
		t.Errorf("German: %q, want %q", got, want)
	}
	if got, want := p.in(""), p.en; got != want {
		t.Errorf("the zero language gives %q, want %q", got, want)
	}
}

var (
	verbs        = regexp.MustCompile(`%(\[\d+\])?[+#0-9.]*[a-zA-Z%]`)
	placeholders = regexp.MustCompile(`\{[a-z_]+\}`)
)

// Every phrase in the source is there in both languages, with the same
// arguments.
func TestPhrasesAreComplete(t *testing.T) {
	found := 0
	for position, p := range phrasesInSource(t) {
		found++
		switch {
		case p.en == "" || p.de == "":
			t.Errorf("%s: a language is missing: %q, %q", position, p.en, p.de)
		case p.en == p.de && !slices.Contains(sameInBoth, p.en):
			t.Errorf("%s: not translated: %q", position, p.en)
		}
		for _, pattern := range []*regexp.Regexp{verbs, placeholders} {
			en, de := pattern.FindAllString(p.en, -1), pattern.FindAllString(p.de, -1)
			slices.Sort(en)
			slices.Sort(de)
			if !slices.Equal(en, de) {
				t.Errorf("%s: arguments %q in English and %q in German: %q", position, en, de, p.en)
			}
		}
		for _, v := range verbs.FindAllString(p.en, -1) {
			if v != "%%" && !strings.Contains(v, "[") {
				t.Errorf("%s: %q is not numbered: %q", position, v, p.en)
			}
		}
	}
	if found < 1 {
		t.Error("no phrase was found: the test looks for the wrong thing")
	}
}

// phrasesInSource returns each composite literal of the type phrase, by its
// position: also those in lists, whose elements do not name their type.
func phrasesInSource(t *testing.T) map[string]phrase {
	t.Helper()
	set := token.NewFileSet()
	out := make(map[string]phrase)
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			maps.Copy(out, phrasesIn(t, set, lit, lit.Type))
			return true
		})
	}
	return out
}

// phrasesIn returns lit, if its type is phrase, or its elements, if it is a list
// or map of phrases, or of such lists.
func phrasesIn(t *testing.T, set *token.FileSet, lit *ast.CompositeLit, kind ast.Expr) map[string]phrase {
	t.Helper()
	out := make(map[string]phrase)
	if isPhrase(kind) {
		out[set.Position(lit.Pos()).String()] = literal(t, set, lit)
	}
	var element ast.Expr
	switch of := kind.(type) {
	case *ast.ArrayType:
		element = of.Elt
	case *ast.MapType:
		element = of.Value
	default:
		return out
	}
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			e = kv.Value
		}
		if inner, ok := e.(*ast.CompositeLit); ok && inner.Type == nil {
			maps.Copy(out, phrasesIn(t, set, inner, element))
		}
	}
	return out
}

func isPhrase(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "phrase"
}

// literal reads the two strings of a phrase; a text that is no string
// literal is an error, since nobody could check it.
func literal(t *testing.T, set *token.FileSet, lit *ast.CompositeLit) phrase {
	t.Helper()
	if len(lit.Elts) == 0 {
		return phrase{"none", "ohne"} // the zero value says nothing in any language
	}
	if len(lit.Elts) != 2 {
		t.Errorf("%s: a phrase has two texts", set.Position(lit.Pos()))
		return phrase{"none", "ohne"}
	}
	return phrase{text(t, set, lit.Elts[0]), text(t, set, lit.Elts[1])}
}

func text(t *testing.T, set *token.FileSet, e ast.Expr) string {
	t.Helper()
	switch e := e.(type) {
	case *ast.KeyValueExpr:
		return text(t, set, e.Value)
	case *ast.BinaryExpr:
		return text(t, set, e.X) + text(t, set, e.Y)
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil {
			return s
		}
	}
	t.Errorf("%s: the text of a phrase is no literal", set.Position(e.Pos()))
	return "?"
}
