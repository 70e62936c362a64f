package sink_test

import (
	"crypto/tls"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

func TestKeywords(t *testing.T) {
	for name, c := range map[string]struct {
		phase         evidence.Phase
		tls           bool
		want, wantNot []string
	}{
		"downgrade":  {evidence.Downgrade, false, []string{"PIPELINING", "CHUNKING", "SMTPUTF8", "8BITMIME", "SIZE 10485760"}, []string{"STARTTLS", "REQUIRETLS", "AUTH", "DSN"}},
		"secure":     {evidence.Secure, false, []string{"STARTTLS", "SIZE 10485760"}, []string{"REQUIRETLS"}},
		"inside TLS": {evidence.Secure, true, []string{"REQUIRETLS"}, []string{"STARTTLS"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, c.phase)
			client := f.dial(t, f.listen(t))
			text := ""
			if c.tls {
				client.secured("")
				text = client.cmd("EHLO x", 250)
			} else {
				text = client.hello()
			}
			have := strings.Split(text, "\n")
			for _, k := range c.want {
				if !slices.Contains(have, k) {
					t.Errorf("%q is missing in %q", k, have)
				}
			}
			for _, k := range c.wantNot {
				if slices.Contains(have, k) {
					t.Errorf("%q must not be in %q", k, have)
				}
			}
		})
	}
}

// play sends input in one piece, half-closes, and returns the codes that came back.
func play(t *testing.T, f *fixture, input string) (codes []string) {
	t.Helper()
	c := f.dial(t, f.listen(t))
	c.send(input)
	c.halfClose()
	for {
		line, err := c.r.ReadLine()
		if err != nil {
			return codes
		}
		if len(line) > 3 && line[3] == ' ' {
			codes = append(codes, line[:3])
		}
	}
}

