package headers

import (
	"strings"

	"github.com/emersion/go-msgauth/authres"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
)

// Limits of Authentication-Results fields, and of results in one.
const (
	mostResultFields = 20
	mostResults      = 20
	longestResults   = 4 << 10 // octets
)

// toldResults is an Authentication-Results field (RFC 8601). Only the server
// that a mailbox belongs to can vouch for it, if it removes those of others.
type toldResults struct {
	Server  string       `json:"server,omitempty"`
	Results []toldResult `json:"results"`
}

type toldResult struct {
	Method string `json:"method"`
	Result string `json:"result"`
	Of     string `json:"of,omitempty"` // the domain, address or name it is about
}

func resultsOf(fields []string) []toldResults {
	out := []toldResults{}
	for _, f := range fields[:min(len(fields), mostResultFields)] {
		f = withoutComments(f[:min(len(f), longestResults)])
		// Exchange Online leaves out who writes.
		if first, _, _ := strings.Cut(f, ";"); strings.Contains(first, "=") {
			f = ";" + f
		}
		// What comes before an error was understood.
		server, results, _ := authres.Parse(f)
		t := toldResults{Server: shortWord(server), Results: []toldResult{}}
		for _, r := range results[:min(len(results), mostResults)] {
			t.Results = append(t.Results, resultOf(r))
		}
		if t.Server != "" || len(t.Results) > 0 {
			out = append(out, t)
		}
	}
	return out
}

func resultOf(r authres.Result) toldResult {
	var method, of string
	var value authres.ResultValue
	switch r := r.(type) {
	case *authres.SPFResult:
		method, value, of = "spf", r.Value, r.From
		if of == "" {
			of = r.Helo
		}
	case *authres.DKIMResult:
		method, value, of = "dkim", r.Value, r.Domain
		if of == "" {
			of = r.Identifier
		}
	case *authres.DMARCResult:
		method, value, of = "dmarc", r.Value, r.From
	case *authres.ARCResult:
		method, value = "arc", r.Value
	case *authres.AuthResult:
		method, value, of = "auth", r.Value, r.Auth
	case *authres.IPRevResult:
		method, value, of = "iprev", r.Value, r.IP
	case *authres.DomainKeysResult:
		method, value, of = "domainkeys", r.Value, r.Domain
	case *authres.SenderIDResult:
		method, value, of = "sender-id", r.Value, r.HeaderValue
	case *authres.GenericResult:
		method, value = r.Method, r.Value
	}
	return toldResult{Method: shortWord(method), Result: shortWord(string(value)), Of: shortWord(of)}
}

// words are the results as the field has them, but with what they are about.
func (t toldResults) words() []string {
	if len(t.Results) == 0 {
		return []string{"no result"}
	}
	var out []string
	for _, r := range t.Results {
		w := r.Method + "=" + r.Result
		if r.Of != "" {
			w += " (" + r.Of + ")"
		}
		out = append(out, w)
	}
	return out
}

// withoutComments removes comments (RFC 5322 §3.2.2), which the parser does not
// know. One that is not closed ends the field.
func withoutComments(s string) string {
	var out strings.Builder
	depth := 0
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && (depth > 0 || quoted) && i+1 < len(s):
			i++
			if depth == 0 {
				out.WriteByte(s[i])
			}
		case c == '"' && depth == 0:
			quoted = !quoted
		case c == '(' && !quoted:
			depth++
		case c == ')' && depth > 0:
			depth--
			out.WriteByte(' ')
		case depth == 0:
			out.WriteByte(c)
		}
	}
	return out.String()
}

// shortWord makes a word of a stranger fit for a line.
func shortWord(s string) string {
	const most = 100
	r := []rune(cli.Printable(strings.Join(strings.Fields(s), " ")))
	return string(r[:min(len(r), most)])
}
