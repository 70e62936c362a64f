package console_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/console"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	b := d.browser()
	expectRedirect(t, "page before the login", b.get("/console/"), "/console/login")
	expectRedirect(t, "a deeper page", b.get("/console/tests/7KQ2PX?x=1"), "/console/login?next=%2Fconsole%2Ftests%2F7KQ2PX")
	expect(t, "login page", b.get("/console/login"), http.StatusOK, `type="password"`, `autocomplete="current-password"`, `for="password"`)
	if len(b.cookies) > 0 {
		t.Errorf("cookies before the login: %v", b.cookies)
	}
	for _, wrong := range []string{"", "apple ladder quiet stor", password + " ", strings.Repeat("x", 1500)} {
		d.pass(time.Hour) // the wait is another test's
		expect(t, "wrong password", b.login(wrong), http.StatusForbidden, "The password is wrong.")
	}
	d.pass(time.Hour)
	w := b.login(password)
	expectRedirect(t, "login", w, "/console/")
	for _, c := range b.last {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("cookie %s", c)
		}
	}
	if len(b.cookies[console.SessionCookie]) != 43 { // 256 bits in base64
		t.Errorf("session %q", b.cookies[console.SessionCookie])
	}
	expect(t, "overview", b.get("/console/"), http.StatusOK, "Running tests", "192.0.2.7")
	expectRedirect(t, "login page with a session", b.get("/console/login"), "/console/")
	if got := strings.Join(d.logins, " "); got != "failed failed failed failed ok" {
		t.Errorf("told of logins: %s", got)
	}
	for _, secret := range []string{password, "apple", b.cookies[console.SessionCookie], b.cookies[console.DeviceCookie], b.token(t)} {
		if strings.Contains(d.log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

func TestLoginLeadsBack(t *testing.T) {
	t.Parallel()
	for next, want := range map[string]string{
		"/console/tests/7KQ2PX":     "/console/tests/7KQ2PX",
		"":                          "/console/",
		"//evil.example/console/":   "/console/",
		"https://evil.example/":     "/console/",
		"/console/../t/x":           "/console/",
		"/console/\\evil.example":   "/console/",
		"/consoleevil":              "/console/",
		"javascript:alert(1)":       "/console/",
		"/console/tests?id=1#x":     "/console/",
		"/console/%0d%0aSet-Cookie": "/console/",
	} {
		w := newDesk(t).browser().post("/console/login", url.Values{"password": {password}, "next": {next}})
		expectRedirect(t, next, w, want)
	}
}

// TestSameAnswer: nothing tells a wrong password from a file that can not be read.
func TestSameAnswer(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	wrong := d.browser().login("wrong")
	for name, damage := range map[string]func() error{
		"damaged":      func() error { return os.WriteFile(d.file, []byte("$argon2id$v=19$m=9"), 0o600) },
		"empty":        func() error { return os.WriteFile(d.file, nil, 0o600) },
		"for everyone": func() error { return os.Chmod(d.file, 0o644) },
		"a directory":  func() error { return errorOf(os.Remove(d.file), os.Mkdir(d.file, 0o700)) },
	} {
		d.setPassword(t, console.CheapHash(password))
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		d.pass(2 * time.Hour)
		b := d.browser()
		got := b.login(password)
		if got.Code != wrong.Code || got.Body.String() != wrong.Body.String() || len(b.cookies) > 0 {
			t.Errorf("%s: status %d, %v:\n%s", name, got.Code, b.cookies, got.Body)
		}
		if !strings.Contains(d.log.String(), "can not be read") {
			t.Errorf("%s: the log does not say it", name)
		}
		if err := os.RemoveAll(d.file); err != nil {
			t.Fatal(err)
		}
	}
}

func errorOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestOff: there is no console without a password, and no default one.
func TestOff(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	in := d.in(t)
	if err := os.Remove(d.file); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/console/", "/console/login", "/console/tests"} {
		expect(t, path, in.get(path), http.StatusNotFound, "The console is off.")
	}
	expect(t, "login", d.browser().login(""), http.StatusNotFound)
	d.setPassword(t, console.CheapHash(password))
	expectRedirect(t, "the same session later", in.get("/console/"), "/console/login")
	expectRedirect(t, "login later", d.browser().login(password), "/console/")

	var log strings.Builder
	if _, err := console.New(console.Options{Operator: d.operator}); err == nil {
		t.Error("a console without a password file")
	}
	newDesk(t, func(o *console.Options) {
		o.PasswordFile = d.file + "-none"
		o.Logger = logTo(&log)
	})
	if !strings.Contains(log.String(), "tlsink console password") {
		t.Errorf("the log does not say how to make a password: %s", log.String())
	}
}

func TestWaits(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	b := d.browser()
	for n := range console.FreeTries {
		expect(t, fmt.Sprintf("try %d", n+1), b.login("wrong"), http.StatusForbidden)
	}
	for n := range 4 {
		want := console.WaitAfter(console.FreeTries + n)
		w := b.login(password) // also the right one
		expect(t, "too early", w, http.StatusTooManyRequests, "Too many wrong passwords")
		if got := w.Header().Get("Retry-After"); got != strconv.Itoa(int(want.Seconds())) {
			t.Errorf("after %d: Retry-After %s, want %v", console.FreeTries+n, got, want)
		}
		d.pass(want - time.Millisecond)
		expect(t, "a moment too early", b.login("wrong"), http.StatusTooManyRequests)
		d.pass(time.Millisecond)
		expect(t, "in time", b.login("wrong"), http.StatusForbidden)
	}
	other := d.browser()
	other.client = "198.51.100.1:1"
	expectRedirect(t, "another client meanwhile", other.login(password), "/console/")
	d.pass(time.Hour)
	expectRedirect(t, "much later", b.login(password), "/console/")
	if got := console.WaitAfter(1000); got != 15*time.Minute {
		t.Errorf("the longest wait is %v", got)
	}
}

// TestIPv6Network: addresses of one /64 wait together, IPv4 in IPv6 is IPv4.
func TestIPv6Network(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	b := d.browser()
	for n := range console.FreeTries {
		b.client = fmt.Sprintf("[2001:db8::%d]:99", n+1)
		expect(t, b.client, b.login("wrong"), http.StatusForbidden)
	}
	b.client = "[2001:db8::ffff]:99"
	expect(t, "of the same network", b.login("wrong"), http.StatusTooManyRequests)
	b.client = "[2001:db8:0:1::1]:99"
	expect(t, "of another network", b.login("wrong"), http.StatusForbidden)
}

// TestStrangersLockNobodyOut: a browser that was let in before waits for nobody
// but itself, and a new password lets everybody try again.
func TestStrangersLockNobodyOut(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	known := d.in(t)
	delete(known.cookies, console.SessionCookie)
	crowd := func() (limited bool) {
		for n := range 2 * console.WorldTries {
			b := d.browser()
			b.client = fmt.Sprintf("198.51.100.%d:1", n)
			limited = b.login("wrong").Code == http.StatusTooManyRequests
		}
		return limited
	}
	if !crowd() {
		t.Fatal("all strangers together may try as often as they like")
	}
	fresh := d.browser()
	fresh.client = "203.0.113.9:1"
	expect(t, "a stranger with the password", fresh.login(password), http.StatusTooManyRequests)
	expectRedirect(t, "the known browser", known.login(password), "/console/")
	d.pass(console.WorldWait)
	expectRedirect(t, "the stranger after a short wait", fresh.login(password), "/console/")
	for range 3 {
		d.pass(time.Second)
		crowd()
	}
	d.setPassword(t, console.CheapHash("another long password"))
	third := d.browser()
	third.client = "203.0.113.10:1"
	expectRedirect(t, "with the new password at once", third.login("another long password"), "/console/")
}

// TestDeviceCookie: what a browser keeps is worth nothing alone, not once it is
// changed, and not for ever.
func TestDeviceCookie(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	known := d.in(t)
	delete(known.cookies, console.SessionCookie)
	expectRedirect(t, "with the device alone", known.get("/console/tests"), "/console/login?next=%2Fconsole%2Ftests")
	device := known.cookies[console.DeviceCookie]
	for range console.FreeTries {
		expect(t, "wrong", known.login("wrong"), http.StatusForbidden)
	}
	expect(t, "a known browser waits, too", known.login("wrong"), http.StatusTooManyRequests)
	stranger := d.browser()
	stranger.client = known.client
	expect(t, "its network does not wait for it", stranger.login("wrong"), http.StatusForbidden)

	spend := func() { // the tries of the network
		for range console.FreeTries {
			stranger.login("wrong")
		}
	}
	spend()
	name, rest, _ := strings.Cut(device, ".")
	until, sign, _ := strings.Cut(rest, ".")
	for what, value := range map[string]string{
		"another name":      name[1:] + "." + until + "." + sign,
		"another time":      name + "." + until + "0." + sign,
		"another signature": name + "." + until + "." + strings.Repeat("A", len(sign)),
		"no signature":      name + "." + until,
		"nothing":           "",
		"dots":              "..",
	} {
		b := d.browser()
		b.cookies[console.DeviceCookie] = value
		expect(t, what, b.login(password), http.StatusTooManyRequests)
	}
	d.pass(console.DeviceAge)
	spend()
	old := d.browser()
	old.cookies[console.DeviceCookie] = device
	expect(t, "after its age", old.login(password), http.StatusTooManyRequests)
}

func TestNewPasswordEndsSessions(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	b := d.in(t)
	d.setPassword(t, console.CheapHash("another long password"))
	expectRedirect(t, "the old session", b.get("/console/"), "/console/login")
	expect(t, "the old password", b.login(password), http.StatusForbidden)
	expectRedirect(t, "the new one", b.login("another long password"), "/console/")
	// The same password with another salt is another one, too.
	h, err := console.HashPassword("another long password", strings.NewReader("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	d.setPassword(t, h)
	expectRedirect(t, "set again", b.get("/console/"), "/console/login")
	expectRedirect(t, "with the default costs", b.login("another long password"), "/console/")
}

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, func(o *console.Options) { o.Now = time.Now })
		idle := d.in(t)
		time.Sleep(30*time.Minute - time.Second)
		expect(t, "shortly before", idle.get("/console/"), http.StatusOK)
		time.Sleep(30*time.Minute - time.Second)
		expect(t, "used in between", idle.get("/console/"), http.StatusOK)
		time.Sleep(30 * time.Minute)
		expectRedirect(t, "idle", idle.get("/console/"), "/console/login")

		busy := d.in(t)
		for range 12*4 - 1 {
			time.Sleep(15 * time.Minute)
			expect(t, "busy", busy.get("/console/"), http.StatusOK)
		}
		time.Sleep(15 * time.Minute)
		expectRedirect(t, "after 12 hours", busy.get("/console/"), "/console/login")
	})
}

