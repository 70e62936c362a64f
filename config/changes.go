package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Changes are the settings that differ, by key.
type Changes struct {
	Applied []string `json:"applied"` // settings
	Restart []string `json:"restart"` // settings that need one
}

// appliesAtOnce reports whether a setting changes without a restart. Durations
// of tests do not: the evidence of a test is read with those it began with.
func appliesAtOnce(key string) bool {
	switch key {
	case "retention_days", "log.level", "certificates.roots", "timing.give_up", "timing.report_retry", "timing.report_attempt":
		return true
	}
	return strings.HasPrefix(key, "limits.") || strings.HasPrefix(key, "mail.smarthost.")
}

// Compare lists the settings that differ.
func Compare(now, next Config) Changes {
	out := Changes{Applied: []string{}, Restart: []string{}}
	before, after := settingsOf(reflect.ValueOf(now), ""), settingsOf(reflect.ValueOf(next), "")
	for _, key := range slices.Sorted(maps.Keys(after)) {
		switch {
		case before[key] == after[key]:
		case appliesAtOnce(key):
			out.Applied = append(out.Applied, key)
		default:
			out.Restart = append(out.Restart, key)
		}
	}
	return out
}

// Take copies the settings of next that apply at once.
func (c *Config) Take(next *Config) {
	c.Retention, c.Limits, c.Log.Level = next.Retention, next.Limits, next.Log.Level
	c.Certificates.Roots, c.Mail.Smarthost = next.Certificates.Roots, next.Mail.Smarthost
	c.Timing.GiveUp, c.Timing.ReportRetry, c.Timing.ReportAttempt = next.Timing.GiveUp, next.Timing.ReportRetry, next.Timing.ReportAttempt
}

// settingsOf returns the values of a configuration as text, by key.
func settingsOf(v reflect.Value, prefix string) map[string]string {
	out := make(map[string]string)
	for f, value := range v.Fields() {
		key := prefix + f.Tag.Get("toml")
		if f.Type.Kind() == reflect.Struct {
			maps.Copy(out, settingsOf(value, key+"."))
			continue
		}
		out[key] = fmt.Sprint(value.Interface())
	}
	return out
}
