package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/zones"
)

// listeners are the sockets of a service.
type listeners struct {
	smtp, http, https, metrics []net.Listener
	dns                        *zones.Listeners
}

func listen(ctx context.Context, c config.Listen) (_ *listeners, err error) {
	l := &listeners{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for _, part := range []struct {
		name      string
		addresses []string
		to        *[]net.Listener
	}{{"listen.smtp", c.SMTP, &l.smtp}, {"listen.http", c.HTTP, &l.http}, {"listen.https", c.HTTPS, &l.https}, {"listen.metrics", c.Metrics, &l.metrics}} {
		for _, a := range part.addresses {
			one, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a)
			if err != nil {
				return nil, listenError(part.name, a, err)
			}
			*part.to = append(*part.to, one)
		}
	}
	if len(c.DNS) > 0 {
		if l.dns, err = zones.Listen(ctx, c.DNS...); err != nil {
			return nil, listenError("listen.dns", strings.Join(c.DNS, ", "), err)
		}
	}
	return l, nil
}

// listenError says what to do about an address that cannot be used.
func listenError(key, address string, err error) error {
	hint := "give an address of this host and a port, e.g. \":25\""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "stop what runs there, or choose another address"
		if key == "listen.dns" {
			hint = "a local resolver may have it, as a rule systemd-resolved: name the public addresses instead, e.g. listen.dns = [\"192.0.2.25:53\"], or stop what runs there"
		}
	case errors.Is(err, syscall.EACCES):
		hint = "ports below 1024 need a privilege: run it with CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE), or choose other ports"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = "this host does not have that address"
	}
	if syscallErr, ok := errors.AsType[*os.SyscallError](err); ok {
		err = syscallErr.Err // the address is named already
	}
	return fmt.Errorf("%s %q: %w; %s", key, address, err, hint)
}

func addresses(list []net.Listener) []string {
	out := make([]string, 0, len(list))
	for _, l := range list {
		out = append(out, l.Addr().String())
	}
	return out
}

func (l *listeners) dnsAddresses() []string {
	var out []string
	if l.dns != nil {
		for _, c := range l.dns.UDP {
			out = append(out, c.LocalAddr().String())
		}
	}
	return out
}

func (l *listeners) close() {
	for _, list := range [][]net.Listener{l.smtp, l.http, l.https, l.metrics} {
		for _, one := range list {
			one.Close()
		}
	}
	if l.dns != nil {
		l.dns.Close()
	}
}
