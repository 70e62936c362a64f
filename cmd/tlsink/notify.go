package main

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// notifier tells a service manager about us (sd_notify(3)). Without one it does
// nothing.
type notifier struct {
	socket string // $NOTIFY_SOCKET
	log    *slog.Logger
}

func newNotifier(log *slog.Logger) *notifier {
	return &notifier{socket: os.Getenv("NOTIFY_SOCKET"), log: log}
}

func (n *notifier) ready(status string) {
	if status == "" {
		status = "serving"
	}
	n.send("READY=1", "STATUS="+status)
}

func (n *notifier) reloading() {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return
	}
	n.send("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(t.Nano()/int64(time.Microsecond), 10))
}

func (n *notifier) stopping() { n.send("STOPPING=1", "STATUS=waiting for transactions in progress") }

func (n *notifier) send(lines ...string) {
	if n.socket == "" {
		return
	}
	name := n.socket
	if strings.HasPrefix(name, "@") { // an abstract address
		name = "\x00" + name[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = c.Write([]byte(strings.Join(lines, "\n")))
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		n.log.Warn("service manager not told", "socket", n.socket, "err", err)
	}
}
