package mailauth_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
)

func TestDMARC(t *testing.T) {
	pass := func(d evidence.DMARC) evidence.DMARC { d.Result = evidence.AuthPass; return d }
	for _, c := range []struct {
		name, from, mailFrom, signer string
		edit                         func(d *dns)
		want                         evidence.DMARC
	}{
		{
			"both aligned", "j@sender.example", "j@sender.example", "sender.example", nil,
			pass(evidence.DMARC{Domain: "sender.example", From: "sender.example", Policy: "reject", AlignedSPF: true, AlignedDKIM: true}),
		},
		{
			"SPF alone", "j@sender.example", "j@sender.example", "", nil,
			pass(evidence.DMARC{Domain: "sender.example", From: "sender.example", Policy: "reject", AlignedSPF: true}),
		},
		{
			"DKIM alone", "j@sender.example", "x@elsewhere.example", "sender.example", nil,
			pass(evidence.DMARC{Domain: "sender.example", From: "sender.example", Policy: "reject", AlignedDKIM: true}),
		},
		{
			"SPF for everybody", "j@sender.example", "j@sender.example", "",
			func(d *dns) { d.txt["sender.example"] = []string{"v=spf1 +all"} },
			pass(evidence.DMARC{Domain: "sender.example", From: "sender.example", Policy: "reject", AlignedSPF: true, Reason: "only by an SPF record that allows everybody"}),
		},
		{
			"neither", "j@sender.example", "x@elsewhere.example", "other.example", nil,
			evidence.DMARC{Result: "fail", Domain: "sender.example", From: "sender.example", Policy: "reject", Reason: "not aligned: DKIM of other.example"},
		},
		{
			"nobody", "j@sender.example", "x@elsewhere.example", "", nil,
			evidence.DMARC{Result: "fail", Domain: "sender.example", From: "sender.example", Policy: "reject", Reason: "neither SPF nor DKIM passes"},
		},
		{
			"subdomain, by the record of the organization", "j@m.example.co.uk", "x@elsewhere.example", "example.co.uk",
			func(d *dns) {
				d.txt["_dmarc.example.co.uk"] = []string{"v=DMARC1; p=reject; sp=quarantine; pct=0"}
			},
			pass(evidence.DMARC{Domain: "m.example.co.uk", From: "example.co.uk", Policy: "quarantine", AlignedDKIM: true}),
		},
		{
			"strict", "j@m.example.co.uk", "x@elsewhere.example", "example.co.uk",
			func(d *dns) { d.txt["_dmarc.example.co.uk"] = []string{"v=DMARC1; p=none; adkim=s"} },
			evidence.DMARC{Result: "fail", Domain: "m.example.co.uk", From: "example.co.uk", Policy: "none", Reason: "not aligned: DKIM of example.co.uk"},
		},
		{
			"strict SPF", "j@sender.example", "j@b.sender.example", "",
			func(d *dns) {
				d.txt["b.sender.example"] = d.txt["sender.example"]
				d.txt["_dmarc.sender.example"] = []string{"v=DMARC1; p=none; aspf=s"}
			},
			evidence.DMARC{Result: "fail", Domain: "sender.example", From: "sender.example", Policy: "none", Reason: "not aligned: SPF of b.sender.example"},
		},
		{
			"no record", "j@other.example", "j@sender.example", "other.example", nil,
			evidence.DMARC{Result: "none", Domain: "other.example", AlignedDKIM: true, Reason: "no DMARC policy: no record at _dmarc.other.example"},
		},
		{
			"record cannot be looked up", "j@sender.example", "j@sender.example", "sender.example",
			func(d *dns) { d.broken["_dmarc.sender.example"] = true },
			evidence.DMARC{Result: "temperror", Domain: "sender.example", AlignedSPF: true, AlignedDKIM: true, Reason: "DNS lookup failed: TXT of _dmarc.sender.example: lookup _dmarc.sender.example: SERVFAIL"},
		},
		{
			"key cannot be looked up", "j@sender.example", "x@elsewhere.example", "sender.example",
			func(d *dns) { d.broken["s._domainkey.sender.example"] = true },
			evidence.DMARC{Result: "temperror", Domain: "sender.example", From: "sender.example", Policy: "reject", Reason: "not all of SPF and DKIM could be checked"},
		},
		{
			"SPF cannot be looked up, but the signature is valid", "j@sender.example", "j@sender.example", "sender.example",
			func(d *dns) { d.broken["sender.example"] = true },
			pass(evidence.DMARC{Domain: "sender.example", From: "sender.example", Policy: "reject", AlignedDKIM: true}),
		},
		{
			"two authors of one domain", "j@sender.example, k@sender.example", "j@sender.example", "sender.example", nil,
			pass(evidence.DMARC{Domain: "sender.example", From: "sender.example", Policy: "reject", AlignedSPF: true, AlignedDKIM: true}),
		},
		{
			"two domains", "j@sender.example, j@other.example", "j@sender.example", "sender.example", nil,
			evidence.DMARC{Result: "permerror", Reason: "not exactly one domain in From"},
		},
		{
			"no author", "nobody", "j@sender.example", "", nil,
			evidence.DMARC{Result: "permerror", Reason: "not exactly one domain in From"},
		},
		{
			"U-labels", "j@bücher.example", "x@elsewhere.example", "xn--bcher-kva.example",
			func(d *dns) {
				d.txt["_dmarc.xn--bcher-kva.example"] = []string{"v=DMARC1; p=reject"}
				d.txt["s._domainkey.xn--bcher-kva.example"] = d.txt["s._domainkey.sender.example"]
			},
			pass(evidence.DMARC{Domain: "xn--bcher-kva.example", From: "xn--bcher-kva.example", Policy: "reject", AlignedDKIM: true}),
		},
		{
			"no name", "j@b_\u200dx.example", "j@sender.example", "", nil,
			evidence.DMARC{Result: "none", Domain: "b_\u200dx.example", Reason: `no DMARC policy: "b_\u200dx.example" is not a domain name`},
		},
		{
			"address literal", "j@[192.0.2.5]", "j@sender.example", "", nil,
			evidence.DMARC{Result: "none", Domain: "[192.0.2.5]", Reason: `no DMARC policy: "[192.0.2.5]" is not a domain name`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDNS()
			if c.edit != nil {
				c.edit(d)
			}
			message := strings.Replace(plain, "=?utf-8?q?J=C3=B6rg?= <j@sender.example>", c.from, 1)
			if c.signer != "" {
				message = sign(t, message, c.signer)
			}
			tx, err := inspect(t, d, c.mailFrom, message)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, tx.Message.DMARC); d != "" {
				t.Errorf("DMARC (-want +got):\n%s\n%+v", d, tx.Message)
			}
		})
	}
}

