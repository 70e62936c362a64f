// Package acme gets certificates from a public CA over ACME, by the dns-01
// challenge through a libdns provider. It is the certs.Issuer of a sink that
// real senders test with.
//
// One call of [Issuer.Issue] is one order, or two:
//
//	       ┌────────────────── Wait: not before … ◄──────────────────┐
//	       │ CA or back-off says later                               │
//	Issue ─┴─► staging ──ok──► production ──ok──► checked ──► chain  │
//	            (once per       │                    │               │
//	             set-up)        │ refused, invalid   │ not what was  │
//	              │ refused,    ▼ or out of reach    ▼ ordered       │
//	              └──────────► error, kept in State ─────────────────┘
//	                            a failed validation makes the next
//	                            try start at staging again
//
// One order:
//
//	account ─► newOrder ─► pending ─► TXT, Propagated, challenge ─► ready
//	   ▲           │          │                                       │
//	   └───────────┘          └─► invalid: which name, and why        ▼
//	 accountDoesNotExist                       valid ◄─ processing ◄─ CSR
//	                                             │
//	 TXT records are removed in any case         └─► chain
//
// Its names share all of that: their TXT records come and go in one change each,
// requests and waits for them run a few at a time, and while the CA validates,
// only the order is looked at. If that is refused, each name tells why.
//
// Everything that must survive a restart is in [State]: the account with its
// key, when the CA wants no more requests, the back-off of each certificate,
// the TXT records that are published, and what was issued. It is written before
// an order is placed, so that a crash counts as a failure and no loop of
// restarts can hammer the CA.
//
// Where the CA offers it, [Issuer.RenewalWindow] says when it wants a
// certificate renewed, and new orders say what they replace.
//
// Sources: RFC 8555 (ACME), RFC 9773 (ARI), RFC 8659 (CAA), RFC 9457 (problem
// documents).
package acme
