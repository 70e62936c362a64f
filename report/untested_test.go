package report_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/rating"
	"github.com/tlsink/tlsink/report"
)

// What could not be tested is never shown as a failure, in no place and no
// language.
func TestUntestedIsNoFailure(t *testing.T) {
	for _, route := range []inbound.Route{inbound.RouteMX, inbound.RouteImplicit, inbound.RouteUnknown} {
		a := green()
		leaveUntested(reflect.ValueOf(&a).Elem())
		a.Route, a.Faults = route, nil
		r := rating.Rate(a, rating.Outbound{})
		for _, l := range []report.Language{report.English, report.German} {
			in := recorded(t, "postfix-dane")
			in.Inbound, in.Ratings, in.Language = &a, &r, l
			text := report.Text(in)
			if strings.Count(text, "[-]") != 1 { // where the signs are explained
				t.Errorf("%s, %s: something has failed:\n%s", route, l, text)
			}
			page, err := report.HTML(in)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(page), "✗") {
				t.Errorf("%s, %s: something has failed in the mail", route, l)
			}
			for _, failed := range []string{" 0 of 5", " 0 von 5", "cannot rely", "nicht darauf stützen", "Nothing tells senders", "Nichts sagt"} {
				if strings.Contains(text, failed) {
					t.Errorf("%s, %s: %q in the report", route, l, failed)
				}
			}
		}
	}
}

// leaveUntested lets every question be open.
func leaveUntested(v reflect.Value) {
	switch at := v.Addr().Interface().(type) {
	case *check.Result:
		*at = check.Skip("connection timed out")
	case *dnssec.Status:
		*at = dnssec.Error
	case *time.Time:
	default:
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					leaveUntested(v.Field(i))
				}
			}
		case reflect.Slice:
			for i := range v.Len() {
				leaveUntested(v.Index(i))
			}
		case reflect.Pointer:
			if !v.IsNil() {
				leaveUntested(v.Elem())
			}
		}
	}
}
