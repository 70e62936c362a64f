package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/report"
)

func FuzzPastedLink(f *testing.F) {
	s, err := New(Options{Zone: "sink.example", Source: noSource{}, Certificates: noCertificates{}})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"https://sink.example/t/mfrggzdfmztwq2lknnwg23tpobyxe43u", "/t/mfrggzdfmztwq2lknnwg23tpobyxe43u.json", "https://evil.example/t/mfrggzdfmztwq2lknnwg23tpobyxe43u",
		"//[::1]:x/t/", "https://mx.sink.example/t/a/../..", "%zz", "\x00", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		capability, ok := s.pasted(text)
		if ok && (!capabilityPattern.MatchString(capability) || !strings.Contains(text, capability)) && !strings.Contains(text, "%") {
			t.Errorf("%q is taken from %q", capability, text)
		}
	})
}

func FuzzAcceptLanguage(f *testing.F) {
	for _, seed := range []string{"de-CH, en;q=0.5", "*;q=1", "de;q=NaN", ";;,,;q=", "en;q=1e999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if l := languageOf(&http.Request{Header: http.Header{"Accept-Language": {header}}}); l != report.English && l != report.German {
			t.Errorf("%q makes %q", header, l)
		}
	})
}
