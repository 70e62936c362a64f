package metrics

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Recorder counts what happens. It is safe for concurrent use, and no method
// blocks.
type Recorder struct {
	connections *prometheus.CounterVec
	refused     *prometheus.CounterVec
	open        prometheus.Gauge
	greeting    prometheus.Histogram
	handshake   *prometheus.HistogramVec
	replies     *prometheus.CounterVec
	decision    prometheus.Histogram
	write       *prometheus.HistogramVec

	opened    prometheus.Counter
	concluded *prometheus.CounterVec
	ended     *prometheus.CounterVec
	verdict   *prometheus.HistogramVec
	attempts  prometheus.Histogram
	phase     *prometheus.HistogramVec
	leaseWait prometheus.Histogram

	requests *prometheus.CounterVec
	request  *prometheus.HistogramVec
	logins   *prometheus.CounterVec
	webhooks *prometheus.CounterVec
	reports  *prometheus.CounterVec
	report   prometheus.Histogram
	fetches  *prometheus.CounterVec
}

// The buckets of histograms, in seconds: of what machines do at once, of
// exchanges over the network, of deliveries, and of tests, which take hours.
func fast() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}
}
func wire() []float64 { return []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60} }
func slow() []float64 { return []float64{.1, .5, 1, 5, 15, 60, 300, 900} }
func long() []float64 {
	return []float64{60, 180, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400}
}

// NewRecorder returns a Recorder that has seen nothing.
func NewRecorder() *Recorder {
	r := &Recorder{}
	r.newSMTP()
	r.newTests()
	r.newWeb()
	return r
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
}

func single(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
}

func (r *Recorder) newSMTP() {
	r.connections = counter("smtp_connections_total", "SMTP connections that have ended, by phase and virtual server (0: none).", "phase", "server")
	r.refused = counter("smtp_connections_refused_total", "SMTP connections that were refused with 421 at once: too many, or its network is blocked.", "reason")
	r.open = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "smtp_connections_open", Help: "SMTP connections that are open now, without probes of this service."})
	r.greeting = single("smtp_greeting_seconds", "Time from accepting an SMTP connection to the greeting.", fast())
	r.handshake = histogram("smtp_tls_handshake_seconds", "Duration of TLS handshakes after STARTTLS, by how they ended and version.", wire(), "result", "version")
	r.replies = counter("smtp_message_replies_total", "Replies to whole messages for tests.", "code")
	r.decision = single("smtp_message_decision_seconds", "Time from the end of a message to its reply: inference and storage.", fast())
	r.write = histogram("history_write_seconds", "Time until evidence was on disk, or was not.", fast(), "result")
}

func (r *Recorder) newTests() {
	r.opened = prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "tests_opened_total", Help: "Tests whose first mail has come."})
	r.concluded = counter("tests_concluded_total", "Tests with a verdict.", "verdict")
	r.ended = counter("tests_ended_total", "Tests that are over: every copy of their mail was accepted (acked), or without that (closed).", "state")
	r.verdict = histogram("test_verdict_seconds", "Time from the first mail of a test to its verdict.", long(), "conclusive")
	r.attempts = single("test_verdict_attempts", "Delivery attempts that a verdict took.", []float64{1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50})
	r.phase = histogram("test_phase_seconds", "How long concluded tests were in a phase: without STARTTLS (downgrade), and with it up to the verdict (secure).", long(), "phase")
	r.leaseWait = single("lease_wait_seconds", "Time that a test started on the web waited for a slot of its own.", []float64{1, 10, 60, 300, 900, 1800, 3600, 14400, 43200, 86400})
}

func (r *Recorder) newWeb() {
	r.requests = counter("http_requests_total", "HTTP requests that were answered.", "route", "method", "code")
	r.request = histogram("http_request_seconds", "Time until an HTTP request was answered; streams of live pages are left out.", fast(), "route")
	r.logins = counter("console_logins_total", "Attempts to log in to the operator's console.", "result")
	r.webhooks = counter("webhook_attempts_total", "Attempts to deliver a webhook.", "result")
	r.reports = counter("report_attempts_total", "Attempts to deliver a report.", "result")
	r.report = single("report_attempt_seconds", "Duration of attempts to deliver a report.", slow())
	r.fetches = counter("policy_fetches_total", "Fetches of the MTA-STS policy, without our own, by status; 0: not answered.", "code")
	// What is rare begins at 0, or Prometheus would not see its first increase.
	for v, results := range map[*prometheus.CounterVec][]string{
		r.logins:   {"ok", "failed", "limited"},
		r.webhooks: {"delivered", "put_off", "given_up"},
		r.reports:  {"delivered", "temporary", "permanent"},
		r.refused:  {"limit", "director"},
		r.ended:    {"acked", "closed"},
	} {
		for _, result := range results {
			v.WithLabelValues(result)
		}
	}
}

func (r *Recorder) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		r.connections, r.refused, r.open, r.greeting, r.handshake, r.replies, r.decision, r.write,
		r.opened, r.concluded, r.ended, r.verdict, r.attempts, r.phase, r.leaseWait,
		r.requests, r.request, r.logins, r.webhooks, r.reports, r.report, r.fetches,
	}
}

const other = "other"

