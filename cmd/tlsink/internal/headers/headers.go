package headers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/mailauth"
	"github.com/tlsink/tlsink/received"
)

// Cmd is the command line.
type Cmd struct {
	File     string   `arg:"" help:"A mail, or only its header, as the mail program saves or shows its source; - is standard input."`
	JSON     bool     `name:"json" help:"Print it as one JSON object."`
	Resolver []string `sep:"," help:"Recursive resolver to ask for the keys of signatures. Default: those of /etc/resolv.conf." placeholder:"ADDRESS"`
	Offline  bool     `help:"Look up nothing: signatures are named, but not checked."`

	exchange dnssec.ExchangeFunc // nil: the network
	now      func() time.Time    // nil: time.Now
}

// Run tells what the header of a mail tells.
func (c *Cmd) Run(e *cli.Env) error {
	r, why, err := c.resolver()
	if err != nil {
		return err
	}
	in := e.Stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("read mail: %w", err)
		}
		defer f.Close()
		in = f
	}
	x, err := mailauth.Examine(e.Ctx, mailauth.ExamineOptions{Resolver: r, Now: c.now}, in)
	if err != nil {
		// It may quote the mail.
		return errors.New(cli.Printable("mail " + c.File + ": " + err.Error()))
	}
	if !x.Body {
		why = "there is no body, and signatures cover it"
	}
	told := tell(x, why)
	if c.JSON {
		enc := json.NewEncoder(e.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(told)
	}
	w := &headersPrinter{w: e.Stdout}
	w.print(told)
	return w.err
}

// resolver returns nil, and why, where nothing is to be looked up. The keys of
// signatures need no DNSSEC, so a resolver that passes none on will do.
func (c *Cmd) resolver() (r mailauth.Resolver, why string, err error) {
	if c.Offline {
		return nil, "--offline was given", nil
	}
	var servers []string
	for _, s := range c.Resolver {
		server, err := cli.ResolverAddress(s)
		if err != nil {
			return nil, "", err
		}
		servers = append(servers, server)
	}
	if len(servers) == 0 {
		conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil || len(conf.Servers) == 0 {
			return nil, "/etc/resolv.conf names no resolver; name one with --resolver", nil
		}
		for _, s := range conf.Servers {
			servers = append(servers, net.JoinHostPort(s, conf.Port))
		}
	}
	resolver, err := dnssec.New(dnssec.Options{Servers: servers, Exchange: c.exchange})
	if err != nil {
		return nil, "", fmt.Errorf("--resolver: %w", err)
	}
	return dnssec.Lookups{Resolver: resolver}, "", nil
}

// toldHeaders is what a header tells. Texts hold no characters that a terminal
// obeys.
type toldHeaders struct {
	Hops        []toldHop   `json:"hops"`
	HopsLeftOut int         `json:"hops_left_out,omitempty"` // older than those of Hops
	Summary     toldSummary `json:"summary"`

	// NotChecked says why no signature was checked; empty if they were.
	NotChecked  string          `json:"not_checked,omitempty"`
	DKIM        []toldSignature `json:"dkim"`
	DKIMLeftOut int             `json:"dkim_left_out,omitempty"`
	ARC         toldChain       `json:"arc"`

	Results       []toldResults `json:"authentication_results"` // the last to be written first
	TLSRequiredNo bool          `json:"tls_required_no"`
}

// toldHop is a step, in the order the mail went.
type toldHop struct {
	evidence.Hop
	Submitted bool `json:"submitted,omitempty"` // the client logged in
	// DelaySeconds is the time since the step before; null if one of both has no
	// time. It is negative where clocks differ.
	DelaySeconds *int64 `json:"delay_seconds"`
}

// toldSummary counts steps by what they claim.
type toldSummary struct {
	Hops        int `json:"hops"`
	Encrypted   int `json:"encrypted"`
	Unencrypted int `json:"unencrypted"`
	Local       int `json:"local"`
	Unsaid      int `json:"unsaid"`
	// ClaimEndsAt is the place in Hops, from 1, of the first step that is not
	// local and does not claim encryption; null if there is none.
	ClaimEndsAt *int `json:"claim_ends_at"`
}

// unchecked is the result of a signature that was not checked.
const unchecked = "unchecked"

type toldSignature struct {
	Domain string `json:"domain"`
	Result string `json:"result"` // RFC 8601 §2.7.1, or unchecked
	Reason string `json:"reason,omitempty"`
}

type toldChain struct {
	Result string     `json:"result"` // none, pass, fail, temperror or unchecked
	Reason string     `json:"reason,omitempty"`
	Seals  []toldSeal `json:"seals,omitempty"`
}

type toldSeal struct {
	Instance int    `json:"instance"`
	Domain   string `json:"domain"`
	Status   string `json:"status"`            // cv=, as the sealer wrote it
	Results  string `json:"results,omitempty"` // what it found, in its words
}

// tell puts an examination in words for people and programs.
func tell(x mailauth.Examination, why string) toldHeaders {
	t := toldHeaders{
		Hops: []toldHop{}, HopsLeftOut: x.PathLeftOut, NotChecked: why, DKIM: []toldSignature{},
		DKIMLeftOut: len(x.Header.Values("DKIM-Signature")) - len(x.DKIM), Results: resultsOf(x.Header.Values("Authentication-Results")),
		TLSRequiredNo: x.TLSRequiredNo,
	}
	hops := make([]evidence.Hop, 0, len(x.Path))
	for i, f := range x.Path {
		h := toldHop{Hop: f.Hop, Submitted: f.Submitted}
		if i > 0 && !f.Time.IsZero() && !x.Path[i-1].Time.IsZero() {
			seconds := int64(f.Time.Sub(x.Path[i-1].Time) / time.Second)
			h.DelaySeconds = &seconds
		}
		t.Hops = append(t.Hops, h)
		hops = append(hops, f.Hop)
	}
	s := received.Summarize(hops)
	t.Summary = toldSummary{Hops: s.Hops, Encrypted: s.Encrypted, Unencrypted: s.Unencrypted, Local: s.Local, Unsaid: s.Unsaid}
	if s.Ends >= 0 {
		number := s.Ends + 1
		t.Summary.ClaimEndsAt = &number
	}
	for _, d := range x.DKIM {
		t.DKIM = append(t.DKIM, toldSignature{Domain: cli.Printable(d.Domain), Result: orUnchecked(d.Result), Reason: cli.Printable(strings.TrimPrefix(d.Reason, "dkim: "))})
	}
	t.ARC = toldChain{Result: orUnchecked(x.Chain.Result), Reason: cli.Printable(x.Chain.Reason)}
	for _, s := range x.Seals {
		t.ARC.Seals = append(t.ARC.Seals, toldSeal{Instance: s.Instance, Domain: cli.Printable(s.Domain), Status: cli.Printable(s.Status), Results: cli.Printable(s.Results)})
	}
	if len(x.Header.Values("ARC-Seal")) == 0 && x.Chain.Result == "" {
		t.ARC.Result = string(evidence.AuthNone)
	}
	return t
}

func orUnchecked(r evidence.AuthResult) string {
	if r == "" {
		return unchecked
	}
	return string(r)
}

// headersPrinter writes for people. It keeps the first error.
type headersPrinter struct {
	w   io.Writer
	err error
}

func (p *headersPrinter) line(format string, args ...any) {
	if p.err != nil {
		return
	}
	if _, err := fmt.Fprintf(p.w, format+"\n", args...); err != nil {
		p.err = errors.Join(errors.New("print"), err)
	}
}