// The states of the wire: what is a command, and what is not.
func TestStateMachine(t *testing.T) {
	const open = "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<en@et.sink.example>\r\n"
	for name, c := range map[string]struct {
		phase    evidence.Phase
		input    string
		codes    string
		messages []string
	}{
		"pipelining keeps the order":                  {evidence.Secure, open + "NOOP\r\nDATA\r\nx\r\n.\r\nRSET\r\nQUIT\r\n", "220 250 250 250 250 354 451 250 221", []string{"x\r\n"}},
		"STARTTLS in a body":                          {evidence.Secure, open + "DATA\r\nSTARTTLS\r\n.\r\nQUIT\r\n", "220 250 250 250 354 451 221", []string{"STARTTLS\r\n"}},
		"STARTTLS in a chunk":                         {evidence.Secure, open + "BDAT 10\r\nSTARTTLS\r\nBDAT 10 LAST\r\nSTARTTLS\r\nQUIT\r\n", "220 250 250 250 250 451 221", []string{"STARTTLS\r\nSTARTTLS\r\n"}},
		"chunk of five":                               {evidence.Secure, open + "BDAT 5 LAST\r\nDATA\nNOOP\r\nQUIT\r\n", "220 250 250 250 451 250 221", []string{"DATA\n"}},
		"empty last chunk":                            {evidence.Secure, open + "BDAT 1\r\nxBDAT 0 LAST\r\nQUIT\r\n", "220 250 250 250 250 451 221", []string{"x"}},
		"chunk without a transaction":                 {evidence.Secure, "EHLO x\r\nBDAT 10\r\nSTARTTLS\r\nNOOP\r\nQUIT\r\n", "220 250 502 250 221", nil},
		"malformed BDAT has no chunk":                 {evidence.Secure, open + "BDAT x\r\nNOOP\r\nBDAT 1 2 3\r\nNOOP\r\n", "220 250 250 250 501 250 501 250", nil},
		"chunk too large":                             {evidence.Secure, open + "BDAT 4294967295\r\nSTARTTLS\r\n", "220 250 250 250 552", nil},
		"RSET between chunks":                         {evidence.Secure, open + "BDAT 1\r\nxRSET\r\nMAIL FROM:<>\r\nQUIT\r\n", "220 250 250 250 250 250 250 221", nil},
		"DATA refused":                                {evidence.Secure, "EHLO x\r\nDATA\r\nSTARTTLS\r\nMAIL FROM:<>\r\n", "220 250 502 220", nil},
		"not offered":                                 {evidence.Downgrade, "EHLO x\r\nSTARTTLS\r\nNOOP\r\nQUIT\r\n", "220 250 454 250 221", nil},
		"not offered to HELO":                         {evidence.Secure, "HELO x\r\nSTARTTLS\r\nNOOP\r\n", "220 250 454 250", nil},
		"before EHLO":                                 {evidence.Secure, "STARTTLS\r\nNOOP\r\n", "220 454 250", nil},
		"within a transaction":                        {evidence.Secure, open + "STARTTLS\r\nDATA\r\nx\r\n.\r\n", "220 250 250 250 454 354 451", []string{"x\r\n"}},
		"between chunks":                              {evidence.Secure, open + "BDAT 1\r\nxSTARTTLS\r\nBDAT 1 LAST\r\ny", "220 250 250 250 250 454 451", []string{"xy"}},
		"after a transaction":                         {evidence.Secure, open + "RSET\r\nSTARTTLS\r\n", "220 250 250 250 250 220", nil},
		"with a parameter":                            {evidence.Secure, "EHLO x\r\nSTARTTLS now\r\nNOOP\r\n", "220 250 501 250", nil},
		"with a tail":                                 {evidence.Secure, "EHLO x\r\nSTARTTLSX\r\nNOOP\r\n", "220 250 500 250", nil},
		"lower case, trailing blanks":                 {evidence.Secure, "EHLO x\r\nstarttls  \r\n", "220 250 220", nil},
		"MAIL pipelined before STARTTLS":              {evidence.Secure, "EHLO x\r\nMAIL FROM:<>\r\nSTARTTLS\r\nRSET\r\n", "220 250 250 454 250", nil},
		"nested MAIL":                                 {evidence.Secure, "EHLO x\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\n", "220 250 250 503", nil},
		"EHLO ends the transaction":                   {evidence.Secure, open + "EHLO x\r\nDATA\r\n", "220 250 250 250 250 502", nil},
		"AUTH, VRFY, HELP, EXPN, unknown":             {evidence.Secure, "EHLO x\r\nAUTH PLAIN AAAA\r\nVRFY x\r\nHELP\r\nEXPN x\r\nFOOO\r\n", "220 250 502 252 502 502 500", nil},
		"unknown parameters":                          {evidence.Secure, "EHLO x\r\nMAIL FROM:<> FOO=BAR\r\nMAIL FROM:<>\r\nRCPT TO:<en@et.sink.example> FOO\r\n", "220 250 500 250 500", nil},
		"REQUIRETLS in plaintext":                     {evidence.Secure, "EHLO x\r\nMAIL FROM:<a@b.example> REQUIRETLS\r\n", "220 250 454", nil},
		"SMTPUTF8":                                    {evidence.Secure, "EHLO x\r\nMAIL FROM:<ä@b.example> SMTPUTF8 BODY=8BITMIME\r\n", "220 250 250", nil},
		"SIZE too large":                              {evidence.Secure, "EHLO x\r\nMAIL FROM:<> SIZE=99999999\r\n", "220 250 552", nil},
		"no EHLO":                                     {evidence.Secure, "MAIL FROM:<>\r\n", "220 502", nil},
		"451, then MAIL":                              {evidence.Secure, open + "DATA\r\nx\r\n.\r\nMAIL FROM:<>\r\nNOOP\r\n", "220 250 250 250 354 451 421", []string{"x\r\n"}},
		"\\n.\\n stays body":                          {evidence.Secure, open + "DATA\r\nx\n.\nMAIL FROM:<evil@b.example>\r\n.\r\nQUIT\r\n", "220 250 250 250 354 451 221", []string{"x\n.\nMAIL FROM:<evil@b.example>\r\n"}},
		"\\r\\n.\\n stays body":                       {evidence.Secure, open + "DATA\r\nx\r\n.\nMAIL FROM:<>\r\n.\r\nQUIT\r\n", "220 250 250 250 354 451 221", []string{"x\r\n\nMAIL FROM:<>\r\n"}},
		"\\n.\\r\\n stays body":                       {evidence.Secure, open + "DATA\r\nx\n.\r\nMAIL FROM:<>\r\n.\r\nQUIT\r\n", "220 250 250 250 354 451 221", []string{"x\n.\r\nMAIL FROM:<>\r\n"}},
		"\\r.\\r stays body":                          {evidence.Secure, open + "DATA\r\nx\r.\rMAIL FROM:<>\r\n.\r\nQUIT\r\n", "220 250 250 250 354 451 221", []string{"x\r.\rMAIL FROM:<>\r\n"}},
		"STARTTLS behind \\r\\n.\\n stays body":       {evidence.Secure, open + "DATA\r\nx\r\n.\nSTARTTLS\r\n.\r\nQUIT\r\n", "220 250 250 250 354 451 221", []string{"x\r\n\nSTARTTLS\r\n"}},
		"STARTTLS behind \\n.\\r\\n stays body":       {evidence.Secure, open + "DATA\r\nx\n.\r\nSTARTTLS\r\n.\r\nQUIT\r\n", "220 250 250 250 354 451 221", []string{"x\n.\r\nSTARTTLS\r\n"}},
		"STARTTLS behind \\n.\\n stays body":          {evidence.Secure, open + "DATA\r\nx\n.\nSTARTTLS\r\n.\r\nQUIT\r\n", "220 250 250 250 354 451 221", []string{"x\n.\nSTARTTLS\r\n"}},
		"STARTTLS behind \\r\\r\\n.\\r\\n stays body": {evidence.Secure, open + "DATA\r\nx\r\r\n.\r\nSTARTTLS\r\n.\r\nQUIT\r\n", "220 250 250 250 354 451 221", []string{"x\r\r\n.\r\nSTARTTLS\r\n"}},
		"dots are unstuffed":                          {evidence.Secure, open + "DATA\r\n..x\r\n.\r\nQUIT\r\n", "220 250 250 250 354 451 221", []string{".x\r\n"}},
		"NUL in a command":                            {evidence.Secure, "EHLO x\r\nNOOP\x00\r\nNOOP\r\n", "220 250 500 250", nil},
		"bare CR in a command":                        {evidence.Secure, "EHLO x\r\nNOOP\rMAIL FROM:<>\r\nNOOP\r\n", "220 250 500 250", nil},
		"bare LF ends a command":                      {evidence.Secure, "EHLO x\nNOOP\n", "220 250 250", nil},
		"line too long":                               {evidence.Secure, "EHLO x\r\nNOOP " + strings.Repeat("x", 3000) + "\r\nNOOP\r\n", "220 250 500 250", nil},
		"endless line":                                {evidence.Secure, "EHLO x\r\n" + strings.Repeat("x", 40000), "220 250 421", nil},
		"long line in a message":                      {evidence.Secure, open + "DATA\r\n" + strings.Repeat("x", 70000) + "\r\n.\r\nQUIT\r\n", "220 250 250 250 354 451 221", []string{strings.Repeat("x", 70000) + "\r\n"}},
		"TLS ClientHello in plaintext":                {evidence.Secure, string(sslv3Hello) + "\n", "220 500", nil},
		"HTTP":                                        {evidence.Secure, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "220 501 501 500", nil},
		"several messages after acceptance":           {evidence.Downgrade, "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\nx\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<Postmaster> \r\nBDAT 2 LAST\r\nyy", "220 250 250 250 354 250 250 250 250", nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, c.phase)
			if got := strings.Join(play(t, f, c.input), " "); got != c.codes {
				t.Errorf("replies %s\n   want %s", got, c.codes)
			}
			got := f.director.next(t)
			if d := cmp.Diff(c.messages, f.memory.messages); d != "" {
				t.Errorf("messages (-want +got):\n%s", d)
			}
			if r := strings.Join(got.Replies, " "); r != c.codes {
				t.Errorf("recorded replies %s\n            want %s", r, c.codes)
			}
		})
	}
}

