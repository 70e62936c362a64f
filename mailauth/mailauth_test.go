package mailauth_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/mailauth"
)

const zone = "sink.example"

// signKey is the DKIM key of every signer in tests.
func signKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)) }

// dns is a fake resolver. Names without data do not exist; a name in broken
// fails, one in hangs waits for the context.
type dns struct {
	txt           map[string][]string
	mx            map[string][]string
	a             map[string][]string
	broken, hangs map[string]bool
}

// newDNS returns a world where sender.example has SPF and a DKIM key.
func newDNS() *dns {
	pub := base64.StdEncoding.EncodeToString(signKey().Public().(ed25519.PublicKey))
	key := []string{"v=DKIM1; k=ed25519; p=" + pub}
	return &dns{
		txt: map[string][]string{
			"sender.example":               {"other", "v=spf1 ip4:192.0.2.0/28 -all"},
			"_dmarc.sender.example":        {"v=DMARC1; p=reject"},
			"s._domainkey.sender.example":  key,
			"s._domainkey.other.example":   key,
			"s._domainkey.example.co.uk":   key,
			"s._domainkey.m.example.co.uk": key,
		},
		mx: map[string][]string{}, a: map[string][]string{}, broken: map[string]bool{}, hangs: map[string]bool{},
	}
}

func (d *dns) fail(ctx context.Context, name string, found bool) error {
	switch {
	case d.hangs[name]:
		<-ctx.Done()
		return ctx.Err()
	case d.broken[name]:
		return errors.New("SERVFAIL")
	case !found:
		return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return nil
}

func (d *dns) LookupTXT(ctx context.Context, name string) ([]string, error) {
	out, ok := d.txt[strings.ToLower(name)]
	return out, d.fail(ctx, name, ok)
}

func (d *dns) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	var out []*net.MX
	for _, h := range d.mx[name] {
		out = append(out, &net.MX{Host: h, Pref: 10})
	}
	return out, d.fail(ctx, name, len(out) > 0)
}

func (d *dns) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	var out []net.IPAddr
	for _, a := range d.a[host] {
		out = append(out, net.IPAddr{IP: net.ParseIP(a)})
	}
	return out, d.fail(ctx, host, len(out) > 0)
}

func (d *dns) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	return nil, d.fail(ctx, addr, false)
}

func client() netip.Addr { return netip.MustParseAddr("192.0.2.5") }

