package sink_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/textproto"
	"runtime"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink"
)

// bare is a backend that reads a message and answers 451.
type bare struct{}

func (bare) NewSession(*smtp.Conn) (smtp.Session, error) { return bare{}, nil }
func (bare) Reset()                                      {}
func (bare) Logout() error                               { return nil }
func (bare) Mail(string, *smtp.MailOptions) error        { return nil }
func (bare) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (bare) Data(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return &smtp.SMTPError{Code: 451, Message: "please retry"}
}

// discard is a Director, Inspector and so on that keeps nothing.
type discard struct{ *fixedDirector }

func (discard) Message(context.Context, evidence.Connection) sink.Reply { return sink.Reply{Code: 451} }
func (discard) Closed(evidence.Connection)                              {}

// deliverOnce does one full transaction over STARTTLS.
func deliverOnce(ctx context.Context, addr string, config *tls.Config) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close() // the end of the transaction
	r := textproto.NewReader(bufio.NewReader(c))
	step := func(w io.Writer, line string, code int) {
		if err == nil && line != "" {
			_, err = io.WriteString(w, line)
		}
		if err == nil {
			_, _, err = r.ReadResponse(code)
		}
	}
	step(c, "", 220)
	step(c, "EHLO mta.sender.example\r\n", 250)
	step(c, "STARTTLS\r\n", 220)
	if err != nil {
		return err
	}
	tc := tls.Client(c, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		return err
	}
	r = textproto.NewReader(bufio.NewReader(tc))
	step(tc, "EHLO mta.sender.example\r\n", 250)
	step(tc, "MAIL FROM:<j@sender.example>\r\n", 250)
	step(tc, "RCPT TO:<en@et.sink.example>\r\n", 250)
	step(tc, "DATA\r\n", 354)
	step(tc, body, 451)
	step(tc, "QUIT\r\n", 221)
	return err
}

func deliverAll(b *testing.B, addr string) {
	b.Helper()
	config := insecure(host(scenario.MX04))
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := deliverOnce(b.Context(), addr, config); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "transactions/s")
}

// BenchmarkTransaction compares full transactions over STARTTLS with those of
// a bare go-smtp server under the same TLS configuration.
func BenchmarkTransaction(b *testing.B) {
	b.Run("sink", func(b *testing.B) {
		f := newFixture(b, evidence.Secure, func(o *sink.Options) { o.Director = discard{newDirector(evidence.Secure)} })
		deliverAll(b, f.listen(b))
	})
	b.Run("go-smtp", func(b *testing.B) {
		pairs, err := (&certificates{}).Certificates(scenario.Certificate{Owner: scenario.OwnerMX04, Kind: scenario.SelfSigned})
		if err != nil {
			b.Fatal(err)
		}
		server := smtp.NewServer(bare{})
		server.TLSConfig = &tls.Config{Certificates: pairs, SessionTicketsDisabled: true, MinVersion: tls.VersionTLS10}
		l, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		go server.Serve(l) //nolint:errcheck // it ends with the benchmark
		b.Cleanup(func() { _ = server.Close() })
		deliverAll(b, l.Addr().String())
	})
}

// BenchmarkIdleConnection reports the memory of an idle connection after EHLO,
// including the client's end of it in this process.
func BenchmarkIdleConnection(b *testing.B) {
	const n = 1000
	f := newFixture(b, evidence.Secure, func(o *sink.Options) { o.Limits.Connections, o.Limits.PerClient = n, n })
	addr := f.listen(b)
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		clients := make([]net.Conn, 0, n)
		buf := make([]byte, 4096)
		for range n {
			c, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			clients = append(clients, c)
			if _, err := c.Read(buf); err != nil {
				b.Fatal(err)
			}
			if _, err := io.WriteString(c, "EHLO x\r\n"); err != nil {
				b.Fatal(err)
			}
			if _, err := c.Read(buf); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		used := int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)
		b.ReportMetric(float64(used)/n/1024, "KiB/connection")
		for _, c := range clients {
			_ = c.Close()
		}
		for range n {
			f.director.next(b)
		}
	}
}
