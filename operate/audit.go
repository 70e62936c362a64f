package operate

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"unicode"

	"github.com/tlsink/tlsink/history"
)

const (
	auditKey     = "operate/audit"
	mostRecords  = 1000
	mostAudit    = 900 << 10 // octets of all
	mostOfRecord = 200       // octets of one field
)

// done records an action that was carried out, if only in part, and logs it. An
// error says that it was done but not recorded.
func (o *Operator) done(ctx context.Context, r AuditRecord) error {
	r.Time = o.o.Now().UTC()
	for _, s := range []*string{&r.Actor.Kind, &r.Actor.Name, &r.Object, &r.Detail, &r.Error} {
		*s = clip(*s)
	}
	err := o.record(context.WithoutCancel(ctx), r) // it was done
	attrs := []slog.Attr{slog.String("action", r.Action), slog.String("actor", r.Actor.Kind)}
	for _, a := range []slog.Attr{
		slog.String("session", r.Actor.Name), slog.String("object", r.Object), slog.String("detail", r.Detail), slog.String("err", r.Error),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	attrs = append(attrs, slog.Int("records", r.Count), slog.Bool("recorded", err == nil))
	level := slog.LevelInfo
	if err != nil || r.Error != "" {
		level = slog.LevelError
	}
	o.o.Logger.LogAttrs(ctx, level, "operator's action", attrs...)
	if err != nil {
		return fmt.Errorf("%s: done, but not recorded: %w", r.Action, err)
	}
	return nil
}

func (o *Operator) record(ctx context.Context, r AuditRecord) error {
	o.audit.Lock()
	defer o.audit.Unlock()
	list, err := o.records()
	if err != nil {
		return err
	}
	list = append(list, r)
	list = list[max(0, len(list)-mostRecords):]
	for {
		b, err := json.Marshal(list)
		if err != nil {
			return fmt.Errorf("record of actions: %w", err)
		}
		if len(b) <= mostAudit {
			return o.o.Store.SetValue(ctx, auditKey, b)
		}
		list = list[len(list)/10+1:]
	}
}

// records are in order of time.
func (o *Operator) records() ([]AuditRecord, error) {
	b, err := o.o.Store.Value(auditKey)
	switch {
	case errors.Is(err, history.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	var list []AuditRecord
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("record of actions: damaged: restore a backup: %w", err)
	}
	return list, nil
}

// Audit returns what operators did, the last first.
func (o *Operator) Audit() ([]AuditRecord, error) {
	o.audit.Lock()
	defer o.audit.Unlock()
	list, err := o.records()
	slices.Reverse(list)
	return list, err
}

// subject names a person in records and in the log, by a hash under a key that
// is forgotten when the service ends: what was done to one person within that
// time can be put together, and nobody can tell from it who that is.
func (o *Operator) subject(address string) string {
	m := hmac.New(sha256.New, o.secret)
	m.Write([]byte(strings.ToLower(address)))
	return hex.EncodeToString(m.Sum(nil)[:8])
}

// clip makes text fit for a record and a log line.
func clip(s string) string {
	if s = oneLine(s); len(s) <= mostOfRecord {
		return s
	}
	return strings.ToValidUTF8(s[:mostOfRecord], "") + "…"
}

// oneLine leaves nothing in a text that could end a line or steer a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}
