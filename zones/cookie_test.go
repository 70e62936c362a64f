package zones_test

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

const ownCookie = "0123456789abcdef"

func withCookie(m *dns.Msg, cookie string) *dns.Msg {
	if m.IsEdns0() == nil {
		m.SetEdns0(1232, false)
	}
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
	return m
}

func cookieOf(m *dns.Msg) string {
	if m.IsEdns0() == nil {
		return ""
	}
	for _, o := range m.IsEdns0().Option {
		if c, ok := o.(*dns.EDNS0_COOKIE); ok {
			return c.Cookie
		}
	}
	return ""
}

func TestCookies(t *testing.T) {
	z := newZone(t, options())
	mx := func() *dns.Msg { return new(dns.Msg).SetQuestion("et."+zoneName, dns.TypeMX) }
	first := exchange(t, z, withCookie(mx(), ownCookie), true)
	got := cookieOf(first)
	// RFC 9018 §4: client cookie, version 1, reserved, time, hash
	if len(got) != 2*24 || !strings.HasPrefix(got, ownCookie+"01000000") || len(first.Answer) != 4 {
		t.Errorf("cookie %q in\n%v", got, first)
	}
	for _, c := range []struct {
		name   string
		query  *dns.Msg
		rcode  int
		cookie bool
	}{
		{"none", mx().SetEdns0(1232, false), 0, false},
		{"ours comes back", withCookie(mx(), got), 0, true},
		{"of another server", withCookie(mx(), ownCookie+strings.Repeat("77", 32)), 0, true},
		{"two of them", withCookie(withCookie(mx(), got), "00"), 0, true},
		{"with an error", withCookie(new(dns.Msg).SetQuestion("org.", dns.TypeA), got), dns.RcodeRefused, true},
		{"nothing asked", withCookie(new(dns.Msg), ownCookie), 0, true},
		{"too short", withCookie(mx(), ownCookie[2:]), dns.RcodeFormatError, false},
		{"server cookie too short", withCookie(mx(), ownCookie+"01020304050607"), dns.RcodeFormatError, false},
		{"too long", withCookie(mx(), ownCookie+strings.Repeat("77", 33)), dns.RcodeFormatError, false},
		{"nothing asked, no cookie", new(dns.Msg).SetEdns0(1232, false), dns.RcodeFormatError, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := exchange(t, z, c.query, true)
			if m.Rcode != c.rcode || (cookieOf(m) != "") != c.cookie {
				t.Errorf("want %s, cookie %v\n%v", dns.RcodeToString[c.rcode], c.cookie, m)
			}
		})
	}
}

// Who shows a cookie of ours is at its address, and not limited.
func TestCookiesAgainstRateLimit(t *testing.T) {
	clk := newClock()
	o := options()
	o.Now, o.RateLimit = clk.Now, zones.RateLimit{Responses: 10}
	z := newZone(t, o)
	query := func(cookie string) func(int) *dns.Msg {
		return func(int) *dns.Msg {
			return withCookie(new(dns.Msg).SetQuestion("et."+zoneName, dns.TypeMX), cookie)
		}
	}
	fresh := func() string { return cookieOf(exchange(t, z, query(ownCookie)(0), true)) }
	full := func(from, cookie string) int { return flood(t, z, from, true, 50, query(cookie)).full }
	at := client().String()
	mine := fresh()
	other := []byte(mine)
	if other[len(other)-1]++; other[len(other)-1] == '9'+1 || other[len(other)-1] == 'f'+1 {
		other[len(other)-1] = '0'
	}
	for _, c := range []struct {
		name, from, cookie string
		after              time.Duration
		limited            bool
	}{
		{"ours", at, mine, 0, false},
		{"client cookie alone", at, ownCookie, 0, true},
		{"guessed", at, string(other), time.Second, true},
		{"another client cookie", at, "ff" + mine[2:], time.Second, true},
		{"from another address", "192.0.2.54:1", mine, time.Second, true},
		{"after 50 minutes", at, mine, 50 * time.Minute, false},
		{"after more than an hour", at, mine, 11 * time.Minute, true},
	} {
		clk.Advance(c.after)
		if n := full(c.from, c.cookie); (n < 50) != c.limited {
			t.Errorf("%s: %d of 50 answered in full", c.name, n)
		}
	}
	for range 5 { // secrets change, cookies of the last hour hold
		mine = fresh()
		clk.Advance(50 * time.Minute)
		if n := full(at, mine); n != 50 {
			t.Errorf("%d of 50 after 50 minutes", n)
		}
		clk.Advance(23 * time.Hour)
		if n := full(at, mine); n == 50 {
			t.Error("a cookie of yesterday holds")
		}
	}
	mine = fresh()
	clk.Advance(-10 * time.Minute)
	if n := full(at, mine); n == 50 {
		t.Error("a cookie of the future holds")
	}
}
