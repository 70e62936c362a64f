package web

import (
	"maps"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

// Every word is there in both languages, with the same places to fill in.
func TestWordsOfBothLanguages(t *testing.T) {
	same := map[string]bool{"Status": true, "SNI": true, "Seconds": true, "Server": true, "Phase": true, "In": true}
	en, de := texts(reflect.ValueOf(wordsOf(report.English)), ""), texts(reflect.ValueOf(wordsOf(report.German)), "")
	verbs := regexp.MustCompile(`%\w|\{\w+\}`)
	for name, e := range en {
		d, ok := de[name]
		if !ok || d == "" || e == "" {
			t.Errorf("%s: %q, %q", name, e, d)
		}
		if e == d && !same[name] {
			t.Errorf("%s is %q in both languages", name, e)
		}
		if a, b := verbs.FindAllString(e, -1), verbs.FindAllString(d, -1); strings.Join(a, " ") != strings.Join(b, " ") {
			t.Errorf("%s: %q has other places than %q", name, d, e)
		}
	}
	if len(en) != len(de) {
		t.Errorf("%d texts, %d in German", len(en), len(de))
	}
	for _, w := range []words{wordsOf(report.English), wordsOf(report.German)} {
		for _, s := range []live.State{live.Queued, live.Waiting, live.Expired, live.Running, live.Concluded, live.Acked, live.Closed} {
			if w.Heading(s) == "" {
				t.Errorf("%s: no heading of %s", w.Lang, s)
			}
		}
		for _, o := range []live.Outcome{live.None, live.Contacted, live.Refused, live.Plaintext, live.Encrypted, live.Mixed} {
			if w.Outcome(o) == "" || w.Brief(o) == "" {
				t.Errorf("%s: no words for %q", w.Lang, o)
			}
		}
		for _, c := range []live.Trend{live.Same, live.Better, live.Worse, live.Other, live.Unknown} {
			if w.Trend(c) == "" {
				t.Errorf("%s: no words for %q", w.Lang, c)
			}
		}
	}
}

// texts collects the strings of a value by name.
func texts(v reflect.Value, name string) map[string]string {
	out := make(map[string]string)
	add := func(inner reflect.Value, name string) {
		maps.Copy(out, texts(inner, name))
	}
	switch v.Kind() {
	case reflect.String:
		out[name] = v.String()
	case reflect.Struct:
		for i := range v.NumField() {
			add(v.Field(i), v.Type().Field(i).Name)
		}
	case reflect.Array:
		for i := range v.Len() {
			add(v.Index(i), name+string(rune('0'+i)))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if k.CanInt() {
				add(v.MapIndex(k), name+" "+strings.Repeat("I", int(k.Int()%100))+string(rune('0'+k.Int()/100)))
			} else {
				add(v.MapIndex(k), name+" "+k.String())
			}
		}
	}
	return out
}

// No word is left that no page says.
func TestWordsAreUsed(t *testing.T) {
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := templateFiles.ReadFile("templates/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	inCode := "Titles Outcomes Briefs Trends Missing Units Failures FailTitle FrontTitle PrivacyTitle StatusTitle CompareTitle TooManyStarts TooManyTests Busy OtherLang OtherName Result Refresh Ahead Filled Omitted BadLink Client Greeting SNI TLS By NoSuchTest"
	for name := range reflect.TypeFor[words]().Fields() {
		if !strings.Contains(all.String(), "."+name.Name) && !strings.Contains(" "+inCode+" ", " "+name.Name+" ") {
			t.Errorf("%s is said nowhere", name.Name)
		}
	}
}
