package mailauth_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/mailauth"
)

// vector returns a message that another program sealed, and its keys.
func vector(t testing.TB, name string) (string, *dns) {
	t.Helper()
	message, err := os.ReadFile("../arc/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := os.ReadFile("../arc/testdata/keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	d := newDNS()
	for line := range strings.Lines(string(keys)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		d.txt[name] = []string{text}
	}
	return string(message), d
}

func TestARC(t *testing.T) {
	for _, c := range []struct {
		name, file string
		edit       func(message string, d *dns) string
		want       evidence.ARCChain
	}{
		{"valid", "dkimpy/pass-three.eml", nil, evidence.ARCChain{Result: "pass", Sets: 3, Sealer: "mailbox.example"}},
		{"body changed", "dkimpy/pass-one.eml", func(m string, _ *dns) string { return m + "more\n" }, evidence.ARCChain{Result: "fail", Sets: 1, Sealer: "list.example", Reason: "ARC-Message-Signature 1: the body was changed"}},
		{"beside a signature", "dkimpy/pass-one.eml", func(m string, _ *dns) string { return sign(t, m, "sender.example") }, evidence.ARCChain{Result: "pass", Sets: 1, Sealer: "list.example"}},
		{"beside two signatures", "dkimpy/pass-one.eml", func(m string, _ *dns) string { return sign(t, sign(t, m, "other.example"), "sender.example") }, evidence.ARCChain{Result: "pass", Sets: 1, Sealer: "list.example"}},
		{"large body", "dkimpy/pass-one.eml", func(m string, _ *dns) string { return m + strings.Repeat("\n", 200_000) }, evidence.ARCChain{Result: "pass", Sets: 1, Sealer: "list.example"}},
		{
			"DNS broken", "dkimpy/pass-one.eml",
			func(m string, d *dns) string { d.broken["s1._domainkey.list.example"] = true; return m },
			evidence.ARCChain{Result: "temperror", Sets: 1, Sealer: "list.example", Reason: "ARC-Message-Signature 1: key could not be looked up at s1._domainkey.list.example"},
		},
		{"none", "dkimpy/none.eml", nil, evidence.ARCChain{Result: "none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			message, d := vector(t, c.file)
			if c.edit != nil {
				message = c.edit(message, d)
			}
			tx, err := inspect(t, d, "j@sender.example", message)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, tx.Message.Chain); d != "" {
				t.Errorf("chain (-want +got):\n%s", d)
			}
		})
	}
}

// A valid chain authenticates nobody: who seals may write what he likes.
func TestChainsAreNotTrusted(t *testing.T) {
	message, d := vector(t, "dkimpy/pass-three.eml")
	tx, err := inspect(t, d, "ann@author.example", message)
	if err != nil || tx.Message.Chain.Result != evidence.AuthPass {
		t.Fatalf("%+v, %v", tx.Message, err)
	}
	if ok, _, reason := mailauth.MayReport(tx, at()); ok {
		t.Errorf("would report: %s", reason)
	}
}

func TestReceived(t *testing.T) {
	const header = `Received: from mail.sender.example (mail.sender.example [192.0.2.1])
	(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))
	by out.provider.example (Postfix) with ESMTPS id 4X; Sat, 21 Nov 2026 12:00:02 +0100
Received: from anns-laptop (p5b0.dial.example [203.0.113.9])
	by mail.sender.example with ESMTPA; Sat, 21 Nov 2026 12:00:01 +0100
`
	tx, err := inspect(t, newDNS(), "j@sender.example", header+plain)
	if err != nil {
		t.Fatal(err)
	}
	when := time.Date(2026, 11, 21, 11, 0, 1, 0, time.UTC)
	want := []evidence.Hop{
		{By: "mail.sender.example", With: "ESMTPA", Claim: evidence.ClaimUnencrypted, Time: when},
		{From: "mail.sender.example", By: "out.provider.example", With: "ESMTPS", Claim: evidence.ClaimEncrypted, TLS: "1.3", Cipher: "TLS_AES_256_GCM_SHA384", Time: when.Add(time.Second)},
	}
	if d := cmp.Diff(want, tx.Message.Received); d != "" {
		t.Errorf("path (-want +got):\n%s", d)
	}
}

// A message of nothing but hops, seals and signatures costs no more lookups and
// time than another.
func TestFloods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := newDNS()
		var header strings.Builder
		for i := range 240 {
			fmt.Fprintf(&header, "Received: from a%d.example by b%d.example with ESMTPS; Sat, 21 Nov 2026 12:00:00 +0100\n", i, i)
			fmt.Fprintf(&header, "ARC-Seal: i=%d; a=rsa-sha256; cv=pass; d=s%d.example; s=s; b=AAAA\n", i%50+1, i)
			fmt.Fprintf(&header, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=s%d.example; s=s; h=from; bh=AAAA; b=AAAA\n", i)
			hang.hangs[fmt.Sprintf("s._domainkey.s%d.example", i)] = true
		}
		start := time.Now()
		tx, err := inspect(t, hang, "j@sender.example", header.String()+plain)
		if err != nil {
			t.Fatal(err)
		}
		m := tx.Message
		if got := time.Since(start); got > 40*time.Second {
			t.Errorf("took %s", got)
		}
		if len(m.Received) != 30 || m.ReceivedLeftOut != 210 || len(m.DKIM) != 6 || m.Chain.Result != evidence.AuthFail {
			t.Errorf("%d hops, %d left out, %d signatures, %+v", len(m.Received), m.ReceivedLeftOut, len(m.DKIM), m.Chain)
		}
	})
}

// Keys of seals that nobody answers for cost one timeout, not one each.
func TestSealsTimeOutTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		message, d := vector(t, "dkimpy/pass-three.eml")
		for _, name := range []string{"s1._domainkey.list.example", "s2._domainkey.forward.example", "s3._domainkey.mailbox.example"} {
			d.hangs[name] = true
		}
		start := time.Now()
		tx, err := inspect(t, d, "j@sender.example", message)
		if got := time.Since(start); err != nil || got != 20*time.Second || tx.Message.Chain.Result != evidence.AuthTempError {
			t.Errorf("took %s, %+v, %v", got, tx.Message.Chain, err)
		}
	})
}
