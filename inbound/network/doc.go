// Package network names the network that an address belongs to.
//
// A [Table] is read from a file and asks nobody; [DNS] asks a service that
// answers in the format of Team Cymru. Both tell who announces an address in BGP,
// which is not always who runs the server.
//
// Sources: https://iptoasn.com (tables), https://www.team-cymru.com/ip-asn-mapping
// (DNS).
package network
