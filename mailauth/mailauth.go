package mailauth

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/emersion/go-message/textproto"

	"github.com/tlsink/tlsink/arc"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// Limits on hostile messages.
const (
	maxHeader     = 256 << 10 // octets of a header
	maxFields     = 1000      // fields of a header
	maxLines      = 4000      // lines of a header: the verifier's time grows with their square
	maxAddresses  = 50        // addresses kept of a field
	maxAddress    = 320       // octets of an address kept
	maxMessageID  = 998       // octets: RFC 5322 §2.1.1, one line
	maxText       = 200       // octets of other texts kept
	maxSignatures = 6         // DKIM signatures verified
	maxSignature  = 4096      // octets of a DKIM signature
	maxSigned     = 100       // field names that a DKIM signature covers
)

// Options are the settings of an Inspector.
type Options struct {
	Zone     string   // required
	Slots    int      // at least 1: addresses of other slots are not ours
	Resolver Resolver // required
	// Timeout bounds the DNS lookups of SPF, and those of DKIM, of DMARC and of
	// ARC; default 20 s each (RFC 7208 §4.6.4).
	Timeout time.Duration
	Now     func() time.Time // for signatures that expire; default time.Now
	Logger  *slog.Logger     // default: discard
}

// Inspector inspects messages. Safe for concurrent use if the Resolver is.
type Inspector struct {
	zone    string
	slots   int
	lookups lookups
	timeout time.Duration
	now     func() time.Time
	logger  *slog.Logger
}

// New returns an Inspector.
func New(o Options) (*Inspector, error) {
	i := &Inspector{zone: scenario.Canonical(o.Zone), slots: o.Slots, lookups: lookups{o.Resolver}, timeout: o.Timeout, now: o.Now, logger: o.Logger}
	if i.timeout == 0 {
		i.timeout = 20 * time.Second
	}
	if i.now == nil {
		i.now = time.Now
	}
	if i.logger == nil {
		i.logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case i.zone == "":
		return nil, errors.New("mail authentication: zone is empty; give the DNS zone of the sink")
	case o.Slots < 1:
		return nil, fmt.Errorf("mail authentication: slots %d: want at least 1", o.Slots)
	case o.Resolver == nil:
		return nil, errors.New("mail authentication: no resolver")
	}
	return i, nil
}

// Inspect reads message to its end and fills tx: MessageID, Addressed,
// TLSRequiredNo and Message. client and helo are those of the session;
// tx.MailFrom must be set. It returns an error if the message could not be
// read or its header could not be understood; tx then holds what is known, and
// Message.Automatic keeps it from being answered. DNS failures and a cancelled
// ctx are results (temperror), not errors. Nothing but tx is kept.
func (i *Inspector) Inspect(ctx context.Context, client netip.Addr, helo string, tx *evidence.Transaction, message io.Reader) error {
	spf := make(chan evidence.SPF, 1)
	mailFrom := tx.MailFrom
	go func() { spf <- i.checkSPF(ctx, client, helo, mailFrom) }()

	in := &reader{r: message}
	body := bufio.NewReader(in)
	raw, headerErr := readHeader(body)
	header, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(raw)))
	if headerErr == nil && in.err == nil && err != nil {
		headerErr = fmt.Errorf("header: %s", clean(err.Error(), maxText))
	}
	if headerErr == nil && header.Len() > maxFields {
		headerErr = fmt.Errorf("header has %d fields, more than %d", header.Len(), maxFields)
	}

	m := i.facts(header, tx)
	record := make(chan published, 1)
	go func() { record <- i.lookupDMARC(ctx, header) }()
	chain := arc.Read(raw)
	rest := io.TeeReader(body, chain)
	// A header that we understand only in part may mean something else to the
	// verifiers: no DKIM, ARC and DMARC then.
	if headerErr == nil && in.err == nil {
		m.DKIM = i.checkDKIM(ctx, header, raw, rest)
	}
	if _, err := io.Copy(io.Discard, rest); err != nil && in.err == nil {
		in.err = err
	}
	m.SPF = <-spf
	published := <-record
	if headerErr == nil && in.err == nil {
		m.Chain = i.checkARC(ctx, chain)
		m.DMARC = published.evaluate(m)
	}
	m.Size = in.n
	tx.Message = m
	switch {
	case in.err != nil:
		m.Automatic = "message not read to its end"
		return fmt.Errorf("read message: %w", in.err)
	case headerErr != nil:
		m.Automatic = "header not readable"
		return headerErr
	}
	return nil
}

// checkARC validates a chain whose body was read.
func (i *Inspector) checkARC(ctx context.Context, chain *arc.Chain) evidence.ARCChain {
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	return chain.Validate(ctx, i.lookups, i.now())
}

// reader counts octets, and ends at an error, which it remembers: the DKIM
// verifier leaves its goroutines behind when a reader fails.
type reader struct {
	r   io.Reader
	n   int64
	err error
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, io.EOF
	}
	n, err := r.r.Read(p)
	r.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
		err = io.EOF
	}
	return n, err
}

// readHeader returns the header with the empty line behind it, which it adds
// to a message without body. If the header is too large it returns whole lines
// of its beginning, and an error.
func readHeader(r *bufio.Reader) ([]byte, error) {
	var raw []byte
	lineStart, lines := 0, 0
	for {
		part, err := r.ReadSlice('\n')
		raw = append(raw, part...)
		if len(raw) > maxHeader {
			return append(raw[:lineStart], "\r\n"...), fmt.Errorf("header is larger than %d octets", maxHeader)
		}
		if lines >= maxLines {
			return append(raw[:lineStart], "\r\n"...), fmt.Errorf("header has more than %d lines", maxLines)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			if len(raw) > lineStart {
				raw = append(raw, "\r\n"...)
			}
			return append(raw, "\r\n"...), nil
		}
		if line := raw[lineStart:]; len(line) == 1 || (len(line) == 2 && line[0] == '\r') {
			return raw, nil
		}
		lineStart = len(raw)
		lines++
	}
}