// Signatures beyond the limit may be the ones that count.
func TestDMARCWithTooManySignatures(t *testing.T) {
	flood := strings.Repeat("DKIM-Signature: v=1\r\n", 50) + sign(t, plain, "sender.example")
	tx, err := inspect(t, newDNS(), "x@elsewhere.example", flood)
	if err != nil || tx.Message.DMARC.Result != evidence.AuthTempError {
		t.Errorf("%+v, %v", tx.Message.DMARC, err)
	}
}

// A message that was not understood is not judged.
func TestUnreadableIsNotJudged(t *testing.T) {
	tx, err := inspect(t, newDNS(), "j@sender.example", "no colon\n"+plain)
	if err == nil || tx.Message.DMARC != (evidence.DMARC{}) || tx.Message.Chain != (evidence.ARCChain{}) {
		t.Errorf("%+v, %v", tx.Message, err)
	}
}

func TestDMARCTakesNoLongerThanTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDNS()
		d.hangs = map[string]bool{"sender.example": true, "s._domainkey.sender.example": true, "_dmarc.sender.example": true}
		start := time.Now()
		tx, err := inspect(t, d, "j@sender.example", sign(t, plain, "sender.example"))
		if got := time.Since(start); err != nil || got != 20*time.Second {
			t.Errorf("took %s, %v", got, err)
		}
		if tx.Message.DMARC.Result != evidence.AuthTempError {
			t.Errorf("%+v", tx.Message.DMARC)
		}
	})
}
