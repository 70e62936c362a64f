// Package desec is a libdns provider for deSEC (https://desec.io), over its REST
// API. deSEC signs the zone.
//
// deSEC works on RRsets, and a bulk request is atomic: SetRecords is one PATCH, and
// what fails leaves the zone as it was. AppendRecords and DeleteRecords have to read
// an RRset before they write it. Calls of one Provider that write therefore come one
// after the other; another program that changes the same RRset in between loses.
//
// What to know before using it for a sink:
//
//   - The smallest TTL is a property of the domain (minimum_ttl), 3600 s unless
//     deSEC's support lowers it. The sink needs 60 s.
//   - Writing is limited to 15 a minute, 100 an hour and 300 a day for each domain.
//     MX rotation every five minutes alone would need 288 a day.
//   - Requests that are refused for coming too fast (429) say when to come again.
//     That is waited for if it is at most Options.MaxWait and before the context
//     ends; else the call fails at once, as does every call until then, without
//     asking.
//
// Sources: desec.readthedocs.io (domains, RRsets, rate limits, tokens), RFC 9110
// §10.2.3 (Retry-After), RFC 8288 (Link).
package desec