func inspector(t testing.TB, r mailauth.Resolver) *mailauth.Inspector {
	t.Helper()
	i, err := mailauth.New(mailauth.Options{Zone: zone, Slots: 4, Resolver: r})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// inspect runs a message, with LF or CRLF, through an Inspector.
func inspect(t testing.TB, r mailauth.Resolver, mailFrom, message string) (evidence.Transaction, error) {
	t.Helper()
	tx := evidence.Transaction{MailFrom: mailFrom}
	err := inspector(t, r).Inspect(t.Context(), client(), "mta.sender.example", &tx, strings.NewReader(crlf(message)))
	if tx.Message == nil {
		t.Fatal("Inspect left no Message")
	}
	return tx, err
}

func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// plain is an ordinary test mail.
const plain = `From: =?utf-8?q?J=C3=B6rg?= <j@sender.example>
To: Test <en@et.sink.example>,
  "U. T." <EN+x@UT.Sink.Example>
Cc: k@sender.example
Date: Sat, 21 Nov 2026 12:00:00 +0100
Message-ID: <1@sender.example>
Content-Language: de-DE
Subject: test

body
`

// at is a time shortly after the Date of plain.
func at() time.Time { return time.Date(2026, 11, 21, 11, 1, 0, 0, time.UTC) }

// sign signs a message as domain; nil keys mean those of a usual signer.
func sign(t testing.TB, message, domain string, keys ...string) string {
	t.Helper()
	if keys == nil {
		keys = []string{"From", "To", "Cc", "Date", "Subject"}
	}
	var out bytes.Buffer
	err := dkim.Sign(&out, strings.NewReader(crlf(message)), &dkim.SignOptions{
		Domain: domain, Selector: "s", Signer: signKey(), HeaderKeys: keys,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestInspect(t *testing.T) {
	message := sign(t, plain, "sender.example")
	got, err := inspect(t, newDNS(), "j@sender.example", message)
	if err != nil {
		t.Fatal(err)
	}
	want := evidence.Transaction{
		MailFrom:  "j@sender.example",
		Addressed: []string{"en@et.sink.example", "EN+x@ut.sink.example"},
		MessageID: "<1@sender.example>",
		Message: &evidence.Message{
			From: []string{"j@sender.example"}, To: []string{"en@et.sink.example", "EN+x@ut.sink.example"}, Cc: []string{"k@sender.example"},
			Date: time.Date(2026, 11, 21, 11, 0, 0, 0, time.UTC), Language: "de-DE", Size: int64(len(message)),
			DKIM:  []evidence.DKIM{{Domain: "sender.example", Result: evidence.AuthPass, Headers: []string{"from", "to", "cc", "date", "subject"}}},
			SPF:   evidence.SPF{Result: evidence.AuthPass, Domain: "sender.example", Mechanism: "ip4", Reason: "matched ip"},
			DMARC: evidence.DMARC{Result: evidence.AuthPass, Domain: "sender.example", From: "sender.example", Policy: "reject", AlignedSPF: true, AlignedDKIM: true},
			Chain: evidence.ARCChain{Result: evidence.AuthNone},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("transaction (-want +got):\n%s", d)
	}
}

func TestSPF(t *testing.T) {
	for _, c := range []struct {
		name, record, result, mechanism string
	}{
		{"ip4", "v=spf1 ip4:192.0.2.5 -all", "pass", "ip4"},
		{"all", "v=spf1 +all", "pass", "all"},
		{"all of an include", "v=spf1 include:open.example -all", "pass", "all"},
		{"all of a redirect", "v=spf1 redirect=open.example", "pass", "all"},
		{"include", "v=spf1 include:none.example include:sender2.example -all", "pass", "ip4"},
		{"nested include", "v=spf1 include:nested.example ?all", "pass", "mx"},
		{"redirect", "v=spf1 redirect=sender2.example", "pass", "ip4"},
		{"a", "v=spf1 a:mail.example -all", "pass", "a"},
		{"mx with network", "v=spf1 mx:mail.example/24 -all", "pass", "mx"},
		{"whole Internet", "v=spf1 ip4:0.0.0.0/0 -all", "pass", "all"},
		{"half of it", "v=spf1 ip4:128.0.0.0/1 -all", "pass", "all"},
		{"a of the whole Internet", "v=spf1 a:mail.example/0 -all", "pass", "all"},
		{"a with both networks", "v=spf1 a:mail.example/24//0 -all", "pass", "all"},
		{"exists for everybody", "v=spf1 exists:mail.example -all", "pass", "all"},
		{"exists for the client", "v=spf1 exists:%{i}.list.example -all", "pass", "exists"},
		{"neutral", "v=spf1 ?all", "neutral", "all"},
		{"softfail", "v=spf1 ~all", "softfail", "all"},
		{"fail", "v=spf1 ip4:198.51.100.1 -all", "fail", "all"},
		{"nothing matches", "v=spf1 ip4:198.51.100.1", "neutral", ""},
		{"no record", "hello", "none", ""},
		{"junk", "v=spf1 bogus", "permerror", ""},
		{"DNS broken", "v=spf1 include:broken.example -all", "temperror", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDNS()
			d.txt["x.example"] = []string{c.record}
			d.txt["open.example"] = []string{"v=spf1 +all"}
			d.txt["none.example"] = []string{"v=spf1 -all"}
			d.txt["sender2.example"] = []string{"v=spf1 ip4:192.0.2.0/24 -all"}
			d.txt["nested.example"] = []string{"v=spf1 include:none.example include:inner.example -all"}
			d.txt["inner.example"] = []string{"v=spf1 mx:mail.example -all"}
			d.a["mail.example"] = []string{"192.0.2.5"}
			d.mx["mail.example"] = []string{"mail.example"}
			if strings.Contains(c.record, "128.0") {
				d.a["mail.example"] = nil
			}
			d.a["192.0.2.5.list.example"] = []string{"127.0.0.2"}
			d.broken["broken.example"] = true
			tx, err := inspect(t, d, "j@x.example", plain)
			if err != nil {
				t.Fatal(err)
			}
			if got := tx.Message.SPF; string(got.Result) != c.result || got.Mechanism != c.mechanism {
				t.Errorf("got %+v, want %s by %q", got, c.result, c.mechanism)
			}
		})
	}
}

func TestSPFWithoutDomain(t *testing.T) {
	for _, from := range []string{"", "postmaster", "j@[192.0.2.5]", `"a@sender.example"@other.example`} {
		tx, err := inspect(t, newDNS(), from, plain)
		if err != nil || tx.Message.SPF.Result != evidence.AuthNone {
			t.Errorf("MAIL FROM %q: %+v, %v", from, tx.Message.SPF, err)
		}
	}
}

func TestDKIM(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(signed string, d *dns) string
		want []evidence.AuthResult
	}{
		{"valid", func(s string, _ *dns) string { return s }, []evidence.AuthResult{"pass"}},
		{"body changed", func(s string, _ *dns) string { return s + "more\r\n" }, []evidence.AuthResult{"fail"}},
		{"From changed", func(s string, _ *dns) string { return strings.Replace(s, "j@sender", "k@sender", 1) }, []evidence.AuthResult{"fail"}},
		{"no key", func(s string, d *dns) string { delete(d.txt, "s._domainkey.sender.example"); return s }, []evidence.AuthResult{"permerror"}},
		{"DNS broken", func(s string, d *dns) string { d.broken["s._domainkey.sender.example"] = true; return s }, []evidence.AuthResult{"temperror"}},
		{"key is endless", func(s string, d *dns) string {
			d.txt["s._domainkey.sender.example"][0] += strings.Repeat("A", 5000)
			return s
		}, []evidence.AuthResult{"permerror"}},
		{"junk", func(s string, _ *dns) string { return "DKIM-Signature: a; b\r\n" + s }, []evidence.AuthResult{"permerror", "pass"}},
		{"odd names", func(s string, _ *dns) string { return strings.Replace(s, "d=sender", "d=a b\"\\sender", 1) }, []evidence.AuthResult{"permerror"}},
		{"covers a thousand fields", func(_ string, _ *dns) string {
			return sign(t, plain, "sender.example", append([]string{"From"}, strings.Split(strings.Repeat("a,", 1000)+"a", ",")...)...)
		}, []evidence.AuthResult{"permerror"}},
		{
			"endless", func(s string, _ *dns) string {
				return strings.Replace(s, "DKIM-Signature:", "DKIM-Signature: x="+strings.Repeat("1", 5000)+";", 1)
			},
			[]evidence.AuthResult{"permerror"},
		},
		{
			"flood", func(s string, _ *dns) string { return strings.Repeat("DKIM-Signature: v=1\r\n", 50) + s },
			[]evidence.AuthResult{"permerror", "permerror", "permerror", "permerror", "permerror", "permerror"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDNS()
			tx, err := inspect(t, d, "j@sender.example", c.edit(sign(t, plain, "sender.example"), d))
			if err != nil {
				t.Fatal(err)
			}
			var got []evidence.AuthResult
			for _, s := range tx.Message.DKIM {
				got = append(got, s.Result)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("results (-want +got):\n%s\n%+v", d, tx.Message.DKIM)
			}
		})
	}
}

// A resolver that hangs costs the timeout, in the bubble's time, and no more.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDNS()
		d.hangs = map[string]bool{"sender.example": true, "s._domainkey.sender.example": true}
		start := time.Now()
		tx, err := inspect(t, d, "j@sender.example", sign(t, plain, "sender.example"))
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != 20*time.Second {
			t.Errorf("took %s", got)
		}
		if tx.Message.SPF.Result != evidence.AuthTempError || tx.Message.DKIM[0].Result != evidence.AuthTempError {
			t.Errorf("SPF %+v, DKIM %+v", tx.Message.SPF, tx.Message.DKIM)
		}
	})
}

