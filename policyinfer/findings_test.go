package policyinfer

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// twoHosts is a history in which the first host hands mail over in plaintext,
// and the second refuses self-signed certificates without naming hosts.
func twoHosts(first, second string) evidence.History {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	n := scenario.Names(simZone, 0)
	h := evidence.History{Test: evidence.Test{Zone: simZone}}
	conn := func(after time.Duration, client string, kind scenario.Kind, rcpt string) {
		c := evidence.Connection{
			ID: evidence.ConnID(fmt.Sprint(len(h.Connections))), Start: start.Add(after), End: start.Add(after + time.Second), Client: client + ":1",
			EHLO: true, Helo: []string{"mta"}, StartTLSOffered: kind != scenario.NoCertificate, Ending: evidence.EndingQuit, Destination: "unknown",
		}
		if kind != scenario.NoCertificate {
			c.StartTLS, c.TLS = true, &evidence.TLS{Stage: evidence.StageFinished, ClientVersions: []string{"1.3"}, Complete: true, Certificate: string(kind)}
		}
		if rcpt != "" {
			to := []string{rcpt}
			c.Transactions = []evidence.Transaction{{RcptTo: to, Addressed: []string{"en@" + n.ET, "en@" + n.UT}, MessageID: "<1>", Data: true, TLS: c.TLS != nil}}
		}
		h.Connections = append(h.Connections, c)
	}
	conn(0, first, scenario.NoCertificate, "en@"+n.ET)
	conn(time.Second, first, scenario.NoCertificate, "en@"+n.UT)
	for _, m := range []time.Duration{15, 35} {
		conn(m*time.Minute, second, scenario.SelfSigned, "")
		conn(m*time.Minute+2*time.Second, second, scenario.CADefault, "en@"+n.ET)
		conn(m*time.Minute+4*time.Second, second, scenario.CADefault, "en@"+n.UT)
	}
	return h
}

// One host verifies and the other takes plaintext: no host does both.
func TestFindingsRestOnOneHost(t *testing.T) {
	for _, c := range []struct {
		name, second string
		want         bool
	}{
		{"one host", "192.0.2.10", true},
		{"two hosts", "192.0.2.11", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := New().Infer(twoHosts("192.0.2.10", c.second), Options{})
			got := slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.ID == FindingVerifiesUnused })
			if got != c.want {
				t.Errorf("%s is there: %v, want %v: %+v", FindingVerifiesUnused, got, c.want, v.Findings)
			}
		})
	}
}

// What a ClientHello and a suite say for certain.
func TestHowWellTLSIsSpoken(t *testing.T) {
	str := func(s string) *string { return &s }
	for _, c := range []struct {
		name            string
		tls             evidence.TLS
		old, weak, none bool
	}{
		{"nothing seen", evidence.TLS{}, false, false, false},
		{"1.0 and 1.1", evidence.TLS{ClientVersions: []string{"1.1", "1.0"}}, true, false, false},
		{"1.2 too", evidence.TLS{ClientVersions: []string{"1.2", "1.1"}}, false, false, false},
		{"a version of the future", evidence.TLS{ClientVersions: []string{"1.4"}}, false, false, false},
		{"RSA key exchange", evidence.TLS{Cipher: str("TLS_RSA_WITH_AES_256_GCM_SHA384")}, false, true, false},
		{"3DES with ECDHE", evidence.TLS{Cipher: str("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA")}, false, true, false},
		{"RC4 with our ECDSA key", evidence.TLS{Cipher: str("TLS_ECDHE_ECDSA_WITH_RC4_128_SHA")}, false, false, false},
		{"CBC with ECDHE", evidence.TLS{Cipher: str("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA")}, false, false, false},
		{"TLS 1.3", evidence.TLS{Cipher: str("TLS_AES_128_GCM_SHA256")}, false, false, false},
		{"no common version", evidence.TLS{Stage: evidence.StageBeforeCertificate, Error: str("client offered only unsupported versions: [300]")}, false, false, true},
		{"no common suite", evidence.TLS{Stage: evidence.StageBeforeCertificate, Alert: str("handshake failure")}, false, false, true},
		{"the same after our certificate", evidence.TLS{Stage: evidence.StageCertificate, Alert: str("handshake failure")}, false, false, false},
		{"another alert", evidence.TLS{Stage: evidence.StageBeforeCertificate, Alert: str("internal error")}, false, false, false},
		{"no certificate of ours", evidence.TLS{Stage: evidence.StageBeforeCertificate, Error: str("certificate mx04/self-signed: no keys")}, false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := offersOld(&c.tls); got != c.old {
				t.Errorf("offers only old versions: %v", got)
			}
			if got := negotiatedWeak(&c.tls); got != c.weak {
				t.Errorf("weak suite: %v", got)
			}
			if got := nothingInCommon(&c.tls); got != c.none {
				t.Errorf("nothing in common: %v", got)
			}
		})
	}
}
