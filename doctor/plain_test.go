package doctor

import (
	"errors"
	"testing"
)

func TestPlain(t *testing.T) {
	for _, c := range []struct{ name, err, want string }{
		{"a resolver that is silent", "dnssec: look up et.sink.example. MX: ask for et.sink.example. MX: server 192.0.2.53:53: read udp 192.0.2.25:48849->192.0.2.53:53: i/o timeout\nserver 192.0.2.53:53: read udp 192.0.2.25:41665->192.0.2.53:53: i/o timeout", "server 192.0.2.53:53: no answer"},
		{"one that fails", "dnssec: look up a. MX: ask for a. MX: server 192.0.2.53:53: response code SERVFAIL\nserver 192.0.2.53:53: response code SERVFAIL", "server 192.0.2.53:53: response code SERVFAIL"},
		{"two", "server 192.0.2.53:53: response code REFUSED\nserver [2001:db8::53]:53: read tcp [2001:db8::25]:4->[2001:db8::53]:53: i/o timeout", "server 192.0.2.53:53: response code REFUSED; server [2001:db8::53]:53: no answer"},
		{"nobody listens", "dial tcp 192.0.2.25:25: connect: connection refused", "connect: connection refused"},
		{"cut off", "read udp", "read udp"},
		{"another", "its mode is none; want enforce", "its mode is none; want enforce"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := plain(errors.New(c.err)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// What waits for another check is no reason of its own.
func TestWorstNamesTheCause(t *testing.T) {
	results := []Result{
		{Check: checkDelegation, Subject: "sink.example", Status: Wrong, Seen: "there is none"},
		{Check: checkChain, Subject: "sink.example", Status: Cannot, Seen: notBefore + checkDelegation + " is ok", Effect: Unverifiable},
	}
	if unverifiable, broken, decided := Worst(results); unverifiable != "sink.example: there is none" || broken != "" || !decided {
		t.Errorf("%q, %q, %v", unverifiable, broken, decided)
	}
	if unverifiable, _, _ := Worst(results[1:]); unverifiable != "sink.example: not tested before delegation is ok" {
		t.Errorf("without the cause: %q", unverifiable)
	}
}
