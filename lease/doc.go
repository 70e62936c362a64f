// Package lease gives slots to tests that are started on the web: each has a
// slot to itself, so that every name that a sender looks up or asks for belongs
// to one test alone. Slot 0 is for tests by plain mail and is never leased.
//
//	Start ─▶ queued ─────────▶ waiting ──────▶ running ─────▶ ended
//	           │   (slot free)    │    (mail)          (test over)
//	           ▼                  ▼                      │
//	        expired            expired                   │
//	     (not looked at,    (no mail came,               │
//	        given up)          given up)                 │
//	                              │                      │
//	                              ▼                      ▼
//	                          the slot rests: until the last use and the max_age
//	                          of the MTA-STS policy (RFC 8461 §3.2) are over, or
//	                          for some minutes if nobody ever used it
//
// The queue is first come, first served; whoever does not look at his place for
// some minutes loses it. A network may have a few leases and places at a time.
// Networks of clients are kept in memory only.
//
// Everything else is one value in a store, written as a whole: a restart at any
// moment leaves all leases as they were. All methods are safe for concurrent
// use.
package lease