func TestAnomaliesAreRecordedOnce(t *testing.T) {
	const open = "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<en@et.sink.example>\r\n"
	for want, input := range map[string]string{
		"NUL in a command line":                "NOOP\x00\r\nNOOP\x00\r\n",
		"bare CR in a command line":            "NO\rOP\r\n",
		"bare LF ends a command line":          "NOOP\nNOOP\n",
		"command line too long":                strings.Repeat("x", 5000) + "\r\n",
		"endless command line":                 strings.Repeat("x", 50000),
		"NUL in a message":                     open + "DATA\r\n\x00\x00\r\n.\r\n",
		"bare LF in a message":                 open + "DATA\r\nx\ny\n\r\n.\r\n",
		"bare CR in a message":                 open + "DATA\r\nx\ry\r\n.\r\n",
		"message line longer than 1000 octets": open + "DATA\r\n" + strings.Repeat("x", 999) + "\r\n.\r\n",
		"plaintext pipelined behind STARTTLS":  "EHLO x\r\nSTARTTLS\r\nEHLO y\r\n",
	} {
		t.Run(want, func(t *testing.T) {
			f := newFixture(t, evidence.Secure)
			play(t, f, input)
			if d := cmp.Diff([]string{want}, f.director.next(t).Anomalies); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// RFC 3207 §4.2: what came before the handshake is forgotten. Injected
// plaintext never becomes part of the session.
func TestInjectedPlaintextIsDropped(t *testing.T) {
	f := newFixture(t, evidence.Secure)
	c := f.dial(t, f.listen(t))
	c.hello()
	c.send("STARTTLS\r\nMAIL FROM:<evil@b.example>\r\nRCPT TO:<en@et.sink.example>\r\n")
	c.expect(220)
	if err := c.handshake(insecure(host(scenario.MX04))); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"MAIL FROM:<>", "RCPT TO:<en@et.sink.example>", "DATA", "BDAT 3\r\nx"} {
		c.cmd(line, 503)
	}
	c.cmd("NOOP", 250)
	c.cmd("RSET", 250)
	c.cmd("EHLO x", 250)
	c.cmd("STARTTLS", 454)
	c.cmd("MAIL FROM:<good@b.example> REQUIRETLS", 250)
	c.cmd("STARTTLS", 454)
	c.cmd("QUIT", 221)
	got := f.director.next(t)
	if len(got.Transactions) != 1 || *got.MailFrom != "good@b.example" || !got.Transactions[0].TLS || !got.Transactions[0].RequireTLS {
		t.Errorf("transactions: %+v", got.Transactions)
	}
	if d := cmp.Diff([]string{"plaintext pipelined behind STARTTLS"}, got.Anomalies); d != "" {
		t.Errorf("anomalies (-want +got):\n%s", d)
	}
}

// STARTTLS and TLS versions, suites and keys of old and new senders.
func TestOldAndNewClients(t *testing.T) {
	for name, c := range map[string]struct {
		config  *tls.Config
		version string
		cipher  string
	}{
		"TLS 1.0, RSA key exchange": {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}, "1.0", "TLS_RSA_WITH_AES_128_CBC_SHA"},
		"TLS 1.0, 3DES":             {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, CipherSuites: []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}}, "1.0", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"},
		"TLS 1.1":                   {&tls.Config{MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}, "1.1", ""},
		"TLS 1.2, RSA only":         {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}, "1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
		"TLS 1.2, ECDSA only":       {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}, "1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
		"TLS 1.2, RC4":              {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}}, "1.2", "TLS_RSA_WITH_RC4_128_SHA"},
		"TLS 1.3":                   {&tls.Config{MinVersion: tls.VersionTLS13}, "1.3", ""},
	} {
		for _, sni := range []string{"", host(scenario.MX06), "unknown.example"} {
			t.Run(name+" "+sni, func(t *testing.T) {
				f := newFixture(t, evidence.Secure)
				client := f.dial(t, f.listen(t))
				config := c.config.Clone()
				config.ServerName, config.InsecureSkipVerify = sni, true
				if err := client.starttls(config); err != nil {
					t.Fatal(err)
				}
				client.cmd("EHLO x", 250)
				client.cmd("QUIT", 221)
				got := f.director.next(t)
				if got.TLS == nil || got.TLS.Version == nil || *got.TLS.Version != c.version || got.TLS.Cipher == nil || c.cipher != "" && *got.TLS.Cipher != c.cipher {
					t.Fatalf("TLS %+v", got.TLS)
				}
				if got.TLS.ClientVersions[0] != c.version || !got.TLS.Complete || got.TLS.Error != nil {
					t.Errorf("TLS %+v", got.TLS)
				}
				if state := client.Conn.(*tls.Conn).ConnectionState(); state.DidResume {
					t.Error("resumed")
				}
			})
		}
	}
}

