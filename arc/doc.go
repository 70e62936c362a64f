// Package arc validates the Authenticated Received Chain of a message: the ARC
// sets that forwarders add, so that a receiver can tell what a message was
// before they changed it.
//
// A message is validated while it streams by: the header first, then the body,
// of which only a hash is kept.
//
//	header ──► Read ──► Chain ──► structure: i=1…n, one of each field, cv=
//	body ───► Write ──┘   │
//	                      └─► Validate ──► newest ARC-Message-Signature, with the body
//	                              │        every ARC-Seal, newest first
//	                              ▼
//	                          none, pass, fail, temperror
//
// A failure is final for everything behind it (RFC 8617 §5.2), so the first one
// that is found is the reason. A key that could not be looked up is not one:
// RFC 8617 would have a sealer write cv=fail, but nobody seals here, and what
// could not be tested did not fail.
//
// Work is bounded: 50 sets, one lookup for each key name, sizes of keys. A
// length limit (l=) is ignored: what it would leave unsigned must be signed.
//
// Sources: RFC 8617 (ARC), RFC 6376 (DKIM: tags, canonicalization, keys),
// RFC 8301 (algorithms, key sizes), RFC 8463 (Ed25519).
package arc
