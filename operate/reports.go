package operate

import (
	"context"
	"errors"
	"fmt"

	"github.com/tlsink/tlsink/history"
)

func reportRow(q history.QueueItem) ReportRow {
	row := ReportRow{
		ID: q.ID, To: q.To, State: ReportQueued, Created: q.Created, Attempts: q.Attempts, LastAttempt: q.LastAttempt, LastError: q.LastError, Sent: q.Sent,
	}
	switch {
	case !q.Sent.IsZero():
		row.State = ReportSent
	case q.GaveUp:
		row.State = ReportGivenUp
	case q.LastError != "":
		row.State = ReportRetried
	}
	if q.Pending() {
		row.Due = q.Due
	}
	return row
}

// Reports returns a page of the queue of reports: pending ones in the order they
// are due, or all by their ID.
func (o *Operator) Reports(ctx context.Context, q ReportQuery) (ReportPage, error) {
	found, err := o.o.Store.Reports(ctx, history.ReportSearch{Pending: q.Pending, Cursor: q.Cursor, Limit: limit(q.Limit)})
	if errors.Is(err, history.ErrCursor) {
		err = &InvalidError{"cursor", q.Cursor, "is no place in this list: start again"}
	}
	page := ReportPage{Reports: []ReportRow{}, Next: found.Next, Cut: found.Cut}
	for _, it := range found.Reports {
		page.Reports = append(page.Reports, reportRow(it))
	}
	return page, err
}

// RetryReport makes a report due now, also one that was given up. Self-check,
// analysis and, if it was never tried, the limits still hold it back.
func (o *Operator) RetryReport(ctx context.Context, who Actor, id string) error {
	id = testID(id)
	err := o.o.Store.RetryReport(ctx, id, o.o.Now())
	if errors.Is(err, history.ErrSent) {
		return fmt.Errorf("report %q: %w: it was delivered already", id, ErrConflict)
	}
	if err != nil {
		return err
	}
	if o.o.Kick != nil {
		o.o.Kick()
	}
	return o.done(ctx, AuditRecord{Actor: who, Action: "report retried", Object: id})
}

// DropReport takes a report out of the queue. An attempt that is under way may
// still deliver it.
func (o *Operator) DropReport(ctx context.Context, who Actor, id string) error {
	id = testID(id)
	if _, err := o.o.Store.Report(id); err != nil {
		return err
	}
	if err := o.o.Store.Commit(ctx, history.Batch{Remove: []string{id}}); err != nil {
		return err
	}
	return o.done(ctx, AuditRecord{Actor: who, Action: "report dropped", Object: id})
}

// Deliveries lists webhook deliveries; ok is false if there are no webhooks.
func (o *Operator) Deliveries() (list []Delivery, ok bool) {
	if o.o.Webhooks == nil {
		return nil, false
	}
	return o.o.Webhooks.Deliveries(), true
}

// errNoWebhooks is for a service that calls none.
func errNoWebhooks() error { return fmt.Errorf("%w: no webhook is set up", ErrConflict) }

// RetryDelivery has a webhook called now.
func (o *Operator) RetryDelivery(ctx context.Context, who Actor, id string) error {
	if o.o.Webhooks == nil {
		return errNoWebhooks()
	}
	if err := o.o.Webhooks.Retry(ctx, id); err != nil {
		return err
	}
	return o.done(ctx, AuditRecord{Actor: who, Action: "webhook retried", Object: id})
}

// DropDelivery gives a call of a webhook up. An attempt that is under way may
// still deliver it.
func (o *Operator) DropDelivery(ctx context.Context, who Actor, id string) error {
	if o.o.Webhooks == nil {
		return errNoWebhooks()
	}
	if err := o.o.Webhooks.Drop(ctx, id); err != nil {
		return err
	}
	return o.done(ctx, AuditRecord{Actor: who, Action: "webhook dropped", Object: id})
}
