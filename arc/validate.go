package arc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

// Validate returns the status of the chain, once the whole body was written.
// Keys are looked up through r, which ctx bounds; now is what signatures may
// have expired by. temperror means that nothing was found wrong, but a key
// could not be looked up.
func (c *Chain) Validate(ctx context.Context, r Resolver, now time.Time) evidence.ARCChain {
	out := evidence.ARCChain{Sets: len(c.sets)}
	if len(c.sets) > 0 {
		out.Sealer = c.newest().as.domain()
	}
	err := c.err
	switch {
	case err == nil && len(c.sets) == 0:
		out.Result = evidence.AuthNone
		return out
	case err == nil:
		err = c.signatures(ctx, &keys{r: r, seen: make(map[string]key)}, now)
	}
	if err == nil {
		out.Result = evidence.AuthPass
		return out
	}
	out.Result, out.Reason = evidence.AuthFail, clip(err.Error(), maxReason)
	if _, ok := errors.AsType[temporary](err); ok {
		out.Result = evidence.AuthTempError
	}
	return out
}

// signatures checks the newest message signature, then all seals from the newest
// on (RFC 8617 §5.2, steps 4 to 6). A failure counts more than a key that could
// not be looked up.
func (c *Chain) signatures(ctx context.Context, k *keys, now time.Time) error {
	newest := len(c.sets)
	var unknown error
	check := func(what string, n int, err error) error {
		if err == nil {
			return nil
		}
		err = fmt.Errorf("%s %d: %w", what, n, err)
		if _, ok := errors.AsType[temporary](err); ok {
			if unknown == nil {
				unknown = err
			}
			return nil
		}
		return err
	}
	if err := check("ARC-Message-Signature", newest, c.messageSignature(ctx, k, now)); err != nil {
		return err
	}
	digests := c.sealDigests()
	for n := newest; n >= 1; n-- {
		if err := check("ARC-Seal", n, c.sets[n-1].as.verify(ctx, k, digests[n-1])); err != nil {
			return err
		}
	}
	return unknown
}

// messageSignature checks the newest one (RFC 6376 §6.1.3).
func (c *Chain) messageSignature(ctx context.Context, k *keys, now time.Time) error {
	s := c.newest()
	want, err := s.ams.base64("bh")
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(want, c.body.sum()) != 1 {
		if _, ok := s.ams["l"]; ok {
			return errors.New("the body was changed, or is longer than l= says")
		}
		return errors.New("the body was changed")
	}
	if s.ams.expired(now) {
		return errors.New("it has expired")
	}
	canonical := simpleHeader
	if s.relaxedHeader() {
		canonical = relaxedHeader
	}
	h := sha256.New()
	byKey := make(map[string][]int)
	for i, f := range c.header {
		byKey[f.key] = append(byKey[f.key], i)
	}
	for _, name := range s.ams.list("h") {
		// §5.4.2: from the bottom up; what is not there adds nothing.
		name = strings.ToLower(name)
		at := byKey[name]
		if len(at) == 0 {
			continue
		}
		byKey[name] = at[:len(at)-1]
		_, _ = io.WriteString(h, canonical(c.header[at[len(at)-1]])+"\r\n")
	}
	_, _ = io.WriteString(h, canonical(unsigned(*s.signature)))
	return s.ams.verify(ctx, k, h.Sum(nil))
}

// sealDigests returns the digest that each seal signs: all sets up to its own,
// itself without a signature (RFC 8617 §5.1.1).
func (c *Chain) sealDigests() [][]byte {
	var before []byte
	var out [][]byte
	for _, s := range c.sets {
		before = append(before, relaxedHeader(*s.results)+"\r\n"+relaxedHeader(*s.signature)+"\r\n"...)
		h := sha256.New()
		_, _ = h.Write(before)
		_, _ = io.WriteString(h, relaxedHeader(unsigned(*s.seal)))
		out = append(out, h.Sum(nil))
		before = append(before, relaxedHeader(*s.seal)+"\r\n"...)
	}
	return out
}

// verify checks the signature of a digest with the key of d= and s=.
func (t tags) verify(ctx context.Context, k *keys, digest []byte) error {
	algorithm := t.squeeze("a")
	if algorithm != "rsa-sha256" && algorithm != "ed25519-sha256" {
		return fmt.Errorf("unknown algorithm %q", clip(algorithm, 40)) // RFC 8301 §3.1: SHA-1 is none
	}
	signature, err := t.base64("b")
	if err != nil {
		return err
	}
	public, err := k.lookup(ctx, strings.ToLower(t.squeeze("d")), strings.ToLower(t.squeeze("s")))
	if err != nil {
		return err
	}
	return verify(algorithm, public, digest, signature)
}
