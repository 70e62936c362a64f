// Package certs holds the keys and certificates of every face of the sink, and
// the TLSA data that does or does not match them.
//
// Each identity of package scenario has an ECDSA P-256 and an RSA key of its
// own. Keys are made once and live as long as the directory; certificates come
// and go. An [Issuer] gets the key as a parameter, so a TLSA record "3 1 1"
// (a digest of the public key) survives every renewal.
//
//	keys ──────────────► TLSA data          stable, needed before DNS is served
//	  │
//	  └─► Issuer.Issue ─► chain ─► Certificates     renewed at 2/3 of its life
//
// Self-signed identities are issued by [SelfSigned]; the others by
// Options.Issuer: a public CA, or [LocalCA], a private CA that takes its place
// and whose root the sender under test is told to trust.
//
// In Dir, keys/ and certificates/ hold one PEM file for each key and chain,
// named after slot, owner, kind and algorithm. Files are replaced atomically;
// a file that cannot be read is an error, never a reason to make a new key.
//
// Sources: RFC 5280 (certificates), RFC 6698 and RFC 7671 §5.1 (TLSA 3 1 1),
// RFC 7672 §3.1 (SMTP).
package certs