// oneOf returns v if it is one of the known values.
func oneOf(v string, known ...string) string {
	if slices.Contains(known, v) {
		return v
	}
	return other
}

// ConnectionOpened notes a connection that was accepted.
func (r *Recorder) ConnectionOpened() { r.open.Inc() }

// ConnectionForgotten takes one back: a probe of our own.
func (r *Recorder) ConnectionForgotten() { r.open.Dec() }

// ConnectionClosed notes the end of a connection.
func (r *Recorder) ConnectionClosed(phase string, server int) {
	r.open.Dec()
	if server < 0 || server > 7 {
		server = 0
	}
	r.connections.WithLabelValues(oneOf(phase, "downgrade", "secure"), strconv.Itoa(server)).Inc()
}

// Refused notes a connection that was refused at once: "limit" or "director".
func (r *Recorder) Refused(reason string) {
	r.refused.WithLabelValues(oneOf(reason, "limit", "director")).Inc()
}

// Greeted notes how long a client waited for our greeting.
func (r *Recorder) Greeted(after time.Duration) { r.greeting.Observe(after.Seconds()) }

// Handshake notes a TLS handshake: finished, alert or failed. The version is
// "1.3" or the like, empty if none was agreed.
func (r *Recorder) Handshake(took time.Duration, version, result string) {
	if version == "" {
		version = "none"
	}
	version = oneOf(version, "none", "1.0", "1.1", "1.2", "1.3")
	r.handshake.WithLabelValues(oneOf(result, "finished", "alert", "failed"), version).Observe(took.Seconds())
}

// Replied notes the reply to a message, and how long it took.
func (r *Recorder) Replied(code int, took time.Duration) {
	r.replies.WithLabelValues(oneOf(strconv.Itoa(code), "250", "451", "452", "550", "554")).Inc()
	r.decision.Observe(took.Seconds())
}

// Written notes a write to the history.
func (r *Recorder) Written(took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	r.write.WithLabelValues(result).Observe(took.Seconds())
}

// TestOpened notes a new test.
func (r *Recorder) TestOpened() { r.opened.Inc() }

// Verdict is how a test came to its verdict.
type Verdict struct {
	Policy     string // a name of package policyinfer
	Conclusive bool
	Took       time.Duration // since the first mail
	Attempts   int
	Downgrade  time.Duration // of Took, without STARTTLS; negative: not known
}

// TestConcluded notes a verdict.
func (r *Recorder) TestConcluded(v Verdict) {
	r.concluded.WithLabelValues(oneOf(v.Policy, "none", "may", "encrypt", "verify", "mta-sts", "dane", "dane-only", "dane+mta-sts", "undetermined", "mixed")).Inc()
	r.verdict.WithLabelValues(strconv.FormatBool(v.Conclusive)).Observe(v.Took.Seconds())
	r.attempts.Observe(float64(v.Attempts))
	if v.Downgrade >= 0 {
		r.phase.WithLabelValues("downgrade").Observe(v.Downgrade.Seconds())
		r.phase.WithLabelValues("secure").Observe(max(0, v.Took-v.Downgrade).Seconds())
	}
}

// TestEnded notes that a test is over: acked or closed.
func (r *Recorder) TestEnded(state string) {
	r.ended.WithLabelValues(oneOf(state, "acked", "closed")).Inc()
}

// LeaseWaited notes how long a test waited for its slot.
func (r *Recorder) LeaseWaited(d time.Duration) { r.leaseWait.Observe(d.Seconds()) }

// Requested notes a request that was answered. The route is a pattern of ours,
// never a path that was asked for; streams end when their page is closed, and
// tell nothing about time.
func (r *Recorder) Requested(route, method string, status int, took time.Duration, stream bool) {
	r.requests.WithLabelValues(route, method1(method), code(status)).Inc()
	if !stream {
		r.request.WithLabelValues(route).Observe(took.Seconds())
	}
}

func method1(m string) string {
	return oneOf(m, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions)
}

// code keeps the statuses that are in use.
func code(status int) string {
	return oneOf(strconv.Itoa(status), "0", "200", "202", "204", "301", "302", "303", "304", "307", "308",
		"400", "401", "403", "404", "405", "409", "410", "413", "415", "421", "422", "429", "500", "502", "503", "504")
}

// LoggedIn notes an attempt to log in to the console: ok, failed or limited.
func (r *Recorder) LoggedIn(result string) {
	r.logins.WithLabelValues(oneOf(result, "ok", "failed", "limited")).Inc()
}

// WebhookAttempted notes an attempt to deliver a webhook: delivered, put_off or
// given_up.
func (r *Recorder) WebhookAttempted(result string) {
	r.webhooks.WithLabelValues(oneOf(result, "delivered", "put_off", "given_up")).Inc()
}

// ReportAttempted notes an attempt to deliver a report: delivered, temporary or
// permanent.
func (r *Recorder) ReportAttempted(result string, took time.Duration) {
	r.reports.WithLabelValues(oneOf(result, "delivered", "temporary", "permanent")).Inc()
	r.report.Observe(took.Seconds())
}

// PolicyFetched notes a fetch of the MTA-STS policy.
func (r *Recorder) PolicyFetched(status int) { r.fetches.WithLabelValues(code(status)).Inc() }
