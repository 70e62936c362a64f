// Package providertest is the conformance test of DNS providers: what the sink
// relies on when it rotates MX records, rolls TLSA records and answers ACME
// challenges through libdns. Every provider passes it.
package providertest
