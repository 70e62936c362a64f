package headers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	flag.Parse()
	os.Exit(m.Run())
}

const mails = "testdata"

// keyServer answers with the key records of a file, one a line: name, blank,
// text.
func keyServer(t *testing.T, file string) func(context.Context, *dns.Msg, string, string) (*dns.Msg, error) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[string][]string)
	for line := range strings.Lines(string(b)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		for rest := text; rest != ""; {
			n := min(len(rest), 255)
			keys[dns.Fqdn(name)] = append(keys[dns.Fqdn(name)], rest[:n])
			rest = rest[n:]
		}
	}
	return func(_ context.Context, q *dns.Msg, _, _ string) (*dns.Msg, error) {
		m := new(dns.Msg)
		m.SetReply(q)
		name := strings.ToLower(q.Question[0].Name)
		if txt, ok := keys[name]; ok {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: txt})
		} else {
			m.Rcode = dns.RcodeNameError
		}
		return m, nil
	}
}

// headers runs the command, with a fixed clock and without the network.
func headers(t *testing.T, c Cmd, stdin string) (string, error) {
	t.Helper()
	c.now = func() time.Time { return time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC) }
	if c.exchange == nil {
		c.exchange = func(context.Context, *dns.Msg, string, string) (*dns.Msg, error) {
			return nil, errors.New("no network")
		}
	}
	c.Resolver = []string{"192.0.2.53"}
	var out bytes.Buffer
	err := c.Run(&cli.Env{Ctx: t.Context(), Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &out})
	return out.String(), err
}

func TestHeadersGolden(t *testing.T) {
	keys := keyServer(t, mails+"/keys.txt")
	for name, c := range map[string]Cmd{
		"list":           {File: mails + "/list.eml", exchange: keys},
		"list-no-dns":    {File: mails + "/list.eml"},
		"list-offline":   {File: mails + "/list.eml", Offline: true},
		"list-json":      {File: mails + "/list.eml", JSON: true, exchange: keys},
		"only-header":    {File: mails + "/only-header.eml", exchange: keys},
		"protected":      {File: mails + "/protected.eml", exchange: keys},
		"protected-json": {File: mails + "/protected.eml", JSON: true, Offline: true},
		"hostile":        {File: mails + "/hostile.eml", exchange: keys},
		"hostile-json":   {File: mails + "/hostile.eml", JSON: true, exchange: keys},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := headers(t, c, "")
			if err != nil {
				t.Fatal(err)
			}
			if bad := strings.IndexFunc(got, unfit); bad >= 0 || !utf8.ValidString(got) {
				t.Errorf("not fit for a terminal at %d: %q", bad, got)
			}
			path := filepath.Join(mails, name+".txt")
			if flag.Lookup("update").Value.String() == "true" {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil { //nolint:gosec // no secret
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("%s (-want +got); run with -update if it is meant:\n%s", path, d)
			}
		})
	}
}

// unfit: control characters and those that turn the direction of text.
func unfit(r rune) bool {
	return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r))
}

