package main

import (
	"context"
	"log/slog"
	"slices"

	"github.com/tlsink/tlsink/mailer"
)

// tracing adds to a log line what its context says it belongs to: packages that
// deliver mail or look at domains do not know for which test they do.
type tracing struct{ slog.Handler }

type traceKey struct{}

// traced returns a context whose log lines carry attributes.
func traced(ctx context.Context, attrs ...slog.Attr) context.Context {
	before, _ := ctx.Value(traceKey{}).([]slog.Attr)
	return context.WithValue(ctx, traceKey{}, append(slices.Clip(before), attrs...))
}

// traceReport is mailer.Options.Trace.
func traceReport(ctx context.Context, it mailer.Item) context.Context {
	return traced(ctx, slog.String("report", it.ID), slog.String("test", it.TestID))
}

// Handle implements slog.Handler.
func (t tracing) Handle(ctx context.Context, r slog.Record) error {
	if attrs, ok := ctx.Value(traceKey{}).([]slog.Attr); ok {
		r = r.Clone()
		r.AddAttrs(attrs...)
	}
	return t.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (t tracing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return tracing{t.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (t tracing) WithGroup(name string) slog.Handler { return tracing{t.Handler.WithGroup(name)} }
