// Package metrics shows a running sink to Prometheus, in its text format.
//
//	parts of the service ──▶ Recorder ──┐
//	                                    ├──▶ Handler ──▶ Prometheus
//	Options: what is asked for ─────────┘
//
// What happens is counted by a [Recorder]; what is, is asked for whenever
// Prometheus asks ([Options]). Every label has a fixed, small set of values:
// what strangers say (EHLO, SNI, paths, codes) is mapped to one of them, or to
// "other". docs/metrics.md lists every metric.
//
// Sources: https://prometheus.io/docs/practices/naming/,
// https://prometheus.io/docs/instrumenting/exposition_formats/.
package metrics
