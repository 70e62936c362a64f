// Package lab tests tlsink as a whole against real mail servers: a process of
// its own on the real ports, a validating unbound, and unmodified Debian
// Postfix servers that differ only in their TLS level. It has tests only:
//
//	TLSINK_LAB=1 go test -v ./lab        (as root, on Linux; or: make lab)
//
// Without TLSINK_LAB they are skipped. With TLSINK_LAB=require a missing
// program or privilege is a failure.
//
// # Topology
//
// Each box is a network namespace with one address and the real ports. The
// test process routes between them and can reach all of them.
//
//	            ┌────────────── test ──────────────┐
//	            │ 192.0.2.1, routes, asks, asserts │
//	            └─┬──────────────┬───────────────┬─┘
//	┌─────────────┴─────┐ ┌──────┴──────┐ ┌──────┴─────────────────┐
//	│ dns  192.0.2.53   │ │ sink        │ │ none    192.0.2.101    │
//	│ unbound: sink's   │ │ 192.0.2.25  │ │ may     192.0.2.102    │
//	│ zone, validated;  │ │ tlsink serve│ │ …       one Postfix    │
//	│ the senders' MX,  │ │ 25 53 80 443│ │         each, with its │
//	│ A, SPF, PTR       │ │             │ │         own mailbox    │
//	└───────────────────┘ └─────────────┘ └────────────────────────┘
//
// A sender mails to en@et and en@ut, is deferred, and retries every few
// seconds. In the end tlsink delivers its report to port 25 of that same
// sender, which the domain's MX names and its SPF record authorises.
//
// # Isolation
//
// The test binary starts itself again as process 1 of new PID, mount, network
// and IPC namespaces, with a /run in memory that holds everything. When it
// ends, however it ends, the kernel ends the servers with it and takes the
// namespaces and files away. The machine's own services are not touched.
//
// With -artifacts, logs and exported histories are kept.
//
// # Files
//
//	main_test.go      requirements, the namespaces of the whole lab
//	topology_test.go  one namespace and address for each server
//	unbound_test.go   the resolver, and what it knows of the senders
//	tlsink_test.go    build, start, kill and ask tlsink
//	postfix_test.go   configure and start a sender, its mail, queue, mailbox
//	report_test.go    read and check a delivered report
//	wait_test.go      wait for an event, or say what is missing and why
//	lab_test.go       the tests
package lab
