package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const namespace = "tlsink"

// Certificate is one that the sink shows.
type Certificate struct {
	Face      string    // e.g. "mx06.et.sink.example"
	Kind      string    // self-signed or ca
	Algorithm string    // ecdsa or rsa
	NotAfter  time.Time // zero: not issued
}

// Storage is the state of the history.
type Storage struct {
	FileBytes, FreeBytes int64 // Free: of the file, to be used again
	Waiting              int   // writes
	Transactions         uint64
	Failed               uint64 // writes that could not be made
	Unreadable           uint64 // values that could not be read
}

// Options are where the values come from. What is nil is left out. The
// functions are called from many goroutines and must not block for long.
type Options struct {
	Recorder *Recorder
	Version  string // of the program; with it, metrics of build and process are shown
	// Checks says which checks of package doctor are ok; those that could not be
	// made are left out.
	Checks func() map[string]bool
	// Suspended says which verdicts are: those without protection, and all.
	Suspended    func() (unprotected, all bool)
	Checked      func() time.Time // when the last check ended
	Certificates func() []Certificate
	Serial       func() uint32          // of the zone
	Running      func() int             // tests without a verdict
	Oldest       func() time.Time       // when the oldest of them was opened; zero without one
	Queue        func() int             // reports that wait; negative: not known
	Overdue      func() time.Duration   // how long the report that is due longest is overdue; negative: not known
	Storage      func() bool            // what is new is on disk
	History      func() (Storage, bool) // false: not known
	Secondaries  func() map[string]bool // whether they know of the zone's last change
	// DNS are totals of the name server by what happened, e.g. "udp".
	DNS      func() map[string]uint64
	Leases   func() map[string]int // slots that can be leased, by state
	Waiting  func() int            // tests that wait for a slot
	Watchers func() int            // live pages and streams that are open
	Blocks   func() map[string]int // entries of the block list by kind
	Now      func() time.Time      // default time.Now
}

// Handler answers with the values of now.
func Handler(o Options) http.Handler {
	return promhttp.HandlerFor(registry(o), promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 4})
}

func registry(o Options) *prometheus.Registry {
	if o.Now == nil {
		o.Now = time.Now
	}
	r := prometheus.NewRegistry()
	r.MustRegister(newCollector(o))
	if o.Recorder != nil {
		r.MustRegister(o.Recorder.collectors()...)
	}
	if o.Version != "" {
		build := prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "build_info", Help: "Always 1; what runs is in the labels.",
			ConstLabels: prometheus.Labels{"version": o.Version, "go_version": runtime.Version()},
		})
		build.Set(1)
		r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	return r
}

// collector implements prometheus.Collector for what is asked for.
type collector struct {
	o     Options
	descs map[string]*prometheus.Desc
}

func newCollector(o Options) *collector {
	c := &collector{o: o, descs: make(map[string]*prometheus.Desc)}
	d := func(name, help string, labels ...string) {
		c.descs[name] = prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
	}
	d("check_ok", "1 if a check of the deployment is ok, 0 if something is wrong; absent if it could not be made.", "check")
	d("verdicts_suspended", "1 if verdicts are suspended because of a fault of this sink: those without protection, or all.", "verdicts")
	d("check_timestamp_seconds", "When the deployment was last checked.")
	d("certificate_expiry_seconds", "Time until a certificate expires; negative if it has, absent if it is not issued.", "face", "kind", "algorithm")
	d("certificates_missing", "Certificates that are not issued yet.")
	d("storage_ok", "1 if what is new is on disk, 0 if the disk takes nothing.")
	d("secondary_notified", "1 if a secondary name server has acknowledged the last change of the zone.", "address")
	d("zone_serial", "Serial of the zone.")
	d("tests_running", "Tests without a verdict.")
	d("test_oldest_seconds", "Age of the oldest test without a verdict; 0 without one.")
	d("reports_queued", "Reports that wait to be mailed.")
	d("report_overdue_seconds", "How long the report that waits longest should have been tried already; 0 if none is due.")
	d("dns_messages_total", "Messages of the name server by what happened.", "event")
	d("history_file_bytes", "Size of the history.")
	d("history_free_bytes", "Of the size of the history, what is free to be used again.")
	d("history_writes_waiting", "Writes that wait for the disk.")
	d("history_transactions_total", "Transactions of the history that are on disk.")
	d("history_writes_failed_total", "Writes that could not be made.")
	d("history_values_unreadable_total", "Stored values that could not be read, each time they were met.")
	d("leases", "Slots for tests that are started on the web, by state.", "state")
	d("lease_queue_length", "Tests started on the web that wait for a slot.")
	d("live_watchers", "Live pages and streams that are open.")
	d("blocks", "Entries of the block list.", "kind")
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	e := emitter{c, ch}
	c.service(e)
	c.tests(e)
	c.storage(e)
	c.names(e)
}

