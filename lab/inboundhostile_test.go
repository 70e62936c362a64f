//go:build linux

package lab_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

const (
	tarpitAddr  = "192.0.2.240" // answers an octet at a time
	endlessAddr = "192.0.2.241" // its answer to EHLO never ends
)

// startHostileServers starts SMTP servers that want to keep their clients.
func startHostileServers(t testing.TB) {
	t.Helper()
	for addr, talk := range map[string]func(net.Conn){tarpitAddr: tarpit, endlessAddr: endless} {
		command(t, "ip", "addr", "add", addr, "dev", "lo")
		l, err := net.Listen("tcp", net.JoinHostPort(addr, "25"))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					talk(c)
				}()
			}
		}()
		t.Cleanup(func() {
			l.Close()
			if _, err := output(context.WithoutCancel(t.Context()), "", "ip", "addr", "del", addr, "dev", "lo"); err != nil {
				t.Error(err)
			}
		})
	}
}

func tarpit(c net.Conn) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for _, octet := range []byte("220-" + strings.Repeat("wait ", 100)) {
		if _, err := c.Write([]byte{octet}); err != nil {
			return
		}
		<-tick.C
	}
}

func endless(c net.Conn) {
	fmt.Fprint(c, "220 endless.nic.example ESMTP\r\n")
	if _, err := bufio.NewReader(io.LimitReader(c, 1000)).ReadString('\n'); err != nil {
		return
	}
	for {
		if _, err := io.WriteString(c, strings.Repeat("250-MORE\r\n", 1000)); err != nil {
			return
		}
	}
}

// testHostile checks that what wants to keep an analysis busy gets a clear line
// and no more time than a limit allows.
func (r *reception) testHostile(t *testing.T) {
	for domain, check := range map[string]struct {
		within time.Duration
		said   string // somewhere in the analysis
	}{
		"many.example":         {20 * time.Second, "984 more MX hosts were not looked at"},
		"tarpit.example":       {20 * time.Second, "no answer in time"},
		"endless.example":      {20 * time.Second, "a reply of more than"},
		"sts-big.example":      {20 * time.Second, "more than 65536 bytes"},
		"sts-bomb.example":     {20 * time.Second, "it is compressed"},
		"sts-endless.example":  {20 * time.Second, "more than 65536 bytes"},
		"sts-redirect.example": {20 * time.Second, "a redirect"},
		"loopback.example":     {20 * time.Second, "not one of the public internet"},
	} {
		t.Run(domain, func(t *testing.T) {
			a := r.analyses[domain]
			if took := a.Ended.Sub(a.Started); took > check.within {
				t.Errorf("it took %v", took)
			}
			text := fmt.Sprint(a.LeftOut, a.MTASTS.Policy.Why, a.Faults)
			for _, h := range a.Hosts {
				for _, s := range h.Servers {
					text += s.Reached.Why + s.StartTLS.Why
				}
			}
			t.Log(text)
			if !strings.Contains(text, check.said) {
				t.Errorf("%q does not say %q", text, check.said)
			}
		})
	}
	if n := r.policies.count("both.example"); n != 1 {
		t.Errorf("the policy of both.example was fetched %d times: a redirect was followed, or nothing was remembered", n)
	}
}
