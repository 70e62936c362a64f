package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"time"
)

// maxWaiting is how many logins wait for the hash of another one.
const maxWaiting = 8

const loginPath = "/console/login"

// nextPattern says which pages a login may lead to.
var nextPattern = regexp.MustCompile(`^/console/[A-Za-z0-9/_-]{0,200}$`)

// loginFor returns the login that leads back to the page that was asked for.
func loginFor(r *http.Request) string {
	if r.Method == http.MethodPost || r.URL.Path == Path || !nextPattern.MatchString(r.URL.Path) || isExport(r) {
		return loginPath
	}
	return loginPath + "?next=" + url.QueryEscape(r.URL.Path)
}

func nextOf(r *http.Request) string {
	if next := r.Form.Get("next"); nextPattern.MatchString(next) {
		return next
	}
	return Path
}

type loginView struct {
	Next, Problem string
}

func (c *console) loginPage(w http.ResponseWriter, r *http.Request) {
	if _, ok := c.sessionOf(r); ok {
		http.Redirect(w, r, nextOf(r), http.StatusSeeOther)
		return
	}
	c.write(w, http.StatusOK, page{Title: "Log in", Name: "login", Body: loginView{Next: nextOf(r)}})
}

func (c *console) login(w http.ResponseWriter, r *http.Request) {
	h, password, err := readPassword(c.o.PasswordFile)
	readable := err == nil
	if !readable {
		h = c.dummy // takes as long
		c.log(w).Error("nobody can log in to the console: its password can not be read", "err", err)
	}
	who := whoTries{network: networkOf(r)}
	if ck, err := r.Cookie(deviceCookie); err == nil {
		if name := knownDevice(ck.Value, password, c.o.Now()); name != "" {
			who = whoTries{device: name}
		}
	}
	c.tries.of(password)
	if wait := c.tries.begin(who); wait > 0 {
		c.log(w).Warn("a login came too early", "client", addressOf(r), "wait", wait.Round(time.Second))
		c.o.LoggedIn("limited")
		seconds := int((wait + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
		c.refuse(w, r, http.StatusTooManyRequests, fmt.Sprintf("Too many wrong passwords. Wait %s, then try again.", inWords(wait)))
		return
	}
	ok, err := c.verify(r.Context(), h, r.PostForm.Get("password"))
	switch {
	case errors.Is(err, errBusy):
		c.o.LoggedIn("limited")
		w.Header().Set("Retry-After", "5")
		c.refuse(w, r, http.StatusServiceUnavailable, "Others are logging in at the moment. Try again in a few seconds.")
	case err != nil: // the client has left
		c.refuse(w, r, http.StatusServiceUnavailable, "That took too long. Try again.")
	case !ok || !readable:
		c.o.LoggedIn("failed")
		c.log(w).Warn("wrong password", "client", addressOf(r))
		c.refuse(w, r, http.StatusForbidden, "The password is wrong.")
	default:
		c.tries.right(who)
		c.letIn(w, r, password)
	}
}

func (c *console) refuse(w http.ResponseWriter, r *http.Request, status int, problem string) {
	c.write(w, status, page{Title: "Log in", Name: "login", Body: loginView{Next: nextOf(r), Problem: problem}})
}

var errBusy = errors.New("too many logins at the same time")

// verify compares a password with a hash. Only one is computed at a time.
func (c *console) verify(ctx context.Context, h phc, given string) (bool, error) {
	select {
	case c.waiting <- struct{}{}:
		defer func() { <-c.waiting }()
	default:
		return false, errBusy
	}
	select {
	case c.hashing <- struct{}{}:
		defer func() { <-c.hashing }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	// What a hash took is given back before the next one takes as much: the
	// collector alone would let several of them pile up.
	defer debug.FreeOSMemory()
	return h.matches(given), nil
}

// letIn opens a session under a new id, whatever the browser brought.
func (c *console) letIn(w http.ResponseWriter, r *http.Request, password string) {
	if ck, err := r.Cookie(sessionCookie); err == nil {
		c.sessions.end(ck.Value)
	}
	secret, s, err := c.sessions.begin(addressOf(r), password)
	device, errDevice := newDevice(c.o.Rand, password, c.o.Now().Add(deviceAge))
	if err := errors.Join(err, errDevice); err != nil {
		c.log(w).Error("no session", "err", err)
		c.fail(w, http.StatusInternalServerError, "")
		return
	}
	c.o.LoggedIn("ok")
	c.log(w).Info("login", "session", s.id, "client", s.client)
	http.SetCookie(w, cookie(sessionCookie, secret, 0))
	http.SetCookie(w, cookie(deviceCookie, device, deviceAge))
	http.Redirect(w, r, nextOf(r), http.StatusSeeOther)
}

func (c *console) logout(v *visit) error {
	if ck, err := v.r.Cookie(sessionCookie); err == nil {
		c.sessions.end(ck.Value)
	}
	c.log(v.w).Info("logout", "session", v.session.id)
	return c.loggedOut(v)
}

func (c *console) logoutAll(v *visit) error {
	c.sessions.endAll()
	c.log(v.w).Info("all sessions were ended", "session", v.session.id, "client", v.client)
	return c.loggedOut(v)
}

func (c *console) loggedOut(v *visit) error {
	http.SetCookie(v.w, cookie(sessionCookie, "", -time.Second))
	http.Redirect(v.w, v.r, loginPath, http.StatusSeeOther)
	return nil
}

// inWords says a wait, rounded up.
func inWords(d time.Duration) string {
	if d <= 90*time.Second {
		return fmt.Sprintf("%d seconds", int((d+time.Second-1)/time.Second))
	}
	return fmt.Sprintf("%d minutes", int((d+time.Minute-1)/time.Minute))
}
