package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// decode reads a record. Errors name the field and what it must be.
func decode(b []byte, into any) error {
	err := json.Unmarshal(b, into)
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("%s: %s; want %s", kind.Field, kind.Value, kindWord(kind))
	case errors.As(err, &kind):
		return fmt.Errorf("%s; want an object", kind.Value)
	}
	// Types that read themselves don't know the name of their field.
	var tree any
	if json.Unmarshal(b, &tree) == nil {
		if field := misread("", tree); field != "" {
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	return fmt.Errorf("not JSON: %w", err)
}

func kindWord(e *json.UnmarshalTypeError) string {
	switch word := e.Type.Kind().String(); word {
	case "bool", "string":
		return "a " + word
	case "slice":
		return "a list"
	case "struct", "map", "ptr":
		return "an object"
	case "int", "int64":
		return "a whole number"
	default:
		return word
	}
}

// misread returns the path of the first time or duration that cannot be read.
func misread(path string, v any) string {
	switch v := v.(type) {
	case []any:
		for i, x := range v {
			if field := misread(fmt.Sprintf("%s[%d]", path, i), x); field != "" {
				return field
			}
		}
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			field := k
			if path != "" {
				field = path + "." + k
			}
			if !readable(k, v[k]) {
				return field
			}
			if field := misread(field, v[k]); field != "" {
				return field
			}
		}
	}
	return ""
}

// readable tries a field that reads itself; others are.
func readable(key string, v any) bool {
	b, err := json.Marshal(v)
	if err != nil {
		return true
	}
	switch key {
	case "start", "end", "time", "started", "date":
		var t time.Time
		return json.Unmarshal(b, &t) == nil
	case "settle", "silence", "margin", "attempt":
		var d Duration
		return json.Unmarshal(b, &d) == nil
	}
	return true
}
