package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/scenario"
)

// port is one that has to answer.
type port struct {
	number  uint16
	network string
}

func (p port) String() string {
	if p.number == 53 {
		return "53/" + p.network
	}
	return fmt.Sprint(p.number)
}

// ports connects to each public address as the world does. From the machine
// itself a firewall in front of it does not show, and that is said.
func (x *exam) ports(ctx context.Context) {
	var done []netip.Addr
	for _, a := range slices.Concat(x.Addresses, x.MXAddresses, x.UTAddresses) {
		if slices.Contains(done, a) {
			continue
		}
		done = append(done, a)
		list := []port{{25, "tcp"}}
		if slices.Contains(x.Addresses, a) {
			list = append(list, port{53, "udp"}, port{53, "tcp"}, port{80, "tcp"}, port{443, "tcp"})
		}
		if x.External {
			list = slices.DeleteFunc(list, func(p port) bool { return p.number == 53 })
		}
		x.portsOf(ctx, a, list)
	}
}

func (x *exam) portsOf(ctx context.Context, a netip.Addr, list []port) {
	var good []string
	failed := make(map[port]error)
	errs := make([]error, len(list))
	var wait sync.WaitGroup
	for i, p := range list {
		wait.Go(func() { errs[i] = x.connect(ctx, a, p) })
	}
	wait.Wait()
	for i, p := range list {
		if errs[i] != nil {
			failed[p] = errs[i]
		} else {
			good = append(good, p.String())
		}
	}
	here := slices.Contains(x.Host, a)
	switch {
	case len(failed) == 0 && here:
		x.ok(a.String(), "ports %s answer, asked from this machine (a firewall in front of it would not show: run tlsink doctor elsewhere, too)", strings.Join(good, ", "))
		return
	case len(failed) == 0:
		x.ok(a.String(), "ports %s answer", strings.Join(good, ", "))
		return
	case len(good) == 0 && all(failed, silent):
		x.nothingAnswers(a, here)
		return
	}
	for _, p := range list {
		if err := failed[p]; err != nil {
			x.portFailed(a, p, err, good)
		}
	}
}

// nothingAnswers: one cause, one message.
func (x *exam) nothingAnswers(a netip.Addr, here bool) {
	seen := "no port answers within " + x.Timeout.String()
	fix := "Correct the address in dns.addresses if it is not that of the sink; else open ports 25, 53 (UDP and TCP), 80 and 443 in the firewall in front of it."
	if !here && len(x.Host) > 0 {
		seen += "; it is no address of this machine, either"
		fix += " If this machine is behind NAT, its router may not lead connections from inside to the outer address: run `tlsink doctor` from elsewhere."
	}
	x.wrong(a.String(), seen, fix)
}

func (x *exam) portFailed(a netip.Addr, p port, err error, good []string) {
	subject := net.JoinHostPort(a.String(), p.String())
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		x.wrong(subject, "connection refused: nothing listens there", "Start `tlsink serve` with that address in [listen], or lead the port there (NAT, container).")
	case errors.Is(err, errForeign):
		x.wrong(subject, err.Error(), "Stop the other server, or correct the address.")
	case silent(err) && p.number == 25 && len(good) > 0:
		// Other ports answer, so this network may keep its users from port 25.
		x.cannot(subject, "no answer, but ports "+strings.Join(good, ", ")+" answer: outgoing port 25 may be blocked here, or incoming port 25 there. Run `tlsink doctor` on the sink itself and from another network; if both fail, ask the hosting provider to open port 25")
	case silent(err):
		x.wrong(subject, "no answer within "+x.Timeout.String(), "")
	default:
		x.wrong(subject, err.Error(), "")
	}
}

func all(m map[port]error, is func(error) bool) bool {
	for _, err := range m {
		if !is(err) {
			return false
		}
	}
	return true
}

// silent reports whether nothing came back, as with a firewall that drops.
func silent(err error) bool {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}

// errForeign: somebody else answers.
const errForeign = foreign("another server answers")

type foreign string

func (f foreign) Error() string { return string(f) }

func (x *exam) connect(ctx context.Context, a netip.Addr, p port) error {
	ctx, cancel := context.WithTimeout(ctx, x.Timeout)
	defer cancel()
	to := x.At(a, p.number)
	if p.number == 53 {
		m, err := x.ask(ctx, to, x.Zone, dns.TypeSOA, p.network)
		if err == nil && !m.Authoritative {
			err = fmt.Errorf("%w: it is not authoritative for %s", errForeign, x.Zone)
		}
		return err
	}
	c, err := x.Dial(ctx, "tcp", to)
	if err != nil {
		return err
	}
	defer c.Close()
	if p.number != 25 {
		return nil
	}
	if err := c.SetDeadline(time.Now().Add(x.Timeout)); err != nil {
		return err
	}
	r := bufio.NewReader(io.LimitReader(c, maxLine))
	banner, err := r.ReadString('\n')
	if err != nil {
		return fmt.Errorf("no greeting: %w", err)
	}
	if x.Token != "" { // so that the service takes it for what it is
		p := scenario.Probe{Token: x.Token, Kind: scenario.SelfSigned}
		if _, err := fmt.Fprintf(c, "EHLO %s\r\n", p.Name(x.Zone)); err == nil {
			_, _ = r.ReadString('\n')
		}
	}
	banner = strings.TrimSpace(banner)
	if !strings.HasPrefix(banner, "220 "+scenario.ServiceHost(x.Zone)) && !strings.HasPrefix(banner, "421 "+scenario.ServiceHost(x.Zone)) {
		return fmt.Errorf("%w: it says %q", errForeign, clip(banner))
	}
	return nil
}

// maxLine bounds what is read of a line that strangers may have written.
const maxLine = 2048

// clip makes what strangers wrote fit for a terminal.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 200)]
}
