package desectest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// part is one element of a bulk request; absent fields are nil.
type part struct {
	Subname *string   `json:"subname"`
	Type    *string   `json:"type"`
	TTL     *int      `json:"ttl"`
	Records *[]string `json:"records"`
}

type problems map[string][]string

// patch applies a bulk request: whole, or not at all.
func (s *Server) patch(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		reply(w, http.StatusBadRequest, detail("JSON parse error"))
		return
	}
	var parts []part
	if err := json.Unmarshal(body, &parts); err != nil {
		reply(w, http.StatusBadRequest, problems{"non_field_errors": {"Expected a list of items but got type \"dict\"."}})
		return
	}
	failed, list := false, make([]problems, len(parts))
	seen := make(map[string]bool)
	for i, p := range parts {
		list[i] = s.sane(p)
		key := fmt.Sprint(value(p.Subname), " ", value(p.Type))
		if seen[key] {
			list[i]["non_field_errors"] = append(list[i]["non_field_errors"], "Same subname and type as in position(s) 0, but must be unique.")
		}
		seen[key] = true
		failed = failed || len(list[i]) > 0
	}
	if failed {
		reply(w, http.StatusBadRequest, list)
		return
	}
	before := slices.Clone(s.sets)
	stored := []RRset{}
	for _, p := range parts {
		set, problem := s.apply(p)
		if problem != "" {
			s.sets = before // the second stage names no part
			reply(w, http.StatusBadRequest, problems{"non_field_errors": {problem}})
			return
		}
		if len(set.Records) > 0 {
			stored = append(stored, set)
		}
	}
	reply(w, http.StatusOK, stored)
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// sane is the first stage of validation.
func (s *Server) sane(p part) problems {
	out := problems{}
	rrtype, sub := value(p.Type), value(p.Subname)
	required := "This field is required."
	switch {
	case p.Type == nil:
		out["type"] = []string{required}
	case slices.Contains([]string{"SOA", "DNSKEY", "RRSIG", "NSEC3PARAM", "ALIAS", "DNAME"}, rrtype):
		out["type"] = []string{"You cannot tinker with the " + rrtype + " RR set. It is managed automatically."}
	case dns.StringToType[rrtype] == 0:
		out["type"] = []string{"The " + rrtype + " RR set type is currently unsupported."}
	}
	if !regexp.MustCompile(`^(\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*)?$`).MatchString(sub) || len(sub) > 178 {
		out["subname"] = []string{"Subname can only use (lowercase) a-z, 0-9, ., -, and _, may start with a '*.', or just be '*'. Components may not exceed 63 characters."}
	}
	if ttl := p.TTL; ttl != nil {
		switch {
		case *ttl < s.opts.MinimumTTL:
			out["ttl"] = []string{fmt.Sprintf("Ensure this value is greater than or equal to %d.", s.opts.MinimumTTL)}
		case *ttl > MaximumTTL:
			out["ttl"] = []string{fmt.Sprintf("Ensure this value is less than or equal to %d.", MaximumTTL)}
		}
	}
	if s.index(sub, rrtype) < 0 && (p.Records == nil || len(*p.Records) > 0) {
		if p.TTL == nil {
			out["ttl"] = []string{required}
		}
		if p.Records == nil {
			out["records"] = []string{required}
		}
	}
	return out
}

// apply is the second stage: it checks the records against their type.
func (s *Server) apply(p part) (RRset, string) {
	set := RRset{Subname: value(p.Subname), Type: value(p.Type)}
	i := s.index(set.Subname, set.Type)
	if i >= 0 {
		set = s.sets[i]
	}
	if p.TTL != nil {
		set.TTL = *p.TTL
	}
	if p.Records != nil {
		set.Records = nil
		for _, r := range *p.Records {
			canonical, ok := canonicalize(set.Type, r)
			if !ok {
				return set, "Record content malformed: " + r
			}
			if slices.Contains(set.Records, canonical) {
				return set, "RRset contains duplicate records: " + canonical
			}
			set.Records = append(set.Records, canonical)
		}
	}
	if len(set.Records) == 0 {
		if i >= 0 {
			s.sets = slices.Delete(slices.Clone(s.sets), i, i+1)
		}
		return set, ""
	}
	if set.Type != "CNAME" && s.index(set.Subname, "CNAME") >= 0 {
		return set, "RRset with conflicting type present: CNAME."
	}
	return s.store(set), ""
}

// canonicalize returns a record as deSEC stores it.
func canonicalize(rrtype, data string) (string, bool) {
	if rrtype == "TXT" && (len(data) < 2 || data[0] != '"' || data[len(data)-1] != '"') {
		return "", false
	}
	if rrtype == "MX" && !strings.HasSuffix(data, ".") {
		return "", false
	}
	rr, err := dns.NewRR(". 0 IN " + rrtype + " " + data)
	if err != nil || rr == nil || strings.ContainsAny(data, "\n\r") {
		return "", false
	}
	out := strings.TrimPrefix(rr.String(), rr.Header().String())
	if rrtype != "TXT" {
		out = strings.ToLower(out)
	}
	return out, true
}