// ticketCounter counts the session tickets that a client is given.
type ticketCounter struct{ given atomic.Int64 }

func (*ticketCounter) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (c *ticketCounter) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		c.given.Add(1)
	}
}

// Resumption would skip the check of our certificate.
func TestNoTickets(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		f := newFixture(t, evidence.Secure)
		c := f.dial(t, f.listen(t))
		config, tickets := insecure(host(scenario.MX04)), &ticketCounter{}
		config.MinVersion, config.MaxVersion, config.ClientSessionCache = version, version, tickets
		if err := c.starttls(config); err != nil {
			t.Fatal(err)
		}
		c.cmd("QUIT", 221)
		drain(c.Conn)
		if n := tickets.given.Load(); n != 0 {
			t.Errorf("version %x: %d tickets", version, n)
		}
	}
}

func TestCertificateFailureIsOurs(t *testing.T) {
	f := newFixture(t, evidence.Secure)
	f.certs.fail = true
	c := f.dial(t, f.listen(t))
	c.mustFail(c.starttls(insecure(host(scenario.MX04))))
	got := f.director.next(t)
	want := facts{Status: "SniSeen", Ending: "server", Server: 4, Destination: "et", Stage: evidence.StageBeforeCertificate}
	if d := cmp.Diff(want, factsOf(got)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got.TLS.Error == nil || !strings.Contains(*got.TLS.Error, "no keys") {
		t.Errorf("error %v", got.TLS.Error)
	}
}
