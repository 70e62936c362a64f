// Package records converts DNS records between libdns and the dns package, for
// the zone's own server and for the providers of external ones.
//
// In libdns the data of TXT is its text, as octets; that of every other type is
// the zone file form with absolute names. Of all types only those that the sink
// needs can be written: A, AAAA, MX, TLSA and TXT.
//
// Sources: RFC 1035 §3.3 and §5.1 (TXT, escapes), RFC 2181 §5 (RRsets), RFC 4343
// (case), RFC 6698 (TLSA).
package records
