// Package mxrotator changes the MX preferences of et over time, so that a
// sender that retries meets every MX host as the most preferred one.
//
// [Next] is the pure schedule. What a running test needs leads; without need,
// turns come in blocks, each a fresh seeded permutation of the hosts, so that no
// retry interval can lock a sender out of a host. A fixed cyclic rotation does
// that at 20 and 60 minutes, and between mx04 and mx05 also at 10 and 30.
//
// [NextOf] is the schedule of a slot. Slot 0 is shared and turns always. Another
// slot belongs to one test at a time: it rests at scenario.Resting, turns only if
// its test needs another order, and rests again after it.
//
// A [Rotator] applies the schedule through a libdns provider and says what was
// really published, slot by slot:
//
//	slot 0: every Interval          Trigger: at least MinGap after
//	others: while a test needs it   the slot's last change
//	                  │                        │
//	┌───────────► SetRecords ◄─────────────────┘
//	│                 │        one call for all slots that change
//	│             GetRecords ───────────► of each slot:
//	│                                       as wanted      OnState(order)
//	└── back-off, of that slot alone ◄────  else           OnState(what is there, or unknown)
//
// A slot that fails is tried again together with others once, then alone. Those
// that rest are read back whenever slot 0 turns, and cost no change.
//
// Sources: RFC 5321 §5.1 (MX preferences), RFC 1035 §3.3.9 (MX).
package mxrotator
