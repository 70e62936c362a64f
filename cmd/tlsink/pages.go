package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/tlsink/tlsink/api"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/console"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/lease"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/web"
)

// openWeb makes everything that is served over HTTPS.
func (s *service) openWeb(context.Context) error {
	o := web.Options{
		Zone: s.cfg.Zone, Slots: s.cfg.Slots, Certificates: s.certs, Source: site{s}, Fetched: s.fetched, Served: s.served,
		Live: followed{s.hub}, Leases: starts{s.leases}, Ready: site{s}.ready, Privacy: s.privacy(),
		Blocked: s.blockedClient, Statistics: s.statisticsPages(), Version: cli.ModuleVersion(),
		Now: time.Now, Logger: s.log.With("part", "web"),
	}
	var err error
	if s.api, err = api.New(api.Options{
		Live: polled{s.hub}, Leases: programs{s.leases}, Results: site{s}, Webhooks: webhooks{s.completions.sender}, Link: s.cfg.ResultURL,
		Now: time.Now, Logger: s.log.With("part", "api"),
	}); err != nil {
		return err
	}
	o.API = s.api
	if o.Console, err = s.consolePages(); err != nil { //nolint:contextcheck // a visit carries its own
		return err
	}
	s.web, err = web.New(o)
	return err
}

// privacy is what this service really does with data.
func (s *service) privacy() web.Privacy {
	c := &s.cfg
	p := web.Privacy{
		Operator: c.Web.Operator, Contact: c.Web.Contact, Retention: time.Duration(c.Retention) * 24 * time.Hour,
		Wait: time.Duration(c.Timing.Lease), Quarantine: time.Duration(c.Timing.Quarantine),
		Reports: true, ReportsPerDay: c.Limits.ReportsAddress, MailboxMessages: c.Limits.MailboxMessages,
		Inbound: c.Inbound.Enabled, NetworkZones: c.Inbound.NetworkZones, Statistics: c.Statistics.Enabled,
		Webhooks: len(c.Webhook) > 0, WebhookHosts: c.API.WebhookHosts,
	}
	for _, one := range c.Statistics.Providers {
		p.Providers = append(p.Providers, one.Name)
	}
	if level, err := config.LogLevel(c.Log.Level); err == nil {
		p.LogsAddresses = level <= slog.LevelDebug || c.Console.Enabled // who logs in to it
	}
	return p
}

// site is what package web shows of a service.
type site struct{ s *service }

var (
	_ web.Source  = site{}
	_ api.Results = site{}
)

// Result implements web.Source.
func (p site) Result(_ context.Context, capability string) (report.Input, bool, error) {
	v, ok, err := p.s.assess.ByCapability(capability)
	if err != nil || !ok {
		return report.Input{}, false, err
	}
	return p.s.input(v), true, nil
}

// ready says, from memory, whether tests are possible.
func (p site) ready() (ok bool, why string) {
	switch {
	case p.s.check.current().at.IsZero():
		return false, "starting: nothing was checked yet"
	case len(p.s.rotator.Current(0)) == 0:
		return false, "the MX order is not known"
	case p.s.store.Trouble() != nil:
		return false, "the disk takes nothing"
	}
	return true, ""
}

// Status implements web.Source.
func (p site) Status(ctx context.Context) web.Status {
	check := p.s.check.current()
	st := web.Status{
		Running: p.s.assess.Running(), ZoneChecked: check.at, Unverifiable: check.fault.Unverifiable, Broken: check.fault.Broken,
		MX: order(p.s.rotator.Current(0)), Slots: p.s.cfg.Slots - 1,
	}
	st.Ready, st.NotReady = p.ready()
	for _, slot := range p.s.leases.Slots() {
		if slot.State == lease.Free {
			st.FreeSlots++
		}
	}
	if queue, err := p.s.store.Queue(ctx); err == nil {
		st.Queue = len(slices.DeleteFunc(queue, func(q history.QueueItem) bool { return !q.Pending() }))
	}
	return st
}

// order lists hosts, the most preferred first.
func order(preferences map[string]int) []string {
	var out []string
	for h, p := range preferences {
		if p > 0 {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		return cmp.Or(cmp.Compare(preferences[a], preferences[b]), cmp.Compare(a, b))
	})
	return out
}

// consolePages is the operator console; nil if it is switched off.
func (s *service) consolePages() (http.Handler, error) {
	if !s.cfg.Console.Enabled {
		return nil, nil //nolint:nilnil // there is none
	}
	return console.New(console.Options{
		Zone: s.cfg.Zone, Operator: s.operator, PasswordFile: s.cfg.ConsolePassword(), LoggedIn: s.recorder.LoggedIn,
		Compare: func(earlier, later report.Input) string { return live.Compare(earlier, later, report.English).Text() },
		Now:     time.Now, Rand: rand.Reader, Logger: s.log.With("part", "console"),
	})
}
