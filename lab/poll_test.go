//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

const pollAddr = "192.0.2.27"

// pollDANE lets Postfix's TLS client, which delivers nothing, connect to hosts
// with matching TLSA records again and again; it must always find a match. stop
// ends that and checks how often it was.
func pollDANE(ctx context.Context, t *testing.T, hosts ...string) (stop func(atLeast int)) {
	t.Helper()
	n := newNode(t, "poll", pollAddr)
	n.file(t, "main.cf", "compatibility_level = 3.6\nmyhostname = poll.example\nsmtp_dns_support_level = dnssec\ndnssec_probe =\n")
	connect := func(host string) error {
		out, err := n.run(ctx, "", "env", "MAIL_CONFIG="+n.dir, "posttls-finger", "-c", "-l", "dane-only", "-L", "summary", "["+host+"]")
		if err == nil && !strings.Contains(out, "Verified TLS connection established") {
			err = fmt.Errorf("posttls-finger %s:\n%s", host, out)
		}
		return err
	}
	for _, h := range hosts { // STARTTLS is withheld from a new client
		await(ctx, t, "TLS at "+h, func(context.Context) error { return connect(h) })
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan int)
	go func() {
		polls := 0
		defer func() { ended <- polls }()
		ticker := time.NewTicker(500 * time.Millisecond)
		defer ticker.Stop()
		for {
			for _, h := range hosts {
				err := connect(h)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					t.Errorf("a DANE client that polls: %v", err)
				}
			}
			polls++
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return func(atLeast int) {
		t.Helper()
		cancel()
		if polls := <-ended; polls < atLeast {
			t.Errorf("%d polls, want at least %d", polls, atLeast)
		}
	}
}
