package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// changeAll gives every setting another value.
func changeAll(v reflect.Value) {
	for f, value := range v.Fields() {
		switch {
		case f.Type.Kind() == reflect.Struct:
			changeAll(value)
		case value.Kind() == reflect.String:
			value.SetString(value.String() + "x")
		case value.Kind() == reflect.Bool:
			value.SetBool(!value.Bool())
		case value.CanInt():
			value.SetInt(value.Int() + 1)
		case value.Kind() == reflect.Slice:
			one := reflect.New(f.Type.Elem()).Elem()
			if one.Kind() == reflect.String {
				one.SetString("x")
			}
			value.Set(reflect.Append(value, one))
		}
	}
}

// What a reload says it applies is what it takes, and nothing else.
func TestReloadTakesWhatItNames(t *testing.T) {
	var now Config
	now.SetDefaults()
	next := now
	changeAll(reflect.ValueOf(&next).Elem())
	diff := Compare(now, next)
	if n := len(keys(reflect.TypeFor[Config](), "")); len(diff.Applied)+len(diff.Restart) != n-1 { // listen.nat stays
		t.Errorf("%d applied, %d after a restart, %d settings", len(diff.Applied), len(diff.Restart), n)
	}
	now.Take(&next)
	after := Compare(now, next)
	if len(after.Applied) != 0 {
		t.Errorf("named, but not taken: %q", after.Applied)
	}
	if d := cmp.Diff(diff.Restart, after.Restart); d != "" {
		t.Errorf("taken, but not named: %s", d)
	}
	// The example says the same.
	section, marked := "", []string{}
	all := false
	for line := range strings.Lines(Example()) {
		if strings.HasPrefix(line, "[") {
			section, _, _ = strings.Cut(strings.Trim(line, "["), "]")
			section += "."
			all = strings.Contains(line, "(reload)")
			continue
		}
		if key, _, ok := strings.Cut(line, " = "); ok && !strings.HasPrefix(key, "#") && (all || strings.Contains(line, "(reload)")) {
			marked = append(marked, section+key)
		}
	}
	for _, key := range marked {
		if !slices.Contains(diff.Applied, key) {
			t.Errorf("the example says that a reload takes %s", key)
		}
	}
	if len(marked) < 10 {
		t.Errorf("the example marks only %q", marked)
	}
}
