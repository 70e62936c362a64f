package received_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/received"
)

func noon() time.Time { return time.Date(2026, 11, 21, 11, 0, 0, 0, time.UTC) }

// The forms of real programs, with names of our own. Dates are noon unless they
// say otherwise.
func TestParse(t *testing.T) {
	const date = "Sat, 21 Nov 2026 12:00:00 +0100"
	for _, c := range []struct {
		name, field string
		want        evidence.Hop
		submitted   bool
	}{
		{
			"Postfix, TLS 1.3", `from mail.sender.example (mail.sender.example [192.0.2.1])
	(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)
	 key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256)
	(No client certificate requested)
	by mx.example.net (Postfix) with ESMTPS id 4XyZ1234
	for <user@example.net>; ` + date + ` (CET)`,
			evidence.Hop{From: "mail.sender.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted", TLS: "1.3", Cipher: "TLS_AES_256_GCM_SHA384"},
			false,
		},
		{
			"Postfix, TLS 1.0", `from unknown (HELO.sender.example [192.0.2.1]) (using TLSv1 with cipher ECDHE-RSA-AES256-SHA (256/256 bits)) by mx.example.net (Postfix) with ESMTPS id 4X; ` + date,
			evidence.Hop{From: "helo.sender.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted", TLS: "1.0", Cipher: "ECDHE-RSA-AES256-SHA"},
			false,
		},
		{
			"Cisco, TLS", `from email.sender.example ([192.0.2.1]) by esa6.example.iphmx.example with ESMTP/TLS/ECDHE-RSA-AES256-GCM-SHA384; 21 Nov 2026 12:00:00 +0100`,
			evidence.Hop{From: "email.sender.example", By: "esa6.example.iphmx.example", With: "ESMTP/TLS", Claim: "encrypted", Cipher: "ECDHE-RSA-AES256-GCM-SHA384"},
			false,
		},
		{
			"a client that calls itself TLS, qmail", `from unknown (HELO version=TLS1_3) (192.0.2.1) by mx.example.net with SMTP; ` + date,
			evidence.Hop{From: "[192.0.2.1]", By: "mx.example.net", With: "SMTP", Claim: "unencrypted"},
			false,
		},
		{
			"a client that calls itself TLS, Exim", `from [192.0.2.1] (helo=version=TLS1.3) by mx.example.net with esmtp (Exim 4.96) id 1; ` + date,
			evidence.Hop{From: "[192.0.2.1]", By: "mx.example.net", With: "ESMTP", Claim: "unencrypted"},
			false,
		},
		{
			"a client that calls itself a protocol", `from SMTP/TLS/AES256-SHA256 (mail.sender.example [192.0.2.1]) by mx.example.net (Postfix) with ESMTP id 1; ` + date,
			evidence.Hop{From: "mail.sender.example", By: "mx.example.net", With: "ESMTP", Claim: "unencrypted"},
			false,
		},
		{
			"Postfix, plain", `from mail.sender.example (unknown [192.0.2.1]) by mx.example.net (Postfix) with ESMTP id 4X for <u@e>; ` + date,
			evidence.Hop{From: "mail.sender.example", By: "mx.example.net", With: "ESMTP", Claim: "unencrypted"},
			false,
		},
		{
			"Postfix, SMTPUTF8", `from a.example (a.example [192.0.2.1]) by mx.example.net (Postfix) with UTF8SMTPS id 4X; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "UTF8SMTPS", Claim: "encrypted"},
			false,
		},
		{
			"Postfix, submission", `from [192.168.1.20] (p5b0.dip0.t-ipconnect.de [203.0.113.9]) (using TLSv1.3 with cipher TLS_AES_128_GCM_SHA256 (128/128 bits)) (No client certificate requested) (Authenticated sender: ann) by mail.sender.example (Postfix) with ESMTPSA id 4X; ` + date,
			evidence.Hop{From: "p5b0.dip0.t-ipconnect.de", By: "mail.sender.example", With: "ESMTPSA", Claim: "encrypted", TLS: "1.3", Cipher: "TLS_AES_128_GCM_SHA256"},
			true,
		},
		{
			"Postfix, sendmail command", `by mail.sender.example (Postfix, from userid 1000) id 4X; ` + date,
			evidence.Hop{By: "mail.sender.example", Claim: "local"},
			false,
		},
		{
			"Postfix, content filter", `from localhost (localhost [127.0.0.1]) by mail.sender.example (Postfix) with ESMTP id 4X; ` + date,
			evidence.Hop{From: "localhost", By: "mail.sender.example", With: "ESMTP", Claim: "local"},
			false,
		},
		{
			"amavis", `from mail.sender.example ([127.0.0.1]) by localhost (mail.sender.example [127.0.0.1]) (amavisd-new, port 10024) with ESMTP id x-1; ` + date,
			evidence.Hop{From: "mail.sender.example", By: "localhost", With: "ESMTP", Claim: "local"},
			false,
		},
		{
			"Postfix, IPv6", `from a.example (a.example [IPv6:2001:db8::1]) by mx.example.net (Postfix) with ESMTPS id 4X; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted"},
			false,
		},

		{
			"Exim from 4.94 on", `from mail.sender.example ([192.0.2.1] helo=foo)
	by mx.example.net with esmtps  (TLS1.3) tls TLS_AES_256_GCM_SHA384
	(Exim 4.96)
	(envelope-from <a@sender.example>)
	id 1abcde-000001-2B
	for u@example.net; ` + date,
			evidence.Hop{From: "mail.sender.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted", TLS: "1.3", Cipher: "TLS_AES_256_GCM_SHA384"},
			false,
		},
		{
			"Exim before", `from [192.0.2.1] (helo=mail.sender.example) by mx.example.net with esmtps (TLS1.2:ECDHE_RSA_AES_256_GCM_SHA384:256) (Exim 4.92) (envelope-from <a@b>) id 1a for u@e; ` + date,
			evidence.Hop{From: "mail.sender.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted", TLS: "1.2", Cipher: "ECDHE_RSA_AES_256_GCM_SHA384"},
			false,
		},
		{
			"Exim with GnuTLS", `from a.example ([192.0.2.1]) by mx.example.net with esmtps (TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256) (Exim 4.92) id 1a; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted", TLS: "1.3", Cipher: "ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM"},
			false,
		},
		{
			"Exim, submission", `from p1.dial.example ([203.0.113.9] helo=[192.168.1.20]) by mx.example.net with esmtpsa (TLS1.3) tls TLS_AES_128_GCM_SHA256 (Exim 4.96) id 1a; ` + date,
			evidence.Hop{From: "p1.dial.example", By: "mx.example.net", With: "ESMTPSA", Claim: "encrypted", TLS: "1.3", Cipher: "TLS_AES_128_GCM_SHA256"},
			true,
		},
		{
			"Exim, local", `from ann by mail.sender.example with local (Exim 4.96) (envelope-from <a@b>) id 1a; ` + date,
			evidence.Hop{From: "ann", By: "mail.sender.example", With: "local", Claim: "local"},
			false,
		},
		{
			"Exim, old login", `from a.example ([203.0.113.9]) by mx.example.net with asmtp (Exim 3.36) id 1a; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ASMTP", Claim: "unencrypted"},
			true,
		},

		{
			"Sendmail", `from a.example (a.example [192.0.2.1]) by mx.example.net (8.17.1/8.17.1) with ESMTPS id 4ALB0 (version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256 verify=NOT) for <u@e>; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted", TLS: "1.3", Cipher: "TLS_AES_256_GCM_SHA384"},
			false,
		},
		{
			"Sendmail, forged", `from b.example (a.example [192.0.2.1] (may be forged)) by mx.example.net (8.14.4/8.14.4) with ESMTP id 4A; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTP", Claim: "unencrypted"},
			false,
		},
		{
			"Sendmail, local", `(from root@localhost) by mail.sender.example (8.15.2/8.15.2/Submit) id 4A; ` + date,
			evidence.Hop{By: "mail.sender.example", Claim: "local"},
			false,
		},
		{
			"Sendmail, submission", `from a.example (a.example [192.0.2.1]) (authenticated bits=0) by mx.example.net (8.15.2/8.15.2) with ESMTPSA id 4A (version=TLSv1.2 cipher=ECDHE-RSA-AES128-GCM-SHA256 bits=128 verify=NO); ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTPSA", Claim: "encrypted", TLS: "1.2", Cipher: "ECDHE-RSA-AES128-GCM-SHA256"},
			true,
		},

		{
			"Exchange Online", `from AM0PR01MB1234.eurprd01.prod.exchangelabs.example (2001:db8:20b:1::17) by DB8PR01MB5678.eurprd01.prod.exchangelabs.example (2001:db8:10::12) with Microsoft SMTP Server (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.20.8158.12; ` + date,
			evidence.Hop{From: "am0pr01mb1234.eurprd01.prod.exchangelabs.example", By: "db8pr01mb5678.eurprd01.prod.exchangelabs.example", With: "Microsoft SMTP Server", Claim: "encrypted", TLS: "1.2", Cipher: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
			false,
		},
		{
			"Exchange, mapi", `from AM0PR01MB1234.prod.example ([fe80::1%4]) by AM0PR01MB1234.prod.example ([fe80::1%4]) with mapi id 15.20.8158; ` + date,
			evidence.Hop{From: "am0pr01mb1234.prod.example", By: "am0pr01mb1234.prod.example", With: "mapi", Claim: "local"},
			true,
		},
		{
			"Exchange on site, TLS", `from EX1.corp.example (10.0.0.1) by EX2.corp.example (10.0.0.2) with Microsoft SMTP Server (TLS) id 14.3.123.3; ` + date,
			evidence.Hop{From: "ex1.corp.example", By: "ex2.corp.example", With: "Microsoft SMTP Server", Claim: "encrypted"},
			false,
		},
		{
			"Exchange, says nothing", `from EX1.corp.example (10.0.0.1) by EX2.corp.example (10.0.0.2) with Microsoft SMTP Server id 15.1.2507.6 via Frontend Transport; ` + date,
			evidence.Hop{From: "ex1.corp.example", By: "ex2.corp.example", With: "Microsoft SMTP Server", Claim: "none"},
			false,
		},

		{
			"Gmail, in", `from mail-ej1-f41.google.com (mail-ej1-f41.google.com. [209.85.218.41]) by mx.google.com with SMTPS id a1-2024sor1.2.2026.11.21 for <u@e> (Google Transport Security); ` + date + ` (CET)`,
			evidence.Hop{From: "mail-ej1-f41.google.com", By: "mx.google.com", With: "SMTPS", Claim: "encrypted"},
			false,
		},
		{
			"Gmail, TLS", `from a.example (a.example. [192.0.2.1]) by mx.google.com with ESMTPS id a1 for <u@e> (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256); ` + date,
			evidence.Hop{From: "a.example", By: "mx.google.com", With: "ESMTPS", Claim: "encrypted", TLS: "1.3", Cipher: "TLS_AES_256_GCM_SHA384"},
			false,
		},
		{
			"Gmail, inside", `by 2002:a05:6402:1234:b0:5d0:1:2 with SMTP id x1csp1; ` + date,
			evidence.Hop{By: "2002:a05:6402:1234:b0:5d0:1:2", With: "SMTP", Claim: "local"},
			false,
		},
		{
			"Gmail, web", `by 10.157.14.6 with HTTP; ` + date,
			evidence.Hop{By: "10.157.14.6", With: "HTTP", Claim: "local"},
			true,
		},

		{
			"qmail", `from unknown (HELO mail.sender.example) (192.0.2.1) by mx.example.net with SMTP; 21 Nov 2026 11:00:00 -0000`,
			evidence.Hop{From: "mail.sender.example", By: "mx.example.net", With: "SMTP", Claim: "unencrypted"},
			false,
		},
		{
			"qmail, local", `(qmail 12345 invoked by uid 1000); 21 Nov 2026 11:00:00 -0000`,
			evidence.Hop{Claim: "local"},
			false,
		},
		{
			"qmail, queue", `(qmail 12345 invoked from network); 21 Nov 2026 11:00:00 -0000`,
			evidence.Hop{Claim: "local"},
			false,
		},
		{
			"qmail with TLS", `from a.example (HELO x) (ann@192.0.2.1) by mx.example.net with (TLS_AES_256_GCM_SHA384 encrypted) ESMTPA; 21 Nov 2026 11:00:00 -0000`,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTPA", Claim: "encrypted", Cipher: "TLS_AES_256_GCM_SHA384"},
			true,
		},
		{
			"qmail with TLS and version", `from a.example by mx.example.net with (TLSv1.3:TLS_AES_256_GCM_SHA384 encrypted) esmtp id 1; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTP", Claim: "encrypted", TLS: "1.3", Cipher: "TLS_AES_256_GCM_SHA384"},
			false,
		},

		{
			"OpenSMTPD", `from a.example (a.example [192.0.2.1]) by mx.example.net (OpenSMTPD) with ESMTPS id a1b2c3d4 (TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO) for <u@e>; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted", TLS: "1.3", Cipher: "TLS_AES_256_GCM_SHA384"},
			false,
		},
		{
			"OpenSMTPD, local", `from localhost (mx.example.net [local]) by mx.example.net (OpenSMTPD) with ESMTPA id a1; ` + date,
			evidence.Hop{From: "localhost", By: "mx.example.net", With: "ESMTPA", Claim: "local"},
			true,
		},
		{
			"Haraka", `from a.example (a.example [192.0.2.1]) by mx.example.net (Haraka/3.0.2) with ESMTPS id 1234-5678.1 envelope-from <a@b> tls TLS_AES_256_GCM_SHA384; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted", Cipher: "TLS_AES_256_GCM_SHA384"},
			false,
		},
		{
			"Haraka, version", `from a.example ([192.0.2.1]) by mx.example.net (Haraka/2.8) with ESMTPS id 1.1 envelope-from <a@b> (version=TLSv1.2 cipher=ECDHE-RSA-AES128-GCM-SHA256 verify=NO); ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted", TLS: "1.2", Cipher: "ECDHE-RSA-AES128-GCM-SHA256"},
			false,
		},
		{
			"Courier", `from a.example (a.example [192.0.2.1]) (TLS: TLSv1.3,256bits,TLS_AES_256_GCM_SHA384) by mx.example.net with ESMTPS; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted", TLS: "1.3", Cipher: "TLS_AES_256_GCM_SHA384"},
			false,
		},
		{
			"Courier, class of suites", `from a.example (a.example [192.0.2.1]) (TLS: TLSv1/SSLv3,256bits,AES256-SHA) by mx.example.net with esmtp; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTP", Claim: "encrypted", Cipher: "AES256-SHA"},
			false,
		},
		{
			"Courier, local", `from mx.example.net (localhost [127.0.0.1]) (uid 1000) by mx.example.net with local; id 0001; ` + date,
			evidence.Hop{From: "localhost", By: "mx.example.net", With: "local", Claim: "local"},
			false,
		},
		{
			"Zimbra, LMTP", `from mail.example.org (LHLO mail.example.org) (192.0.2.1) by mail.example.org with LMTP; ` + date,
			evidence.Hop{From: "mail.example.org", By: "mail.example.org", With: "LMTP", Claim: "local"},
			false,
		},
		{
			"Cyrus, LMTP", `from mx ([unix socket]) by mail.example.org (Cyrus 3.4.1-Debian) with LMTPA; ` + date,
			evidence.Hop{From: "mx", By: "mail.example.org", With: "LMTPA", Claim: "local"},
			true,
		},
		{
			"Cyrus, LMTP over TLS", `from mx.example.org (mx.example.org [192.0.2.1]) (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)) by (Cyrus) with LMTPS; ` + date,
			evidence.Hop{From: "mx.example.org", With: "LMTPS", Claim: "encrypted", TLS: "1.3", Cipher: "TLS_AES_256_GCM_SHA384"},
			false,
		},
		{
			"Dovecot, LMTP", `from mx.example.org by mail.example.org with LMTP id abc (envelope-from <a@b>) for <u@e>; ` + date,
			evidence.Hop{From: "mx.example.org", By: "mail.example.org", With: "LMTP", Claim: "local"},
			false,
		},
		{
			"chasquid", `from a.example (a.example) by mx.example.net (chasquid) with ESMTPS tls TLS_AES_128_GCM_SHA256 (over SMTP, TLS-1.3, envelope from "a@b") ; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted", TLS: "1.3", Cipher: "TLS_AES_128_GCM_SHA256"},
			false,
		},
		{
			"Momentum", `from [192.0.2.1] ([192.0.2.1:12345] helo=a.example) by mx.example.net (envelope-from <a@b>) (ecelerity 4.3.1) with ESMTPS (cipher=ECDHE-RSA-AES256-GCM-SHA384) id 1/2; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted", Cipher: "ECDHE-RSA-AES256-GCM-SHA384"},
			false,
		},
		{
			"MDaemon", `from a.example by mx.example.net (MDaemon PRO v24) with ESMTPS id md50001.msg; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted"},
			false,
		},
		{
			"GMX, submission", `from [192.168.1.2] ([203.0.113.9]) by mail.gmx.net (mrgmx105 [212.227.17.168]) with ESMTPSA (Nemesis) id 1Mabc; ` + date,
			evidence.Hop{From: "[192.168.1.2]", By: "mail.gmx.net", With: "ESMTPSA", Claim: "encrypted"},
			true,
		},
		{
			"GMX, web", `from [203.0.113.9] by web-mail.gmx.net (via HTTP); ` + date,
			evidence.Hop{From: "[203.0.113.9]", By: "web-mail.gmx.net", With: "HTTP", Claim: "local"},
			true,
		},
		{
			"HTTPS", `from [203.0.113.9] by mail.example.net with HTTPS; ` + date,
			evidence.Hop{From: "[203.0.113.9]", By: "mail.example.net", With: "HTTPS", Claim: "encrypted"},
			true,
		},
		{
			"Domino", `from a.example ([192.0.2.1]) by mx.example.net (IBM Domino Release 9.0.1) with ESMTP id 2026112112; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTP", Claim: "unencrypted"},
			false,
		},
		{
			"Yahoo", `from sonic.gate.mail.ne1.yahoo.com by sonic302.consmr.mail.ir2.yahoo.com with HTTP; ` + date,
			evidence.Hop{From: "sonic.gate.mail.ne1.yahoo.com", By: "sonic302.consmr.mail.ir2.yahoo.com", With: "HTTP", Claim: "local"},
			true,
		},
		{
			"SSL 3", `from a.example (a.example [192.0.2.1]) (using SSLv3 with cipher RC4-SHA (128/128 bits)) by mx.example.net with ESMTPS; ` + date,
			evidence.Hop{From: "a.example", By: "mx.example.net", With: "ESMTPS", Claim: "encrypted", TLS: "SSLv3", Cipher: "RC4-SHA"},
			false,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Time = noon()
			got := received.Parse(strings.ReplaceAll(c.field, "\n", "\r\n"))
			if d := cmp.Diff(c.want, got.Hop); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if got.Submitted != c.submitted {
				t.Errorf("submitted: %v", got.Submitted)
			}
		})
	}
}

// Nothing fails, and nobody claims what he only looks like.
func TestParseOdd(t *testing.T) {
	for field, want := range map[string]evidence.Hop{
		"":                         {Claim: "none"},
		"hello":                    {Claim: "none"},
		";;;":                      {Claim: "none"},
		"from by by with with id":  {From: "by", By: "with", With: "id", Claim: "none"},
		"from a.example":           {From: "a.example", Claim: "none"},
		"by mx.example; yesterday": {By: "mx.example", Claim: "none"},
		"from a.example by b.example with ESMTPQ":                                 {From: "a.example", By: "b.example", With: "ESMTPQ", Claim: "none"},
		"from a.example by b.example with ESMTP by c.example with ESMTPS":         {From: "a.example", By: "b.example", With: "ESMTP", Claim: "unencrypted"},
		"from a.example (nested (using TLSv1.3 with cipher (x)) by b.example":     {From: "a.example", Claim: "none"},
		"from a.example (unclosed by b.example with ESMTPS":                       {From: "a.example", Claim: "none"},
		"from \"a b\\\" c\" by b.example with SMTP":                               {By: "b.example", With: "SMTP", Claim: "unencrypted"},
		"from a.example by b.example with ESMTP (no TLS here)":                    {From: "a.example", By: "b.example", With: "ESMTP", Claim: "unencrypted"},
		"from a.example by b.example with ESMTP (version= cipher=NONE)":           {From: "a.example", By: "b.example", With: "ESMTP", Claim: "unencrypted"},
		"from a.example (not encrypted) by b.example with ESMTP":                  {From: "a.example", By: "b.example", With: "ESMTP", Claim: "unencrypted"},
		"from tls by tls with ESMTP id tls for tls":                               {From: "tls", By: "tls", With: "ESMTP", Claim: "unencrypted"},
		"from a\x1b[2J.example by b.\u202eexample with ES\x07MTP":                 {With: "ESMTP", Claim: "unencrypted"},
		"from " + strings.Repeat("a", 300) + ".example by b.example with SMTP":    {By: "b.example", With: "SMTP", Claim: "unencrypted"},
		"by mx.example with " + strings.Repeat("word ", 50):                       {By: "mx.example", With: "word word word word word word word word", Claim: "none"},
		"by mx.example; Fri, 31 Dec 9999 23:59:59 +0000":                          {By: "mx.example", Claim: "none"},
		"from localhost (evil.example [192.0.2.1]) by mx.example with ESMTP":      {From: "evil.example", By: "mx.example", With: "ESMTP", Claim: "unencrypted"},
		"from localhost by mx.example with ESMTP":                                 {From: "localhost", By: "mx.example", With: "ESMTP", Claim: "local"},
		"by 192.0.2.1 with SMTP id x":                                             {By: "192.0.2.1", With: "SMTP", Claim: "local"},
		strings.Repeat("(", 5000) + strings.Repeat(")", 5000):                     {Claim: "none"},
		"from a.example by b.example with ESMTPS " + strings.Repeat("(x)", 10000): {From: "a.example", By: "b.example", With: "ESMTPS", Claim: "encrypted"},
	} {
		if d := cmp.Diff(want, received.Parse(field).Hop); d != "" {
			t.Errorf("%.60q (-want +got):\n%s", field, d)
		}
	}
}

func TestPath(t *testing.T) {
	path, leftOut := received.Path([]string{"by c.example", "by b.example", "by a.example"})
	if len(path) != 3 || path[0].By != "a.example" || path[2].By != "c.example" || leftOut != 0 {
		t.Errorf("got %+v, %d left out", path, leftOut)
	}
	many := make([]string, 1000)
	for i := range many {
		many[i] = "by old.example"
	}
	many[0] = "by new.example"
	path, leftOut = received.Path(many)
	if len(path) != received.MaxHops || leftOut != 970 || path[29].By != "new.example" {
		t.Errorf("%d hops, %d left out, last %+v", len(path), leftOut, path[len(path)-1])
	}
}

// What would tell where somebody was is not kept.
func TestPublic(t *testing.T) {
	const first = "by relay.example with ESMTPS"
	for field, want := range map[string]string{
		"from mail.sender.example (mail.sender.example [192.0.2.1]) by b.example with ESMTPS":              "mail.sender.example",
		"from mx1.sender.example ([192.0.2.1]) by b.example with SMTP":                                     "mx1.sender.example",
		"from ann.sender.example (ann.sender.example [192.0.2.1]) by b.example with ESMTPSA":               "",
		"from ann.sender.example ([192.0.2.1]) (Authenticated sender: ann) by b.example with ESMTPS":       "",
		"from mx.sender.example by b.example with LMTP":                                                    "mx.sender.example",
		"from ann.smith by b.example with local":                                                           "",
		"from host.sender.example by b.example with HTTP":                                                  "",
		"from anns-laptop by b.example with ESMTP":                                                         "",
		"from anns-laptop.local by b.example with ESMTP":                                                   "",
		"from anns-laptop.fritz.box by b.example with ESMTP":                                               "",
		"from [192.0.2.1] by b.example with ESMTP":                                                         "",
		"from 192.0.2.1 by b.example with ESMTP":                                                           "",
		"from x (192-0-2-1.dial.example [192.0.2.1]) by b.example with ESMTP":                              "",
		"from x (1.2.0.192.dial.example [192.0.2.1]) by b.example with ESMTP":                              "",
		"from x (p192000002001.dial.example [192.0.2.1]) by b.example with ESMTP":                          "",
		"from x (ip-192-000-002-001.dial.example [192.0.2.1]) by b.example with ESMTP":                     "",
		"from x (c0000201.dial.example [192.0.2.1]) by b.example with ESMTP":                               "",
		"from x (2001-db8--1.dial.example [IPv6:2001:db8::1]) by b.example with ESMTP":                     "",
		"from x (20010db8000000000000000000000001.dial.example [IPv6:2001:db8::1]) by b.example with SMTP": "",
		"from out-1.sender.example (out-1.sender.example [192.0.2.1]) by b.example with ESMTP":             "out-1.sender.example",
	} {
		path, _ := received.Path([]string{field, first})
		hops := received.Public(path)
		if hops[1].From != want || hops[1].By != "b.example" {
			t.Errorf("%s: %+v, want from %q", field, hops[1], want)
		}
	}
	// Of the first hop there may be nothing but a name without a number.
	path, _ := received.Path([]string{"from customer-1234567.example by a.example with ESMTP"})
	if got := received.Public(path)[0].From; got != "" {
		t.Errorf("first hop: from %q", got)
	}
	path, _ = received.Path([]string{"by 2002:a05:6402::1 with SMTP id x"})
	if got := received.Public(path)[0]; got.By != "" || got.Claim != evidence.ClaimLocal {
		t.Errorf("address of a server: %+v", got)
	}
}

func TestSummarize(t *testing.T) {
	hop := func(c evidence.Claim) evidence.Hop { return evidence.Hop{Claim: c} }
	for _, c := range []struct {
		name string
		path []evidence.Hop
		want received.Summary
	}{
		{"no hop", nil, received.Summary{Ends: -1}},
		{"all", []evidence.Hop{hop("local"), hop("encrypted"), hop("encrypted")}, received.Summary{Hops: 3, Encrypted: 2, Local: 1, Ends: -1}},
		{"last one plain", []evidence.Hop{hop("encrypted"), hop("unencrypted")}, received.Summary{Hops: 2, Encrypted: 1, Unencrypted: 1, Ends: 1}},
		{"silent, then plain", []evidence.Hop{hop("encrypted"), hop("none"), hop("encrypted"), hop("unencrypted")}, received.Summary{Hops: 4, Encrypted: 2, Unencrypted: 1, Unsaid: 1, Ends: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, received.Summarize(c.path)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// Whatever comes in: what is kept is bounded, and harmless on a terminal.
func FuzzParse(f *testing.F) {
	f.Add("from a.example (a.example [192.0.2.1]) (using TLSv1.3 with cipher X_Y-Z_A (256/256 bits)) by b.example (Postfix) with ESMTPS id 1; Sat, 21 Nov 2026 12:00:00 +0100 (CET)")
	f.Add("from x ([IPv6:2001:db8::1]:25 helo=y) by z with esmtps (TLS1.3) tls TLS_AES_256_GCM_SHA384 (Exim 4.96)")
	f.Add("by 2002:a05:1::1 with SMTP id x; (")
	f.Add("(TLS: ,1bits,AAAA_B) (version=SSL 3.0) (SSLv2:AAAA)")
	f.Add("tls \x0000_000")
	f.Fuzz(func(t *testing.T, value string) {
		got := received.Parse(value)
		for _, s := range []string{got.From, got.By, got.With, got.TLS, got.Cipher} {
			if len(s) > 255 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q: kept %q", value, s)
			}
		}
		if !strings.Contains("encrypted unencrypted local none", string(got.Claim)) || got.Claim == "" {
			t.Errorf("%q: claim %q", value, got.Claim)
		}
		for _, h := range received.Public([]received.Field{got}) {
			if strings.Contains(h.From, "[") || strings.Contains(h.By, ":") {
				t.Errorf("%q: public %+v", value, h)
			}
		}
	})
}
