// Package blocklist keeps whom the operator refuses: networks of clients,
// domains of senders with their subdomains, and addresses of senders. Each entry
// has a reason and may have an end.
//
// The list is one durable value. Lookups are made at every connection and every
// mail: they read an immutable index, without a lock, in a time that does not
// depend on the number of entries. Our own addresses are never blocked: the
// self-check comes from them.
//
// RFC 5321 (mail addresses), RFC 5890 (names), RFC 4291 §2.5.5.2 (IPv4-mapped
// addresses: they count as IPv4).
package blocklist