func TestHeadersFromStandardInput(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"CRLF":                 {"Received: from a.example by b.example with ESMTPS; Sat, 21 Nov 2026 11:00:00 +0000\r\n\r\nbody", "Every step between machines claims encryption."},
		"empty lines before":   {"\r\n\nReceived: from a.example by b.example with SMTP\n\n", "1 step: 1 not encrypted.\nNo step claims encryption."},
		"of a mailbox":         {"From a@b Sat Nov 21 11:00:00 2026\nReceived: by b.example with LMTP\n\nx", "No step between machines is told."},
		"no newline":           {"From: a@b.example", "no Received field"},
		"thousand steps":       {strings.Repeat("Received: from a.example by b.example with ESMTPS\n", 990) + "\nx", "(960 steps, older than these, left out and not counted)\n961  a.example -> b.example\n"},
		"claim of the rest":    {strings.Repeat("Received: from a.example by b.example with ESMTPS\n", 990) + "\nx", "Every step between machines that is shown claims encryption."},
		"end of the rest":      {"Received: from a.example by b.example with ESMTP\n" + strings.Repeat("Received: from a.example by b.example with ESMTPS\n", 989) + "\nx", "ends at step 990, a.example -> b.example: ESMTP, not encrypted."},
		"many signatures":      {strings.Repeat("DKIM-Signature: d=a.example\n", 20) + "\nx", "14 more, not looked at"},
		"an hour before":       {"Received: by b.example; Sat, 21 Nov 2026 11:00:00 +0000\nReceived: by a.example; Sat, 21 Nov 2026 12:00:00 +0000\n\n", "1h0m0s earlier by its clock"},
		"no times":             {"Received: by b.example\n\n", "at no time given: does not say"},
		"results of nothing":   {"Authentication-Results: mx.example; none\n\n", "mx.example: no result"},
		"every kind of result": {"Authentication-Results: mx.example 1; spf=fail smtp.helo=a.example; auth=pass smtp.auth=u; iprev=pass policy.iprev=192.0.2.1; domainkeys=pass header.d=a.example; sender-id=pass header.from=a.example; vbr=pass x=y; arc=fail\n\n", "mx.example: spf=fail (a.example), auth=pass (u), iprev=pass (192.0.2.1), domainkeys=pass (a.example), sender-id=pass (a.example), vbr=pass, arc=fail"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := headers(t, Cmd{File: "-", Offline: true}, c.in)
			if err != nil || !strings.Contains(got, c.want) {
				t.Errorf("%v, want %q in:\n%s", err, c.want, got)
			}
		})
	}
}

func TestHeadersErrors(t *testing.T) {
	for name, c := range map[string]struct {
		args  []string
		stdin string
		want  string
		exit  int
	}{
		"no argument":    {[]string{"headers"}, "", "hint: tlsink --help", 2},
		"no file":        {[]string{"headers", "nowhere.eml"}, "", "read mail: open nowhere.eml", 1},
		"empty":          {[]string{"headers", "--offline", "-"}, "", "mail -: no header field: the message must begin with its header", 1},
		"no mail":        {[]string{"headers", "--offline", "-"}, "hello\n", "mail -: header: message: malformed MIME header line: hello", 1},
		"escapes":        {[]string{"headers", "--offline", "-"}, "\x1b[2J\n", "malformed MIME header line: [2J", 1},
		"endless header": {[]string{"headers", "--offline", "-"}, strings.Repeat("X: "+strings.Repeat("y", 1000)+"\n", 300), "header is larger than 262144 octets", 1},
		"resolver":       {[]string{"headers", "--resolver", "dns.example", "-"}, "", `--resolver is "dns.example": want an IP address`, 1},
	} {
		_, stderr, status := runHeaders(t, c.stdin, c.args...)
		if status != c.exit || !strings.Contains(stderr, c.want) || strings.Contains(stderr, "\x1b") {
			t.Errorf("%s: status %d, stderr %q", name, status, stderr)
		}
	}
}

// Programs get the same whatever is missing.
func TestHeadersJSONOfLittle(t *testing.T) {
	got, err := headers(t, Cmd{File: "-", JSON: true, Offline: true}, "From: a@b.example\n\nx")
	if err != nil {
		t.Fatal(err)
	}
	var have map[string]any
	if err := json.Unmarshal([]byte(got), &have); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"hops": []any{}, "summary": map[string]any{"hops": 0.0, "encrypted": 0.0, "unencrypted": 0.0, "local": 0.0, "unsaid": 0.0, "claim_ends_at": nil},
		"not_checked": "--offline was given", "dkim": []any{}, "arc": map[string]any{"result": "none"}, "authentication_results": []any{}, "tls_required_no": false,
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Whatever comes in, what goes out is fit for a terminal.
func FuzzHeaders(f *testing.F) {
	files, err := filepath.Glob(mails + "/*.eml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, in string) {
		for _, asJSON := range []bool{false, true} {
			got, err := headers(t, Cmd{File: "-", JSON: asJSON}, in)
			if err != nil {
				got = err.Error()
			}
			if strings.ContainsFunc(got, unfit) || !utf8.ValidString(got) {
				t.Errorf("%q", got)
			}
		}
	})
}

func runHeaders(t *testing.T, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var commands struct {
		Headers Cmd `cmd:""`
	}
	var out, err bytes.Buffer
	status = cli.Run(&cli.Env{Ctx: t.Context(), Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &err}, &commands, args)
	return out.String(), err.String(), status
}
