package sink_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/sink"
)

// Nobody relays through the sink: what is not exactly ours is refused.
func TestRecipients(t *testing.T) {
	accepted := []string{
		"<en@et.sink.example>", "<de@ut.sink.example>", "<EN@ET.Sink.Example>", "<en+detail@et.sink.example>", "<de+a.b-c_d=e@ut.sink.example>",
		"<en+" + strings.Repeat("x", 61) + "@et.sink.example>", "<en4k7w2q9mxa@et1.sink.example>", "<EN4K7w2q9mxa@UT1.sink.example>", "en@et.sink.example", "<\"en\"@et.sink.example>", "<@relay.example,@other.example:en@et.sink.example>",
		"<postmaster>", "<POSTMASTER>", "<postmaster@sink.example>", "<abuse@et.sink.example>", "<Abuse@ut1.sink.example>", "<postmaster@mx.sink.example>",
		"<postmaster@mx03.et.sink.example>", "<report@sink.example>", "<tlsrpt@sink.example>",
	}
	refused := []string{
		"<user@elsewhere.example>", "<en@elsewhere.example>", "<en@sink.example>", "<en@mx03.et.sink.example>", "<en@et2.sink.example>", "<en@et01.sink.example>",
		"<en@et1.sink.example>", "<de@ut1.sink.example>", "<en+4k7w2q9mxa@et1.sink.example>", "<en4k7w2q9mxb@et1.sink.example>", "<de4k7w2q9mxa@et1.sink.example>",
		"<en4k7w2q9mxa+x@et1.sink.example>", "<en4k7w2q9mxa@et.sink.example>", "<en4k7w2q9mxa@et2.sink.example>", "<en4k7w2q9mxa@sink.example>", "<en4k7w2q9mxa@mx03.et1.sink.example>",
		"<en@xet.sink.example>", "<en@et.sink.example.org>", "<en@et.sink.example.>", "<fr@et.sink.example>", "<ene@et.sink.example>", "<+x@et.sink.example>",
		"<@et.sink.example:user@elsewhere.example>", "<user%elsewhere.example@et.sink.example>", "<elsewhere.example!user@et.sink.example>",
		"<\"user@elsewhere.example\"@et.sink.example>", "<\"en@elsewhere.example\"@et.sink.example>", "<en@et.sink.example@elsewhere.example>", "<\"en \"@et.sink.example>",
		"<en+user%elsewhere.example@et.sink.example>", "<en+user@elsewhere.example@et.sink.example>", "<\"en+a b\"@et.sink.example>",
		"<en@[127.0.0.1]>", "<postmaster@elsewhere.example>", "<abuse@mta-sts.et.sink.example>", "<report@et.sink.example>", "<tlsrpt@ut.sink.example>", "<postmaster@ns1.sink.example>",
		"<\u212Ann@et.sink.example>", "<en@et.sin\u212A.example>", "<user@localhost>", "<root@et.sink.example>",
	}
	malformed := []string{"<>", "<en>", "<root>", "<en@et.sink.example", "<@et.sink.example>", "", "<postmaster", "<en@>", "<en+" + strings.Repeat("x", 62) + "@et.sink.example>"}
	for _, c := range []struct {
		code  string
		paths []string
	}{{"250", accepted}, {"550", refused}, {"501", malformed}} {
		for _, path := range c.paths {
			t.Run(path, func(t *testing.T) {
				f := newFixture(t, evidence.Downgrade)
				codes := play(t, f, "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:"+path+"\r\n")
				if got := codes[len(codes)-1]; got != c.code {
					t.Errorf("RCPT TO:%s: %s, want %s", path, got, c.code)
				}
				if got := f.director.next(t); (len(got.Refused) == 1) != (c.code == "550") {
					t.Errorf("refused recipients: %q", got.Refused)
				}
			})
		}
	}
}