// TestFixation: an id that somebody planted never becomes a session, and the old
// one of a browser ends with its next login.
func TestFixation(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	b := d.browser()
	const planted = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43UMFRGGZDFMZT"
	b.cookies[console.SessionCookie] = planted
	expectRedirect(t, "planted", b.get("/console/"), "/console/login")
	b.cookies[console.SessionCookie] = planted
	b.login(password)
	first := b.cookies[console.SessionCookie]
	if first == planted {
		t.Fatal("the planted id is a session")
	}
	b.login(password)
	if b.cookies[console.SessionCookie] == first {
		t.Error("a login does not change the id")
	}
	old := d.browser()
	old.cookies[console.SessionCookie] = first
	expectRedirect(t, "the id before", old.get("/console/"), "/console/login")
}

func TestLogout(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	one, two, three := d.in(t), d.in(t), d.in(t)
	kept := one.cookies[console.SessionCookie]
	expectRedirect(t, "logout", one.submit(t, "/console/logout"), "/console/login")
	one.cookies[console.SessionCookie] = kept
	expectRedirect(t, "after logout", one.get("/console/"), "/console/login")
	expect(t, "others stay", two.get("/console/"), http.StatusOK)
	expectRedirect(t, "logout everywhere", two.submit(t, "/console/logout-all"), "/console/login")
	expectRedirect(t, "another one", three.get("/console/"), "/console/login")
}

