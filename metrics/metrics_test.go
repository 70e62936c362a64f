package metrics_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/metrics"
)

func get(t *testing.T, o metrics.Options) string {
	t.Helper()
	rec := httptest.NewRecorder()
	metrics.Handler(o).ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}

func TestMetrics(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	got := get(t, metrics.Options{
		Now:       func() time.Time { return now },
		Checks:    func() map[string]bool { return map[string]bool{"tlsa": true, "ptr": false} },
		Suspended: func() (bool, bool) { return true, false },
		Checked:   func() time.Time { return now },
		Certificates: func() []metrics.Certificate {
			return []metrics.Certificate{
				{Face: "mx06.et.sink.example", Kind: "ca", Algorithm: "rsa", NotAfter: now.Add(time.Hour)},
				{Face: "mx05.et.sink.example", Kind: "ca", Algorithm: "rsa"},
			}
		},
		Serial: func() uint32 { return 4_000_000_000 }, Running: func() int { return 3 }, Queue: func() int { return -1 },
		Storage: func() bool { return false }, Secondaries: func() map[string]bool { return map[string]bool{"192.0.2.53:53": true} },
		DNS: func() map[string]uint64 { return map[string]uint64{"udp": 7} },
	})
	want := `# HELP tlsink_certificate_expiry_seconds Time until a certificate expires; negative if it has, absent if it is not issued.
# TYPE tlsink_certificate_expiry_seconds gauge
tlsink_certificate_expiry_seconds{algorithm="rsa",face="mx06.et.sink.example",kind="ca"} 3600
# HELP tlsink_certificates_missing Certificates that are not issued yet.
# TYPE tlsink_certificates_missing gauge
tlsink_certificates_missing 1
# HELP tlsink_check_ok 1 if a check of the deployment is ok, 0 if something is wrong; absent if it could not be made.
# TYPE tlsink_check_ok gauge
tlsink_check_ok{check="ptr"} 0
tlsink_check_ok{check="tlsa"} 1
# HELP tlsink_check_timestamp_seconds When the deployment was last checked.
# TYPE tlsink_check_timestamp_seconds gauge
tlsink_check_timestamp_seconds 1.7952624e+09
# HELP tlsink_dns_messages_total Messages of the name server by what happened.
# TYPE tlsink_dns_messages_total counter
tlsink_dns_messages_total{event="udp"} 7
# HELP tlsink_secondary_notified 1 if a secondary name server has acknowledged the last change of the zone.
# TYPE tlsink_secondary_notified gauge
tlsink_secondary_notified{address="192.0.2.53:53"} 1
# HELP tlsink_storage_ok 1 if what is new is on disk, 0 if the disk takes nothing.
# TYPE tlsink_storage_ok gauge
tlsink_storage_ok 0
# HELP tlsink_tests_running Tests without a verdict.
# TYPE tlsink_tests_running gauge
tlsink_tests_running 3
# HELP tlsink_verdicts_suspended 1 if verdicts are suspended because of a fault of this sink: those without protection, or all.
# TYPE tlsink_verdicts_suspended gauge
tlsink_verdicts_suspended{verdicts="all"} 0
tlsink_verdicts_suspended{verdicts="unprotected"} 1
# HELP tlsink_zone_serial Serial of the zone.
# TYPE tlsink_zone_serial gauge
tlsink_zone_serial 4e+09
`
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("metrics (-want +got):\n%s", d)
	}
}

// What the service does not have is left out.
func TestNothingToShow(t *testing.T) {
	if got := get(t, metrics.Options{}); got != "" {
		t.Errorf("metrics of nothing: %s", got)
	}
}
