package sink

import (
	"crypto/tls"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
)

func TestOffered(t *testing.T) {
	got := offered([]uint16{0x1a1a, tls.TLS_AES_128_GCM_SHA256, 0xfafa, 0x0aaa, 0xcafe}, tls.CipherSuiteName)
	if d := cmp.Diff([]string{"TLS_AES_128_GCM_SHA256", "0x0AAA", "0xCAFE"}, got); d != "" {
		t.Errorf("suites (-want +got):\n%s", d)
	}
	if got := offered(make([]tls.CurveID, 5000), tls.CurveID.String); len(got) != evidence.MaxOffered {
		t.Errorf("%d curves are kept", len(got))
	}
}
