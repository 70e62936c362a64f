// Package rfc2136 is a libdns provider for name servers that take dynamic
// updates, such as BIND and Knot. The server signs the zone itself.
//
//	SetRecords      one UPDATE: delete RRset and add, for each RRset ─► read back
//	AppendRecords   query RRset ─► UPDATE: add ─────────────────────► read back
//	DeleteRecords   AXFR ─► UPDATE: delete these records ───────────► read back
//	GetRecords      AXFR
//
// All of it goes over TCP, and both directions are authenticated by TSIG: a reply
// that is not signed with the key is an error, also in the middle of a transfer.
// The key must be allowed to update the zone and to transfer it. There is no
// substitute for the transfer: a list made of single queries would miss records
// that nobody knows of, and they would look deleted.
//
// An UPDATE is atomic at the server (RFC 2136 §3.7), so every call is: what fails
// leaves the zone as it was. Only if the connection breaks after an UPDATE was
// sent is it not known whether it was applied; the error says so. A server answers
// NOERROR also to updates that it ignores, e.g. to the addition of records beside a
// CNAME (RFC 2136 §3.4.2.2), so every change is read
// back. A server that signs apart from updating gets Options.Settle for that.
//
// Calls of one Provider that write come one after the other.
//
// What the server needs, besides signing the zone:
//
//	BIND   key "tlsink." { algorithm hmac-sha256; secret "…"; };
//	       zone "sink.example" { …; dnssec-policy default;
//	           update-policy { grant tlsink. zonesub ANY; }; allow-transfer { key tlsink.; }; };
//	Knot   acl: [{ id: tlsink, key: tlsink., action: [update, transfer] }]
//	       zone: [{ domain: sink.example, dnssec-signing: on, acl: tlsink }]
//
// Sources: RFC 2136 (UPDATE), RFC 8945 (TSIG), RFC 5936 (AXFR), RFC 7766 (TCP).
package rfc2136
