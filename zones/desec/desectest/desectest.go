// Package desectest is a stand-in for deSEC's REST API, for tests: domains and
// RRsets with deSEC's rules for tokens, validation, smallest TTL, pagination, atomic
// bulk requests and rate limits.
package desectest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// MaximumTTL is the largest TTL, in seconds.
const MaximumTTL = 604800

// RRset is an RRset of the API.
type RRset struct {
	Created string   `json:"created"`
	Domain  string   `json:"domain"`
	Subname string   `json:"subname"`
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Records []string `json:"records"`
	TTL     int      `json:"ttl"`
	Touched string   `json:"touched"`
}

// Rate allows a number of requests in a sliding window.
type Rate struct {
	Requests int
	Window   time.Duration
}

// Options are the settings of a Server.
type Options struct {
	Domain     string // without a final dot
	Token      string
	MinimumTTL int // seconds; default 3600, as for new domains
	PageSize   int // default 500
	Reads      []Rate
	Writes     []Rate // of the domain
	Now        func() time.Time
}

// Server is the API. It is an http.Handler for paths below /api/v1/, and safe for
// concurrent use.
type Server struct {
	opts Options

	mu            sync.Mutex
	sets          []RRset // in the order of their creation
	reads, writes []time.Time
	requests      []string
}

// New returns a server with the name server records that every domain has.
func New(o Options) *Server {
	if o.MinimumTTL == 0 {
		o.MinimumTTL = 3600
	}
	if o.PageSize == 0 {
		o.PageSize = 500
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{opts: o}
	s.store(RRset{Type: "NS", TTL: 3600, Records: []string{"ns1.desec.io.", "ns2.desec.org."}})
	return s
}

// RRsets returns what is stored.
func (s *Server) RRsets() []RRset {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sets)
}

// Requests returns method and path of every request so far.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// SetMinimumTTL does what deSEC's support does.
func (s *Server) SetMinimumTTL(seconds int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.MinimumTTL = seconds
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body) // the client may be gone
	}
}

func detail(text string) map[string]string { return map[string]string{"detail": text} }

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	switch auth := r.Header.Get("Authorization"); {
	case auth == "":
		reply(w, http.StatusUnauthorized, detail("Authentication credentials were not provided."))
		return
	case auth != "Token "+s.opts.Token:
		reply(w, http.StatusUnauthorized, detail("Invalid token."))
		return
	}
	if !s.admit(w, r.Method != http.MethodGet) {
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/api/v1/domains/"+s.opts.Domain+"/")
	switch {
	case !ok:
		reply(w, http.StatusNotFound, detail("Not found."))
	case rest == "" && r.Method == http.MethodGet:
		reply(w, http.StatusOK, map[string]any{
			"name": s.opts.Domain, "minimum_ttl": s.opts.MinimumTTL,
			"keys": []any{map[string]any{"ds": []string{"6006 13 2 f34b75"}, "flags": 257, "keytype": "csk"}},
		})
	case rest == "rrsets/" && r.Method == http.MethodGet:
		s.list(w, r)
	case rest == "rrsets/" && r.Method == http.MethodPatch:
		s.patch(w, r)
	default:
		reply(w, http.StatusMethodNotAllowed, detail(fmt.Sprintf("Method %q not allowed.", r.Method)))
	}
}

// admit counts a request against the limits.
func (s *Server) admit(w http.ResponseWriter, write bool) bool {
	seen, rates := &s.reads, s.opts.Reads
	if write {
		seen, rates = &s.writes, s.opts.Writes
	}
	now := s.opts.Now()
	var wait time.Duration
	for _, rate := range rates {
		var within []time.Time
		for _, at := range *seen {
			if now.Sub(at) < rate.Window {
				within = append(within, at)
			}
		}
		if len(within) >= rate.Requests {
			wait = max(wait, within[len(within)-rate.Requests].Add(rate.Window).Sub(now))
		}
	}
	if wait > 0 {
		seconds := int((wait + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		reply(w, http.StatusTooManyRequests, detail(fmt.Sprintf("Request was throttled. Expected available in %d seconds.", seconds)))
		return false
	}
	*seen = append(*seen, now)
	return true
}

// list answers with RRsets, the latest first, in pages if a cursor is given.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	found := []RRset{}
	for _, set := range slices.Backward(s.sets) {
		if (!q.Has("subname") || q.Get("subname") == set.Subname) && (!q.Has("type") || q.Get("type") == set.Type) {
			found = append(found, set)
		}
	}
	if !q.Has("cursor") {
		if len(found) > s.opts.PageSize {
			s.link(w, r, "first", "")
			reply(w, http.StatusBadRequest, detail("Pagination required. You can query up to "+
				strconv.Itoa(s.opts.PageSize)+" items at a time (\"cursor\" parameter). Please use the `first` page link (see `Link` header)."))
			return
		}
		reply(w, http.StatusOK, found)
		return
	}
	start, err := strconv.Atoi(strings.TrimPrefix(q.Get("cursor"), "page-"))
	if q.Get("cursor") != "" && (err != nil || start < 0 || start > len(found)) {
		reply(w, http.StatusNotFound, detail("Invalid cursor"))
		return
	}
	s.link(w, r, "first", "")
	end := min(start+s.opts.PageSize, len(found))
	if end < len(found) {
		s.link(w, r, "next", fmt.Sprint("page-", end))
	}
	reply(w, http.StatusOK, found[start:end])
}

func (s *Server) link(w http.ResponseWriter, r *http.Request, rel, cursor string) {
	q := url.Values{}
	maps.Copy(q, r.URL.Query())
	q.Set("cursor", cursor)
	link := fmt.Sprintf("<%s://%s%s?%s>; rel=%q", cmp.Or(r.URL.Scheme, "http"), r.Host, r.URL.Path, q.Encode(), rel)
	if before := w.Header().Get("Link"); before != "" {
		link = before + ", " + link
	}
	w.Header().Set("Link", link)
}

func (s *Server) index(subname, rrtype string) int {
	return slices.IndexFunc(s.sets, func(set RRset) bool { return set.Subname == subname && set.Type == rrtype })
}

// store creates or replaces an RRset.
func (s *Server) store(set RRset) RRset {
	now := s.opts.Now().UTC().Format(time.RFC3339Nano)
	set.Domain, set.Created, set.Touched = s.opts.Domain, now, now
	set.Name = strings.TrimPrefix(set.Subname+"."+s.opts.Domain+".", ".")
	if i := s.index(set.Subname, set.Type); i >= 0 {
		set.Created = s.sets[i].Created
		s.sets[i] = set
	} else {
		s.sets = append(s.sets, set)
	}
	return set
}
