// Package certs holds the keys and certificates of every face of the sink, and
// the TLSA data that does or does not match them.
//
// Each identity of package scenario has an ECDSA P-256 and an RSA key of its
// own, which all slots share: the certificate of mx05 names mx05.et, mx05.et1 and
// so on. So their number does not depend on that of the slots; if that changes, they
// are issued again with the same keys, and until then serve the slots they name.
// Keys live until they are rolled; certificates come and go. An [Issuer]
// gets the key as a parameter, so a TLSA record "3 1 1" (a digest of the public
// key) survives every renewal.
//
//	keys ──────────────► TLSA data          stable, needed before DNS is served
//	  │
//	  └─► Issuer.Issue ─► chain ─► Certificates     renewed by Run
//
// Self-signed identities are issued by [SelfSigned]; the others by
// Options.Issuer: a public CA, or [LocalCA], a private CA that takes its place
// and whose root the sender under test is told to trust.
//
// # Renewal
//
// [Store.Run] renews at a random moment of the window that the issuer suggests
// ([Renewer]; RFC 9773), or at two thirds of a certificate's life. After a
// failure it comes again later and later, and often enough before the end. One
// certificate that fails does not keep others waiting, unless the issuer says
// that none will be issued. Missing certificates come first: those
// without which there is no verdict; then what ends soonest. Moments,
// failures and what was issued this week are kept in a [State].
//
// A certificate that the disk does not take is used, and stored later. One that
// does not hold any more is not shown ([Store.Certificates]); one that was put on
// the disk by hand is taken by [Store.Reload].
//
// # Rolls
//
// At no moment may a client see a key that is not in the TLSA records it has
// cached, however old those are (RFC 7671 §8.1). So a key rolls in steps, each
// of which is one atomic write of keys.json and begins once all caches have
// what it needs:
//
//	          Roll: make keys
//	                │                                  TLSA        in use
//	                ▼
//	           ┌ announce ─── CancelRoll ──► cancel    old         old
//	           │    │ Publish                   │ Publish
//	           │    │ RollWait                  │ remove new keys
//	           │    │ certificate for           ▼
//	           │    │ the new key             (end)
//	old + new  │    ▼
//	           └ switched   both algorithms            old + new   new
//	                │ RollWait
//	                ▼
//	             withdraw                              new         new
//	                │ Publish
//	                │ remove old keys
//	                ▼
//	              (end)
//
// Before the switch the old key is in use and in TLSA; after it the new one is.
// Keys without TLSA data switch as soon as they have their certificate. Publish
// is repeated until it succeeds; a CA that is down delays the switch. After a
// restart the phase begins again: Publish, and the whole wait, since the clock
// may have changed. A roll whose new key is lost before the switch is cancelled.
//
// # Files
//
// In Dir, keys/ and certificates/ hold one PEM file for each key and chain,
// named after slot 0, owner, kind, algorithm, and from the second key on its
// generation; keys.json says which generation is in use. Files are replaced
// atomically; a file that cannot be read is an error, never a reason to make a
// new key. A copy made while the service runs is consistent if keys.json is
// copied first: the keys that it names stay for at least RollWait.
//
// Sources: RFC 5280 (certificates), RFC 6698, RFC 7671 §5.1 and §8.1 (TLSA 3 1 1
// and its change), RFC 7672 §3.1 (SMTP), RFC 9773 (renewal information).
package certs
