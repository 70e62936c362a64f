package rating

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/inbound/check"
)

// conn is a connection that said MAIL once for each of mails.
func conn(client string, offered, started bool, mails ...*evidence.Message) evidence.Connection {
	c := evidence.Connection{Client: client, StartTLSOffered: offered, StartTLS: started}
	for _, m := range mails {
		c.Transactions = append(c.Transactions, evidence.Transaction{TLS: started, Data: m != nil, Message: m})
	}
	return c
}

// after is a connection at a time.
func after(d time.Duration, c evidence.Connection) evidence.Connection {
	c.Start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).Add(d)
	return c
}

func mail(spf evidence.AuthResult, dkim ...evidence.AuthResult) *evidence.Message {
	m := &evidence.Message{SPF: evidence.SPF{Result: spf}}
	for _, r := range dkim {
		m.DKIM = append(m.DKIM, evidence.DKIM{Domain: "example.org", Result: r})
	}
	return m
}

func TestOutboundHosts(t *testing.T) {
	const one, two = "192.0.2.1:4711", "192.0.2.2:4712"
	cases := []struct {
		name             string
		connections      []evidence.Connection
		hosts, encrypted int
	}{
		{"nothing", nil, 0, 0},
		{"STARTTLS used", []evidence.Connection{conn(one, true, true, nil)}, 1, 1},
		{"not used where it was offered", []evidence.Connection{conn(one, true, false, nil)}, 1, 0},
		{"never met an offered STARTTLS", []evidence.Connection{conn(one, false, false, nil)}, 0, 0},
		{"plaintext where it was withheld, TLS where it was offered", []evidence.Connection{conn(one, false, false, nil), conn("192.0.2.1:9", true, true, nil)}, 1, 1},
		{"both where it was offered", []evidence.Connection{conn(one, true, true, nil), conn(one, true, false, nil)}, 1, 0},
		{"refused the certificate, mailed elsewhere", []evidence.Connection{conn(one, true, true), conn(one, true, true, nil)}, 1, 1},
		{"refused all certificates, mailed only in plaintext where STARTTLS was withheld", []evidence.Connection{conn(one, true, true), conn(one, false, false, nil)}, 1, 1},
		{"plaintext right after a handshake that came to nothing", []evidence.Connection{after(0, conn(one, true, true)), after(time.Minute, conn(one, true, false, nil))}, 1, 1},
		{"plaintext later", []evidence.Connection{after(0, conn(one, true, true)), after(61*time.Second, conn(one, true, false, nil))}, 1, 0},
		{"plaintext right after a mail over TLS", []evidence.Connection{after(0, conn(one, true, true, nil)), after(time.Second, conn(one, true, false, nil))}, 1, 0},
		{"plaintext after another host's handshake", []evidence.Connection{after(0, conn(two, true, true)), after(time.Second, conn(one, true, false, nil))}, 1, 0},
		{"never said MAIL: may be a stranger", []evidence.Connection{conn(one, true, true), conn(one, true, false)}, 0, 0},
		{"two hosts", []evidence.Connection{conn(one, true, true, nil), conn(two, true, false, nil)}, 2, 1},
		{"a mail before STARTTLS, in one connection", []evidence.Connection{func() evidence.Connection {
			c := conn(one, true, true, nil, nil)
			c.Transactions[0].TLS = false
			return c
		}()}, 1, 0},
		{"IPv6 addresses of one network", []evidence.Connection{conn("[2001:db8::1]:25", true, true, nil), conn("[2001:db8::2]:25", true, true, nil), conn("[2001:db8:0:1::2]:25", true, true, nil)}, 2, 2},
		{"IPv4 in IPv6", []evidence.Connection{conn("[::ffff:192.0.2.1]:25", true, true, nil), conn(one, true, true, nil)}, 1, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := OutboundOf(evidence.History{Connections: c.connections})
			if got.Hosts != c.hosts || got.Encrypted != c.encrypted {
				t.Errorf("%d of %d hosts encrypt, want %d of %d", got.Encrypted, got.Hosts, c.encrypted, c.hosts)
			}
		})
	}
}

func TestOutboundMail(t *testing.T) {
	const at = "192.0.2.1:4711"
	pass, fail, temp := evidence.AuthPass, evidence.AuthFail, evidence.AuthTempError
	cut := conn(at, true, true, mail(fail))
	cut.Transactions[0].Data = false
	cases := []struct {
		name        string
		connections []evidence.Connection
		spf, dkim   check.Outcome
	}{
		{"no mail", []evidence.Connection{conn(at, true, true)}, "", ""},
		{"a mail that was cut off", []evidence.Connection{cut}, "", ""},
		{"both pass", []evidence.Connection{conn(at, true, true, mail(pass, pass))}, check.Yes, check.Yes},
		{"not signed, no SPF", []evidence.Connection{conn(at, true, true, mail(evidence.AuthNone))}, check.No, check.No},
		{"softfail", []evidence.Connection{conn(at, true, true, mail(evidence.AuthSoftFail, fail))}, check.No, check.No},
		{"could not be tested", []evidence.Connection{conn(at, true, true, mail(temp, temp))}, check.Untested, check.Untested},
		{"SPF was not evaluated", []evidence.Connection{conn(at, true, true, mail("", pass))}, "", check.Yes},
		{"one of several signatures is valid", []evidence.Connection{conn(at, true, true, mail(pass, fail, temp, pass))}, check.Yes, check.Yes},
		{"one could not be tested, none is valid", []evidence.Connection{conn(at, true, true, mail(pass, temp, fail))}, check.Yes, check.Untested},
		{"one of two mails fails", []evidence.Connection{conn(at, true, true, mail(pass, pass)), conn(at, true, true, mail(fail, fail), mail(temp, temp))}, check.No, check.No},
		{"one of two could not be tested", []evidence.Connection{conn(at, true, true, mail(temp, temp)), conn(at, true, true, mail(pass, pass))}, check.Yes, check.Yes},
		{"the other could not be tested", []evidence.Connection{conn(at, true, true, mail(pass, pass), mail(temp, temp))}, check.Yes, check.Yes},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := OutboundOf(evidence.History{Connections: c.connections})
			if diff := cmp.Diff([]check.Outcome{c.spf, c.dkim}, []check.Outcome{got.SPF.Outcome, got.DKIM.Outcome}); diff != "" {
				t.Errorf("SPF, DKIM (-want +got):\n%s\n%+v", diff, got)
			}
		})
	}
}

// What the recorded senders did: hosts, and how many encrypt.
func TestOutboundOfRecordedSenders(t *testing.T) {
	cases := map[string][2]int{
		"postfix-none":         {1, 0},
		"exim-notls-notrustad": {1, 0},
		"postfix-may":          {1, 1},
		"postfix-may-multi":    {1, 1},
		"postfix-dane":         {1, 1},
		"exim-debian":          {1, 1},
		"exim-verify":          {1, 1}, // falls back to plaintext where our certificate is bad
		"chasquid-default":     {1, 1},
		"postfix-verify":       {0, 0}, // never says MAIL
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open("../policyinfer/testdata/histories/" + name + ".jsonl")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			h, err := evidence.ReadHistory(f)
			if err != nil {
				t.Fatal(err)
			}
			if got := OutboundOf(h); got.Hosts != want[0] || got.Encrypted != want[1] {
				t.Errorf("%d of %d hosts encrypt, want %d of %d", got.Encrypted, got.Hosts, want[1], want[0])
			}
		})
	}
}
