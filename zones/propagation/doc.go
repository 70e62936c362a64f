// Package propagation asks every authoritative name server of a zone directly
// whether it serves what was published, and waits until all of them do.
//
//	NS at the parent ─┐
//	NS in the zone  ──┴─► names ─► A, AAAA ─► servers ─► ask each (UDP, TCP if truncated, RD=0)
//	                                                        │
//	                     Wait: again, with back-off ◄─── one differs, or does not answer
//
// The delegation at the parent counts, too: resolvers also ask servers that only
// the parent names. A server that does not answer is one that may still serve the
// old data; the error of Wait names it.
//
// [Confirmed] is a libdns provider for whom something is set only once all name
// servers serve it: an MX order that one of three name servers does not know of yet
// is not an order that senders see.
//
// Known limit: behind one address there may be many machines (anycast, or a load
// balancer). Only the one that is near is asked, and another one may still serve
// the old data for some time. With such servers nothing but the operator's word can
// tell when a change is everywhere; what is time-critical needs a margin.
//
// Sources: RFC 1034 §4.2 (delegation), RFC 1035, RFC 2181 §5 (RRsets), RFC 6891
// (EDNS), RFC 7766 (TCP), RFC 1982 (serials).
package propagation
