package main

import "testing"

func TestProviderDomain(t *testing.T) {
	for host, want := range map[string]string{
		"alt1.ASPMX.l.google.com.":              "google.com",
		"x-example.mail.protection.outlook.com": "outlook.com",
		"mx.provider.co.uk":                     "provider.co.uk",
		"localhost":                             "",
		"":                                      "",
		"mx.<b>.example":                        "",
		"mx.=cmd.example":                       "",
		"192.0.2.1\x00.example":                 "",
		"mx.xn--mnchen-3ya.example":             "xn--mnchen-3ya.example",
		"mx.m\u00fcnchen.example":               "",
		string(make([]byte, 300)) + ".example.com": "",
	} {
		if got := providerDomain(host); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

func TestSenderKey(t *testing.T) {
	for address, want := range map[string]string{
		"User@Mail.Example":         "user@mail.example",
		"user+one@mail.example":     "user@mail.example",
		"user+two+x@mail.example":   "user@mail.example",
		"other@mail.example":        "other@mail.example",
		"user@other+domain.example": "user@other+domain.example",
	} {
		if got := senderKey(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
