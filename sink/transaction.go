package sink

import (
	"errors"
	"io"

	"github.com/emersion/go-smtp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink/internal/wire"
)

func refusal(code int, enhanced [3]int, text string) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: wire.Sanitize(text)}
}

// Mail opens a transaction.
func (x *session) Mail(from string, options *smtp.MailOptions) error {
	phase := x.phase()
	x.mu.Lock()
	defer x.mu.Unlock()
	secure := x.conn.Secure()
	switch {
	case x.tx != nil:
		return refusal(503, [3]int{5, 5, 1}, "A transaction is open") // RFC 5321 §4.1.4
	case x.served(phase):
		r := phaseOver()
		return refusal(r.Code, r.Enhanced, r.Text)
	case len(x.record.Transactions) >= x.limits.Transactions:
		return refusal(421, [3]int{4, 7, 0}, "Too many transactions in one session")
	case options.RequireTLS && !secure:
		// RFC 8689 §2: the parameter is for sessions inside TLS. A permanent
		// failure would end the test.
		return refusal(454, [3]int{4, 7, 0}, "REQUIRETLS needs TLS")
	}
	x.tx = &transaction{from: from}
	x.record.Transactions = append(x.record.Transactions, evidence.Transaction{
		MailFrom: clip(from), TLS: secure, RequireTLS: options.RequireTLS, Time: x.server.options.Now(),
	})
	x.reach(evidence.StatusMail)
	return nil
}

// Rcpt accepts our own recipients, of one purpose and test domain at a time.
func (x *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	r := x.server.classify(to)
	x.mu.Lock()
	defer x.mu.Unlock()
	if overlong(to) {
		return refusal(501, [3]int{5, 1, 3}, "The local part is longer than 64 octets")
	}
	switch r.kind {
	case foreign:
		x.add(&x.record.Refused, to)
		return refusal(550, [3]int{5, 7, 1}, "Not one of our addresses; this server does not relay")
	case unknown:
		x.add(&x.record.Refused, to)
		zone := x.server.options.Zone
		return refusal(550, [3]int{5, 1, 1}, "No test has this address now: start one at https://"+zone+"/ or write to en@"+scenario.Names(zone, 0).ET)
	}
	if x.probe != nil {
		return refusal(550, [3]int{5, 7, 1}, "A probe hands over no mail")
	}
	if x.tx.kind != foreign && (x.tx.kind != r.kind || x.tx.slot != r.slot || x.tx.domain != r.domain) {
		return refusal(452, [3]int{4, 5, 3}, "Please send to this recipient in a transaction of its own")
	}
	x.tx.kind, x.tx.slot, x.tx.domain = r.kind, r.slot, r.domain
	if r.kind == mailbox {
		x.tx.mailboxes = append(x.tx.mailboxes, to)
		return nil
	}
	x.rcpt = r
	x.add(&x.current().RcptTo, to)
	if x.sni.Host != "" && (x.sni.Host.Domain() != r.domain || x.sni.Slot != r.slot) {
		x.add(&x.record.Anomalies, "recipient "+to+" disagrees with SNI "+*x.record.TLS.SNI)
	}
	return nil
}

// Data reads a message and answers it.
func (x *session) Data(r io.Reader) error {
	x.mu.Lock()
	if x.tx == nil || x.closed { // BDAT runs this aside: it may come late
		x.mu.Unlock()
		return refusal(451, [3]int{4, 3, 0}, "Transaction was reset")
	}
	x.work.Add(1)
	defer x.work.Done()
	open := *x.tx
	tx := x.record.Clone().Transactions[len(x.record.Transactions)-1]
	helo := ""
	if n := len(x.record.Helo); n > 0 {
		helo = x.record.Helo[n-1]
	}
	x.mu.Unlock()

	message := &messageReader{r: r}
	if open.kind == mailbox {
		return x.deliver(open, message)
	}
	err := x.server.options.Inspector.Inspect(x.ctx, x.client, helo, &tx, message)
	if err != nil && (message.err == nil || errors.Is(message.err, io.EOF)) {
		x.server.options.Logger.Warn("message not inspected", "connection", x.id, "err", err)
	}
	incomplete := message.drain()
	if incomplete != nil && !errors.Is(incomplete, smtp.ErrDataTooLarge) {
		return incomplete
	}
	x.mu.Lock()
	if x.tx == nil { // RSET during BDAT; the engine has given up on this message
		x.mu.Unlock()
		return refusal(451, [3]int{4, 3, 0}, "Transaction was reset")
	}
	now := x.current()
	now.MessageID, now.Addressed, now.TLSRequiredNo, now.Message = clip(tx.MessageID), tx.Addressed, tx.TLSRequiredNo, tx.Message
	if incomplete != nil {
		x.mu.Unlock()
		return incomplete
	}
	now.Data = true
	snapshot := x.snapshot()
	x.mu.Unlock()
	return answer(x.server.options.Director.Message(x.ctx, snapshot))
}

// answer makes a reply for the engine, which sends an SMTPError of any code.
func answer(r Reply) error {
	if r.Code != 250 && (r.Code < 400 || r.Code > 599) {
		r = Reply{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "Internal error, please try again"}
	}
	return refusal(r.Code, r.Enhanced, r.Text)
}

// deliver stores mail for the mailbox.
func (x *session) deliver(open transaction, message *messageReader) error {
	err := x.server.options.Mailbox.Deliver(x.ctx, open.from, open.mailboxes, message)
	if incomplete := message.drain(); incomplete != nil {
		return incomplete
	}
	if err != nil {
		x.server.options.Logger.Warn("mailbox did not take a message", "connection", x.id, "err", err)
		return refusal(452, [3]int{4, 3, 1}, "Mailbox is not available, please try again later")
	}
	return refusal(250, [3]int{2, 0, 0}, "Thank you")
}

// Reset ends the transaction.
func (x *session) Reset() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tx = nil
}

// Logout is of no use: the engine does not call it when a client leaves before
// EHLO. Everything ends in Server.ServeConn.
func (x *session) Logout() error { return nil }

// messageReader remembers how reading a message ended.
type messageReader struct {
	r   io.Reader
	err error
}

func (m *messageReader) Read(b []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.r.Read(b)
	m.err = err
	return n, err
}

// drain reads the rest; nil if the end of the message came.
func (m *messageReader) drain() error {
	for m.err == nil {
		_, _ = io.Copy(io.Discard, m)
	}
	if errors.Is(m.err, io.EOF) {
		return nil
	}
	return m.err
}

var (
	_ wire.Handler = (*session)(nil)
	_ smtp.Session = (*session)(nil)
)
