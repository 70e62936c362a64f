package console

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/operate"
	"github.com/tlsink/tlsink/report"
)

// Operator is what the console shows and does: the part of *operate.Operator
// that it needs. It must be safe for concurrent use. Lists and looks change
// nothing.
type Operator interface {
	Overview(ctx context.Context) (operate.Overview, error)
	Tests(ctx context.Context, q operate.Query) (operate.TestPage, error)
	Test(ctx context.Context, id string) (operate.Test, error)
	Why(ctx context.Context, id string) (operate.Explanation, error)
	DeleteTest(ctx context.Context, who operate.Actor, id string) (int, error)

	Connections(ctx context.Context, q operate.ConnectionQuery) (operate.ConnectionPage, error)
	Connection(ctx context.Context, id evidence.ConnID) (operate.ConnectionRow, error)

	SelfCheck() (operate.SelfCheck, bool)

	Reports(ctx context.Context, q operate.ReportQuery) (operate.ReportPage, error)
	RetryReport(ctx context.Context, who operate.Actor, id string) error
	DropReport(ctx context.Context, who operate.Actor, id string) error
	Deliveries() (list []operate.Delivery, webhooks bool)
	RetryDelivery(ctx context.Context, who operate.Actor, id string) error
	DropDelivery(ctx context.Context, who operate.Actor, id string) error

	Retention() (operate.Retention, error)
	Purge(ctx context.Context, who operate.Actor, before time.Time) (int, error)
	PersonPreview(ctx context.Context, address string) (operate.Preview, error)
	ForgetPerson(ctx context.Context, who operate.Actor, address string) (operate.Forgotten, error)

	ExportHistories(ctx context.Context, w io.Writer, q operate.Query) (int, error)
	ExportCSV(ctx context.Context, w io.Writer, q operate.Query) (int, error)

	Blocks() []operate.Block
	AddBlock(ctx context.Context, who operate.Actor, b operate.BlockRequest) (operate.Block, error)
	RemoveBlock(ctx context.Context, who operate.Actor, id string) error
	Limits() []operate.Limit

	Audit() ([]operate.AuditRecord, error)
}

// Compare says in plain text what changed between two tests, the earlier one
// first.
type Compare func(earlier, later report.Input) string

// actor names the session in the audit log.
func (v *visit) actor() operate.Actor {
	return operate.Actor{Kind: "console", Name: v.session.id}
}

func isNotFound(err error) bool {
	return errors.Is(err, errNotFound) || errors.Is(err, history.ErrNotFound)
}

// problemOf returns what somebody asked for wrongly, in words; "" if err is
// about something else.
func problemOf(err error) string {
	if bad, ok := errors.AsType[badInput](err); ok {
		return bad.text
	}
	if bad, ok := errors.AsType[*operate.InvalidError](err); ok {
		return bad.Error() + "."
	}
	return ""
}