// emitter gives values to Prometheus.
type emitter struct {
	*collector
	ch chan<- prometheus.Metric
}

func (e emitter) gauge(name string, v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(e.descs[name], prometheus.GaugeValue, v, labels...)
}

func (e emitter) total(name string, v uint64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(e.descs[name], prometheus.CounterValue, float64(v), labels...)
}

func (c *collector) service(e emitter) {
	if c.o.Checks != nil {
		for name, ok := range c.o.Checks() {
			e.gauge("check_ok", number(ok), name)
		}
	}
	if c.o.Suspended != nil {
		unprotected, all := c.o.Suspended()
		e.gauge("verdicts_suspended", number(unprotected), "unprotected")
		e.gauge("verdicts_suspended", number(all), "all")
	}
	if c.o.Checked != nil {
		if at := c.o.Checked(); !at.IsZero() {
			e.gauge("check_timestamp_seconds", float64(at.UnixMilli())/1000)
		}
	}
	if c.o.Certificates != nil {
		missing := 0
		for _, x := range c.o.Certificates() {
			if x.NotAfter.IsZero() {
				missing++
				continue
			}
			e.gauge("certificate_expiry_seconds", x.NotAfter.Sub(c.o.Now()).Seconds(), x.Face, x.Kind, x.Algorithm)
		}
		e.gauge("certificates_missing", float64(missing))
	}
	if c.o.Watchers != nil {
		e.gauge("live_watchers", float64(c.o.Watchers()))
	}
	if c.o.Blocks != nil {
		for kind, n := range c.o.Blocks() {
			e.gauge("blocks", float64(n), kind)
		}
	}
}

func (c *collector) tests(e emitter) {
	if c.o.Running != nil {
		e.gauge("tests_running", float64(c.o.Running()))
	}
	if c.o.Oldest != nil {
		age := 0.0
		if at := c.o.Oldest(); !at.IsZero() {
			age = max(0, c.o.Now().Sub(at).Seconds())
		}
		e.gauge("test_oldest_seconds", age)
	}
	if c.o.Queue != nil {
		if n := c.o.Queue(); n >= 0 {
			e.gauge("reports_queued", float64(n))
		}
	}
	if c.o.Overdue != nil {
		if d := c.o.Overdue(); d >= 0 {
			e.gauge("report_overdue_seconds", d.Seconds())
		}
	}
	if c.o.Leases != nil {
		for state, n := range c.o.Leases() {
			e.gauge("leases", float64(n), state)
		}
	}
	if c.o.Waiting != nil {
		e.gauge("lease_queue_length", float64(c.o.Waiting()))
	}
}

func (c *collector) storage(e emitter) {
	if c.o.Storage != nil {
		e.gauge("storage_ok", number(c.o.Storage()))
	}
	if c.o.History == nil {
		return
	}
	s, ok := c.o.History()
	if !ok {
		return
	}
	e.gauge("history_file_bytes", float64(s.FileBytes))
	e.gauge("history_free_bytes", float64(s.FreeBytes))
	e.gauge("history_writes_waiting", float64(s.Waiting))
	e.total("history_transactions_total", s.Transactions)
	e.total("history_writes_failed_total", s.Failed)
	e.total("history_values_unreadable_total", s.Unreadable)
}

func (c *collector) names(e emitter) {
	if c.o.Secondaries != nil {
		for address, ok := range c.o.Secondaries() {
			e.gauge("secondary_notified", number(ok), address)
		}
	}
	if c.o.Serial != nil {
		e.gauge("zone_serial", float64(c.o.Serial()))
	}
	if c.o.DNS != nil {
		for event, n := range c.o.DNS() {
			e.total("dns_messages_total", n, event)
		}
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
