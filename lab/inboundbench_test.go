//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/inbound"
)

// benchHosts are Postfix receivers with STARTTLS.
func benchHosts(all []*receiver, n int) []*receiver {
	var out []*receiver
	for _, r := range all {
		if r.software == "postfix" && r.tls != tlsNone && r.tls != tlsRefuses && len(out) < n {
			out = append(out, r)
		}
	}
	return out
}

// BenchmarkInbound measures one analysis of a domain with 1, 4 and 16 MX, as it is
// by default and without the pauses between connections, beside testssl.sh with
// equal checks (versions, forward secrecy, certificate) on the same servers, as
// many of them at a time.
func BenchmarkInbound(b *testing.B) {
	needReception(b)
	needTools(b, "testssl")
	r := newReception(b.Context(), b)
	roots := filepath.Join(b.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, []byte(pemChain(r.pki.root.cert)), 0o644); err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1, 4, 16} {
		domain := fmt.Sprintf("mx%d.example", n)
		for name, edit := range map[string]func(*inbound.Options){
			"tlsink":               func(o *inbound.Options) { o.Prober = nil },
			"tlsink without pause": func(*inbound.Options) {},
		} {
			b.Run(fmt.Sprintf("%s/mx=%d", name, n), func(b *testing.B) {
				for b.Loop() {
					a, err := r.analyzer(b, edit).Analyze(b.Context(), domain)
					if err != nil || len(a.Hosts) != n {
						b.Fatalf("%d hosts (%v), want %d", len(a.Hosts), err, n)
					}
				}
			})
		}
		b.Run(fmt.Sprintf("testssl/mx=%d", n), func(b *testing.B) {
			for b.Loop() {
				var g errgroup.Group
				g.SetLimit(4)
				dir := b.TempDir()
				for _, rx := range benchHosts(r.receivers, n) {
					g.Go(func() error {
						_, err := testssl(context.WithoutCancel(b.Context()), dir, roots, rx, "-p", "-f", "-S")
						return err
					})
				}
				if err := g.Wait(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