// The bubble would fail the test if the DKIM verifier left a goroutine behind.
func TestReadErrorLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := sign(t, plain, "sender.example")
		two := sign(t, one, "other.example")
		lost := errors.New("connection lost")
		for _, message := range []string{plain, one, two} {
			for _, cut := range []int{0, 20, len(message) - 3} {
				tx := evidence.Transaction{MailFrom: "j@sender.example"}
				in := io.MultiReader(strings.NewReader(message[:cut]), iotest.ErrReader(lost))
				err := inspector(t, newDNS()).Inspect(t.Context(), client(), "x", &tx, in)
				if !errors.Is(err, lost) {
					t.Errorf("cut at %d: error %v", cut, err)
				}
				if ok, _, reason := mailauth.MayReport(tx, at()); ok {
					t.Errorf("cut at %d: would report: %s", cut, reason)
				}
			}
		}
	})
}

func TestBodyIsReadToTheEnd(t *testing.T) {
	for name, message := range map[string]string{
		"body": plain + strings.Repeat("line\n", 50_000), "huge header": strings.Repeat("X-A: b\n", 100_000) + plain, "no colon": "hello\n" + plain,
		"no body": "From: a@b.example\n", "no newline": "From: a@b.example", "empty": "", "only newline": "\n",
	} {
		in := strings.NewReader(message)
		tx := evidence.Transaction{MailFrom: "j@sender.example"}
		err := inspector(t, newDNS()).Inspect(t.Context(), client(), "x", &tx, in)
		if in.Len() != 0 {
			t.Errorf("%s: %d octets not read (%v)", name, in.Len(), err)
		}
		if tx.Message.Size != int64(len(message)) {
			t.Errorf("%s: size %d of %d", name, tx.Message.Size, len(message))
		}
	}
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]mailauth.Options{
		"zone is empty": {Slots: 1, Resolver: newDNS()},
		"slots 0":       {Zone: zone, Resolver: newDNS()},
		"no resolver":   {Zone: zone, Slots: 1},
	} {
		if _, err := mailauth.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