func TestManySessions(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	first := d.in(t)
	for range console.MaxSessions - 1 {
		d.pass(time.Second)
		d.in(t)
	}
	expect(t, "the first of as many as there may be", first.get("/console/"), http.StatusOK)
	second := d.in(t) // ends the one that was not used for the longest time
	expect(t, "the first was used last", first.get("/console/"), http.StatusOK)
	expect(t, "the newest", second.get("/console/"), http.StatusOK)
	if n := strings.Count(first.get("/console/").Body.String(), "<code>"); n != console.MaxSessions {
		t.Errorf("%d sessions", n)
	}
}

// TestOneHashAtATime: logins wait for each other, and not more than a few.
func TestOneHashAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		h, release, err := console.NewBusy(console.Options{Zone: zone, Operator: d.operator, PasswordFile: d.file, Now: d.clock})
		if err != nil {
			t.Fatal(err)
		}
		d.handler = h
		var waiting sync.WaitGroup
		var in atomic.Int32
		from := func(n int) *browser {
			b := d.browser()
			b.client = fmt.Sprintf("198.51.100.%d:1", n)
			return b
		}
		for n := range console.MaxWaiting {
			waiting.Go(func() {
				if from(n).login(password).Code == http.StatusSeeOther {
					in.Add(1)
				}
			})
		}
		synctest.Wait()
		w := from(99).login(password)
		expect(t, "one too many", w, http.StatusServiceUnavailable, "Try again in a few seconds")
		if w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		if in.Load() > 0 {
			t.Errorf("%d passwords were checked beside another one", in.Load())
		}
		release()
		waiting.Wait()
		if in.Load() != console.MaxWaiting {
			t.Errorf("%d of %d who waited were let in", in.Load(), console.MaxWaiting)
		}
	})
}

