package deliver_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/deliver"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink"
)

// director offers STARTTLS in the given phase and keeps what was recorded.
type director struct {
	phase  evidence.Phase
	closed chan evidence.Connection
}

func (d *director) Accepted(evidence.ConnID, netip.AddrPort, netip.AddrPort) (sink.Treatment, error) {
	return sink.Treatment{Phase: d.phase}, nil
}
func (d *director) Phase(evidence.ConnID) evidence.Phase { return d.phase }
func (d *director) ClientHello(_ evidence.ConnID, sni string) scenario.Certificate {
	if t, ok := scenario.Find("sink.example", sni); ok && t.Host != "" {
		return scenario.Certificate{Owner: scenario.Owner(t.Host), Kind: scenario.HostKind(t.Host)}
	}
	return scenario.Certificate{Owner: scenario.OwnerDefault, Kind: scenario.SelfSigned}
}

func (d *director) Message(context.Context, evidence.Connection) sink.Reply {
	return sink.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "seen"}
}
func (d *director) Closed(c evidence.Connection) { d.closed <- c }

// quiet is an inspector and a mailbox that only read.
type quiet struct{}

func (quiet) Inspect(_ context.Context, _ netip.Addr, _ string, _ *evidence.Transaction, m io.Reader) error {
	_, err := io.Copy(io.Discard, m)
	return err
}

func (quiet) Deliver(_ context.Context, _ string, _ []string, m io.Reader) error {
	_, err := io.Copy(io.Discard, m)
	return err
}

type certificates struct{ w *world }

func (c certificates) Certificates(id scenario.Certificate) ([]tls.Certificate, error) {
	if id.Owner == scenario.OwnerDefault {
		return []tls.Certificate{*c.w.certs["self"]}, nil
	}
	return []tls.Certificate{*c.w.certs[string(id.Owner)]}, nil
}

// What the sink records of a sender is what the sender did.
func TestSinkSeesWhatTheSenderDoes(t *testing.T) {
	type record struct {
		Ending   evidence.Ending
		StartTLS bool
		Complete bool
		SNI      string
		Mail     bool
		Status   evidence.Status
	}
	const sni = "mx05.et.sink.example"
	for _, c := range []struct {
		name, policy string
		phase        evidence.Phase
		change       func(*deliver.Policy)
		want         record
	}{
		{"refused by QUIT", "dane", evidence.Secure, nil, record{evidence.EndingQuit, true, true, sni, false, evidence.StatusTLSStarted}},
		{"refused by alert", "dane", evidence.Secure, func(p *deliver.Policy) { p.Refusal = deliver.RefuseByAlert }, record{evidence.EndingAlert, true, false, sni, false, evidence.StatusSNISeen}},
		{"refused by close", "dane", evidence.Secure, func(p *deliver.Policy) { p.Refusal = deliver.RefuseByClose }, record{evidence.EndingCloseNotify, true, true, sni, false, evidence.StatusTLSStarted}},
		{"delivered over TLS", "mta-sts", evidence.Secure, nil, record{evidence.EndingQuit, true, true, sni, true, evidence.StatusAcked}},
		{"delivered without SNI", "may", evidence.Secure, nil, record{evidence.EndingQuit, true, true, "", true, evidence.StatusAcked}},
		{"delivered in plaintext", "may", evidence.Downgrade, nil, record{evidence.EndingQuit, false, false, "", true, evidence.StatusAcked}},
		{"TLS is missing", "encrypt", evidence.Downgrade, nil, record{evidence.EndingQuit, false, false, "", false, evidence.StatusNone}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.hosts("mx05")
			d := &director{phase: c.phase, closed: make(chan evidence.Connection, 1)}
			serve(t, w, d)
			p := named(t, c.policy)
			if c.change != nil {
				c.change(&p)
			}
			r := w.sender(t, p).Attempt(t.Context(), mail("et.sink.example"))
			got := <-d.closed
			seen := record{Ending: got.Ending, StartTLS: got.StartTLS, Mail: got.MailFrom != nil, Status: got.Status}
			if got.TLS != nil {
				seen.Complete = got.TLS.Complete
				if got.TLS.SNI != nil {
					seen.SNI = *got.TLS.SNI
				}
			}
			if diff := cmp.Diff(c.want, seen); diff != "" || r.Delivered != c.want.Mail {
				t.Errorf("(-want +got):\n%s%+v\n%+v", diff, r, got)
			}
		})
	}
}

// serve runs a sink to which every address of the world leads.
func serve(t *testing.T, w *world, d *director) {
	t.Helper()
	var id atomic.Int64
	s, err := sink.New(sink.Options{
		Zone: "sink.example", Slots: 1, Director: d, Certificates: certificates{w}, Inspector: quiet{}, Mailbox: quiet{},
		NewID: func() evidence.ConnID { return evidence.ConnID(strconv.FormatInt(id.Add(1), 10)) },
		Now:   time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	w.opts.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
	}
}
