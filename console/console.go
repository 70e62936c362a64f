package console

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

// Path is where the console has to be mounted.
const Path = "/console/"

// Limits bound what the console uses. Zero fields take the default.
type Limits struct {
	Idle        time.Duration // a session that is not used ends; default 30 min
	Session     time.Duration // every session ends; default 12 h
	PageTime    time.Duration // to make one page; default 15 s
	ExportTime  time.Duration // to send one export; default 10 min
	RowsPerPage int           // of every list; default 50
}

// Options configure a console.
type Options struct {
	Zone         string
	Operator     Operator
	PasswordFile string // with the PHC string that `tlsink console password` writes

	Compare  Compare             // nil: tests can not be compared
	LoggedIn func(result string) // is told of each login: ok, failed or limited; must not block; nil: nobody

	Limits Limits
	Now    func() time.Time // default time.Now
	Rand   io.Reader        // default crypto/rand.Reader
	Logger *slog.Logger     // default: discard
}

func (o *Options) defaults() error {
	if o.Operator == nil {
		return errors.New("console: Operator is required")
	}
	if o.PasswordFile == "" {
		return errors.New("console: PasswordFile is empty: there is no console without a password")
	}
	if o.LoggedIn == nil {
		o.LoggedIn = func(string) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		to      *time.Duration
		initial time.Duration
	}{
		{&o.Limits.Idle, 30 * time.Minute},
		{&o.Limits.Session, 12 * time.Hour},
		{&o.Limits.PageTime, 15 * time.Second},
		{&o.Limits.ExportTime, 10 * time.Minute},
	} {
		if *d.to <= 0 {
			*d.to = d.initial
		}
	}
	if o.Limits.RowsPerPage <= 0 {
		o.Limits.RowsPerPage = 50
	}
	return nil
}

// console answers what is below Path. It is safe for concurrent use.
type console struct {
	o        Options
	sessions *sessions
	tries    *tries
	hashing  chan struct{} // one at a time: each takes 64 MiB
	waiting  chan struct{} // for hashing
	foreign  *http.CrossOriginProtection
	dummy    phc // takes the time of a password that can not be read
}

// New returns the handler of everything below Path, which must be reached over
// HTTPS only. It sets its own headers and limits its bodies. Without a
// password file it says 404, until there is one.
func New(o Options) (http.Handler, error) {
	c, err := newConsole(o)
	if err != nil {
		return nil, err
	}
	return c.guard(c.routes()), nil
}

func newConsole(o Options) (*console, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	c := &console{
		o:        o,
		sessions: newSessions(o),
		tries:    newTries(o.Now),
		hashing:  make(chan struct{}, 1),
		waiting:  make(chan struct{}, maxWaiting),
		foreign:  http.NewCrossOriginProtection(),
		dummy:    phc{defaultParams, make([]byte, saltOctets), make([]byte, hashOctets)},
	}
	switch _, _, err := readPassword(o.PasswordFile); {
	case errors.Is(err, errNoPassword):
		o.Logger.Warn("the console is off: no password is set; make one with `tlsink console password` on this host", "file", o.PasswordFile)
	case err != nil:
		o.Logger.Error("nobody can log in to the console: its password can not be read", "err", err)
	}
	return c, nil
}

// visit is one request of an operator.
type visit struct {
	w       http.ResponseWriter
	r       *http.Request
	session session
	client  netip.Addr
}

type visitor func(v *visit) error

func (c *console) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /console/style.css", c.style)
	mux.HandleFunc("GET /console/login", c.loginPage)
	mux.HandleFunc("POST /console/login", c.login)
	for pattern, f := range c.pages() {
		mux.HandleFunc(pattern, c.signedIn(f))
	}
	mux.HandleFunc("/console/", c.signedIn(func(*visit) error { return errNotFound }))
	return mux
}

// guard refuses what no request here needs, before anything is looked at.
func (c *console) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header())
		_, _, err := readPassword(c.o.PasswordFile)
		switch {
		case errors.Is(err, errNoPassword):
			c.sessions.endAll()
			c.fail(w, http.StatusNotFound, "The console is off.")
		case r.TLS == nil: // the cookies would not come back, but the password would have been read
			c.fail(w, http.StatusForbidden, "The console is there over HTTPS only.")
		case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost:
			w.Header().Set("Allow", "GET, HEAD, POST")
			c.fail(w, http.StatusMethodNotAllowed, "")
		case c.foreign.Check(r) != nil:
			c.log(w).Warn("a form of another site was refused", "client", addressOf(r))
			c.fail(w, http.StatusForbidden, "This form was sent by another site.")
		default:
			if status, why := readForm(w, r); status != 0 {
				c.fail(w, status, why)
				return
			}
			next.ServeHTTP(w, r)
		}
	})
}

func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "same-origin") // forms need an Origin
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// signedIn lets only open sessions come to f, and only with the token of their
// forms if they want something changed.
func (c *console) signedIn(f visitor) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, ok := c.sessionOf(r)
		if !ok {
			http.SetCookie(w, cookie(sessionCookie, "", -time.Second))
			http.Redirect(w, r, loginFor(r), http.StatusSeeOther)
			return
		}
		if r.Method == http.MethodPost && !s.tokenFits(r.PostForm.Get("token")) {
			c.log(w).Warn("a form without the token of its session was refused", "session", s.id, "client", addressOf(r))
			c.fail(w, http.StatusForbidden, "This form is not of this session. Go back, load the page again, and try again.")
			return
		}
		v := &visit{w: w, r: r, session: s, client: addressOf(r)}
		if !isExport(r) {
			ctx, cancel := context.WithTimeout(r.Context(), c.o.Limits.PageTime)
			defer cancel()
			v.r = r.WithContext(ctx)
		}
		if err := f(v); err != nil {
			c.explain(v, err)
		}
	}
}

func (c *console) sessionOf(r *http.Request) (session, bool) {
	ck, err := r.Cookie(sessionCookie)
	if err != nil {
		return session{}, false
	}
	_, password, err := readPassword(c.o.PasswordFile)
	if err != nil {
		return session{}, false
	}
	return c.sessions.use(ck.Value, password)
}

func addressOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

func networkOf(r *http.Request) netip.Prefix { return evidence.ClientOf(addressOf(r)) }