func TestTransactionsHaveOnePurpose(t *testing.T) {
	for name, c := range map[string]struct {
		first, second string
		code          string
	}{
		"both languages":       {"en@et.sink.example", "de@et.sink.example", "250"},
		"test and mailbox":     {"en@et.sink.example", "postmaster@et.sink.example", "452"},
		"mailbox and test":     {"abuse@sink.example", "en@et.sink.example", "452"},
		"two mailboxes":        {"abuse@sink.example", "postmaster@et1.sink.example", "250"},
		"two slots":            {"en@et.sink.example", leased + "@et1.sink.example", "452"},
		"two domains":          {"en@et.sink.example", "en@ut.sink.example", "452"},
		"a foreign one beside": {"en@et.sink.example", "user@elsewhere.example", "550"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, evidence.Downgrade)
			codes := play(t, f, "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<"+c.first+">\r\nRCPT TO:<"+c.second+">\r\n")
			if got := codes[len(codes)-1]; got != c.code {
				t.Errorf("second recipient: %s, want %s", got, c.code)
			}
		})
	}
}

// Mail to the mailbox is delivered in every phase and leaves no evidence but
// that MAIL came.
func TestMailbox(t *testing.T) {
	const input = "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nRCPT TO:<abuse@et.sink.example>\r\nDATA\r\nbounce\r\n.\r\nQUIT\r\n"
	for name, c := range map[string]struct {
		fail  error
		codes string
	}{
		"taken": {nil, "220 250 250 250 250 354 250 221"},
		"full":  {errors.New("full"), "220 250 250 250 250 354 452 221"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, evidence.Downgrade)
			f.memory.deliver = c.fail
			if got := strings.Join(play(t, f, input), " "); got != c.codes {
				t.Errorf("replies %s, want %s", got, c.codes)
			}
			want := []string{" -> postmaster@sink.example,abuse@et.sink.example: bounce\r\n"}
			if d := cmp.Diff(want, f.memory.delivered); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			got := f.director.next(t)
			if len(f.director.snapshots) > 0 || got.Data || len(got.RcptTo) > 0 || got.Status != evidence.StatusMail || got.Destination != "unknown" || got.Server != 1 {
				t.Errorf("mail to the mailbox became evidence: %+v", got)
			}
			if len(got.Transactions) != 1 || got.Transactions[0].Data || got.Transactions[0].Reply != 0 || len(got.Transactions[0].RcptTo) > 0 {
				t.Errorf("transactions: %+v", got.Transactions)
			}
		})
	}
}

// A message that is too large was transferred nevertheless.
func TestMessageTooLarge(t *testing.T) {
	f := newFixture(t, evidence.Downgrade, func(o *sink.Options) { o.Limits.MessageSize = 1000 })
	large := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 100)
	codes := play(t, f, "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<en@et.sink.example>\r\nDATA\r\n"+large+".\r\nNOOP\r\n")
	if got := strings.Join(codes, " "); got != "220 250 250 250 354 552 250" {
		t.Errorf("replies %s", got)
	}
	got := f.director.next(t)
	if !got.Data || got.Transactions[0].Reply != 552 || len(f.director.snapshots) > 0 {
		t.Errorf("%+v", got.Transactions)
	}
}

func TestInspectorFailureLosesNoEvidence(t *testing.T) {
	f := newFixture(t, evidence.Downgrade)
	f.memory.inspect = errors.New("broken header")
	play(t, f, "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<en@et.sink.example>\r\nDATA\r\n"+body)
	if got := f.director.next(t); !got.Data || got.Transactions[0].Reply != 451 || len(f.director.snapshots) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAcked(t *testing.T) {
	f := newFixture(t, evidence.Downgrade)
	f.director.reply = sink.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "done"}
	one := "MAIL FROM:<a@b.example>\r\nRCPT TO:<en@et.sink.example>\r\nDATA\r\n" + body
	codes := play(t, f, "EHLO x\r\n"+one+one+"MAIL FROM:<c@d.example>\r\nQUIT\r\n")
	if got := strings.Join(codes, " "); got != "220 250 250 250 354 250 250 250 354 250 250 221" {
		t.Errorf("replies %s", got)
	}
	if got := f.director.next(t); got.Status != evidence.StatusAcked || len(got.Transactions) != 3 || *got.MailFrom != "a@b.example" {
		t.Errorf("%+v", got)
	}
}

func TestSenselessReplyBecomes451(t *testing.T) {
	f := newFixture(t, evidence.Downgrade)
	f.director.reply = sink.Reply{}
	codes := play(t, f, "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<en@et.sink.example>\r\nDATA\r\n"+body)
	if got := codes[len(codes)-1]; got != "451" {
		t.Errorf("reply %s, want 451", got)
	}
}
