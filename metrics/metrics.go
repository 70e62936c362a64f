// Package metrics shows the state of a running sink to Prometheus, in its text
// format. It asks for every value when it is asked, and keeps nothing.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Certificate is one that the sink shows.
type Certificate struct {
	Face      string    // e.g. "mx06.et.sink.example"
	Kind      string    // self-signed or ca
	Algorithm string    // ecdsa or rsa
	NotAfter  time.Time // zero: not issued
}

// Options are where the values come from. What is nil is left out. The
// functions are called from many goroutines and must not block for long.
type Options struct {
	// Checks says which checks of package doctor are ok; those that could not be
	// made are left out.
	Checks func() map[string]bool
	// Suspended says which verdicts are: those without protection, and all.
	Suspended    func() (unprotected, all bool)
	Checked      func() time.Time // when the last check ended
	Certificates func() []Certificate
	Serial       func() uint32          // of the zone
	Running      func() int             // tests without a verdict
	Queue        func() int             // reports that wait; negative: not known
	Storage      func() bool            // what is new is on disk
	Secondaries  func() map[string]bool // whether they know of the zone's last change
	// DNS are totals of the name server by what happened, e.g. "udp".
	DNS func() map[string]uint64
	Now func() time.Time // default time.Now
}

// Handler answers with the values of now.
func Handler(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(o))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// collector implements prometheus.Collector.
type collector struct {
	o                                                                                           Options
	check, suspended, checked, expiry, missing, serial, running, queue, storage, secondary, dns *prometheus.Desc
}

func newCollector(o Options) *collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tlsink_"+name, help, labels, nil)
	}
	return &collector{
		o:         o,
		check:     d("check_ok", "1 if a check of the deployment is ok, 0 if something is wrong; absent if it could not be made.", "check"),
		suspended: d("verdicts_suspended", "1 if verdicts are suspended because of a fault of this sink: those without protection, or all.", "verdicts"),
		checked:   d("check_timestamp_seconds", "When the deployment was last checked."),
		expiry:    d("certificate_expiry_seconds", "Time until a certificate expires; negative if it has, absent if it is not issued.", "face", "kind", "algorithm"),
		missing:   d("certificates_missing", "Certificates that are not issued yet."),
		storage:   d("storage_ok", "1 if what is new is on disk, 0 if the disk takes nothing."),
		secondary: d("secondary_notified", "1 if a secondary name server has acknowledged the last change of the zone.", "address"),
		serial:    d("zone_serial", "Serial of the zone."),
		running:   d("tests_running", "Tests without a verdict."),
		queue:     d("reports_queued", "Reports that wait to be mailed."),
		dns:       d("dns_messages_total", "Messages of the name server by what happened.", "event"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.check, c.suspended, c.checked, c.expiry, c.missing, c.serial, c.running, c.queue, c.storage, c.secondary, c.dns} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if c.o.Checks != nil {
		for name, ok := range c.o.Checks() {
			gauge(c.check, number(ok), name)
		}
	}
	if c.o.Suspended != nil {
		unprotected, all := c.o.Suspended()
		gauge(c.suspended, number(unprotected), "unprotected")
		gauge(c.suspended, number(all), "all")
	}
	if c.o.Checked != nil {
		if at := c.o.Checked(); !at.IsZero() {
			gauge(c.checked, float64(at.UnixMilli())/1000)
		}
	}
	if c.o.Certificates != nil {
		missing := 0
		for _, x := range c.o.Certificates() {
			if x.NotAfter.IsZero() {
				missing++
				continue
			}
			gauge(c.expiry, x.NotAfter.Sub(c.o.Now()).Seconds(), x.Face, x.Kind, x.Algorithm)
		}
		gauge(c.missing, float64(missing))
	}
	if c.o.Storage != nil {
		gauge(c.storage, number(c.o.Storage()))
	}
	if c.o.Secondaries != nil {
		for address, ok := range c.o.Secondaries() {
			gauge(c.secondary, number(ok), address)
		}
	}
	if c.o.Serial != nil {
		gauge(c.serial, float64(c.o.Serial()))
	}
	if c.o.Running != nil {
		gauge(c.running, float64(c.o.Running()))
	}
	if c.o.Queue != nil {
		if n := c.o.Queue(); n >= 0 {
			gauge(c.queue, float64(n))
		}
	}
	if c.o.DNS != nil {
		for event, n := range c.o.DNS() {
			ch <- prometheus.MustNewConstMetric(c.dns, prometheus.CounterValue, float64(n), event)
		}
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
