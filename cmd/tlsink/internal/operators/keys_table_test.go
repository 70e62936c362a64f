package operators

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/scenario"
)

func TestPrintKeys(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	ca, id := scenario.Certificate{Kind: scenario.CA}, strings.Repeat("ab", 32)
	keys := []certs.KeyStatus{
		{Host: "mta-sts.et.sink.example.org", Certificate: ca, Algorithm: certs.ECDSA, Issued: true, NotAfter: at, Next: at},
		{Host: "mx06.et.sink.example.org", Certificate: ca, Algorithm: certs.ECDSA, KeyID: id, Published: true, Issued: true, NotAfter: at, Roll: "certificate", RollError: "the CA is down"},
		{Host: "mx04.et.sink.example.org", Certificate: scenario.Certificate{Kind: scenario.SelfSigned}, Algorithm: certs.RSA, KeyID: id, Published: true, Issued: true, NotAfter: at, Roll: "announce", RollDue: at},
		{Host: "ut.sink.example.org", Certificate: ca, Algorithm: certs.RSA, Failures: 12, LastFailed: at, LastError: "the CA\nis down"},
		{Host: "ut.sink.example.org", Certificate: ca, Algorithm: certs.ECDSA, Failures: 12, LastFailed: at, LastError: "the CA\nis down"},
		{Host: "default", Certificate: ca, Algorithm: certs.RSA, LastError: "not delegated", Next: at},
		{Host: "default", Certificate: ca, Algorithm: certs.ECDSA, Next: at},
	}
	var out strings.Builder
	if err := printKeys(&out, "sink.example.org", 9, keys); err != nil {
		t.Fatal(err)
	}
	want := `HOST        CERTIFICATE  KEY    TLSA 3 1 1 …      VALID TO    NEXT (UTC)        STATE
mta-sts.et  ca           ecdsa  -                 2026-03-01  2026-03-01 12:30  ok
mx06.et     ca           ecdsa  abababababababab  2026-03-01  -                 rolling, certificate
mx04.et     self-signed  rsa    abababababababab  2026-03-01  2026-03-01 12:30  rolling, announce
ut          ca           rsa    -                 not issued  -                 failed 12 times
ut          ca           ecdsa  -                 not issued  -                 failed 12 times
default     ca           rsa    -                 not issued  2026-03-01 12:30  waiting
default     ca           ecdsa  -                 not issued  2026-03-01 12:30  waiting

Every host has the same keys in all 9 slots.

mx06.et ecdsa:
  the CA is down

ut rsa, ut ecdsa:
  last at 2026-03-01 12:30:00: the CA` + "\uFFFD" + `is down

default rsa:
  not delegated
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for line := range strings.Lines(out.String()) {
		if len([]rune(line)) > 101 {
			t.Errorf("more than 100 columns: %s", line)
		}
	}
}
