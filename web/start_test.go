package web_test

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/tlsink/tlsink/web"
)

// leases is a web.Leases that remembers what it was asked.
type leases struct {
	mu        sync.Mutex
	err       error
	started   []string
	cancelled []string
}

func (l *leases) Start(_ context.Context, client netip.Addr, language string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = append(l.started, client.String()+" "+language)
	return capability, l.err
}

func (l *leases) Cancel(_ context.Context, c string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancelled = append(l.cancelled, c)
	return l.err
}

// settings are those of an ordinary service.
func settings() web.Privacy {
	return web.Privacy{
		Operator: "Example Foundation", Contact: "privacy@example.org", Retention: 30 * 24 * time.Hour, Wait: 30 * time.Minute, Quarantine: 24 * time.Hour,
		Reports: true, ReportsPerDay: 30, MailboxMessages: 1000, Inbound: true, NetworkZones: []string{"origin.example.net"},
		Statistics: true, Providers: []string{"Example Mail"}, Webhooks: true, WebhookHosts: []string{"hooks.example.com"},
	}
}
