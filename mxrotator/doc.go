// Package mxrotator changes the MX preferences of et over time, so that a
// sender that retries meets every MX host as the most preferred one.
//
// [Next] is the pure schedule. What a running test needs leads; without need,
// turns come in blocks, each a fresh seeded permutation of the hosts, so that no
// retry interval can lock a sender out of a host. A fixed cyclic rotation does
// that at 20 and 60 minutes, and between mx04 and mx05 also at 10 and 30.
//
// A [Rotator] applies the schedule through a libdns provider and says what was
// really published:
//
//	every Interval, or Trigger (at least MinGap after the last change)
//	                  │
//	┌───────────► SetRecords ──► GetRecords ──equal──► OnState(order)
//	│                 │ error        │ else
//	│                 └──────┬───────┘
//	└── back-off ◄── OnState(what is there, or unknown)
//
// Sources: RFC 5321 §5.1 (MX preferences), RFC 1035 §3.3.9 (MX).
package mxrotator
