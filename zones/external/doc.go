// Package external keeps the sink's records at an external DNS provider, which
// serves and signs the zone.
//
//	Probe ──► refuse a provider that can't do a type, a TTL, or a replacement
//	  │
//	Publish ◄──────────── every Interval, or Update (TLSA rolls) ───────┐
//	  │  GetRecords ─► compare ─► SetRecords, what differs              │
//	  │                        ─► DeleteRecords, what must not be there │
//	  │                        ─► wait for all name servers             │
//	  └─► Report: changed, wrong ───────────────────────────────────────┘
//
// What belongs to the sink, and nothing else is touched:
//
//   - The RRsets of Options.Content. At the zone itself, TXT records of others stay
//     beside ours, except for a second SPF record.
//   - The names that scenario.Find recognises, in every slot, for A, AAAA, MX, TLSA
//     and TXT. What is there and not in the content is removed: records of slots
//     that are no longer used, and TLSA or MTA-STS records of ut. Every verdict
//     rests on ut having neither.
//   - The MX order of et is the rotator's. It is published here only before the
//     rotator has begun; later a wrong one is reported, and Options.Rotate makes the
//     next turn, so that what is recorded about the order stays true.
//
// What can't be repaired is in Report.Wrong: a CNAME at a name of ours, a wildcard
// below ut, whose answers would protect it.
//
// Sources: RFC 7672 §3.1 (TLSA), RFC 8461 §3.1 (_mta-sts), RFC 7208 §3.2 (one SPF
// record), RFC 4592 (wildcards), RFC 2181 §5 (RRsets).
package external
