package mailer

import (
	"context"
	"fmt"
	"strings"

	"github.com/tlsink/tlsink/deliver"
)

// Attempter makes one attempt at the recipient's own mail hosts;
// *deliver.Sender is one.
type Attempter interface {
	Attempt(ctx context.Context, env deliver.Envelope) deliver.Result
}

// Direct is a Transport that delivers to the recipient's own mail hosts. Give
// it a sender that honours DANE and MTA-STS: what they forbid is put off and
// then given up, with that reason.
type Direct struct{ sender Attempter }

// NewDirect returns a transport on s.
func NewDirect(s Attempter) Direct { return Direct{s} }

// Send makes one attempt. It is safe for concurrent use if the sender is.
func (d Direct) Send(ctx context.Context, from, to string, message []byte) Outcome {
	r := d.sender.Attempt(ctx, deliver.Envelope{From: from, To: []string{to}, Message: message})
	if r.Delivered {
		return Outcome{Delivered: true, Code: r.Code, Text: r.Text}
	}
	return Outcome{Permanent: !r.Temporary, Code: r.Code, Text: r.Text, Detail: explain(r.Tries)}
}

// explain says, for the result page, what kept the report from every host; no
// words are needed if a server itself refused the message. Reports go out with
// opportunistic TLS: only a policy of the recipient's domain can make a host
// without TLS, or with another certificate, unacceptable.
func explain(tries []deliver.Try) string {
	var hosts []string
	policy := false
	for _, t := range tries {
		if t.Mail {
			return ""
		}
		switch t.Outcome {
		case deliver.MissingTLS:
			policy = true
			hosts = append(hosts, t.MX+" offers no STARTTLS")
		case deliver.Refused:
			policy = true
			hosts = append(hosts, fmt.Sprintf("%s: %v", t.MX, t.Err))
		case deliver.FailedTLS:
			hosts = append(hosts, fmt.Sprintf("%s: TLS failed: %v", t.MX, t.Err))
		case deliver.Skipped:
			hosts = append(hosts, fmt.Sprintf("%s: not contacted: %v", t.MX, t.Err))
		}
	}
	if len(hosts) == 0 {
		return ""
	}
	why := "could not be delivered"
	if policy {
		why += " because of the DANE or MTA-STS policy of the domain"
	}
	return why + " (" + clip(oneLine(strings.Join(hosts, "; ")), maxReason/2) + ")"
}