// TestTriesAreBounded: whoever comes, memory and waits are bounded.
func TestTriesAreBounded(t *testing.T) {
	t.Parallel()
	now := start
	tries := console.NewTries(func() time.Time { return now })
	for n := range 3 * console.MaxClients {
		now = now.Add(time.Millisecond)
		tries.Begin(netip.Prefix{}, fmt.Sprint(n))
	}
	if n := tries.Len(); n > console.MaxClients {
		t.Errorf("%d clients are remembered", n)
	}
	for n := range 200 {
		network := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 32)
		if wait := tries.Begin(network, ""); wait < 0 || wait > console.WorldWait {
			t.Fatalf("a stranger waits %v", wait)
		}
	}
	now = now.Add(24 * time.Hour)
	if wait := tries.Begin(netip.MustParsePrefix("203.0.113.1/32"), ""); wait != 0 {
		t.Errorf("a day later: %v", wait)
	}
}

// FuzzKnownDevice: only what was signed with this very password file is known.
func FuzzKnownDevice(f *testing.F) {
	const hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA"
	genuine, err := console.NewDevice(strings.NewReader(strings.Repeat("x", 32)), hash, start.Add(time.Hour))
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{genuine, genuine + "A", "." + genuine, "a.1.b", "..", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name := console.KnownDevice(s, hash, start); (name != "") != (s == genuine) {
			t.Errorf("%q is known as %q", s, name)
		}
		if console.KnownDevice(s, "", start) != "" || console.KnownDevice(s, hash+"x", start) != "" || console.KnownDevice(s, hash, start.Add(time.Hour)) != "" {
			t.Errorf("%q is known without, with another password, or for ever", s)
		}
	})
}

// TestNoRandomness: without it there is no session, and no guessable one.
func TestNoRandomness(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(o *console.Options) { o.Rand = strings.NewReader("only a few octets") })
	b := d.browser()
	expect(t, "login", b.login(password), http.StatusInternalServerError)
	if len(b.cookies) > 0 {
		t.Errorf("cookies %v", b.cookies)
	}
}
