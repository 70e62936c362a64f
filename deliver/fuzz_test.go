package deliver_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/tlsink/tlsink/deliver"
	"github.com/tlsink/tlsink/dnssec"
)

// Whatever a server says, an attempt ends, and one that requires TLS does not
// deliver without it.
func FuzzServer(f *testing.F) {
	f.Add([]byte("220 x\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n"))
	f.Add([]byte("220 x\r\n250 x\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n221 bye\r\n"))
	f.Add([]byte("220 x\r\n250 x\r\n200 100\r\n"))
	f.Add([]byte("220 x\r\n502 x\r\n250 x\r\n451 4.7.1 no\r\n"))
	r := newResolver()
	r.set("x.example A", dnssec.Secure, ip("192.0.2.1"))
	f.Fuzz(func(t *testing.T, said []byte) {
		for _, p := range []deliver.Policy{{}, {TLS: deliver.TLSRequired}} {
			s, err := deliver.New(p, deliver.Options{Resolver: r, LocalName: "mta.example", Dial: func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				go func() { _, _ = io.Copy(io.Discard, server) }()
				go func() {
					_, _ = server.Write(said)
					_ = server.Close()
				}()
				return client, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			res := s.Attempt(t.Context(), mail("x.example"))
			if res.Delivered && p.TLS == deliver.TLSRequired {
				t.Fatalf("delivered without TLS: %+v", res)
			}
			if !res.Delivered && res.Code < 400 || res.Delivered && res.Temporary {
				t.Fatalf("got %+v", res)
			}
		}
	})
}
